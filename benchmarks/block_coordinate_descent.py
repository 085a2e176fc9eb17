"""Block coordinate descent (arXiv 1712.08859): rules on random data, forests on graphs, the Lasso, logistic regression.

Random data and graphs are the paper's (its data sets A to E); isolet and a8a come from ``GOSSAMER_DATA``.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import block_coordinate_descent_problems as data
from benchmarks.harness import Claim, compare, run

RULES = "figures, curves: variable blocks with matrix updates reach what random and cyclic blocks do not come near"
FORESTS = "figures: forest blocks with message passing beat red-black and small dense blocks"
ENDS = "figures: prox-Newton and two-metric projection identify the support and terminate"
GREEDY_FIXED, GREEDY_VARIABLE = ("gs", "gsl", "gsd", "gsq"), ("gs", "gsl", "gsd")


def _value(problem: Any, partition: Any, select: str, update: str, maxiter: int = 500) -> float:
    from gossamer.solve import block_coordinate_descent

    return block_coordinate_descent(
        problem,
        partition=partition,
        select=select,
        update=update,
        block_size=5,
        maxiter=maxiter,
        tol=0,
        random_state=0,
    ).fun


def rules(full: bool) -> Iterator[Claim]:
    """Data set A after 500 iterations of blocks of five, medians of three draws."""
    draws = [data.least_squares(seed) for seed in (1, 2, 3)]
    table: dict[tuple[str, str, str], list[float]] = {}

    def median(partition: str, select: str, update: str) -> float:
        key = (partition, select, update)
        table.setdefault(key, [_value(problem, *key) for problem in draws])
        return float(np.median(table[key]))

    best = median("variable", "gsd", "matrix")
    for select, update, target in (("random", "gradient", "<= 1e-6x"), ("gsl", "matrix", "<= 1e-3x")):
        yield Claim(
            f"A, 500 iterations: objective of variable blocks, gsd, matrix, against sorted blocks, {select}, {update}",
            target, best, "objective", median("sort", select, update), f"sorted blocks, {select}, {update}",
            spread={"kind": "draws", "values": {" ".join(k): v for k, v in table.items()}}, paper=RULES,
        )  # fmt: skip
    yield Claim(
        "A, 500 iterations of gradient updates on variable blocks: objective of gsd against gs", "<= 0.334x",
        median("variable", "gsd", "gradient"), "objective", median("variable", "gs", "gradient"), "gs", paper=RULES,
    )  # fmt: skip


def greed(full: bool) -> Iterator[Claim]:
    """Every greedy rule against random choice of the same blocks, with the same updates, on one draw of A."""
    problem = data.least_squares(1)
    losing = []
    for partition, greedy in (("sort", GREEDY_FIXED), ("variable", GREEDY_VARIABLE)):
        chance = _value(problem, partition, "random", "matrix")
        losing += [
            f"{partition} {rule}" for rule in greedy if _value(problem, partition, rule, "matrix") > chance
        ]
    yield Claim("A: greedy rules that random choice beats after 500 iterations", "<= 0", len(losing), "rules",
                note=", ".join(losing) or "matrix updates, blocks of five")  # fmt: skip


def classes(full: bool) -> Iterator[Claim]:
    """Data sets B and C."""
    for name, problem, iterations in (("B", data.logistic(1), 500), ("C", data.multinomial(1), 200)):
        ours, theirs = (
            _value(problem, partition, select, "matrix", iterations)
            for partition, select in (("variable", "gsd"), ("sort", "random"))
        )
        yield Claim(
            f"{name}, {iterations} iterations of matrix updates: objective of variable blocks, gsd, against random "
            "sorted blocks", "<= 1x", ours, "objective", theirs, "sorted blocks, random", paper=RULES,
        )  # fmt: skip


def starving(full: bool) -> Iterator[Claim]:
    """Plain GS on sorted blocks of fifty, which the largest columns dominate."""
    from gossamer.solve import block_coordinate_descent

    problem = data.least_squares(1)
    values = {
        select: block_coordinate_descent(
            problem,
            partition="sort",
            select=select,
            update="matrix",
            block_size=50,
            maxiter=150,
            tol=0,
            random_state=0,
        ).fun
        for select in ("gs", "gsl", "random")
    }
    yield Claim(
        "A, sorted blocks of 50, 150 iterations: objective of gsl against gs", "<= 1x", values["gsl"], "objective",
        values["gs"], "gs", note=f"random: {values['random']:.3g}. The blocks of the longest columns starve the others "
        "under gs; dividing by the block's constant is the remedy",
    )  # fmt: skip


def _iterations(problem: Any, exact: np.ndarray, **options: Any) -> int:
    from gossamer.solve import block_coordinate_descent

    scale = 1e-8 * float(np.linalg.norm(exact))
    near = lambda it: bool(np.linalg.norm(it.x - exact) <= scale)  # noqa: E731
    return block_coordinate_descent(
        problem, tol=0, maxiter=20_000, random_state=0, callback=near, **options
    ).nit


def graphs(full: bool) -> Iterator[Claim]:
    """Iterations to a relative error of 1e-8 on the lattice and on the moons."""
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import spsolve

    board, colour = data.lattice(0)
    sides = [np.flatnonzero(colour == c) for c in (0, 1)]
    for name, problem, red_black in (("D", board, sides), ("E", data.moons(0), "colour")):
        exact = spsolve(csc_array(problem.A), problem.b)
        forest = _iterations(problem, exact, select="forest-gsd")
        fixed = _iterations(problem, exact, partition="forest", select="cyclic", update="message-passing")
        cyclic = _iterations(problem, exact, partition=red_black, select="cyclic", update="message-passing")
        chance = _iterations(problem, exact, select="forest-random")
        yield Claim(
            f"{name}: iterations of greedy forests against cyclic colours, to a relative error of 1e-8", "<= 0.2x",
            forest,
            "iterations", cyclic, "red-black cyclic" if name == "D" else "greedy colours, cyclic", paper=FORESTS,
            note=f"fixed forests in turn: {fixed}; random forests: {chance}. A forest takes about two thirds of the "
            "nodes, a colour half of them; on a lattice lines converge twice as fast as points, whatever the order",
        )  # fmt: skip


def lattice_time(full: bool) -> Iterator[Claim]:
    """Greedy forests against conjugate gradients on the lattice."""
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import cg, spsolve

    from gossamer.solve import block_coordinate_descent

    problem, _ = data.lattice(0)
    exact = spsolve(csc_array(problem.A), problem.b)
    count = _iterations(problem, exact, select="forest-gsd")
    rtol = next(
        r
        for r in (1e-8, 5e-9, 2e-9, 1e-9, 1e-10)
        if _error(cg(problem.A, problem.b, rtol=r)[0], exact) <= 1e-8
    )
    race = compare(
        lambda: block_coordinate_descent(problem, select="forest-gsd", tol=0, maxiter=count),
        lambda: cg(problem.A, problem.b, rtol=rtol), rounds=5,
    )  # fmt: skip
    yield Claim.from_race(
        "D: time of greedy forests against conjugate gradients, to a relative error of 1e-8", ">= 1x", race,
        peer_name="scipy cg without preconditioner",
        note=f"{count} iterations, each of a sort, a scan, an elimination and a gradient; without a coarse grid or "
        "momentum their number grows with the square of the lattice's side, that of conjugate gradients with the side",
    )  # fmt: skip


def _error(x: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(x - exact) / np.linalg.norm(exact))


def _lasso_case() -> tuple[Any, np.ndarray, float, Callable[[], Any], Callable[[np.ndarray], float]]:
    from gossamer.solve import Lasso, block_coordinate_descent

    X, y = data.isolet()
    lam = float(np.abs(X.T @ y).max()) / 20
    judge = Lasso(X, y, lam)

    def ours() -> Any:
        return block_coordinate_descent(Lasso(X, y, lam), block_size=120, tol=1e-7)

    def gap(w: np.ndarray) -> float:
        return judge.duality_gap(w) / (0.5 * float(y @ y))

    return X, y, lam, ours, gap


def _closest(
    make: Callable[[float], Any], gap: Callable[[np.ndarray], float], X: Any, y: Any
) -> tuple[float, float]:
    """The loosest tolerance of a peer at which it reaches a gap of 1e-8, and that gap."""
    for tol in (1e-5, 1e-6, 1e-7, 3e-8, 1e-8, 5e-9, 2e-9, 1e-9, 1e-10, 1e-11, 1e-12):
        reached = gap(np.ravel(make(tol).fit(X, y).coef_))
        if reached <= 1e-8:
            return tol, reached
    raise RuntimeError("the peer does not reach a gap of 1e-8")


def _lasso_claim(make: Callable[[float], Any], name: str, target: str) -> Claim:
    from threadpoolctl import threadpool_limits

    X, y, _, ours, gap = _lasso_case()
    with threadpool_limits(1):  # the peers' loops use one thread
        tol, theirs = _closest(make, gap, X, y)
        result = ours()
        race = compare(ours, lambda: make(tol).fit(X, y), rounds=9)
    return Claim.from_race(
        f"Lasso on isolet, lam_max/20, duality gap 1e-8: against {name}", target, race,
        peer_name=f"{name}, tol={tol:g}",
        note=f"one thread each; gaps relative to ||y||^2/2: ours {max(gap(result.x), 0):.1e} in "
        f"{result.nit} iterations, theirs {theirs:.1e}",
    )  # fmt: skip


def lasso(full: bool) -> Iterator[Claim]:
    """Isolet against celer and scikit-learn, and the support."""
    from celer import Lasso as Celer
    from sklearn.linear_model import Lasso as Sklearn

    X, y, lam, ours, _ = _lasso_case()
    alpha = lam / len(y)
    yield _lasso_claim(lambda tol: Celer(alpha, fit_intercept=False, tol=tol), "celer", ">= 0.333x")
    yield _lasso_claim(
        lambda tol: Sklearn(alpha, fit_intercept=False, tol=tol, max_iter=100_000),
        "scikit-learn, cyclic",
        "> 1x",
    )
    result = ours()
    exact = Sklearn(alpha, fit_intercept=False, tol=1e-14, max_iter=1_000_000).fit(X, y).coef_
    yield Claim(
        "Lasso on isolet: coordinates whose being zero differs from the solution's", "<= 0",
        int(((result.x != 0) != (exact != 0)).sum()), "coordinates", paper=ENDS,
        note=f"{int((exact != 0).sum())} of {len(exact)} are not zero; identified at iteration {result.identified_at} "
        f"of {result.nit}; the solution is scikit-learn's at tol=1e-14",
    )  # fmt: skip


def skglm(full: bool) -> Iterator[Claim]:
    """Isolet against skglm, whose functions are compiled before the race."""
    from skglm import Lasso as Skglm

    _, y, lam, _, _ = _lasso_case()
    yield _lasso_claim(lambda tol: Skglm(lam / len(y), fit_intercept=False, tol=tol), "skglm", ">= 0.333x")


def logistic(full: bool) -> Iterator[Claim]:
    """L1 logistic regression on a8a."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    from gossamer.solve import Logistic, block_coordinate_descent

    warnings.simplefilter("ignore")
    X, y = data.a8a()
    rows = csr_matrix(X)
    judge = Logistic(X, y, l1=1.0)
    best = block_coordinate_descent(judge, block_size=123, tol=1e-11, maxiter=100).fun

    def theirs(tol: float) -> Any:
        return LogisticRegression(
            l1_ratio=1, C=1.0, solver="liblinear", fit_intercept=False, tol=tol, max_iter=10_000
        ).fit(rows, y)

    def ours(tol: float) -> Any:
        return block_coordinate_descent(Logistic(X, y, l1=1.0), block_size=123, tol=tol)

    excess = lambda x: judge.state(np.ravel(x).astype(float), False).value() / best - 1  # noqa: E731
    loose = next(t for t in (1e-2, 1e-3, 3e-4, 1e-4, 1e-5, 1e-6) if excess(theirs(t).coef_) <= 1e-6)
    own = next(t for t in (1e-2, 1e-3, 3e-4, 1e-4, 1e-5, 1e-6) if excess(ours(t).x) <= 1e-6)
    race = compare(lambda: ours(own), lambda: theirs(loose), rounds=5)
    yield Claim.from_race(
        "L1 logistic regression on a8a, objective within 1e-6: against liblinear", ">= 0.5x", race,
        peer_name=f"liblinear through scikit-learn, tol={loose:g}",
        note=f"C=1, no intercept, all 123 columns a block; excess ours {excess(ours(own).x):.1e} in {ours(own).nit} "
        f"iterations, theirs {excess(theirs(loose).coef_):.1e}",
    )  # fmt: skip


def trees(full: bool) -> Iterator[Claim]:
    """Elimination on a chain, and a greedy forest, of a million nodes."""
    import scipy.sparse as sp

    from gossamer.solve import greedy_forest, tree_solve

    n = 1_000_000
    chain = sp.csr_array(
        sp.diags_array([-np.ones(n - 1), 2.5 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1])
    )
    start = time.perf_counter()
    x = tree_solve(chain, np.ones(n))
    took = time.perf_counter() - start
    yield Claim("tree_solve on a chain of a million nodes", "<= 1", took, "s",
                note=f"with its checks; residual {np.abs(chain @ x - 1).max():.1e}")  # fmt: skip
    side = 1000
    line = sp.diags_array([np.ones(side - 1), np.ones(side - 1)], offsets=[-1, 1])
    grid = sp.csr_array(sp.kron(line, sp.eye_array(side)) + sp.kron(sp.eye_array(side), line))
    scores = np.random.default_rng(0).random(n)
    start = time.perf_counter()
    nodes = greedy_forest(scores, grid)
    took = time.perf_counter() - start
    yield Claim("greedy_forest on a lattice of a million nodes", "<= 5", took, "s",
                note=f"with its checks; it takes {len(nodes) / n:.0%} of the nodes")  # fmt: skip


def kernels(full: bool) -> Iterator[Claim]:
    """The gradient and the Gram matrix of a block on data set A, against SciPy's sparse products."""
    from gossamer._kernels.descent import Lines

    A = data.design(1)
    lines, rows = Lines(A), A.T.tocsr()
    r = np.random.default_rng(0).standard_normal(A.shape[0])
    block = np.sort(np.random.default_rng(0).choice(A.shape[1], 50, replace=False))
    race = compare(lambda: lines.dots(r, threads=1), lambda: rows @ r, rounds=21)
    rate = 12e-9 * A.nnz * float(np.median(race.ours))
    yield Claim.from_race(
        "A^T r on data set A: against scipy.sparse", ">= 1x", race, peer_name="scipy CSR product",
        note=f"one thread; {rate:.1f} GB of entries and indices a second; the vector lies in the first cache",
    )  # fmt: skip
    race = compare(
        lambda: lines.gram(block, threads=1), lambda: (A[:, block].T @ A[:, block]).toarray(), rounds=21
    )
    yield Claim.from_race(
        "A_b^T A_b of 50 columns of data set A: against scipy.sparse", ">= 1x", race,
        peer_name="scipy sparse product", note="one thread",
    )  # fmt: skip


def large(full: bool) -> Iterator[Claim]:
    """A million columns with a hundred million entries, in a process of its own."""
    if not full:
        return
    code = "from benchmarks.block_coordinate_descent import descend_on_much; descend_on_much()"
    memory, objective, seconds = map(
        float,
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split(),
    )
    yield Claim(
        "Peak memory of greedy descent on a million columns with 1e8 entries in float32", "<= 4", memory, "GB",
        note=f"20 iterations in {seconds:.1f} s; the objective falls to {objective:.3f} of its start",
    )  # fmt: skip


def descend_on_much() -> None:
    """Print peak memory in GB, the share of the objective that is left, and seconds."""
    import scipy.sparse as sp

    from gossamer.solve import LeastSquares, block_coordinate_descent

    n, a_column, m = 1_000_000, 100, 1_000_000
    rng = np.random.default_rng(0)
    index = np.empty((n, a_column), np.int32)
    for first in range(0, n, 50_000):  # a row in each hundredth: sorted, none twice
        index[first : first + 50_000] = rng.integers(0, m // a_column, (50_000, a_column), dtype=np.int32)
    index += np.arange(0, m, m // a_column, dtype=np.int32)
    values = rng.standard_normal(n * a_column, dtype=np.float32)
    start = np.arange(0, n * a_column + 1, a_column, dtype=np.int32)
    A = sp.csc_array((values, index.ravel(), start), shape=(m, n))
    began = time.perf_counter()
    result = block_coordinate_descent(
        LeastSquares(A, rng.standard_normal(m)), block_size=20, maxiter=20, tol=0
    )
    took = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(memory, result.fun / result.fun_history[0], took)


if __name__ == "__main__":
    run(
        "block-coordinate-descent",
        {
            "rules": rules,
            "greed": greed,
            "classes": classes,
            "starving": starving,
            "graphs": graphs,
            "lattice-time": lattice_time,
            "lasso": lasso,
            "skglm": skglm,
            "logistic": logistic,
            "trees": trees,
            "kernels": kernels,
            "large": large,
        },
        packages=["numpy", "scipy", "scikit-learn", "celer", "skglm"],
    )
