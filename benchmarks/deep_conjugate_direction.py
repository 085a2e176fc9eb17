"""Deep conjugate directions (arXiv 2205.10763): iterations and time of the shipped networks on pressure systems.

Iterations do not depend on the machine: directions asked for until the residual is 1e-4 of the right side, counted
alike for all solvers. Ours keeps eight earlier directions, the network of two levels two. Right sides: divergence of a
buoyant plume after 10, 40 and 80 steps, without obstacle, with a ball, with a random blob. Times: one thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.deep_conjugate_direction_scenes import (
    FAST,
    KEPT,
    RTOL,
    counts,
    described,
    rough,
    smoke_counts,
    smoke_systems,
)
from benchmarks.harness import Claim, compare, run

PAPER = (
    "3-D smoke with obstacles at 64^3 to 256^3: tens of iterations, nearly independent of the grid, where CG takes "
    "hundreds"
)
UNIT = "iterations"


def _medians(edge: int, *more: Any) -> tuple[dict[str, float], str]:
    table = counts(edge, *more)
    return {name: float(np.median(smoke_counts(table, name))) for name in table}, described(table)


def small(full: bool) -> Iterator[Claim]:
    """Iterations on the grid that the network was trained on."""
    f, note = _medians(64)
    for peer, target, label in (
        ("cg", "<= 0.1667x", "CG"),
        ("icpcg", "< 1x", "CG with IC(0)"),
        ("deflated-cg", "< 1x", "deflated CG, 16 Ritz vectors, Jacobi"),
    ):
        yield Claim(f"Iterations to 1e-4 at 64 x 64 against {label}", target, f["dcdm"], UNIT, f[peer], label,
                    paper=PAPER, note="median of nine right sides. " + note)  # fmt: skip
    yield Claim("Iterations to 1e-4 at 64 x 64 against CG with algebraic multigrid", "< 1x", f["dcdm"], UNIT,
                f["multigrid"], "CG, one cycle of PyAMG's ruge_stuben_solver",
                note="multigrid is not among the baselines of the paper")  # fmt: skip
    table = counts(64)["dcdm"]
    free, behind = table["plume"][:-1], table["ball"] + table["blob"]
    yield Claim("Iterations with obstacles against without, 64 x 64", "<= 1.6x", float(np.median(behind)), UNIT,
                float(np.median(free)), "DCDM without obstacle",
                note="the network was trained without obstacles")  # fmt: skip


def middle(full: bool) -> Iterator[Claim]:
    """Iterations on a grid of twice the edge."""
    f, note = _medians(128)
    yield Claim("Iterations to 1e-4 at 128 x 128 against CG", "<= 0.1667x", f["dcdm"], UNIT, f["cg"], "CG",
                paper=PAPER, note="weights trained up to 64 x 64; median of nine right sides. " + note)  # fmt: skip


def large(full: bool) -> Iterator[Claim]:
    """Iterations on a grid of four times the edge, and how they grow."""
    early = (10, 40)  # step 80 of this grid would take longer than a part may
    f, note = _medians(256, early)
    yield Claim("Iterations to 1e-4 at 256 x 256 against CG", "<= 0.1667x", f["dcdm"], UNIT, f["cg"], "CG",
                paper=PAPER, note="weights trained up to 64 x 64; median of six right sides. " + note)  # fmt: skip
    less, _ = _medians(64, early, 2, FAST)
    grow = {name: f[name] / less[name] for name in ("dcdm", "cg", "icpcg", "micpcg", "multigrid")}
    others = ", ".join(f"{name} {value:.2f}" for name, value in grow.items() if name != "dcdm")
    yield Claim("Growth of iterations from 64 x 64 to 256 x 256", "<= 2.5", grow["dcdm"], "times", grow["cg"], "CG",
                paper=PAPER, note=f"ratios of medians; {others}")  # fmt: skip
    tables = counts(64, early, 2, FAST), counts(256, early)
    reached = [n > 0 for table in tables for values in table["dcdm"].values() for n in values]
    yield Claim("Share of right sides on which DCDM converges, 64 x 64 and 256 x 256", ">= 1", float(np.mean(reached)),
                "of all", note=f"{len(reached)} right sides, those of the form A w included")  # fmt: skip


def published(full: bool) -> Iterator[Claim]:
    """The network of the paper, of two levels, on the grid that it was trained on and on a larger one."""
    early = (10, 40)
    f = {}
    for edge in (64, 256):
        table = counts(edge, early, 2, ("dcdm", "cg"), published=True)
        f[edge] = {name: float(np.median(smoke_counts(table, name))) for name in table}
        yield Claim(f"Iterations to 1e-4 at {edge} x {edge} against CG, two levels as published", "<= 0.1667x",
                    f[edge]["dcdm"], UNIT, f[edge]["cg"], "CG", paper=PAPER,
                    note="trained for minutes; median of six, at most 200. " + described(table))  # fmt: skip
    growth = {name: f[256][name] / f[64][name] for name in ("dcdm", "cg")}
    yield Claim("Growth of iterations from 64 x 64 to 256 x 256, two levels as published", "<= 2.5", growth["dcdm"],
                "times", growth["cg"], "CG", paper=PAPER, note="ratios of medians")  # fmt: skip


def three(full: bool) -> Iterator[Claim]:
    """Three dimensions: weights of 32^3 on 64^3."""
    for edge, target in ((32, "<= 0.3333x"), (64, "<= 0.3333x")):
        table = counts(edge, (6,), 3, ("dcdm", "cg", "icpcg", "micpcg", "multigrid"))
        f = {name: float(np.median(smoke_counts(table, name))) for name in table}
        yield Claim(f"Iterations to 1e-4 at {edge}^3 against CG", target, f["dcdm"], UNIT, f["cg"], "CG", paper=PAPER,
                    note="weights trained up to 32^3; median of three scenes, step 6. " + described(table))  # fmt: skip


def baselines(full: bool) -> Iterator[Claim]:
    """The network without conjugation and scaling, as earlier learned solvers use theirs."""
    import torch

    from gossamer.nn import load_conjugate_direction_net
    from gossamer.solve import DeepConjugateDirection

    table = counts(64, (10, 40, 80), 2, ("network",), published=True)
    stalled = [n < 0 for values in table["network"].values() for n in values]
    yield Claim("Share of right sides on which line searches along net(r) stall above 1e-4", ">= 0.9",
                float(np.mean(stalled)), "of all",
                note="64 x 64, network of two levels, at most 200 iterations, residuals not scaled",
                paper="networks of this kind stall above the tolerance")  # fmt: skip
    torch.set_num_threads(1)
    net, ends = load_conjugate_direction_net(2, published=True), []
    for name in ("plume", "ball", "blob"):
        for system, b in smoke_systems(64, name, (10, 40, 80)):
            propose = DeepConjugateDirection(net, system.grid, mask=system.fluid, normalize=False)
            b = b / np.linalg.norm(b)
            z = propose(b)
            x, best = np.zeros_like(b), 1.0
            for _ in range(50):
                r = b - system @ x
                best = min(best, float(np.linalg.norm(r)))
                if best <= RTOL or np.linalg.norm(r) > 1e6:
                    break
                x += (z @ b) / (z @ (system @ z)) * propose(r)  # the best first step's length for all
            ends.append(best)
    yield Claim("Share of right sides on which the fixed point x += s net(r) stalls above 1e-4", ">= 0.9",
                float(np.mean(np.array(ends) > RTOL)), "of all",
                note=f"s of the first step, at most 50; median of the best {np.median(ends):.1e}")  # fmt: skip


def ablation(full: bool) -> Iterator[Claim]:
    """How many earlier directions to be conjugate to, in both norms."""
    import scipy.sparse
    import torch

    from gossamer.nn import load_conjugate_direction_net
    from gossamer.solve import DeepConjugateDirection, dcdm

    torch.set_num_threads(1)
    net, found = load_conjugate_direction_net(2), {}
    for name in ("plume", "ball", "blob"):
        for system, b in smoke_systems(64, name, (10, 40, 80)):
            inner, places = system.compressed()
            exact = np.zeros_like(b)
            exact[places] = scipy.sparse.linalg.spsolve(inner.tocsc(), b[places])
            start = np.sqrt(exact @ b)
            for depth in (0, 1, 2, 4, 8, None):
                errors: list[float] = []

                def look(
                    step: Any, errors: list[float] = errors, exact: Any = exact, system: Any = system
                ) -> None:
                    e = step.x - exact
                    errors.append(float(np.sqrt(max(e @ (system @ e), 0))))

                result = dcdm(
                    system,
                    b,
                    M=DeepConjugateDirection(net, system.grid),
                    n_orth=depth,
                    rtol=1e-5,
                    maxiter=150,
                    callback=look,
                )
                size = np.linalg.norm(b)
                by_residual = _first(np.array(result.history["residual"]) <= RTOL * size)
                by_energy = _first(np.array(errors) <= RTOL * start)
                found.setdefault(depth, []).append((by_residual, by_energy, result.n_safeguard))
    median = {depth: np.median(rows, axis=0) for depth, rows in found.items()}
    note = "; ".join(
        f"{'all' if d is None else d}: {m[0]:g} by residual, {m[1]:g} by A-norm" for d, m in median.items()
    )
    yield Claim("Two directions kept against none, iterations to 1e-4 of the A-norm of the error", "< 1x",
                float(median[2][1]), UNIT, float(median[0][1]), "line searches only",
                note=f"medians of nine, at most 150; {note}", paper="conjugation to two helps")  # fmt: skip
    yield Claim("Two directions kept against none, iterations to 1e-4 of the residual", "< 1x",
                float(median[2][0]), UNIT, float(median[0][0]), "line searches only",
                note=f"medians of nine, at most 150; {note}", paper="conjugation to two helps")  # fmt: skip


def _first(reached: np.ndarray) -> int:
    """Iterations until the bound holds, or all that were made."""
    return int(reached.argmax()) if reached.any() else len(reached) - 1


def _race(edge: int, rounds: int) -> Iterator[Claim]:
    import pyamg
    import scipy.sparse
    import torch

    from gossamer.nn import load_conjugate_direction_net
    from gossamer.solve import DeepConjugateDirection, cg, dcdm, icpcg

    torch.set_num_threads(1)
    ((system, b),) = smoke_systems(edge, "ball", (10,))
    propose = DeepConjugateDirection(load_conjugate_direction_net(2), system.grid)
    inner, places = system.compressed()
    side, matrix = b[places], scipy.sparse.csr_matrix(inner)
    spent = [0.0]

    def timed(r: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        z = propose(r)
        spent[0] += time.perf_counter() - start
        return z

    def ours() -> Any:
        return dcdm(system, b, M=timed, rtol=RTOL, n_orth=KEPT)

    peers = (
        ("CG", lambda: cg(inner, side, rtol=RTOL)),
        ("CG with IC(0), factor included", lambda: icpcg(inner, side, rtol=RTOL)),
        ("CG with PyAMG, set-up included",
         lambda: cg(inner, side, rtol=RTOL, M=pyamg.ruge_stuben_solver(matrix))),
    )  # fmt: skip
    for label, peer in peers:
        spent[0] = 0.0
        race = compare(ours, peer, unit="solves/s", rounds=rounds)
        share = spent[0] / sum(1 / rate for rate in race.ours) * rounds / (rounds + 1)
        yield Claim.from_race(
            f"Solves of a smoke system a second at {edge} x {edge} against {label}", ">= 1x", race, peer_name=label,
            paper="faster than CG, deflated CG and ICPCG on a GPU",
            note=f"one thread; about {100 * min(share, 1):.0f} % of the time is the network's: a direction costs as "
            "much as a hundred products with the matrix",
        )  # fmt: skip


def seconds(full: bool) -> Iterator[Claim]:
    """Wall time at 64 x 64, on a quiet machine."""
    return _race(64, 5)


def seconds_large(full: bool) -> Iterator[Claim]:
    """Wall time at 256 x 256."""
    return _race(256, 3)


def trainer(full: bool) -> Iterator[Claim]:
    """Train networks from nothing on 32 x 32: all levels, and two as published."""
    import torch

    from gossamer.nn import ConjugateDirectionNet, load_conjugate_direction_net
    from gossamer.science import fluid_scene, open_box, poisson_system
    from gossamer.solve import DeepConjugateDirection, cg, dcdm

    torch.set_num_threads(1)
    box = poisson_system(open_box((32, 32)))
    for label, old, kept in (("all levels", False, KEPT), ("two levels, as published", True, 2)):
        torch.manual_seed(0)
        net = ConjugateDirectionNet(**load_conjugate_direction_net(2, published=old).sizes)
        direction = DeepConjugateDirection(net, box.grid)
        result = direction.fit(box, steps=1000, lr=2e-3)
        taken = []
        for name in ("plume", "ball", "blob"):
            system = poisson_system(fluid_scene(name, (32, 32)))
            inner, places = system.compressed()
            for seed in range(3):
                b = rough(system, seed)
                ours = dcdm(system, b, M=direction, rtol=RTOL, maxiter=300, n_orth=kept)
                taken.append((ours.nit, cg(inner, b[places], rtol=RTOL).nit))
        ours, theirs = np.median(taken, axis=0)
        yield Claim(f"Iterations at 32 x 32 of a network trained for 1000 steps in this run, {label}, against CG",
                    "<= 0.5x", float(ours), UNIT, float(theirs), "CG",
                    note=f"right sides A w; loss {result.loss:.4f}, {result.seconds:.0f} s of processor; "
                         "one training, which a last bit sends elsewhere")  # fmt: skip


PARTS = {
    "small": small,
    "middle": middle,
    "large": large,
    "published": published,
    "three": three,
    "baselines": baselines,
    "ablation": ablation,
    "seconds": seconds,
    "seconds-large": seconds_large,
    "trainer": trainer,
}

if __name__ == "__main__":
    run("deep-conjugate-direction", PARTS, packages=["numpy", "scipy", "torch", "pyamg"])
