"""Linear layers whose weight is a partial isometry of fixed rank, by Householder reflections."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import torch
import torch.nn.functional as F
from torch.nn.utils import parametrize

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.linalg.nearest.orthogonal import SCALES, nearest_orthogonal
from gossamer.linalg.structures.orthogonal import LowRankOrthogonal, Orthogonal
from gossamer.linalg.transforms.reflections import ALGORITHMS, frame, to_reflectors


class HouseholderProjector(torch.nn.Module):
    r"""A linear layer :math:`y = \alpha U_r V_r^T x + b` with orthonormal :math:`U_r` and :math:`V_r` at every step.

    The frames are the first r columns of products of Householder reflections, whose vectors are the parameters: any
    optimiser may move them, nothing has to be projected back. The layer sees r directions of its input, the rows of
    :attr:`directions`, and ignores what is orthogonal to them.

    Parameters
    ----------
    in_features, out_features : int
        K and O.
    rank : int
        r, from 1 to min(O, K).
    bias : bool
        Whether there is a bias. It starts at one, as that of a style does.
    n_reflections : None, int or "full"
        Reflections of each frame. None is r, which reaches every frame; ``"full"`` is O and K, the form of the paper.
    algorithm : {"wy", "pairwise", "sequential"}
        How they are multiplied, as in :func:`gossamer.linalg.transforms.reflections.reflect`.
    scale : {"one", "fit"}
        Whether :math:`\alpha` is one, or a parameter that :meth:`init_from` fits.
    device, dtype : optional
        Of the parameters. Frames of half-precision vectors are computed in float32.

    Attributes
    ----------
    left, right : Parameter, shapes (O, k), (K, k')
        Vectors of the reflections. Their lengths mean nothing; leave them out of weight decay, which only changes how
        fast they turn.

    Raises
    ------
    ArgumentError
        If ``rank`` or ``n_reflections`` is outside its range.

    Notes
    -----
    The frames take O((O + K) r^2) at the default, O((O^2 + K^2) r) with ``"full"``; a product 2 r (O + K) flops a row.
    A singular value decomposition of :attr:`weight` cannot find the directions again: its values are all equal.

    References
    ----------
    Song, Zhang, Sebe and Wang, "Householder Projector for unsupervised latent semantics discovery", ICCV 2023.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import HouseholderProjector
    >>> linear = torch.nn.Linear(64, 128)
    >>> layer = HouseholderProjector(64, 128, rank=10).init_from(linear.weight, linear.bias)
    >>> layer(torch.zeros(2, 64)).shape, torch.linalg.matrix_rank(layer.weight).item()
    (torch.Size([2, 128]), 10)
    """

    signs: torch.Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int = 10,
        bias: bool = True,
        n_reflections: int | str | None = None,
        algorithm: str = "wy",
        scale: str = "one",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features = check_int("in_features", in_features, low=1)
        self.out_features = check_int("out_features", out_features, low=1)
        self.rank = check_int("rank", rank, low=1, high=min(in_features, out_features))
        self.algorithm = check_choice("algorithm", algorithm, ALGORITHMS)
        self.scale = check_choice("scale", scale, SCALES)
        counts = _counts((out_features, in_features), self.rank, n_reflections)
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        self.left = torch.nn.Parameter(0.05 * torch.randn(out_features, counts[0], **options))
        self.right = torch.nn.Parameter(0.05 * torch.randn(in_features, counts[1], **options))
        self.register_buffer("signs", torch.ones(self.rank, dtype=torch.int8, device=device))
        self.alpha = torch.nn.Parameter(torch.ones(1, **options)) if scale == "fit" else None
        self.bias = torch.nn.Parameter(torch.ones(out_features, **options)) if bias else None

    @classmethod
    def from_linear(cls, linear: torch.nn.Linear, rank: int = 10, **options: Any) -> HouseholderProjector:
        """The projector nearest to a trained layer, which is not changed.

        Parameters
        ----------
        linear : torch.nn.Linear
            The layer.
        rank : int
            r.
        **options
            ``n_reflections``, ``algorithm`` and ``scale`` of the constructor.
        """
        if not isinstance(linear, torch.nn.Linear):
            raise UnsupportedError(f"linear is a {type(linear).__name__}: expected torch.nn.Linear")
        like: dict[str, Any] = {"device": linear.weight.device, "dtype": linear.weight.dtype}
        bias = linear.bias is not None
        layer = cls(linear.in_features, linear.out_features, rank, bias, **options, **like)
        return layer.init_from(linear.weight, linear.bias).train(linear.training)

    @torch.no_grad()
    def init_from(self, A0: Any, bias: Any = None) -> HouseholderProjector:
        """Start at the partial isometry nearest to ``A0``, in place.

        Parameters
        ----------
        A0 : array or tensor, shape (O, K)
            A trained weight. If its rank is below r, orthonormal directions complete it, with a warning.
        bias : array or tensor, shape (O,), optional
            Taken over as it is.

        Returns
        -------
        HouseholderProjector
            The layer itself.

        Raises
        ------
        ArgumentError
            If ``A0`` has another shape or holds NaN or infinity, or a bias is given to a layer without one.
        """
        counts = self.left.shape[1], self.right.shape[1]
        shape = (self.out_features, self.in_features)
        left, right, signs, alpha = _nearest_vectors(A0, shape, self.rank, counts, self.scale)
        for parameter, value in ((self.left, left), (self.right, right), (self.signs, signs)):
            parameter.copy_(torch.from_numpy(value))
        if self.alpha is not None:
            self.alpha.fill_(alpha)
        if bias is not None:
            if self.bias is None:
                raise ArgumentError("bias is given: expected None, the layer was made with bias=False")
            self.bias.copy_(torch.as_tensor(check_array("bias", bias, ndim=1)))
        return self

    @property
    def weight(self) -> torch.Tensor:
        """The partial isometry (O, K), with its multiple."""
        U, V = self._frames()
        return U @ V.T

    @property
    def directions(self) -> torch.Tensor:
        """The r orthonormal directions of the input that the layer sees, (r, K): rows of ``V_r^T``."""
        return frame(self.right, self.rank, algorithm=self.algorithm).T

    @property
    def matrix(self) -> LowRankOrthogonal:
        """The weight as a structured matrix that shares the parameters; float32 and float64 only."""
        factors = {"left": self.left, "right": self.right, "signs": self.signs}
        if self.alpha is not None:
            factors["scale"] = self.alpha
        shape = (self.out_features, self.in_features)
        return LowRankOrthogonal(Orthogonal(self.rank, self.scale), shape, factors)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., K) to (..., O), by two thin products."""
        U, V = self._frames()
        return F.linear(F.linear(x, V.T), U, self.bias)

    def _frames(self) -> tuple[torch.Tensor, torch.Tensor]:
        U, V = _frames(self.left, self.right, self.signs, self.algorithm)
        return U if self.alpha is None else self.alpha * U, V

    def extra_repr(self) -> str:
        """Sizes and options."""
        counts = f"reflections=({self.left.shape[1]}, {self.right.shape[1]})"
        return f"{self.in_features}, {self.out_features}, rank={self.rank}, {counts}, scale={self.scale!r}"


class PartialIsometry(torch.nn.Module):
    """The parametrization behind :func:`partial_isometry`: two sets of vectors to a weight, and back.

    Parameters
    ----------
    shape : (int, int)
        Of the weight.
    rank, n_reflections, algorithm, scale
        As in :class:`HouseholderProjector`; a fitted scale is fixed afterwards.
    """

    signs: torch.Tensor
    alpha: torch.Tensor

    def __init__(
        self,
        shape: tuple[int, int],
        rank: int,
        n_reflections: int | str | None = None,
        algorithm: str = "wy",
        scale: str = "one",
    ) -> None:
        super().__init__()
        self.shape = shape
        self.rank = check_int("rank", rank, low=1, high=min(shape))
        self.counts = _counts(shape, self.rank, n_reflections)
        self.algorithm = check_choice("algorithm", algorithm, ALGORITHMS)
        self.scale = check_choice("scale", scale, SCALES)
        self.register_buffer("signs", torch.ones(self.rank, dtype=torch.int8))
        self.register_buffer("alpha", torch.ones(1))

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Vectors (O, k) and (K, k') to the weight (O, K)."""
        U, V = _frames(left, right, self.signs, self.algorithm)
        return (self.alpha.to(U.dtype) * U) @ V.T

    @torch.no_grad()
    def right_inverse(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The vectors of the partial isometry nearest to a weight (O, K)."""
        left, right, signs, alpha = _nearest_vectors(weight, self.shape, self.rank, self.counts, self.scale)
        self.signs.copy_(torch.from_numpy(signs))
        self.alpha.fill_(alpha)
        made = (torch.from_numpy(value).to(weight.device, weight.dtype) for value in (left, right))
        return next(made), next(made)

    def directions(self, right: torch.Tensor) -> torch.Tensor:
        """The directions of the input that the weight sees, (r, K)."""
        return frame(right, self.rank, algorithm=self.algorithm).T


def partial_isometry(
    module: torch.nn.Module,
    name: str = "weight",
    rank: int = 10,
    *,
    n_reflections: int | str | None = None,
    algorithm: str = "wy",
    scale: str = "one",
) -> torch.nn.Module:
    """Keep a weight of any module a partial isometry of fixed rank, starting at the one nearest to it.

    Like :func:`torch.nn.utils.parametrizations.orthogonal`, for lower ranks too. Assigning to the weight moves it to
    the partial isometry nearest to what is assigned.

    Parameters
    ----------
    module : torch.nn.Module
        Changed in place.
    name : str
        Of a two-dimensional parameter (O, K).
    rank : int
        From 1 to min(O, K); min(O, K) is an orthogonal weight.
    n_reflections, algorithm, scale
        As in :class:`HouseholderProjector`; a fitted scale is fixed afterwards.

    Returns
    -------
    torch.nn.Module
        The module.

    Raises
    ------
    ArgumentError
        If there is no such parameter, it is not two-dimensional, or an option is out of range.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import partial_isometry
    >>> layer = partial_isometry(torch.nn.Linear(20, 12), rank=3)
    >>> torch.linalg.matrix_rank(layer.weight).item(), sorted(n for n, _ in layer.named_parameters())[1][-9:]
    (3, 'original0')
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, torch.Tensor) or weight.ndim != 2:
        raise ArgumentError(f"name={name!r}: expected a two-dimensional parameter of {type(module).__name__}")
    shape = (int(weight.shape[0]), int(weight.shape[1]))
    made = PartialIsometry(shape, rank, n_reflections, algorithm, scale).to(weight.device)
    parametrize.register_parametrization(module, name, made)
    return module


def _frames(
    left: torch.Tensor, right: torch.Tensor, signs: torch.Tensor, algorithm: str
) -> tuple[torch.Tensor, torch.Tensor]:
    r = len(signs)
    return frame(left, r, algorithm=algorithm) * signs, frame(right, r, algorithm=algorithm)


def _counts(shape: tuple[int, int], rank: int, n_reflections: int | str | None) -> tuple[int, int]:
    if n_reflections == "full":
        return shape
    if n_reflections is None:
        return rank, rank
    if isinstance(n_reflections, str):
        raise ArgumentError(f"n_reflections={n_reflections!r}: expected None, 'full' or an integer")
    count = check_int("n_reflections", n_reflections, low=rank, high=min(shape))
    return count, count


def _nearest_vectors(
    A0: Any, shape: tuple[int, int], rank: int, counts: tuple[int, int], scale: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Vectors of both frames, their common signs and the multiple, nearest to ``A0``."""
    array = to_numpy(check_array("A0", A0.detach() if isinstance(A0, torch.Tensor) else A0, ndim=2))
    if array.shape != shape:
        raise ShapeError(f"A0 has shape {array.shape}: expected {shape}")
    wide = array.astype(np.float64)
    fit = nearest_orthogonal(wide, rank, scale=scale)
    U, V = fit.U, fit.V
    if max(counts) > rank:  # more reflections than the frame needs: take all singular vectors that they reach
        whole_U, _, whole_Vt = scipy.linalg.svd(wide, full_matrices=True)
        U, V = whole_U[:, : counts[0]], whole_Vt[: counts[1]].T
    left, left_signs = to_reflectors(U)
    right, right_signs = to_reflectors(V)
    return left, right, left_signs[:rank] * right_signs[:rank], fit.scale


__all__ = ["HouseholderProjector", "PartialIsometry", "partial_isometry"]
