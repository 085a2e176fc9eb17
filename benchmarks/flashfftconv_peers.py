"""Peers of FlashFFTConv besides torch: SciPy, FFTW with measured plans, mkl_fft, each as it is fastest."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np


def by_scipy(u: Any, k: Any, pre: Any, post: Any) -> Callable[[], Any]:
    """pocketfft, two threads."""
    import scipy.fft
    import torch

    U, K, A, B = (x.numpy() for x in (u, k, pre, post))
    L = U.shape[-1]

    def run() -> Any:
        spectrum = scipy.fft.rfft(A * U, 2 * L, workers=2) * scipy.fft.rfft(K, 2 * L, workers=2)
        return torch.from_numpy(B * scipy.fft.irfft(spectrum, 2 * L, workers=2)[..., :L])

    return run


def by_fftw(u: Any, k: Any, pre: Any, post: Any) -> Callable[[], Any] | None:
    """Plans measured before, aligned buffers that stay, padding zeroed once; None where pyFFTW is not installed."""
    if importlib.util.find_spec("pyfftw") is None:
        return None
    import pyfftw
    import torch

    U, K, A, B = (x.numpy() for x in (u, k, pre, post))
    L = U.shape[-1]
    how = {"flags": ("FFTW_MEASURE",), "threads": 2}

    def planned(shape: tuple[int, ...]) -> tuple[Any, Any, Any]:
        rows = pyfftw.zeros_aligned((*shape, 2 * L), "float32")
        spectrum = pyfftw.zeros_aligned((*shape, L + 1), "complex64")
        plan = pyfftw.FFTW(rows, spectrum, axes=(-1,), **how)
        rows[:] = 0
        return rows, spectrum, plan

    u_rows, u_spectrum, u_plan = planned(U.shape[:-1])
    k_rows, k_spectrum, k_plan = planned(K.shape[:-1])
    back = pyfftw.zeros_aligned((*U.shape[:-1], 2 * L), "float32")
    inverse = pyfftw.FFTW(u_spectrum, back, axes=(-1,), direction="FFTW_BACKWARD", **how)
    u_rows[:], k_rows[:] = 0, 0

    def run() -> Any:
        np.multiply(A, U, out=u_rows[..., :L])
        k_rows[..., :L] = K
        u_plan.execute()
        k_plan.execute()
        np.multiply(u_spectrum, k_spectrum, out=u_spectrum)
        inverse.execute()
        return torch.from_numpy(B * back[..., :L] * np.float32(0.5 / L))

    return run


def by_mkl(u: Any, k: Any, pre: Any, post: Any) -> Callable[[], Any] | None:
    """mkl_fft, MKL's own threads; None where it is not installed."""
    if importlib.util.find_spec("mkl_fft") is None:
        return None
    import mkl_fft
    import torch

    U, K, A, B = (x.numpy() for x in (u, k, pre, post))
    L = U.shape[-1]

    def run() -> Any:
        spectrum = mkl_fft.rfft(A * U, 2 * L) * mkl_fft.rfft(K, 2 * L)
        return torch.from_numpy(B * mkl_fft.irfft(spectrum, 2 * L)[..., :L])

    return run
