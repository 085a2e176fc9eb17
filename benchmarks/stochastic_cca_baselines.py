"""Other stochastic ways to the same subspaces, each small: SGHA, gamma-EigenGame, stochastic power, deep CCA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from gossamer.learn import StochasticCCA, StochasticPLS

Fit = Callable[[np.ndarray, np.ndarray, int, int, float, int], tuple[np.ndarray, np.ndarray]]
LATE = 3  # averages count step t as t ** LATE, as those of StochasticCCA


def batches(rows: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """One epoch."""
    order = np.random.default_rng(seed).permutation(rows)
    for start in range(0, rows - size + 1, size):
        yield order[start : start + size]


class Average:
    """Late iterates count more."""

    def __init__(self, value: np.ndarray) -> None:
        self.value, self.steps = value.copy(), 0

    def add(self, value: np.ndarray) -> None:
        """Count one iterate."""
        self.steps += 1
        self.value += (value - self.value) * (LATE + 1) / (self.steps + LATE)


class Moments:
    """Products of a batch with A and B of the generalised eigenproblem; features are centred over all rows before."""

    def __init__(self, X: np.ndarray, Y: np.ndarray, ridge: float) -> None:
        self.X, self.Y, self.ridge = X, Y, ridge

    def products(self, rows: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``A W`` and ``B W``."""
        x, y, p, m = self.X[rows], self.Y[rows], self.X.shape[1], len(rows)
        zx, zy = x @ W[:p], y @ W[p:]
        A = np.concatenate([x.T @ zy, y.T @ zx]) / m
        if self.ridge == 1:
            return A, W
        return A, np.concatenate([x.T @ zx, y.T @ zy]) / m


def start(X: np.ndarray, Y: np.ndarray, K: int, seed: int, ridge: float) -> np.ndarray:
    """The first weights (p + q, K) of ours: for CCA a power step on 100 rows, turned to half unit variance."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(X), 100, replace=False)
    parts = []
    for view in (X[rows], Y[rows]):
        centred = view - view.mean(axis=0)
        W = rng.standard_normal((view.shape[1], K))
        W = W if ridge == 1 else centred.T @ (centred @ W)
        metric = W.T @ W if ridge == 1 else (centred @ W).T @ (centred @ W) / 99
        parts.append(W @ np.linalg.inv(np.linalg.cholesky(metric).T) / np.sqrt(2))
    return np.concatenate(parts).astype(X.dtype)


def sgha(ridge: float, average: bool, gaussian: bool = False) -> Fit:
    """``W += eta (A[b] W - B[b] W (W^T A[b'] W))``, b' the batch that follows."""

    def fit(X: np.ndarray, Y: np.ndarray, K: int, size: int, rate: float, seed: int) -> Any:
        moments, p = Moments(X, Y, ridge), X.shape[1]
        W = start(X, Y, K, seed, ridge)
        if gaussian:  # small, or W^T A W may begin below zero, where W grows without end
            W = (0.03 / np.sqrt(p) * np.random.default_rng(seed).standard_normal(W.shape)).astype(X.dtype)
        mean, parts = Average(W), list(batches(len(X), size, seed))
        for rows, later in zip(parts, parts[1:] + parts[:1]):
            A, B = moments.products(rows, W)
            W = W + rate * (A - B @ (W.T @ moments.products(later, W)[0]))
            mean.add(W)
        W = mean.value if average else W
        return W[:p], W[p:]

    return fit


def eigengame(ridge: float, gamma: float = 0.1) -> Fit:
    """gamma-EigenGame: unit vectors, each penalised for what earlier ones have; B W as a running mean."""

    def fit(X: np.ndarray, Y: np.ndarray, K: int, size: int, rate: float, seed: int) -> Any:
        moments, p = Moments(X, Y, ridge), X.shape[1]
        W = np.linalg.qr(start(X, Y, K, seed, ridge))[0]
        running = None
        before = np.triu(np.ones((K, K)), 1)  # [j, i]: j < i
        for rows in batches(len(X), size, seed):
            A, B = moments.products(rows, W)
            running = B if running is None else (1 - gamma) * running + gamma * B
            norm = np.sqrt(np.maximum(np.sum(W * running, axis=0), 1e-4))
            wBw, wAw = np.sum(W * B, axis=0), np.sum(W * A, axis=0)
            Ay, By = A / norm, running / norm
            wAy, wBy = (W.T @ Ay).T * before, (W.T @ By).T  # [j, i]
            step = wBw * A - wAw * B - (By @ wAy) * wBw + B * np.sum(wAy * wBy, axis=0)
            W = W + rate * step
            W /= np.linalg.norm(W, axis=0)
        return W[:p], W[p:]

    return fit


def power(X: np.ndarray, Y: np.ndarray, K: int, size: int, rate: float, seed: int) -> Any:
    """Stochastic power for PLS: alternate ``U <- qr(U + eta X^T (Y V) / m)`` and the same of V."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((X.shape[1], K)))[0].astype(X.dtype)
    V = np.linalg.qr(rng.standard_normal((Y.shape[1], K)))[0].astype(X.dtype)
    for rows in batches(len(X), size, seed):
        x, y = X[rows], Y[rows]
        U = np.linalg.qr(U + rate * x.T @ (y @ V) / len(rows))[0]
        V = np.linalg.qr(V + rate * y.T @ (x @ U) / len(rows))[0]
    return U, V


def ours(pls: bool, average: bool) -> Fit:
    """StochasticCCA or StochasticPLS in one epoch, one thread."""

    def fit(X: np.ndarray, Y: np.ndarray, K: int, size: int, rate: float, seed: int) -> Any:
        kind: Any = StochasticPLS if pls else StochasticCCA
        model = kind(
            K, batch_size=size, learning_rate=rate, average=average, random_state=seed, n_jobs=1
        ).fit(X, Y)
        return model.x_weights_, model.y_weights_

    return fit


def cca_zoo(ridge: float) -> Fit:
    """cca-zoo's StochasticCCAEY, one epoch."""

    def fit(X: np.ndarray, Y: np.ndarray, K: int, size: int, rate: float, seed: int) -> Any:
        from cca_zoo.stochastic import StochasticCCAEY

        model = StochasticCCAEY(
            K, learning_rate=rate, batch_size=size, max_iter=1, shrinkage=ridge, random_state=seed
        ).fit([X, Y])
        return model.weights_[0], model.weights_[1]

    return fit


class STOL(torch.nn.Module):
    """Deep CCA from running covariances (stochastic correlation, EMA 0.9): whiten by them, correlate the batch."""

    def __init__(self, K: int, decay: float = 0.9, ridge: float = 1e-3) -> None:
        super().__init__()
        self.decay, self.ridge = decay, ridge
        self.covariances: list[torch.Tensor | None] = [None, None, None]
        self.K = K

    def forward(self, z: torch.Tensor, z2: torch.Tensor) -> torch.Tensor:
        """Minus the squared canonical correlations of the running covariances."""
        a, b = z - z.mean(0), z2 - z2.mean(0)
        m = len(z) - 1
        current = []
        for i, (left, right) in enumerate(((a, a), (b, b), (a, b))):
            new, old = left.T @ right / m, self.covariances[i]
            current.append(new if old is None else self.decay * old + (1 - self.decay) * new)
            self.covariances[i] = current[i].detach()
        eye = self.ridge * torch.eye(self.K)
        roots = [torch.linalg.cholesky(c + eye) for c in current[:2]]
        T = torch.linalg.solve_triangular(roots[0], current[2], upper=False)
        return -torch.linalg.solve_triangular(roots[1], T.T, upper=False).square().sum()


class NOI(torch.nn.Module):
    """Nonlinear orthogonal iterations: regress on the other view, whitened by its running covariance."""

    def __init__(self, K: int, decay: float = 0.9, ridge: float = 1e-3) -> None:
        super().__init__()
        self.decay, self.ridge, self.K = decay, ridge, K
        self.covariances: list[torch.Tensor | None] = [None, None]

    def forward(self, z: torch.Tensor, z2: torch.Tensor) -> torch.Tensor:
        """Mean squared distance to the targets, which are held fixed."""
        centred = [v - v.mean(0) for v in (z, z2)]
        targets = []
        for i, view in enumerate(centred):
            fixed = view.detach()
            new, old = fixed.T @ fixed / (len(z) - 1), self.covariances[i]
            c = new if old is None else self.decay * old + (1 - self.decay) * new
            self.covariances[i] = c
            sizes, Q = torch.linalg.eigh(c + self.ridge * torch.eye(self.K))
            targets.append(fixed @ (Q / sizes.sqrt()) @ Q.T)
        return sum((view - target).square().mean() for view, target in zip(centred, targets[::-1]))
