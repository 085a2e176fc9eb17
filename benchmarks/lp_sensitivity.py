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
    start = time.perf_counter()
    drawn = lp_coreset(np.c_[A, b], 1, 4000, random_state=0)
    scored = time.perf_counter() - start
    x = lp_regression(A, b, 1, coreset=drawn).x
    ours = time.perf_counter() - start
    fun = float(np.abs(A @ x - b).sum())
    limit = 120.0 if full else 40.0
    start = time.perf_counter()
    done = scipy.optimize.linprog(
        -b, A_eq=A.T, b_eq=np.zeros(20), bounds=(-1, 1), method="highs", options={"time_limit": limit}
    )
    taken = time.perf_counter() - start
    finished = done.status == 0
    note = f"scores and draw {scored:.1f} s of ours; " + (
        "HiGHS finished"
        if finished
        else f"HiGHS was stopped at its limit of {limit:.0f} s (setup is counted)"
    )
    yield Claim("p=1, n=10^6, d=20: coreset of 4000 rows and its linear program over HiGHS on all rows", "<= 0.05x",
                ours, "s", taken, "scipy linprog, HiGHS, dual of all rows", note=note)  # fmt: skip
    # Newton's method on the smoothed problem gives what HiGHS did not live to give
    best = -float(done.fun) if finished else lp_regression(A, b, 1.0001, tol=1e-12).fun
    exact = "HiGHS" if finished else "Newton's method for p = 1.0001, evaluated as it is"
    yield Claim("p=1, n=10^6: excess error on the coreset", "<= 0.02", fun / best - 1, "",
                note=f"against {exact}")  # fmt: skip


def time_four(full: bool) -> Iterator[Claim]:
    """p = 4 on a million rows."""
    A, b = _long()
    ours, theirs = [], []
    for seed in range(3):
        start = time.perf_counter()
        drawn = lp_coreset(np.c_[A, b], 4, 4000, random_state=seed)
        x = lp_regression(A, b, 4, coreset=drawn).x
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        best = lp_regression(A, b, 4)
        theirs.append(time.perf_counter() - start)
    excess = float((np.abs(A @ x - b) ** 4).sum() / best.fun - 1)
    yield Claim("p=4, n=10^6, d=20: coreset of 4000 rows and Newton over Newton on all rows", "<= 0.333x",
                float(np.median(ours)), "s", float(np.median(theirs)), "lp_regression on all rows",
                note=f"Lewis weights included; excess error {excess:.3f}")  # fmt: skip


if __name__ == "__main__":
    run(
        "lp-sensitivity",
        {
            "real-four": real_four,
            "real-three": real_three,
            "real-one": real_one,
            "scaling": scaling,
            "heavy": heavy,
            "time-one": time_one,
            "time-four": time_four,
        },
        packages=["numpy", "scipy", "statsmodels"],
    )
