"""FastRP is the weighted sum of powers of a walk times the random matrix that it draws, whatever way it is computed."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.preprocessing import normalize, scale
from sklearn.random_projection import SparseRandomProjection

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.graph import FastRP, fastrp_embedding, very_sparse_projection
from gossamer.graph.embed import settings as module
from gossamer.graph.embed.projection import draw_seed

pytestmark = pytest.mark.filterwarnings("ignore:.*have no edges")


def graph(n=60, seed=0, isolated=3, directed=False):
    rng = np.random.default_rng(seed)
    S = np.where(rng.random((n, n)) < 0.1, rng.random((n, n)), 0)
    S = S if directed else S + S.T
    S[:isolated], S[:, :isolated] = 0, 0
    return S


def oracle(S, R, weights, beta=-0.5, matrix="transition", unit=True, self_weight=0.0):
    d, popularity = S.sum(1), S.sum(0)
    inverse = np.where(d > 0, 1 / np.where(d > 0, d, 1), 0)
    A = {
        "transition": inverse[:, None] * S,
        "adjacency": S,
        "sym": np.sqrt(inverse)[:, None] * S * np.sqrt(inverse),
    }[matrix]
    L = np.where(popularity > 0, np.where(popularity > 0, popularity, 1) / max(popularity.sum(), 1e-300), 0)
    L = np.where(L > 0, np.where(L > 0, L, 1) ** beta, 0)
    M, total = L[:, None] * R, 0
    for alpha in (self_weight, *weights):
        total = total + alpha * (normalize(M) if unit else M)
        M = A @ M
    return total


def close(ours, theirs, rtol=1e-5):
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    assert np.linalg.norm(ours - theirs) <= rtol * np.linalg.norm(theirs)


@pytest.mark.parametrize("matrix", ["transition", "adjacency", "sym"])
@pytest.mark.parametrize("weights", [(2,), (0, 1), (0, 0, 1, 4), (1, -1, 0.5, 2, 3)], ids=len)
@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("d", [1, 17, 150])
def test_it_is_the_sum_of_dense_powers(matrix, weights, unit, d):
    S = graph()
    options = {"weights": weights, "input_matrix": matrix, "normalize": unit, "random_state": 4}
    R = very_sparse_projection(60, d, random_state=4).toarray().astype(float)
    for S in (graph(), graph() > 0):
        ours = fastrp_embedding(scipy.sparse.csr_array(S), d, **options)
        close(ours, oracle(S.astype(float), R, weights, matrix=matrix, unit=unit))
        assert not ours[:3].any()


@given(
    st.integers(1, 30), st.integers(1, 200), st.floats(-1, 1), st.booleans(), st.sampled_from(["sparse", "gaussian"]),
    st.sampled_from([None, 32, 96]), st.sampled_from([1.0, 3.0, "sqrt"]), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_panels_threads_and_projections_change_nothing(n, d, beta, unit, projection, panel, s, seed):
    S = graph(n, seed, isolated=0, directed=True)
    A = scipy.sparse.csr_array(S)
    options = {"beta": beta, "normalize": unit, "projection": projection, "s": s, "directed": True}
    options |= {"random_state": seed, "weights": (0.5, 1, 0, 2), "self_weight": 0.3}
    ours = fastrp_embedding(A, d, panel=panel, n_threads=1, **options)
    R = module.gaussian_columns(draw_seed(seed), n, d, 0, d)
    if projection == "sparse":
        R = very_sparse_projection(n, d, s, seed).toarray()
    theirs = oracle(S, R.astype(float), (0.5, 1, 0, 2), beta, unit=unit, self_weight=0.3)
    assert np.abs(ours - theirs).max(initial=0) <= 1e-4 * max(np.abs(theirs).max(initial=0), 1e-3)
    np.testing.assert_array_equal(fastrp_embedding(A, d, panel=panel, n_threads=3, **options), ours)


def test_out_of_core_writes_the_same_into_a_memory_map(tmp_path):
    A = scipy.sparse.csr_array(graph(200))
    for weights in ((0, 0, 1, 4), (1, 1, 1, 1, 1), None):
        ours = fastrp_embedding(A, 150, weights=weights, random_state=0)
        out = np.lib.format.open_memmap(tmp_path / "e.npy", "w+", np.float32, ours.shape)
        steps = []
        given = fastrp_embedding(
            A,
            150,
            weights=weights,
            random_state=0,
            panel=32,
            out=out,
            progress=lambda *step, to=steps: to.append(step),
        )
        assert given is out
        close(out, ours, 2e-6)
        assert [done for done, _ in steps] == list(range(1, steps[-1][1] + 1))


def test_powers_apart_combine_to_the_sum():
    A = scipy.sparse.csr_array(graph())
    apart = fastrp_embedding(A, 20, weights=None, q=4, random_state=0)
    assert apart.shape == (60, 80)
    close(apart[:, 40:60] + 4 * apart[:, 60:], fastrp_embedding(A, 20, random_state=0), 1e-6)


@pytest.mark.parametrize("unit", [True, False])
def test_rows_of_the_fitted_graph_transform_to_their_vectors(unit):
    for matrix in ("transition", "adjacency", "sym"):
        A = scipy.sparse.csr_array(graph())
        for d, weights in ((40, (1, 0, 2)), (150, (0, 0, 1, 4))):
            model = FastRP(
                d, weights=weights, input_matrix=matrix, normalize=unit, standardize=True, random_state=1
            )
            embedding = model.fit_transform(A)
            assert embedding is model.embedding_
            np.testing.assert_allclose(model.transform(A), embedding, atol=1e-4)
            np.testing.assert_allclose(model.transform(A[[7, 50]]), embedding[[7, 50]], atol=1e-4)


def test_the_estimator_keeps_scikit_learns_contract():
    model = clone(FastRP(5, beta=0.0, random_state=0)).fit(nx.karate_club_graph())
    assert model.n_features_in_ == 34
    assert list(model.get_feature_names_out()) == [f"fastrp{i}" for i in range(5)]
    np.testing.assert_array_equal(
        model.embedding_, fastrp_embedding(nx.karate_club_graph(), 5, beta=0.0, random_state=0)
    )
    np.testing.assert_allclose(model.degrees_, [d for _, d in nx.karate_club_graph().degree(weight="weight")])
    with pytest.raises(ShapeError, match=r"\(2, 3\).*34"):
        model.transform(scipy.sparse.csr_array((2, 3)))
    with pytest.raises(ArgumentError, match="inductive=True"):
        FastRP(5, inductive=False).fit(nx.path_graph(4)).transform(scipy.sparse.csr_array((1, 4)))


def test_the_reference_recipe_gives_the_same_numbers(monkeypatch):
    S = (graph(isolated=0) > 0) * 1.0
    S += np.eye(60)
    R = SparseRandomProjection(32, density=1 / np.sqrt(60), random_state=0).fit(S).components_.T
    monkeypatch.setattr(module, "sparse_columns", lambda *a: scipy.sparse.csc_array(R)[:, a[4] : a[5]])
    degree = S.sum(1)
    U, powers = (degree**-0.64)[:, None] * R.toarray(), []
    for _ in range(4):
        U = S / degree[:, None] @ U
        powers.append(U)
    reference = scale(normalize(powers[2]) + 6.67 * normalize(powers[3]))
    ours = fastrp_embedding(
        scipy.sparse.csr_array(S), 32, weights=(0, 0, 1, 6.67), beta=-0.64, standardize=True
    )
    np.testing.assert_allclose(ours, reference, atol=2e-4)


def test_without_degrees_the_limit_of_walks_is_the_sum_of_columns():
    S = (graph(isolated=0, seed=1) > 0) * 1.0 + np.eye(60)
    weights = (*(0,) * 199, 1)
    ours = fastrp_embedding(
        scipy.sparse.csr_array(S), 24, weights=weights, beta=-1, normalize=False, random_state=0
    )
    R = very_sparse_projection(60, 24, random_state=0).toarray()
    np.testing.assert_allclose(ours, np.tile(R.sum(0), (60, 1)), atol=1e-3 * np.linalg.norm(R.sum(0)))


def test_scale_of_weights_and_dtype_do_not_matter_and_nodes_may_be_renamed(monkeypatch):
    S, rng = graph(), np.random.default_rng(0)
    ours = fastrp_embedding(scipy.sparse.csr_array(S), 16, random_state=0)
    close(fastrp_embedding(scipy.sparse.csr_array(S * 1e-20), 16, random_state=0), ours)
    hits = S > 0.5
    kinds = [
        fastrp_embedding(scipy.sparse.csr_array(hits.astype(t)), 16, random_state=0)
        for t in (bool, int, float)
    ]
    np.testing.assert_array_equal(kinds[0], kinds[1])
    np.testing.assert_array_equal(kinds[0], kinds[2])
    order = rng.permutation(60)
    R = very_sparse_projection(60, 16, random_state=0).toarray()
    monkeypatch.setattr(module, "sparse_columns", lambda *a: scipy.sparse.csc_array(R[order]))
    close(fastrp_embedding(scipy.sparse.csr_array(S[np.ix_(order, order)]), 16), ours[order])


def test_features_start_half_of_the_columns():
    S, rng = graph(isolated=0), np.random.default_rng(0)
    X = rng.normal(size=(60, 9))
    A = scipy.sparse.csr_array(S)
    for d in (40, 41, 300):
        ours = fastrp_embedding(A, d, features=X, normalize=False, random_state=0)
        left = fastrp_embedding(A, -(-d // 2), normalize=False, random_state=0)
        np.testing.assert_allclose(ours[:, : -(-d // 2)], left, rtol=1e-5, atol=1e-6)
        sparse = fastrp_embedding(A, d, features=scipy.sparse.csr_array(X), normalize=False, random_state=0)
        np.testing.assert_allclose(sparse, ours, rtol=1e-4, atol=1e-5)
    model = FastRP(40, weights=(1, 0, 2), random_state=0).fit(A, features=X)
    np.testing.assert_array_equal(
        model.embedding_, fastrp_embedding(A, 40, weights=(1, 0, 2), features=X, random_state=0)
    )
    np.testing.assert_allclose(model.transform(A), model.embedding_, atol=1e-5)
    with pytest.raises(ShapeError, match=r"features have shape \(9, 60\)"):
        fastrp_embedding(A, 8, features=X.T)


def test_limits():
    with pytest.warns(UserWarning, match="5 of 5 nodes have no edges"):
        assert not fastrp_embedding(scipy.sparse.csr_array((5, 5)), 4, random_state=0).any()
    one = fastrp_embedding(scipy.sparse.csr_array([[2.0]]), 64, s=1, random_state=0)
    assert np.isclose(np.linalg.norm(one), 5)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"d": 0}, ArgumentError, "d=0"),
        ({"weights": ()}, ArgumentError, r"weights=\(\)"),
        ({"weights": (0, 0)}, ArgumentError, "not zero"),
        ({"weights": (0, np.nan)}, ArgumentError, "weights=nan"),
        ({"beta": 1.5}, ArgumentError, "beta=1.5"),
        ({"s": 0.5}, ArgumentError, "s=0.5"),
        ({"s": "log"}, ArgumentError, "s='log'"),
        ({"projection": "dense"}, ArgumentError, "projection='dense'"),
        ({"input_matrix": "laplacian"}, ArgumentError, "input_matrix='laplacian'"),
        ({"panel": 20}, ArgumentError, "panel=20"),
        ({"out": np.empty((34, 8))}, ShapeError, "out is float64"),
        ({"random_state": -1}, ArgumentError, "random_state=-1"),
        ({"A": scipy.sparse.csr_array(np.ones((2, 3)))}, ShapeError, r"A has shape \(2, 3\)"),
        ({"A": scipy.sparse.csr_array([[-1.0]])}, ArgumentError, "A has 1 weights that are negative"),
        ({"A": scipy.sparse.csr_array([[np.nan]])}, ArgumentError, "NaN"),
        ({"A": "nothing"}, ValueError, "no such file"),
        ({"A": 3}, UnsupportedError, "A is a int"),
    ],
)
def test_bad_input_is_refused_by_name(options, error, match):
    with pytest.raises(error, match=match):
        fastrp_embedding(**{"A": nx.karate_club_graph(), "d": 8, **options})


# the random matrix


def test_the_projection_is_orthonormal_in_the_mean():
    diagonal, off, stored = [], [], []
    for seed in range(20):
        R = very_sparse_projection(2000, 512, random_state=seed)
        G = (R[:300] @ R[:300].T).toarray()
        diagonal.append((R.multiply(R)).sum() / 2000)
        off.append(G[~np.eye(300, dtype=bool)])
        stored.append(R.nnz)
        assert abs(R.sum()) < 5 * np.sqrt(R.nnz) * abs(R.data[0])
    assert 0.98 < np.mean(diagonal) < 1.02
    assert np.isclose(np.sqrt(np.mean(np.square(off))), 512**-0.5, rtol=0.05)
    expected = 2000 * 512 / np.sqrt(2000)
    assert abs(np.mean(stored) - expected) < 4 * np.sqrt(expected / 20)


def test_the_projection_follows_from_its_seed_and_columns_do_not_depend_on_how_many():
    R = very_sparse_projection(700, 70, 3, 5)
    assert (very_sparse_projection(700, 70, 3, 5) != R).nnz == 0
    assert (very_sparse_projection(700, 70, 3, 6) != R).nnz
    wide = very_sparse_projection(700, 200, 3, 5, np.float64)
    np.testing.assert_allclose(wide[:, :70].toarray() * np.sqrt(200 / 70), R.toarray(), rtol=1e-6)
    assert wide.dtype == np.float64
    assert (very_sparse_projection(50, 8, 1).toarray() != 0).all()


def test_products_of_rows_are_kept_and_better_with_more_columns():
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 5, 500)
    S = np.triu(rng.random((500, 500)) < np.where(blocks[:, None] == blocks, 0.1, 0.01), 1)
    S = (S + S.T) * 1.0 + np.eye(500)
    A = S / S.sum(1)[:, None]
    M = np.linalg.matrix_power(A, 3) * (S.sum(1) / S.sum()) ** -0.5
    exact, errors = M @ M.T, []
    for d in (64, 128, 256, 512, 1024):
        N = [M @ very_sparse_projection(500, d, random_state=seed).toarray() for seed in range(6)]
        errors.append(np.mean([np.linalg.norm(X @ X.T - exact) for X in N]))
        if d == 512:
            assert np.corrcoef(exact.ravel(), (N[0] @ N[0].T).ravel())[0, 1] >= 0.95
    assert -0.6 < np.polyfit(np.log([64, 128, 256, 512, 1024]), np.log(errors), 1)[0] < -0.4
