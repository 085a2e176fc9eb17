"""What Gaunt products are measured against: e3nn by paths, FFTs as the paper's code makes them, tables."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from gossamer.linalg import fourier_to_sh, gaunt_coefficients, sh_to_fourier, spherical_harmonics


def irreps(channels: int, L: int) -> str:
    """All degrees up to L with natural parity, in e3nn's words."""
    return "+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(L + 1))


def e3nn_product(L1: int, L2: int, L3: int, channels: int, odd: bool = False) -> Any:
    """``o3.TensorProduct`` of all channel-wise paths, those of an even sum of degrees only unless ``odd``."""
    from e3nn import o3

    left, right = o3.Irreps(irreps(channels, L1)), o3.Irreps(irreps(channels, L2))
    out, paths = [], []
    for i, (_, a) in enumerate(left):
        for j, (_, b) in enumerate(right):
            for c in a * b:
                if c.l <= L3 and (odd or (a.l + b.l + c.l) % 2 == 0):
                    paths.append((i, j, len(out), "uuu", True))
                    out.append((channels, c))
    kinds = sorted({c for _, c in out})
    place = {c: k for k, c in enumerate(kinds)}
    paths = [(i, j, place[out[k][1]], mode, train) for i, j, k, mode, train in paths]
    return o3.TensorProduct(left, right, o3.Irreps([(channels, c) for c in kinds]), paths)


def e3nn_convolution(L: int, channels: int) -> Any:
    """``o3.TensorProduct`` of features and harmonics of edges, a weight from outside for each path and channel."""
    from e3nn import o3

    left, right = o3.Irreps(irreps(channels, L)), o3.Irreps(irreps(1, L))
    paths = [
        (i, j, k, "uvu", True)
        for i in range(L + 1)
        for j in range(L + 1)
        for k in range(abs(i - j), min(L, i + j) + 1, 2)
    ]
    return o3.TensorProduct(left, right, left, paths, shared_weights=False, internal_weights=False)


class FourierByTorch(torch.nn.Module):
    """Dense complex tables, zero-padded complex FFTs of the whole array, and the real part at the end."""

    def __init__(self, L: int) -> None:
        super().__init__()
        size = (L + 1) ** 2
        self.n = 4 * L + 1
        into = torch.from_numpy(sh_to_fourier(np.eye(size), L)).to(torch.complex64)
        basis = np.eye(self.n * self.n, dtype=complex).reshape(-1, self.n, self.n)
        back = torch.from_numpy(fourier_to_sh(basis, L) - 1j * fourier_to_sh(1j * basis, L)).to(
            torch.complex64
        )
        self.register_buffer("into", into)
        self.register_buffer("back", back.reshape(self.n, self.n, size))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Products (..., (L + 1)^2), cut to L."""
        f, g = (
            torch.fft.fft2(
                torch.einsum("...i,iuv->...uv", a.to(torch.complex64), self.into), (self.n, self.n)
            )
            for a in (x, y)
        )
        return torch.einsum("...uv,uvk->...k", torch.fft.ifft2(f * g), self.back).real


class TableByTorch(torch.nn.Module):
    """The sparse table: outer products of the pairs that occur, then a sparse matrix."""

    def __init__(self, L: int) -> None:
        super().__init__()
        indices, values = gaunt_coefficients(L, L, L)
        pairs, place = np.unique(indices[:, :2], axis=0, return_inverse=True)
        self.register_buffer("i", torch.from_numpy(pairs[:, 0]).long())
        self.register_buffer("j", torch.from_numpy(pairs[:, 1]).long())
        where = torch.from_numpy(np.stack([indices[:, 2], place.reshape(-1)]))
        self.matrix = torch.sparse_coo_tensor(
            where, torch.from_numpy(values).float(), ((L + 1) ** 2, len(pairs))
        ).to_sparse_csr()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Products (rows, (L + 1)^2) of rows."""
        return (self.matrix @ (x[:, self.i] * y[:, self.j]).T).T


class CGManyBody(torch.nn.Module):
    """Powers by chained Clebsch-Gordan products with a weight for each path and channel, in place of GauntManyBody.

    Intermediate degrees go up to ``L_between``; elements weigh the powers as in :class:`gossamer.nn.GauntManyBody`.
    """

    def __init__(
        self,
        L_in: int,
        L_out: int,
        correlation: int,
        channels: int,
        elements: int,
        L_between: int | None = None,
    ) -> None:
        super().__init__()
        self.L_out, self.channels = L_out, channels
        between = L_in if L_between is None else L_between
        self.degrees = (
            [L_in, *([between] * (correlation - 2)), L_out][:correlation] if correlation > 1 else [L_in]
        )
        self.products = torch.nn.ModuleList(
            e3nn_product(a, L_in, b, channels) for a, b in zip(self.degrees[:-1], self.degrees[1:])
        )
        self.weight = torch.nn.Parameter(
            torch.randn(correlation, elements, channels, L_out + 1) / correlation**0.5
        )
        self.register_buffer("order", torch.tensor([l for l in range(L_out + 1) for _ in range(2 * l + 1)]))

    def forward(self, x: torch.Tensor, onehot: torch.Tensor) -> torch.Tensor:
        """As :class:`gossamer.nn.GauntManyBody`."""
        weights = torch.einsum("ne,vecl->vncl", onehot, self.weight)[..., self.order]
        size = (self.L_out + 1) ** 2
        factor = to_e3nn(x)
        power, total = factor, weights[0] * x[..., :size]
        for term, product in enumerate(self.products, 1):
            power = product(power, factor)
            total = total + weights[term] * from_e3nn(power, self.channels)[..., :size]
        return total


class OneBody(torch.nn.Module):
    """The term of one factor alone: what is left of a model where products cost nothing."""

    def __init__(self, L_in: int, L_out: int, correlation: int, channels: int, elements: int) -> None:
        super().__init__()
        self.size = (L_out + 1) ** 2
        self.weight = torch.nn.Parameter(torch.randn(elements, channels))

    def forward(self, x: torch.Tensor, onehot: torch.Tensor) -> torch.Tensor:
        """As :class:`gossamer.nn.GauntManyBody`."""
        return (onehot @ self.weight)[..., None] * x[..., : self.size]


def to_e3nn(x: torch.Tensor) -> torch.Tensor:
    """(..., channels, (L + 1)^2) degree by degree."""
    L = int(x.shape[-1] ** 0.5) - 1
    return torch.cat([x[..., l * l : (l + 1) ** 2].flatten(-2) for l in range(L + 1)], -1)


def from_e3nn(x: torch.Tensor, channels: int) -> torch.Tensor:
    """Back."""
    L = int((x.shape[-1] // channels) ** 0.5) - 1
    sizes = [channels * (2 * l + 1) for l in range(L + 1)]
    return torch.cat([part.unflatten(-1, (channels, -1)) for part in x.split(sizes, -1)], -1)


def chained_many_body(L: int, L_out: int, channels: int) -> Any:
    """Third powers by two products of e3nn, nothing cut between."""
    first, second = e3nn_product(L, L, 2 * L, channels), e3nn_product(2 * L, L, L_out, channels)
    return lambda x: second(first(x, x), x)


def mace_contraction(L: int, L_out: int, channels: int, elements: int) -> tuple[Any, str]:
    """The symmetric contraction of three factors that MACE itself uses, and its version.

    Its package pins e3nn 0.4.4, but the contraction works with later ones: install it without dependencies.
    """
    try:
        from mace.modules.symmetric_contraction import SymmetricContraction
    except ImportError as error:
        raise SystemExit(
            f"{error}: pip install --no-deps mace-torch opt-einsum-fx torch-ema torchmetrics lightning-utilities"
        ) from None
    from e3nn import o3

    sizes = (o3.Irreps(irreps(channels, degree)) for degree in (L, L_out))
    return SymmetricContraction(*sizes, correlation=3, num_elements=elements), version("mace-torch")


def harmonics_of_edges(vectors: torch.Tensor, L: int) -> torch.Tensor:
    """In the normalisation that e3nn's products expect."""
    return spherical_harmonics(vectors, L) * (4 * np.pi) ** 0.5
