"""Problems and peers of the sparse coding benchmark: bars for each model, image patches, a loop over points."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

VALUE, NOISE, PROB, H = 10.0, 2.0, 0.2, 10

# What is drawn, and the settings of a fit, for each model.
MODELS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "binary": ("BinarySparseCoding", {"combine": "sum"}, {"n_candidates": 8, "max_active": 5}),
    "ternary": ("TernarySparseCoding", {"values": (-1, 1)}, {"n_candidates": 7, "max_active": 4}),
    "discrete": ("DiscreteSparseCoding", {"values": (1, 2)}, {"n_candidates": 7, "max_active": 5}),
    "maximal": ("MaximalCausesAnalysis", {"combine": "max"}, {"n_candidates": 7, "max_active": 4}),
    "magnitude": (
        "MaximumMagnitudeCausesAnalysis",
        {"combine": "magnitude"},
        {"n_candidates": 7, "max_active": 4},
    ),
    "gaussian": ("GaussianSparseCoding", {"amplitude": (2.0, 0.5)}, {"n_candidates": 7, "max_active": 4}),
}
LATE = ((0.6, 0.0), (0.9, 1.0))
SCHEDULES: dict[str, dict[str, Any]] = {
    "binary": {
        "n_steps": 150,
        "T": ((0, 5.0), (0.8, 1.0)),
        "W_noise": ((0.0, 2.0), (0.8, 0.0)),
        "truncation": LATE,
    },
    "ternary": {
        "n_steps": 100,
        "T": ((0, 2.0), (0.8, 1.0)),
        "W_noise": ((0.0, 2.0), (0.8, 0.0)),
        "truncation": LATE,
    },
    "discrete": {"n_steps": 100, "T": ((0, 15.0), (0.8, 1.0)), "truncation": LATE},
    "maximal": {"n_steps": 80, "T": ((0, 4.0), (0.8, 1.0))},
    "magnitude": {"n_steps": 80, "T": ((0, 4.0), (0.8, 1.0))},
    "gaussian": {"n_steps": 100, "T": ((0, 4.0), (0.8, 1.0))},
}


def schedule_of(name: str) -> str:
    """The schedule of a fit, in words."""
    if name not in SCHEDULES:
        return "the default schedule"
    own = SCHEDULES[name]
    noise = f", noise {own['W_noise'][0][1]:g} on the parts that fades" if "W_noise" in own else ""
    return f"{own['n_steps']} steps from T = {own['T'][0][1]:g}{noise}"


def bars_of(name: str, seed: int, n: int | None = None, prob: float = PROB) -> tuple[np.ndarray, ...]:
    """Parts, samples and causes of a bars test."""
    from gossamer.learn import bars

    W = bars.bars_dictionary(H, negative=name == "magnitude") * VALUE
    n = n or (5000 if name == "gaussian" else 1000)
    X, S = bars.bars_data(W, n, prob=prob, noise=NOISE, random_state=seed, **MODELS[name][1])
    return W, X, S


def fitted(name: str, X: np.ndarray, seed: int, **options: Any) -> Any:
    """One fit from one random start."""
    import gossamer.learn

    kind, _, settings = MODELS[name]
    schedule = gossamer.learn.AnnealingSchedule(**SCHEDULES[name]) if name in SCHEDULES else None
    model = getattr(gossamer.learn, kind)(H, schedule=schedule, random_state=seed, **(settings | options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return model.fit(X)


def fitted_from_shapes(X: np.ndarray, seed: int, **options: Any) -> Any:
    """Maximal causes from the parts of a factorisation, without annealing."""
    from gossamer.learn import AnnealingSchedule, MaximalCausesAnalysis, nmf_start

    start = nmf_start(X, H, random_state=seed)
    schedule = AnnealingSchedule(80, T=1.0)
    return MaximalCausesAnalysis(H, schedule=schedule, W_init=start, random_state=seed, **options).fit(X)


def recovery(name: str, seed: int, start: int) -> dict[str, float]:
    """Fit the bars of a seed from a start; what was found, compared with the truth."""
    os.environ["GOSSAMER_THREADS"] = "1"
    from gossamer.learn import bars

    W, X, _ = bars_of(name, seed)
    model = fitted(name, X, 1000 * seed + start)
    parts = model.components_
    if name == "gaussian":
        parts = parts * model.slab_mean_[:, None] / 2  # the scale of a part and of its amplitude
    match = bars.match_dictionaries(parts, W, sign_invariant=name in ("ternary", "gaussian"))
    prior = 1 - model.prior_[0] if name == "discrete" else np.mean(model.prior_)
    return {
        "score": model.score(X),
        "worst": float(match.errors.max()),
        "mae": match.mae,
        "prior": abs(float(prior) / PROB - 1),
        "noise": abs(float(model.noise_) / NOISE - 1),
    }


def patches(count: int = 20_000, side: int = 12) -> np.ndarray:
    """Whitened grey patches of scikit-learn's two photographs at half their resolution: (count, side^2) float64.

    The flattest 40 % of what was drawn are left out, whitening keeps 97 % of the variance (the rest is the photographs'
    compression), and all patches have the same contrast.
    """
    from sklearn.datasets import load_sample_images
    from sklearn.feature_extraction.image import extract_patches_2d

    drawn, each = [], int(count / 1.2) + 1
    for seed, image in enumerate(load_sample_images().images):
        grey = image @ np.array([0.299, 0.587, 0.114]) / 255
        rows, columns = (2 * (size // 2) for size in grey.shape)
        grey = grey[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
        drawn.append(extract_patches_2d(grey, (side, side), max_patches=each, random_state=seed))
    X = np.concatenate(drawn).reshape(2 * each, -1)
    X -= X.mean(axis=1, keepdims=True)
    X = X[np.argsort(-X.std(axis=1))[:count]]
    X -= X.mean(axis=0)
    values, vectors = np.linalg.eigh(X.T @ X / count)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = int(np.searchsorted(np.cumsum(values) / values.sum(), 0.97))
    X = X @ (vectors[:, :kept] / np.sqrt(values[:kept])) @ vectors[:, :kept].T
    return X * (np.sqrt(kept) / np.linalg.norm(X, axis=1, keepdims=True))


def localised(fields: np.ndarray, share: float = 0.8) -> int:
    """How many fields have that share of their energy in a window of a third of the pixels."""
    count, pixels = fields.shape
    side = round(pixels**0.5)
    window = round((pixels / 3) ** 0.5)
    energy = (fields**2).reshape(count, side, side)
    total = np.pad(energy.cumsum(axis=1).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))
    inside = (
        total[:, window:, window:] - total[:, :-window, window:] - total[:, window:, :-window]
        + total[:, :-window, :-window]
    )  # fmt: skip
    return int((inside.max(axis=(1, 2)) >= share * energy.sum(axis=(1, 2))).sum())


def loop_over_points(
    X: np.ndarray, W: np.ndarray, pi: float, sigma: float, candidates: int, states: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """One EM step of binary sparse coding, a point at a time: what a first program in NumPy looks like.

    ``states`` (M, candidates) are those with two and more causes.
    """
    n, d = X.shape
    latents = len(W)
    length = np.sqrt((W**2).sum(axis=1))
    prior = np.log(pi / (1 - pi))
    causes = states.sum(axis=1)
    sy, ss, square, count = np.zeros((latents, d)), np.zeros((latents, latents)), 0.0, 0.0
    for y in X:
        similar = W @ y / length / np.sqrt((y**2).sum())
        chosen = np.argsort(similar)[-candidates:]
        none = -0.5 / sigma**2 * (y**2).sum()
        single = prior - 0.5 / sigma**2 * ((W - y) ** 2).sum(axis=1)
        multi = prior * causes - 0.5 / sigma**2 * ((states @ W[chosen] - y) ** 2).sum(axis=1)
        joint = np.concatenate([[none], single, multi])
        q = np.exp(joint - joint.max())
        q /= q.sum()
        mean, second = np.zeros(latents), np.zeros((latents, latents))
        mean += q[1 : 1 + latents]
        second[np.diag_indices(latents)] += q[1 : 1 + latents]
        several = q[1 + latents :]
        mean[chosen] += several @ states
        second[np.ix_(chosen, chosen)] += (states * several[:, None]).T @ states
        sy += np.outer(mean, y)
        ss += second
        square += (y**2).sum()
        count += mean.sum()
    fresh = np.linalg.lstsq(ss, sy, rcond=None)[0]
    left = square - 2 * (fresh * sy).sum() + ((fresh @ fresh.T) * ss).sum()
    return fresh, float(np.sqrt(left / (n * d))), count / n
