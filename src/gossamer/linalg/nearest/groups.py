"""Groups of G neighbours in a row: what losing one costs, and which of them stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer.linalg.metric import check_metric
from gossamer.linalg.nearest.selection import block_means, group_losses, keep_largest, saliency

GROUP_METRICS = ("hessian", "obs", "wanda", "magnitude", "sweep", "auto")
GROUP_SCOPES = ("matrix", "row", "block")


def group_saliency(
    W: Any, hessian: Any = None, *, group_size: int = 16, metric: str = "hessian"
) -> np.ndarray:
    r"""Score every group of a row by the mean score of its entries.

    With ``H = E[x x^T]``, damped by a hundredth of its mean diagonal, an entry scores

    ===============  ============================================================================
    ``metric``       score of :math:`w_{ij}`
    ===============  ============================================================================
    ``"hessian"``    :math:`w_{ij}^2 / [H^{-1}]_{jj}^2`, the form of SparseGPT's code and of GQSA
    ``"obs"``        :math:`w_{ij}^2 / [H^{-1}]_{jj}`, the loss if the others make up for it
    ``"wanda"``      :math:`w_{ij}^2 H_{jj}`, the loss if the others stay
    ``"magnitude"``  :math:`w_{ij}^2`
    ===============  ============================================================================

    ``"sweep"`` scores whole groups instead: the loss of a group after the columns to its right have replied
    together, divided by its width. Groups of correlated columns are told apart by it, which element-wise scores
    cannot. ``"auto"`` is magnitude, wanda or obs for a ``hessian`` of None, shape (K,) or (K, K).

    Parameters
    ----------
    W : array or tensor, shape (O, K)
        Weights.
    hessian : None or array of shape (K,) or (K, K), optional
        Second moment of the inputs, or its diagonal; a common factor changes no ranking. None is the identity.
    group_size : int
        Entries of a group; the last one of a row may be short and averages what it has.
    metric : str
        One of the table.

    Returns
    -------
    ndarray of float64, shape (O, ceil(K / group_size))
        Scores. Inputs that are always zero add nothing.

    Raises
    ------
    ArgumentError
        For NaN or infinity in ``W``, or an unknown ``metric``.

    Notes
    -----
    ``O(K^3 + O K)`` operations; the factorisation of ``H`` is in float64.

    References
    ----------
    Zeng et al., "GQSA: Group quantization and sparsity for accelerating large language model inference", 2024.
    Frantar and Alistarh, "SparseGPT", ICML 2023. Sun et al., "A simple and effective pruning approach for large
    language models" (Wanda), ICLR 2024. Hassibi and Stork, "Optimal Brain Surgeon", NIPS 1992.
    """
    check_choice("metric", metric, GROUP_METRICS)
    width = check_int("group_size", group_size, low=1)
    weights = to_numpy(check_array("W", W, ndim=2))
    second = None if hessian is None else check_metric(hessian, weights.shape[1], weights.dtype)
    if metric == "sweep" and second is not None and second.ndim == 2:
        widths = np.minimum(width, weights.shape[1] - np.arange(0, weights.shape[1], width))
        return np.asarray(group_losses(weights, second, width) / widths)
    # a sweep without correlations is Wanda
    return block_means(saliency(weights, second, "auto" if metric == "sweep" else metric), (1, width))


def group_mask(saliency: Any, sparsity: float, *, scope: str = "matrix") -> Any:
    r"""Keep the :math:`\lceil (1 - S)\, n \rceil` groups of the largest saliency; equal ones: the first stay.

    Parameters
    ----------
    saliency : array, shape (O, n_groups), or a sequence of such
        Scores of :func:`group_saliency`. A sequence only with ``scope="block"``.
    sparsity : float in [0, 1)
        Fraction S of groups that go.
    scope : {"matrix", "row", "block"}
        One threshold for the matrix (rows become uneven), as many groups in every row, or one threshold over all
        matrices of a transformer block, whose scores are first divided by their mean over the matrix.

    Returns
    -------
    ndarray of bool, shape (O, n_groups), or a list of such
        True where a group stays; a list where a sequence was given.

    Raises
    ------
    ArgumentError
        If ``sparsity`` is outside [0, 1), or a sequence comes with another scope.
    """
    check_float("sparsity", sparsity, low=0, high=1, closed="left")
    check_choice("scope", scope, GROUP_SCOPES)
    several = isinstance(saliency, Sequence)
    if several and scope != "block":
        raise ArgumentError(f"scope={scope!r}: expected one array of saliencies; several share scope='block'")
    scores = [
        np.asarray(check_array("saliency", part, ndim=2)) for part in (saliency if several else [saliency])
    ]
    if scope != "block" or len(scores) == 1:
        masks = [keep_largest(part, 1 - sparsity, "row" if scope == "row" else "matrix") for part in scores]
        return masks if several else masks[0]
    flat = [(part / (part.mean() or 1.0)).reshape(-1) for part in scores]
    together = keep_largest(np.concatenate(flat)[None], 1 - sparsity)[0]
    pieces = np.split(together, np.cumsum([part.size for part in flat])[:-1])
    return [piece.reshape(part.shape) for piece, part in zip(pieces, scores, strict=True)]
