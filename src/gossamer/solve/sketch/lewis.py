"""Lewis weights: leverage scores of the reweighted matrix that they themselves define."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer.solve.iteration import ConvergenceWarning
from gossamer.solve.sketch.leverage import blocks_whitener, check_rows_matrix
from gossamer.solve.sketch.row_blocks import MatrixBlocks, RowBlocks

SMALLEST = 1e-300


def lewis_weights(A: Any, p: float, *, tol: float = 1e-10, max_iter: int = 200) -> np.ndarray:
    r"""Lewis weights of the rows for exponent p.

    .. math:: w_i = \tau_i(W^{1/2 - 1/p} A), \qquad w_i^{2/p} = a_i (A^T W^{1 - 2/p} A)^{-1} a_i^T

    They sum to the rank of A and bound sensitivities: :math:`\sigma_i \le w_i` for :math:`p \le 2` and
    :math:`\sigma_i \le d^{p/2-1} w_i` above. Cheap, and good scores to sample rows by. For p = 2 they are the leverage
    scores.

    Parameters
    ----------
    A : array or sparse matrix, shape (n, d)
        Real and finite.
    p : float
        Positive.
    tol : float
        Largest relative change of a weight in the last step.
    max_iter : int
        Most steps; a :class:`ConvergenceWarning` says where they were not enough.

    Returns
    -------
    ndarray, shape (n,)
        float64; zero for rows that are zero.

    Raises
    ------
    ArgumentError
        For p <= 0 and entries that are not finite.

    Notes
    -----
    ``6 n d^2`` operations and one pass over A a step. In logarithms a step goes a share of the way to the leverage
    scores of the reweighted matrix: p/2 of it for p <= 2, which contracts by ``1 - p/2``, and ``2 p / (p + 2)`` of it
    above, which near the solution contracts by ``(p - 2) / (p + 2)``; it is halved where a step makes things worse.

    References
    ----------
    Cohen and Peng, "Lp row sampling by Lewis weights", STOC 2015. Woodruff and Yasuda, "Sharper bounds for lp
    sensitivity sampling", ICML 2023, arXiv 2306.00732.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import lewis_weights
    >>> w = lewis_weights(np.random.default_rng(0).normal(size=(50, 4)), 1)
    >>> round(float(w.sum()), 8)
    4.0
    """
    p = check_float("p", p, low=0, closed="neither")
    check_float("tol", tol, low=0, closed="neither")
    check_int("max_iter", max_iter, low=1)
    A = check_rows_matrix("A", A)
    return converged_weights(MatrixBlocks(A), p, tol, max_iter)


def converged_weights(blocks: RowBlocks, p: float, tol: float, max_iter: int) -> np.ndarray:
    """:func:`lewis_weights` of rows in blocks, with its warning."""
    weights, change, _ = iterate_weights(blocks, blocks_whitener(blocks), p, tol, max_iter)
    if change > tol:
        warnings.warn(
            f"Lewis weights still change by {change:.2g} > tol={tol:g} after max_iter={max_iter} steps",
            ConvergenceWarning,
            stacklevel=3,
        )
    return weights


def iterate_weights(
    blocks: RowBlocks, X: np.ndarray | None, p: float, tol: float, max_iter: int = 200
) -> tuple[np.ndarray, float, np.ndarray]:
    """:func:`lewis_weights` of rows in blocks, in the basis X (d, r) in which their columns are orthonormal.

    None stands for columns that are orthonormal. Returns the weights, the largest change of a logarithm in the last
    step, and the ellipsoid that they belong to: a matrix F with ``w_i^{2/p} = |a_i X F|^2`` up to that change.
    """
    n, rank = blocks.n, blocks.d if X is None else X.shape[1]
    if not n or not rank:
        return np.zeros(n), 0.0, np.zeros((rank, rank))
    logs = np.full(n, np.log(rank / n))
    power = 1 - 2 / p
    inner, shift = np.eye(rank), power * logs[0]  # equal weights: the Gram matrix is the identity
    share, change, before = (p / 2 if p <= 2 else 2 * p / (p + 2)), np.inf, np.inf
    for _ in range(max_iter):
        options = {"X": X, "power": power, "inner": inner, "shift": shift}
        found = blocks.each(_step, logs, **options, share=share)
        step = np.concatenate([part[0] for part in found])
        scores = logs + step
        change = float(np.abs(step).max())
        if change <= tol:
            break
        if change > before:  # the sums of this pass are of a step that is too long
            share /= 2
            found = blocks.each(_step, logs, **options, share=share)
        before = change
        logs = np.maximum(logs + share * step, np.log(SMALLEST))
        shift = max(part[2] for part in found)
        gram = sum(part[1] * np.exp(part[2] - shift) for part in found)
        inner = inverse_root(gram)
    held = np.concatenate([part[3] for part in found])
    return np.where(held, np.exp(scores), 0.0), change, np.exp(-shift / 2) * inner


def _step(
    block: Any,
    logs: np.ndarray,
    X: np.ndarray | None,
    power: float,
    inner: np.ndarray,
    shift: float,
    share: float,
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Logarithmic steps, the Gram matrix after them over ``exp(largest)``, largest, and which rows are not zero."""
    part = block if X is None else np.asarray(block @ X)
    images = part @ inner
    forms = np.einsum("ij,ij->i", images, images)
    scores = np.log(np.maximum(forms, SMALLEST)) + power * logs - shift
    held = forms > 0
    step = np.where(held, scores - logs, 0.0)
    after = power * np.maximum(logs + share * step, np.log(SMALLEST))
    largest = float(after.max(initial=-np.inf, where=held))
    weights = np.exp(np.minimum(after - largest, 0.0)) if held.any() else np.zeros(len(after))
    return step, weighted_gram(part, weights), largest, held


def weighted_gram(part: Any, weights: np.ndarray) -> np.ndarray:
    """``part^T diag(weights) part``."""
    return np.asarray((part * weights[:, None]).T @ part)


def inverse_root(G: np.ndarray) -> np.ndarray:
    """F with ``F F^T = G^{-1}``."""
    d = len(G)
    try:
        lower = np.linalg.cholesky(G)  # NumPy's, as the products are: SciPy's BLAS has other threads
    except np.linalg.LinAlgError:  # weights of very different sizes: the spectrum is all there is
        values, vectors = np.linalg.eigh(G)
        kept = values > d * np.finfo(float).eps * values[-1]
        return vectors[:, kept] / np.sqrt(values[kept])
    return np.linalg.solve(lower, np.eye(d)).T
