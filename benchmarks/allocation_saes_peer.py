"""Autoencoders of overcomplete on the activations that ours are trained on: whether the peer reconstructs better."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.harness import Claim
from benchmarks.saes_data import CACHE, activations
from benchmarks.saes_runs import BATCH, FEATURES, RATE, RATES, STEPS, K, measured
from gossamer._core.files import read_json, write_json

PEER_RATES = RATES[1:3]
CLASSES = {"topk": "TopKSAE", "batchtopk": "BatchTopKSAE"}


def overcomplete_sae(kind: str, features: int, kept: int) -> Any:
    """The peer with a linear encoder and ReLU, as ours has; its dictionary is normalised in each product."""
    import torch

    if "overcomplete" not in sys.modules:
        spec = importlib.util.find_spec("overcomplete")
        # the package imports vision models that this needs nothing of: only its folder of autoencoders is loaded
        package = types.ModuleType("overcomplete")
        package.__path__ = list(spec.submodule_search_locations or []) if spec is not None else []
        sys.modules["overcomplete"] = package
    module = importlib.import_module(f"overcomplete.sae.{kind}_sae")

    class Linear(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(576, features)

        def forward(self, rows: Any) -> Any:
            pre = self.layer(rows)
            return pre, torch.relu(pre)

    return getattr(module, CLASSES[kind])(576, features, top_k=kept, encoder_module=Linear()).train()


def error_of_peers(full: bool) -> Iterator[Claim]:
    """Normalised error on test tokens, in batches of 1,024 as in training; the peer at the best of its rates."""
    for kind, ours, label in (("topk", "token", "TopK"), ("batchtopk", "mutual", "Mutual Choice")):
        found = {rate: peer_error(kind, rate) for rate in PEER_RATES}
        rate = min(found, key=lambda r: found[r])
        yield Claim(
            f"Normalised test error by batch, {label} against {CLASSES[kind]} of overcomplete",
            "<= 1.01x",
            measured(ours)["batch_mse"],
            "",
            found[rate],
            f"overcomplete 0.3.0, {CLASSES[kind]}, Adam at {rate:g}",
            note=f"{FEATURES:,} features, {K} active, {STEPS} steps, seed 0, ours at {RATE:g}; the peer gets tokens "
            "centred and scaled, and the best of its rates on test tokens; "
            + ", ".join(f"{r:g}: {e:.4f}" for r, e in found.items()),
        )


def rates(full: bool) -> Iterator[Claim]:
    """TopK by learning rate, chosen on validation tokens; the others take the same."""
    found = {rate: measured(f"token-{rate:g}") for rate in RATES}
    best = min(found, key=lambda rate: found[rate]["validation_mse"])
    listed = ", ".join(f"{r:g}: {f['validation_mse']:.4f}, dead {f['dead']:.1%}" for r, f in found.items())
    yield Claim(
        "Validation error of TopK at the rate that all autoencoders take, against the best of four",
        "<= 1.0x",
        found[RATE]["validation_mse"],
        "",
        found[best]["validation_mse"],
        f"TopK at {best:g}",
        note=f"4,000 validation tokens; {listed}",
    )


def peer_error(kind: str, rate: float) -> float:
    """Error of the peer on test tokens, remembered; minutes to train."""
    path = CACHE / "runs" / f"overcomplete-{kind}-{rate:g}-peer.json"
    if not path.exists():
        write_json(path, _peer_error(kind, rate))
    return float(read_json(path))


def _peer_error(kind: str, rate: float) -> float:
    import torch

    torch.manual_seed(0)
    train, test = (torch.from_numpy(np.asarray(activations(s).x, np.float32)) for s in ("train", "test"))
    centre = train.mean(dim=0)
    scale = (train - centre).square().mean().sqrt()
    rows, test = (train - centre) / scale, (test - centre) / scale
    sae = overcomplete_sae(kind, FEATURES, K if kind == "topk" else K * BATCH)
    adam = torch.optim.Adam(sae.parameters(), lr=rate)
    decay = torch.optim.lr_scheduler.LambdaLR(adam, lambda s: min(1.0, 5 * (1 - s / STEPS)))
    for _ in range(STEPS):
        part = rows[torch.randint(len(rows), (BATCH,))]
        adam.zero_grad()
        (sae(part)[2] - part).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        adam.step()
        decay.step()
    error = 0.0
    with torch.no_grad():
        for part in test.split(BATCH):
            if kind == "batchtopk":
                sae.top_k = K * len(part)
            error += float((sae(part)[2] - part).double().square().sum())
    return error / float((test - test.mean(dim=0)).double().square().sum())


if __name__ == "__main__":
    for name in sys.argv[1:]:
        which, _, step_length = name.partition(":")
        print(name, peer_error(which, float(step_length)), flush=True)
