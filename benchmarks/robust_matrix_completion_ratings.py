"""MovieLens-100k: errors on held-out ratings and times to fit, beside scikit-surprise and a mean with biases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.harness import Claim

RIDGES = (0.06, 0.08, 0.1, 0.12, 0.15)


def _rmse(predicted: np.ndarray, y: np.ndarray) -> float:
    return float(np.sqrt(np.mean((predicted - y) ** 2)))


def _ours(X: np.ndarray, y: np.ndarray, test: np.ndarray, seed: int) -> tuple[np.ndarray, float, float]:
    """Predictions, seconds of the fit, and the ridge: chosen on a tenth of the training part."""
    from gossamer.learn import RatingsFactorizer

    cut = len(y) * 9 // 10

    def model(ridge: float) -> RatingsFactorizer:
        return RatingsFactorizer(rank=10, ridge=ridge, random_state=seed, n_jobs=1)

    errors = [_rmse(model(ridge).fit(X[:cut], y[:cut]).predict(X[cut:]), y[cut:]) for ridge in RIDGES]
    ridge = RIDGES[int(np.argmin(errors))]
    began = time.process_time()
    fitted = model(ridge).fit(X, y)
    return fitted.predict(test), time.process_time() - began, ridge


def _surprise(algorithm: Any, X: np.ndarray, y: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, float]:
    from surprise import Dataset, Reader

    triples = [(user, item, rating, None) for (user, item), rating in zip(X.tolist(), y.tolist())]
    train = Dataset(Reader(rating_scale=(1, 5))).construct_trainset(triples)
    began = time.process_time()
    algorithm.fit(train)
    taken = time.process_time() - began
    return np.array([algorithm.predict(user, item).est for user, item in test.tolist()]), taken


def ratings(full: bool) -> Iterator[Claim]:
    """E4: five random splits of 90 to 10."""
    import surprise

    from gossamer.datasets import load_movielens_100k
    from gossamer.learn import RatingsFactorizer

    data = load_movielens_100k()
    errors: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    ridges = []

    def record(name: str, predicted: np.ndarray, y: np.ndarray, taken: float) -> None:
        errors.setdefault(name, []).append(_rmse(predicted, y))
        seconds.setdefault(name, []).append(taken)

    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(data.ratings))
        X, y = data.pairs[order[:90_000]], data.ratings[order[:90_000]]
        test, truth = data.pairs[order[90_000:]], data.ratings[order[90_000:]]
        predicted, taken, ridge = _ours(X, y, test, seed)
        ridges.append(ridge)
        record("ours", predicted, truth, taken)
        predicted, taken = _surprise(surprise.SVD(random_state=seed), X, y, test)
        record("surprise", predicted, truth, taken)
        predicted, taken = _surprise(surprise.BaselineOnly(verbose=False), X, y, test)
        record("biases", predicted, truth, taken)
        began = time.process_time()
        card = RatingsFactorizer(rank=10, ridge=0.05, random_state=seed, n_jobs=1).fit(X, y)
        record("card", card.predict(test), truth, time.process_time() - began)
    mean = {name: float(np.mean(values)) for name, values in errors.items()}
    note = (
        f"rank 10, weighted ridge chosen of {RIDGES} on a tenth of each training part ({ridges}); "
        f"mean and biases alone {mean['biases']:.4f}; ridge 0.05 {mean['card']:.4f}; by split "
        + ", ".join(f"{a:.4f}/{b:.4f}" for a, b in zip(errors["ours"], errors["surprise"]))
    )
    name = f"scikit-surprise {surprise.__version__} SVD, defaults"
    yield Claim("MovieLens-100k: RMSE below surprise's SVD by", ">= 0.005", mean["surprise"] - mean["ours"], "RMSE",
                note=f"ours {mean['ours']:.4f}, SVD {mean['surprise']:.4f}; {note}")  # fmt: skip
    yield Claim("MovieLens-100k: time to fit", "<= 0.2x", float(np.median(seconds["ours"])), "s",
                float(np.median(seconds["surprise"])), name,
                note="CPU time of one thread each; 20 sweeps at most; choosing the ridge is not in either")  # fmt: skip
