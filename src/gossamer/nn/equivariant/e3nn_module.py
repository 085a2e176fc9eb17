"""A stand-in for the full tensor product of e3nn, by Gaunt products."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.checks import check_choice
from gossamer._core.errors import ShapeError
from gossamer.linalg.transforms.spherical.coefficients import gaunt_path_factor
from gossamer.nn.equivariant.e3nn_layout import parse_irreps
from gossamer.nn.equivariant.gaunt_product import gaunt_product

Part = tuple[int, int, int]  # multiplicity, degree, parity


def gaunt_path_scale(l1: int, l2: int, l3: int, normalization: str = "component") -> float:
    r"""The factor that takes a path of a Gaunt product to that of e3nn's tensor product, for an even sum of degrees.

    e3nn multiplies :math:`w_{3j}` by :math:`\sqrt{2 l_3 + 1}` (``irrep_normalization="component"``) or by
    :math:`\sqrt{(2 l_1 + 1)(2 l_2 + 1)}` (``"norm"``); a Gaunt product has :math:`c \, w_{3j}`. Weights of paths that
    were trained with e3nn are multiplied by this to act on Gaunt products.

    Parameters
    ----------
    l1, l2, l3 : int
        Degrees of the path.
    normalization : {"component", "norm"}
        Of e3nn's tensor product.
    """
    check_choice("normalization", normalization, ("component", "norm"))
    factor = gaunt_path_factor(l1, l2, l3)
    if not factor:
        raise ShapeError(f"l1={l1}, l2={l2}, l3={l3}: expected a triangle of degrees with an even sum")
    size = 2 * l3 + 1 if normalization == "component" else (2 * l1 + 1) * (2 * l2 + 1)
    return float(size**0.5 / factor)


class _FullProduct(torch.nn.Module):
    """Every even path of two features, in the layout and order of ``e3nn.o3.FullTensorProduct``."""

    def __init__(self, first: list[Part], second: list[Part], normalization: str) -> None:
        super().__init__()
        self.first, self.second = first, second
        paths: list[tuple[int, int, int, int, int, int, float]] = []
        for i, (mul1, l1, p1) in enumerate(first):
            for j, (mul2, l2, p2) in enumerate(second):
                for l3 in range(abs(l1 - l2), l1 + l2 + 1, 2):
                    scale = gaunt_path_scale(l1, l2, l3, normalization)
                    paths.append((l3, p1 * p2, len(paths), i, j, mul1 * mul2, scale))
        self.paths = sorted(paths)
        self.irreps_in1, self.irreps_in2 = _format(first), _format(second)
        self.irreps_out = _format([(path[5], path[0], path[1]) for path in self.paths])

    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        """Features (..., dimension of irreps_in1) and (..., dimension of irreps_in2), in e3nn's layout."""
        left, right = _split("x1", x1, self.first), _split("x2", x2, self.second)
        products: dict[tuple[int, int], torch.Tensor] = {}
        parts = []
        for l3, _, _, i, j, multiplicity, scale in self.paths:
            l1, l2 = self.first[i][1], self.second[j][1]
            if (i, j) not in products:
                a, b = _embed(left[i], l1)[..., :, None, :], _embed(right[j], l2)[..., None, :, :]
                products[i, j] = gaunt_product(a, b, l1, l2)
            part = products[i, j][..., l3 * l3 : (l3 + 1) ** 2] * scale
            parts.append(part.reshape(*part.shape[:-3], multiplicity * (2 * l3 + 1)))
        return torch.cat(parts, -1)

    def extra_repr(self) -> str:
        """The irreps."""
        return f"{self.irreps_in1} x {self.irreps_in2} -> {self.irreps_out}"


def as_e3nn_module(
    irreps_in1: Any, irreps_in2: Any, irrep_normalization: str = "component"
) -> torch.nn.Module:
    """Build a module that returns what ``e3nn.o3.FullTensorProduct`` returns on its paths with an even sum of degrees.

    Drop-in where these paths suffice: the same layout and order, and path by path the same numbers. Its attribute
    ``irreps_out`` names what comes out. Odd paths, such as the cross product 1 x 1 -> 1, are left out.

    Parameters
    ----------
    irreps_in1, irreps_in2 : str or e3nn.o3.Irreps
        Of the inputs; any multiplicities, degrees and parities.
    irrep_normalization : {"component", "norm"}
        As in e3nn.

    Returns
    -------
    torch.nn.Module
        Without parameters.

    Examples
    --------
    >>> from gossamer.nn import as_e3nn_module
    >>> as_e3nn_module("2x0e + 1x1o", "1x1o").irreps_out
    '1x0e+2x1o+1x2e'
    """
    return _FullProduct(
        _merged(parse_irreps(irreps_in1)), _merged(parse_irreps(irreps_in2)), irrep_normalization
    )


def _merged(parts: list[Part]) -> list[Part]:
    """Neighbours of one kind become one part, empty ones vanish."""
    result: list[Part] = []
    for multiplicity, l, parity in parts:
        if result and result[-1][1:] == (l, parity):
            result[-1] = (result[-1][0] + multiplicity, l, parity)
        elif multiplicity:
            result.append((multiplicity, l, parity))
    return result


def _format(parts: list[Part]) -> str:
    return "+".join(f"{multiplicity}x{l}{'e' if parity > 0 else 'o'}" for multiplicity, l, parity in parts)


def _split(name: str, x: torch.Tensor, parts: list[Part]) -> list[torch.Tensor]:
    sizes = [multiplicity * (2 * l + 1) for multiplicity, l, _ in parts]
    if x.shape[-1] != sum(sizes):
        raise ShapeError(
            f"{name} has shape {tuple(x.shape)}: expected {sum(sizes)} in the last place, {_format(parts)}"
        )
    return [
        piece.reshape(*x.shape[:-1], multiplicity, 2 * l + 1)
        for piece, (multiplicity, l, _) in zip(x.split(sizes, -1), parts)
    ]


def _embed(x: torch.Tensor, l: int) -> torch.Tensor:
    """One degree as a function: zeros in the lower ones."""
    return torch.nn.functional.pad(x, (l * l, 0))
