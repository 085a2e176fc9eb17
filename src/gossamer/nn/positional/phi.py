"""Functions of eigenvalues, (B, d, 1) with a mask (B, d) to (B, d, m): equal eigenvalues get equal values."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ShapeError, bad_argument
from gossamer.nn.positional.bspline import BSplinePhi
from gossamer.nn.positional.perceptron import ScalarPerceptrons

NAMES = ("mlp", "deepsets", "bspline", "power", "ones", "indicator")
INITS = ("power", "random")
DECIMALS = 5
"""To which eigenvalues are rounded where a method asks which ones are equal."""


class MLPPhi(torch.nn.Module):
    """A perceptron of its own for each channel, the same for every eigenvalue; optionally on top of powers."""

    def __init__(self, m: int, hidden: int = 16, layers: int = 3, powers: bool = False) -> None:
        super().__init__()
        self.m, self.powers = m, powers
        self.net = ScalarPerceptrons(m, hidden, layers)
        if powers:
            self.net.start_at_zero()

    def forward(self, lam: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Values of the m functions."""
        learned = self.net(lam)
        return learned + powers(lam, 1, self.m) if self.powers else learned


class DeepSetsPhi(torch.nn.Module):
    """Layers that see each eigenvalue and the sum over all: functions of the eigenvalue given the whole spectrum."""

    def __init__(self, m: int, hidden: int = 16, layers: int = 4, powers: bool = False) -> None:
        super().__init__()
        self.m, self.powers = m, powers
        sizes = [1, *[hidden] * (layers - 1), m]
        self.own = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.all = torch.nn.ModuleList(
            torch.nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(sizes)
        )
        if powers:
            for parameter in (*self.own[-1].parameters(), *self.all[-1].parameters()):
                torch.nn.init.zeros_(parameter)

    def forward(self, lam: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Values of the m functions."""
        h = lam
        for number, (own, over_all) in enumerate(zip(self.own, self.all)):
            h = h.relu() if number else h
            h = own(h) + over_all((h * mask[:, :, None]).sum(1, keepdim=True))
        return h + powers(lam, 1, self.m) if self.powers else h


class PowerPhi(torch.nn.Module):
    """Powers of ``1 - lambda`` from 0 to m - 1: W is then a power of the normalised adjacency."""

    def __init__(self, m: int) -> None:
        super().__init__()
        self.m = m

    def forward(self, lam: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Values of the m functions."""
        return powers(lam, 0, self.m)


class OnesPhi(torch.nn.Module):
    """The constant 1: W is the projector on the eigenvectors that are kept."""

    def __init__(self, m: int) -> None:
        super().__init__()
        self.m = m

    def forward(self, lam: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Ones."""
        return lam.new_ones(*lam.shape[:2], self.m)


class IndicatorPhi(torch.nn.Module):
    """A channel for each distinct eigenvalue: the hard partition, which jumps where eigenvalues meet."""

    def __init__(self, m: int) -> None:
        super().__init__()
        self.m = m

    def forward(self, lam: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One at the channel of the eigenvalue's group, zero elsewhere."""
        group = eigenspaces(lam[:, :, 0])
        return torch.nn.functional.one_hot(group, self.m).to(lam.dtype) * mask[:, :, None]


def powers(lam: torch.Tensor, first: int, m: int) -> torch.Tensor:
    """``(1 - lam)`` to the powers from ``first``, m of them, (B, d, 1) to (B, d, m)."""
    return (1 - lam) ** torch.arange(first, first + m, device=lam.device)


def eigenspaces(lam: torch.Tensor) -> torch.Tensor:
    """Number of each ascending eigenvalue's eigenspace, int64 (B, d): equal if equal to five decimals."""
    rounded = (lam.detach() * 10**DECIMALS).round()
    new = torch.nn.functional.pad((rounded[:, 1:] != rounded[:, :-1]).long(), (1, 0))
    return torch.cumsum(new, 1)


def make_phi(
    phi: Any, d: int, m: int, *, init: str, hidden: int, layers: int, pieces: int
) -> torch.nn.Module:
    """The module that a name stands for; modules pass."""
    if isinstance(phi, torch.nn.Module):
        return phi
    check_choice("phi", phi, NAMES)
    from_powers = check_choice("phi_init", init, INITS) == "power"
    check_int("phi_hidden", hidden, low=1)
    check_int("phi_layers", layers, low=1)
    if phi == "indicator" and m < d:
        raise bad_argument("m", m, f"at least d={d} for phi='indicator', a channel for each eigenvalue")
    if phi == "mlp":
        return MLPPhi(m, hidden, layers, from_powers)
    if phi == "deepsets":
        return DeepSetsPhi(m, hidden, layers, from_powers)
    if phi == "bspline":
        return BSplinePhi(m, pieces)
    return {"power": PowerPhi, "ones": OnesPhi, "indicator": IndicatorPhi}[phi](m)


def apply_phi(phi: torch.nn.Module, lam: torch.Tensor, mask: torch.Tensor, m: int) -> torch.Tensor:
    """Values (B, d, m), zero at padding."""
    values = phi(lam[:, :, None], mask)
    if values.shape != (*lam.shape, m):
        raise ShapeError(f"phi gave shape {tuple(values.shape)}: expected {(*lam.shape, m)}")
    return values * mask[:, :, None]


__all__ = ["NAMES", "apply_phi", "eigenspaces", "make_phi"]
