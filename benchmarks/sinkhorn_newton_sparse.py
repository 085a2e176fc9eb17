"""SNS: entropic transport to machine accuracy, against POT and against Sinkhorn steps of our own.

All run in one thread: a step takes a fraction of a millisecond, and two threads would measure who else is running.
"""

from __future__ import annotations

import functools
import gzip
import math
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import ot
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

from benchmarks.harness import Claim, Race, compare, run
from gossamer._kernels import transport
from gossamer._kernels.transport import Cost
from gossamer.datasets.locate import data_file
from gossamer.solve import PointCost, sinkhorn, sinkhorn_newton_sparse

ETA = 1200.0
TOL = 1e-10  # L1 norm of the error of both marginals
POT = f"POT {ot.__version__}"


def random_assignment(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.random.default_rng(seed).random((n, n)), np.full(n, 1 / n), np.full(n, 1 / n)


def digits(metric: str, pair: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two test images of MNIST, 0 and 1 first: intensity plus 0.01, divided by its sum; costs between pixels i / 28."""
    with gzip.open(data_file("mnist-t10k/t10k-images-idx3-ubyte.gz", "MNIST (10,000 test images)")) as file:
        file.read(16 + 2 * 784 * pair)
        images = np.frombuffer(file.read(2 * 784), np.uint8).reshape(2, 784) / 255 + 0.01
    places = np.indices((28, 28)).reshape(2, -1).T / 28
    r, c = images / images.sum(axis=1, keepdims=True)
    return cdist(places, places, metric), r, c


def marginal_error(P: np.ndarray, r: np.ndarray, c: np.ndarray) -> float:
    return float(np.abs(P.sum(axis=1) - r).sum() + np.abs(P.sum(axis=0) - c).sum())


def pot(method: str, C: np.ndarray, r: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, int]:
    """POT's plan and its iterations; its test is the 2-norm of one marginal, every 10 iterations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        P, log = ot.sinkhorn(
            r, c, C, 1 / ETA, method=method, stopThr=TOL / math.sqrt(len(r)), numItermax=10**6, log=True
        )
    return P, log.get("niter", log.get("n_iter", 0))


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value


def against_pot(
    name: str, problem: tuple, method: str, most: str, factor: str, paper: str, rounds: int, **options: Any
) -> Iterator[Claim]:
    """Iterations and time to the same tolerance; POT runs ``rounds`` times, ours three times as often."""
    C, r, c = problem

    def solve() -> Any:
        return sinkhorn_newton_sparse(C, r, c, eta=ETA, tol=TOL, n_jobs=1, **options)

    ours: list[float] = []
    theirs: list[float] = []
    solve()
    for _ in range(rounds):
        ours += [timed(solve)[0] for _ in range(2)]
        taken, (plan, iterations) = timed(lambda: pot(method, C, r, c))
        theirs.append(taken)
        ours.append(timed(solve)[0])
    result = solve()
    wrong, error = marginal_error(result.plan, r, c), marginal_error(plan, r, c)
    assert result.success
    assert max(wrong, error) <= TOL, (wrong, error)  # both are asked for the same
    peer = f"{POT}, {method}"
    steps = f"{result.nit_sinkhorn} Sinkhorn and {result.nit_newton} Newton steps"
    yield Claim(
        f"{name}: iterations to a marginal error of 1e-10", most, result.nit, "iterations", iterations, peer,
        paper=paper, note=f"{steps}; errors {wrong:.0e}, of POT {error:.0e}",
    )  # fmt: skip
    mine, their = float(np.median(ours)), float(np.median(theirs))
    yield Claim(
        f"{name}: speed", factor, 1 / mine, "solutions/s", 1 / their, peer, their / mine,
        {"kind": "seconds", "ours": sorted(ours), "peer": sorted(theirs)}, paper,
        "to the same tolerance, both in 1 thread; "
        f"seconds {mine:.3g} and {their:.3g}, medians of {len(ours)} and {len(theirs)} runs; "
        f"plans differ by {np.abs(plan - result.plan).max():.0e}. {METHODS}",
    )  # fmt: skip


METHODS = (
    "Of POT's methods the plain one is the fastest that reaches the tolerance here: those in the log domain and with "
    "absorption do the same iterations, each of which takes longer (part methods)"
)


def assignment(full: bool) -> Iterator[Claim]:
    """Random assignment, n = 500."""
    yield from against_pot(
        "Random assignment, n = 500", random_assignment(500), "sinkhorn", "<= 45", ">= 30x",
        "SNS 0.34 s and 29 iterations, Sinkhorn 233.36 s and 56,199 (M1 Pro)", 3,
    )  # fmt: skip


def squared(full: bool) -> Iterator[Claim]:
    """Two digits, squared Euclidean distances."""
    yield from against_pot(
        "MNIST pair, squared distance", digits("sqeuclidean"), "sinkhorn", "<= 80", ">= 5x",
        "SNS 2.33 s and 53 iterations, Sinkhorn 18.84 s and 2,041 (M1 Pro)", 3,
    )  # fmt: skip


def cityblock(full: bool) -> Iterator[Claim]:
    """Two digits, L1 distances, whose optimal plan is not unique."""
    yield from against_pot(
        "MNIST pair, L1 distance", digits("cityblock"), "sinkhorn", "<= 900", ">= 2.5x",
        "SNS 12.22 s and 777 iterations, Sinkhorn 45.75 s and 5,748 (M1 Pro)", 3, n_sinkhorn=700,
    )  # fmt: skip


def others(full: bool) -> Iterator[Claim]:
    """The same problems drawn again: how far Newton steps grow the diagonal was chosen on the first draw of each."""
    draws = range(1, 6)
    problems: list[tuple[str, str, list[tuple], dict[str, int]]] = [
        ("Random assignment, n = 500", "<= 45", [random_assignment(500, seed) for seed in draws], {}),
        ("MNIST pair, squared distance", "<= 80", [digits("sqeuclidean", pair) for pair in draws], {}),
        (
            "MNIST pair, L1 distance",
            "<= 900",
            [digits("cityblock", pair) for pair in draws],
            {"n_sinkhorn": 700},
        ),
    ]
    for name, most, drawn, options in problems:
        results = [
            sinkhorn_newton_sparse(C, r, c, eta=ETA, tol=TOL, n_jobs=1, **options) for C, r, c in drawn
        ]
        counts = [result.nit for result in results]
        yield Claim(
            f"{name}, five other draws: most iterations to a marginal error of 1e-10",
            most,
            max(counts) if all(result.success for result in results) else math.inf,
            "iterations",
            note=f"iterations {', '.join(map(str, counts))}; nothing was chosen on these draws",
        )


def methods(full: bool) -> Iterator[Claim]:
    """What an iteration of POT's methods takes, and of ours."""
    C, r, c = digits("sqeuclidean")
    seconds = {}
    for method in ("sinkhorn", "sinkhorn_stabilized", "sinkhorn_log"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call = functools.partial(
                ot.sinkhorn, r, c, C, 1 / ETA, method=method, stopThr=0.0, numItermax=100
            )
            seconds[method] = timed(call)[0] / 100
            call = functools.partial(
                sinkhorn,
                C,
                r,
                c,
                eta=ETA,
                maxiter=100,
                tol=0.0,
                log_domain=method == "sinkhorn_log",
                n_jobs=1,
            )
            seconds[f"ours, {method}"] = timed(call)[0] / 100
    quickest = min(("sinkhorn", "sinkhorn_stabilized", "sinkhorn_log"), key=seconds.__getitem__)
    for log, ours, peer in (
        ("by scaling", "ours, sinkhorn", quickest),
        ("in the log domain", "ours, sinkhorn_log", "sinkhorn_log"),
    ):
        yield Claim(
            f"MNIST pair, squared distance: Sinkhorn steps a second, {log}", ">= 1x",
            1 / seconds[ours], "steps/s", 1 / seconds[peer], f"{POT}, {peer}",
            note="both in 1 thread; milliseconds a step of POT: "
            + ", ".join(f"{m} {1e3 * t:.2g}" for m, t in seconds.items() if "ours" not in m),
        )  # fmt: skip


def tail(full: bool) -> Iterator[Claim]:
    """How fast the last steps converge, and larger problems."""
    result = sinkhorn_newton_sparse(random_assignment(500)[0], eta=ETA, tol=1e-12, n_jobs=1)
    errors = np.array(result.history["marginal_error"])[-4:]
    ratios = errors[1:] / errors[:-1]
    yield Claim(
        "Random assignment, n = 500: error of the last Newton step, over that of the step before",
        "<= 0.01",
        float(ratios[-1]),
        "of the error before",
        note="superlinear with adaptive sparsity; the last three ratios are "
        + ", ".join(f"{ratio:.1e}" for ratio in ratios),
    )
    C, _, _ = random_assignment(2000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        long = sinkhorn(C, eta=ETA, maxiter=2000, tol=TOL, log_domain=False, n_jobs=1)
    ours = sinkhorn_newton_sparse(C, eta=ETA, tol=TOL, n_jobs=1)
    taken, theirs = ours.history["seconds"][-1], long.history["seconds"][-1]
    end = long.history["marginal_error"][-50:]
    yield Claim(
        "Random assignment, n = 2000: iterations to a marginal error of 1e-10",
        "<= 45",
        ours.nit,
        "iterations",
        long.nit,
        f"gossamer sinkhorn by scaling, to an error of {long.marginal_error:.0e}",
        note=f"{ours.nit_sinkhorn} + {ours.nit_newton} iterations in {taken:.2f} s, Sinkhorn alone in {theirs:.2f} s, "
        f"each of its last steps times {(end[-1] / end[0]) ** (1 / (len(end) - 1)):.3f}: at this eta a plan of that "
        "size is not sparse yet",
    )


def passes(full: bool) -> Iterator[Claim]:
    """The passes that all time goes to, against NumPy and against the memory."""
    n = 3000
    rng = np.random.default_rng(0)
    C, K = rng.random((n, n)), rng.random((n, n))
    one, u, v = np.full(n, 1 / n), np.zeros(n), np.zeros(n)
    cost = Cost(C)
    race = compare(lambda: transport.scale(K, one, one, one, one, 1), K.sum, work=K.nbytes / 1e9, unit="GB/s")
    yield Claim.from_race(
        "A scaling step reads its kernel once, at the speed of a sum (n = 3000)", ">= 0.8x", race,
        peer_name=f"numpy {np.__version__}, sum of the same matrix (1 thread)",
        note="both in 1 thread; 8 bytes and 4 flops an entry",
    )  # fmt: skip

    def plain() -> Any:
        a = one / (K @ one)
        return one / (a @ K)

    race = compare(lambda: transport.scale(K, one, one, one, one, 1), plain, unit="steps/s")
    yield Claim.from_race(
        "Scaling steps a second (n = 3000)", ">= 1.3x", race,
        peer_name=f"numpy {np.__version__}, two products (1 thread)",
        note="4 flops an entry; NumPy reads the kernel twice",
    )  # fmt: skip

    def logs() -> Any:
        z = v - 30 * C
        top = z.max(axis=1)
        x = -np.log(np.exp(z - top[:, None]).sum(axis=1)) - top
        z = x[:, None] - 30 * C
        top = z.max(axis=0)
        return -np.log(np.exp(z - top).sum(axis=0)) - top

    race = compare(
        lambda: cost.log_step(30.0, u, v, one, one, 1), logs, work=n * n / 1e9, unit="1e9 entries/s", rounds=5
    )
    yield Claim.from_race(
        "Steps in the log domain (n = 3000)", ">= 10x", race,
        peer_name=f"numpy {np.__version__}, two logarithms of sums of exponentials (1 thread)",
        note="both in 1 thread; bound by arithmetic: one exponential of 13 terms an entry for both half steps",
    )  # fmt: skip


def points(full: bool) -> Iterator[Claim]:
    """Costs that are made from coordinates in each pass, against the same costs stored."""
    n = 2000
    rng = np.random.default_rng(0)
    cost = PointCost(rng.random((n, 2)), rng.random((n, 2)))
    C = cost.to_dense()

    def solve(c: Any) -> Callable[[], Any]:
        return lambda: sinkhorn_newton_sparse(c, eta=ETA, tol=TOL, n_jobs=1)

    made, stored = solve(cost)(), solve(C)()
    assert made.success
    assert stored.success
    race: Race = compare(solve(cost), solve(C), unit="solutions/s", rounds=3, warmup=0)
    yield Claim.from_race(
        "Points in the plane, n = 2000, nothing stored: speed", ">= 0.25x", race,
        peer_name="gossamer, costs and plan stored",
        note=f"{made.nit} iterations; stored: {2 * C.nbytes >> 20} MiB, made: O(n); {made.nit_newton} Newton steps",
    )  # fmt: skip


if __name__ == "__main__":
    threadpool_limits(1, "blas")
    run(
        "sinkhorn-newton-sparse",
        {
            "assignment": assignment,
            "squared": squared,
            "cityblock": cityblock,
            "others": others,
            "methods": methods,
            "tail": tail,
            "passes": passes,
            "points": points,
        },
        packages=["numpy", "scipy", "POT", "threadpoolctl"],
    )
