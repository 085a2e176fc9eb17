"""Features in the layout and normalisation of e3nn, to and fro."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from gossamer._core.arrays import Array, like, namespace
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg.transforms.spherical.harmonics import check_degree

NORMALIZATIONS = ("component", "norm", "integral")


def from_e3nn_irreps(x: Array, irreps: Any, normalization: str = "component") -> Array:
    r"""Features of e3nn as coefficients of functions on the sphere.

    A feature x in e3nn's basis stands for the function :math:`\sum_{lm} x_{lm} \tilde Y_{lm}`, where
    :math:`\tilde Y` is :math:`\sqrt{4 \pi} \, Y` in its normalisation ``"component"``,
    :math:`\sqrt{4 \pi / (2 l + 1)} \, Y` in ``"norm"``
    and Y itself in ``"integral"``; coefficients of Y are returned.

    Parameters
    ----------
    x : array, shape (..., channels * (L + 1)**2)
        Degree by degree, each as (channels, 2 l + 1). NumPy or torch.
    irreps : str or e3nn.o3.Irreps
        For example ``"16x0e + 16x1o + 16x2e"``: every degree from 0 to L once, with equal multiplicities and the parity
        :math:`(-1)^l`.
    normalization : {"component", "norm", "integral"}
        Of x.

    Returns
    -------
    array, shape (..., channels, (L + 1)**2)

    Raises
    ------
    ArgumentError
        If ``irreps`` are not of that form.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.nn import from_e3nn_irreps
    >>> from_e3nn_irreps(np.ones((5, 8)), "2x0e + 2x1o").shape
    (5, 2, 4)
    """
    channels, L = _channels(irreps)
    width = channels * (L + 1) ** 2
    if x.shape[-1] != width:
        raise ShapeError(f"x has shape {tuple(x.shape)}: expected {width} in the last place, for {irreps}")
    parts = [
        x[..., channels * l * l : channels * (l + 1) ** 2].reshape(*x.shape[:-1], channels, 2 * l + 1)
        for l in range(L + 1)
    ]
    return namespace(x).concat(parts, axis=-1) * _factors(L, normalization, x)


def to_e3nn_irreps(x: Array, normalization: str = "component") -> tuple[Array, str]:
    """Coefficients of functions on the sphere as features of e3nn, and their irreps: :func:`from_e3nn_irreps` undone.

    Parameters
    ----------
    x : array, shape (..., channels, (L + 1)**2)
        NumPy or torch.
    normalization : {"component", "norm", "integral"}
        Of the result.
    """
    L = math.isqrt(x.shape[-1]) - 1
    if x.ndim < 2 or x.shape[-1] != (L + 1) ** 2:
        raise ShapeError(f"x has shape {tuple(x.shape)}: expected (..., channels, (L + 1)^2)")
    channels = x.shape[-2]
    x = x / _factors(check_degree("L", L), normalization, x)
    parts = [
        x[..., l * l : (l + 1) ** 2].reshape(*x.shape[:-2], channels * (2 * l + 1)) for l in range(L + 1)
    ]
    irreps = "+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(L + 1))
    return namespace(x).concat(parts, axis=-1), irreps


def parse_irreps(irreps: Any) -> list[tuple[int, int, int]]:
    """Multiplicity, degree and parity (1 or -1) of each part of ``"16x0e + 1o"``, or of e3nn's object."""
    parts = []
    for part in str(irreps).split("+"):
        match = re.fullmatch(r"\s*(?:(\d+)\s*x\s*)?(\d+)([eo])\s*", part)
        if match is None:
            raise ArgumentError(
                f"irreps={str(irreps)!r}: expected parts such as 16x1o, found {part.strip()!r}"
            )
        multiplicity = check_int("multiplicity", int(match[1] or 1), low=0)
        parts.append((multiplicity, check_degree("l", int(match[2])), 1 if match[3] == "e" else -1))
    return parts


def _channels(irreps: Any) -> tuple[int, int]:
    parts = parse_irreps(irreps)
    channels = parts[0][0]
    if channels < 1 or parts != [(channels, l, (-1) ** l) for l in range(len(parts))]:
        wanted = "+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(len(parts)))
        raise ArgumentError(
            f"irreps={str(irreps)!r}: expected all degrees with one multiplicity, such as {wanted!r}"
        )
    return channels, len(parts) - 1


def _factors(L: int, normalization: str, x: Array) -> Array:
    check_choice("normalization", normalization, NORMALIZATIONS)
    degrees = np.array([l for l in range(L + 1) for _ in range(2 * l + 1)])
    squares = {
        "component": 4 * np.pi * np.ones(len(degrees)),
        "norm": 4 * np.pi / (2 * degrees + 1),
        "integral": np.ones(len(degrees)),
    }
    return like(np.sqrt(squares[normalization]).astype(str(x.dtype).rsplit(".", 1)[-1]), x)
