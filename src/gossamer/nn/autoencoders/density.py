"""How often features are used while an autoencoder trains."""

from __future__ import annotations

import numpy as np

from gossamer._core.checks import check_int
from gossamer.nn.autoencoders.codes import SparseCodes


class DensityTracker:
    """Moving averages of how often features are active, and for how long each has been silent.

    Parameters
    ----------
    n_features : int
    window : int
        Tokens over which densities are averaged.
    """

    def __init__(self, n_features: int, window: int = 100_000) -> None:
        self.window = check_int("window", window, low=1)
        self._sum, self._weight = np.zeros(check_int("n_features", n_features, low=1)), 0.0
        self.silent = np.zeros(n_features, np.int64)

    def update(self, codes: SparseCodes) -> None:
        """Take in the codes of a batch."""
        self.update_counts(codes.per_feature, codes.shape[0])

    def update_counts(self, active: np.ndarray, tokens: int) -> None:
        """Take in on how many of ``tokens`` tokens each feature was active."""
        decay = np.exp(-tokens / self.window)
        self._sum = decay * self._sum + (1 - decay) * active / tokens
        self._weight = decay * self._weight + (1 - decay)
        self.silent = np.where(active > 0, 0, self.silent + tokens)

    @property
    def density(self) -> np.ndarray:
        """Share of tokens on which each feature is active, shape (F,)."""
        return self._sum / self._weight if self._weight else self._sum.copy()

    def dead(self, after: int) -> np.ndarray:
        """Which features were silent on the last ``after`` tokens, bool, shape (F,)."""
        return self.silent >= after
