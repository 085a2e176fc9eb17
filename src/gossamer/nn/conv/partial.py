"""Convolutions with filters shorter than the sequence: window by window, in memory that does not grow with it."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.arrays import to_numpy, to_torch
from gossamer._core.checks import check_int
from gossamer._core.errors import ShapeError
from gossamer._kernels import fftconv as kernels
from gossamer.linalg.transforms.fft_conv.autograd import held_array, held_tensor, with_graph
from gossamer.linalg.transforms.fft_conv.windows import Windows, choose_windows
from gossamer.nn.conv.flash_fft_conv import check_inputs

_SHORT = 8  # outputs that a dot product gives sooner than a transform


class PartialFFTConv(torch.nn.Module):
    r"""Causal convolution with the first ``n_partial`` taps of each filter: ``y = u * (k[:n_partial], 0, 0, ...)``.

    Overlapping windows of N points give ``N - n_partial + 1`` outputs each. They are read from the input and written to
    the result in place: memory beyond those depends on N, not on the length, and a sequence can be extended for ever
    (:meth:`stream`).

    Parameters
    ----------
    n_partial : int
        Taps that are used.
    chunk : int, optional
        C, outputs of a window at least. By default windows are those of least predicted time
        (:func:`gossamer.linalg.calibrate_fft_conv` measures what it goes by): :meth:`explain` says which.

    Raises
    ------
    ArgumentError
        If a number is less than one.

    Notes
    -----
    O(L log N) time a channel. Gradients take windows of the same length.

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
        return _Windowed.apply(u, k, self._windows(u, k))

    def stream(self, k: torch.Tensor) -> PartialStream:
        """A stream that starts with an empty past, for filters ``k`` (H, Lk)."""
        return PartialStream(self, k[..., : self.n_partial].detach())

    def explain(self, u: torch.Tensor, k: torch.Tensor) -> Windows:
        """Which windows these inputs are cut into; printing it gives a sentence."""
        u, k, _ = check_inputs(u, k[..., : self.n_partial].contiguous(), (None, None), None)
        return self._windows(u, k)

    def _windows(self, u: torch.Tensor, k: torch.Tensor) -> Windows:
        batch, channels, length = u.shape
        return choose_windows(
            length, k.shape[1], chunk=self.chunk, rows=batch * channels, channels=channels,
            dtype="float64" if k.dtype == torch.float64 else "float32",
        )  # fmt: skip

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
            windows = self.conv._windows(u, k)
            if windows.points not in self._spectra:
                self._spectra = {windows.points: kernels.spectra_of(windows.chain(), to_numpy(k))}
            return _outputs(joined, k, windows, self._spectra[windows.points], history=taps - 1)


def _outputs(
    u: torch.Tensor, k: torch.Tensor, windows: Windows, spectra: Any, history: int = 0
) -> torch.Tensor:
    y = kernels.convolve(
        windows.chain(), held_array(u), to_numpy(k) if spectra is None else None, taps=k.shape[1], spectra=spectra,
        step=windows.step, history=history,
    )  # fmt: skip
    return held_tensor(y, u)


def _spectra(u: torch.Tensor, k: torch.Tensor, windows: Windows) -> Any:
    """None where the kernel takes the filters themselves, and transforms them where it needs them."""
    return kernels.spectra_of(windows.chain(), to_numpy(k)) if u.dtype == torch.bfloat16 else None


class _Windowed(torch.autograd.Function):
    """Keeps its inputs and nothing else."""

    @staticmethod
    def forward(ctx: Any, u: torch.Tensor, k: torch.Tensor, windows: Windows) -> torch.Tensor:
        ctx.save_for_backward(u, k)
        ctx.windows = windows
        return _outputs(u, k, windows, _spectra(u, k, windows))

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        u, k = ctx.saved_tensors
        windows, needs = ctx.windows, ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():
            return (*with_graph(_composed, (u, k), dy, needs), None)
        spectra = _spectra(u, k, windows)
        du, dk, *_ = kernels.differentiate(
            windows.chain(), held_array(dy.contiguous()), held_array(u), to_numpy(k) if spectra is None else None,
            taps=k.shape[1], spectra=spectra, needs=(*needs, False, False, False), step=windows.step,
        )  # fmt: skip
        return held_tensor(du, u) if needs[0] else None, to_torch(dk) if needs[1] else None, None


def _composed(u: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """The same by torch's transforms, where a graph of the gradients is wanted."""
    n = u.shape[2] + k.shape[1]
    y = torch.fft.irfft(torch.fft.rfft(u.to(k.dtype), n=n) * torch.fft.rfft(k, n=n), n=n)
    return y[..., : u.shape[2]].to(u.dtype)
