"""Convolutions as long as the sequence: fused from gate to gate, computed again backward."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Sequence
from typing import Any

import torch

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.linalg.transforms.fft_conv.autograd import plan_for, tensor_fft_conv
from gossamer.linalg.transforms.fft_conv.plan import ENGINES, FFTConvPlan
from gossamer.linalg.transforms.fft_conv.run import spectra_of

DTYPES = (torch.float32, torch.float64, torch.bfloat16)
_NOTHING = (None, 0, None, None)  # a filter that was seen, its version and plan, its spectra


class FlashFFTConv(torch.nn.Module):
    r"""Causal or circular convolution of every channel with a filter of its own, by short fused Fourier transforms.

    .. math:: y_h = \mathrm{post}_h \odot \bigl((\mathrm{pre}_h \odot u_h) * k_h\bigr) + D_h u_h

    One pass over memory: gates are multiplied at load and store, padding is never stored, and backward starts from the
    inputs alone. Nothing is learned here; give it the filters of a layer.

    Parameters
    ----------
    fft_size : int, optional
        Least N; L + Lk - 1 by default. It changes no result unless ``allow_alias``.
    engine : {"auto", "codelet", "gemm", "fft"}
        See :func:`gossamer.linalg.plan_fft_conv`; :meth:`explain` says what "auto" takes.
    factors : sequence of int or "paper", optional
        Lengths of the short transforms; "paper" takes those of the publication, as matrix products.
    dtype : torch.dtype, optional
        Of the arithmetic: float32, float64, or bfloat16 for products of bfloat16 factors (engine "gemm") with sums and
        twiddle factors of float32, by AVX512-BF16's dot product where the CPU has it. By default float64 for float64,
        else float32.
    allow_alias : bool
        Let the convolution wrap around at ``fft_size`` where that is too small, instead of refusing.

    Raises
    ------
    ArgumentError
        If an option is unknown, or (in the call) ``fft_size`` is too small for sequence and filter.

    Notes
    -----
    O(B H L log L) time, memory of the result and O(L) a thread. On a padded convolution the transform runs modulo
    ``z^(N/2) - i``: N real numbers as N / 2 complex ones, no mirrored frequencies. In evaluation mode, without
    gradients, the spectra of an unchanged filter are kept from call to call.

    References
    ----------
    Fu, Kumbong, Nguyen and Ré, "FlashFFTConv: Efficient Convolutions for Long Sequences with Tensor Cores",
    ICLR 2024, arXiv 2311.05908.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import FlashFFTConv
    >>> u, k = torch.randn(2, 4, 100), torch.randn(4, 100)
    >>> y = FlashFFTConv()(u, k)
    >>> expected = torch.fft.irfft(torch.fft.rfft(u, n=200) * torch.fft.rfft(k, n=200), n=200)[..., :100]
    >>> torch.allclose(y, expected, atol=1e-4)
    True
    """

    def __init__(
        self,
        fft_size: int | None = None,
        *,
        engine: str = "auto",
        factors: Sequence[int] | str | None = None,
        dtype: torch.dtype | None = None,
        allow_alias: bool = False,
    ) -> None:
        super().__init__()
        self.fft_size = None if fft_size is None else check_int("fft_size", fft_size, low=1)
        self.engine = check_choice("engine", engine, ENGINES)
        if isinstance(factors, str):
            check_choice("factors", factors, ("paper",))
        self.factors = (
            factors if factors is None or isinstance(factors, str) else tuple(int(f) for f in factors)
        )
        if dtype is not None and dtype not in DTYPES:
            raise ArgumentError(f"dtype={dtype}: expected one of {', '.join(map(str, DTYPES))}")
        self.dtype = dtype
        self.allow_alias = bool(allow_alias)
        self._kept: tuple[Any, int, Any, Any] = _NOTHING

    def forward(
        self,
        u: torch.Tensor,
        k: torch.Tensor,
        pregate: torch.Tensor | None = None,
        postgate: torch.Tensor | None = None,
        skip: torch.Tensor | None = None,
        circular: bool = False,
    ) -> torch.Tensor:
        """Convolve.

        Parameters
        ----------
        u : tensor, shape (B, H, L)
            float32, float64 or bfloat16 (computed in float32, or as ``dtype`` says).
        k : tensor, shape (H, Lk) or (1, H, Lk)
            Filters; taps beyond L reach no output of a padded convolution.
        pregate, postgate : tensor, shape (B, H, L), optional
            Multiplied with the input and with the result; smaller ones are broadcast.
        skip : tensor, shape (H,), optional
            D, of the direct term.
        circular : bool
            Wrap around after L points (or ``fft_size``), without padding.

        Returns
        -------
        y : tensor, shape (B, H, L)
            In the dtype of u.
        """
        filters, held = k, u.dtype
        u, k, gates = check_inputs(self._computed(u), k, (pregate, postgate), skip)
        if torch.compiler.is_compiling():
            factors = self.factors if self.factors in (None, "paper") else "x".join(map(str, self.factors))
            how = (self.fft_size, circular, self.allow_alias, self.engine, factors, self._arithmetic())
            return torch.ops.gossamer.fft_conv(u, k, *gates, *how).to(held)
        plan = self._plan(u, k, circular)
        return tensor_fft_conv(u, k, gates, plan, self._spectra(plan, filters, k, u.shape[2])).to(held)

    def explain(self, u: torch.Tensor, k: torch.Tensor, circular: bool = False) -> FFTConvPlan:
        """What runs for these inputs, and why; printing it gives a sentence."""
        u, k, _ = check_inputs(self._computed(u), k, (None, None), None)
        return self._plan(u, k, circular)

    def _plan(self, u: torch.Tensor, k: torch.Tensor, circular: bool) -> FFTConvPlan:
        how = (self.fft_size, circular, self.allow_alias, self.engine, self.factors, self._arithmetic())
        return plan_for(u, k, *how)

    def _arithmetic(self) -> str | None:
        return None if self.dtype is None else str(self.dtype).removeprefix("torch.")

    def _computed(self, u: torch.Tensor) -> torch.Tensor:
        """``u`` in what kernels read: sums are of float64 where, and only where, that is the arithmetic."""
        if self.dtype is None or u.dtype not in DTYPES:
            return u
        if self.dtype == torch.float64:
            return u.to(torch.float64)
        return u.to(torch.float32) if u.dtype == torch.float64 else u

    def _spectra(self, plan: FFTConvPlan, filters: torch.Tensor, k: torch.Tensor, length: int) -> Any:
        """Spectra of a filter that comes again unchanged; None where it is new or gradients are wanted."""
        if self.training or torch.is_grad_enabled() or filters.is_inference():
            return None
        seen, version, known, spectra = self._kept
        if seen is None or seen() is not filters or version != filters._version or known != plan:
            self._kept = (weakref.ref(filters), filters._version, plan, None)
            return None
        if spectra is None:
            reach = k.shape[1] if plan.circular else max(length, 1)
            spectra = spectra_of(plan, k.numpy()[:, :reach])
            self._kept = (seen, version, known, spectra)
        return spectra

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": _NOTHING}

    def extra_repr(self) -> str:
        """Options."""
        return f"fft_size={self.fft_size}, engine={self.engine!r}, factors={self.factors}, dtype={self.dtype}"


_warned = False


def contiguous(name: str, x: torch.Tensor) -> torch.Tensor:
    """``x`` in contiguous rows; the first copy of a process is warned of."""
    global _warned
    if x.is_contiguous():
        return x
    if not _warned and not torch.compiler.is_compiling():
        _warned = True
        warnings.warn(f"{name} is not contiguous and is copied; this is said once", stacklevel=3)
    return x.contiguous()


def check_inputs(
    u: torch.Tensor,
    k: torch.Tensor,
    gates: Sequence[torch.Tensor | None],
    skip: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]]:
    """Refuse what does not fit; give the rest contiguous and of one dtype."""
    if u.dtype not in DTYPES:
        raise UnsupportedError(f"u is {u.dtype}: expected float32, float64 or bfloat16 (real sequences)")
    if u.device.type != "cpu":
        raise UnsupportedError(f"u is on {u.device}: expected a tensor on the CPU")
    if u.ndim != 3:
        raise ShapeError(f"u has shape {tuple(u.shape)}: expected (B, H, L)")
    if k.ndim == 3 and k.shape[0] == 1:
        k = k[0]
    if k.ndim != 2 or k.shape[0] != u.shape[1] or k.shape[1] < 1:
        raise ShapeError(
            f"k has shape {tuple(k.shape)}: expected ({u.shape[1]}, Lk) with Lk >= 1, as u has {u.shape[1]} channels"
        )
    if not k.is_floating_point():
        raise UnsupportedError(f"k is {k.dtype}: expected real numbers")
    k = k.to(torch.float64 if u.dtype == torch.float64 else torch.float32)
    rows: list[torch.Tensor | None] = []
    for name, gate in zip(("pregate", "postgate"), gates, strict=True):
        if gate is None:
            rows.append(None)
            continue
        try:
            gate = gate.to(u.dtype).expand(u.shape)
        except RuntimeError:
            raise ShapeError(
                f"{name} has shape {tuple(gate.shape)}: expected {tuple(u.shape)}, as u"
            ) from None
        rows.append(contiguous(name, gate))
    if skip is not None:
        if tuple(skip.shape) != (u.shape[1],):
            raise ShapeError(
                f"skip has shape {tuple(skip.shape)}: expected ({u.shape[1]},), a number a channel"
            )
        skip = skip.to(u.dtype).contiguous()
    return contiguous("u", u), contiguous("k", k), (rows[0], rows[1], skip)
