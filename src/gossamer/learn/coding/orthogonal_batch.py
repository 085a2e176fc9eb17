"""Orthogonal dictionaries from data that are all at hand: the power iterations and the alternation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer._core.random import RandomState, check_random_state
from gossamer._core.results import Result
from gossamer.learn.coding.orthogonal_codes import largest, random_orthogonal, stretched
from gossamer.linalg import polar_factor


@dataclass(frozen=True, kw_only=True)
class DictionaryResult(Result):
    """An orthogonal dictionary.

    Attributes
    ----------
    components : ndarray, shape (n, n)
        Orthonormal rows, the atoms: codes are ``X @ components.conj().T``.
    nit : int
        Iterations.
    objective : float
        Mean of the sum of ``|code| ** p`` of a sample; of the alternation, the mean squared residual.
    """

    components: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    nit: int = 0
    objective: float = 0.0


def orthogonal_dictionary_msp(
    X: Any,
    *,
    p: float = 4,
    max_iter: int = 100,
    tol: float = 1e-8,
    init: Any = None,
    random_state: RandomState = None,
) -> DictionaryResult:
    r"""Match, stretch and project: ``A <- polar((A Y)^3 Y^H)``, which maximises the 4-norm of the codes.

    Parameters
    ----------
    X : array, shape (N, n)
        Samples in rows; float32, float64 or complex.
    p : float
        Norm, above 2; other than 4 it is the generalised power method, :func:`orthogonal_dictionary_gpm`.
    max_iter : int
        Most iterations.
    tol : float
        Ends when the dictionary moves by less than ``tol * n`` in the Frobenius norm.
    init : array, shape (n, n), optional
        First dictionary, orthonormal rows; random by default.
    random_state : int, Generator or None
        Of the start.

    Returns
    -------
    DictionaryResult
        ``success`` is that it stood still.

    Raises
    ------
    ShapeError, ArgumentError
        Not a table of finite numbers, p of 2 or less, an ``init`` of another shape.

    Notes
    -----
    O(N n^2 + n^3) an iteration; all data are kept. For streams take :class:`OnlineOrthogonalDictionary`.

    References
    ----------
    Zhai, Yang, Liao, Wright, Ma, "Complete dictionary learning via l4-norm maximization over the orthogonal group",
    JMLR 2020, arXiv 1906.02435.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import orthogonal_dictionary_msp
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 8)) * (rng.random((2000, 8)) < 0.3)
    >>> result = orthogonal_dictionary_msp(X, random_state=0)
    >>> bool(np.allclose(np.sort(np.abs(result.components), axis=1)[:, -1], 1, atol=0.01))
    True
    """
    X, A = _start(X, init, random_state)
    p = check_float("p", p, low=2, closed="neither")
    tol = check_float("tol", tol, low=0)
    moved, nit, most = np.inf, 0, check_int("max_iter", max_iter, low=1)
    while nit < most and moved >= tol * len(A):
        nit += 1
        codes = X @ A.conj().T
        new = polar_factor(stretched(codes, p).conj().T @ X).unitary
        moved = float(np.linalg.norm(new - A))
        A = new
    value = float((np.abs(X @ A.conj().T) ** p).sum(axis=1).mean())
    return DictionaryResult(
        success=moved < tol * len(A),
        message=f"moved by {moved:.3g} in iteration {nit}",
        components=A,
        nit=nit,
        objective=value,
    )


def orthogonal_dictionary_gpm(
    X: Any,
    *,
    p: float = 3,
    max_iter: int = 100,
    tol: float = 1e-8,
    init: Any = None,
    random_state: RandomState = None,
) -> DictionaryResult:
    """Generalised power method: :func:`orthogonal_dictionary_msp` for any norm above 2, by default the 3-norm.

    Parameters
    ----------
    X, p, max_iter, tol, init, random_state
        As there.

    Returns
    -------
    DictionaryResult

    References
    ----------
    Shen, Xue, Zhang, Letaief, Lau, "Complete dictionary learning via lp-norm maximization", UAI 2020, arXiv
    2002.10043.
    """
    return orthogonal_dictionary_msp(X, p=p, max_iter=max_iter, tol=tol, init=init, random_state=random_state)


def orthogonal_dictionary_alternating(
    X: Any,
    n_nonzero: int,
    *,
    max_iter: int = 100,
    tol: float = 1e-8,
    init: Any = None,
    random_state: RandomState = None,
) -> DictionaryResult:
    """Keep the largest codes, then fit the dictionary to them (Procrustes): ``D = polar(Y X^H)``.

    Parameters
    ----------
    X : array, shape (N, n)
        Samples in rows.
    n_nonzero : int
        Codes of a sample that are kept.
    max_iter, tol, init, random_state
        As of :func:`orthogonal_dictionary_msp`.

    Returns
    -------
    DictionaryResult
        ``objective`` is the mean squared residual, which never rises.

    Raises
    ------
    ShapeError, ArgumentError
        As there, and more codes than features.

    References
    ----------
    Lesage, Gribonval, Bimbot, Benaroya, "Learning unions of orthonormal bases", ICASSP 2005.
    """
    X, A = _start(X, init, random_state)
    k = check_int("n_nonzero", n_nonzero, low=1, high=len(A))
    tol = check_float("tol", tol, low=0)
    moved, nit, most = np.inf, 0, check_int("max_iter", max_iter, low=1)
    while nit < most and moved >= tol * len(A):
        nit += 1
        codes = largest(X @ A.conj().T, k)
        new = polar_factor(codes.conj().T @ X).unitary
        moved = float(np.linalg.norm(new - A))
        A = new
    rest = X - largest(X @ A.conj().T, k) @ A
    return DictionaryResult(
        success=moved < tol * len(A),
        message=f"moved by {moved:.3g} in iteration {nit}",
        components=A,
        nit=nit,
        objective=float((np.abs(rest) ** 2).sum(axis=1).mean()),
    )


def _start(X: Any, init: Any, random_state: RandomState) -> tuple[np.ndarray, np.ndarray]:
    X = np.asarray(check_array("X", X, ndim=2, real=False))
    n = X.shape[1]
    if not len(X) or not n:
        raise ShapeError(f"X has shape {X.shape}: expected at least one sample and one feature")
    if init is None:
        return X, random_orthogonal(n, X.dtype, check_random_state(random_state))
    A = np.asarray(check_array("init", init, ndim=2, real=X.dtype.kind != "c")).astype(X.dtype)
    if A.shape != (n, n):
        raise ShapeError(f"init has shape {A.shape}: expected ({n}, {n})")
    return X, A
