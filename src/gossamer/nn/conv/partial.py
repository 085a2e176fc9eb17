"""Convolutions with filters shorter than the sequence: chunk by chunk, in memory that does not grow with it."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.arrays import to_numpy, to_torch
from gossamer._core.checks import check_int
from gossamer._core.errors import ShapeError
from gossamer._kernels import fftconv as kernels
from gossamer.linalg.transforms.fft_conv.chains import cheapest_radices, next_smooth
from gossamer.nn.conv.flash_fft_conv import check_inputs

_SMALLEST_SIZE = 1024
_AT_ONCE = 1 << 20  # numbers in the windows of one call
_SHORT = 8  # outputs that a dot product gives sooner than a transform


class PartialFFTConv(torch.nn.Module):
    r"""Causal convolution with the first ``n_partial`` taps of each filter: ``y = u * (k[:n_partial], 0, 0, ...)``.

    Overlapping windows of N points give ``N - n_partial + 1`` outputs each: memory beyond inputs and results depends
    on N, not on the length, and a sequence can be extended for ever (:meth:`stream`).

    Parameters
    ----------
    n_partial : int
        Taps that are used.
    chunk : int, optional
        C, outputs of a window. By default the least power of two >= 4 ``n_partial`` and >= 1024 is N.

    Raises
    ------
    ArgumentError
        If a number is less than one.

    Notes
    -----
    O(L log N) time a channel. Gradients take the same windows again.

    References
    ----------
    Fu, Kumbong, Nguyen and Ré, "FlashFFTConv", ICLR 2024, arXiv 2311.05908, section 3.3.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import PartialFFTConv
    >>> conv, u, k = PartialFFTConv(16), torch.randn(1, 2, 5000), torch.randn(2, 5000)
    >>> stream = conv.stream(k)
    >>> steps = torch.cat([stream.step(piece) for piece in u.split(777, dim=2)], dim=2)
    >>> torch.allclose(steps, conv(u, k), atol=1e-4)
    True
    """

    def __init__(self, n_partial: int, chunk: int | None = None) -> None:
        super().__init__()
        self.n_partial = check_int("n_partial", n_partial, low=1)
        self.chunk = None if chunk is None else check_int("chunk", chunk, low=1)

    def forward(self, u: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """Convolve ``u`` (B, H, L) with ``k`` (H, Lk), of which taps from ``n_partial`` on are not looked at."""
        u, k, _ = check_inputs(u, k[..., : self.n_partial].contiguous(), (None, None), None)
        return _Windows.apply(u, k, self._chain(u.shape[2], k))

    def stream(self, k: torch.Tensor) -> PartialStream:
        """A stream that starts with an empty past, for filters ``k`` (H, Lk)."""
        return PartialStream(self, k[..., : self.n_partial].detach())

    def _chain(self, length: int, k: torch.Tensor) -> kernels.Chain:
        taps, dtype = k.shape[1], "float64" if k.dtype == torch.float64 else "float32"
        if self.chunk is None:
            size = _SMALLEST_SIZE
            while size < 4 * taps:
                size *= 2
        else:
            size = self.chunk + taps - 1
        size = min(size, length + taps - 1)
        square = kernels.lanes(dtype) ** 2
        rest = next_smooth(-(-size // (2 * square)))
        return kernels.chain(rest * square, cheapest_radices(rest), columns=True, twisted=True, dtype=dtype)

    def extra_repr(self) -> str:
        """Options."""
        return f"n_partial={self.n_partial}, chunk={self.chunk}"


class PartialStream:
    """A convolution whose input arrives in pieces; made by :meth:`PartialFFTConv.stream`.

    Parameters
    ----------
    conv : PartialFFTConv
        What is continued.
    k : tensor, shape (H, taps)
        Filters.
    """

    def __init__(self, conv: PartialFFTConv, k: torch.Tensor) -> None:
        self.conv, self.k = conv, k
        self._past: torch.Tensor | None = None
        self._spectra: dict[int, Any] = {}

    def step(self, u: torch.Tensor) -> torch.Tensor:
        """The outputs (B, H, n) of the next n inputs (B, H, n), n >= 0; no gradients."""
        with torch.no_grad():
            u, k, _ = check_inputs(u.contiguous(), self.k, (None, None), None)
            taps = k.shape[1]
            past = self._past
            if past is None:
                past = u.new_zeros(*u.shape[:2], taps - 1)
            if past.shape[:2] != u.shape[:2] or past.dtype != u.dtype:
                raise ShapeError(
                    f"u is {u.dtype} {tuple(u.shape)}: expected {past.dtype} {tuple(past.shape[:2])} + (n,), as before"
                )
            joined = torch.cat([past, u], dim=2)
            self._past = joined[..., joined.shape[2] - (taps - 1) :].clone()
            if not u.shape[2]:
                return u
            if u.shape[2] <= _SHORT:
                work = joined.to(k.dtype).unfold(2, taps, 1)  # (B, H, n, taps)
                return torch.einsum("bhnt,ht->bhn", work, k.flip(1)).to(u.dtype)
            chain = self.conv._chain(u.shape[2], k)
            if chain.points not in self._spectra:
                self._spectra = {chain.points: kernels.spectra_of(chain, to_numpy(k))}
            return _outputs(joined, k, chain, self._spectra[chain.points])


def _outputs(joined: torch.Tensor, k: torch.Tensor, chain: kernels.Chain, spectra: Any) -> torch.Tensor:
    """Outputs (B, H, n) of inputs (B, H, taps - 1 + n): each window is right from its last tap on, however it wraps."""
    taps, size = k.shape[1], 2 * chain.points
    batch, channels, length = joined.shape
    step, count = size - taps + 1, length - taps + 1
    out = joined.new_empty(batch, channels, count)
    at_once = max(1, _AT_ONCE // max(1, batch * channels * size))
    for first in range(0, count, step * at_once):
        windows = _windows(joined, first, size, step, at_once)
        rows = windows.reshape(-1, channels, size).to(k.dtype).numpy()
        y = to_torch(kernels.convolve(chain, rows, None, taps=taps, spectra=spectra))
        y = y.view(*windows.shape)[..., taps - 1 :]
        for i in range(len(windows)):
            start = first + i * step
            out[..., start : start + step] = y[i, ..., : min(step, count - start)]
    return out


def _windows(joined: torch.Tensor, first: int, size: int, step: int, at_once: int) -> torch.Tensor:
    """Windows (w, B, H, size) of the inputs from place ``first`` on, up to ``at_once``, the last one padded."""
    length = joined.shape[2]
    starts = [
        s for s in range(first, first + at_once * step, step) if s == first or s < length - (size - step)
    ]
    windows = joined.new_zeros(len(starts), *joined.shape[:2], size)
    for i, start in enumerate(starts):
        piece = joined[..., start : start + size]
        windows[i, ..., : piece.shape[2]] = piece
    return windows


class _Windows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: torch.Tensor, k: torch.Tensor, chain: kernels.Chain) -> torch.Tensor:
        ctx.save_for_backward(u, k)
        ctx.chain = chain
        joined = torch.nn.functional.pad(u.detach(), (k.shape[1] - 1, 0))
        return _outputs(joined, k, chain, kernels.spectra_of(chain, to_numpy(k)))

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        u, k = ctx.saved_tensors
        if torch.is_grad_enabled():
            with torch.enable_grad():
                n = u.shape[2] + k.shape[1]
                wide = u.to(k.dtype)
                y = torch.fft.irfft(torch.fft.rfft(wide, n=n) * torch.fft.rfft(k, n=n), n=n)[
                    ..., : u.shape[2]
                ]
                wanted = [x for x, need in zip((u, k), ctx.needs_input_grad, strict=False) if need]
                grads = iter(torch.autograd.grad(y.to(u.dtype), wanted, dy, create_graph=True))
            return (*(next(grads) if need else None for need in ctx.needs_input_grad[:2]), None)
        taps, chain = k.shape[1], ctx.chain
        size = 2 * chain.points
        step = size - taps + 1
        joined = torch.nn.functional.pad(u, (taps - 1, 0))
        behind = torch.nn.functional.pad(dy, (taps - 1, 0))
        du = torch.zeros_like(joined, dtype=k.dtype)
        dk = torch.zeros_like(k)
        spectra = kernels.spectra_of(chain, to_numpy(k))
        batch, channels = u.shape[:2]
        at_once = max(1, _AT_ONCE // max(1, batch * channels * size))
        for first in range(0, u.shape[2], step * at_once):
            rows = _windows(joined, first, size, step, at_once)
            grad = _windows(behind, first, size, step, at_once)
            grad[..., : taps - 1] = 0  # what the window before has given
            x, g = (w.reshape(-1, channels, size).to(k.dtype).numpy() for w in (rows, grad))
            parts = kernels.differentiate(
                chain,
                g,
                x,
                None,
                taps=taps,
                spectra=spectra,
                needs=(*ctx.needs_input_grad[:2], False, False, False),
            )
            if parts[1] is not None:
                dk += to_torch(parts[1])
            if parts[0] is not None:
                dx = to_torch(parts[0]).view(*rows.shape)
                for i in range(len(rows)):
                    start = first + i * step
                    end = min(start + size, joined.shape[2])
                    du[..., start:end] += dx[i, ..., : end - start]
        needs = ctx.needs_input_grad
        return du[..., taps - 1 :].to(u.dtype) if needs[0] else None, dk if needs[1] else None, None
