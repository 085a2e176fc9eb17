"""Relaxation of ``A x = b``: sweeps, SSOR as a preconditioner, and the loops around them; float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import check_pointers, ready

FORMS = ("plain", "ssor", "eisenstat")
GOAL, DIRECTION, PRECONDITIONER, DIVERGED = 1, 2, 3, 4  # what ended a loop; 0: its number of steps


@dataclass(frozen=True)
class Rows:
    """A square CSR matrix that :func:`rows` has checked."""

    n: int
    parts: tuple[Any, ...]
    kind: str


@dataclass(frozen=True)
class Grid:
    """The difference star on a grid of ``shape`` (nz, ny, nx): ``diagonal``, and ``-coupling`` along x, y and z."""

    shape: tuple[int, int, int]
    diagonal: float
    coupling: tuple[float, float, float]
    checkerboard: bool = False

    kind = "grid"

    @property
    def n(self) -> int:
        """Points."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def parts(self) -> tuple[Any, ...]:
        """What native code takes."""
        return (*self.shape[::-1], self.diagonal, *self.coupling, self.checkerboard)


Matrix = Rows | Grid


def rows(indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, levels: np.ndarray | None = None) -> Rows:
    """Check a square CSR matrix and find its diagonal; O(nnz).

    ``levels`` (int64) cuts the rows into ranges whose rows are not coupled with each other; None: rows one by one.
    """
    n = len(indptr) - 1
    if indptr.dtype != indices.dtype or indptr.dtype not in (np.int32, np.int64):
        raise ArgumentError(
            f"CSR indices are {indptr.dtype} and {indices.dtype}: expected both int32 or both int64"
        )
    if indices.shape != data.shape or indices.ndim != 1:
        raise ShapeError(
            f"indices have shape {indices.shape} and data {data.shape}: expected the same (nnz,)"
        )
    check_pointers("indptr", indptr, n, len(indices))
    kind = indices.dtype.name
    indptr, indices, data = ready(indptr), ready(indices), ready(data, np.float64)
    middle = np.empty(n, indices.dtype)
    row, wrong = getattr(_native.relax, f"prepare_{kind}")(indptr, indices, data, middle)
    if row >= 0:
        what = {
            1: f"column indices that do not ascend within 0..{n - 1}",
            2: "no diagonal entry",
            3: "NaN or infinite entries",
        }
        raise ArgumentError(f"A has {what[wrong]} in row {row}")
    if levels is not None:
        levels = ready(levels, np.int64)
        check_pointers("levels", levels, len(levels) - 1, n)
    return Rows(n, (indptr, indices, middle, data, levels), kind)


def diagonal(matrix: Matrix) -> np.ndarray:
    """The diagonal of a matrix, shape (n,)."""
    if isinstance(matrix, Grid):
        return np.full(matrix.n, matrix.diagonal)
    _, _, middle, data, _ = matrix.parts
    return data[middle]


def asymmetry(matrix: Rows) -> float:
    """``max |A v - A^T v|`` for one vector of scattered numbers in [1, 2), over the largest row sum of ``|A|``."""
    indptr, indices, _, data, _ = matrix.parts
    return getattr(_native.relax, f"asymmetry_{matrix.kind}")(indptr, indices, data)


def colour(indptr: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The smallest colours, row by row, such that coupled rows have different ones; of a symmetric pattern."""
    colours = np.empty(len(indptr) - 1, indices.dtype)
    check_pointers("indptr", indptr, len(colours), len(indices))
    if len(indices) and not (indices.min() >= 0 and indices.max() < len(colours)):
        raise ArgumentError(
            f"column indices span {indices.min()}..{indices.max()}: expected 0..{len(colours) - 1}"
        )
    getattr(_native.relax, f"colour_{indices.dtype.name}")(ready(indptr), ready(indices), colours)
    return colours


def residual(
    matrix: Matrix, b: np.ndarray, x: np.ndarray, threads: int | None = None
) -> tuple[np.ndarray, float]:
    """``b - A x`` and its norm."""
    r = np.empty(matrix.n)
    norm = _entry("residual", matrix)(
        *matrix.parts, _vector("b", b, matrix), _vector("x", x, matrix), r, get_threads(threads)
    )
    return r, norm


def sweep(
    matrix: Matrix,
    b: np.ndarray,
    omega: float,
    x: np.ndarray,
    *,
    backward: bool = False,
    threads: int | None = None,
) -> None:
    """One sweep of over-relaxation, in place in ``x``."""
    _writable("x", x, (matrix.n,))
    _entry("sweep", matrix)(
        *matrix.parts, _vector("b", b, matrix), float(omega), bool(backward), x, get_threads(threads)
    )


def apply(matrix: Matrix, omega: float, r: np.ndarray, threads: int | None = None) -> np.ndarray:
    """``M^-1 r`` with ``M = (D/w + L) (w/(2-w)) D^-1 (D/w + L)^T``."""
    z = np.empty(matrix.n)
    _entry("apply", matrix)(*matrix.parts, float(omega), _vector("r", r, matrix), z, get_threads(threads))
    return z


def sor(
    matrix: Matrix,
    b: np.ndarray,
    omega: float,
    x: np.ndarray,
    *,
    goal: float,
    steps: int,
    recurrence: bool = False,
    threads: int | None = None,
) -> tuple[np.ndarray, int]:
    """At most ``steps`` sweeps in place in ``x``; the norm of the residual after each, and what ended them."""
    _writable("x", x, (matrix.n,))
    norms = np.empty(steps)
    done, end, _ = _entry("sor", matrix)(
        *matrix.parts,
        _vector("b", b, matrix),
        float(omega),
        bool(recurrence),
        float(goal),
        x,
        norms,
        get_threads(threads),
    )
    return norms[:done], end


class Search:
    """Conjugate gradients that can be interrupted: the residual and the vectors of a search.

    Parameters
    ----------
    matrix : Rows or Grid
        Symmetric positive definite.
    form : str
        ``"plain"`` without a preconditioner, ``"ssor"`` with SSOR applied as it stands, ``"eisenstat"``.
    omega : float
        Of SSOR.
    x : ndarray of float64, shape (n,)
        The start; becomes the iterate.
    r : ndarray of float64, shape (n,)
        ``b - A x``; becomes the residual.
    """

    def __init__(self, matrix: Matrix, form: str, omega: float, x: np.ndarray, r: np.ndarray) -> None:
        _writable("x", x, (matrix.n,))
        self.matrix, self.omega, self.x = matrix, float(omega), x
        self.form = FORMS.index(check_choice("form", form, FORMS))
        self._vectors = np.zeros((4, matrix.n))
        self._vectors[0] = _vector("r", r, matrix)
        self._rho = np.zeros(2)

    def run(self, goal: float, steps: int, threads: int | None = None) -> tuple[np.ndarray, int, float]:
        """At most ``steps`` more iterations; the norms of the residual, what ended them, and a curvature if it did."""
        norms = np.empty(steps)
        done, end, curvature = _entry("pcg", self.matrix)(
            *self.matrix.parts,
            self.form,
            self.omega,
            float(goal),
            self.x,
            self._vectors,
            self._rho,
            norms,
            get_threads(threads),
        )
        return norms[:done], end, curvature


def tsallis_law(losses: np.ndarray, eta: float) -> np.ndarray:
    """``p = 4 / (eta (losses - x))**2`` with x such that the sum is 1; losses (d,), d at least 1, float64."""
    p = np.empty(len(losses))
    _native.relax.tsallis_law(ready(losses - losses.min(), np.float64), float(eta), p)
    return p


def draw(p: np.ndarray, u: float) -> int:
    """The index that the number ``u`` in [0, 1) draws from the law ``p`` (d,), d at least 1."""
    return _native.relax.draw(ready(p, np.float64), float(u))


class Regressions:
    """What ChebCB keeps: for d parameters, their costs regressed on m Chebyshev polynomials of a context in [-1, 1].

    Attributes
    ----------
    theta : ndarray, shape (d, m)
        Coefficients, in iterations; over ``scale`` they are those of the scaled costs.
    bound : ndarray, shape (m,)
        Largest magnitudes of the coefficients.
    """

    def __init__(self, d: int, m: int) -> None:
        self.theta, self.bound = np.zeros((d, m)), np.zeros(m)
        self._gram, self._moment, self._square = np.zeros((d, m, m)), np.zeros((d, m)), np.zeros(d)
        self._held, self._kept = np.zeros(d, np.uint8), np.zeros(_native.relax.kept)
        self._kept[2:4] = np.inf, 1.0  # the least cost so far, and the scale

    @property
    def scale(self) -> float:
        """What costs are divided by."""
        return float(self._kept[3])

    @property
    def eta(self) -> float:
        """Sharpness of the law."""
        return float(self._kept[4])

    def law(self, x: float) -> tuple[np.ndarray, np.ndarray]:
        """The law of the choice at ``x``, and the scaled predictions."""
        p, scores = np.empty((2, len(self.theta)))
        _native.relax.chebcb_law(*self._parts(), x, p, scores)
        return p, scores

    def learn(self, x: float, index: int, cost: float, score: float) -> None:
        """Take in what parameter ``index`` cost at ``x``, where ``score`` was predicted."""
        if not 0 <= index < len(self.theta):
            raise ArgumentError(f"index={index}: expected 0..{len(self.theta) - 1}")
        _native.relax.chebcb_learn(*self._parts(), x, index, cost, score)

    def _parts(self) -> tuple[np.ndarray, ...]:
        return self.theta, self._gram, self._moment, self._square, self.bound, self._held, self._kept


def least_squares(gram: np.ndarray, moment: np.ndarray, bound: np.ndarray, x: np.ndarray) -> bool:
    """Minimise ``x.gram.x / 2 - moment.x`` over ``abs(x) <= bound``, in place from a feasible x; whether bounds hold.

    ``gram`` (m, m) is symmetric and positive semidefinite. Where bounds do not hold, x is the shortest minimiser.
    """
    m = len(x)
    if gram.shape != (m, m) or moment.shape != (m,) or bound.shape != (m,):
        raise ShapeError(
            f"gram {gram.shape}, moment {moment.shape} and bound {bound.shape} do not fit x, which has shape {x.shape}"
        )
    _writable("x", x, (m,))
    return _native.relax.least_squares(
        ready(gram, np.float64), ready(moment, np.float64), ready(bound, np.float64), x
    )


def _entry(name: str, matrix: Matrix) -> Any:
    return getattr(_native.relax, f"{name}_{matrix.kind}")


def _vector(name: str, x: np.ndarray, matrix: Matrix) -> np.ndarray:
    if x.shape != (matrix.n,):
        raise ShapeError(f"{name} has shape {x.shape}: expected ({matrix.n},)")
    return ready(x, np.float64)


def _writable(name: str, x: np.ndarray, shape: tuple[int, ...]) -> None:
    flags = x.flags
    if (
        x.shape != shape
        or x.dtype != np.float64
        or not (flags.c_contiguous and flags.aligned and flags.writeable)
    ):
        raise ArgumentError(
            f"{name} is {x.dtype} of shape {x.shape}: expected writable contiguous float64 of shape {shape}"
        )
