"""Stochastic CCA and PLS against SGHA, EigenGame, cca-zoo and scikit-learn; out of core; deep CCA; SSL; the kernels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.harness import Claim, compare, run
from benchmarks.stochastic_cca_baselines import NOI, STOL, Fit, cca_zoo, eigengame, ours, power, sgha
from benchmarks.stochastic_cca_deep import deep_fit, halves, probe_after
from benchmarks.stochastic_cca_genotypes import exact_values, genotypes, measured
from gossamer._kernels import multiview
from gossamer.learn import pcc, pvc
from gossamer.linalg import canonical_correlations
from gossamer.nn import BarlowTwinsLoss, DCCALoss, EYLoss, SSLEYLoss, VICRegLoss

K = 5
SEEDS = (0, 1, 2)
ADAM_RATES = (0.05, 0.03, 0.01, 0.003, 0.002, 0.001, 0.0005)
SGD_RATES = (0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
SLOW_RATES = (0.01, 0.003, 0.001, 3e-4, 1e-4, 3e-5)
ZOO_RATES = (0.5, 0.2, 0.1, 0.03, 0.01)
PAPER = "one epoch: EY captures more correlation than SGHA and gamma-EigenGame, most clearly at small batches"


def best(
    fit: Fit, rates: tuple[float, ...], size: int, score: Callable[..., float], X: Any, Y: Any
) -> tuple[float, float]:
    """Largest mean score over three seeds of any rate, and the rate; a fit that diverges has none."""
    top, chosen = 0.0, 0.0
    for rate in rates:
        found = []
        for seed in SEEDS:
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    u, w = fit(X, Y, K, size, rate, seed)
            except (ValueError, np.linalg.LinAlgError):
                break
            if not (np.isfinite(u).all() and np.isfinite(w).all()):
                break
            found.append(score(np.float64(u), np.float64(w)))
        if len(found) == len(SEEDS) and np.mean(found) > top:
            top, chosen = float(np.mean(found)), rate
    return top, chosen


def linear(size: int, pls: bool) -> Iterator[Claim]:
    """One epoch on halves of 8,000 digits, the best rate of each method, means of three seeds, one thread."""
    X, Y = (v[:8000] for v in halves())
    wide, high = X.astype(np.float64), Y.astype(np.float64)
    if pls:
        values = np.linalg.svd(wide.T @ high / 7999, compute_uv=False)

        def score(u: np.ndarray, w: np.ndarray) -> float:
            return pvc(u, w, wide, high, values)
    else:
        values = canonical_correlations(wide, high)

        def score(u: np.ndarray, w: np.ndarray) -> float:
            return pcc([wide @ u, high @ w], values)

    ridge = 1.0 if pls else 0.0
    with threadpool_limits(1):
        results = {
            name: best(fit, rates, size, score, X, Y)
            for name, fit, rates in (
                ("EY", ours(pls, False), ADAM_RATES),
                ("EY, averaged", ours(pls, True), ADAM_RATES),
                ("SGHA", sgha(ridge, False), SGD_RATES),
                ("SGHA, averaged", sgha(ridge, True), SGD_RATES),
                *(() if pls else (("SGHA, Gaussian start", sgha(ridge, False, gaussian=True), SGD_RATES),)),
                ("gamma-EigenGame", eigengame(ridge), SLOW_RATES),
                ("cca-zoo", cca_zoo(ridge), ZOO_RATES),
                *((("stochastic power", power, SGD_RATES),) if pls else ()),
            )
        }
    note = "; ".join(
        f"{name} {value:.4f} at {rate:g}" if value else f"{name} diverged at all rates"
        for name, (value, rate) in results.items()
    )
    mine = max(results["EY"][0], results["EY, averaged"][0])
    game = max(results["SGHA"][0], results["SGHA, averaged"][0])
    others = {name: value for name, (value, _) in results.items() if not name.startswith("EY")}
    what, label = ("PVC", "PLS") if pls else ("PCC", "CCA")
    target = 0.98 if pls else {5: 0.88, 20: 0.93, 100: 0.93}[size]
    yield Claim(
        f"{what} of {label}, K=5, one epoch, batch {size}",
        f">= {target}",
        mine,
        "of the exact",
        game or None,
        "SGHA from our start, plain or averaged, whichever is better",
        paper=PAPER,
        note=note,
    )
    if pls:
        top = max(others, key=lambda name: others[name])
        yield Claim(
            f"PVC below the best other method, batch {size}",
            "<= 0.005",
            max(0.0, others[top] - mine),
            "of the exact",
            note=f"best other: {top} {others[top]:.4f}",
        )
    elif size == 5:
        first = results["SGHA, Gaussian start"][0]
        yield Claim(
            "PCC above SGHA as published, batch 5",
            ">= 0.05",
            mine - first,
            "of the exact",
            note="SGHA from small Gaussian weights, last iterate",
        )
        yield Claim(
            "PCC above SGHA from our start and averaged like ours, batch 5",
            ">= 0.05",
            mine - game,
            "of the exact",
            note="the start and the average, which are not of the paper, carry over to SGHA; what is left is the loss",
        )
    else:
        yield Claim(
            f"PCC below cca-zoo, batch {size}",
            "<= 0.003",
            max(0.0, others["cca-zoo"] - mine),
            "of the exact",
            note=note,
        )


def out_of_core(full: bool) -> Iterator[Claim]:
    """PLS of 4,000 people x 250,000 variants in bytes on a disk with 82 outcomes, K = 10."""
    n, p = 4000, 250_000
    path, Y = genotypes(n, p)
    options = {
        "n_components": 10,
        "batch_size": 500,
        "max_epochs": 12,
        "learning_rate": 0.1,
        "average": True,
        "random_state": 0,
    }
    result = measured("ours", n, p, **options)
    values, cross = exact_values(path, Y, p)
    found = np.load(result["weights"])
    inner = np.linalg.qr(np.float64(found["x"]))[0].T @ cross @ np.linalg.qr(np.float64(found["y"]))[0]
    captured = float(np.linalg.svd(inner, compute_uv=False).sum() / values[:10].sum())
    note = f"1 GB of int8 in a memory map, made by the generator of this benchmark; {options}"
    yield Claim(
        "PVC of PLS out of core, 4,000 x 250,000 bytes, K=10",
        ">= 0.95",
        captured,
        "of the exact",
        note=note,
        paper="UK Biobank, 33,333 people, 582,565 variants x 82 regions: feasible for the first time",
    )
    yield Claim("Growth of memory, 4,000 x 250,000 bytes", "<= 400", result["growth"], "MB", note=note)
    yield Claim("Seconds, 4,000 x 250,000 bytes", "<= 120", result["seconds"], "s", note=note)


def memory(full: bool) -> Iterator[Claim]:
    """Growth of memory of all three at a tenth of the features."""
    n, p = 4000, 25_000
    genotypes(n, p)
    mine = measured("ours", n, p, n_components=10, batch_size=500, random_state=0)
    for name, options in (
        ("scikit-learn", {"n_components": 10}),
        ("cca-zoo", {"n_components": 10, "batch_size": 500, "max_iter": 1, "random_state": 0}),
    ):
        theirs = measured(name, n, p, **options)
        yield Claim(
            f"Growth of memory against {name}, 4,000 x 25,000 bytes",
            "<= 0.1x",
            mine["growth"],
            "MB",
            theirs["growth"],
            f"{name} {'PLSSVD' if name == 'scikit-learn' else 'StochasticCCAEY'} on a float32 copy",
            note=f"{mine['seconds']:.2f} and {theirs['seconds']:.2f} s; theirs grows with N p",
        )


def deep(size: int) -> Iterator[Claim]:
    """Encoders 392-256-256-20 on halves of digits, ten epochs, held-out total correlation."""
    torch.set_num_threads(1)
    losses: dict[str, Callable[[], Any]] = {
        "DCCA-EY": lambda: EYLoss(ridge=1e-3),
        "DCCA-STOL": lambda: STOL(20),
        "DCCA-NOI": lambda: NOI(20),
    }
    if size > 20:
        losses["DCCA"] = lambda: DCCALoss(1e-3)
    found = {}
    for name, make in losses.items():
        try:
            found[name] = deep_fit(make(), size, seed=0)
        except (ValueError, torch.linalg.LinAlgError):
            found[name] = 0.0
    note = "; ".join(f"{name} {value:.3f}" for name, value in found.items())
    rest = "DCCA needs batches above 20; " if size <= 20 else ""
    top = max((name for name in found if name != "DCCA-EY"), key=lambda name: found[name])
    yield Claim(
        f"Held-out correlation of deep CCA against the best other loss, batch {size}",
        ">= 1x",
        found["DCCA-EY"],
        "of 20",
        found[top],
        top,
        paper="DCCA-EY has the best TCC on SplitMNIST and XRMB",
        note=f"{note}; {rest}one seed; cca-zoo's deep models need lightning, which is not installed",
    )


def ssl(full: bool) -> Iterator[Claim]:
    """Crops and small rotations of digits, a small CNN, five epochs, a linear probe on 2,000."""
    torch.set_num_threads(1)
    found = {
        type(loss).__name__: probe_after(loss, 0) for loss in (SSLEYLoss(), VICRegLoss(), BarlowTwinsLoss())
    }
    note = "; ".join(f"{name} {100 * value:.2f}" for name, value in found.items())
    rest = max(found["VICRegLoss"], found["BarlowTwinsLoss"])
    yield Claim(
        "SSL-EY below the better of VICReg and Barlow Twins, linear probe",
        "<= 1.5",
        max(0.0, 100 * (rest - found["SSLEYLoss"])),
        "points",
        note=f"{note}; one seed, nothing tuned",
        paper="CIFAR-10: Barlow Twins 92.1, VICReg 91.7, SSL-EY 91.4 with no tuning",
    )


def kernels(full: bool) -> Iterator[Claim]:
    """One step of a view (scores, gradient, Adam) against NumPy with BLAS, two threads: 500 x 50,000, K=10."""
    rng = np.random.default_rng(0)
    m, p, K = 500, 50_000, 10
    raw = rng.integers(0, 3, (m, p)).astype(np.int8)
    u, r = rng.standard_normal((K, p)).astype(np.float32), rng.standard_normal((m, K)).astype(np.float32)
    offset, g = np.ones(p, np.float32), np.empty((K, p), np.float32)
    for dtype in ("int8", "float32"):
        x = raw.astype(dtype)
        mine, theirs = ([u.copy(), np.zeros_like(u), np.zeros_like(u)] for _ in range(2))

        def fused(x: np.ndarray = x, state: Any = mine) -> np.ndarray:
            z = multiview.scores(x, offset, state[0], 2)
            multiview.gradient(x, offset, r, state[0], None, g, 2)
            multiview.adam(state[0], g, state[1], state[2], 10, 1e-4, threads=2)
            return z

        def plain(x: np.ndarray = x, state: Any = theirs) -> np.ndarray:
            wide = x.astype(np.float32) - offset
            z = wide @ state[0].T
            slope = r.T @ wide
            state[1] += 0.1 * (slope - state[1])
            state[2] += 0.001 * (slope * slope - state[2])
            state[0] -= 1e-4 * (state[1] / (1 - 0.9**10)) / (np.sqrt(state[2] / (1 - 0.999**10)) + 1e-8)
            return z

        a, b = fused(), plain()
        np.testing.assert_allclose(a, b, atol=1e-2)
        race = compare(fused, plain, work=m * p, unit="entries/s", rounds=7)
        rate = float(np.median(race.ours))
        note = (
            f"{4 * K * rate / 1e9:.1f} GFLOP/s of multiply-adds and {2 * x.itemsize * rate / 1e9:.2f} GB/s of x in two "
            "passes, with the step of Adam in the time"
        )
        yield Claim.from_race(
            f"A step on {dtype} rows against NumPy and BLAS",
            ">= 1.5x",
            race,
            peer_name="NumPy, same threads",
            note=note,
        )


if __name__ == "__main__":
    parts: dict[str, Callable[[bool], Iterator[Claim]]] = {}
    for size in (5, 20, 100):
        parts[f"cca-{size}"] = lambda full, size=size: linear(size, False)  # type: ignore[misc]
        parts[f"pls-{size}"] = lambda full, size=size: linear(size, True)  # type: ignore[misc]
    for size in (20, 100):
        parts[f"deep-{size}"] = lambda full, size=size: deep(size)  # type: ignore[misc]
    run(
        "stochastic-cca",
        {**parts, "out-of-core": out_of_core, "memory": memory, "ssl": ssl, "kernels": kernels},
        packages=["scipy", "scikit-learn", "torch", "cca-zoo"],
    )
