r"""Smooth measures of how far a weighted graph is from acyclic, with their gradients.

Inside the solvers a graph is held as V = W - I: the product S V is then the gradient of the score, and the squares off
the diagonal are those of W. All arrays are C-ordered; LAPACK works in place on their transposes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from scipy.linalg import lapack

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_choice, check_float
from gossamer._core.errors import ArgumentError, ShapeError

NEGATIVE = 1e-6
"""An inverse with an entry below minus this is not that of an M-matrix."""


class Acyclicity:
    """One measure h at one graph at a time: ``enter`` computes what ``value`` and gradient need."""

    bounded = False

    def __init__(self, d: int) -> None:
        self.d = d
        self.kernel = np.empty((d, d))
        self.diagonal = self.kernel.reshape(-1)[:: d + 1]
        self.value = 0.0

    def enter(self, V: np.ndarray, s: float, with_value: bool = False) -> bool:
        """Go to the graph of V; False if h is not defined there. ``value`` is set if asked for."""
        raise TypeError(f"{type(self).__name__} does not say how to enter a graph")

    def add_half_gradient(self, V: np.ndarray, scratch: np.ndarray, out: np.ndarray) -> None:
        """Add half the gradient of h at the graph entered last, right off the diagonal only."""
        np.multiply(V, self.kernel.T, out=scratch)
        np.add(out, scratch, out=out)


class LogDet(Acyclicity):
    r""":math:`h_s = d \log s - \log\det(sI - W \circ W)`, where that is an M-matrix (DAGMA)."""

    bounded = True

    def enter(self, V: np.ndarray, s: float, with_value: bool = False) -> bool:
        N = self.kernel
        np.multiply(V, V, out=N)
        self.diagonal[:] = -s
        lu, pivots, info = lapack.dgetrf(N.T, overwrite_a=1)
        if info != 0:
            return False
        if with_value:
            self.value = float(self.d * np.log(s) - np.log(np.abs(self.diagonal)).sum())
        _, info = lapack.dgetri(lu, pivots, lwork=self._work(), overwrite_lu=1)
        return info == 0 and N.max() <= NEGATIVE

    def _work(self) -> int:
        # the unblocked inverse is the faster one while the matrix fits into the cache
        return self.d if self.d <= 128 else 64 * self.d

    def add_half_gradient(self, V: np.ndarray, scratch: np.ndarray, out: np.ndarray) -> None:
        np.multiply(V, self.kernel.T, out=scratch)  # the kernel is minus the inverse
        np.subtract(out, scratch, out=out)


class Exponential(Acyclicity):
    r""":math:`h = \mathrm{tr}\, e^{W \circ W} - d`, defined everywhere (NOTEARS)."""

    def enter(self, V: np.ndarray, s: float, with_value: bool = False) -> bool:
        np.multiply(V, V, out=self.kernel)
        self.diagonal[:] = 0
        self.kernel[:] = scipy.linalg.expm(self.kernel)
        self.value = float(self.diagonal.sum()) - self.d
        return bool(np.isfinite(self.value))


class Polynomial(Acyclicity):
    r""":math:`h = \mathrm{tr}\, (I + W \circ W / d)^d - d`, defined everywhere."""

    def enter(self, V: np.ndarray, s: float, with_value: bool = False) -> bool:
        np.multiply(V, V, out=self.kernel)
        self.kernel /= self.d
        self.diagonal[:] = 1
        power = np.linalg.matrix_power(self.kernel, self.d - 1)
        self.value = float(np.vdot(power, self.kernel.T)) - self.d
        self.kernel[:] = power
        return bool(np.isfinite(self.value))


KINDS: dict[str, type[Acyclicity]] = {"logdet": LogDet, "expm": Exponential, "poly": Polynomial}


def acyclicity(W: Any, kind: str = "logdet", *, s: float = 1.0) -> tuple[float, np.ndarray]:
    r"""How far a weighted graph is from acyclic, and the gradient: zero if and only if it is a DAG.

    "logdet": :math:`d \log s - \log\det(sI - A)` with :math:`A = W \circ W`, gradient
    :math:`2 W \circ (sI - A)^{-T}`; "expm": :math:`\mathrm{tr}\, e^A - d`, :math:`2 W \circ (e^A)^T`; "poly":
    :math:`\mathrm{tr}(I + A/d)^d - d`, :math:`2 W \circ ((I + A/d)^{d-1})^T`. All cost :math:`O(d^3)`. The first one
    keeps larger gradients at long cycles, but is defined only where the spectral radius of A is below s.

    Parameters
    ----------
    W : array, shape (d, d)
        Weights; ``W[i, j]`` is the effect of i on j. Zero diagonal.
    kind : {"logdet", "expm", "poly"}
        Which measure.
    s : float
        Bound on the spectral radius; "logdet" only.

    Returns
    -------
    h : float
        The measure, not negative up to rounding.
    gradient : ndarray, shape (d, d), float64
        Its derivatives by W; zero on the diagonal.

    Raises
    ------
    ArgumentError
        If W is not square, has a diagonal, or lies outside the domain.

    References
    ----------
    Bello, Aragam, Ravikumar, "DAGMA", NeurIPS 2022, arXiv 2209.08037; Zheng and others, "DAGs with NO TEARS", NeurIPS
    2018, arXiv 1803.01422; Yu and others, "DAG-GNN", ICML 2019, arXiv 1904.10098.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import acyclicity
    >>> acyclicity(np.triu(np.ones((3, 3)), 1))[0]
    0.0
    """
    check_choice("kind", kind, KINDS)
    s = check_float("s", s, low=0, closed="neither")
    W = check_weights("W", W)
    V = W - np.eye(len(W))
    measure = KINDS[kind](len(W))
    if not measure.enter(V, s, with_value=True):
        raise ArgumentError(f"W lies outside the domain: the spectral radius of W*W is not below s={s}")
    gradient = np.zeros_like(V)
    measure.add_half_gradient(V, np.empty_like(V), gradient)
    gradient *= 2
    np.fill_diagonal(gradient, 0)
    return measure.value, gradient


def check_weights(name: str, value: Any, d: int | None = None) -> np.ndarray:
    """A square float64 C-ordered copy without a diagonal."""
    W = np.array(to_numpy(check_array(name, value, ndim=2)), dtype=np.float64, order="C")
    if W.shape[0] != W.shape[1] or (d is not None and len(W) != d):
        wanted = "a square matrix" if d is None else f"({d}, {d})"
        raise ShapeError(f"{name} has shape {W.shape}: expected {wanted}")
    if np.diag(W).any():
        where = int(np.flatnonzero(np.diag(W))[0])
        raise ArgumentError(f"{name}[{where}, {where}]={W[where, where]:g}: expected a zero diagonal")
    return W
