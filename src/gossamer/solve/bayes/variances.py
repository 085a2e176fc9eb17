r"""Updates of the prior variances under their Kronecker constraint.

All minimise, or try to, :math:`\sum \log \gamma + \Lambda / \gamma` over :math:`\gamma = \gamma_1 \otimes \dots \otimes
\gamma_I`, where :math:`\Lambda` holds the posterior second moments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import nnls

from gossamer.solve.bayes.modes import contract, outer

TINY = 1e-300
Update = Callable[[np.ndarray, list[np.ndarray], list[np.ndarray]], list[np.ndarray]]
"""Takes second moments (N,), variances a mode and the indices kept of each mode; returns new variances."""


def alternating(inner_tol: float, max_inner: int) -> Update:
    """AM: every mode in turn by its exact minimiser, until the variances settle."""

    def update(moments: np.ndarray, gammas: list[np.ndarray], kept: list[np.ndarray]) -> list[np.ndarray]:
        now = [g.copy() for g in gammas]
        before = outer(now)
        for _ in range(max_inner if len(now) > 1 else 1):
            for i in range(len(now)):
                now[i] = minimiser(moments, now, i)
            normalise(now)
            after = outer(now)
            if np.linalg.norm(after - before) <= inner_tol * np.linalg.norm(before):
                break
            before = after
        return now

    return update


def single_sweep(moments: np.ndarray, gammas: list[np.ndarray], kept: list[np.ndarray]) -> list[np.ndarray]:
    """KSBL: one sweep of the alternating formulas, not normalised."""
    now = [g.copy() for g in gammas]
    for i in range(len(now)):
        now[i] = minimiser(moments, now, i)
    return now


def rank_one(moments: np.ndarray, gammas: list[np.ndarray], kept: list[np.ndarray]) -> list[np.ndarray]:
    """SVD: the best Kronecker fit of the moments, one leading singular pair a mode."""
    found, rest = [], moments
    for g in gammas[:-1]:
        u, s, vh = np.linalg.svd(rest.reshape(len(g), -1), full_matrices=False)
        found.append(np.abs(u[:, 0]))
        rest = np.abs(s[0] * vh[0])
    return [*found, rest.copy()]


def coupled(couplings: Sequence[float], max_sweeps: int = 9, tol: float = 1e-4) -> Update:
    """PC: neighbours share variance in the modes whose coupling is positive; others alternate as in AM."""

    def update(moments: np.ndarray, gammas: list[np.ndarray], kept: list[np.ndarray]) -> list[np.ndarray]:
        now = [g.copy() for g in gammas]
        before = outer(now)
        spread = [neighbours(k, b) if b else None for k, b in zip(kept, couplings, strict=True)]
        for _ in range(max_sweeps):
            for i, C in enumerate(spread):
                now[i] = minimiser(moments, now, i)
                if C is not None:
                    size = float(now[i].max()) or 1.0
                    now[i] = size * (1e-5 + C @ nnls(C, now[i] / size)[0])  # nnls leaves exact zeros
            normalise(now)
            after = outer(now)
            if np.linalg.norm(after - before) <= tol * np.linalg.norm(before):
                break
            before = after
        return now

    return update


def neighbours(kept: np.ndarray, beta: float) -> np.ndarray:
    """One on the diagonal, beta between indices that were neighbours before pruning: (n, n)."""
    gap = np.abs(kept[:, None] - kept)
    return np.where(gap == 0, 1.0, np.where(gap == 1, beta, 0.0))


def minimiser(moments: np.ndarray, gammas: Sequence[np.ndarray], mode: int) -> np.ndarray:
    """The best variances of one mode, those of the others fixed."""
    weights = [1.0 / np.maximum(g, TINY) for g in gammas]
    return contract(moments, weights, mode) * (len(gammas[mode]) / len(moments))


def normalise(gammas: list[np.ndarray]) -> None:
    """Give all but the last mode unit norm, in place; the last one takes the scale."""
    for i, g in enumerate(gammas[:-1]):
        norm = float(np.linalg.norm(g))
        if norm > 0:
            gammas[i] = g / norm
            gammas[-1] = gammas[-1] * norm
