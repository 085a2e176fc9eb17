"""Learning to Relax (arXiv 2310.02246): learned relaxation parameters on independent systems and in a heat equation.

Counts do not depend on the machine. Times: one thread, sparse matrices, everything that a call does is in.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from benchmarks.harness import Claim, compare, run
from benchmarks.learning_to_relax_runs import (
    DIFFUSION,
    heat_grid,
    heat_learner,
    heat_times,
    learner_times,
    shifted_seeds,
)

PAPER_IID = (
    "figure: 5,000 systems; Tsallis-INF ends near the best fixed omega, ChebCB near the best of each instance"
)
PAPER_HEAT = "figure: learned omegas take far fewer iterations than CG or omega = 1"
FEW = 1000  # steps at nx = 200


def _shifted(variance: str, seeds: int = 5, count: int = 5000) -> tuple[dict[str, Any], str]:
    runs = shifted_seeds(variance, count, seeds)
    half, quarter = count // 2, count // 8
    figures: dict[str, Any] = {}
    for name in ("tsallis", "chebcb", "greedy"):
        figures[name] = runs[name].mean()
        figures[name + " late"] = runs[name][:, half:].mean()
    grid = runs["grid"].mean(axis=1)
    figures["fixed"] = grid.min(axis=1).mean()
    figures["fixed late"] = runs["grid"][:, quarter:].mean(axis=1).min(axis=1).mean()
    figures["best of grid late"] = runs["grid"][:, quarter:].min(axis=2).mean()
    figures["optimal"], figures["optimal late"] = runs["optimal"].mean(), runs["optimal"][:, quarter:].mean()
    note = (
        f"{seeds} seeds of {count} systems; the comparison on every fourth system. Also: Young's omega of each system "
        f"{runs['young'].mean():.1f}, epsilon-greedy {figures['greedy']:.1f}, uniform draws {runs['grid'].mean():.1f}, "
        f"omega = 1 {runs['grid'][:, :, 0].mean():.1f}; the best of the grid for each system, second half, "
        f"{figures['best of grid late']:.1f}"
    )
    return figures, note


def iid_high(full: bool) -> Iterator[Claim]:
    """SOR on shifted Laplacians, shifts of high variance."""
    f, note = _shifted("high")
    unit = "iterations"
    yield Claim("Tsallis-INF, high variance, second half", "<= 1.15x", f["tsallis late"], unit, f["fixed late"],
                "best fixed omega of the grid", paper=PAPER_IID, note=note)  # fmt: skip
    yield Claim("ChebCB, high variance, second half", "<= 1.12x", f["chebcb late"], unit, f["optimal late"],
                "instance-optimal omega, golden section", paper=PAPER_IID,
                note=note + ". The grid alone takes up most of the margin")  # fmt: skip
    yield Claim("ChebCB, high variance, all systems", "<= 0.70x", f["chebcb"], unit, f["fixed"],
                "best fixed omega of the grid", paper=PAPER_IID, note=note)  # fmt: skip
    yield Claim("ChebCB, high variance, second half, against the grid", "<= 1.12x", f["chebcb late"], unit,
                f["best of grid late"], "best omega of the grid for each system",
                note="what no learner on this grid can beat; golden section is not bound to it")  # fmt: skip


def iid_low(full: bool) -> Iterator[Claim]:
    """SOR on shifted Laplacians, shifts of low variance."""
    f, note = _shifted("low")
    more = (
        f"; in the second half {f['chebcb late']:.1f}, against {f['fixed late']:.1f} and, instance-optimal, "
        f"{f['optimal late']:.1f}"
    )
    yield Claim("ChebCB, low variance, all systems", "<= 1.05x", f["chebcb"], "iterations", f["fixed"],
                "best fixed omega of the grid", paper=PAPER_IID, note=note + more)  # fmt: skip


def heat_counts(full: bool) -> Iterator[Claim]:
    """SSOR-PCG in the heat equation at nx = 100, 5000 steps."""
    from gossamer.solve import OmegaGrid, best_fixed

    nx, steps, seeds = 100, 5000, range(3)
    omegas = OmegaGrid().values.tolist()
    with ProcessPoolExecutor(2) as pool:
        parts = [pool.submit(heat_grid, nx, steps, [1.75, *omegas[k::2]], 4) for k in range(2)]
        golden = pool.submit(heat_grid, nx, steps, [1.75], 4, golden=True)
        learned = {
            name: [pool.submit(heat_learner, nx, steps, name, seed) for seed in seeds]
            for name in ("chebcb", "tsallis", "tsallis-cb")
        }
        grid = np.empty((steps // 4, len(omegas)))
        for k, part in enumerate(parts):
            grid[:, k::2] = part.result()[:, 1:]
        optimal = np.minimum(golden.result()[:, -1], grid.min(axis=1)).mean()
        chebcb, tsallis, bins = (np.array([run.result().mean() for run in runs]) for runs in learned.values())
    omega, fixed = best_fixed(grid)
    note = (
        f"5000 steps, 3 seeds, fixed omegas every fourth step: ChebCB from {chebcb.min():.2f} to {chebcb.max():.2f}; "
        f"Tsallis-INF in 6 bins {bins.mean():.2f}; instance-optimal on the grid {grid.min(axis=1).mean():.2f}; "
        f"best fixed omega {omega:.2f}"
    )
    unit = "iterations a step"
    for target, peer, name in (
        ("<= 0.58x", grid[:, 0].mean(), "omega = 1"),
        ("<= 1.0x", fixed, "best fixed omega of the grid"),
        ("<= 1.2x", optimal, "instance-optimal omega, golden section or grid"),
    ):
        yield Claim(f"ChebCB in the heat equation, nx=100, against {name}", target, float(chebcb.mean()), unit,
                    float(peer), name, paper=PAPER_HEAT, note=note)  # fmt: skip
    yield Claim("Tsallis-INF in the heat equation, nx=100", "<= 1.15x", float(tsallis.mean()), unit, fixed,
                "best fixed omega of the grid", paper=PAPER_HEAT, note=note)  # fmt: skip


def heat_sizes(full: bool) -> Iterator[Claim]:
    """The same on coarser and finer grids."""
    for nx, steps in ((25, 5000), (50, 5000), (200, FEW)):
        cg, gauss_seidel = heat_grid(nx, steps, [None, 1.0]).mean(axis=0)
        learned = heat_learner(nx, steps, "chebcb", 0).mean()
        yield Claim(f"ChebCB in the heat equation, nx={nx}, against omega = 1", "<= 0.7x", float(learned),
                    "iterations a step", float(gauss_seidel), "omega = 1", paper=PAPER_HEAT,
                    note=f"{steps} steps; CG without preconditioner takes {cg:.1f}")  # fmt: skip


def heat_time(full: bool) -> Iterator[Claim]:
    """Wall time a step at nx = 100, with the learner."""
    import pyamg
    import scipy
    import scipy.sparse as sp
    import scipy.sparse.linalg as spla

    from gossamer.solve import ChebCB, RelaxationTuner, ssor_pcg

    def learned(learner: Any) -> Any:
        tuner = RelaxationTuner("ssor_pcg", learner, threads=1)

        def solver(A: Any, b: np.ndarray, u: np.ndarray, c: float) -> tuple[np.ndarray, int]:
            result = tuner.solve(A, b, x0=u, context=c)
            return result.x, result.nit

        return solver

    def fixed(omega: float | None) -> Any:
        def solver(A: Any, b: np.ndarray, u: np.ndarray, c: float) -> tuple[np.ndarray, int]:
            result = ssor_pcg(A, b, omega=omega, x0=u, threads=1)
            return result.x, result.nit

        return solver

    def scipys(A: Any, b: np.ndarray, u: np.ndarray, c: float) -> tuple[np.ndarray, int]:
        return spla.cg(A, b, x0=u, rtol=1e-8)[0], 0

    def direct(A: Any, b: np.ndarray, u: np.ndarray, c: float) -> tuple[np.ndarray, int]:
        return spla.spsolve(A.tocsc(), b), 0

    def multigrid(A: Any, b: np.ndarray, u: np.ndarray, c: float) -> tuple[np.ndarray, int]:
        cycle = pyamg.ruge_stuben_solver(sp.csr_matrix(A)).aspreconditioner()
        return spla.cg(A, b, x0=u, rtol=1e-8, M=cycle)[0], 0

    solvers = {
        "ours": (1, learned(ChebCB(bounds=DIFFUSION, random_state=0))),
        "cg": (2, fixed(None)),
        "scipy": (2, scipys),
        "1": (10, fixed(1.0)),
        "1.5": (10, fixed(1.5)),
        "spsolve": (100, direct),
        "pyamg": (100, multigrid),
    }
    seconds, counts = heat_times(100, 5000, solvers)
    us = {name: 1e6 * taken for name, taken in seconds.items()}
    note = (
        f"5000 steps, solvers in turn on the same systems; {counts['ours']:.1f} iterations against "
        f"{counts['cg']:.1f} of CG; omega = 1 takes {us['1']:.0f} us, omega = 1.5 {us['1.5']:.0f} us (every tenth step)"
    )
    peers = (
        ("our plain CG, compiled, every other step", "cg", "<= 0.9x"),
        (f"SciPy {scipy.__version__} cg, every other step", "scipy", "<= 0.6x"),
        (f"SciPy {scipy.__version__} spsolve, every hundredth step", "spsolve", "<= 0.6x"),
        (
            f"PyAMG {pyamg.__version__} CG with a V-cycle, set up each time, every hundredth step",
            "pyamg",
            "<= 0.6x",
        ),
    )
    for name, key, target in peers:
        yield Claim(f"Time a step with ChebCB, nx=100, against {name}", target, us["ours"], "us", us[key], name,
                    paper="at 10^4 to 10^6 unknowns below plain CG", note=note)  # fmt: skip


def learner(full: bool) -> Iterator[Claim]:
    """What ChebCB itself takes."""
    steps = 1000
    share, whole = learner_times(100, steps)
    note = f"medians of the first {steps} steps of the heat equation, no other solver between"
    yield Claim("ChebCB's own time a step", "<= 60", 1e6 * share, "us", note=note)
    yield Claim("ChebCB's share of a step, nx=100", "<= 0.1", share / whole, "of the time",
                note=note + "; sparse matrix, on the grid without one a solve is several times faster")  # fmt: skip


def kernels(full: bool) -> Iterator[Claim]:
    """Sweeps and iterations against PyAMG, the plain form, and the matrix; one thread."""
    import pyamg
    import scipy.sparse as sp
    from pyamg.relaxation.relaxation import sor as theirs

    from gossamer._kernels import relax
    from gossamer.solve import GridStencil, ssor_pcg

    star = GridStencil((300, 300), scale=5.0, shift=1.0)
    A, n = star.to_scipy(), 90_000
    b, x = np.random.default_rng(0).standard_normal((2, n))
    rows, old = relax.rows(A.indptr, A.indices, A.data), sp.csr_matrix(A)
    unit = {"work": n / 1e6, "unit": "million rows/s", "rounds": 15}
    race = compare(lambda: relax.sweep(rows, b, 1.5, x), lambda: theirs(old, x, b, 1.5), **unit)
    yield Claim.from_race("Sweep of SOR, 300 x 300 grid as sparse matrix", ">= 1.0x", race,
                          peer_name=f"PyAMG {pyamg.__version__} sor",
                          note="natural order: latency (load, multiply-add, multiplication) bounds both")  # fmt: skip
    race = compare(lambda: relax.sweep(star.kernel, b, 1.5, x), lambda: relax.sweep(rows, b, 1.5, x), **unit)
    yield Claim.from_race(
        "Sweep of SOR without a matrix", ">= 2.0x", race, peer_name="ours with a sparse matrix"
    )
    unit["work"] = 10 * n / 1e6

    def iterate(matrix: Any, **options: Any) -> Any:
        return lambda: ssor_pcg(matrix, b, omega=1.5, rtol=0, maxiter=10, threads=1, **options)

    race = compare(iterate(A), iterate(A, eisenstat=False), **unit)
    yield Claim.from_race("SSOR-PCG in Eisenstat's form, sparse matrix", ">= 1.0x", race, peer_name="ours, plain form",
                          note="a solve that waits for its last row hides the product it saves")  # fmt: skip
    race = compare(iterate(star), iterate(A), **unit)
    yield Claim.from_race("SSOR-PCG without a matrix", ">= 2.0x", race, peer_name="ours with a sparse matrix")


if __name__ == "__main__":
    run(
        "learning-to-relax",
        {
            "iid-high": iid_high,
            "iid-low": iid_low,
            "heat": heat_counts,
            "heat-sizes": heat_sizes,
            "heat-time": heat_time,
            "learner": learner,
            "kernels": kernels,
        },
        packages=["numpy", "scipy", "pyamg"],
    )
