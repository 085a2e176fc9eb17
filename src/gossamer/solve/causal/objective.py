"""What every stage of the path minimises: mu times the score, plus the distance from acyclic."""

from __future__ import annotations

import numpy as np

from gossamer.solve.causal.acyclicity import Acyclicity
from gossamer.solve.causal.scales import Scale


class Objective:
    """``mu S(W, sigma) + h_s(W)`` with all the arrays that evaluating it takes.

    Parameters
    ----------
    S : ndarray, shape (d, d)
        Covariance.
    scale : Scale
        The score without l1, and its noise scale.
    acyclicity : Acyclicity
        The measure h.
    lam : float
        Weight of the l1 norm in the score.
    """

    def __init__(self, S: np.ndarray, scale: Scale, acyclicity: Acyclicity, lam: float) -> None:
        self.S, self.scale, self.acyclicity, self.lam = S, scale, acyclicity, lam
        self.d = len(S)
        self.R = np.empty_like(S)
        self.scratch = np.empty_like(S)

    def settle(self, V: np.ndarray) -> None:
        """Compute R and the scale that is best at V."""
        np.matmul(self.S, V, out=self.R)
        self.scale.update(V, self.R, self.scratch)

    def penalty(self, V: np.ndarray) -> float:
        """``lam`` times the l1 norm of W."""
        return self.lam * float(np.abs(V).sum() - np.abs(np.diag(V)).sum())

    def score(self, V: np.ndarray) -> float:
        """The score at V with the present scale; R belongs to V."""
        return self.scale.smooth(V, self.R) + self.penalty(V)

    def measure(self, V: np.ndarray, s: float) -> float:
        """h at V; infinite where it is not defined."""
        inside = self.acyclicity.enter(V, s, with_value=True)
        return self.acyclicity.value if inside else float("inf")

    def half_gradient(self, V: np.ndarray, mu: float, out: np.ndarray, *, l1: bool) -> None:
        """Half the gradient at V, off the diagonal, of all or of the smooth part; R, scale and measure belong to V."""
        scratch = self.scratch
        self.scale.half_gradient(self.R, mu, out)
        self.acyclicity.add_half_gradient(V, scratch, out)
        if l1 and self.lam:
            np.sign(V, out=scratch)
            np.multiply(scratch, 0.5 * mu * self.lam, out=scratch)
            np.add(out, scratch, out=out)
        out.reshape(-1)[:: self.d + 1] = 0
