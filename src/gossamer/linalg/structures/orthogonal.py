"""Orthogonal matrices and partial isometries, held by the vectors of Householder reflections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gossamer._core.arrays import Array, is_torch, like, to_numpy
from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.linalg.nearest.orthogonal import SCALES, nearest_orthogonal
from gossamer.linalg.operator import Plan, Structure, StructuredMatrix
from gossamer.linalg.transforms.reflections import check_vectors, frame, reflect, to_reflectors


class _Reflected(StructuredMatrix):
    """What the two kinds of member share: ``signs`` and, where the family fits one, ``scale``."""

    structure: Orthogonal
    vectors: tuple[str, ...]

    @property
    def factor_names(self) -> tuple[str, ...]:
        scale = ("scale",) if self.structure.scale == "fit" else ()
        return (*self.vectors, "signs", *scale)

    @property
    def alpha(self) -> float:
        """The multiple of the isometry: the common value of its non-zero singular values, but for the sign."""
        return float(self.factors["scale"][0]) if "scale" in self.factors else 1.0

    def _check_factors(self, sides: tuple[int, ...], columns: int) -> None:
        for name, side in zip(self.vectors, sides, strict=True):
            W = self.factors[name]
            if str(W.dtype).removeprefix("torch.") not in ("float32", "float64"):
                raise FormatError(f"{name} is {W.dtype}: expected float32 or float64")
            if W.ndim != 2 or W.shape[0] != side:
                raise FormatError(f"{name} has shape {tuple(W.shape)}: expected ({side}, k)")
            check_vectors(name, W)
        signs = self.factors["signs"]
        if str(signs.dtype).removeprefix("torch.") != "int8" or tuple(signs.shape) != (columns,):
            raise FormatError(f"signs are {signs.dtype} {tuple(signs.shape)}: expected int8 ({columns},)")
        if not bool((abs(signs) == 1).all()):
            raise FormatError("signs must be 1 or -1")
        scale = self.factors.get("scale")
        if scale is not None and (
            tuple(scale.shape) != (1,) or scale.dtype != self.factors[self.vectors[0]].dtype
        ):
            raise FormatError(
                f"scale is {scale.dtype} {tuple(scale.shape)}: expected one number like the vectors"
            )

    def _in(self, name: str, x: Array) -> Array:
        """A factor in the kind of ``x``, at least as precise as both."""
        factor = self.factors[name]
        if is_torch(x):
            import torch

            return factor if name == "signs" else factor.to(torch.promote_types(factor.dtype, x.dtype))
        array = to_numpy(factor)
        return array if name == "signs" else array.astype(np.result_type(array, x), copy=False)

    def _scaled(self, y: Array, x: Array) -> Array:
        y = y * self._in("scale", x) if "scale" in self.factors else y
        return y.to(x.dtype) if is_torch(y) else y


class HouseholderProduct(_Reflected):
    r"""The first columns of a product of reflections and signs: orthogonal if square.

    ``H_1 H_2 ... H_k diag(signs)``, each reflection ``H = I - 2 w w^T / |w|^2``.

    Factors: ``reflectors`` (d, k), float32 or float64, of any length but zero; ``signs`` int8 (m,), m <= d; ``scale``
    (1,) where the family fits one. The shape is (d, m), or (m, d) for the transpose: orthonormal rows.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import HouseholderProduct
    >>> Q = HouseholderProduct.of(np.random.default_rng(0).normal(size=(5, 3)))
    >>> bool(np.allclose(Q.T @ (Q @ np.eye(5)), np.eye(5))), Q.slogdet()
    (True, (-1, 0.0))
    """

    vectors = ("reflectors",)

    @classmethod
    def of(cls, W: Array, signs: Array | None = None, scale: float | None = None) -> HouseholderProduct:
        """The square product of the reflections along the columns of ``W`` (d, k), k <= d, and of signs (d,)."""
        checked = check_array("W", W, ndim=2)
        check_vectors("W", checked)
        d = int(checked.shape[0])
        ones = np.ones(d, np.int8) if signs is None else _signs(signs, d)
        factors = {"reflectors": checked, "signs": like(ones, checked)}
        return cls(_family(None, scale), (d, d), _with_scale(factors, checked, scale))

    @classmethod
    def from_orthogonal(cls, Q: Array, atol: float = 1e-6) -> HouseholderProduct:
        """Read the reflections off orthonormal columns ``Q`` (d, m), exactly; others are an :class:`ArgumentError`.

        By a QR decomposition, O(d m^2). ``atol`` bounds the entries of ``Q^T Q - I``; float32 needs about 1e-5.
        """
        checked = check_array("Q", Q, ndim=2)
        array = to_numpy(checked)
        if array.shape[0] < array.shape[1] or not array.size:
            raise ShapeError(f"Q has shape {array.shape}: expected at least as many rows as columns")
        excess = float(abs(array.T @ array - np.eye(array.shape[1])).max())
        if excess > check_float("atol", atol, low=0):
            raise ArgumentError(
                f"Q is not orthogonal: Q^T Q differs from I by {excess:.3g}, allowed {atol:g}"
            )
        W, signs = to_reflectors(array)
        factors = {"reflectors": like(W, checked), "signs": like(signs, checked)}
        return cls(Orthogonal(), (array.shape[0], array.shape[1]), factors)

    def _check(self) -> None:
        if self.structure.rank is not None:
            raise FormatError(f"structure {self.structure}: its members are of the class LowRankOrthogonal")
        self._check_factors((max(self.shape),), min(self.shape))

    @property
    def implied_tags(self) -> frozenset[str]:
        square = self.shape[0] == self.shape[1] and self.structure.scale == "one"
        return frozenset({"orthogonal"}) if square else frozenset()

    def columns(self, r: int, algorithm: str = "wy") -> Array:
        """The first r columns (rows, of a wide matrix) without the others, (d, r); O(d k r)."""
        check_int("r", r, low=1, high=min(self.shape))
        W = self.factors["reflectors"]
        return self._scaled(frame(W, r, algorithm=algorithm) * self.factors["signs"][:r], W)

    def slogdet(self) -> tuple[int, float]:
        """Sign and logarithm of the determinant: ``(-1)^k`` times the signs, and zero for an orthogonal matrix."""
        d = self.shape[0]
        if d != self.shape[1]:
            raise ShapeError(f"a {self.shape[0]}x{self.shape[1]} matrix has no determinant")
        k = int(self.factors["reflectors"].shape[1])
        sign = (-1) ** k * int(self.factors["signs"].prod())
        if self.alpha == 0:
            return 0, -np.inf
        return sign * int(np.sign(self.alpha)) ** d, d * float(np.log(abs(self.alpha)))

    def _dense(self) -> Array:
        columns = self.columns(min(self.shape))
        return columns if self.shape[0] >= self.shape[1] else columns.T

    def flops(self, n: int = 1) -> int:
        d, k = self.factors["reflectors"].shape
        return (4 * d * k + min(self.shape)) * n

    def plan(self, n: int = 1) -> Plan:
        reason = "panels of reflections, as products with compact factors"
        return Plan("structured", "compact WY", reason, self.flops(n), self.nbytes)

    def _apply(self, x: Array, forward: bool) -> Array:
        """By the (d, m) frame if ``forward``, else by its transpose."""
        W, signs = self._in("reflectors", x), self._in("signs", x)
        m = len(signs)
        if not forward:
            return self._scaled(signs[:, None] * reflect(W, x, transposed=True)[:m], x)
        rest = W.shape[0] - m
        if is_torch(x):
            import torch

            padded: Any = torch.nn.functional.pad(signs[:, None] * x, (0, 0, 0, rest))
        else:
            padded = np.pad(signs[:, None] * x, ((0, rest), (0, 0)))
        return self._scaled(reflect(W, padded), x)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        return self._apply(x, self.shape[0] >= self.shape[1])

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        return self._apply(y, self.shape[0] < self.shape[1])

    def _multiply_torch(self, x: Any) -> Any:
        return self._apply(x, self.shape[0] >= self.shape[1])


class LowRankOrthogonal(_Reflected):
    r"""A partial isometry of rank r, or a multiple, ``alpha U V^T``: r singular values are equal, the others zero.

    Factors: ``left`` (O, k) and ``right`` (K, k'), float32 or float64, the vectors of the reflections whose first r
    columns are ``U`` (up to ``signs``, int8 (r,)) and ``V``; ``scale`` (1,) where the family fits one. r reflections
    on either side suffice for every member.
    """

    vectors = ("left", "right")

    @classmethod
    def of(cls, U: Array, V: Array, scale: float | None = None) -> LowRankOrthogonal:
        """The member of given frames ``U`` (O, r) and ``V`` (K, r), with orthonormal columns."""
        left, right = (HouseholderProduct.from_orthogonal(Q, 1e-4) for Q in (U, V))
        if left.shape[1] != right.shape[1]:
            raise ShapeError(f"U has {left.shape[1]} columns and V {right.shape[1]}: expected as many")
        factors = {
            "left": left.factors["reflectors"],
            "right": right.factors["reflectors"],
            "signs": left.factors["signs"] * right.factors["signs"],
        }
        family = _family(left.shape[1], scale)
        return cls(family, (left.shape[0], right.shape[0]), _with_scale(factors, factors["left"], scale))

    def _check(self) -> None:
        rank = self.structure.rank
        if rank is None:
            raise FormatError(f"structure {self.structure}: its members are of the class HouseholderProduct")
        if rank > min(self.shape):
            raise ShapeError(
                f"shape {self.shape} is too small for the rank {rank}; at most {min(self.shape)}"
            )
        self._check_factors(self.shape, rank)

    @property
    def rank(self) -> int:
        """r, the number of singular values that are not zero."""
        return len(self.factors["signs"])

    @property
    def U(self) -> Array:
        """Orthonormal columns (O, r)."""
        return frame(self.factors["left"], self.rank) * self.factors["signs"]

    @property
    def V(self) -> Array:
        """Orthonormal columns (K, r): the directions that the matrix does not annihilate, ``A v_j = alpha u_j``."""
        return frame(self.factors["right"], self.rank)

    def _transposed(self) -> LowRankOrthogonal:
        swapped = {**self.factors, "left": self.factors["right"], "right": self.factors["left"]}
        return LowRankOrthogonal(self.structure, self.shape[::-1], swapped)

    def _dense(self) -> Array:
        return self._scaled(self.U @ self.V.T, self.factors["left"])

    def flops(self, n: int = 1) -> int:
        return 2 * self.rank * sum(self.shape) * n

    def plan(self, n: int = 1) -> Plan:
        reason = "the two frames are formed from their reflections, then multiply one after the other"
        return Plan("structured", "compact WY, two gemms", reason, self.flops(n), self.nbytes)

    def _frames(self, x: Array) -> tuple[Array, Array]:
        left, right = (frame(self._in(name, x), self.rank) for name in self.vectors)
        return left * self._in("signs", x), right

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        U, V = self._frames(x)
        return self._scaled(U @ (V.T @ x), x)

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        U, V = self._frames(y)
        return self._scaled(V @ (U.T @ y), y)

    def _multiply_torch(self, x: Any) -> Any:
        U, V = self._frames(x)
        return self._scaled(U @ (V.T @ x.to(V.dtype)), x)


@dataclass(frozen=True)
class Orthogonal(Structure):
    r"""Orthogonal matrices (orthonormal columns or rows if not square), or partial isometries of a given rank.

    ``project`` takes the singular vectors of ``W`` and sets the leading r singular values to one, or to their mean.

    Parameters
    ----------
    rank : int, optional
        r, at most min(O, K), of :math:`U_r V_r^T`; members are :class:`LowRankOrthogonal`. None is the full rank;
        members are :class:`HouseholderProduct`.
    scale : {"one", "fit"}
        Whether singular values are one, or a common value that is fitted.

    Notes
    -----
    ``project`` is exactly nearest without a metric; in a metric too for the full rank with at least as many rows as
    columns, else it is no worse than the fit without one (:func:`gossamer.linalg.nearest_orthogonal`). Members are held
    by reflections, so that they stay orthogonal to rounding under any training, without a penalty or a retraction.

    References
    ----------
    Song et al., "Householder Projector for unsupervised latent semantics discovery", ICCV 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import Orthogonal
    >>> A = Orthogonal(rank=2, scale="fit").project(np.diag([3.0, 2.0, 0.5]))
    >>> A.alpha, np.round(np.linalg.svd(A.to_dense())[1], 12).tolist()
    (2.5, [2.5, 2.5, 0.0])
    """

    rank: int | None = None
    scale: str = "one"
    kind: ClassVar[str] = "orthogonal"
    matrix: ClassVar[type[StructuredMatrix]] = HouseholderProduct

    def __post_init__(self) -> None:
        check_choice("scale", self.scale, SCALES)
        if self.rank is not None:
            check_int("rank", self.rank, low=1)
            object.__setattr__(self, "matrix", LowRankOrthogonal)  # the class of members depends on the rank

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset({"none"})

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> StructuredMatrix:
        if self.rank is not None and self.rank > min(W.shape):
            raise ShapeError(f"W has shape {W.shape}: rank={self.rank} is above {min(W.shape)}")
        fit = nearest_orthogonal(W.astype(np.float64), self.rank, scale=self.scale, metric=metric)
        if self.rank is None:
            whole = fit.U @ fit.V.T
            W_, signs = to_reflectors(whole if W.shape[0] >= W.shape[1] else whole.T)
            factors = {"reflectors": W_.astype(W.dtype), "signs": signs}
        else:
            left, right = to_reflectors(fit.U), to_reflectors(fit.V)
            factors = {"left": left[0].astype(W.dtype), "right": right[0].astype(W.dtype)}
            factors["signs"] = left[1] * right[1]
        if self.scale == "fit":
            factors["scale"] = np.array([fit.scale], W.dtype)
        return self.matrix(self, (W.shape[0], W.shape[1]), factors)

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        smaller = min(shape)
        numbers = max(shape) * smaller if self.rank is None else self.rank * sum(shape)
        signs = smaller if self.rank is None else self.rank
        return (32 * (numbers + (self.scale == "fit")) + 8 * signs) / (shape[0] * shape[1])


def _family(rank: int | None, scale: float | None) -> Orthogonal:
    return Orthogonal(rank, "one" if scale is None else "fit")


def _with_scale(factors: dict[str, Array], reference: Array, scale: float | None) -> dict[str, Array]:
    if scale is None:
        return factors
    number = np.array([check_float("scale", scale)], to_numpy(reference[:0]).dtype)
    return {**factors, "scale": like(number, reference)}


def _signs(signs: Array, d: int) -> np.ndarray:
    array = to_numpy(signs)
    if array.shape != (d,) or not (abs(array) == 1).all():
        raise ArgumentError(f"signs of shape {array.shape}: expected {d} numbers that are 1 or -1")
    return array.astype(np.int8)


__all__ = ["HouseholderProduct", "LowRankOrthogonal", "Orthogonal"]
