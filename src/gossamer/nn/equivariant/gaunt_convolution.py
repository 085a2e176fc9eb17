"""Messages along edges: the product of a feature with a filter about the direction of the edge."""

from __future__ import annotations

import math

import torch

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg.transforms.spherical.harmonics import (
    check_coefficients,
    check_degree,
    spherical_harmonics,
)
from gossamer.nn.equivariant.aligned_autograd import AlignedProduct
from gossamer.nn.equivariant.degree_weights import output_scales, spread_over_orders
from gossamer.nn.equivariant.gaunt_product import gaunt_product
from gossamer.nn.equivariant.radial import RadialMLP

METHODS = ("rotate", "general")


def gaunt_convolve(
    x: torch.Tensor,
    filters: torch.Tensor,
    edge_vec: torch.Tensor,
    L_in: int,
    L_filter: int,
    L_out: int,
    method: str = "rotate",
) -> torch.Tensor:
    r"""Multiply features by filters :math:`\sum_l h_l \sum_m Y_{lm}(\hat r) Y_{lm}` about the directions of edges.

    With ``"rotate"`` each feature is turned until its edge points to the pole. There the filter has order 0 only
    (:math:`v = 0` in Fourier space), the product acts on each order m by itself, and the result is turned back: the
    Fourier transform over the azimuth is saved. ``"general"`` forms the filter and takes the product of any two
    functions. Both give the same, at the poles too, where the angles of a rotation are not defined: the derivative in
    a direction is a torque, in which no angles occur.

    Parameters
    ----------
    x : tensor, shape (edges, channels, (L_in + 1)**2)
        Features at the far end of each edge.
    filters : tensor, shape (edges, channels, L_filter + 1)
        :math:`h_l`.
    edge_vec : tensor, shape (edges, 3)
        (x, y, z), of any length but 0.
    L_in, L_filter, L_out : int
        Degrees.
    method : {"rotate", "general"}
        How.

    Returns
    -------
    tensor, shape (edges, channels, (L_out + 1)**2)

    Raises
    ------
    ArgumentError
        If an edge has length zero, or shapes do not fit.

    Notes
    -----
    O(L^3) operations an edge and channel, either way; the rotation has the smaller constant from about L = 3 on.
    """
    check_choice("method", method, METHODS)
    check_coefficients("x", x, check_degree("L_in", L_in))
    if x.ndim != 3 or edge_vec.shape != (len(x), 3):
        raise ShapeError(f"x has shape {tuple(x.shape)} and edge_vec {tuple(edge_vec.shape)}: expected "
                         "(edges, channels, coefficients) and (edges, 3)")  # fmt: skip
    if filters.shape != (*x.shape[:2], check_degree("L_filter", L_filter) + 1):
        raise ShapeError(f"filters has shape {tuple(filters.shape)}: expected {(*x.shape[:2], L_filter + 1)}")
    still = (edge_vec == 0).all(-1)
    if bool(still.any()):
        raise ArgumentError(f"edge_vec is zero at {int(still.nonzero()[0])}: an edge needs a direction")
    check_degree("L_out", L_out)
    if method == "rotate":
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        z = AlignedProduct.apply(
            (L_in, L_filter, L_out), *(tensor.to(wide) for tensor in (x, filters, edge_vec))
        )
        return z.to(x.dtype)
    y = spread_over_orders(filters) * spherical_harmonics(edge_vec, L_filter)[:, None]
    top = min(L_out, L_in + L_filter)
    z = gaunt_product(x, y, L_in, L_filter, top)
    return torch.nn.functional.pad(z, (0, (L_out + 1) ** 2 - z.shape[-1]))


class GauntConvolution(torch.nn.Module):
    r"""Equivariant convolution: features times filters :math:`h_l(r) \, Y_l(\hat r)` with learned radial parts.

    Returns a message for every edge; their sum over the edges of a node is the convolution. Filters are scaled so that
    coefficients of variance 1 and radial parts of variance 1 give messages of variance 1.

    Parameters
    ----------
    L_in, L_filter, L_out : int
        Degrees of features, filters and messages.
    channels : int
        Of the features.
    radial : torch.nn.Module, optional
        Maps lengths (edges,) to (edges, channels * (L_filter + 1)) or that reshaped; by default a
        :class:`RadialMLP` with its cutoff at 5.
    method : {"rotate", "general"}
        As in :func:`gaunt_convolve`.

    References
    ----------
    Luo, Chen, Krishnapriyan. Gaunt Tensor Products. ICLR 2024, arXiv 2401.10216. Passaro, Zitnick. Reducing SO(3)
    Convolutions to SO(2). ICML 2023, arXiv 2302.03655.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import GauntConvolution
    >>> layer = GauntConvolution(2, 3, 3, channels=8)
    >>> layer(torch.randn(20, 8, 9), torch.randn(20, 3)).shape
    torch.Size([20, 8, 16])
    """

    scale: torch.Tensor

    def __init__(
        self,
        L_in: int,
        L_filter: int,
        L_out: int,
        channels: int,
        radial: torch.nn.Module | None = None,
        *,
        method: str = "rotate",
    ) -> None:
        super().__init__()
        self.degrees = (
            check_degree("L_in", L_in),
            check_degree("L_filter", L_filter),
            check_degree("L_out", L_out),
        )
        self.channels, self.method = (
            check_int("channels", channels, low=1),
            check_choice("method", method, METHODS),
        )
        self.radial = RadialMLP(channels * (L_filter + 1)) if radial is None else radial
        self.register_buffer("scale", math.sqrt(4 * math.pi) * torch.tensor(output_scales(*self.degrees)))

    def forward(self, x: torch.Tensor, edge_vec: torch.Tensor) -> torch.Tensor:
        """Messages (edges, channels, (L_out + 1)^2) of features (edges, channels, (L_in + 1)^2)."""
        if edge_vec.ndim != 2 or edge_vec.shape[1] != 3:
            raise ShapeError(f"edge_vec has shape {tuple(edge_vec.shape)}: expected (edges, 3)")
        lengths = torch.linalg.vector_norm(edge_vec, dim=-1)
        filters = self.radial(lengths).reshape(len(edge_vec), self.channels, self.degrees[1] + 1)
        return gaunt_convolve(x, filters, edge_vec, *self.degrees, self.method) * spread_over_orders(
            self.scale
        )

    def extra_repr(self) -> str:
        """Degrees, channels and method."""
        return f"{self.degrees}, channels={self.channels}, method={self.method!r}"
