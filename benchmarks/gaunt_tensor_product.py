"""Gaunt tensor products (arXiv 2401.10216): products, convolutions and many-body features against e3nn and FFTs.

128 items of 32 channels, float32, 2 threads on both sides; e3nn with scripted code, one weight a path and channel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.gaunt_peers import (
    FourierByTorch,
    TableByTorch,
    chained_many_body,
    e3nn_convolution,
    e3nn_product,
    harmonics_of_edges,
    mace_contraction,
    to_e3nn,
)
from benchmarks.harness import Claim, compare, run

BATCH, CHANNELS = 128, 32
PAPER = "O(L^6) to O(L^3); orders of magnitude over e3nn at high L"
EVEN = "e3nn TensorProduct, paths of an even sum of degrees"


def _inputs(L: int, channels: int = CHANNELS, grad: bool = False) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(BATCH, channels, (L + 1) ** 2, requires_grad=grad) for _ in range(2)]


def _products(L: int, backward: bool, target: str, rounds: int) -> Iterator[Claim]:
    from gossamer.nn import GauntTensorProduct

    torch.set_num_threads(2)
    ours, theirs = GauntTensorProduct(L, L, L, CHANNELS), e3nn_product(L, L, L, CHANNELS)
    x, y = _inputs(L, grad=backward)
    a, b = (to_e3nn(t.detach()).requires_grad_(backward) for t in (x, y))
    slope = torch.randn(BATCH, CHANNELS, (L + 1) ** 2)
    flat = to_e3nn(slope)

    def step(layer: Any, first: torch.Tensor, second: torch.Tensor, g: torch.Tensor) -> Callable[[], Any]:
        if not backward:
            return lambda: _without_gradient(layer, first, second)
        leaves = [first, second, *layer.parameters()]
        return lambda: torch.autograd.grad(layer(first, second), leaves, g)

    pairs = BATCH * CHANNELS / 1e6
    race = compare(
        step(ours, x, y, slope),
        step(theirs, a, b, flat),
        work=pairs,
        unit="M pairs/s",
        rounds=rounds,
        warmup=3,
    )
    what = "Forward and backward" if backward else "Product"
    yield Claim.from_race(
        f"{what}, L={L}, against e3nn on the same paths",
        target,
        race,
        peer_name=EVEN,
        paper=PAPER,
        note=f"{BATCH} x {CHANNELS} pairs, weights for degrees and channels against path weights",
    )


@torch.no_grad()
def _without_gradient(layer: Any, *inputs: torch.Tensor) -> Any:
    return layer(*inputs)


TARGETS = {2: ">= 1.5x", 4: ">= 4x", 6: ">= 10x", 8: ">= 20x"}


def small(full: bool) -> Iterator[Claim]:
    """Degrees 2 and 4."""
    for L in (2, 4):
        for backward in (False, True):
            yield from _products(L, backward, TARGETS[L], 15)


def middle(full: bool) -> Iterator[Claim]:
    """Degree 6."""
    for backward in (False, True):
        yield from _products(6, backward, TARGETS[6], 7)


def large(full: bool) -> Iterator[Claim]:
    """Degree 8."""
    for backward in (False, True):
        yield from _products(8, backward, TARGETS[8], 5)


def fourier(full: bool) -> Iterator[Claim]:
    """Against the product as FFT calls, and as a sparse table."""
    from gossamer.nn import gaunt_product

    torch.set_num_threads(2)
    pairs = BATCH * CHANNELS / 1e6
    for L in (2, 4, 6):
        x, y = (t.reshape(-1, (L + 1) ** 2) for t in _inputs(L))
        exact = gaunt_product(x.double(), y.double(), L, L, L)
        for name, peer, target in (
            ("torch.fft, complex tables, as in the paper's code", FourierByTorch(L), ">= 5x"),
            ("sparse table in torch (gathers and a CSR product)", TableByTorch(L), ">= 1x"),
        ):
            error = float((peer(x, y) - exact).abs().max() / exact.abs().max())
            race = compare(
                lambda x=x, y=y, L=L: gaunt_product(x, y, L, L, L),
                lambda x=x, y=y, p=peer: p(x, y),
                work=pairs,
                unit="M pairs/s",
                rounds=11,
                warmup=2,
            )
            yield Claim.from_race(
                f"Product, L={L}, against the {name.split(',')[0].split(' (')[0]}",
                target,
                race,
                peer_name=name,
                note=f"relative error of the peer {error:.0e}",
            )


def engines(full: bool) -> Iterator[Claim]:
    """All engines on one core, and the share of the peak that the grid reaches."""
    from gossamer.nn import gaunt_plan

    for L in (1, 2, 4, 6):
        plan = gaunt_plan(L, L, L)
        times = ", ".join(f"{name} {1e9 * seconds:.0f} ns" for name, seconds in plan.seconds.items())
        best = min(plan.seconds.values())
        yield Claim(
            f"Chosen engine over the fastest, L={L}",
            "<= 1.3x",
            1e9 * plan.seconds[plan.engine],
            "ns/pair",
            1e9 * best,
            "the fastest engine",
            note=f"one core, float32; auto runs {plan.engine}; {times}",
        )
    for L in (4, 8, 16):
        seconds = _grid_time(L, 4096)
        flops = 2 * _grid_operations(L)
        peak = _peak()
        yield Claim(
            f"Share of one core's peak that the sphere grid reaches, L={L}",
            ">= 0.25",
            flops / seconds / peak,
            "of peak",
            note=f"{1e9 * seconds:.0f} ns and {flops:.0f} operations a pair, counting multiplications and "
            f"additions of polar sums and waves only; peak {peak / 1e9:.0f} GFLOPS by a matrix product",
        )


def _grid_operations(L: int) -> float:
    """Fused multiply-adds of three transforms, and what is neither."""
    nodes, quarter = (3 * L) // 2 + 1, -(-(3 * L + 1) // 4)
    return 3 * ((L + 1) ** 2 * nodes / 2 + nodes * quarter * (2 * L + 1))


def _peak() -> float:
    torch.set_num_threads(1)
    A = torch.randn(1024, 1024)
    taken = []
    for _ in range(7):
        start = time.perf_counter()
        A @ A
        taken.append(time.perf_counter() - start)
    return 2 * 1024**3 / min(taken)


def _grid_time(L: int, rows: int, threads: int = 1) -> float:
    from gossamer.linalg.products.gaunt.engines import multiply
    from gossamer.linalg.products.gaunt.factors import Degrees

    x, y = np.random.default_rng(0).standard_normal((2, rows, (L + 1) ** 2), np.float32)
    taken = []
    for _ in range(7):
        start = time.perf_counter()
        multiply([x, y], Degrees((L, L), (1, 1), L), "sphere-grid", threads)
        taken.append(time.perf_counter() - start)
    return min(taken) / rows


def growth(full: bool) -> Iterator[Claim]:
    """Time against the degree."""
    degrees = (8, 12, 16, 24)
    power = float(np.polyfit(np.log(degrees), np.log([_grid_time(L, 1024) for L in degrees]), 1)[0])
    yield Claim(
        "Growth of a product with L, fitted exponent, L=8..24",
        "<= 3.5",
        power,
        "exponent",
        paper=PAPER,
        note="one core, sphere grid, float32",
    )
    torch.set_num_threads(1)
    few, taken = (3, 4, 5, 6), []
    for L in few:
        peer = e3nn_product(L, L, L, CHANNELS)
        x, y = (to_e3nn(t) for t in _inputs(L))
        runs = []
        for _ in range(5):
            start = time.perf_counter()
            _without_gradient(peer, x, y)
            runs.append(time.perf_counter() - start)
        taken.append(min(runs[2:]))
    power = float(np.polyfit(np.log(few), np.log(taken), 1)[0])
    yield Claim(
        "Growth of e3nn's product on even paths, fitted exponent, L=3..6",
        ">= 5",
        power,
        "exponent",
        note="one core; overhead of calls hides part of the growth at these degrees",
    )


def convolution(full: bool) -> Iterator[Claim]:
    """Messages along edges at degree 6 and 4, the rotation included."""
    from gossamer.nn import gaunt_convolve

    torch.set_num_threads(2)
    edges = 256
    for L in (4, 6):
        torch.manual_seed(0)
        x, v = torch.randn(edges, CHANNELS, (L + 1) ** 2), torch.randn(edges, 3)
        h, flat, peer = torch.randn(edges, CHANNELS, L + 1), to_e3nn(x), e3nn_convolution(L, CHANNELS)
        weights = torch.randn(edges, peer.weight_numel)

        @torch.no_grad()
        def ours(x: Any = x, h: Any = h, v: Any = v, L: int = L, method: str = "rotate") -> Any:
            return gaunt_convolve(x, h, v, L, L, L, method)

        @torch.no_grad()
        def theirs(flat: Any = flat, v: Any = v, w: Any = weights, L: int = L, peer: Any = peer) -> Any:
            return peer(flat, harmonics_of_edges(v, L), w)

        race = compare(
            ours, theirs, work=edges * CHANNELS / 1e6, unit="M edges x channels/s", rounds=7, warmup=3
        )
        yield Claim.from_race(
            f"Convolution by rotation, L={L}, against e3nn's",
            ">= 5x",
            race,
            paper=PAPER,
            peer_name="e3nn TensorProduct uvu, even paths",
            note="rotation and harmonics included",
        )
        race = compare(
            ours,
            lambda o=ours: o(method="general"),
            work=edges * CHANNELS / 1e6,
            unit="M edges x channels/s",
            rounds=9,
            warmup=3,
        )
        yield Claim.from_race(
            f"Convolution by rotation, L={L}, against the general Gaunt product",
            ">= 1x",
            race,
            peer_name="gaunt_convolve(method='general')",
        )


def many_body(full: bool) -> Iterator[Claim]:
    """Third powers."""
    from gossamer.nn import gaunt_power

    torch.set_num_threads(2)
    peer, x = chained_many_body(3, 2, CHANNELS), _inputs(3)[0]
    flat = to_e3nn(x)
    race = compare(
        lambda: gaunt_power(x, 3, 3, 2),
        lambda: _without_gradient(peer, flat),
        work=BATCH * CHANNELS / 1e6,
        unit="M features/s",
        rounds=9,
        warmup=3,
    )
    yield Claim.from_race(
        "Many-body product of three factors, L=3 to 2, against chained products of e3nn",
        ">= 5x",
        race,
        peer_name="two e3nn TensorProducts, even paths, nothing cut between",
        paper=PAPER,
    )


def mace(full: bool) -> Iterator[Claim]:
    """Sums of products of up to three factors, weighted by elements, as MACE has them."""
    from gossamer.nn import GauntManyBody

    torch.set_num_threads(2)
    torch.manual_seed(0)
    ours = GauntManyBody(3, 2, correlation=3, channels=CHANNELS, elements=3)
    peer, release = mace_contraction(3, 2, CHANNELS, 3)
    x, onehot = _inputs(3, grad=True)[0], torch.eye(3)[torch.arange(BATCH) % 3]
    slope = torch.randn(BATCH, CHANNELS, 9)
    flat = to_e3nn(slope)

    def differentiated(layer: Any, slope: torch.Tensor) -> None:
        torch.autograd.grad(layer(x, onehot), [x, *layer.parameters()], slope)

    for what, mine, theirs in (
        ("", lambda: _without_gradient(ours, x, onehot), lambda: _without_gradient(peer, x, onehot)),
        (", forward and backward", lambda: differentiated(ours, slope), lambda: differentiated(peer, flat)),
    ):
        race = compare(mine, theirs, work=BATCH * CHANNELS / 1e6, unit="M features/s", rounds=9, warmup=3)
        yield Claim.from_race(
            f"Many-body features of up to three factors, L=3 to 2, against MACE's own contraction{what}",
            ">= 5x",
            race,
            peer_name=f"mace-torch {release} SymmetricContraction",
            paper=PAPER,
            note="its paths are all couplings, with weights; those of ours have an even sum of degrees, and one weight "
            "a degree",
        )


def quality(full: bool) -> Iterator[Claim]:
    """Force fields of metal clusters."""
    from benchmarks.gaunt_force_fields import quality_claims

    return quality_claims(full)


def epochs(full: bool) -> Iterator[Claim]:
    """Training steps of force fields."""
    from benchmarks.gaunt_force_fields import epoch_claims

    return epoch_claims(full)


def budget(full: bool) -> Iterator[Claim]:
    """Degree 3 within the time of Clebsch-Gordan products at degree 2."""
    from benchmarks.gaunt_force_fields import budget_claims

    return budget_claims(full)


if __name__ == "__main__":
    run(
        "gaunt-tensor-product",
        {
            "small": small,
            "middle": middle,
            "large": large,
            "fourier": fourier,
            "engines": engines,
            "growth": growth,
            "convolution": convolution,
            "many-body": many_body,
            "mace": mace,
            "quality": quality,
            "epochs": epochs,
            "budget": budget,
        },
        packages=["torch", "e3nn", "ase"],
    )
