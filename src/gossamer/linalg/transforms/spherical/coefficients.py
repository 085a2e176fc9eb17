"""Gaunt coefficients: integrals of three spherical harmonics."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from gossamer._core.errors import CostError, FormatError
from gossamer._core.files import atomic_path
from gossamer.linalg.transforms.spherical.harmonics import check_degree, gauss_legendre, theta_functions

FORMAT_VERSION = "1"
MAX_TERMS = 50_000_000


def gaunt_coefficients(L1: int, L2: int, L3: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the nonzero :math:`G_{l_1 m_1, l_2 m_2, l_3 m_3} = \int Y_{l_1 m_1} Y_{l_2 m_2} Y_{l_3 m_3} \, d\Omega`.

    The product of functions on the sphere with coefficients x and y has the coefficients
    :math:`z_k = \sum_{ij} G_{ijk} x_i y_j`. G is symmetric in its three indices, zero when :math:`l_1 + l_2 + l_3` is
    odd, and by Wigner and Eckart a multiple of the 3j symbol for every :math:`(l_1, l_2, l_3)`
    (:func:`gaunt_path_factor`). Tables are computed once for each triple and kept; see :func:`save_gaunt_coefficients`.

    Parameters
    ----------
    L1, L2, L3 : int
        Largest degrees, at most 64 each.

    Returns
    -------
    indices : ndarray of int32, shape (nnz, 3)
        Positions ``l*l + l + m``, sorted. Read-only.
    values : ndarray of float64, shape (nnz,)
        Right to some 1e-15. Read-only.

    Raises
    ------
    ArgumentError
        If a degree is out of range.
    CostError
        If there may be more than 50 million of them; the engines that use no table have no such bound.

    Notes
    -----
    O(L^5) nonzeros, by Gauss-Legendre integration over the polar angle, which is exact for these polynomials, and the
    closed form over the azimuth: O(L^6) operations.

    References
    ----------
    Luo, Chen, Krishnapriyan. Gaunt Tensor Products. ICLR 2024, arXiv 2401.10216.

    Examples
    --------
    >>> from gossamer.linalg import gaunt_coefficients
    >>> indices, values = gaunt_coefficients(1, 1, 2)
    >>> len(values), float(values[0].round(4))
    (21, 0.2821)
    """
    return _table(check_degree("L1", L1), check_degree("L2", L2), check_degree("L3", L3))


def gaunt_path_factor(l1: int, l2: int, l3: int) -> float:
    r"""The factor c with :math:`G = c \cdot w_{3j}`, for the real 3j symbols of e3nn (``wigner_3j``, of norm 1).

    .. math:: |c| = \sqrt{\frac{(2 l_1 + 1)(2 l_2 + 1)(2 l_3 + 1)}{4 \pi}}
              \left| \begin{pmatrix} l_1 & l_2 & l_3 \\ 0 & 0 & 0 \end{pmatrix} \right|

    Zero when :math:`l_1 + l_2 + l_3` is odd or the degrees form no triangle: such paths are not in a Gaunt product.

    Parameters
    ----------
    l1, l2, l3 : int
        Degrees of a path.
    """
    l1, l2, l3 = check_degree("l1", l1), check_degree("l2", l2), check_degree("l3", l3)
    if (l1 + l2 + l3) % 2 or not abs(l1 - l2) <= l3 <= l1 + l2:
        return 0.0
    theta, weights = gauss_legendre((l1 + l2 + l3) // 2 + 1)
    polar = theta_functions(max(l1, l2, l3), theta)[0]
    squared = _zonal_square(polar[l1], polar[l2], polar[l3], weights, (l1, l2, l3))
    return float(np.sqrt(squared * (2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1) / (4 * np.pi)))


def save_gaunt_coefficients(path: str | os.PathLike[str], L1: int, L2: int, L3: int) -> None:
    """Write the table of :func:`gaunt_coefficients` to a safetensors file, whole or not at all.

    Parameters
    ----------
    path : path
        The file; an older one is replaced.
    L1, L2, L3 : int
        Largest degrees.
    """
    indices, values = gaunt_coefficients(L1, L2, L3)
    metadata = {"gaunt": FORMAT_VERSION, "degrees": f"{L1} {L2} {L3}"}
    with atomic_path(path) as temporary:
        safetensors.numpy.save_file({"indices": indices, "values": values}, temporary, metadata=metadata)


def load_gaunt_coefficients(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read a table that :func:`save_gaunt_coefficients` wrote.

    Raises
    ------
    FormatError
        If the file is missing, damaged, of another version, or holds indices outside its degrees.
    """
    try:
        with safetensors.safe_open(Path(path), framework="numpy") as handle:
            metadata = handle.metadata() or {}
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118  (not a mapping)
    except (OSError, safetensors.SafetensorError) as error:
        raise FormatError(f"{path}: not a readable safetensors file ({error})") from None
    if metadata.get("gaunt") != FORMAT_VERSION or set(tensors) != {"indices", "values"}:
        raise FormatError(f"{path}: not a table of Gaunt coefficients of version {FORMAT_VERSION}")
    indices, values = tensors["indices"], tensors["values"]
    degrees = metadata.get("degrees", "").split()
    if len(degrees) != 3 or not all(d.isdigit() for d in degrees):
        raise FormatError(f"{path}: degrees {metadata.get('degrees')!r}: expected three integers")
    bounds = [(int(d) + 1) ** 2 for d in degrees]
    fits = indices.dtype == np.int32 and values.dtype == np.float64 and indices.shape == (len(values), 3)
    if not fits or (indices < 0).any() or (indices >= bounds).any() or not np.isfinite(values).all():
        raise FormatError(f"{path}: indices or values do not describe coefficients of degrees {degrees}")
    return indices, values


def _zonal_square(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, weights: np.ndarray, degrees: tuple[int, int, int]
) -> float:
    """The square of the 3j symbol (l1 l2 l3; 0 0 0): half the integral of three Legendre polynomials."""
    scale = np.prod([np.sqrt(4 * np.pi / (2 * l + 1)) for l in degrees])
    return float(0.5 * scale * (weights * a * b * c).sum())


@lru_cache(maxsize=64)
def _table(L1: int, L2: int, L3: int) -> tuple[np.ndarray, np.ndarray]:
    bound = _expected_terms(L1, L2, L3)
    if bound > MAX_TERMS:
        raise CostError(
            f"L1={L1}, L2={L2}, L3={L3}: up to {bound:.1e} coefficients, more than {MAX_TERMS:.0e}; "
            "the grid engines need no table"
        )
    theta, weights = gauss_legendre((L1 + L2 + L3) // 2 + 2)
    polar = [theta_functions(L, theta) for L in (L1, L2, L3)]
    found = []
    for a in range(L1 + 1):
        for b in range(L2 + 1):
            left = np.einsum("ip,jp->ijp", polar[0][a, a:], polar[1][b, b:] * weights)
            for c in sorted({a + b, abs(a - b)}):
                if c > L3:
                    continue
                block = np.einsum("ijp,kp->ijk", left, polar[2][c, c:])
                i, j, k = _selected(a, b, c, block.shape)
                l1, l2, l3, value = i + a, j + b, k + c, block[i, j, k]
                for s, t, u, azimuth in _azimuths(a, b, c):
                    rows = np.stack([l1 * (l1 + 1) + s, l2 * (l2 + 1) + t, l3 * (l3 + 1) + u], 1)
                    found.append((rows, value * azimuth))
    indices = np.concatenate([rows for rows, _ in found]).astype(np.int32)
    values = np.concatenate([value for _, value in found])
    order = np.lexsort(indices.T[::-1])
    indices, values = indices[order], values[order]
    indices.flags.writeable = values.flags.writeable = False
    return indices, values


def _selected(a: int, b: int, c: int, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Degrees that form a triangle with an even sum; all other integrals vanish exactly."""
    i, j, k = np.ogrid[tuple(slice(0, size) for size in shape)]
    l1, l2, l3 = i + a, j + b, k + c
    return np.nonzero(((l1 + l2 + l3) % 2 == 0) & (l3 <= l1 + l2) & (l3 >= abs(l1 - l2)))


def _azimuths(a: int, b: int, c: int) -> list[tuple[int, int, int, float]]:
    """Signed orders and the integral over the azimuth of the three waves cos or sin, nonzero ones."""
    result = []
    for s in {a, -a}:
        for t in {b, -b}:
            for u in {c, -c}:
                count = 2 * (a + b + c) + 1
                phi = 2 * np.pi * np.arange(count) / count
                waves = [np.cos(n * phi) if n >= 0 else np.sin(-n * phi) for n in (s, t, u)]
                integral = float(np.prod(waves, 0).sum() * 2 * np.pi / count)
                if abs(integral) > 0.1:  # the others are 0, these at least pi / 2
                    result.append((s, t, u, integral))
    return result


def _expected_terms(L1: int, L2: int, L3: int) -> float:
    low, mid, high = sorted((L1, L2, L3))
    return 2.0 * (low + 1) ** 2 * (mid + 1) ** 2 * (min(high, low + mid) + 1)
