"""Sensitivity sampling (arXiv 2306.00732): real data, how samples grow with total sensitivity, time on a long table."""

from __future__ import annotations

import importlib.metadata
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.optimize

from benchmarks.harness import Claim, run
from gossamer.solve import coreset_distortion, lp_coreset, lp_matrix, lp_regression, lp_sensitivities

PAPER = "bounds only: S^(2/p) rows for p < 2, S^(2-2/p) for p > 2; no experiments"
SCORES = (
    "uniform",
    "leverage",
    "root_leverage",
    "lewis",
    "sensitivity",
    "leverage+sensitivity",
    "sensitivity+l2",
)
DRAWS = 20


def _health() -> tuple[np.ndarray, np.ndarray]:
    """Visits to a doctor in the RAND health insurance experiment: 20,190 x 10 with the intercept."""
    path = importlib.metadata.distribution("statsmodels").locate_file(
        "statsmodels/datasets/randhie/randhie.csv"
    )
    table = np.loadtxt(str(path), delimiter=",", skiprows=1)
    X, y = table[:, 1:], table[:, 0]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return np.column_stack([X, np.ones(len(X))]), y


def _excess(A: np.ndarray, b: np.ndarray, p: float, m: int) -> dict[str, list[float]]:
    """Relative excess of the objective, one a draw, by what rows were drawn by."""
    best = lp_regression(A, b, p).fun
    both = np.c_[A, b]
    values: dict[str, Any] = {"sensitivity": lp_sensitivities(both, p, factor=16.0, random_state=0).scores}
    forms = np.linalg.norm(np.linalg.qr(both)[0], axis=1) ** 2
    values["leverage+sensitivity"] = values["sensitivity"] / values["sensitivity"].sum() + forms / forms.sum()
    values["sensitivity+l2"] = values["sensitivity"] + forms
    table: dict[str, list[float]] = {}
    for name in SCORES:
        for seed in range(DRAWS):
            drawn = lp_coreset(both, p, m, scores=values.get(name, name), random_state=seed)
            x = lp_regression(A, b, p, coreset=drawn).x
            table.setdefault(name, []).append(float((np.abs(A @ x - b) ** p).sum() / best - 1))
    return table


def _real(p: float, m: int) -> tuple[dict[str, float], str, dict[str, Any]]:
    A, b = _health()
    table = _excess(A, b, p, m)
    medians = {name: float(np.median(values)) for name, values in table.items()}
    note = (
        f"randhie, medians of {DRAWS} draws; sensitivities bounded within a factor of 16, geometric mean: "
        + ", ".join(f"{k} {v:.4f}" for k, v in medians.items())
    )
    return medians, note, {"kind": "seeds", "values": table}


def real_four(full: bool) -> Iterator[Claim]:
    """p = 4, 1000 rows of real data."""
    medians, note, spread = _real(4, 1000)
    for name, target in (
        ("lewis", "<= 0.02"),
        ("leverage+sensitivity", "<= 0.02"),
        ("sensitivity", "<= 0.015"),
        ("uniform", ">= 0.08"),
    ):
        yield Claim(f"Excess error with 1000 of 20,190 rows drawn by {name}, p=4", target, medians[name], "",
                    spread=spread, paper=PAPER, note=note)  # fmt: skip


def real_three(full: bool) -> Iterator[Claim]:
    """p = 3."""
    medians, note, spread = _real(3, 1000)
    best = min((v, k) for k, v in medians.items() if k != "uniform")
    yield Claim("Excess error of the best score over uniform sampling, p=3, 1000 rows", "<= 0.2x", best[0], "",
                medians["uniform"], "uniform sampling", spread=spread, paper=PAPER,
                note=f"best: {best[1]}; {note}")  # fmt: skip


def real_one(full: bool) -> Iterator[Claim]:
    """p = 1: uniform sampling is nearly as good on benign data."""
    medians, note, spread = _real(1, 300)
    best = min((v, k) for k, v in medians.items() if k != "uniform")
    yield Claim("Excess error of the best score over uniform sampling, p=1, 300 rows", "<= 0.75x", best[0], "",
                medians["uniform"], "uniform sampling", spread=spread, paper=PAPER,
                note=f"best: {best[1]}; {note}")  # fmt: skip


def _smallest(A: np.ndarray, values: np.ndarray, p: float) -> int:
    """Rows with which the median distortion of three draws is at most a quarter, to a tenth."""
    low, high = A.shape[1], len(A)
    while high > 1.1 * low:
        m = int(math.sqrt(low * high))
        found = [
            coreset_distortion(
                A, lp_coreset(A, p, m, scores=values, random_state=s), p, budget=400, random_state=s
            )
            for s in range(3)
        ]
        low, high = (low, m) if np.median(found) <= 0.25 else (m + 1, high)
    return high


def scaling(full: bool) -> Iterator[Claim]:
    """How many rows sensitivity sampling takes as the total sensitivity grows, p = 4."""
    n, dims = 4000, (4, 8, 16, 24)
    totals, sizes = [], []
    for d in dims:
        A = lp_matrix(n, d, "vandermonde")
        found = lp_sensitivities(A, 4, random_state=0)
        totals.append(found.total)
        sizes.append(_smallest(A, found.scores, 4))
    slope = float(np.polyfit(np.log(totals), np.log(sizes), 1)[0])
    rows = "; ".join(f"d={d}: S={S:.1f}, m={m}" for d, S, m in zip(dims, totals, sizes, strict=True))
    yield Claim("Vandermonde, p=4: exponent of the rows needed against the total sensitivity", "<= 1.6", slope, "",
                paper="S^(2-2/p) = S^1.5", note=f"n={n}, distortion 0.25, median of 3 draws; {rows}")  # fmt: skip
    yield Claim("Vandermonde, p=4, d=24: rows needed over S d of the earlier bound, with its constant from d=4",
                "<= 0.35x", sizes[-1], "rows", sizes[0] * totals[-1] * 24 / (totals[0] * 4), "S d",
                note=rows)  # fmt: skip


def scaling_gaussian(full: bool) -> Iterator[Claim]:
    """The same for Gaussian matrices, whose total is (d^2 + 2 d) / 3."""
    n, dims = 3000, (4, 6, 8)
    totals, sizes = [], []
    for d in dims:
        A = lp_matrix(n, d, "gaussian", random_state=0)
        found = lp_sensitivities(A, 4, factor=16.0, random_state=0)
        totals.append(d * (d + 2) / 3)
        sizes.append(_smallest(A, found.scores, 4))
    slope = float(np.polyfit(np.log(totals), np.log(sizes), 1)[0])
    rows = "; ".join(f"d={d}: S={S:.1f}, m={m}" for d, S, m in zip(dims, totals, sizes, strict=True))
    yield Claim("Gaussian, p=4: exponent of the rows needed against the total sensitivity", "<= 1.6", slope, "",
                paper="S^(2-2/p) = S^1.5", note=f"n={n}, distortion 0.25, median of 3 draws; {rows}")  # fmt: skip


def heavy(full: bool) -> Iterator[Claim]:
    """Rows that uniform sampling loses."""
    A = lp_matrix(20_000, 8, "heavy", random_state=0)
    lost = [
        coreset_distortion(A, lp_coreset(A, 4, 1000, scores="uniform", random_state=s), 4, budget=400)
        for s in range(5)
    ]
    kept = [coreset_distortion(A, lp_coreset(A, 4, 1000, random_state=s), 4, budget=400) for s in range(5)]
    yield Claim("Distortion of uniform samples of one-hot rows with few heavy ones, p=4, 1000 of 20,000 rows", "> 0.9",
                float(np.median(lost)), "", float(np.median(kept)), "rows drawn by Lewis weights")  # fmt: skip


def _long() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((1_000_000, 20))
    A[::1000] *= 100
    return A, A @ rng.standard_normal(20) + rng.standard_t(3, len(A))


def time_one(full: bool) -> Iterator[Claim]:
    """p = 1 on a million rows: coreset and linear program against HiGHS on all rows."""
    A, b = _long()
    taken = {}
    for scores in ("halving", "lewis"):
        start = time.perf_counter()
        drawn = lp_coreset(A, 1, 4000, scores=scores, b=b, random_state=0)
        x = lp_regression(A, b, 1, coreset=drawn).x
        taken[scores] = time.perf_counter() - start, float(np.abs(A @ x - b).sum())
    start = time.perf_counter()
    done = scipy.optimize.linprog(
        -b,
        A_eq=A.T,
        b_eq=np.zeros(20),
        bounds=(-1, 1),
        method="highs-ipm",
        options={"presolve": False, "time_limit": 60.0},
    )
    theirs = time.perf_counter() - start
    if not done.success:
        raise SystemExit(f"HiGHS: {done.message}")
    note = (
        f"by Lewis weights {taken['lewis'][0]:.2f} s. HiGHS with interior points and without presolve, its "
        "fastest setting here by far: with presolve its time grows with n^2"
    )
    yield Claim("p=1, n=10^6, d=20: coreset of 4000 rows by halving and its linear program over HiGHS on all rows",
                "<= 0.05x", taken["halving"][0], "s", theirs, "scipy linprog, HiGHS, dual of all rows",
                note=note)  # fmt: skip
    excess = {name: fun / -float(done.fun) - 1 for name, (_, fun) in taken.items()}
    yield Claim("p=1, n=10^6: excess error on the coreset", "<= 0.02", excess["halving"], "",
                note=f"by Lewis weights {excess['lewis']:.4f}")  # fmt: skip


def time_four(full: bool) -> Iterator[Claim]:
    """p = 4 on a million rows."""
    A, b = _long()
    seconds: dict[str, list[float]] = {}
    for seed in range(3):
        for scores in ("halving", "lewis"):
            start = time.perf_counter()
            drawn = lp_coreset(A, 4, 4000, scores=scores, b=b, random_state=seed)
            x = lp_regression(A, b, 4, coreset=drawn).x
            seconds.setdefault(scores, []).append(time.perf_counter() - start)
            if scores == "halving":
                near = float((np.abs(A @ x - b) ** 4).sum())
        start = time.perf_counter()
        best = lp_regression(A, b, 4)
        seconds.setdefault("all", []).append(time.perf_counter() - start)
    ours, lewis, theirs = (float(np.median(seconds[name])) for name in ("halving", "lewis", "all"))
    yield Claim("p=4, n=10^6, d=20: coreset of 4000 rows by halving and Newton over Newton on all rows", "<= 0.333x",
                ours, "s", theirs, "lp_regression on all rows", spread={"kind": "rounds", "values": seconds},
                note=f"excess error {near / best.fun - 1:.1e}; by Lewis weights {lewis:.2f} s")  # fmt: skip


if __name__ == "__main__":
    run(
        "lp-sensitivity",
        {
            "real-four": real_four,
            "real-three": real_three,
            "real-one": real_one,
            "scaling": scaling,
            "scaling-gaussian": scaling_gaussian,
            "heavy": heavy,
            "time-one": time_one,
            "time-four": time_four,
        },
        packages=["numpy", "scipy", "statsmodels"],
    )
