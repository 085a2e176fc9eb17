"""Autoencoders that both benchmarks compare: trained once a setting and seed, measured once, and remembered.

``python -m benchmarks.saes_runs`` makes all that are missing, which takes the better part of an hour; names in
``SETTINGS``, or ``name:seed``, choose some of them.
"""

from __future__ import annotations

import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.saes_data import CACHE, HOOK, activations, model, token_batches
from gossamer._core.files import read_json, write_json

FEATURES, K, BATCH, STEPS = 2304, 32, 1024, 1200
RATES, RATE = (8e-4, 2e-3, 4e-3, 8e-3), 4e-3
"""Learning rates that TopK was tried with, and the one of the least validation error, which all take."""
SPLICED, STEERED, CONTEXTS = 2, 16, 32


@dataclass(frozen=True)
class Setting:
    """One way to train: the allocation and what differs from the others.

    Attributes
    ----------
    choice : str
        ``token``, ``mutual``, ``feature``, or ``gradient`` with ``options``.
    options, trainer : dict
        For the allocation and the trainer.
    features, k, steps : int
        Size, budget, length.
    spliced : bool
        Whether the language model is run with it.
    """

    choice: str
    options: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    features: int = FEATURES
    k: int = K
    steps: int = STEPS
    spliced: bool = True


def _wide(choice: str, **trainer: Any) -> Setting:
    trainer = {"lr": "auto"} | trainer
    return Setting(choice, {}, trainer, features=9216, k=16, steps=600, spliced=False)


SETTINGS = {
    "token": Setting("token", trainer={"aux": "k"}),
    "mutual": Setting("mutual", trainer={"aux": "zipf"}),
    "feature": Setting("feature", trainer={"aux": "zipf"}),
    **{
        f"token-{rate:g}": Setting("token", trainer={"aux": "k", "lr": rate}, spliced=False) for rate in RATES
    },
    **{f"gradient-{b}": Setting("gradient", {"beta": b}, {"aux": "k"}) for b in (0.1, 0.3, 1.0, 3.0)},
    "gradient-effect": Setting("gradient", {"select": "abs_effect"}, {"aux": "k"}),
    "gradient-signed": Setting("gradient", {"beta": 1.0, "signed": True}, {"aux": "k"}),
    "taylor": Setting("token", trainer={"aux": "k", "loss": "taylor"}),
    "wide-token-none": _wide("token", aux=None),
    "wide-token": _wide("token", aux="k"),
    "wide-mutual": _wide("mutual", aux="zipf"),
    "wide-feature": _wide("feature", aux="zipf"),
    "token-long": Setting("token", trainer={"aux": "k"}, steps=3 * STEPS),
    "gradient-long": Setting("gradient", {"beta": 1.0}, {"aux": "k"}, steps=3 * STEPS),
}


def trained(name: str, seed: int = 0) -> Any:
    """The autoencoder of a setting, from disk where it was trained before."""
    from gossamer.nn import SparseAutoencoder

    path = CACHE / "runs" / f"{name}-{seed}.safetensors"
    if not path.exists():
        _train(name, seed)
    return SparseAutoencoder.load(path)


def measured(name: str, seed: int = 0) -> dict[str, Any]:
    """How good the code of an autoencoder is, on test tokens."""
    path = CACHE / "runs" / f"{name}-{seed}.json"
    if not path.exists():
        write_json(path, _measure(name, seed))
    return read_json(path)


def available(name: str, seeds: tuple[int, ...] = (0, 1, 2)) -> list[int]:
    """Seeds with which a setting was trained."""
    return [seed for seed in seeds if (CACHE / "runs" / f"{name}-{seed}.safetensors").exists()]


def _train(name: str, seed: int) -> None:
    from gossamer.nn import (
        FeatureChoice,
        GradientTopK,
        MutualChoice,
        SAETrainer,
        SparseAutoencoder,
        TokenChoice,
    )

    setting = SETTINGS[name]
    kinds = {"token": TokenChoice, "mutual": MutualChoice, "feature": FeatureChoice, "gradient": GradientTopK}
    data = activations("train")
    wants_gradients = setting.choice == "gradient" or setting.trainer.get("loss") == "taylor"
    sae = SparseAutoencoder(
        data.x.shape[1], setting.features, kinds[setting.choice](setting.k, **setting.options), seed=seed
    )
    options = {"lr": RATE} | setting.trainer
    trainer = SAETrainer(sae, batch_size=BATCH, steps=setting.steps, refresh=30, seed=seed, **options)
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # rare features are matched in some batches only: wanted
        trainer.fit(data.x, data.g if wants_gradients else None)
    sae.calibrate(_tensor(activations("validation").x))
    (CACHE / "runs").mkdir(parents=True, exist_ok=True)
    law = trainer.zipf
    figures = {
        "seconds": time.perf_counter() - begin,
        "dead_at_end": trainer.history["dead"][-1],
        "zipf": None if law is None else [law.a, law.b],
    }
    write_json(CACHE / "runs" / f"{name}-{seed}-training.json", figures)
    sae.save(CACHE / "runs" / f"{name}-{seed}.safetensors")


def _measure(name: str, seed: int) -> dict[str, Any]:
    from gossamer.nn import ZipfSchedule, sae_metrics

    sae, setting = trained(name, seed), SETTINGS[name]
    train, test = activations("train"), activations("test")
    seen, found = sae_metrics.evaluate(sae, train.x), sae_metrics.evaluate(sae, test.x)
    batch = sae_metrics.evaluate(sae, test.x, mode="batch", batch_size=BATCH)
    chosen_by = sae_metrics.evaluate(sae, activations("validation").x, mode="batch", batch_size=BATCH)
    result = read_json(CACHE / "runs" / f"{name}-{seed}-training.json")
    result |= {key: found[key] for key in ("normalised_mse", "l0", "l0_quantiles", "density_histogram")}
    result |= {"dead": seen["dead"], "batch_mse": batch["normalised_mse"], "batch_l0": batch["l0"]}
    result |= {"validation_mse": chosen_by["normalised_mse"]}
    density = np.asarray(seen["density"])
    last = int(0.8 * setting.features)
    result["zipf_score"] = (
        ZipfSchedule.fit(density).score(density, 10, last) if density[density > 0].size > 9 else 0.0
    )
    return result


def spliced(name: str, seed: int = 0) -> dict[str, Any]:
    """What the language model loses with an autoencoder, in both modes; of all trained ones that lack it at once."""
    if not _spliced_path(name, seed).exists():
        trained(name, seed)
        names = [path.stem for path in sorted((CACHE / "runs").glob("*.safetensors"))]
        wanted = [pair for pair in map(_pair, names) if SETTINGS[pair[0]].spliced]
        splice_all([pair for pair in wanted if not _spliced_path(*pair).exists()])
    return read_json(_spliced_path(name, seed))


def splice_all(pairs: list[tuple[str, int]]) -> None:
    """Run the language model with each of these autoencoders, which share the clean runs."""
    from gossamer.nn import sae_metrics

    saes = {f"{name}-{seed}": trained(name, seed) for name, seed in pairs}
    module, batches = model().module, token_batches()
    found = sae_metrics.downstream_of(module, HOOK, saes, batches["test"][:SPLICED], ("grad", "plain"))
    for key, figures in found.items():
        write_json(CACHE / "runs" / f"{key}-spliced.json", figures)


def validated(names: list[str]) -> dict[str, float]:
    """Added cross-entropy on validation tokens of the first seed of these settings, codes without gradients."""
    from gossamer.nn import sae_metrics

    path = CACHE / "runs" / "validation.json"
    known = read_json(path) if path.exists() else {}
    missing = {name: trained(name) for name in names if name not in known}
    if missing:
        part = token_batches()["validation"][:1]
        found = sae_metrics.downstream_of(model().module, HOOK, missing, part, ("plain",))
        known |= {name: figures["delta_ce_plain"] for name, figures in found.items()}
        write_json(path, known)
    return {name: known[name] for name in names}


def _spliced_path(name: str, seed: int) -> Path:
    return CACHE / "runs" / f"{name}-{seed}-spliced.json"


def _pair(stem: str) -> tuple[str, int]:
    name, _, seed = stem.rpartition("-")
    return name, int(seed)


def steered(name: str, seed: int = 0) -> dict[str, float]:
    """Effects of random latents in use, added at half the median norm."""
    from gossamer.nn import sae_metrics, steering

    path = CACHE / "runs" / f"{name}-{seed}-steering.json"
    if not path.exists():
        sae = trained(name, seed)
        live = np.flatnonzero(sae_metrics.evaluate(sae, activations("test").x)["density"])
        chosen = np.random.default_rng(seed).choice(live, min(STEERED, len(live)), replace=False)
        contexts = steering.random_contexts(np.concatenate(token_batches()["test"])[:, :32], CONTEXTS, 0)
        found = steering.latent_effects(model().module, HOOK, sae.W_dec, contexts, latents=chosen)
        write_json(path, found.summary())
    return read_json(path)


def _tensor(rows: Any) -> Any:
    import torch

    return torch.from_numpy(rows[:])


if __name__ == "__main__":
    for wanted in sys.argv[1:] or SETTINGS:
        setting_name, _, number = wanted.partition(":")
        begun = time.perf_counter()
        measured(setting_name, int(number or 0))
        print(f"{wanted}: {time.perf_counter() - begun:.0f} s", flush=True)
