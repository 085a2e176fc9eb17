"""Product grids: Gauss-Legendre nodes on the sphere, or equidistant ones on the torus."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gossamer._kernels.gaunt import GridProgram
from gossamer.linalg.products.gaunt.factors import Degrees
from gossamer.linalg.transforms.spherical.fourier import fourier_integrals
from gossamer.linalg.transforms.spherical.harmonics import gauss_legendre, theta_functions


@lru_cache(maxsize=512)
def grid_program(grid: str, degrees: Degrees, dtype: str) -> GridProgram:
    """Tables of one of the grids ``"sphere"`` and ``"torus"`` for a product."""
    theta, weights = (_sphere if grid == "sphere" else _torus)(degrees)
    # the torus holds samples of all frequencies, the sphere only those that the wanted ones do not alias with
    needed = degrees.whole + degrees.out + 1 if grid == "sphere" else 2 * degrees.whole + 2
    quarter = -(-needed // 4)
    azimuth = 2 * np.pi * (np.arange(quarter) + 0.5) / (4 * quarter)
    orders = np.arange(max(*degrees.factors, degrees.out) + 1)[:, None]
    return GridProgram(
        degrees.factors,
        [packed(theta_functions(L, theta)).astype(dtype) for L in degrees.factors],
        degrees.out,
        packed(weights * (2 * np.pi / (4 * quarter))).astype(dtype),
        np.cos(orders * azimuth).astype(dtype),
        np.sin(orders * azimuth).astype(dtype),
    )


def sphere_nodes(count: int, L_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Northern nodes of ``count`` Gauss-Legendre nodes, and weighted polar functions (m, l, node) at both of a pair.

    An odd count has a node on the equator, which is its own partner: it comes twice with half its weight.
    """
    theta, weights = gauss_legendre(count)
    north = np.argsort(theta)[: (count + 1) // 2]
    weights = weights[north]
    if count % 2:
        weights[-1] /= 2
    return theta[north], theta_functions(L_out, theta[north]) * weights


def packed(table: np.ndarray) -> np.ndarray:
    """(m, l, node) to (m, l >= m; node)."""
    m, l = np.triu_indices(len(table))
    return np.ascontiguousarray(table[m, l])


def _sphere(degrees: Degrees) -> tuple[np.ndarray, np.ndarray]:
    return sphere_nodes((degrees.whole + degrees.out) // 2 + 1, degrees.out)


def _torus(degrees: Degrees) -> tuple[np.ndarray, np.ndarray]:
    """Equidistant nodes; the weights are the discrete cosine (even m) or sine series followed by its projection."""
    K = degrees.whole
    count = K + 1
    theta = np.pi * (np.arange(count) + 0.5) / count
    u = np.arange(K + 1)[:, None]
    scale = np.where(u == 0, 1, 2) / count
    integrals = fourier_integrals(K, degrees.out)
    weights = np.empty((degrees.out + 1, degrees.out + 1, count))
    weights[0::2] = integrals[0::2] @ (np.cos(u * theta) * scale)
    weights[1::2] = integrals[1::2] @ (np.sin(u * theta) * scale)
    north = (count + 1) // 2
    if count % 2:
        weights[..., north - 1] /= 2
    return theta[:north], weights[..., :north]
