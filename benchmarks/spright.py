"""SPRIGHT (arXiv 1508.06336): exact supports at fixed samples, growth with n, decode time, real functions, dense FWHT.

Spectra: random supports with coefficients of +1 and -1, as in the prototype figures; SNR is sum X^2 / sigma^2.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.harness import Claim, compare, run
from benchmarks.spright_peers import qsft_decode, sparse_regression
from benchmarks.spright_problems import Problem, boosted_trees, samples_of, sketch

PAPER = "with noise the same O(K log N) samples and O(K log^2 N) time; success near 1 above a threshold SNR"


def _recoveries(
    n: int, K: int, snr_db: float | None, seeds: int, **options: Any
) -> list[tuple[bool, bool, int]]:
    """Whether the support was exact, whether success was reported, and distinct queries, for each seed."""
    from gossamer.linalg import sparse_wht

    found = []
    for seed in range(seeds):
        f = Problem(n, K, snr_db, seed)
        r = sparse_wht(f, n, K, vectorised="index", sigma=f.sigma, random_state=seed, threads=1, **options)
        found.append((np.array_equal(r.support, f.support), r.success, r.n_queries))
    return found


def success(full: bool) -> Iterator[Claim]:
    """Exact supports of the coded detector at the prototype's sample counts, and what NSO needs for as many."""
    wrong = total = 0
    for snr_db, P in ((10, 40), (5, 60), (0, 80)):
        runs = _recoveries(20, 40, snr_db, 200, P=P, b=6)
        exact = float(np.mean([e for e, _, _ in runs]))
        wrong += sum(s and not e for e, s, _ in runs)
        total += len(runs)
        yield Claim(f"Exact supports of 200, n=20, K=40, coded, {3 * 64 * P} samples, {snr_db} dB", ">= 0.95", exact,
                    "of runs", paper=PAPER,
                    note=f"success reported in {np.mean([s for _, s, _ in runs]):.3f} of runs")  # fmt: skip
    yield Claim("Runs that report success with a wrong support", "<= 0.005", wrong / total, "of runs",
                note=f"{total} runs: n=20, K=40 at 10, 5 and 0 dB")  # fmt: skip
    exact = float(np.mean([e for e, _, _ in _recoveries(24, 100, 5, 50, P=72, b=7)]))
    yield Claim("Exact supports of 50, n=24, K=100, coded, 27648 samples, 5 dB", ">= 0.9", exact, "of runs")
    for n, K, b, P in ((20, 64, 6, 21), (30, 100, 7, 31)):
        exact = float(np.mean([e for e, _, _ in _recoveries(n, K, None, 50, P=P, b=b, method="identity")]))
        yield Claim(f"Exact supports of 50, n={n}, K={K}, no noise, {3 * P << b} samples", ">= 0.9", exact, "of runs",
                    note=f"{(3 * P << b) / 2**n:.2g} of N")  # fmt: skip


def against_nso(full: bool) -> Iterator[Claim]:
    """Samples that each detector needs for 95 % of exact supports."""
    for snr_db in (5, 0):
        need = {}
        for method, unit in (("coded", 2), ("nso", 21)):
            low, high = 1, 60 if method == "coded" else 20
            while low < high:
                middle = (low + high) // 2
                P = max(middle * unit, 16)
                runs = _recoveries(20, 40, snr_db, 40, method=method, P=P, b=6)
                if np.mean([e for e, _, _ in runs]) >= 0.95:
                    high = middle
                else:
                    low = middle + 1
            need[method] = 3 * 64 * max(low * unit, 16)
        yield Claim(f"Samples for 95 % exact supports, n=20, K=40, {snr_db} dB, coded against NSO", "<= 0.5x",
                    need["coded"], "samples", need["nso"], "NSO, soft votes",
                    note="least P by bisection, 40 seeds each")  # fmt: skip


def _least_offsets(n: int, snr_db: float | None, seeds: int) -> int:
    low, high = n - 6 + 1, min(2 * n + 20, (1 << n) // 192)  # a sketch of N samples is no sketch
    while low < high:
        middle = (low + high) // 2
        if np.mean([e for e, _, _ in _recoveries(n, 40, snr_db, seeds, P=min(middle, 1 << n), b=6)]) >= 0.95:
            high = middle
        else:
            low = middle + 1
    return low


def growth(full: bool) -> Iterator[Claim]:
    """Least samples for 95 % exact supports against n, with noise at 5 dB and without."""
    bits = np.arange(12, 41, 4)
    need = {snr: np.array([3 * 64 * _least_offsets(int(n), snr, 40) for n in bits]) for snr in (5.0, None)}
    for snr, label in ((5.0, "5 dB"), (None, "no noise")):
        r2 = float(np.corrcoef(bits, need[snr])[0, 1] ** 2)
        slope, intercept = np.polyfit(bits, need[snr], 1)
        yield Claim(f"Samples grow linearly in n (R^2, K=40, n=12..40, {label})", ">= 0.98", r2, "R^2",
                    paper="O(K log N) samples with and without noise",
                    note=f"{need[snr].tolist()}; fit {slope:.0f} n + {intercept:.0f}; least P by 40 seeds")  # fmt: skip
    ratio = need[5.0] / np.minimum(need[None], 3 * 64 * (bits + 1))
    yield Claim("Samples at 5 dB over samples without noise, worst of n=12..40", "<= 4", float(ratio.max()), "times",
                paper="the same order of samples", note=f"ratios {np.round(ratio, 2).tolist()}")  # fmt: skip
    yield Claim("That ratio at n=40 over the ratio at n=12", "<= 1", float(ratio[-1] / ratio[0]), "times")


def _median(call: Callable[[], Any], rounds: int = 41) -> tuple[float, list[float]]:
    taken = []
    with threadpool_limits(1):
        call()
        for _ in range(rounds):
            start = time.perf_counter()
            call()
            taken.append(1e3 * (time.perf_counter() - start))
    return float(np.median(taken)), [float(q) for q in np.quantile(taken, (0.25, 0.75))]


def decode(full: bool) -> Iterator[Claim]:
    """From samples to refined coefficients, one thread; and all of it against a dense transform."""
    for n, K, b, P, bound in ((20, 40, 6, 60, 2), (40, 100, 7, 120, 20)):
        f = Problem(n, K, 5, 0)
        decode_all, _ = sketch(f, b, P, "coded")
        assert np.array_equal(decode_all().support, f.support)
        median, quartiles = _median(decode_all)
        yield Claim(f"Decode, n={n}, K={K}, {3 * P << b} samples at 5 dB in hand", f"<= {bound}", median, "ms",
                    spread={"kind": "quartiles", "rounds": 41, "ours": quartiles},
                    note="small transforms, peeling, least squares; one thread")  # fmt: skip


def against_dense(full: bool) -> Iterator[Claim]:
    """A signal of 2^26 float32 in memory: sampling and decoding against its whole transform."""
    from gossamer.linalg import fwht, sparse_wht

    n, f = 26, Problem(26, 40, 5, 0)
    x = np.zeros(1 << n, np.float32)
    x[f.support.astype(np.int64)] = f.coef
    fwht(x, inplace=True)
    x += f.sigma * np.random.default_rng(0).standard_normal(1 << n, np.float32)
    work = x.copy()
    options = {"sigma": f.sigma, "b": 6, "P": 78, "random_state": 0, "threads": 1}
    assert np.array_equal(sparse_wht(x, n, 40, **options).support, f.support)
    race = compare(
        lambda: sparse_wht(x, n, 40, **options),
        lambda: fwht(work, inplace=True, norm="ortho", threads=1),
        rounds=9,
    )
    yield Claim.from_race("sparse_wht with its sampling against a dense fwht, N=2^26 in memory, K=40, 5 dB", ">= 10x",
                          race, peer_name="gossamer.linalg.fwht in place, float32, one thread each")  # fmt: skip


def dense(full: bool) -> Iterator[Claim]:
    """The dense kernel against fht-cpu and hadamard-transform, float32 in place."""
    import fht_cpu
    import torch
    from hadamard_transform import hadamard_transform

    from gossamer.linalg import fwht

    for levels, repeat in ((16, 200), (20, 20), (24, 1)):
        x = np.random.default_rng(0).standard_normal(1 << levels, np.float32)
        check = x.copy()
        fht_cpu.fht_1d_f32(check)
        assert np.allclose(fwht(x), check, atol=1e-3 * 2 ** (levels / 2))
        # zeros stay zeros: repeated transforms neither overflow nor need a fresh copy, and take as long
        ours, theirs = np.zeros_like(x), np.zeros_like(x)

        def us(threads: int, x: np.ndarray = ours, repeat: int = repeat) -> None:
            for _ in range(repeat):
                fwht(x, inplace=True, threads=threads)

        def them(x: np.ndarray = theirs, repeat: int = repeat) -> None:
            for _ in range(repeat):
                fht_cpu.fht_1d_f32(x)

        for threads, target in ((1, 0.95), (2, 1.4)):
            if threads == 2 and levels < 20:
                continue
            race = compare(lambda t=threads, us=us: us(t), them, work=repeat, unit="transforms/s", rounds=15)
            rate = float(np.median(race.ours)) * (1 << levels) / 1e9
            yield Claim.from_race(
                f"Dense transform, N=2^{levels}, float32, {threads} thread{'s' * (threads > 1)}", f">= {target}x", race,
                peer_name="fht-cpu 1.0.1 in place, 1 thread",
                note=f"{rate * levels:.1f} billion additions a second; N read and written once at {rate * 8:.1f} GB/s",
            )  # fmt: skip
    x = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0))
    torch.set_num_threads(1)
    race = compare(lambda: fwht(x, norm="ortho", threads=1), lambda: hadamard_transform(x), rounds=15)
    yield Claim.from_race("Dense transform of a tensor, N=2^20, float32", ">= 1.4x", race,
                          peer_name="hadamard-transform 0.2.0 (torch), one thread each")  # fmt: skip


def peers(full: bool) -> Iterator[Claim]:
    """sparse-transform decodes the same kind of sketch; scikit-learn regresses on low-order parities."""
    for n, K, b, repeats, snr_db in ((20, 40, 6, 8, 5.0), (20, 40, 6, 1, None)):
        method = "identity" if snr_db is None else "nso"
        theirs = [qsft_decode(Problem(n, K, snr_db, seed), b, repeats, method) for seed in range(10)]
        P = n + 1 if snr_db is None else 60
        options = {"method": "identity" if snr_db is None else "coded", "P": P, "b": b}
        exact = float(np.mean([e for e, _, _ in _recoveries(n, K, snr_db, 10, **options)]))
        decode_all, _ = sketch(Problem(n, K, snr_db, 0), b, P, options["method"])
        median, quartiles = _median(decode_all)
        seconds, label = float(np.median([t for _, t, _ in theirs])), "no noise" if snr_db is None else "5 dB"
        name = f"sparse-transform 0.2.1, {method}"
        yield Claim(f"Decode against sparse-transform, n={n}, K={K}, {label}", ">= 20x", 1e3 / median, "decodes/s",
                    1 / seconds, name, spread={"kind": "quartiles", "rounds": 41, "milliseconds": quartiles},
                    note="each with its samples in hand; theirs: the time that it reports, 10 seeds")  # fmt: skip
        yield Claim(
            f"Samples against sparse-transform, n={n}, K={K}, {label}", "<= 1x", 3 * P << b, "samples",
            float(theirs[0][2]), name,
        )  # fmt: skip
        peer = float(np.mean([e for e, _, _ in theirs]))
        yield Claim(f"Exact supports against sparse-transform, n={n}, K={K}, {label}", f">= {peer}", exact,
                    "of runs", peer or None, name, note="10 seeds each")  # fmt: skip


def regression(full: bool) -> Iterator[Claim]:
    """At equal queries against l1 and greedy regression on all pairs, for a function that has no higher order."""
    from gossamer.linalg import sparse_wht

    n, K = 20, 30
    rng = np.random.default_rng(0)
    support = np.unique(np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, n, (2, 60)).astype(np.uint64)))[
        :K
    ]
    f = Problem(n, len(support), 10, 0, support=support)
    options = {"sigma": f.sigma, "vectorised": "index", "b": 5, "P": 30, "random_state": 0, "max_degree": 2}
    start = time.perf_counter()
    ours = sparse_wht(f, n, len(support), **options)
    taken = time.perf_counter() - start
    assert np.array_equal(ours.support, support)
    for kind in ("lasso", "omp"):
        found, seconds = sparse_regression(kind, f, ours.n_queries, len(support))
        yield Claim(
            f"Time for pairs only (n=20, K={len(support)}, 10 dB) against scikit-learn {kind}", ">= 1x", 1 / taken,
            "fits/s", 1 / seconds, f"scikit-learn {kind} on 211 parities of order <= 2",
            note=f"{ours.n_queries} queries each; ours exact and includes them; theirs finds {found} of {len(support)} "
            "among its largest, and cannot see orders above 2",
        )  # fmt: skip


def real(full: bool) -> Iterator[Claim]:
    """Depth-4 boosted trees on breast_cancer, 20 binarised features; the exact spectrum by expanding every tree."""
    from gossamer.linalg import sparse_wht

    f, X = boosted_trees()
    n = 20
    power = float(np.sum(X[1:] ** 2))
    large = np.flatnonzero(0.01 * power <= X**2)
    points = np.random.default_rng(1).integers(0, 1 << n, 20_000, dtype=np.uint64)
    truth = f(points)
    for noise in (0.0, 0.1):
        sigma = noise * float(np.sqrt(power))
        rng = np.random.default_rng(2)

        def noisy(indices: np.ndarray, sigma: float = sigma, rng: np.random.Generator = rng) -> np.ndarray:
            return f(indices) + sigma * rng.standard_normal(len(indices))

        r = sparse_wht(noisy, n, vectorised="index", random_state=0, P=20, max_queries=int(0.03 * 2**n))
        found = float(np.isin(large, r.support.astype(np.int64)).mean())
        residual = truth - r.predict(points)
        r2 = 1 - float(np.var(residual) / np.var(truth))
        label = "boosted trees, 20 features" + (", noise of 0.1 std" if noise else "")
        terms = int(np.count_nonzero(np.abs(X) > 1e-9))
        note = (
            f"{r.n_queries} queries, {len(r.support)} terms; {len(large)} of {terms} reach 1 % of the variance; "
            f"success={r.success}"
        )
        yield Claim(
            f"Coefficients of 1 % of the variance found, {label}", ">= 1", found, "of them", note=note
        )
        yield Claim(f"Share of the 2^20 inputs asked, {label}", "<= 0.03", r.n_queries / 2**n, "of N")
        yield Claim(f"R^2 on random inputs, {label}", ">= 0.99", r2, "R^2", note=note)


def scale(full: bool) -> Iterator[Claim]:
    """Many coefficients: time a coefficient from 10^3 to 10^5, samples in hand, all cores."""
    times = {}
    for K, b in ((1000, 10), (10_000, 14), (100_000, 17)):
        decode_all, f = samples_of(40, K, b)
        assert np.array_equal(decode_all().support, f.support)
        taken = []
        for _ in range(3):
            start = time.perf_counter()
            decode_all()
            taken.append(time.perf_counter() - start)
        times[K] = min(taken)
    growth = times[100_000] / times[1000] / 100
    yield Claim("Decode time a coefficient, K=1e5 over K=1e3, n=40, no noise", "<= 4", growth, "times",
                note=f"least of 3, seconds by K: { {k: round(t, 3) for k, t in times.items()} }")  # fmt: skip


if __name__ == "__main__":
    run(
        "spright",
        {
            "success": success,
            "nso": against_nso,
            "growth": growth,
            "decode": decode,
            "against-dense": against_dense,
            "dense": dense,
            "peers": peers,
            "regression": regression,
            "real": real,
            "scale": scale,
        },
        packages=[
            "numpy",
            "scipy",
            "scikit-learn",
            "torch",
            "fht-cpu",
            "hadamard-transform",
            "sparse-transform",
        ],
    )
