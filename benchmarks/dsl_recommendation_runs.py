"""Trainings of the benchmark of dynamic sparse learning: each once a setting and seed, and remembered.

``python -m benchmarks.dsl_recommendation_runs NAME:SEED ...`` makes some of them, without arguments all that are
missing. Each takes less than 150 seconds of one core.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import torch

from benchmarks.dsl_recommendation_data import CACHE, movielens
from gossamer import set_threads
from gossamer._core.files import read_json, write_json

SEEDS = (0, 1, 2)
LIGHTGCN = {
    "dim": 64,
    "n_layers": 3,
    "epochs": 80,
    "lr": 1e-2,
    "lr_final": 1e-4,
    "batch_size": 2048,
    "reg": 1e-4,
}
MF = {"dim": 64, "epochs": 80, "lr": 1e-2, "lr_final": 1e-4, "batch_size": 2048, "reg": 1e-2}
VAE = {"epochs": 60, "batch_size": 64}
NEUMF = {"epochs": 20, "batch_size": 512}
MOVING = {"delta_t": 40, "grad_window": 20, "stop_fraction": 0.8}
FIXED = {"stop_fraction": 0.0}
DENSITIES = (0.5, 0.3, 0.1)
CUT = {0.5: 32, 0.3: 19, 0.1: 6}  # dimensions of a dense table with as many weights


def _settings() -> dict[str, tuple[str, dict[str, Any]]]:
    """What to train, by name, in the order of what is waited for most."""
    found: dict[str, tuple[str, dict[str, Any]]] = {"gcn-dense": ("LightGCNRecommender", LIGHTGCN)}
    ways = {"dsl": MOVING, "static": FIXED, "set": {**MOVING, "grow": "random"}}
    for kind, model, options in (("gcn", "LightGCNRecommender", LIGHTGCN), ("mf", "MFRecommender", MF)):
        found[f"{kind}-dense"] = model, options
        for density in (0.1, 0.5, 0.3):
            for way, masker in ways.items():
                found[f"{kind}-{way}-{density}"] = (
                    model,
                    {**options, "density": density, "masker_options": masker},
                )
            found[f"{kind}-cut-{density}"] = model, {**options, "dim": CUT[density]}
    for kind, model, options, delta_t in (
        ("vae", "MultVAERecommender", VAE, 25), ("neumf", "NeuMFRecommender", NEUMF, 50),
    ):  # fmt: skip
        found[f"{kind}-dense"] = model, options
        for way, masker in (("dsl", {**MOVING, "delta_t": delta_t}), ("static", FIXED)):
            found[f"{kind}-{way}-0.3"] = model, {**options, "density": 0.3, "masker_options": masker}
    for density in (0.1, 0.5):
        found[f"gcn-pruned-{density}"] = "PrunedLightGCN", {**LIGHTGCN, "final_density": density}
    found["gcn-recbole"] = "recbole", {k: v for k, v in LIGHTGCN.items() if k not in ("dim", "n_layers")}
    return found


SETTINGS = _settings()


def figures(name: str, seed: int) -> dict[str, float]:
    """The figures of a training, made now if it was not before."""
    path = CACHE / f"{name}-{seed}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, _train(name, seed))
    return read_json(path)


def trained(*names: str) -> list[int]:
    """Seeds with which all of these settings were trained; the first seed, trained now, if there is none."""
    return [seed for seed in SEEDS if all((CACHE / f"{name}-{seed}.json").exists() for name in names)] or [
        SEEDS[0]
    ]


def _train(name: str, seed: int) -> dict[str, float]:
    import benchmarks.dsl_recommendation_baselines as baselines
    from gossamer import learn
    from gossamer._core.ranking import best

    kind, options = SETTINGS[name]
    split, began = movielens(), time.process_time()
    users = np.arange(split.train.shape[0])
    more: dict[str, float] = {}
    if kind == "recbole":
        scores = baselines.recbole_lightgcn(split.train, seed, **options)
        scores[split.train.nonzero()] = -np.inf
        items, _ = best(scores, 20)
    else:
        maker = getattr(learn if hasattr(learn, kind) else baselines, kind)
        model = maker(random_state=seed, **options).fit(split.train)
        items, _ = model.recommend(users, k=20)
        more = {**model.cost(), "explored": model.explored_fraction_}
        if kind == "NeuMFRecommender":
            more |= learn.sampled_rank_metrics(model, split.test, random_state=0)
    for part in ("choose", "test"):
        found = learn.rank_metrics(items, getattr(split, part), ks=[20])
        more |= {f"{part} {key}": value for key, value in found.items()}
    return {**more, "seconds": time.process_time() - began}


if __name__ == "__main__":
    set_threads(1)
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or [f"{name}:{seed}" for seed in SEEDS for name in SETTINGS]
    for one in wanted:
        which, _, number = one.partition(":")
        line = figures(which, int(number or 0))
        shown = {
            key: round(line[key], 4)
            for key in ("choose ndcg@20", "test ndcg@20", "test recall@20", "seconds")
        }
        print(which, number, shown, flush=True)
