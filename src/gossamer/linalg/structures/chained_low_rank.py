"""Entry-wise products of two low-rank matrices, multiplied without the rows of their joint factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, to_numpy
from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import FormatError
from gossamer.linalg.metric import weighted_error
from gossamer.linalg.nearest.low_rank import Moment, closed_form
from gossamer.linalg.nearest.sweeps import while_falling
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix

NAMES = ("left", "right", "outer_left", "outer_right")


class ChainedLowRankMatrix(StructuredMatrix):
    r"""``(left right) o (outer_left outer_right)``: factors (O, r), (r, K), (O, s) and (s, K), float32 or float64.

    Its rank is up to r s, and its joint factors are the row-wise Kronecker products of the given ones:
    :math:`(U V^T) \circ (S T^T) = (U \odot S)(V \odot T)^T`. A product with x adds, for each of the s outer columns,
    :math:`S_a \circ U (V^T (T_a \circ x))`: 2 s (r + 1) (O + K) operations, and no matrix of r s columns.
    """

    structure: ChainedLowRank
    factor_names = NAMES

    @classmethod
    def of(cls, left: Array, right: Array, outer_left: Array, outer_right: Array) -> ChainedLowRankMatrix:
        """The matrix with these factors, all arrays or all tensors of one dtype."""
        given = (left, right, outer_left, outer_right)
        factors = {
            name: check_array(name, f, ndim=2, finite=False) for name, f in zip(NAMES, given, strict=True)
        }
        structure = ChainedLowRank(int(left.shape[1]), int(outer_left.shape[1]))
        return cls(structure, (left.shape[0], right.shape[1]), factors)

    def _check(self) -> None:
        (rows, cols), r, s = self.shape, self.structure.rank, self.structure.outer_rank
        for (name, factor), shape in zip(
            self.factors.items(), ((rows, r), (r, cols), (rows, s), (s, cols)), strict=True
        ):
            if tuple(factor.shape) != shape:
                raise FormatError(f"{name} has shape {tuple(factor.shape)}: expected {shape}")
        kinds = {str(factor.dtype).removeprefix("torch.") for factor in self.factors.values()}
        if len(kinds) > 1 or not kinds <= {"float32", "float64"}:
            raise FormatError(f"factors are {sorted(kinds)}: expected all float32 or all float64")

    def _dense(self) -> Array:
        left, right, outer_left, outer_right = self.factors.values()
        return (left @ right) * (outer_left @ outer_right)

    def _transposed(self) -> ChainedLowRankMatrix:
        left, right, outer_left, outer_right = self.factors.values()
        factors = dict(zip(NAMES, (right.T, left.T, outer_right.T, outer_left.T), strict=True))
        return ChainedLowRankMatrix(self.structure, self.shape[::-1], factors)

    def flops(self, n: int = 1) -> int:
        return 2 * self.structure.outer_rank * (self.structure.rank + 1) * sum(self.shape) * n

    def plan(self, n: int = 1) -> Plan:
        reason = "one product with the inner factors for each outer column"
        return Plan("structured", "gemm", reason, self.flops(n), self.nbytes)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        factors = [to_numpy(factor).astype(x.dtype, copy=False) for factor in self.factors.values()]
        return _chained(factors, x)

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        return self._transposed()._multiply(y)

    def _multiply_torch(self, x: Any) -> Any:
        return _chained([factor.to(x.dtype) for factor in self.factors.values()], x)


def _chained(factors: list[Array], x: Array) -> Array:
    left, right, outer_left, outer_right = factors
    y: Any = 0
    for column, row in zip(outer_left.T, outer_right, strict=True):
        y = y + column[:, None] * (left @ (right @ (row[:, None] * x)))
    return y


@dataclass(frozen=True)
class ChainedLowRank(Structure):
    r"""Entry-wise products ``A o B`` of a matrix of low rank and another: of rank up to the product of the ranks.

    What the gradient of softmax attention is made of: with :math:`f \approx U V^T` and :math:`q = c v^T` the slope in
    the logits is :math:`f \circ (q - s 1^T) = (U V^T) \circ ([c, -s] [v, 1]^T)`. As the update of a weight it is known
    as LoHa or FedPara.

    Parameters
    ----------
    rank : int
        Of the first matrix.
    outer_rank : int
        Of the second, over whose terms products loop: the smaller one.
    sweeps : int
        Passes of alternating least squares.

    Notes
    -----
    ``project`` starts from the truncated singular values of W times a matrix of ones, and fits the four factors in
    turn, each row by its own least squares, exactly nearest with the others fixed: the error never rises from that of
    the nearest matrix of rank ``rank``. It is a local fit, as no closed form is known. O((O + K) (r + s)^2 min(O, K)) a
    sweep, and in a full metric O(O K^2) besides.

    References
    ----------
    Hu, Su, Kuo, Song, Liu, "Computational Limits of Low-Rank Adaptation (LoRA) for Transformer-Based Models",
    ICLR 2025, arXiv 2406.03136. Hyeon-Woo, Ye-Bin, Oh, "FedPara: Low-rank Hadamard product for
    communication-efficient federated learning", ICLR 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import ChainedLowRankMatrix
    >>> U, V, S, T = (np.random.default_rng(i).standard_normal((6, 2)) for i in range(4))
    >>> A = ChainedLowRankMatrix.of(U, V.T, S, T.T)
    >>> bool(np.allclose(A @ np.ones(6), ((U @ V.T) * (S @ T.T)).sum(1))), int(np.linalg.matrix_rank(A.to_dense()))
    (True, 4)
    """

    rank: int
    outer_rank: int
    sweeps: int = 20
    kind: ClassVar[str] = "chained-low-rank"
    matrix: ClassVar[type[StructuredMatrix]] = ChainedLowRankMatrix

    def __post_init__(self) -> None:
        check_int("rank", self.rank, low=1)
        check_int("outer_rank", self.outer_rank, low=1)
        check_int("sweeps", self.sweeps, low=0)

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> ChainedLowRankMatrix:
        wide = W.astype(np.float64)
        H = None if metric is None else metric.astype(np.float64)
        start = self._start(wide, H)

        def error(factors: list[np.ndarray]) -> float:
            left, right, outer_left, outer_right = factors
            return weighted_error(wide, (left @ right) * (outer_left @ outer_right), H)

        factors = while_falling(lambda state: _sweep(wide, H, state), start, error, self.sweeps)
        factors = _balanced(*factors)
        stored = {name: factor.astype(W.dtype) for name, factor in zip(NAMES, factors, strict=True)}
        return ChainedLowRankMatrix(self, W.shape, stored)

    def _start(self, W: np.ndarray, H: np.ndarray | None) -> list[np.ndarray]:
        """The nearest matrix of rank r times one of ones; the columns to come have nothing to multiply yet."""
        left, right, _ = closed_form(W, Moment(H), self.rank)
        outer_left = np.random.default_rng(0).standard_normal((W.shape[0], self.outer_rank))
        outer_right = np.zeros((self.outer_rank, W.shape[1]))
        outer_left[:, 0] = outer_right[0] = 1
        return [left, right, outer_left, outer_right]

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        return 32 * (self.rank + self.outer_rank) * sum(shape) / (shape[0] * shape[1])


def _sweep(W: np.ndarray, H: np.ndarray | None, factors: list[np.ndarray]) -> list[np.ndarray]:
    left, right, outer_left, outer_right = factors
    outer_right = _columns(W, H, outer_left, outer_right, left @ right)
    outer_left = _rows(W, H, outer_right, left @ right)
    right = _columns(W, H, left, right, outer_left @ outer_right)
    left = _rows(W, H, right, outer_left @ outer_right)
    return [left, right, outer_left, outer_right]


def _rows(W: np.ndarray, H: np.ndarray | None, right: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Row i is nearest: ``w_i ~ left_i (right o other_i)``, in the metric."""
    design = right * other[:, None]  # (O, r, K)
    weighted = design if H is None else design * H if H.ndim == 1 else design @ H
    gram = weighted @ design.swapaxes(1, 2)
    return (np.linalg.pinv(gram, hermitian=True) @ (weighted @ W[..., None]))[..., 0]


def _columns(
    W: np.ndarray, H: np.ndarray | None, left: np.ndarray, right: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Column j is nearest, with those that a full metric ties to it as they are, the earlier ones renewed."""
    if H is None or H.ndim == 1:
        return _rows(W.T, None, left.T, other.T).T
    right, rest = right.copy(), (W - (left @ right) * other) @ H
    for j, size in enumerate(np.diagonal(H)):
        design = left * other[:, j : j + 1]
        step = np.linalg.lstsq(design, rest[:, j] / size, rcond=None)[0] if size > 0 else 0.0
        right[:, j] += step
        rest -= np.outer(design @ np.broadcast_to(step, right.shape[:1]), H[j])
    return right


def _balanced(*factors: np.ndarray) -> list[np.ndarray]:
    """Both matrices with factors of equal size, so that none leaves the range of its dtype."""
    sizes = [np.linalg.norm(factor) for factor in factors]
    if not min(sizes):
        return [0 * factor for factor in factors]
    mean = np.prod(sizes) ** 0.25
    return [factor * (mean / size) for factor, size in zip(factors, sizes, strict=True)]


__all__ = ["ChainedLowRank", "ChainedLowRankMatrix"]
