"""How near a dictionary is to the true one, to a stationary point, and how sparse its codes are."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer.learn.coding.orthogonal_codes import largest, stretched


def frank_wolfe_gap(components: Any, X: Any, *, p: float = 3) -> float:
    r"""Frank-Wolfe gap of a dictionary on samples: zero if and only if it is stationary over the spectral ball.

    :math:`\langle D, \nabla f \rangle + \|\nabla f\|_*` for :math:`f(D) = -\frac1N \sum \|D^H y\|_p^p`, an upper bound
    of what moving anywhere within the ball could gain to first order.

    Parameters
    ----------
    components : array, shape (n, n)
        Atoms in rows; any matrix of spectral norm at most 1.
    X : array, shape (N, n)
        Samples in rows.
    p : float
        Norm, above 2.

    Returns
    -------
    float
        At least zero, to rounding.

    Raises
    ------
    ShapeError, ArgumentError
        Shapes that do not fit, NaN, p of 2 or less.
    """
    C, X = _pair("components", components, "X", X)
    p = check_float("p", p, low=2, closed="neither")
    slope = stretched(X @ C.conj().T, p).conj().T @ X * (-p / len(X))
    return float(np.real(np.vdot(C, slope)) + np.linalg.svd(slope, compute_uv=False).sum())


def dictionary_error(components: Any, true_components: Any) -> float:
    r"""Recovery error :math:`1 - \|C C_*^H\|_4^4 / n`: zero where atoms agree up to order and sign (or phase).

    Parameters
    ----------
    components, true_components : array, shape (n, n)
        Orthonormal rows.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ShapeError, ArgumentError
        Shapes that differ, NaN.
    """
    C, T = _pair("components", components, "true_components", true_components)
    return float(1 - (np.abs(C @ T.conj().T) ** 4).sum() / len(C))


def recovered_atoms(components: Any, true_components: Any, cosine: float = 0.99) -> float:
    """Share of true atoms that have an atom with a larger absolute cosine.

    Parameters
    ----------
    components : array, shape (m, n)
        Atoms in rows, of any length.
    true_components : array, shape (k, n)
        The atoms to be found.
    cosine : float
        From 0 to 1.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ShapeError, ArgumentError
        Different widths, NaN, a cosine out of range.
    """
    C, T = _pair("components", components, "true_components", true_components)
    cosine = check_float("cosine", cosine, low=0, high=1)
    C, T = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300) for v in (C, T))
    return float((np.abs(T @ C.conj().T).max(axis=1) > cosine).mean())


def energy_share(codes: Any, k: int) -> float:
    """Share of the energy that the k largest codes of each sample have.

    Parameters
    ----------
    codes : array, shape (N, n)
        As ``transform`` gives them.
    k : int
        Codes of a sample.

    Returns
    -------
    float
        In [0, 1].
    """
    Z = np.asarray(check_array("codes", codes, ndim=2, real=False))
    kept = largest(Z, check_int("k", k, low=1, high=Z.shape[1]))
    return float((np.abs(kept) ** 2).sum() / max((np.abs(Z) ** 2).sum(), 1e-300))


def _pair(name: str, a: Any, other: str, b: Any) -> tuple[np.ndarray, np.ndarray]:
    left, right = (np.asarray(check_array(n, v, ndim=2, real=False)) for n, v in ((name, a), (other, b)))
    if left.shape[1] != right.shape[1] or not len(left) or not len(right):
        raise ShapeError(
            f"{name} {left.shape} and {other} {right.shape}: expected the same number of columns"
        )
    return left, right
