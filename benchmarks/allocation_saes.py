"""Allocated sparse autoencoders (arXiv 2411.02124): quality, dead features, thresholds, planted features, speed.

Real activations: SmolLM2-135M-Instruct after block 18 of 30, WikiText-2 (valid), windows of 128; first positions and
tokens with massive activations left out; 2,304 features, 32 active, 1,200 steps of 1,024 tokens. ``saes_runs`` trains.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.allocation_saes_peer import error_of_peers, overcomplete_sae, rates
from benchmarks.harness import Claim, compare, run
from benchmarks.saes_runs import STEPS, K, available, measured, spliced

PAPER = "MC and FC below TopK's error at equal sparsity on GPT-2-size models; FC close to no dead features"
TOPK = "Token Choice (TopK) with aux_k, same run"
SCALE = f"40,000 training and 8,000 test tokens, {STEPS} steps"


def _mean(name: str, key: str, seeds: list[int]) -> float:
    read = spliced if key.endswith("_plain") else measured
    return float(np.mean([read(name, seed)[key] for seed in seeds]))


AGAINST = (("mutual", "Mutual Choice", "<= 0.985x"), ("feature", "Mutual then Feature Choice", "<= 1.0x"))


def quality(full: bool) -> Iterator[Claim]:
    """Reconstruction on test tokens against TopK."""
    for name, label, target in AGAINST:
        seeds = [seed for seed in available(name) if seed in available("token")]
        batch = _mean(name, "batch_mse", seeds) / _mean("token", "batch_mse", seeds)
        yield Claim(
            f"Normalised test error, {label}",
            target,
            _mean(name, "normalised_mse", seeds),
            "",
            _mean("token", "normalised_mse", seeds),
            TOPK,
            paper=PAPER,
            note=f"codes by thresholds, {len(seeds)} seed(s); {SCALE}; ratio with codes by batch {batch:.3f}",
        )


def splicing(full: bool) -> Iterator[Claim]:
    """What the language model loses, against TopK."""
    for name, label, _ in AGAINST:
        seeds = [seed for seed in available(name) if seed in available("token")]
        recovered = [_mean(n, "recovered_plain", seeds) for n in (name, "token")]
        yield Claim(
            f"Added cross-entropy when spliced, {label}",
            "<= 1.02x",
            _mean(name, "delta_ce_plain", seeds),
            "nats",
            _mean("token", "delta_ce_plain", seeds),
            TOPK,
            note=f"2,032 predicted tokens, {len(seeds)} seed(s); {SCALE}; loss recovered {recovered[0]:.4f}, "
            f"TopK {recovered[1]:.4f}",
        )


def thresholds(full: bool) -> Iterator[Claim]:
    """Codes token by token, with thresholds calibrated on other tokens, against codes by batch."""
    for name, label in (("mutual", "Mutual Choice"), ("feature", "Feature Choice")):
        found = measured(name)
        yield Claim(
            f"Distance of the mean number of active features from {K}, {label}",
            "<= 1",
            100 * abs(found["l0"] / K - 1),
            "%",
            note="8,000 test tokens, calibrated on 4,000 others; quantiles "
            f"{np.round(found['l0_quantiles'], 1).tolist()}",
        )
        yield Claim(
            f"Test error by thresholds against by batch, {label}",
            "<= 1.03x",
            found["normalised_mse"],
            "",
            found["batch_mse"],
            "batches of 1,024",
        )
    score = measured("mutual")["zipf_score"]
    yield Claim(
        "R^2 of the Zipf law on Mutual Choice's densities, ranks 10 to 0.8 F",
        ">= 0.9",
        score,
        "R^2",
        note="densities on the training tokens",
    )


def dead(full: bool) -> Iterator[Claim]:
    """Features that are silent on all training tokens, in a dictionary that is too large for its budget."""
    scale = "9,216 features, 16 active, 600 steps of 1,024 tokens, one seed"
    found = {name: measured(f"wide-{name}") for name in ("token-none", "token", "mutual", "feature")}
    shares = ", ".join(f"{name} {100 * row['dead']:.2f} %" for name, row in found.items())
    peer = 100 * found["token"]["dead"]
    yield Claim(
        "Dead features, Feature Choice",
        "<= 0.5",
        100 * found["feature"]["dead"],
        "%",
        peer,
        TOPK,
        paper=PAPER,
        note=f"{scale}; {shares}",
    )
    if peer > 0:
        yield Claim(
            "Dead features, Feature Choice against TopK with aux_k",
            "<= 0.2x",
            100 * found["feature"]["dead"],
            "%",
            peer,
            TOPK,
        )
    yield Claim(
        "Dead features, Mutual Choice with aux_zipf",
        "<= 1.0x" if peer > 0 else "<= 0.5",
        100 * found["mutual"]["dead"],
        "%",
        peer,
        TOPK,
        note="features that Feature Choice would have to keep alive",
    )


def planted(full: bool) -> Iterator[Claim]:
    """Features that are known: how many of 256 are found (cosine above 0.9)."""
    import torch

    from gossamer.datasets import planted_features
    from gossamer.nn import (
        FeatureChoice,
        MutualChoice,
        SAETrainer,
        SparseAutoencoder,
        TokenChoice,
        sae_metrics,
    )

    atoms, x = map(torch.from_numpy, planted_features())
    found, lost = {}, {}
    for name, choice in (("token", TokenChoice), ("mutual", MutualChoice), ("feature", FeatureChoice)):
        sae = SparseAutoencoder(64, 256, choice(5))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            SAETrainer(
                sae, aux="k" if name == "token" else "zipf", lr=2e-3, batch_size=512, steps=400, refresh=40
            ).fit(x)
        found[name] = int(((atoms @ sae.W_dec.detach().T).max(dim=1).values > 0.9).sum())
        lost[name] = 100 * sae_metrics.evaluate(sae, x)["dead"]
    yield Claim(
        "Planted features found by Mutual Choice",
        ">= 1.0x",
        found["mutual"],
        "of 256",
        found["token"],
        TOPK,
        note=f"d=64, 40,000 vectors, k=5, 400 steps of 512; Feature Choice {found['feature']}",
    )
    yield Claim(
        "Dead features on planted data, Feature Choice",
        "<= 0",
        lost["feature"],
        "%",
        note=f"of all 40,000 vectors; {TOPK}: {lost['token']:.1f} %",
    )


def speed(full: bool) -> Iterator[Claim]:
    """A training step of 1,024 tokens, d=576, 9,216 features, 32 active."""
    import torch

    x = torch.from_numpy(np.random.default_rng(0).standard_normal((1024, 576), np.float32))
    ours = _our_step(x, sparse=True)
    for name, peer, target in (
        ("the same step with dense masked products in PyTorch", _dense_step(x), ">= 3.0x"),
        ("overcomplete 0.3.0, BatchTopKSAE, Adam, the same sizes", _overcomplete_step(x), ">= 2.0x"),
    ):
        race = compare(ours, peer, rounds=7, warmup=2)
        yield Claim.from_race(
            f"Training step of Mutual Choice against {name.split(',')[0]}",
            target,
            race,
            peer_name=name,
            note="2 threads; without auxiliary loss",
        )


def _our_step(x: Any, sparse: bool) -> Callable[[], None]:
    from gossamer.nn import MutualChoice, SAETrainer, SparseAutoencoder

    sae = SparseAutoencoder(576, 9216, MutualChoice(32)).train().initialise(x)
    sae.sparse = sparse
    trainer = SAETrainer(sae, phases=[("mutual", 1.0)], aux=None, steps=1000)
    return functools.partial(trainer._step, trainer._optimiser(), 500, x, None)


def _dense_step(x: Any) -> Callable[[], None]:
    """Plain PyTorch: pre-activations, the largest of all by ``topk``, a mask, dense products, Adam, unit columns."""
    import torch

    W_enc, W_dec = (
        torch.nn.Parameter(torch.nn.functional.normalize(torch.randn(9216, 576), dim=1)) for _ in range(2)
    )
    b_enc, b_pre = torch.nn.Parameter(torch.zeros(9216)), torch.nn.Parameter(torch.zeros(576))
    parameters = [W_enc, W_dec, b_enc, b_pre]
    adam = torch.optim.Adam(parameters, lr=4e-4, fused=True)

    def step() -> None:
        adam.zero_grad()
        z = torch.relu(torch.addmm(b_enc, x - b_pre, W_enc.T))
        mask = torch.zeros(z.numel()).index_fill_(0, z.detach().flatten().topk(32 * 1024).indices, 1.0)
        loss = ((z * mask.view_as(z)) @ W_dec + b_pre - x).square().sum(dim=1).mean() / 576
        loss.backward()
        W_dec.grad -= (W_dec.grad * W_dec).sum(dim=1, keepdim=True) * W_dec.detach()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()
        with torch.no_grad():
            W_dec.div_(W_dec.norm(dim=1, keepdim=True))

    return step


def _overcomplete_step(x: Any) -> Callable[[], None]:
    """The peer with a linear encoder and ReLU, as ours has; its dictionary is normalised in each product."""
    import torch

    sae = overcomplete_sae("batchtopk", 9216, 32 * 1024)
    adam = torch.optim.Adam(sae.parameters(), lr=4e-4)

    def step() -> None:
        adam.zero_grad()
        _, _, recon = sae(x)
        (recon - x).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        adam.step()

    return step


if __name__ == "__main__":
    run(
        "allocation-saes",
        {
            "rates": rates,
            "quality": quality,
            "peer-error": error_of_peers,
            "splicing": splicing,
            "thresholds": thresholds,
            "dead": dead,
            "planted": planted,
            "speed": speed,
        },
        packages=("torch", "numpy", "transformers", "overcomplete"),
    )
