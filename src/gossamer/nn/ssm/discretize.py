"""From continuous time to steps."""

from __future__ import annotations

import torch

DISCRETIZATIONS = ("zoh", "bilinear")


def complex_expm1(x: torch.Tensor) -> torch.Tensor:
    """``exp(x) - 1`` for complex x, accurate near 0."""
    grown, half = torch.expm1(x.real), torch.sin(x.imag / 2)
    # (e^a - 1) cos b - 2 sin^2(b / 2): both terms are small where x is
    return torch.complex(grown * torch.cos(x.imag) - 2 * half * half, (grown + 1) * torch.sin(x.imag))


def discretize(
    Lambda: torch.Tensor, B: torch.Tensor, dt: torch.Tensor, disc: str
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Steps ``x_k = Lbar x_{k-1} + Bbar u_k`` of ``x' = Lambda x + B u``; shapes broadcast.

    "zoh" holds the input over a step: :math:`\bar\Lambda = e^{\Delta\Lambda}`,
    :math:`\bar B = \Lambda^{-1} (e^{\Delta\Lambda} - 1) B`. "bilinear" is the trapezoidal rule:
    :math:`\bar\Lambda = (1 + \Delta\Lambda/2) / (1 - \Delta\Lambda/2)`,
    :math:`\bar B = \Delta / (1 - \Delta\Lambda/2) B`.
    """
    x = dt * Lambda
    if disc == "zoh":
        growth = complex_expm1(x)
        return growth + 1, growth / Lambda * B
    return (1 + x / 2) / (1 - x / 2), dt / (1 - x / 2) * B
