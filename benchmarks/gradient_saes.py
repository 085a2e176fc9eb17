"""Sparse autoencoders that choose by effect on the loss (arXiv 2411.10397): what the model keeps, steering, speed.

SmolLM2-135M-Instruct after block 18 of 30, WikiText-2 (valid); 2,304 features, 32 active, 1,200 steps of 1,024, aux_k.
``beta`` is chosen by the added cross-entropy on validation tokens. ``benchmarks.saes_runs`` trains.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from benchmarks.harness import Claim, compare, run
from benchmarks.saes_runs import CONTEXTS, STEERED, STEPS, available, measured, spliced, steered, validated

PAPER = "lower downstream loss than TopK at equal k, fewer dead latents, larger effect of latents; error slightly worse"
TOPK = "TopK with aux_k, same data and steps"
BETAS = (0.1, 0.3, 1.0, 3.0)


@functools.cache
def chosen() -> tuple[str, str]:
    """The setting with the best validation loss of seed 0, and what the others had."""
    names = [f"gradient-{beta}" for beta in BETAS if available(f"gradient-{beta}")]
    found = validated([*names, "token"])
    best = min(names, key=lambda name: found[name])
    listed = ", ".join(f"{name.removeprefix('gradient-')}: {found[name]:.4f}" for name in names)
    return best, f"beta {best.removeprefix('gradient-')} of validation {listed}; TopK {found['token']:.4f}"


def _pair(key: str, name: str = "") -> tuple[float, float, list[int]]:
    name = name or chosen()[0]
    seeds = [seed for seed in available(name) if seed in available("token")]
    read = spliced if key.endswith(("_plain", "_grad")) else measured
    means = [float(np.mean([read(n, seed)[key] for seed in seeds])) for n in (name, "token")]
    return means[0], means[1], seeds


def downstream(full: bool) -> Iterator[Claim]:
    """Spliced into the model, in both modes, beside plain measures of the code."""
    for key, label, target, unit in (
        ("delta_ce_plain", "Added cross-entropy, codes without gradients", "<= 0.985x", "nats"),
        ("kl_plain", "Divergence of predictions, codes without gradients", "<= 1.01x", "nats"),
        ("normalised_mse", "Normalised test error, codes without gradients", "<= 1.03x", ""),
        (
            "delta_ce_grad",
            "Added cross-entropy, codes with gradients (they have seen the label)",
            "<= 0.9x",
            "nats",
        ),
    ):
        ours, peer, seeds = _pair(key)
        note = f"{len(seeds)} seed(s), {STEPS} steps; {chosen()[1]}"
        if key == "delta_ce_plain":
            each = [spliced(chosen()[0], s)[key] / spliced("token", s)[key] for s in seeds]
            note += f"; ratio by seed {', '.join(f'{r:.3f}' for r in each)}"
        if key == "delta_ce_grad":
            note += "; TopK cannot see gradients: its figure is that of plain codes"
        yield Claim(label, target, ours, unit, peer, TOPK, paper=PAPER, note=note)
    ours, peer, seeds = _pair("dead")
    if peer > 0:
        yield Claim(
            "Dead features",
            "<= 1.0x",
            100 * ours,
            "%",
            100 * peer,
            TOPK,
            note="silent on all training tokens",
        )
    else:
        yield Claim(
            "Dead features", "<= 0", 100 * ours, "%", note=f"silent on all training tokens; {TOPK}: none"
        )


def variants(full: bool) -> Iterator[Claim]:
    """Other choices and losses with one seed, in both modes."""
    labels = {
        "gradient-effect": "by effect alone (beta = inf)",
        "gradient-signed": "beta 1, only features that lower the loss",
        "taylor": "TopK with the first-order error in the loss",
        "gradient-long": "beta 1, three times the steps",
    }
    for name, label in labels.items():
        if not available(name):
            continue
        peer_name = "token-long" if name.endswith("long") else "token"
        found, peer = ({**measured(n), **spliced(n)} for n in (name, peer_name))
        yield Claim(
            f"Added cross-entropy, codes without gradients, {label}",
            "<= 1.0x",
            found["delta_ce_plain"],
            "nats",
            peer["delta_ce_plain"],
            "TopK, as many steps",
            note=f"one seed; with gradients {found['delta_ce_grad']:.4f}, error {found['normalised_mse']:.4f} "
            f"against {peer['normalised_mse']:.4f}",
        )


def steering(full: bool) -> Iterator[Claim]:
    """What single latents in use do to predictions, added at half the median norm."""
    name = chosen()[0]
    seeds = [seed for seed in available(name) if seed in available("token")]
    ours, peer = ([steered(n, seed) for seed in seeds] for n in (name, "token"))
    for key, label in (("kl_mean", "Mean divergence"), ("logit_mean", "Mean change of logits")):
        first, second = (float(np.mean([row[key] for row in rows])) for rows in (ours, peer))
        yield Claim(
            f"{label} when a latent is added",
            ">= 1.02x",
            first,
            "nats" if key == "kl_mean" else "",
            second,
            TOPK,
            paper=PAPER,
            note=f"{STEERED} random latents in use, {CONTEXTS} contexts, {len(seeds)} seed(s); median "
            f"{np.mean([r[key.replace('mean', 'median')] for r in ours]):.3f} against "
            f"{np.mean([r[key.replace('mean', 'median')] for r in peer]):.3f}; consistency "
            f"{ours[0]['consistency_mean']:.2f} against {peer[0]['consistency_mean']:.2f}",
        )


def speed(full: bool) -> Iterator[Claim]:
    """A training step with the fused selection against one of plain TopK: 1,024 tokens, d=576, 9,216 features."""
    import torch

    from gossamer.nn import GradientTopK, SAETrainer, SparseAutoencoder, TokenChoice

    rng = np.random.default_rng(0)
    x, g = (torch.from_numpy(rng.standard_normal((1024, 576), np.float32)) for _ in range(2))
    steps = []
    for choice in (GradientTopK(32, 1.0), TokenChoice(32)):
        sae = SparseAutoencoder(576, 9216, choice).train().initialise(x)
        trainer = SAETrainer(sae, aux=None, steps=1000)
        steps.append(functools.partial(trainer._step, trainer._optimiser(), 500, x, g))
    race = compare(*steps, rounds=9, warmup=2)
    yield Claim.from_race(
        "Training step with gradients against plain TopK",
        ">= 0.741x",
        race,
        peer_name="our TopK step",
        note="the bound is 1.35 times the time; one product of 2 N d F flops more",
    )


if __name__ == "__main__":
    run(
        "gradient-saes",
        {"downstream": downstream, "variants": variants, "steering": steering, "speed": speed},
        packages=("torch", "numpy", "transformers"),
    )
