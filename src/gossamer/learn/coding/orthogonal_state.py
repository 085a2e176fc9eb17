"""State of the online orthogonal dictionary: the Frank-Wolfe iterate, what it averages, and what it watches."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gossamer.learn.coding.orthogonal_codes import stretched
from gossamer.linalg import polar_factor

REFRESH = 100  # samples between two whitening matrices
WINDOW, RECENT = 101, 8
DEVIATIONS = 6.0


@dataclass
class FrankWolfe:
    """One pass over a stream; memory of a few n x n matrices.

    Attributes
    ----------
    D : ndarray, shape (n, n)
        Iterate within the spectral ball, atoms in columns.
    p : float
        Norm.
    exponents, floors : pair of float
        Of the averaging and of the step.
    polar : str
        Method of the polar factor.
    every : int
        Steps between two of them.
    """

    D: np.ndarray
    p: float
    exponents: tuple[float, float]
    floors: tuple[float, float]
    polar: str
    every: int
    G: np.ndarray = field(init=False)
    S: np.ndarray | None = None  # where one factor serves several steps
    t: int = 0  # steps since the last restart
    steps: int = 0
    restarts: int = 0
    skipped: int = 0
    gap: float = math.nan
    history: list[tuple[int, float]] = field(default_factory=list)
    sparsity: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    vector: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.G = np.zeros_like(self.D)

    def step(self, Y: np.ndarray, reduce: Any = None) -> bool:
        """One step on samples Y (m, n); False, with nothing changed, if they are zero."""
        Z = Y @ self.D.conj()
        W = stretched(Z, self.p)
        total, m = Y.T @ W.conj(), len(Y)
        if reduce is not None:
            total, m = _reduced(total, m, reduce)
        if not total.any():
            self.skipped += 1
            return False
        self.t += 1
        self.steps += 1
        # free of scale: how much of the p-norm the codes have for their length
        length = float(np.mean(np.abs(Y) ** 2)) ** (self.p / 2)
        self.sparsity.append(float(np.real(np.vdot(W, Z))) / (Z.size * length) if length > 0 else 0.0)
        rho, gamma = (max(self.t**-e, low) for e, low in zip(self.exponents, self.floors, strict=True))
        real = self.D.real.dtype.type
        self.G = real(1 - rho) * self.G - real(rho * self.p / m) * total
        S = self.S
        if S is None or (self.t - 1) % self.every == 0:
            found = polar_factor(self.G, method=self.polar, vector=self.vector)
            self.vector = found.vector
            S = -found.unitary
            self.S = S if self.every > 1 else None
            nuclear = -float(np.real(np.vdot(S, self.G)))
            self.gap = float(np.real(np.vdot(self.D, self.G))) + nuclear
            if not self.history or self.steps >= 1.1 * self.history[-1][0]:
                self.history.append((self.steps, self.gap))
        self.D = real(1 - gamma) * self.D + real(gamma) * S
        return True

    def drifted(self) -> bool:
        """Whether the last codes are less sparse than those before, by six deviations of a mean."""
        if len(self.sparsity) < WINDOW:
            return False
        values = np.array(self.sparsity)
        before, now = values[:-RECENT], values[-RECENT:].mean()
        middle = np.median(before)
        deviation = 1.4826 * np.median(np.abs(before - middle)) / np.sqrt(RECENT)
        return bool(now < middle - DEVIATIONS * deviation)

    def restart(self) -> None:
        """Begin with long steps and no average, from where D is."""
        self.t = 0
        self.G = np.zeros_like(self.G)
        self.sparsity.clear()
        self.restarts += 1


@dataclass
class Whitener:
    """Running second moment of a stream, and the symmetric inverse root of it, renewed every hundred samples."""

    moment: np.ndarray
    rows: int = 0
    renewed: int = 0
    matrix: np.ndarray = field(init=False)
    inverse: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.matrix = self.inverse = np.eye(len(self.moment), dtype=self.moment.dtype)

    def see(self, Y: np.ndarray) -> None:
        """Count samples (m, n)."""
        share = len(Y) / (self.rows + len(Y))
        real = self.moment.real.dtype.type
        self.moment = real(1 - share) * self.moment + real(share / len(Y)) * (Y.T @ Y.conj())
        self.rows += len(Y)
        if not self.renewed or self.rows - self.renewed >= REFRESH:
            self.renewed = self.rows
            self.renew()

    def renew(self) -> None:
        """Roots of ``R + eps I``; directions that no sample has are left as large as the smallest ones allowed."""
        values, Q = np.linalg.eigh(self.moment)
        eps = 1e-6 * max(float(values.mean()), 1e-300)
        root = np.sqrt(np.maximum(values, 0) + eps)
        self.matrix = np.ascontiguousarray((Q / root) @ Q.conj().T)
        self.inverse = np.ascontiguousarray((Q * root) @ Q.conj().T)


def _reduced(total: np.ndarray, m: int, reduce: Any) -> tuple[np.ndarray, int]:
    """Sums over processes, in one message."""
    parts = [total.real.ravel(), total.imag.ravel()] if total.dtype.kind == "c" else [total.ravel()]
    summed = np.asarray(reduce(np.concatenate([*parts, np.array([m], total.real.dtype)])))
    n = total.size
    out = summed[:n] if total.dtype.kind != "c" else summed[:n] + 1j * summed[n : 2 * n]
    return out.reshape(total.shape).astype(total.dtype), round(float(summed[-1]))
