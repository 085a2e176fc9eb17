"""Factors of a matrix ``M_1 M_2^H`` with both Monarch: recovered from a member, refined for any other matrix."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import ShapeError
from gossamer._core.random import RandomState, check_random_state
from gossamer.linalg.nearest.monarch import MonarchSizes, nearest_monarch
from gossamer.linalg.nearest.sweeps import while_falling

DRAWS = 5
Factors = tuple[np.ndarray, np.ndarray, np.ndarray]


class MonarchStarFactors(NamedTuple):
    """``A = P L_1 P R P L_2 P`` by the blocks of its three block-diagonal factors.

    Attributes
    ----------
    left, middle, right : ndarray, shape (m, m, m)
        Blocks of L_1, R and L_2; float64 or complex128.
    residual : float
        ``||A - P L_1 P R P L_2 P||_F / ||A||_F``.
    """

    left: np.ndarray
    middle: np.ndarray
    right: np.ndarray
    residual: float


def recover_mmstar(
    A: Any, m: int | None = None, random_state: RandomState = 0, *, sweeps: int = 0
) -> MonarchStarFactors:
    r"""Recover the factors of a matrix in MM*, ``M_1 M_2^H`` with both Monarch.

    In blocks of size m, ``P A P`` is ``A_i D_ij C_j`` with diagonal ``D_ij``. The products
    ``A_00^{-1} A_0j A_ij^{-1} A_i0`` share their eigenvectors ``C_0^{-1}``; a random combination of them has distinct
    eigenvalues almost surely, and the other blocks follow. Convolutions (circulant matrices) are such members; their
    factors are complex.

    Parameters
    ----------
    A : array or tensor, shape (m^2, m^2)
        Real or complex. Every block of ``P A P`` must be invertible.
    m : int, optional
        The root of the side.
    random_state : int or Generator
        Of the combination; at most five are drawn.
    sweeps : int
        Alternating least squares afterwards, each factor in turn by its blocks: for matrices that are only near MM*,
        where the recovered factors are a start and nothing is claimed to be optimal.

    Returns
    -------
    MonarchStarFactors
        ``(left, middle, right, residual)``.

    Raises
    ------
    ArgumentError
        If the side is not a square or ``A`` holds NaN or infinity.
    LinAlgError
        If a block is singular, or eigenvalues collide in every draw.

    References
    ----------
    Dao et al., "Monarch", ICML 2022, section on the projection onto MM*.

    Examples
    --------
    >>> import numpy as np, scipy.linalg
    >>> from gossamer.linalg import recover_mmstar
    >>> C = scipy.linalg.circulant(np.random.default_rng(0).normal(size=16))
    >>> recover_mmstar(C).residual < 1e-9
    True
    """
    array = to_numpy(check_array("A", A, ndim=2, real=False))
    m = root(array.shape) if m is None else check_int("m", m, low=1)
    if array.shape != (m * m, m * m):
        raise ShapeError(f"A has shape {array.shape}: expected ({m * m}, {m * m}) for m={m}")
    wide = array.astype(np.result_type(array.dtype, np.float64))
    tiles = to_tiles(wide, m)
    found = refine(
        tiles, *_recovered(tiles, check_random_state(random_state)), check_int("sweeps", sweeps, low=0)
    )
    return MonarchStarFactors(*found, _residual(tiles, *found))


def root(shape: tuple[int, ...]) -> int:
    """m of an (m^2, m^2) matrix."""
    m = math.isqrt(shape[0])
    if shape != (m * m, m * m):
        near = max(round(math.sqrt(shape[0])), 1) ** 2
        raise ShapeError(f"shape {tuple(shape)}: MM* needs a square side; nearest valid: ({near}, {near})")
    return m


def to_tiles(A: np.ndarray, m: int) -> np.ndarray:
    """Blocks ``(i, j)`` of ``P A P`` as (m, m, m, m)."""
    return np.ascontiguousarray(A.reshape(m, m, m, m).transpose(1, 3, 0, 2))


def starts(A: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Factors to refine from: the nearest Monarch matrix, the nearest transpose of one, the recovered if there are."""
    m = root(A.shape)
    sizes, unit = MonarchSizes(m, m, m, m, m, m), np.broadcast_to(np.eye(m), (m, m, m)).astype(A.dtype)
    w1, w2 = nearest_monarch(A, sizes)
    v1, v2 = nearest_monarch(A.T, sizes)
    found = [(w2, w1, unit), (unit, v1.swapaxes(1, 2), v2.swapaxes(1, 2))]
    try:
        recovered = _recovered(to_tiles(A, m), np.random.default_rng(seed))
    except np.linalg.LinAlgError:
        return found
    real = not np.iscomplexobj(A) and any(np.iscomplexobj(part) for part in recovered)
    return found if real else [*found, recovered]


def _recovered(tiles: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    m = len(tiles)
    with np.errstate(all="ignore"):
        if not (np.linalg.cond(tiles) < 1 / np.finfo(np.float64).eps).all():
            raise np.linalg.LinAlgError(
                "a block of P A P is singular: A has no factors that this recovery finds"
            )
    first = np.linalg.inv(tiles[0, 0]) @ tiles[0]
    shared = first[None] @ np.linalg.inv(tiles) @ tiles[:, :1]
    for _ in range(DRAWS):
        Z = np.einsum("ij,ijab->ab", rng.standard_normal((m, m)), shared)
        values, V = np.linalg.eig(Z)
        gaps = np.abs(values[:, None] - values) + np.diag(np.full(m, np.inf))
        if gaps.min() > 1e-8 * np.linalg.norm(Z):
            break
    else:
        raise np.linalg.LinAlgError(f"eigenvalues collide in each of {DRAWS} random combinations")
    left = tiles[:, 0] @ V
    right = np.linalg.inv(left[0]) @ tiles[0]
    middle = np.einsum("iab,ijbc,jca->aij", np.linalg.inv(left), tiles, np.linalg.inv(right), optimize=True)
    return left, middle, right


def refine(
    tiles: np.ndarray, left: np.ndarray, middle: np.ndarray, right: np.ndarray, sweeps: int
) -> Factors:
    """Alternating least squares over L_1, L_2 and R; the residual never rises."""

    def sweep(factors: Factors) -> Factors:
        left, middle, right = factors
        G = middle.transpose(1, 2, 0)[..., None] * right  # (i, j) blocks D_ij C_j
        left = _solved(np.einsum("ijab,ijcb->iac", tiles, G.conj()), np.einsum("ijab,ijcb->iac", G, G.conj()))
        G = (left[:, None] * middle.transpose(1, 2, 0)[:, :, None]).conj()  # A_i D_ij
        gram = np.einsum("ijab,ijac->jbc", G, G.conj())
        right = np.linalg.pinv(gram, hermitian=True) @ np.einsum("ijab,ijac->jbc", G, tiles)
        inner = np.einsum("iab,iac->ibc", left.conj(), left)[:, None] * np.einsum(
            "jac,jbc->jab", right.conj(), right
        )
        moment = np.einsum("iba,ijbc,jac->ija", left.conj(), tiles, right.conj(), optimize=True)
        middle = (np.linalg.pinv(inner, hermitian=True) @ moment[..., None])[..., 0].transpose(2, 0, 1)
        return left, middle, right

    def error(factors: Factors) -> float:
        return max(_residual(tiles, *factors) - 1e-14, 0.0)  # below, sweeps move rounding only

    return while_falling(sweep, (left, middle, right), error, sweeps, tolerance=1e-7)


def _solved(moment: np.ndarray, gram: np.ndarray) -> np.ndarray:
    return moment @ np.linalg.pinv(gram, hermitian=True)


def _residual(tiles: np.ndarray, left: np.ndarray, middle: np.ndarray, right: np.ndarray) -> float:
    product = np.einsum("iab,bij,jbc->ijac", left, middle, right, optimize=True)
    return float(np.linalg.norm(tiles - product) / max(np.linalg.norm(tiles), np.finfo(np.float64).tiny))
