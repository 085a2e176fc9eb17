"""SMASH, part A: sparse times sparse against SciPy, SuiteSparse:GraphBLAS and MKL."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import benchmarks.passive_threads  # noqa: F401  (before any library that starts threads)
from benchmarks import spgemm_matrices as matrices
from benchmarks.harness import Claim, run
from gossamer.linalg import SpGEMMPlan, spgemm

THREADS = 2
PAPER = "9.4x against competing approaches on a 64-thread simulator (that comparison needs the simulator)"
CASES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "R-MAT 14": lambda: _square(matrices.rmat(14, 16)),
    "R-MAT 16": lambda: _square(matrices.rmat(16, 8)),
    "uniform": lambda: _square(matrices.uniform()),
    "Poisson 64^3": lambda: _square(matrices.poisson()),
    "band 21": lambda: _square(matrices.band()),
    "identifiers X X^T": lambda: _gram(matrices.identifiers()),
    "rare identifiers X^T X": lambda: _gram(matrices.rare(matrices.identifiers()).T.tocsr()),
    "multigrid R A": lambda: matrices.multigrid()[:2],
    "multigrid (R A) P": lambda: _second(*matrices.multigrid()),
}


def _square(A: Any) -> tuple[Any, Any]:
    return A, A


def _gram(X: Any) -> tuple[Any, Any]:
    T = X.T.tocsr()
    X.sort_indices()
    T.sort_indices()
    return X, T


def _second(R: Any, A: Any, P: Any) -> tuple[Any, Any]:
    return spgemm(R, A), P


def _graphblas(A: Any, B: Any) -> Callable[[], Any]:
    import graphblas as gb

    gb.ss.config["nthreads"] = THREADS
    a, b = gb.io.from_scipy_sparse(A), gb.io.from_scipy_sparse(B)
    # the export finishes what the library has put off: sorting
    return lambda: (
        a.mxm(b, gb.semiring.plus_times).new().ss.export(format="csr", sort=True, give_ownership=True)
    )


def _mkl(A: Any, B: Any) -> Callable[[], Any]:
    library = next(iter(sorted(Path(sys.prefix, "lib").glob("libmkl_rt.so*"))), None)
    if library is not None:
        os.environ.setdefault("MKL_RT", str(library))
    import scipy.sparse as sp
    from sparse_dot_mkl import dot_product_mkl, mkl_set_num_threads

    mkl_set_num_threads(THREADS)
    a, b = sp.csr_matrix(A), sp.csr_matrix(B)
    return lambda: dot_product_mkl(a, b, reorder_output=True)


def _times(runners: dict[str, Callable[[], Any]], rounds: int, nbytes: int) -> dict[str, list[float]]:
    """Seconds of each, in turn, in an order drawn anew every round. Every result is freed before the next.

    A virtual machine gives freed memory back to its host and pays when it is asked for again, which would charge
    whoever runs after a slow peer; so memory of the size of the results is touched and freed before every run.
    """
    rng = np.random.default_rng(0)
    for runner in runners.values():
        runner()
    taken: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name in rng.permutation(list(runners)).tolist():
            np.empty(nbytes, np.uint8).fill(1)
            start = time.perf_counter()
            result = runners[name]()
            taken[name].append(time.perf_counter() - start)
            del result
    return taken


def _spread(ours: list[float], peer: list[float]) -> dict[str, Any]:
    ratio = [p / o for o, p in zip(ours, peer, strict=True)]
    quartiles = {k: [float(q) for q in np.quantile(v, (0.25, 0.75))] for k, v in
                 {"ours": ours, "peer": peer, "ratio": ratio}.items()}  # fmt: skip
    return {"kind": "quartiles", "rounds": len(ours), **quartiles}


def case(name: str) -> Callable[[bool], Iterator[Claim]]:
    """One matrix against every peer; minimum of the rounds on both sides."""

    def part(full: bool) -> Iterator[Claim]:
        A, B = CASES[name]()
        C, stats = spgemm(A, B, threads=THREADS, return_stats=True)
        x = np.random.default_rng(0).standard_normal(B.shape[1])
        expected = A @ (B @ x)
        assert abs(C @ x - expected).max() <= 1e-9 * abs(expected).max()
        facts = (
            f"{A.shape[0]} x {A.shape[1]} by {B.shape[1]}, nnz {A.nnz} and {B.nnz}, {stats.flops} products, "
            f"nnz(C) {C.nnz}, {stats.compression:.2f} products an entry; {stats.method}; best of the rounds"
        )
        nbytes = min(2 * (C.data.nbytes + C.indices.nbytes) + (1 << 24), 1 << 30)
        del C
        runners = {
            "ours": lambda: spgemm(A, B, threads=THREADS),
            "unsorted": lambda: spgemm(A, B, threads=THREADS, sort_indices=False),
            "one": lambda: spgemm(A, B, threads=1, sort_indices=False),
            "SciPy": lambda: A @ B,
            "GraphBLAS": _graphblas(A, B),
            "MKL": _mkl(A, B),
        }
        rounds = 3 if stats.flops > 2e8 and not full else 9 if full else 5  # the largest takes minutes else
        taken = _times(runners, rounds, nbytes)
        for title, ours, peer, how in (
            ("2 threads against SciPy", "unsorted", "SciPy", "1 thread (it has no more), unsorted"),
            ("2 threads against GraphBLAS", "ours", "GraphBLAS", "2 threads, export sorted"),
            ("2 threads against MKL", "ours", "MKL", "2 threads, sorted"),
            ("1 thread against SciPy", "one", "SciPy", "1 thread, unsorted"),
        ):
            mine, theirs = min(taken[ours]), min(taken[peer])
            yield Claim(
                f"{name}, {title}",
                ">= 1x",
                1 / mine,
                "products of matrices/s",
                1 / theirs,
                f"{peer}, {how}",
                theirs / mine,
                _spread(taken[ours], taken[peer]),
                paper=PAPER,
                note=facts,
            )

    return part


def hub(full: bool) -> Iterator[Claim]:
    """A row with half of all products: shared by the threads or left to one."""
    A, B = matrices.hub()
    row = A[-1:]
    plans = {
        name: SpGEMMPlan(row, B, threads=THREADS, accumulator=name)
        for name in ("auto", "dense", "split-atomic")
    }
    runners = {
        "row shared": lambda: plans["auto"].numeric(row.data, B.data),
        "row alone": lambda: plans["dense"].numeric(row.data, B.data),
        "row atomic": lambda: plans["split-atomic"].numeric(row.data, B.data),
        "all": lambda: spgemm(A, B, threads=THREADS),
        "all, row alone": lambda: spgemm(A, B, threads=THREADS, accumulator="dense"),
    }
    taken = _times(runners, 9 if full else 5, 1 << 26)
    for title, ours, peer, target, how, note in (
        ("Row with half of the products, shared by 2 threads", "row shared", "row alone", ">= 1.5x",
         "gossamer, dense accumulator of 1 thread",
         "the numeric pass of that row; auto shares it by private windows that are added up"),
        ("Matrix whose last row makes half of the products, 2 threads", "all", "all, row alone", ">= 1x",
         "gossamer, 2 threads, the row left to one of them",
         "whole product; with the row at the end two threads can win 1.5x at most, with it at the beginning nothing"),
        ("That row alone, merged atomically by 2 threads", "row atomic", "row alone", ">= 1x",
         "gossamer, dense accumulator of 1 thread",
         "one shared table by compare-and-swap, the thesis's way, for rows whose windows are too wide for memory; a "
         "CPU has no atomics at the memory, and the table is read back and sorted by one thread"),
    ):  # fmt: skip
        mine, theirs = min(taken[ours]), min(taken[peer])
        yield Claim(
            title, target, 1 / mine, "products of matrices/s", 1 / theirs, how, theirs / mine,
            _spread(taken[ours], taken[peer]), paper=PAPER, note=note,
        )  # fmt: skip


def summary(full: bool) -> Iterator[Claim]:
    """Geometric means over the matrices, from the claims that the other parts left in the file."""
    from benchmarks.harness import read_results
    from benchmarks.harness.record import RESULTS

    claims = {c["name"]: c for c in read_results(RESULTS / "smash.json")["claims"]}
    names = [name for name in CASES if f"{name}, 1 thread against SciPy" in claims]
    left_out = [name for name in CASES if name not in names]
    ratio = {
        peer: [claims[f"{name}, {peer}"]["ratio"] for name in names]
        for peer in ("2 threads against SciPy", "2 threads against GraphBLAS", "2 threads against MKL",
                     "1 thread against SciPy")
    }  # fmt: skip
    scipy, graphblas, mkl, single = ratio.values()
    better = [min(g, m) for g, m in zip(graphblas, mkl, strict=True)]
    worst = min([*scipy, *better])
    means = [float(np.exp(np.mean(np.log(r)))) for r in (scipy, better, single)]
    where = min(((r, f"{name}, {peer}") for peer, rs in ratio.items() if peer[0] == "2"
                 for name, r in zip(names, rs, strict=True)))[1]  # fmt: skip
    for title, target, value in (
        ("Geometric mean of all matrices, 2 threads against SciPy", ">= 2.0x", means[0]),
        (
            "Geometric mean of all matrices, 2 threads against the better of GraphBLAS and MKL",
            ">= 1.3x",
            means[1],
        ),
        ("Worst of all matrices and peers, 2 threads", ">= 1.0x", worst),
        ("Geometric mean of all matrices, 1 thread against SciPy", ">= 1.15x", means[2]),
    ):
        yield Claim(
            title, target, value, "times the peer's speed", 1.0, "the peer", value, paper=PAPER,
            note=f"{len(names)} matrices; worst: {where}; not measured: {', '.join(left_out) or 'none'}",
        )  # fmt: skip


def _slug(name: str) -> str:
    return name.lower().replace(" ", "-").replace("^", "").replace("(", "").replace(")", "")


PARTS = {**{_slug(name): case(name) for name in CASES}, "hub": hub, "summary": summary}

if __name__ == "__main__":
    run("smash", PARTS, packages=["numpy", "scipy", "python-graphblas", "suitesparse-graphblas", "mkl",
                                  "sparse_dot_mkl", "pyamg"])  # fmt: skip
