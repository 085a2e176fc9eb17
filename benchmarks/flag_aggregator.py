"""Flag Aggregator (arXiv 2302.05865): accuracy under hostile workers and losses, real processes, time to aggregate.

Trainings: digits (1,400 / 397), MLP 64-128-10, 11 workers whose images have noise of 0, 2, 4 pixel units in turn,
batches of 32, SGD at 0.1, 300 steps, 3 seeds; m = 6, five IRLS steps. Time: 15 gradients of 11.2 million float32
numbers.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.flag_aggregator_peers import byzfl_aggregators
from benchmarks.harness import Claim, compare, read_results, run
from benchmarks.harness.record import RESULTS

SLUG = "flag-aggregator"
PAPER = "p = 15, f = 1..3, ResNet-18: highest accuracy of all rules, up to about 20 points above the best of the others"
P, N = 15, 11_200_000


def _note(table: dict[str, list[float]]) -> str:
    rules = (
        f"{rule} {100 * np.mean(v):.1f}" + f" ({len(v)} seed)" * (len(v) < 3) for rule, v in table.items()
    )
    return "mean of 3 seeds, %: " + "; ".join(rules)


def _name(condition: str) -> str:
    from benchmarks.flag_aggregator_training import CONDITIONS

    return f"Accuracy of flag, {CONDITIONS[condition].label}"


def accuracies(condition: str, full: bool) -> Iterator[Claim]:
    """All rules under one condition."""
    from benchmarks.flag_aggregator_training import table

    found = table(condition, full)
    percent = {rule: [100 * value for value in values] for rule, values in found.items()}
    mean = {rule: float(np.mean(values)) for rule, values in percent.items()}
    peer = "byzfl Multi-Krum"
    yield Claim(_name(condition), ">= 88", mean["flag"], "%", mean[peer], f"{peer}, told f",
                spread={"kind": "seeds", "values": percent}, paper=PAPER, note=_note(found))  # fmt: skip
    if condition in ("random", "reverse"):
        yield Claim(
            f"{_name(condition).replace('flag', 'the mean')}: the attack is strong", "< 50", mean["mean"], "%"
        )
    if condition.startswith("misdeclared"):
        label = _name(condition).removeprefix("Accuracy of flag, ")
        yield Claim(f"Points above the trimmed mean, {label}", ">= 5", mean["flag"] - mean["trimmed mean"], "points",
                    note=f"flag {mean['flag']:.1f} %, trimmed mean {mean['trimmed mean']:.1f} %")  # fmt: skip


def averages(full: bool) -> Iterator[Claim]:
    """Over the five attacked conditions, from what their parts have recorded."""
    from benchmarks.flag_aggregator_training import ATTACKED

    claims = {claim["name"]: claim for claim in read_results(RESULTS / f"{SLUG}.json")["claims"]}
    tables = [claims[_name(condition)]["spread"]["values"] for condition in ATTACKED]
    mean = {rule: float(np.mean([np.mean(t[rule]) for t in tables])) for rule in tables[0]}
    note = "; ".join(f"{rule} {value:.1f}" for rule, value in mean.items())
    for rule in ("flag", "flag, lambda 0.1"):
        for peer, bound in (("median", 1.0), ("Multi-Krum", 2.0)):
            yield Claim(f"Average of five failures, points of {rule} behind {peer}", f"<= {bound}",
                        mean[peer] - mean[rule], "points", paper=PAPER, note=note)  # fmt: skip


def processes(full: bool) -> Iterator[Claim]:
    """Twelve real processes, and the same in one."""
    from benchmarks.flag_aggregator_processes import compare_histories

    losses, simulated, reached, here, took = compare_histories()
    gap = float(np.abs(losses - simulated).max() / np.abs(simulated).max())
    yield Claim("Losses of 11 workers over 300 steps, 12 processes against one: relative difference", "<= 1e-06", gap,
                "relative", note=f"accuracy {100 * reached:.1f} % in processes, {100 * here:.1f} % in one")  # fmt: skip
    yield Claim("Twelve processes over gloo, 300 steps, with their start", "<= 60", took, "s")


def mnist(full: bool) -> Iterator[Claim]:
    """The paper's numbers of workers on MNIST (8,500 of the test images to train on, 1,500 to test), a small CNN."""
    import torch

    from benchmarks import flag_aggregator_training as training

    torch.set_num_threads(1)
    data, rivals = training.mnist(), ("Multi-Krum", "Bulyan", "MeaMed", "Phocas")
    conditions = {
        "3 of 15 send uniform noise": training.Condition("", "random", 3, 3),
        "10 % of coordinates lost on the way": training.Condition("", declared=3, drop=0.1),
    }
    for label, condition in conditions.items():
        found: dict[str, list[float]] = {}
        for rule in ("flag", *rivals):
            how, options = training.rules(3)[rule]
            found[rule] = [
                training.train(
                    data, condition, how, options, seed, network=training.cnn, workers=P, steps=150
                )[0]
                for seed in range(3 if full else 1)
            ]
        mean = {rule: 100 * float(np.mean(values)) for rule, values in found.items()}
        best = max(rivals, key=lambda rule: mean[rule])
        yield Claim(f"MNIST, points of flag above the best of Multi-Krum, Bulyan, MeaMed, Phocas, {label}", ">= 0",
                    mean["flag"] - mean[best], "points", paper=PAPER,
                    note=f"{len(found['flag'])} seed(s), 150 steps, best rival {best}; "
                    + "; ".join(f"{rule} {value:.1f}" for rule, value in mean.items()))  # fmt: skip


def _gradients() -> np.ndarray:
    rng = np.random.default_rng(0)
    shared = rng.standard_normal(N, np.float32)
    G = rng.standard_normal((P, N), np.float32)
    G += shared
    G[:3] *= 30
    return G


def _trimmed(G: Any, f: int, width: int = 65536) -> Any:
    """Coordinate trimmed mean in torch, in blocks of coordinates."""
    import torch

    out = torch.empty(G.shape[1])
    for at in range(0, G.shape[1], width):
        block = G[:, at : at + width].T.contiguous()  # sorting along the last axis is the faster way
        out[at : at + width] = block.sort(dim=1).values[:, f : len(G) - f].mean(dim=1)
    return out


def _gram_in_blocks(G: Any, width: int = 65536) -> Any:
    import torch

    K = torch.zeros(len(G), len(G), dtype=torch.float64)
    for at in range(0, G.shape[1], width):
        block = G[:, at : at + width]
        K += torch.mm(block, block.T).double()
    return K


def speed(full: bool) -> Iterator[Claim]:
    """Time of the rule against torch's trimmed mean, Bulyan here, and byzfl; of the Gram matrix against torch.mm."""
    import torch

    from gossamer.solve import bulyan, flag_aggregate, trimmed_mean

    G = _gradients()
    T = torch.from_numpy(G)
    np.testing.assert_allclose(_trimmed(T[:, :9999], 3).numpy(), trimmed_mean(G[:, :9999], 3), atol=1e-3)
    label = f"p = {P}, n = {N:.3g}, float32"
    race = compare(lambda: flag_aggregate(T), lambda: _trimmed(T, 3), rounds=3)
    yield Claim.from_race(f"flag against the coordinate trimmed mean, {label}", ">= 0.333x", race,
                          peer_name="torch.sort in blocks of coordinates")  # fmt: skip
    yield Claim(
        f"Seconds of flag, {label}", "<= 1.0", float(1 / np.median(race.ours)), "s", spread=race.spread()
    )
    race = compare(lambda: flag_aggregate(T), lambda: bulyan(T, 3), rounds=3)
    yield Claim.from_race(
        f"flag against Bulyan of this library, {label}", ">= 2x", race, peer_name="gossamer bulyan, f = 3"
    )
    yield from _against_byzfl(T[:, : N // 8], flag_aggregate)


def _against_byzfl(T: Any, flag: Callable[..., Any]) -> Iterator[Claim]:
    rule = byzfl_aggregators().MultiKrum(3)
    T = T.contiguous()
    race = compare(lambda: flag(T), lambda: rule(T), rounds=3)
    yield Claim.from_race(f"flag against byzfl's Multi-Krum, p = {P}, n = {T.shape[1]:.3g}, float32", ">= 1x", race,
                          peer_name="byzfl MultiKrum(3) on the same torch tensor")  # fmt: skip


def gram(full: bool) -> Iterator[Claim]:
    """The kernel against float32 products by blocks, and what its float64 sums are for."""
    import torch

    from gossamer._kernels import fisher

    G = _gradients()[:, : N // 2].copy()
    T = torch.from_numpy(G)
    start = time.perf_counter()
    K = fisher.gram(G)
    rate = P * (P + 1) * G.shape[1] / (time.perf_counter() - start) / 1e9
    error = float(np.abs(_gram_in_blocks(T).numpy() - K).max() / np.abs(K).max())
    race = compare(lambda: fisher.gram(G), lambda: _gram_in_blocks(T), rounds=7)
    yield Claim.from_race(
        f"Gram matrix in float64 against torch.mm in float32, p = {P}, n = {G.shape[1]:.3g}", ">= 1x", race,
        peer_name="torch.mm in blocks of 65,536, summed in float64",
        note=f"ours {rate:.0f} GFLOP/s of the triangle; the peer's products differ by {error:.0e} relative",
    )  # fmt: skip


if __name__ == "__main__":
    from benchmarks.flag_aggregator_training import CONDITIONS

    parts: dict[str, Callable[[bool], Iterator[Claim]]] = {
        name: functools.partial(accuracies, name) for name in CONDITIONS
    }
    others = {"averages": averages, "processes": processes, "mnist": mnist, "speed": speed, "gram": gram}
    run(SLUG, parts | others, packages=["torch", "scikit-learn", "byzfl"])
