"""Run a planned convolution, and its derivative, on NumPy arrays that have been checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.fft

from gossamer._core.arrays import to_bits, widen
from gossamer._core.threads import get_threads
from gossamer._kernels import fftconv as kernels
from gossamer.linalg.transforms.fft_conv.plan import FFTConvPlan

Arrays = tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]


def chain_of(plan: FFTConvPlan) -> kernels.Chain:
    """The compiled chain of a plan for codelets or products."""
    radices = plan.factors
    if plan.columns:
        radices = radices[:-2] or (1,)
    return kernels.chain(
        plan.points, radices, columns=plan.columns, twisted=not plan.circular, dtype=plan.sums,
        products=plan.engine == "gemm", bfloat16=plan.dtype == "bfloat16",
    )  # fmt: skip


def spectra_of(
    plan: FFTConvPlan,
    k: np.ndarray,
    threads: int | None = None,
    *,
    live: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Spectra of filters (channels, taps) as the engine stores them; of ``live`` tiles alone, weighted, where given."""
    k = _fitting(plan, k)
    if plan.engine == "fft":
        return scipy.fft.rfft(k, plan.size, workers=get_threads(threads))
    return kernels.spectra_of(chain_of(plan), k, threads, live=live, weights=weights)


def forward(
    plan: FFTConvPlan,
    u: np.ndarray,
    k: np.ndarray,
    gates: Arrays = (None, None, None),
    *,
    spectra: np.ndarray | None = None,
    live: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """``post * ((pre * u) conv k) + skip * u``; ``gates`` are pre, post, skip; bfloat16 comes as raw uint16."""
    pre, post, skip = gates
    if live is None:  # a filter that lacks part of its spectrum wraps around
        k = _reaching(plan, k, u.shape[2])
    if plan.engine == "fft":
        x = widen(u)
        pre, post, skip = (None if a is None else widen(a) for a in gates)
        workers = get_threads(threads)
        K = spectra_of(plan, k, threads) if spectra is None else spectra
        y = _convolved(plan, x if pre is None else pre * x, K, workers)
        y = y if post is None else post * y
        y = y if skip is None else y + skip[:, None] * x
        return _as_held(y, u.dtype)
    chain = chain_of(plan)
    raw = u.dtype == np.uint16
    if spectra is None and raw:
        spectra = spectra_of(plan, k, threads, live=live)
    return kernels.convolve(
        chain, u, None if spectra is not None else _fitting(plan, k), taps=k.shape[1], spectra=spectra,
        before=pre, after=post, skip=skip, live=live, threads=threads,
    )  # fmt: skip


def backward(
    plan: FFTConvPlan,
    dy: np.ndarray,
    u: np.ndarray,
    k: np.ndarray,
    gates: Arrays = (None, None, None),
    *,
    needs: Sequence[bool] = (True,) * 5,
    spectra: np.ndarray | None = None,
    live: np.ndarray | None = None,
    threads: int | None = None,
) -> list[np.ndarray | None]:
    """Gradients with respect to u, k, pre, post and skip; nothing of the forward pass but its inputs is needed.

    With ``live`` tiles that of k is of all its taps: those of a filter that lacks part of its spectrum wrap around.
    """
    pre, post, skip = gates
    taps = k.shape[1]
    if live is None:
        k = _reaching(plan, k, u.shape[2])
    if plan.engine == "fft":
        grads = _backward_by_fft(plan, dy, u, k, gates, needs, spectra, get_threads(threads))
    else:
        if spectra is None and u.dtype == np.uint16:
            spectra = spectra_of(plan, k, threads, live=live)
        fitting = _fitting(plan, k)
        grads = kernels.differentiate(
            chain_of(plan), dy, u, None if spectra is not None else fitting, taps=fitting.shape[1],
            spectra=spectra, before=pre, after=post, skip=skip, live=live, needs=needs, threads=threads,
        )  # fmt: skip
    dk = grads[1]
    if dk is not None and dk.shape[1] < taps:  # taps that reach no output
        grads[1] = np.concatenate([dk, np.zeros((len(dk), taps - dk.shape[1]), dk.dtype)], axis=1)
    return grads


def _reaching(plan: FFTConvPlan, k: np.ndarray, length: int) -> np.ndarray:
    """The taps that reach an output: all where they wrap around."""
    return k if plan.circular else k[:, : max(length, 1)]


def _fitting(plan: FFTConvPlan, k: np.ndarray) -> np.ndarray:
    """The taps that the transform holds, in its arithmetic."""
    return np.ascontiguousarray(widen(k)[:, : plan.size], dtype=plan.sums)


def _convolved(plan: FFTConvPlan, x: np.ndarray, K: np.ndarray, workers: int) -> np.ndarray:
    spectrum = scipy.fft.rfft(x, plan.size, workers=workers) * K
    return scipy.fft.irfft(spectrum, plan.size, workers=workers)[..., : x.shape[-1]]


def _backward_by_fft(
    plan: FFTConvPlan,
    dy: np.ndarray,
    u: np.ndarray,
    k: np.ndarray,
    gates: Arrays,
    needs: Sequence[bool],
    spectra: np.ndarray | None,
    workers: int,
) -> list[np.ndarray | None]:
    held, length = u.dtype, u.shape[-1]
    dy, u = widen(dy), widen(u)
    pre, post, skip = (None if a is None else widen(a) for a in gates)
    K = spectra_of(plan, k, workers) if spectra is None else spectra
    x, grad = u if pre is None else pre * u, dy if post is None else post * dy
    G = scipy.fft.rfft(grad, plan.size, workers=workers)
    grads: list[np.ndarray | None] = [None] * 5
    if needs[0] or needs[2]:
        dx = scipy.fft.irfft(G * K.conj(), plan.size, workers=workers)[..., :length]
        if needs[0]:
            du = dx if pre is None else pre * dx
            grads[0] = _as_held(du if skip is None else du + skip[:, None] * dy, held)
        if needs[2] and pre is not None:
            grads[2] = _as_held(u * dx, held)
    if needs[1]:
        X = scipy.fft.rfft(x, plan.size, workers=workers)
        dk = scipy.fft.irfft((G * X.conj()).sum(0), plan.size, workers=workers)
        grads[1] = np.ascontiguousarray(dk[:, : k.shape[1]])
    if needs[3] and post is not None:
        grads[3] = _as_held(dy * _convolved(plan, x, K, workers), held)
    if needs[4] and skip is not None:
        grads[4] = np.einsum("bhl,bhl->h", u.astype(np.float64), dy.astype(np.float64))
    return grads


def _as_held(x: np.ndarray, dtype: Any) -> np.ndarray:
    if dtype == np.uint16:
        return to_bits(x)
    return np.ascontiguousarray(x, dtype=dtype)


__all__ = ["backward", "chain_of", "forward", "spectra_of"]
