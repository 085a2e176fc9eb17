"""Convolutions with filters about a direction: turned to the pole, where orders do not mix, and back."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gossamer._kernels.gaunt import AlignedProgram, SparseMap
from gossamer.linalg.products.gaunt.grids import packed, sphere_nodes
from gossamer.linalg.transforms.spherical.harmonics import theta_functions
from gossamer.linalg.transforms.spherical.rotations import exchange


def aligned_product(
    x: np.ndarray,
    filters: np.ndarray,
    vectors: np.ndarray,
    degrees: tuple[int, int, int],
    threads: int | None = None,
) -> np.ndarray:
    r"""The product of functions with filters :math:`\sum_l h_l \sum_m Y_{lm}(\hat r) Y_{lm}`, cut to a degree.

    About its own axis such a filter is constant: with the axis at the pole it has order 0 only (:math:`v = 0` of the
    Fourier coefficients), and the product acts on every order m of the function by itself.

    Shapes: x (edges, channels, (L + 1)^2), filters (edges, channels, L_f + 1), vectors (edges, 3), all of one dtype;
    ``degrees``: of x, of the filter, of the result.
    """
    edges, channels = x.shape[:2]
    L, L_f, out = degrees
    program = _program(L, L_f, out, x.dtype.name)
    result = program.run(
        x.reshape(edges * channels, (L + 1) ** 2),
        filters.reshape(edges * channels, L_f + 1),
        _turns(vectors),
        threads,
    )
    return result.reshape(edges, channels, (out + 1) ** 2)


def aligned_filter(
    x: np.ndarray,
    slope: np.ndarray,
    vectors: np.ndarray,
    degrees: tuple[int, int, int],
    threads: int | None = None,
) -> np.ndarray:
    """The slope (edges, channels, L_f + 1) in the filters of :func:`aligned_product`, given that of its result."""
    edges, channels = x.shape[:2]
    L, L_f, out = degrees
    result = _program(L, L_f, out, x.dtype.name).run_filter(
        x.reshape(edges * channels, (L + 1) ** 2),
        slope.reshape(edges * channels, (out + 1) ** 2),
        _turns(vectors),
        threads,
    )
    return result.reshape(edges, channels, L_f + 1)


def _turns(vectors: np.ndarray) -> np.ndarray:
    """Cosine and sine of the azimuth and of the polar angle; any azimuth does where the direction is the pole."""
    wide = vectors.astype(np.float64)
    x, y, z = wide.T
    level = np.hypot(x, z)
    length = np.hypot(level, y)
    polar = level == 0
    safe = np.where(polar, 1, level)
    columns = np.where(polar, 1, z / safe), np.where(polar, 0, x / safe), y / length, level / length
    return np.stack(columns, 1).astype(vectors.dtype)


@lru_cache(maxsize=128)
def _program(L: int, L_f: int, out: int, dtype: str) -> AlignedProgram:
    theta, weights = sphere_nodes((L + L_f + out) // 2 + 1, out)
    # a filter of order 0 leaves waves of the azimuth as they are: their squares integrate to pi, the constant to 2 pi
    azimuth = np.where(np.arange(out + 1) == 0, 2 * np.pi, np.pi)
    weights = weights * azimuth[:, None, None]
    # Y_l0 at the pole times Y_l0
    zonal = theta_functions(L_f, theta)[0] * np.sqrt((2 * np.arange(L_f + 1)[:, None] + 1) / (4 * np.pi))
    pointers, columns, values = exchange(max(L, out))
    return AlignedProgram(
        L,
        out,
        packed(theta_functions(L, theta)).astype(dtype),
        zonal.astype(dtype),
        packed(weights).astype(dtype),
        SparseMap(pointers, columns, values.astype(dtype)),
    )
