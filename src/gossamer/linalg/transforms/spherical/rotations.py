"""Rotations of functions on the sphere: Wigner matrices of the real harmonics."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from gossamer._core.arrays import Array, like, namespace
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg.transforms.spherical.harmonics import (
    check_coefficients,
    check_degree,
    gauss_legendre,
    spherical_harmonics,
)


def wigner_d(l: int, rotation: Array) -> Array:
    r"""Wigner matrix of degree l of a rotation, in the real basis: :math:`Y_l(R p) = D^l(R) \, Y_l(p)`.

    .. math:: D^l(R) = Z^l(\alpha) \, J^l \, Z^l(\beta) \, J^l \, Z^l(\gamma) \quad\text{for}\quad
              R = R_y(\alpha) R_x(\beta) R_y(\gamma)

    where Z mixes m with -m by cosines and sines and J, constant and its own inverse, exchanges the axes x and y.
    Orthogonal; :math:`D(RS) = D(R) D(S)`. Coefficients of the rotated function are :math:`D^l x^l`. Equivalent to
    ``e3nn.o3.Irrep(l, (-1)**l).D_from_matrix`` for proper rotations.

    Parameters
    ----------
    l : int
        Degree, at most 64.
    rotation : array, shape (..., 3, 3)
        Proper rotations of (x, y, z), in NumPy or torch.

    Returns
    -------
    array, shape (..., 2 l + 1, 2 l + 1)
        Differentiable where the angles are: not where R maps the y axis to itself or its opposite.

    Raises
    ------
    ShapeError
        If ``rotation`` does not hold 3 x 3 matrices.
    ArgumentError
        If a matrix is not orthogonal with determinant 1.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import wigner_d
    >>> np.allclose(wigner_d(4, np.eye(3)), np.eye(9))
    True
    """
    check_degree("l", l)
    alpha, beta, gamma = euler_angles(rotation)
    xp = namespace(rotation)
    J = _exchange(l).astype(_float_name(rotation))
    first, second, third = (_about_pole(xp, l, angle) for angle in (alpha, beta, gamma))
    J = like(J, rotation)
    return first @ J @ second @ J @ third


def rotate_harmonics(x: Array, rotation: Array, L: int) -> Array:
    r"""Coefficients of the rotated function :math:`p \mapsto F_x(R^{-1} p)`: :math:`D^l(R) x^l` for every degree.

    Parameters
    ----------
    x : array, shape (..., (L + 1)**2)
        Coefficients in NumPy or torch.
    rotation : array, shape (..., 3, 3)
        Of the same kind and dtype; the leading axes broadcast against those of x.
    L : int
        Largest degree.

    Returns
    -------
    array, shape (..., (L + 1)**2)

    Notes
    -----
    O(L^3) operations for each function.
    """
    check_coefficients("x", x, check_degree("L", L))
    xp = namespace(x, rotation)
    parts = [(wigner_d(l, rotation) @ x[..., l * l : (l + 1) ** 2, None])[..., 0] for l in range(L + 1)]
    return xp.concat(parts, axis=-1)


def euler_angles(rotation: Array) -> tuple[Array, Array, Array]:
    """Angles of R = Ry(alpha) Rx(beta) Ry(gamma), with beta in [0, pi]; gamma is 0 where only a sum is defined."""
    if rotation.ndim < 2 or tuple(rotation.shape[-2:]) != (3, 3):
        raise ShapeError(f"rotation has shape {tuple(rotation.shape)}: expected (..., 3, 3)")
    R = rotation
    xp = namespace(R)
    gram = R @ xp.matrix_transpose(R)
    off = float(xp.max(xp.abs(gram - like(np.eye(3, dtype=_float_name(R)), R)))) if gram.shape[0] else 0.0
    sign = (R[..., 0, :] * xp.linalg.cross(R[..., 1, :], R[..., 2, :])).sum(-1)
    if not off <= 1e-5 or not bool((sign > 0).all()):
        raise ArgumentError(f"rotation is orthogonal up to {off:.1g}, determinant sign {float(sign.min()):.0f}: "
                            "expected proper rotations")  # fmt: skip
    polar = xp.hypot(
        R[..., 0, 1], R[..., 2, 1]
    )  # of the image of the y axis, sin(beta) (sin alpha, ., cos alpha)
    beta = xp.atan2(polar, R[..., 1, 1])
    alpha = xp.atan2(R[..., 0, 1], R[..., 2, 1])
    # Rx(-beta) Ry(-alpha) R = Ry(gamma) takes z to (sin gamma, 0, cos gamma) and x to (cos gamma, 0, -sin gamma)
    a, b = xp.cos(alpha), xp.sin(alpha)
    gamma = xp.atan2(a * R[..., 0, 2] - b * R[..., 2, 2], a * R[..., 0, 0] - b * R[..., 2, 0])
    return alpha, beta, gamma


@lru_cache(maxsize=65)
def _exchange(l: int) -> np.ndarray:
    """J: the half turn about the axis between x and y, by exact integration over the sphere."""
    theta, weights = gauss_legendre(l + 1)
    phi = 2 * np.pi * np.arange(2 * l + 2) / (2 * l + 2)
    s = np.sin(theta)[:, None]
    points = np.stack(
        np.broadcast_arrays(s * np.sin(phi), np.cos(theta)[:, None], s * np.cos(phi)), -1
    ).reshape(-1, 3)
    here = spherical_harmonics(points, l)[:, l * l :]
    there = spherical_harmonics(points[:, [1, 0, 2]] * [1, 1, -1], l)[:, l * l :]
    J = here.T @ (np.repeat(weights, len(phi))[:, None] * there) * (2 * np.pi / len(phi))
    J[np.abs(J) < 1e-14] = 0
    return (J + J.T) / 2


@lru_cache(maxsize=65)
def rotation_generators(l: int) -> np.ndarray:
    r"""Slopes of :func:`wigner_d` at the identity, (3, 2 l + 1, 2 l + 1), for rotations about x, y and z.

    Antisymmetric: :math:`D^l(R) = \exp(\omega_x G_x + \omega_y G_y + \omega_z G_z)` for the rotation by the angle
    :math:`|\omega|` about :math:`\omega`.
    """
    polar = np.diag(-np.arange(-l, l + 1.0))[:, ::-1]
    J = _exchange(l)
    first = J @ polar @ J
    generators = np.stack([first, polar, first @ polar - polar @ first])
    generators.flags.writeable = False
    return generators


def exchange(L: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """J of all degrees up to L as row pointers (int64), columns (int32) and values (float64)."""
    pointers, columns, values = [np.zeros(1, np.int64)], [], []
    for l in range(L + 1):
        J = _exchange(l)
        row, column = np.nonzero(J)
        pointers.append(np.cumsum(np.bincount(row, minlength=2 * l + 1)) + pointers[-1][-1])
        columns.append(column + l * l)
        values.append(J[row, column])
    return (
        np.concatenate(pointers).astype(np.int64),
        np.concatenate(columns).astype(np.int32),
        np.concatenate(values),
    )


def _about_pole(xp: Any, l: int, angle: Array) -> Array:
    """Z: f(phi - angle) takes cos m phi to cos m angle cos m phi + sin m angle sin m phi."""
    m = np.arange(-l, l + 1)
    phase = angle[..., None] * like(m.astype(_float_name(angle)), angle)
    eye, mirror = np.eye(2 * l + 1), np.eye(2 * l + 1)[::-1].copy()
    kind = _float_name(angle)
    # row m: cos(m angle) on the diagonal, -sin(m angle) at -m; row -m: sin(m angle) at m, which is -sin(-m angle)
    mirror[l, l] = 0
    cosine, sine = xp.cos(phase)[..., None], xp.sin(phase)[..., None]
    return cosine * like(eye.astype(kind), angle) - sine * like(mirror.astype(kind), angle)


def _float_name(x: Array) -> str:
    return str(x.dtype).rsplit(".", 1)[-1]
