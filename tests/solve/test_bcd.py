"""Block coordinate descent: rules against enumeration, bounds on progress, and end points of other libraries."""

import itertools

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso as SklearnLasso
from sklearn.linear_model import LogisticRegression

from gossamer._core.errors import ArgumentError, CostError, UnsupportedError
from gossamer.solve import (
    Lasso,
    LeastSquares,
    Logistic,
    MultinomialLogistic,
    NonnegativeLS,
    Quadratic,
    block_coordinate_descent,
    compare_rules,
    partition_blocks,
)
from gossamer.solve.descent.blocks import FixedBlocks
from gossamer.solve.descent.model_gain import cubic_minimum
from gossamer.solve.descent.penalty import Penalty
from gossamer.solve.descent.scores import coordinate_scores, diagonal_bound
from gossamer.solve.descent.selection import SMOOTH_FIXED, SMOOTH_VARIABLE, make_selection
from gossamer.solve.descent.updates.subproblem import minimise_block

RNG = np.random.default_rng(0)
TRIPLES = [np.array(t) for t in itertools.combinations(range(10), 3)]


def data(m, n, seed, density=1.0, dtype=np.float64):
    A = sp.random_array((m, n), density=density, rng=seed, format="csc", data_sampler=RNG.normal)
    return (A.toarray() if density == 1 else A).astype(dtype)


def problems(seed=0, m=40, n=12):
    rng = np.random.default_rng(seed)
    A, y = rng.normal(size=(m, n)) * rng.uniform(0.3, 3, n), rng.normal(size=m)
    labels = np.where(A @ rng.normal(size=n) + rng.normal(size=m) > 0, 1.0, -1.0)
    classes = rng.integers(0, 3, m)
    return {
        "least squares": LeastSquares(A, y, l2=0.1),
        "sparse": LeastSquares(sp.csr_array(A * (rng.uniform(size=A.shape) < 0.4)), y, l2=0.2),
        "logistic": Logistic(A, labels, l2=0.1),
        "multinomial": MultinomialLogistic(A[:, :4], classes, l2=0.1),
        "quadratic": Quadratic(A.T @ A + 0.1 * np.eye(n), rng.normal(size=n)),
    }


def state_of(problem, seed=1):
    return problem.state(np.random.default_rng(seed).normal(size=problem.n), True)


@pytest.mark.parametrize("name", problems())
def test_gradients_hessians_and_bounds_are_right(name):
    problem = problems()[name]
    state = state_of(problem)
    F = lambda x: problem.state(x, False).value()  # noqa: E731
    g = np.array([scipy.optimize.approx_fprime(state.x, F, 1e-7)]).ravel()
    np.testing.assert_allclose(state.gradient(), g, rtol=1e-4, atol=1e-4)
    every = np.arange(problem.n)
    H = state.hessian(every)
    step = 1e-6
    for i in range(3):
        e = np.zeros(problem.n)
        e[i] = step
        change = problem.state(state.x + e, True).gradient() - problem.state(state.x - e, True).gradient()
        np.testing.assert_allclose(H[i], change / (2 * step), rtol=1e-5, atol=1e-5)
    bound = problem.bound(every)
    assert np.linalg.eigvalsh(bound - H)[0] > -1e-9
    np.testing.assert_allclose(problem.bound_product(g), bound @ g, rtol=1e-10)
    np.testing.assert_allclose(problem.row_sums(every), np.abs(bound).sum(axis=1), rtol=1e-10)
    assert (problem.lipschitz >= np.diag(H) - 1e-12).all()
    b = np.array([4, 1, 7])
    np.testing.assert_allclose(state.hessian(b), H[np.ix_(b, b)], atol=1e-10)
    assert np.linalg.eigvalsh(problem.bound(b) - H[np.ix_(b, b)])[0] > -1e-9
    np.testing.assert_allclose(problem.block_lipschitz(b), np.linalg.eigvalsh(problem.bound(b))[-1])


@pytest.mark.parametrize("name", problems())
def test_what_is_maintained_is_what_x_gives(name):
    problem = problems()[name]
    state = state_of(problem)
    rng = np.random.default_rng(2)
    for _ in range(300):
        b = rng.choice(problem.n, 3, replace=False)
        path = state.along(b, rng.normal(size=3))
        ahead = path.value(0.7)
        state.move(path, 0.7)
        assert state.value() == pytest.approx(ahead, rel=1e-12)
    fresh = problem.state(state.x.copy(), True)
    np.testing.assert_allclose(state.gradient(), fresh.gradient(), rtol=1e-8)
    np.testing.assert_allclose(
        problem.state(state.x, False).block_gradient(b), fresh.gradient()[b], rtol=1e-8
    )
    assert state.value() == pytest.approx(fresh.value(), rel=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_variable_rules_are_the_argmax_over_all_subsets(seed):
    problem = problems(seed, n=10)["least squares"]
    state = state_of(problem, seed)
    g, L = state.gradient(), problem.lipschitz
    for rule, diag, weight in (
        ("gs", "auto", np.ones(10)), ("gsd", "lipschitz", 3 * L), ("gsl", "auto", L),
        ("gsd", "rowsum", np.abs(problem.bound(np.arange(10))).sum(axis=1)),
    ):  # fmt: skip
        chosen = make_selection(
            problem, rule, None, 3, diag=diag, norm=2, rng=np.random.default_rng(0)
        ).choose(state)
        best = max(TRIPLES, key=lambda b: (g[b] ** 2 / weight[b]).sum())
        np.testing.assert_array_equal(chosen.ids, best)


@pytest.mark.parametrize("name", ["least squares", "logistic", "quadratic"])
def test_fixed_rules_are_the_argmax_over_their_blocks(name):
    problem = problems(3)[name]
    parts = partition_blocks(problem, "sort", 5)
    blocks = FixedBlocks(problem, parts)
    assert [len(part) for part in parts] == [5, 5, 2]
    for seed in range(5):
        state = state_of(problem, seed)
        g, H = state.gradient(), [problem.bound(b) for b in parts]
        D = diagonal_bound(problem, "auto", blocks, 5)
        measures = {
            "gs": [g[b] @ g[b] for b in parts],
            "gsl": [g[b] @ g[b] / np.linalg.eigvalsh(h)[-1] for b, h in zip(parts, H)],
            "gsd": [(g[b] ** 2 / D[b]).sum() for b in parts],
            "gsq": [g[b] @ np.linalg.solve(h, g[b]) for b, h in zip(parts, H)],
            "mi": [-_least(problem, state.x, b) for b in parts],
            "cubic": [-_cubic_by_search(g[b], state.hessian(b), problem.third(b)) for b in parts],
        }
        for rule, values in measures.items():
            choose = make_selection(
                problem, rule, blocks, 5, diag="auto", norm=2, rng=np.random.default_rng(0)
            ).choose
            np.testing.assert_array_equal(choose(state).ids, parts[int(np.argmax(values))])
        one = make_selection(problem, "gs", blocks, 5, diag="auto", norm=1, rng=np.random.default_rng(0))
        best = parts[int(np.argmax([np.abs(g[b]).sum() for b in parts]))]
        np.testing.assert_array_equal(one.choose(state).ids, best)


def _least(problem, x, b):
    def along(d):
        moved = x.copy()
        moved[b] += d
        return problem.state(moved, False).value()

    return scipy.optimize.minimize(along, np.zeros(len(b)), method="BFGS", options={"gtol": 1e-8}).fun


def _cubic_by_search(g, H, M):
    model = lambda d: g @ d + 0.5 * d @ H @ d + M / 6 * np.linalg.norm(d) ** 3  # noqa: E731
    start = -np.linalg.solve(H + 1e-3 * np.eye(len(g)), g) * 0.5
    value = scipy.optimize.minimize(model, start, method="BFGS", options={"gtol": 1e-10}).fun
    assert cubic_minimum(g, H, M)[0] == pytest.approx(value, rel=1e-6)
    return value


def test_subsets_by_the_quadratic_model_come_near_the_best():
    reached = {"gsq-iht": [], "gsq-omp": []}
    for seed in range(50):
        rng = np.random.default_rng(seed)
        A = rng.normal(size=(20, 10)) * rng.uniform(0.2, 2, 10)
        problem = LeastSquares(A, rng.normal(size=20))
        state = state_of(problem, seed)
        g, H = state.gradient(), A.T @ A
        gain = lambda b, g=g, H=H: g[b] @ np.linalg.solve(H[np.ix_(b, b)], g[b])  # noqa: E731
        best = max(map(gain, TRIPLES))
        for rule, ratios in reached.items():
            block = make_selection(problem, rule, None, 3, diag="auto", norm=2, rng=rng).choose(state)
            assert len(block) == 3
            ratios.append(gain(block.ids) / best)
    for rule, ratios in reached.items():
        assert min(ratios) >= 0.6, rule
        assert np.median(ratios) >= 0.95, rule


@pytest.mark.parametrize("name", problems())
def test_every_iteration_makes_the_progress_that_is_promised(name):
    problem = problems()[name]
    for update in ("matrix", "gradient", "diagonal", "newton", "la"):
        state, points = None, []
        result = block_coordinate_descent(
            problem, select="random", update=update, block_size=4, maxiter=60, tol=0, random_state=1, record=True,
            callback=lambda it, points=points: points.append(it.x.copy()),
        )  # fmt: skip
        values = result.fun_history
        for k, b in enumerate(result.blocks):
            state = problem.state(points[k], True)
            g, H = state.gradient()[b], problem.bound(b)
            slack = 1e-10 * abs(values[k])
            promised = {
                "matrix": 0.5 * g @ np.linalg.solve(H, g),
                "gradient": 0.5 * g @ g / np.linalg.eigvalsh(H)[-1],
            }.get(update, 0.0)
            assert values[k + 1] <= values[k] - promised + slack, (update, k)


def test_for_one_partition_better_models_promise_more():
    problem = problems()["logistic"]
    blocks = FixedBlocks(problem, partition_blocks(problem, "order", 4))
    for seed in range(20):
        state = state_of(problem, seed)
        g = state.gradient()
        gsq = blocks.quadratic_gain(g).max()
        gsd = blocks.sums(
            coordinate_scores("gsd", state, diagonal_bound(problem, "auto", blocks, 4), problem.lipschitz)
        ).max()
        norms = blocks.sums(g * g)
        gsl, gs = (norms / blocks.lipschitz).max(), norms.max() / blocks.lipschitz.max()
        assert gsq >= gsd * (1 - 1e-12)
        assert gsq >= gsl * (1 - 1e-12) >= gs * (1 - 1e-12)


def test_the_diagonals_bound_the_blocks():
    problem = problems()["sparse"]
    blocks = FixedBlocks(problem, partition_blocks(problem, "avg", 5))
    for diag in ("auto", "lipschitz", "rowsum"):
        D = diagonal_bound(problem, diag, blocks, 5)
        V = diagonal_bound(problem, diag, None, 5)
        for block in blocks.blocks:
            for bound in (D, V):
                assert np.linalg.eigvalsh(np.diag(bound[block.ids]) - block.bound)[0] > -1e-9


def test_partitions_by_size():
    problem = LeastSquares(np.diag([3.0, 1.0, 5.0, 2.0, 4.0]), np.ones(5))
    parts = {
        rule: [b.tolist() for b in partition_blocks(problem, rule, 2)] for rule in ("order", "sort", "avg")
    }
    assert parts["order"] == [[0, 1], [2, 3], [4]]
    assert parts["sort"] == [[1, 3], [0, 4], [2]]
    assert parts["avg"] == [[1, 2], [3, 4], [0]]
    assert partition_blocks(problem, "hsort", 2)[0].tolist() == [1, 3]
    assert partition_blocks(problem, "havg", 2)[0].tolist() == [1, 2]


def test_one_block_and_gradient_steps_are_gradient_descent():
    A, y = data(30, 8, 0), RNG.normal(size=30)
    points = []
    block_coordinate_descent(
        LeastSquares(A, y), partition="order", select="cyclic", update="gradient", block_size=8, maxiter=20, tol=0,
        callback=lambda it: points.append(it.x.copy()),
    )  # fmt: skip
    x, L = np.zeros(8), np.linalg.eigvalsh(A.T @ A)[-1]
    for point in points:
        np.testing.assert_allclose(point, x, rtol=1e-12, atol=1e-14)
        x = x - A.T @ (A @ x - y) / L


def test_one_exact_step_on_everything_solves_a_quadratic():
    for name in ("least squares", "quadratic"):
        result = block_coordinate_descent(problems()[name], update="exact", block_size=12)
        assert result.nit == 1
        assert result.success


def test_blocks_of_one_make_updates_alike():
    problem = problems()["least squares"]
    runs = [
        block_coordinate_descent(problem, update=update, block_size=1, maxiter=50, tol=0).x
        for update in ("matrix", "diagonal", "gradient", "exact")
    ]
    for run in runs[1:]:
        np.testing.assert_allclose(run, runs[0], rtol=1e-10)


@pytest.mark.parametrize("partition", ["variable", "order"])
def test_all_smooth_rules_end_at_the_solution(partition):
    problem = problems()["sparse"]
    A, y = problem.columns.A.toarray(), problem.y
    exact = np.linalg.solve(A.T @ A + 0.2 * np.eye(12), A.T @ y)
    for rule in SMOOTH_VARIABLE if partition == "variable" else SMOOTH_FIXED:
        result = block_coordinate_descent(
            problem, partition=partition, select=rule, block_size=3, maxiter=5000, tol=1e-10, random_state=0
        )
        assert result.success, rule
        np.testing.assert_allclose(result.x, exact, atol=1e-7, err_msg=rule)


@pytest.mark.parametrize("update", ["matrix", "newton", "gradient", "la", "diagonal"])
def test_logistic_regression_is_scikit_learns(update):
    problem = problems()["logistic"]
    result = block_coordinate_descent(problem, update=update, tol=1e-9, maxiter=20000)
    assert result.success
    model = LogisticRegression(C=10, tol=1e-10, fit_intercept=False, max_iter=10000)
    model.fit(problem.columns.A, problem.y)
    np.testing.assert_allclose(result.x, model.coef_.ravel(), atol=1e-5)


def test_multinomial_regression_is_scikit_learns():
    rng = np.random.default_rng(0)
    A, classes = rng.normal(size=(80, 5)), rng.integers(0, 4, 80)
    dense, sparse = (MultinomialLogistic(X, classes, l2=1.0) for X in (A, sp.csc_array(A)))
    model = LogisticRegression(C=1, tol=1e-12, fit_intercept=False, max_iter=10000).fit(A, classes)
    for problem, update in ((dense, "newton"), (sparse, "matrix")):
        result = block_coordinate_descent(problem, update=update, tol=1e-9, maxiter=5000, block_size=6)
        assert result.success
        np.testing.assert_allclose(result.x.reshape(5, 4), model.coef_.T, atol=1e-5)


@pytest.mark.parametrize("density", [1.0, 0.3])
@pytest.mark.parametrize("update", ["prox-newton", "tmp", "prox-gradient"])
@pytest.mark.parametrize("select", ["gsd", "gss", "gsr", "gsq", "gsl", "random"])
def test_lasso_is_scikit_learns(density, update, select):
    A = data(60, 40, 1, density)
    y = A @ np.r_[np.ones(6), np.zeros(34)] + 0.1 * np.random.default_rng(0).normal(size=60)
    lam = 0.1 * np.abs(A.T @ y).max()
    result = block_coordinate_descent(
        Lasso(A, y, lam),
        select=select,
        update=update,
        block_size=10,
        tol=1e-10,
        maxiter=20000,
        random_state=0,
    )
    assert result.success
    model = SklearnLasso(alpha=lam / 60, fit_intercept=False, tol=1e-12, max_iter=10**6).fit(A, y)
    best = 0.5 * np.sum((A @ model.coef_ - y) ** 2) + lam * np.abs(model.coef_).sum()
    assert result.fun <= best * (1 + 1e-9)
    np.testing.assert_array_equal(result.x != 0, model.coef_ != 0)
    assert Lasso(A, y, lam).duality_gap(result.x) <= 1e-8 * best
    assert result.identified_at is not None
    assert result.active_set_history[-1] == int((result.x == 0).sum())
    late = result.active_set_history[result.identified_at :]
    assert len(set(late)) == 1


@pytest.mark.parametrize("partition", ["variable", "sort"])
@pytest.mark.parametrize("lam", [0.0, 3.0])
@pytest.mark.parametrize("update", ["auto", "prox-newton", "prox-gradient"])
def test_nonnegative_least_squares_is_scipys(partition, lam, update):
    A, y = data(50, 20, 2), np.random.default_rng(1).normal(size=50) * 3
    result = block_coordinate_descent(
        NonnegativeLS(A, y, lam), partition=partition, update=update, tol=1e-11, maxiter=20000
    )
    assert result.success
    wide, side = np.vstack([A, np.eye(20) * 1e-9]), np.r_[y, np.zeros(20)]
    if lam:  # lam sum x shifts the normal equations
        wide, side = A, y - np.linalg.lstsq(A.T, lam * np.ones(20), rcond=None)[0]
    exact, _ = scipy.optimize.nnls(wide, side)
    np.testing.assert_allclose(result.x, exact, atol=1e-7)
    np.testing.assert_array_equal(result.x == 0, exact == 0)


def test_l1_logistic_regression_is_liblinears():
    problem = Logistic(problems()["logistic"].columns.A, problems()["logistic"].y, l1=4.0)
    model = LogisticRegression(
        l1_ratio=1, C=0.25, solver="liblinear", tol=1e-9, fit_intercept=False, max_iter=10000
    ).fit(problem.columns.A, problem.y)
    best = problem.state(model.coef_.ravel(), False).value()
    for update in ("prox-newton", "tmp", "prox-gradient"):
        # "mi" compares values of the objective, which resolve half of the digits
        for select, partition, tol in (
            ("gsd", "variable", 1e-9),
            ("gsq", "order", 1e-9),
            ("mi", "order", 1e-6),
        ):
            result = block_coordinate_descent(
                problem, update=update, select=select, partition=partition, tol=tol, maxiter=5000
            )
            assert result.success
            assert result.fun <= best * (1 + 1e-9)
            np.testing.assert_allclose(result.x, model.coef_.ravel(), atol=1e-5)


def kkt(A, y, lam, x):
    g = A.T @ (A @ x - y)
    return np.abs(np.where(x != 0, g + lam * np.sign(x), np.maximum(np.abs(g) - lam, 0))).max()


def test_the_lasso_ends_after_finitely_many_iterations():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(100, 400)) / 10
    w = np.zeros(400)
    w[rng.choice(400, 15, replace=False)] = rng.normal(size=15)
    y = A @ w + 0.01 * rng.normal(size=100)
    lam = 0.1 * np.abs(A.T @ y).max()
    result = block_coordinate_descent(Lasso(A, y, lam), block_size=40, maxiter=25, tol=1e-13)
    assert result.success
    assert kkt(A, y, lam, result.x) < 1e-12
    assert 0 < (result.x != 0).sum() <= 40
    again = block_coordinate_descent(Lasso(A, y, lam), result.x, block_size=40, maxiter=5, tol=0)
    np.testing.assert_array_equal(again.x != 0, result.x != 0)
    np.testing.assert_allclose(again.x, result.x, atol=1e-13)


def test_once_identified_zeros_stay_zeros():
    A = data(80, 50, 5)
    y = A @ np.r_[np.ones(5), np.zeros(45)]
    lam = 0.2 * np.abs(A.T @ y).max()
    problem = Lasso(A, y, lam)
    exact = block_coordinate_descent(problem, block_size=50, tol=1e-13)
    Z = exact.x == 0
    delta = (lam - np.abs(A.T @ (A @ exact.x - y))[Z]).min()
    points = []
    result = block_coordinate_descent(
        problem, partition="order", select="cyclic", update="prox-gradient", tol=1e-10, maxiter=20000, record=True,
        callback=lambda it: points.append(it.x.copy()),
    )  # fmt: skip
    L = np.linalg.eigvalsh(A.T @ A)[-1]
    near = np.array([np.linalg.norm(x - exact.x) <= delta / (2 * L) for x in points])
    first = int(np.argmax(near))
    assert near[first]
    for k in range(first, len(result.blocks)):
        b = result.blocks[k]
        assert (points[k + 1][b[Z[b]]] == 0).all()
    assert result.identified_at <= first + 10


def test_lambda_at_its_largest_gives_zero_at_once():
    A, y = data(30, 20, 3, 0.5), RNG.normal(size=30)
    lam = np.abs(A.T @ y).max()
    for weight in (lam, 2 * lam):
        result = block_coordinate_descent(Lasso(A, y, weight))
        assert result.nit == 0
        assert result.success
        assert not result.x.any()


def test_copies_and_zero_columns():
    A = data(30, 6, 4)
    A = np.column_stack([A, A[:, :3], np.zeros(30)])
    y = RNG.normal(size=30)
    for make in (lambda: LeastSquares(A, y), lambda: LeastSquares(sp.csc_array(A), y)):
        with pytest.warns(RuntimeWarning, match="no curvature"):
            problem = make()
        for select, partition in (("gsd", "variable"), ("gsq-omp", "variable"), ("gsq-iht", "variable"),
                                  ("gsq", "sort"), ("cyclic", "order"), ("lipschitz", "variable")):  # fmt: skip
            result = block_coordinate_descent(
                problem,
                x0=np.ones(10),
                select=select,
                partition=partition,
                block_size=10,
                maxiter=300,
                random_state=0,
            )
            assert result.x[-1] == 0
            np.testing.assert_allclose(A.T @ (A @ result.x - y), 0, atol=1e-5)
    with pytest.warns(RuntimeWarning, match="no curvature"):
        lasso = Lasso(A, y, 1.0)
    result = block_coordinate_descent(lasso, block_size=10)
    assert result.success
    assert kkt(A, y, 1.0, result.x) < 1e-6


@pytest.mark.parametrize("density", [1.0, 0.4])
@pytest.mark.parametrize("order", ["C", "F"])
def test_float32_data_keep_their_type_and_double_sums(density, order):
    A = data(60, 20, 6, density, np.float32)
    A = np.asarray(A, order=order) if density == 1 else A
    y = RNG.normal(size=60)
    result = block_coordinate_descent(LeastSquares(A, y), tol=1e-10, maxiter=3000)
    assert result.x.dtype == np.float32
    assert result.success
    dense = (A.toarray() if sp.issparse(A) else A).astype(np.float64)
    np.testing.assert_allclose(result.x, np.linalg.lstsq(dense, y, rcond=None)[0], atol=1e-5)


def test_large_indices_and_inputs_that_stay_as_they_were():
    A = data(40, 15, 7, 0.4).tocsr()
    A.indices, A.indptr = A.indices.astype(np.int64), A.indptr.astype(np.int64)
    y, x0 = RNG.normal(size=40), np.ones(15)
    before = A.copy(), y.copy()
    result = block_coordinate_descent(LeastSquares(A, y, 0.1), x0)
    assert result.success
    assert (x0 == 1).all()
    assert (before[0] != A).nnz == 0
    np.testing.assert_array_equal(y, before[1])


def test_a_seed_gives_the_same_run():
    problem = problems()["sparse"]
    for select in ("random", "lipschitz"):
        runs = [
            block_coordinate_descent(problem, select=select, maxiter=30, random_state=3).x for _ in range(2)
        ]
        np.testing.assert_array_equal(*runs)


def test_comparison_is_a_table_and_says_what_was_left_out():
    table = compare_rules(
        problems()["least squares"], select=("random", "cyclic", "gsd"), update=("matrix", "tmp"), block_size=3,
        maxiter=20,
    )  # fmt: skip
    assert len(table.rows) == 5
    assert len(table.skipped) == 7
    assert [row["fun"] for row in table.rows] == sorted(row["fun"] for row in table.rows)
    assert "gsd" in str(table)
    assert table.to_dict()["rows"]
    with pytest.raises(ArgumentError, match="no combination"):
        compare_rules(problems()["logistic"], update="exact")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"block_size": 0}, "block_size=0"),
        ({"block_size": 13}, "block_size=13"),
        ({"select": "cyclic"}, "variable blocks and no penalty: expected one of random"),
        ({"select": "gsq"}, "gsq-iht"),
        ({"select": "gss"}, "does not go with"),
        ({"select": "gsx"}, "did you mean"),
        ({"update": "tmp"}, "does not go with"),
        ({"update": "matrx"}, "did you mean 'matrix'"),
        ({"update": "message-passing"}, "expected one of gradient"),
        ({"partition": "sorted"}, "did you mean 'sort'"),
        ({"partition": [[0, 1], [1, 2]]}, "coordinate 1 2 times"),
        ({"partition": [[0, 1, 99]]}, "partition spans"),
        ({"partition": [[0.5]]}, "arrays of integers"),
        ({"diag": "rows"}, "diag='rows'"),
        ({"norm": 3}, "norm=3"),
        ({"x0": np.ones(3)}, "x0 has shape"),
        ({"x0": np.full(12, np.nan)}, "x0 has 12 NaN"),
        ({"tol": -1}, "tol=-1"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(ArgumentError, match=words):
        block_coordinate_descent(problems()["least squares"], **options)


def test_bad_problems_are_named():
    A, y = data(5, 3, 0), np.ones(5)
    for call, words in (
        (lambda: Logistic(A, y * 2), "expected -1 and 1"),
        (lambda: Quadratic(np.ones((2, 3)), np.ones(2)), "square"),
        (lambda: Quadratic(np.array([[1.0, 2.0], [0.0, 1.0]]), np.ones(2)), "not symmetric"),
        (lambda: Quadratic(np.diag([1.0, -1.0]), np.ones(2)), "semi-definite"),
        (lambda: LeastSquares(A, y[:4]), "y has shape"),
        (lambda: LeastSquares(A * np.nan, y), "NaN"),
        (lambda: LeastSquares(sp.csr_array(A) * np.inf, y), "NaN or infinite"),
        (lambda: LeastSquares(A, y * np.inf), "NaN or infinite"),
        (lambda: LeastSquares(A, y, l2=-1), "l2=-1"),
        (lambda: Lasso(A, y, -1), "lam=-1"),
        (lambda: Lasso(A, y, np.ones(2)), "lam has shape"),
        (lambda: NonnegativeLS(A, y, -0.5), "lam=-0.5"),
        (lambda: MultinomialLogistic(A, np.ones((5, 2))), "one-hot"),
        (lambda: MultinomialLogistic(A, y - 2), "integers from 0"),
        (lambda: MultinomialLogistic(A, np.zeros(4)), "Y has 4 rows"),
        (lambda: partition_blocks(LeastSquares(A, y), "order"), "block_size=None"),
        (lambda: partition_blocks(LeastSquares(A, y), "colour", graph=np.eye(2)), "2 nodes"),
    ):
        with pytest.raises(ArgumentError, match=words):
            call()
    with pytest.raises(UnsupportedError, match="A is dense"):
        block_coordinate_descent(LeastSquares(A, y), select="forest-gs")
    with pytest.raises(UnsupportedError, match="has no forests"):
        block_coordinate_descent(MultinomialLogistic(A, np.arange(5) % 2), select="forest-gs")
    with pytest.raises(UnsupportedError, match="expected a BCDProblem"):
        block_coordinate_descent(A)
    wide = LeastSquares(sp.eye_array(20_000, format="csc"), np.ones(20_000))
    with pytest.raises(CostError, match="GB"):
        block_coordinate_descent(wide, block_size=20_000)


def test_callbacks_stop_and_maxiter_is_no_exception():
    problem = problems()["logistic"]
    stopped = block_coordinate_descent(problem, callback=lambda it: it.nit == 3)
    assert (stopped.status, stopped.nit) == (2, 3)
    short = block_coordinate_descent(problem, maxiter=2)
    assert (short.success, short.status, short.nit) == (False, 1, 2)


def test_pairwise_comparisons_are_solved_on_their_tree():
    """Bradley-Terry strengths: rows e_i - e_j, so that the Hessian has the graph of who met whom."""
    rng = np.random.default_rng(0)
    n = 30
    pairs = np.array(
        [(i, rng.integers(0, i)) for i in range(1, n)] + [(i, (i + 7) % n) for i in range(0, n, 3)]
    )
    A = sp.coo_array(
        (
            np.r_[np.ones(len(pairs)), -np.ones(len(pairs))],
            (np.tile(np.arange(len(pairs)), 2), pairs.T.ravel()),
        ),
        shape=(len(pairs), n),
    ).tocsc()
    problem = Logistic(A, np.where(rng.random(len(pairs)) < 0.7, 1.0, -1.0), l2=0.1)
    result = block_coordinate_descent(problem, select="forest-gsd", tol=1e-10)
    assert result.success
    full = block_coordinate_descent(problem, update="newton", block_size=n, tol=1e-12)
    np.testing.assert_allclose(result.x, full.x, atol=1e-8)


@settings(max_examples=60)
@given(
    st.integers(1, 30), st.integers(0, 40), st.integers(0, 10**6), st.sampled_from(["l1", "orthant", "box"])
)
def test_block_subproblems_are_solved_to_the_last_digits(t, rank, seed, kind):
    rng = np.random.default_rng(seed)
    R = rng.normal(size=(rank, t))
    if t > 3:
        R[:, 1], R[:, 2] = R[:, 0], R[:, 0] + R[:, 3]
    H, x = R.T @ R, rng.normal(size=t) * (rng.random(t) < 0.5)
    g = R.T @ rng.normal(size=rank)
    lam = np.full(t, 0.3) if kind == "l1" else np.zeros(t)
    low, high = np.full(t, -np.inf if kind == "l1" else 0.0), np.full(t, 1.0 if kind == "box" else np.inf)
    x = np.clip(x, low, high)
    z = minimise_block(H, g, x, lam, low, high)
    assert ((z >= low) & (z <= high)).all()
    slope = Penalty(lam, low, high).subgradient(z, g + H @ (z - x))
    moving = np.diag(H) > 0
    assert np.abs(slope[moving]).max(initial=0) <= 1e-9 * max(np.abs(g).max(), np.abs(H).max(), 1)


def test_a_memory_map_is_neither_copied_nor_turned_round_by_blind_rules(tmp_path):
    A = data(60, 200, 8, 0.1)
    np.save(tmp_path / "values.npy", A.data)
    values = np.load(tmp_path / "values.npy", mmap_mode="r")
    problem = LeastSquares(sp.csc_array((values, A.indices, A.indptr), shape=A.shape), np.ones(60), l2=0.1)
    result = block_coordinate_descent(
        problem, partition="order", select="random", block_size=20, maxiter=50, random_state=0
    )
    assert result.fun < 0.5 * result.fun_history[0]
    assert np.shares_memory(problem.columns.lines.value, values)
    assert "rows" not in vars(problem.columns)


def test_what_is_maintained_is_computed_anew_now_and_then():
    problem = problems()["logistic"]
    result = block_coordinate_descent(
        problem, select="random", update="gradient", block_size=2, maxiter=2100, tol=0, random_state=0
    )
    assert result.fun == pytest.approx(problem.state(result.x, False).value(), rel=1e-12)
