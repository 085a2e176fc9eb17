"""M-FAC (arXiv 2107.03356): cost of exact inverse-Fisher products, one-shot and recomputed pruning, the optimiser.

Cost: random gradients, 2 threads. Pruning and training: scikit-learn's digits (8x8 images, 70/30, seed 0).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.harness import Claim, compare, run
from benchmarks.m_fac_tasks import accuracy, digits, network, prune_runs, train

PAPER_PRUNE = "ResNet50 72.6 % at 95 % sparsity; one-shot above WoodFisher at lower cost (ImageNet)"
PAPER_OPT = "ResNet20 on CIFAR-10: M-FAC 92.34, SGD 91.78, Adam 89.67, K-FAC 90.65"


def _gradients(m: int, d: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((m, d), np.float32) * np.float32(0.01)


def _torch_recurrence(G: Any, damp: float) -> Any:
    import torch

    m = len(G)
    V = torch.empty_like(G)
    s = torch.empty(m)
    for i in range(m):
        v = G[i] / damp
        if i:
            v = v - V[:i].T @ ((V[:i] @ G[i]) / s[:i])
        V[i], s[i] = v, m + G[i] @ v
    return V, s


def _torch_gemm(G: Any, damp: float) -> Any:
    import torch

    K = (G @ G.T).double()
    L = torch.linalg.cholesky(K + len(G) * damp * torch.eye(len(G), dtype=torch.float64))
    return torch.linalg.solve_triangular(L.float(), G, upper=False) / damp**0.5


def _scipy_woodbury(G: np.ndarray, damp: float) -> Any:
    from scipy.linalg import cholesky, solve_triangular

    K = (G @ G.T).astype(np.float64)
    K[np.diag_indices_from(K)] += len(G) * damp
    L = cholesky(K, lower=True).astype(np.float32)
    return solve_triangular(L, G, lower=True) / np.float32(damp**0.5)


def _precompute(m: int, d: int, rounds: int, warmup: int = 1) -> Iterator[Claim]:
    """One shape against the recurrence and against compositions of library calls that make the same factor."""
    import torch

    from gossamer.solve import gemm_factor

    G = _gradients(m, d)
    T = torch.from_numpy(G)
    peers = (
        ("recurrence in torch", lambda: _torch_recurrence(T, 1e-5), 2.5),
        ("GEMM composition in torch", lambda: _torch_gemm(T, 1e-5), 1.0),
        ("Woodbury composition in SciPy", lambda: _scipy_woodbury(G, 1e-5), 1.0),
    )
    for name, peer, target in peers:
        race = compare(lambda: gemm_factor(G, 1e-5), peer, rounds=rounds, warmup=warmup)
        yield Claim.from_race(
            f"Static precompute, m={m}, d={d:.0e}, against the {name}", f">= {target}x", race, peer_name=name
        )


def static(full: bool) -> Iterator[Claim]:
    """Precompute against its peers."""
    yield from _precompute(64, 100_000, rounds=9)
    yield from _precompute(256, 100_000, rounds=3)
    yield from _precompute(64, 1_000_000, rounds=7)


def static_wide(full: bool) -> Iterator[Claim]:
    """Precompute with 256 gradients of a million entries."""
    if full:
        yield from _precompute(256, 1_000_000, rounds=3, warmup=0)


def static_deep(full: bool) -> Iterator[Claim]:
    """Precompute with 1024 gradients."""
    if full:
        yield from _precompute(1024, 100_000, rounds=3, warmup=0)


def dynamic(full: bool) -> Iterator[Claim]:
    """A step of the window against two plain passes; an element."""
    import torch

    from gossamer.solve import FisherInverse, SlidingFisherInverse

    for m, d in ((64, 100_000), (512, 100_000)):
        window = SlidingFisherInverse(m, d)
        for g in _gradients(m, d):
            window.push(g)
        g, T = _gradients(1, d)[0], torch.from_numpy(window.G)
        x = torch.from_numpy(g)
        race = compare(lambda w=window, g=g: w.push_mul(g), lambda T=T, x=x: T.T @ (T @ x), rounds=15)
        yield Claim.from_race(
            f"push_mul against two GEMV passes of torch, m={m}, d={d:.0e}", ">= 0.769x", race,
            peer_name="two float32 GEMV passes", note="the bound is 1.3 times the time of the two passes",
        )  # fmt: skip
    inverse = FisherInverse(_gradients(256, 100_000))
    taken = []
    for seed in range(5):
        pairs = np.random.default_rng(seed).integers(0, 100_000, (2000, 2)).tolist()
        start = time.perf_counter()
        for a, b in pairs:
            inverse.element(a, b)
        taken.append(1e6 * (time.perf_counter() - start) / len(pairs))
    yield Claim("Element query at random places, m=256, d=1e5", "<= 5", float(np.median(taken)), "us",
                note="median of five rounds of 2000 queries, each at new places")  # fmt: skip


def growth(full: bool) -> Iterator[Claim]:
    """Time of the precompute against d and against the square of m."""
    dims, windows = (50_000, 100_000, 200_000, 400_000, 800_000), (128, 256, 512, 1024)
    times = [_least_time(64, d) for d in dims]
    r2 = float(np.corrcoef(dims, times)[0, 1] ** 2)
    yield Claim("Precompute is linear in d (R^2, m=64, d=5e4..8e5)", ">= 0.99", r2, "R^2")
    times = [_least_time(m, 50_000) for m in windows]
    r2 = float(np.corrcoef(np.square(windows), times)[0, 1] ** 2)
    power = float(np.polyfit(np.log(windows), np.log(times), 1)[0])
    yield Claim("Precompute grows with the square of m (R^2, d=5e4, m=128..1024)", ">= 0.99", r2, "R^2",
                note=f"power of m in a fit on logarithmic axes: {power:.2f}")  # fmt: skip


def _least_time(m: int, d: int) -> float:
    from gossamer.solve import gemm_factor

    G = _gradients(m, d)
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        gemm_factor(G, 1e-5)
        rounds.append(time.perf_counter() - start)
    return min(rounds)


def conjugate_gradients(full: bool) -> Iterator[Claim]:
    """One inverse product after precompute, against CG on an empirical Fisher operator at relative accuracy 1e-3."""
    import torch
    from curvlinops import CGInverseLinearOperator, EFLinearOperator

    from gossamer.solve import FisherInverse
    from gossamer.sparsify import collect_gradients

    (x, y), _ = digits()
    net = train(network("mlp", 0), x, y, 5)
    data = [(x[i : i + 1], y[i : i + 1]) for i in range(256)]
    params = dict(net.named_parameters())
    G = collect_gradients(net, data, torch.nn.functional.cross_entropy, 256, params)
    inverse = FisherInverse(G, 1e-3)
    v = torch.randn(inverse.d, generator=torch.Generator().manual_seed(0))
    operator = EFLinearOperator(
        net,
        torch.nn.CrossEntropyLoss(),
        list(params.values()),
        [(x[:256], y[:256])],
        check_deterministic=False,
    )
    damped = operator + 1e-3 * _identity_like(operator)
    solver = CGInverseLinearOperator(damped, tolerance=1e-3, max_iter=2000, max_tridiag_iter=0)
    exact, theirs = inverse.mul(v), solver @ v
    error = float((exact - theirs).norm() / exact.norm())
    race = compare(lambda: inverse.mul(v), lambda: solver @ v, rounds=5)
    yield Claim.from_race(
        "Inverse product after precompute against CG on an empirical Fisher operator", ">= 5x", race,
        peer_name="curvlinops EFLinearOperator + CG, tolerance 1e-3",
        note=f"MLP of {inverse.d} weights, 256 samples, damping 1e-3; the two differ by {error:.1e} relative",
    )  # fmt: skip


def _identity_like(operator: Any) -> Any:
    import torch
    from curvlinops.examples import IdentityLinearOperator

    return IdentityLinearOperator(operator._in_shape, operator.device, torch.float32)


def pruning(full: bool) -> Iterator[Claim]:
    """Test accuracy without fine-tuning, mean of 5 seeds, with the controls that recomputation demands."""
    runs = prune_runs("mlp", (0.8, 0.9), seeds=5, full=full, fewer=True)
    floors = {0.8: (96.5, 2, 9), 0.9: (95.5, 8, 35)}
    for sparsity, table in runs.items():
        mean = {name: float(np.mean(values)) for name, values in table.items()}
        spread = {"kind": "seeds", "values": table}
        note = "; ".join(f"{name} {value:.1f}" for name, value in mean.items())
        best = mean["M-FAC, 16 recomputations"]
        floor, over_diagonal, over_magnitude = floors[sparsity]
        label = f"digits MLP at {sparsity:.0%} sparsity"
        yield Claim(f"Accuracy, {label}", f">= {floor}", best, "%", mean["dense"], "the dense network",
                    spread=spread, paper=PAPER_PRUNE, note=note)  # fmt: skip
        control = "diagonal Fisher, 16 recomputations"
        yield Claim(f"Points above the recomputed diagonal Fisher, {label}", f">= {over_diagonal}",
                    best - mean[control], "points", note=f"{control}: {mean[control]:.2f} %")  # fmt: skip
        fewer, control = "M-FAC, 8 recomputations, block 2048", "diagonal Fisher, 8 recomputations"
        yield Claim(f"Points above the diagonal Fisher with 8 recomputations each, {label}", f">= {over_diagonal}",
                    mean[fewer] - mean[control], "points",
                    note=f"{fewer}: {mean[fewer]:.2f} %; {control}: {mean[control]:.2f} %")  # fmt: skip
        yield Claim(f"Points above magnitude, {label}", f">= {over_magnitude}", best - mean["magnitude"], "points",
                    note=f"magnitude: {mean['magnitude']:.2f} %")  # fmt: skip


def cnn(full: bool) -> Iterator[Claim]:
    """The same on a small convolutional network, and a gradual run with training between."""
    table = prune_runs("cnn", (0.9,), seeds=3, full=full)[0.9]
    mean = {name: float(np.mean(values)) for name, values in table.items()}
    yield Claim("Points above the recomputed diagonal Fisher, digits CNN at 90% sparsity", ">= 0",
                mean["M-FAC, 16 recomputations"] - mean["diagonal Fisher, 16 recomputations"], "points",
                note="; ".join(f"{k} {v:.1f}" for k, v in mean.items()))  # fmt: skip
    import torch
    from torch.nn import functional as F

    from gossamer.sparsify import GradualRecipe, MFACPruner, masks_of, model_sparsity

    (x, y), (xt, yt) = digits()
    net = train(network("mlp", 0), x, y, 60)
    dense = accuracy(net, xt, yt)
    batches = list(zip(x[:1248].split(32), y[:1248].split(32)))
    pruner = MFACPruner(net, batches, F.cross_entropy, ngrads=39)
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)

    def epoch() -> None:
        for a, b in batches:
            optimizer.zero_grad()
            F.cross_entropy(net(a), b).backward()
            optimizer.step()

    GradualRecipe((0.5, 0.75, 0.9, 0.95), epochs=5).run(pruner, optimizer, epoch)
    zeros = model_sparsity(masks_of(pruner.params))
    yield Claim("Accuracy after gradual pruning with training, digits MLP at 95% sparsity", ">= 95.5",
                accuracy(net, xt, yt), "%", dense, "the dense network",
                note=f"seed 0; {zeros:.4f} of the weights are exact zeros after the last optimiser step")  # fmt: skip


def _trained(kind: str, label: str, names: tuple[str, ...]) -> Iterator[Claim]:
    from benchmarks.m_fac_training import GRIDS, LABELS, tuned

    best = tuned(kind, names)
    points = {len(list(itertools.product(*GRIDS[name].values()))) for name in names}

    def note(criterion: str, by: str) -> str:
        rows = (f"{LABELS[k]}: {v['setting']} -> {v['mean']:.4g}" for k, v in best[criterion].items())
        return (
            f"each at the best of its {max(points)} settings by {by} (2 seeds), 5 other seeds; "
            + "; ".join(rows)
        )

    def spread(criterion: str) -> dict[str, Any]:
        return {"kind": "seeds", "values": {k: v["values"] for k, v in best[criterion].items()}}

    mean = {criterion: {k: v["mean"] for k, v in rows.items()} for criterion, rows in best.items()}
    for peer in names[1:]:
        if peer != "adam":
            yield Claim(f"Final training loss, {label}, against tuned {LABELS[peer]}", "<= 1x", mean["loss"]["mfac"],
                        "nats", mean["loss"][peer], LABELS[peer], spread=spread("loss"), paper=PAPER_OPT,
                        note=note("loss", "training loss"))  # fmt: skip
        allowed = "<= 0.2" if peer == "sgd" else "<= 0"
        yield Claim(f"Points of test accuracy behind {LABELS[peer]}, {label}", allowed,
                    mean["test"][peer] - mean["test"]["mfac"], "points", spread=spread("test"),
                    note=note("test", "validation loss"))  # fmt: skip
    if "sgd" in names:
        yield Claim(f"Steps to 95 % test accuracy, {label}", "<= 0.7x", mean["steps"]["mfac"], "steps",
                    mean["steps"]["sgd"], LABELS["sgd"], spread=spread("steps"),
                    note=note("steps", "steps to 95 % of the validation images"))  # fmt: skip


def optimiser(full: bool) -> Iterator[Claim]:
    """M-FAC against SGD with momentum and Adam on the MLP: batch 128, 30 epochs, cosine schedules."""
    return _trained("mlp", "digits MLP", ("mfac", "sgd", "adam"))


def kfac(full: bool) -> Iterator[Claim]:
    """The same with the K-FAC family."""
    if full:
        yield from _trained("mlp", "digits MLP", ("mfac", "singd", "kfac"))


def optimiser_cnn(full: bool) -> Iterator[Claim]:
    """On the CNN."""
    if full:
        yield from _trained("cnn", "digits CNN", ("mfac", "sgd", "adam"))


def optimiser_gru(full: bool) -> Iterator[Claim]:
    """On a GRU that reads the images row by row."""
    if full:
        yield from _trained("gru", "digits GRU", ("mfac", "sgd", "adam"))


def overheads(full: bool) -> Iterator[Claim]:
    """A training step against SGD's: forward, backward and update of a network of 101,180 weights, batch of 128."""
    from benchmarks.m_fac_training import overhead

    for store in ("bfloat16", "float32"):
        yield Claim.from_race(
            f"Training step with M-FAC (m=64, window in {store}) against SGD, d=1e5", ">= 0.4x", overhead(64, store),
            peer_name="torch SGD, same network and batch of 128",
            note="the bound is 2.5 times the time of an SGD step, which is forward, backward and update",
        )  # fmt: skip


if __name__ == "__main__":
    run(
        "m-fac",
        {
            "static": static,
            "static-wide": static_wide,
            "static-deep": static_deep,
            "growth": growth,
            "dynamic": dynamic,
            "cg": conjugate_gradients,
            "pruning": pruning,
            "cnn": cnn,
            "optimiser": optimiser,
            "kfac": kfac,
            "optimiser-cnn": optimiser_cnn,
            "optimiser-gru": optimiser_gru,
            "overhead": overheads,
        },
        packages=["numpy", "scipy", "torch", "scikit-learn", "curvlinops-for-pytorch", "singd"],
    )
