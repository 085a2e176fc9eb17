"""The Fourier neural operator in one dimension, with the transform fixed or learned."""

from __future__ import annotations

import torch

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.nn.operators.monarch_fft import MonarchFFT


class SpectralConv1d(torch.nn.Module):
    r"""Multiply the lowest Fourier modes by learned matrices: ``y = F^{-1} (W_k (F x)_k)`` for ``k < modes``.

    Parameters
    ----------
    width : int
        Channels in and out.
    n : int
        Points.
    modes : int
        Modes that are kept, at most n / 2.
    transform : {"fft", "monarch"}
        The fast transform; or Monarch matrices that start as the transform and its inverse, and are learned.
    """

    def __init__(self, width: int, n: int, modes: int = 16, transform: str = "monarch") -> None:
        super().__init__()
        self.width, self.n = check_int("width", width, low=1), check_int("n", n, low=4)
        self.modes = check_int("modes", modes, low=1)
        if self.modes > n // 2:
            raise ArgumentError(
                f"modes={modes}: expected at most half of the n={n} points; nearest valid: {n // 2}"
            )
        weight = torch.rand(self.modes, width, width, 2) / width
        self.weight = torch.nn.Parameter(weight)
        self.transform = check_choice("transform", transform, ("fft", "monarch"))
        if transform == "monarch":
            self.forth, self.back = MonarchFFT(n, norm="ortho"), MonarchFFT(n, inverse=True, norm="ortho")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Real (batch, width, n) in and out."""
        if x.shape[-1] != self.n:
            raise ShapeError(f"x has shape {tuple(x.shape)}: expected {self.n} points in the last place")
        learned = self.transform == "monarch"
        modes = self.forth(x) if learned else torch.fft.rfft(x, norm="ortho")
        kept = torch.einsum("bik,kio->bok", modes[..., : self.modes], torch.view_as_complex(self.weight))
        if not learned:
            return torch.fft.irfft(
                torch.nn.functional.pad(kept, (0, self.n // 2 + 1 - self.modes)), self.n, norm="ortho"
            )
        twice = torch.full((self.modes,), 2.0, dtype=x.dtype)  # each mode stands for its mirror image too
        twice[0] = 1
        return self.back(torch.nn.functional.pad(kept * twice, (0, self.n - self.modes))).real


class FourierOperator1d(torch.nn.Module):
    r"""A Fourier neural operator on a periodic interval: layers ``x <- gelu(spectral(x) + W x)``.

    Parameters
    ----------
    n : int
        Points.
    modes : int
        Modes that each layer keeps.
    width : int
        Channels.
    depth : int
        Layers.
    transform : {"fft", "monarch"}
        As in :class:`SpectralConv1d`.

    Notes
    -----
    With "monarch" the network starts as the Fourier neural operator of equal weights, and learns its transforms.
    Give them a smaller learning rate or none of the weight decay: they start at what is right for smooth fields.

    References
    ----------
    Li et al., "Fourier neural operator", ICLR 2021. Dao et al., "Monarch", ICML 2022.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import FourierOperator1d
    >>> FourierOperator1d(48, modes=8, width=16)(torch.randn(2, 48)).shape
    torch.Size([2, 48])
    """

    grid: torch.Tensor

    def __init__(
        self, n: int, modes: int = 16, width: int = 64, depth: int = 4, transform: str = "monarch"
    ) -> None:
        super().__init__()
        self.n = check_int("n", n, low=4)
        self.enter = torch.nn.Linear(2, width)
        self.spectral = torch.nn.ModuleList(
            SpectralConv1d(width, n, modes, transform) for _ in range(check_int("depth", depth, low=1))
        )
        self.pointwise = torch.nn.ModuleList(torch.nn.Conv1d(width, width, 1) for _ in range(depth))
        self.leave = torch.nn.Sequential(
            torch.nn.Linear(width, 128), torch.nn.GELU(), torch.nn.Linear(128, 1)
        )
        self.register_buffer("grid", torch.arange(n) / n, persistent=False)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Fields (batch, n) to fields (batch, n)."""
        if u.ndim != 2 or u.shape[1] != self.n:
            raise ShapeError(f"u has shape {tuple(u.shape)}: expected (batch, {self.n})")
        grid = self.grid.to(u.dtype).expand_as(u)
        x = self.enter(torch.stack([u, grid], dim=-1)).transpose(1, 2)
        for i, (spectral, pointwise) in enumerate(zip(self.spectral, self.pointwise, strict=True)):
            x = spectral(x) + pointwise(x)
            if i + 1 < len(self.spectral):
                x = torch.nn.functional.gelu(x)
        return self.leave(x.transpose(1, 2))[..., 0]
