"""The nearest matrix of low rank, seen through a metric: one closed form, several ways to compute it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg

from gossamer._core.arrays import Array, like, to_numpy
from gossamer._core.checks import check_array, check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.random import check_random_state
from gossamer.linalg.metric import metric_product, weighted_error

if TYPE_CHECKING:
    from gossamer.linalg.operator import StructuredMatrix

METHODS = ("eora", "act", "svd", "learn", "zeroquant-lorc")
SOLVERS = ("exact", "gram", "randomized")
FACTORS = ("eigen", "cholesky")


class Moment:
    """A second moment ``C = E[x x^T]`` with its root, computed when first asked for and then kept.

    Layers with the same inputs (query, key and value; gate and up) share one, and with it the decomposition.

    Parameters
    ----------
    C : None or ndarray, shape (K,) or (K, K)
        None is the identity, a vector a diagonal. Taken to be symmetric and positive semi-definite up to rounding.
    factor : {"eigen", "cholesky"}
        ``P`` with ``P P^T = C`` from eigenvectors, O(K^3) with a large constant; or the Cholesky factor, some ten
        times cheaper, of ``C`` if that is positive definite and else of ``C + 1e-6 tr(C)/K I``.
    """

    def __init__(self, C: np.ndarray | None, factor: str = "eigen") -> None:
        self.C = C
        self.factor = check_choice("factor", factor, FACTORS)

    @cached_property
    def root(self) -> np.ndarray | None:
        """``P``: None for the identity, (K,) for a diagonal, else (K, k)."""
        if self.C is None:
            return None
        wide = self.C.astype(np.float64)
        if wide.ndim == 1:
            return np.sqrt(wide)
        if self.factor == "cholesky":
            try:
                return np.linalg.cholesky(wide)
            except np.linalg.LinAlgError:
                damping = max(1e-6 * np.trace(wide) / len(wide), np.finfo(np.float64).tiny)
                return np.linalg.cholesky(wide + damping * np.eye(len(wide)))
        values, vectors = self._spectrum
        alive = values > 0
        return vectors[:, alive] * np.sqrt(values[alive])

    @cached_property
    def seen(self) -> np.ndarray | None:
        """Orthonormal columns (K, k) that span the range of ``C``, (K,) of 0 and 1 for a diagonal, None for all."""
        if self.C is None or (self.C.ndim == 2 and self.factor == "cholesky"):
            return None
        if self.C.ndim == 1:
            return None if (self.C > 0).all() else (self.C > 0).astype(np.float64)
        values, vectors = self._spectrum
        relative = 2.0**-23 if self.C.dtype == np.float32 else 2.0**-46
        alive = values > relative * len(values) * max(values[-1], 0)
        return None if alive.all() else vectors[:, alive]

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        assert self.C is not None
        wide = self.C.astype(np.float64)
        return scipy.linalg.eigh((wide + wide.T) / 2)

    def times_root(self, W: np.ndarray) -> np.ndarray:
        """``W P`` in float64."""
        if self.root is None:
            return W
        return W * self.root if self.root.ndim == 1 else W @ self.root

    def on_seen(self, A: np.ndarray) -> np.ndarray:
        """``A`` without its components in the null space of ``C``."""
        if self.seen is None:
            return A
        return A * self.seen if self.seen.ndim == 1 else (A @ self.seen) @ self.seen.T


@dataclass(frozen=True)
class WeightedLowRank:
    r"""A low-rank matrix ``B A`` fitted in a metric.

    Attributes
    ----------
    B : array, shape (O, r)
    A : array, shape (r, K)
        Of the kind and dtype of what was fitted.
    residual : float
        :math:`\|(\Delta W - B A) C^{1/2}\|_F`, of the factors as they are stored.
    total : float
        :math:`\|\Delta W C^{1/2}\|_F`: what there was to repair.
    singular_values : ndarray of float64
        Of the weighted matrix that was truncated, descending: all of them with the exact solver, else the leading
        r; empty for ``"learn"``.
    stored : StructuredMatrix or None
        What holds the product where that is not a pair of float factors, such as a product in codes; ``B`` and
        ``A`` are then its values.
    """

    B: Array
    A: Array
    residual: float
    total: float
    singular_values: np.ndarray
    stored: StructuredMatrix | None = None

    @property
    def rank(self) -> int:
        """Columns of ``B``."""
        return int(self.B.shape[1])

    @property
    def matrix(self) -> StructuredMatrix:
        """``B A`` as a structured matrix, to add to another one: ``W_c + fit.matrix``."""
        if self.stored is not None:
            return self.stored
        from gossamer.linalg.structures.low_rank import LowRank, LowRankMatrix

        shape = (int(self.B.shape[0]), int(self.A.shape[1]))
        return LowRankMatrix(LowRank(max(self.rank, 1)), shape, {"left": self.B, "right": self.A})


def weighted_low_rank(
    dW: Array,
    C: Any,
    rank: int,
    *,
    method: str = "eora",
    solver: str = "exact",
    factor: str = "eigen",
    balanced: bool = True,
    scale: Array | None = None,
    unseen: str = "drop",
    steps: int = 3000,
    inputs: Any = None,
    random_state: Any = 0,
) -> WeightedLowRank:
    r"""Fit ``B A`` of a given rank to what compression broke, so that the layer's outputs change least.

    .. math:: \min_{B, A} \mathbb E \|(\Delta W - B A) x\|^2 = \|(\Delta W - B A) C^{1/2}\|_F^2,\quad
        C = \mathbb E[x x^T]

    With ``C = P P^T`` and :math:`U_r` the leading left singular vectors of :math:`\Delta W P = U S V^T`, the minimum
    is :math:`\sum_{i > r} S_i^2`, at :math:`B = U_r,\ A = U_r^T \Delta W = S_r V_r^T P^+` (the two agree on the range
    of ``C``). The first form divides by no root of an eigenvalue, so that no entry grows where ``C`` is nearly
    singular. Take ``"eora"``; the other methods are the baselines it is held against.

    Parameters
    ----------
    dW : array or tensor, shape (O, K), float32 or float64
        The weight minus its compressed value, as executed. Computed in float64.
    C : None, Moment, or array of shape (K,) or (K, K)
        Second moment of the inputs; None is the identity. A :class:`Moment` brings its own ``factor`` and shares its
        decomposition among calls.
    rank : int
        ``r``, from 1 to ``min(O, K)``.
    method : {"eora", "act", "svd", "learn", "zeroquant-lorc"}
        ``"svd"`` (the same as ``"zeroquant-lorc"``) takes ``P = I``; ``"act"`` the diagonal of ``scale``, with zeros
        replaced by the smallest positive entry; ``"learn"`` descends by AdamW (5e-4, cosine to 1e-6) from a
        Xavier-normal ``A`` and ``B = 0``.
    solver : {"exact", "gram", "randomized"}
        Full singular value decomposition; eigenvectors of the smaller Gram matrix (several times faster, relative
        precision 1e-8); or range finding with four power iterations, for ``r`` far below ``min(O, K)``.
    factor : {"eigen", "cholesky"}
        See :class:`Moment`.
    balanced : bool
        Give column i of ``B`` and row i of ``A`` equal norms, so that half precision, quantisation and training
        suit both; else ``B`` is orthonormal.
    scale : array, shape (K,), optional
        Mean of ``|x|`` for ``"act"``; the root of the diagonal of ``C`` if None.
    unseen : {"drop", "keep"}
        In the null space of ``C``, where calibration says nothing: ``"drop"`` leaves the compressed weight as it is
        (the paper); ``"keep"`` repairs there too, as far as ``U_r`` reaches.
    steps : int
        Steps of ``"learn"``.
    inputs : sequence of arrays of shape (T, K), optional
        Sequences for ``"learn"``, one a step; the expectation over ``C`` if None.
    random_state : int or Generator
        Of ``"learn"`` and ``"randomized"``.

    Returns
    -------
    WeightedLowRank

    Raises
    ------
    ArgumentError
        For a rank outside its range, shapes that differ, or ``C`` not symmetric (1e-6 relative) or not finite.

    References
    ----------
    Liu et al., "EoRA: training-free compensation for compressed LLM with eigenspace low-rank approximation",
    arXiv 2410.21271, 2024. Yao et al., "ZeroQuant-V2", 2023 (plain SVD). Eckart and Young, 1936.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import weighted_low_rank
    >>> rng = np.random.default_rng(0)
    >>> X, dW = rng.normal(size=(100, 8)), rng.normal(size=(6, 8))
    >>> fit = weighted_low_rank(dW, X.T @ X / 100, 2)
    >>> bool(np.isclose(fit.residual, np.sqrt((fit.singular_values[2:] ** 2).sum())))
    True
    """
    checked = check_array("dW", dW, ndim=2)
    W = to_numpy(checked)
    if W.dtype not in (np.float32, np.float64):
        W = W.astype(np.float32)
    check_choice("method", method, METHODS)
    check_choice("solver", solver, SOLVERS)
    check_choice("unseen", unseen, ("drop", "keep"))
    check_int("rank", rank, low=1, high=min(W.shape))
    moment = C if isinstance(C, Moment) else Moment(check_moment("C", C, W.shape[1]), factor)
    if method == "learn":
        from gossamer.linalg.nearest.learned_low_rank import learn_low_rank

        B, A = learn_low_rank(W, moment, rank, steps=steps, inputs=inputs, random_state=random_state)
        values = np.zeros(0)
    else:
        weight = {"eora": moment, "act": _activation_scale(moment, scale, W.shape[1])}.get(
            method, Moment(None)
        )
        rng = check_random_state(random_state) if solver == "randomized" else None
        B, A, values = closed_form(W, weight, rank, solver=solver, unseen=unseen, rng=rng)
    if balanced:
        B, A = balance(B, A)
    B, A = B.astype(W.dtype), A.astype(W.dtype)
    residual, total = (
        np.sqrt(max(weighted_error(W, other, moment.C), 0)) for other in (_product(B, A), np.zeros_like(W))
    )
    return WeightedLowRank(like(B, checked), like(A, checked), float(residual), float(total), values)


def check_moment(name: str, C: Any, width: int) -> np.ndarray | None:
    """Return a second moment as None, a non-negative vector or a symmetric matrix, float32 or float64."""
    if C is None:
        return None
    array = to_numpy(check_array(name, C, ndim=(1, 2)))
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    if array.shape not in ((width,), (width, width)):
        raise ShapeError(f"{name} has shape {array.shape}: expected ({width},) or ({width}, {width})")
    if array.ndim == 1 and (array < 0).any():
        raise ArgumentError(f"{name} has a negative entry {array.min():.3g}: expected second moments")
    if array.ndim == 2:
        apart, size = np.abs(array - array.T).max(), np.abs(array).max()
        if apart > 1e-6 * size:
            raise ArgumentError(
                f"{name} is not symmetric: entries differ from their mirror images by {apart:.3g} "
                f"with entries up to {size:.3g}, expected at most 1e-6 of that"
            )
    return array


def closed_form(
    W: np.ndarray,
    moment: Moment,
    rank: int,
    *,
    solver: str = "exact",
    unseen: str = "keep",
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Orthonormal ``B`` (O, r), ``A = B^T W`` (r, K) and the singular values of ``W P``, all float64.

    Columns and rows beyond the rank of ``C`` are zero.
    """
    wide = W.astype(np.float64)
    vectors, values = _leading_left(wide, moment, rank, solver, rng)
    B, A = np.zeros((W.shape[0], rank)), np.zeros((rank, W.shape[1]))
    found = vectors.shape[1]
    B[:, :found] = vectors
    A[:found] = vectors.T @ wide
    return B, (moment.on_seen(A) if unseen == "drop" else A), values


def balance(B: np.ndarray, A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same product with columns of ``B`` and rows of ``A`` of pairwise equal norms; zero pairs become zero."""
    left, right = np.linalg.norm(B, axis=0), np.linalg.norm(A, axis=1)
    alive = (left > 0) & (right > 0)
    root = np.sqrt(np.divide(right, left, out=np.zeros_like(left), where=alive))
    return B * root, A * np.divide(1, root, out=np.zeros_like(root), where=alive)[:, None]


def _product(B: np.ndarray, A: np.ndarray) -> np.ndarray:
    return B.astype(np.float64) @ A.astype(np.float64)


def _activation_scale(moment: Moment, scale: Array | None, width: int) -> Moment:
    """``diag(E|x|)^2`` as a moment, whose root is then the scale itself."""
    if scale is None:
        C = moment.C
        root = np.ones(width) if C is None else np.sqrt(C if C.ndim == 1 else np.diagonal(C)).astype(float)
    else:
        root = to_numpy(check_array("scale", scale, ndim=1)).astype(np.float64)
        if root.shape != (width,) or (root < 0).any():
            raise ShapeError(f"scale has shape {root.shape}: expected ({width},), none below 0")
    if (root > 0).any():
        root = np.where(root > 0, root, root[root > 0].min())
    return Moment(root**2)


def _leading_left(
    W: np.ndarray, moment: Moment, rank: int, solver: str, rng: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    if solver == "gram" and W.shape[0] <= W.shape[1]:
        return _leading(metric_product(W, moment.C) @ W.T, rank)  # C itself, no root of it
    M = moment.times_root(W)
    if solver == "exact":
        left, values, _ = scipy.linalg.svd(M, full_matrices=False)
        return left[:, :rank], values
    if solver == "gram":
        right, values = _leading(M.T @ M, rank)
        return scipy.linalg.qr(M @ right, mode="economic")[0], values
    assert rng is not None
    Q = rng.standard_normal((M.shape[1], min(rank + 10, *M.shape)))
    for _ in range(4):  # each power iteration squares the ratio by which small singular values are damped
        Q = np.linalg.qr(M.T @ np.linalg.qr(M @ Q)[0])[0]
    Q = np.linalg.qr(M @ Q)[0]
    left, values, _ = scipy.linalg.svd(Q.T @ M, full_matrices=False)
    return Q @ left[:, :rank], values[:rank]


def _leading(gram: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    n = len(gram)
    if not n:
        return gram, np.zeros(0)
    values, vectors = scipy.linalg.eigh((gram + gram.T) / 2, subset_by_index=(max(n - count, 0), n - 1))
    return vectors[:, ::-1], np.sqrt(np.maximum(values[::-1], 0))
