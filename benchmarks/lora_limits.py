"""Limits of LoRA (arXiv 2406.03136): time of a certified gradient, its phase transition, real models.

Random tokens scaled to a given bound on logits, one head of width 8, adapters of rank 4 on Q and V, float32, 2 threads.
The paper's headline is a theorem.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import benchmarks.passive_threads  # noqa: F401  (before any library that starts threads)
from benchmarks.harness import Claim, compare, run

PAPER = "theorem: L^(1+o(1)) time if norms are o(sqrt(log L)), none below L^(2-o(1)) otherwise (under SETH)"
EXACT = "torch scaled_dot_product_attention, forward and backward, the faster of its flash and math back ends"
WIDTH, RANK = 8, 4


def problem(L: int, R: float, seed: int = 0) -> tuple[Any, list[Any], dict[str, Any], Any]:
    """Tokens, weights, adapters and an upstream slope; logits are bounded by R after centring."""
    import torch

    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator)

    X = normal(L, WIDTH)
    weights = [normal(WIDTH, WIDTH) / WIDTH**0.5 for _ in range(3)]
    adapters = {name: (normal(RANK, WIDTH), 0.1 * normal(WIDTH, RANK)) for name in "qv"}
    A, B = adapters["q"]
    q, k = X @ (weights[0] + B @ A), X @ weights[1]
    bound = float(q.norm(dim=1).max() * (k - k.mean(0)).norm(dim=1).max()) * WIDTH**-0.5
    factor = (R / bound) ** 0.5
    adapters["q"] = (factor * A, B)
    return X, [factor * weights[0], factor * weights[1], weights[2]], adapters, normal(L, WIDTH)


def gradient(method: str, eps: float, X: Any, weights: Any, adapters: Any, upstream: Any) -> dict[str, Any]:
    """Ours, fast or exact; the exact one is torch's own attention and autograd."""
    from gossamer.nn import lora_attention_gradient

    return lora_attention_gradient(X, *weights, adapters, upstream=upstream, method=method, eps=eps)


def with_backend(name: str, function: Callable[[], Any]) -> Any:
    """Call with one of torch's back ends."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel({"flash": SDPBackend.FLASH_ATTENTION, "math": SDPBackend.MATH}[name]):
        return function()


def error_of(fast: dict[str, Any], exact: dict[str, Any]) -> float:
    """Largest relative Frobenius error of the adapters' gradients."""
    names = ("dA_q", "dB_q", "dA_v", "dB_v")
    return max(float((fast[n] - exact[n]).norm() / exact[n].norm()) for n in names)


def speed(full: bool) -> Iterator[Claim]:
    """The gradient against the exact one at 16,384 tokens."""
    for R, eps in ((0.5, 1e-2), (0.5, 1e-3), (1.0, 1e-2)):
        data = problem(16_384, R)
        fast = partial(gradient, "poly", eps, *data)
        backends = {
            name: partial(with_backend, name, partial(gradient, "exact", eps, *data))
            for name in ("flash", "math")
        }
        best = min(backends, key=lambda name: _seconds(backends[name]))
        info, error = fast()["info"], error_of(fast(), backends[best]())
        race = compare(fast, backends[best], rounds=3, warmup=0)
        yield Claim.from_race(
            f"LoRA gradient, 16k tokens, R={R}, eps={eps:g}, against the exact one", ">= 5x", race,
            peer_name=f"{EXACT} ({best})", paper=PAPER, note=f"{info.k1} features of degree {info.degree}",
        )  # fmt: skip
        yield Claim(
            f"Relative error of the LoRA gradient, 16k tokens, R={R}, eps={eps:g}",
            f"<= {eps:g}",
            error,
            "relative",
            note="eps bounds the error of every exponential and of the slope at 0",
        )


def growth(full: bool) -> Iterator[Claim]:
    """Time against the number of tokens."""
    lengths = (2048, 4096, 8192, 16_384, 32_768)
    for R in (0.5, 1.0):
        for eps in (1e-2, 1e-3):
            times = [_seconds(partial(gradient, "poly", eps, *problem(L, R)), 3) for L in lengths]
            note = ", ".join(f"L={L}: {1e3 * t:.0f} ms" for L, t in zip(lengths, times, strict=True))
            yield Claim(f"Power of L in the time of the LoRA gradient, R={R}, eps={eps:g}, L=2k..32k", "<= 1.15",
                        _slope(lengths, times), "power", paper=PAPER, note=note)  # fmt: skip
    lengths = (2048, 4096, 8192)
    times = [_seconds(partial(gradient, "exact", 1e-2, *problem(L, 0.5)), 2) for L in lengths]
    yield Claim(
        "Power of L in the time of the exact LoRA gradient, L=2k..8k",
        ">= 1.5",
        _slope(lengths, times),
        "power",
    )


def _slope(lengths: Any, times: Any) -> float:
    return float(np.polyfit(np.log(lengths), np.log(times), 1)[0])


def _seconds(function: Callable[[], Any], rounds: int = 1) -> float:
    taken = []
    for _ in range(rounds + (rounds > 1)):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return min(taken)


def errors(full: bool) -> Iterator[Claim]:
    """Errors of gradients against what was asked, and of exponentials against what was certified."""
    from gossamer.linalg import exp_features

    worst = certified = 0.0
    for seed in range(3):
        for R in (0.1, 0.5, 1.0, 2.0):
            X, weights, adapters, upstream = problem(400, R, seed)
            data = (
                [x.double() for x in (X, *weights)],
                {n: (a.double(), b.double()) for n, (a, b) in adapters.items()},
            )
            parts = data[0][0], data[0][1:], data[1], upstream.double()
            exact = gradient("exact", 1e-2, *parts)
            for eps in (1e-1, 1e-2, 1e-3):
                worst = max(worst, error_of(gradient("poly", eps, *parts), exact) / eps)
                rng = np.random.default_rng(seed)
                U, V = (rng.uniform(-1, 1, (320, WIDTH)) * (R / WIDTH) ** 0.5 for _ in range(2))
                FU, FV, info = exp_features(U, V, eps=eps)
                certified = max(certified, float(np.abs(FU @ FV.T * np.exp(-U @ V.T) - 1).max() / info.bound))
    yield Claim(
        "Largest relative error of a LoRA gradient over eps",
        "<= 10",
        worst,
        "ratio",
        note="36 problems, R=0.1..2",
    )
    yield Claim("Largest error of an exponential over its certified bound", "<= 1", certified, "ratio",
                note="102,400 pairs in each of 36 cases")  # fmt: skip


def phase(full: bool) -> Iterator[Claim]:
    """Features against norms: from cheap to hopeless within a small factor."""
    from gossamer.nn import phase_transition

    norms = tuple(float(g) for g in np.geomspace(0.3, 4, 80))
    result = phase_transition((4096,), norms, d=WIDTH, eps=1e-3, seeds=1)
    few = max(point.gamma for point in result.table if point.k1 < 100)
    many = min(point.gamma for point in result.table if point.k1 > 5000)
    note = "; ".join(f"gamma/sqrt(log L)={p.scaled:.2f}: {p.k1:g}" for p in result.table[::8])
    yield Claim("Factor of the norm between fewer than 100 and more than 5,000 features, L=4096", "<= 3",
                many / few, "x", paper=PAPER, note=f"features against norms: {note}")  # fmt: skip


def models(full: bool) -> Iterator[Claim]:
    """How many heads of two real models qualify; a record, without a target that could be reached."""
    import torch

    from gossamer.compress.models.load import load_model
    from gossamer.datasets import load_wikitext2
    from gossamer.nn import lora_norm_report

    for name, heads in (("smollm2-135m", 270), ("all-minilm-l6-v2", 72)):
        source = load_model(name)
        ids = source.tokenizer.encode(load_wikitext2("valid")[:8000])
        ids = torch.tensor([list(getattr(ids, "ids", ids))[:512]])
        report = lora_norm_report(source.module.eval(), ids, eps=(0.1, 0.01), max_features=2000)
        sizes = sorted(row.centred_logit for row in report.rows if row.eps == 0.1)
        middle = sizes[len(sizes) // 2]
        note = f"{report.qualifying(0.01)} at eps=0.01; centred logits reach {middle:.1f} in the middle head"
        yield Claim(f"Heads of {name} whose gradient qualifies at eps=0.1, of {heads}", ">= 0",
                    float(report.qualifying(0.1)), "heads",
                    note=f"{ids.shape[1]} tokens of WikiText-2; {note}")  # fmt: skip


if __name__ == "__main__":
    from benchmarks.lora_tuning import tuning, tuning_speed

    run(
        "lora-limits",
        {
            "speed": speed,
            "growth": growth,
            "errors": errors,
            "phase": phase,
            "models": models,
            "tuning": tuning,
            "tuning-speed": tuning_speed,
        },
        packages=["numpy", "torch", "transformers", "peft"],
    )
