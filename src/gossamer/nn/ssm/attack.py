"""Noise that a layer cannot bear: one Fourier mode, at a frequency where its initialisation overreacts."""

from __future__ import annotations

import math
from typing import Any

import torch

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer.nn.ssm.discretize import DISCRETIZATIONS


def fourier_attack(u: torch.Tensor, frequency: Any, amplitude: float, phase: Any = 0.0) -> torch.Tensor:
    r"""Add one Fourier mode to sequences: :math:`u_k + a \cos(2 \pi f k / L + \varphi)`.

    Parameters
    ----------
    u : tensor, shape (..., L, H)
        Sequences; all features get the same mode.
    frequency : float
        f, in cycles a sequence; :func:`spike_frequency` says where a layer is vulnerable.
    amplitude : float
        a; its mean square is half of a's.
    phase : float or tensor, shape (...)
        In radians, one for all or one a sequence.

    Returns
    -------
    tensor, shape (..., L, H)

    Raises
    ------
    ShapeError
        u has less than two axes.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import fourier_attack
    >>> fourier_attack(torch.zeros(4, 1), 1, 2.0)[:, 0].round().int().tolist()
    [2, 0, -2, 0]
    """
    if u.ndim < 2:
        raise ShapeError(f"u has shape {tuple(u.shape)}: expected (..., L, H)")
    frequency, amplitude = check_float("frequency", frequency), check_float("amplitude", amplitude)
    length = u.shape[-2]
    # whole turns are taken off in double precision
    turns = torch.arange(length, dtype=torch.float64) * (frequency / length) % 1.0
    angle = 2 * math.pi * turns + torch.as_tensor(phase, dtype=torch.float64)[..., None]
    return u + amplitude * torch.cos(angle)[..., None].to(u.dtype)


def spike_frequency(n: int, dt: float, length: int, disc: str = "zoh") -> float:
    r"""Return where S4D-LegS differs most from HiPPO-LegS, :math:`\omega = n^2 / \pi`, in cycles a sequence.

    Parameters
    ----------
    n : int
        States.
    dt : float
        Step size.
    length : int
        Steps of a sequence.
    disc : {"zoh", "bilinear"}
        Discretisation: the first folds frequencies beyond half a cycle a step back, the second presses them together,
        :math:`2 \arctan(\omega \Delta / 2)`.

    Returns
    -------
    float
        Between 0 and ``length / 2``.

    Examples
    --------
    >>> from gossamer.nn import spike_frequency
    >>> round(spike_frequency(64, 1e-3, 1024), 1)
    212.5
    """
    check_choice("disc", disc, DISCRETIZATIONS)
    angle = check_int("n", n, low=1) ** 2 / math.pi * check_float("dt", dt, low=0, closed="neither")
    turns = angle / (2 * math.pi) if disc == "zoh" else math.atan(angle / 2) / math.pi
    return check_int("length", length, low=1) * abs(turns - round(turns))


__all__ = ["fourier_attack", "spike_frequency"]
