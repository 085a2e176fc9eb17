"""Functions with a known sparse spectrum, and the sums by which the method is defined."""

import numpy as np


def characters(points, support):
    """(-1)^<m, k> by counting bits one at a time."""
    shared = points[:, None] & support[None, :]
    odd = np.zeros(shared.shape, bool)
    for bit in range(62):
        odd ^= ((shared >> np.uint64(bit)) & np.uint64(1)).astype(bool)
    return np.where(odd, -1.0, 1.0)


class Spectrum:
    """A random support with signs or given values; counts what it is asked."""

    def __init__(self, n, K, seed=0, snr_db=None, coef=None, support=None):
        self.rng = np.random.default_rng(seed)
        if support is None:
            support = np.unique(self.rng.integers(0, 1 << n, 4 * K, dtype=np.uint64))
            support = self.rng.permutation(support)[:K]
        self.support = np.sort(np.asarray(support, np.uint64))
        self.coef = (
            self.rng.choice([-1.0, 1.0], len(self.support)) if coef is None else np.asarray(coef, float)
        )
        power = float(np.sum(self.coef**2))
        self.sigma = 0.0 if snr_db is None else np.sqrt(power / 10 ** (snr_db / 10))
        self.asked = []

    def __call__(self, points):
        self.asked.append(points)
        y = np.concatenate([self._exact(part) for part in np.array_split(points, len(points) // 4096 + 1)])
        return y + self.sigma * self.rng.standard_normal(len(points))

    def _exact(self, points):
        odd = np.bitwise_count(np.bitwise_and.outer(points, self.support)) & 1
        return self.coef.sum() - 2.0 * (odd @ self.coef)
