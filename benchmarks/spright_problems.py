"""Functions with known spectra: random supports, and boosted trees expanded into parities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Problem:
    """K coefficients of +1 and -1 on a random support, with noise; a callable on indices."""

    def __init__(
        self, n: int, K: int, snr_db: float | None, seed: int, support: np.ndarray | None = None
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.n, self.K = n, K
        if support is None:
            drawn = np.unique(self.rng.integers(0, 1 << n, 2 * K + 10, dtype=np.uint64))
            support = np.sort(self.rng.permutation(drawn)[:K])
        self.support = support
        self.coef = self.rng.choice([-1.0, 1.0], K)
        self.sigma = 0.0 if snr_db is None else float(np.sqrt(K / 10 ** (snr_db / 10)))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        parts = np.array_split(points, points.size // 4096 + 1)
        odd = [np.bitwise_count(np.bitwise_and.outer(part, self.support)) & 1 for part in parts]
        exact = self.coef.sum() - 2.0 * np.concatenate([o @ self.coef for o in odd])
        return exact + self.sigma * self.rng.standard_normal(points.size)


def sketch(f: Any, b: int, P: int, method: str) -> tuple[Callable[[], Any], np.ndarray]:
    """A call that decodes samples in hand, one thread; and the samples."""
    from gossamer.linalg.transforms.sparse_wht.designs import make_design
    from gossamer.linalg.transforms.sparse_wht.offsets import make_offsets
    from gossamer.linalg.transforms.sparse_wht.peeling import Detection, decode, fold

    rng = np.random.default_rng(0)
    design = make_design(f.n, b, 3, "random", rng)
    offsets = make_offsets(f.n, 3, P, method, None, rng)
    points = design.points(offsets.shifts)
    y = f(points.ravel()).reshape(points.shape)
    how = Detection(method, 1, True, f.n, True, True)
    nu2 = f.sigma**2 / (1 << b)
    return lambda: decode(design, offsets, fold(y, 1), how, nu2, 1e-10, 1), y


def samples_of(n: int, K: int, b: int) -> tuple[Callable[[], Any], Problem]:
    """The same for many coefficients without noise: the samples are made by small transforms from the bins."""
    from gossamer._kernels import sparse_walsh, walsh
    from gossamer.linalg.transforms.sparse_wht.designs import make_design
    from gossamer.linalg.transforms.sparse_wht.offsets import make_offsets
    from gossamer.linalg.transforms.sparse_wht.peeling import Detection, decode, fold

    rng = np.random.default_rng(0)
    f = Problem(n, K, None, 0)
    design = make_design(n, b, 3, "random", rng)
    offsets = make_offsets(n, 3, n + 1, "identity", None, rng)
    bins = np.zeros((3, 1 << b, n + 1))
    sparse_walsh.subtract(n, design.columns, offsets.shifts, bins, f.support, -f.coef)
    y = walsh.transform(bins, np.empty_like(bins), 1)
    how = Detection("identity", 1, True, n, True, True)
    return lambda: decode(design, offsets, fold(y), how, 0.0, 1e-10), f


def boosted_trees() -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """Gradient boosting of depth 4 on 20 median-cut features of breast_cancer, and its exact spectrum (2**20,)."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier

    data, target = load_breast_cancer(return_X_y=True)
    bits = (data[:, :20] > np.median(data[:, :20], axis=0)).astype(np.float32)
    model = GradientBoostingClassifier(max_depth=4, random_state=0).fit(bits, target)
    rate, trees = model.learning_rate, [stage[0].tree_ for stage in model.estimators_]
    start = float(model.init_.class_prior_[1]) if hasattr(model.init_, "class_prior_") else 0.5
    spectrum = np.zeros(1 << 20)
    spectrum[0] = np.log(start / (1 - start))
    for tree in trees:
        _expand(tree, 0, {0: 1.0}, rate, spectrum)

    def f(points: np.ndarray) -> np.ndarray:
        columns = ((points[:, None] >> np.arange(20, dtype=np.uint64)) & np.uint64(1)).astype(np.float32)
        return model.decision_function(columns)

    return f, spectrum


def _expand(tree: Any, node: int, path: dict[int, float], rate: float, spectrum: np.ndarray) -> None:
    """A leaf is its value times the product of (1 -+ (-1)^x_i) / 2 along its path."""
    if tree.children_left[node] < 0:
        for k, weight in path.items():
            spectrum[k] += rate * float(tree.value[node, 0, 0]) * weight
        return
    bit = 1 << int(tree.feature[node])
    for child, sign in ((tree.children_left[node], 1.0), (tree.children_right[node], -1.0)):
        longer: dict[int, float] = {}
        for k, weight in path.items():
            longer[k] = longer.get(k, 0.0) + weight / 2
            longer[k ^ bit] = longer.get(k ^ bit, 0.0) + sign * weight / 2
        _expand(tree, int(child), longer, rate, spectrum)
