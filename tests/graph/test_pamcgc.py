"""Block contrastive clustering finds planted clusters, by settings that hold, and with a graph or without one."""

import warnings

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from gossamer._core.errors import ArgumentError, CostError, ShapeError, UnsupportedError
from gossamer.graph import PamCGC, attributed_sbm, cluster_metrics, influence_matrix, knn_graph
from gossamer.graph.contrast import influence as influence_module
from gossamer.graph.contrast.autoencoder import Perceptron, as_input
from gossamer.graph.contrast.soft_clusters import divergence, sharpened, soft_assignment

ONE_CLUSTER = "sets n_clusters=1, where there is nothing to contrast"
EXPECTED = dict.fromkeys(
    (
        "check_dont_overwrite_parameters",
        "check_methods_subset_invariance",
        "check_fit2d_1feature",
        "check_fit2d_predict1d",
    ),
    ONE_CLUSTER,
)
SMALL = {"hidden": (64, 64), "order": 2, "epochs": 40, "pretrain_epochs": 60, "n_init": 3, "random_state": 0}
QUICK = {**SMALL, "hidden": (16,), "epochs": 3, "pretrain_epochs": 2}


pytestmark = pytest.mark.usefixtures("one_thread")


@parametrize_with_checks(
    [PamCGC(3, knn=5, hidden=(16, 16), epochs=5, pretrain_epochs=5, n_init=2)],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_the_contract_of_scikit_learn(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


@pytest.fixture(scope="module")
def planted():
    graph = attributed_sbm(400, 4, p_in=0.1, p_out=0.01, n_attributes=20, random_state=0)
    X = np.eye(4, dtype=np.float32)[graph.attributes].reshape(400, 80)
    flip = np.random.default_rng(0).random(X.shape) < 0.15
    return np.where(flip, 1 - X, X), graph.adjacency, graph.labels


@pytest.fixture(scope="module")
def start(planted):
    X, A, labels = planted
    return cluster_metrics(labels, PamCGC(4, **{**SMALL, "epochs": 0}).fit_predict(X, A))["nmi"]


@pytest.mark.parametrize(
    "settings", [{}, {"loss": "full"}, {"loss": "sampled", "n_samples": 8}], ids=["pamc", "full", "sampled"]
)
def test_the_graph_brings_features_nearer_to_the_planted_clusters(planted, start, settings):
    X, A, labels = planted
    model = PamCGC(4, **SMALL, **settings).fit(X, A)
    assert cluster_metrics(labels, model.labels_)["nmi"] > start + 0.1
    assert model.history_["loss"][-1] < model.history_["loss"][0]


def test_mini_batches_do_so_too(planted, start):
    X, A, labels = planted
    model = PamCGC(4, batch_size=100, **{**SMALL, "order": 1, "epochs": 10}).fit(X, A)
    assert cluster_metrics(labels, model.labels_)["nmi"] > start + 0.05
    sparse, dense = (PamCGC(4, batch_size=150, **QUICK).fit(x, A) for x in (scipy.sparse.csr_array(X), X))
    np.testing.assert_allclose(sparse.embedding_, dense.embedding_, atol=1e-3)
    assert {len(sparse.history_[name]) for name in ("loss", "contrast", "divergence", "changed")} == {3}


def test_one_batch_of_all_nodes_takes_the_step_of_the_whole_graph(planted):
    X, A, _ = planted
    whole = PamCGC(4, **{**QUICK, "epochs": 1}).fit(X, A)
    batch = PamCGC(4, batch_size=400, **{**QUICK, "epochs": 1}).fit(X, A)
    np.testing.assert_allclose(batch.history_["loss"], whole.history_["loss"], rtol=1e-5)
    np.testing.assert_allclose(batch.embedding_, whole.embedding_, atol=2e-3)


def test_what_is_learnt_is_what_predicts(planted):
    X, A, _ = planted
    model = PamCGC(4, alpha=3.0, beta=0.5, **QUICK).fit(X, A)
    assert np.array_equal(model.predict(X), model.labels_)
    assert np.array_equal(model.labels_, model.q_.argmax(1))
    centres = torch.from_numpy(model.cluster_centers_)
    q = soft_assignment(torch.from_numpy(model.embedding_), centres).numpy()
    np.testing.assert_allclose(q, model.q_, atol=1e-6)
    assert model.embedding_.shape == (400, 10)
    assert model.influence_nnz_ == influence_matrix(A, 2).nnz
    assert {len(model.history_[name]) for name in ("loss", "contrast", "divergence", "changed")} == {3}
    assert len(model.history_["reconstruction"]) == 2
    loss = 3.0 * np.array(model.history_["contrast"]) + 0.5 * np.array(model.history_["divergence"])
    np.testing.assert_allclose(model.history_["loss"], loss, rtol=1e-5)


def test_without_epochs_it_is_k_means_on_the_autoencoder(planted):
    X, A, _ = planted
    model = PamCGC(4, **{**QUICK, "epochs": 0}).fit(X, A)
    distance = ((model.embedding_[:, None] - model.cluster_centers_) ** 2).sum(-1)
    assert np.mean(distance.argmin(1) == model.labels_) > 0.99
    means = [model.embedding_[model.labels_ == a].mean(0) for a in range(4)]
    np.testing.assert_allclose(means, model.cluster_centers_, atol=1e-3)


def test_an_encoder_that_is_given_is_copied_and_trained_on(planted):
    X, A, _ = planted
    base = PamCGC(4, **{**QUICK, "epochs": 0}).fit(X, A)
    before = base.embedding_.copy()
    start = PamCGC(4, encoder=base.encoder_, **{**QUICK, "epochs": 0}).fit(X, A)
    assert np.array_equal(start.embedding_, before)
    assert start.history_["reconstruction"] == []
    trained = clone(start).set_params(epochs=3).fit(X, A)
    assert not np.array_equal(trained.embedding_, before)
    with torch.no_grad():
        assert np.array_equal(base.encoder_(as_input(X)).numpy(), before)


def test_the_same_seed_gives_the_same_bits_and_leaves_the_global_one_alone(planted):
    X, A, _ = planted
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, two = (PamCGC(4, **QUICK).fit(X, A) for _ in range(2))
    assert np.array_equal(one.embedding_, two.embedding_)
    assert torch.equal(torch.random.get_rng_state(), before)
    other = clone(one).set_params(random_state=1).fit(X, A)
    assert not np.array_equal(one.embedding_, other.embedding_)


def test_sparse_features_are_the_dense_ones(planted):
    X, A, _ = planted
    dense = PamCGC(4, **QUICK).fit(X, A)
    sparse = PamCGC(4, **QUICK).fit(scipy.sparse.csr_array(X), A)
    np.testing.assert_allclose(sparse.embedding_, dense.embedding_, atol=1e-3)
    rows = scipy.sparse.csr_array(X[:7])
    net = Perceptron((80, 5, 2))
    np.testing.assert_allclose(net(as_input(rows)).detach(), net(as_input(X[:7])).detach(), atol=1e-6)


def test_a_graph_may_come_in_any_form_and_either_place(planted):
    X, A, _ = planted
    base = PamCGC(4, **QUICK).fit(X, A).embedding_
    edges = np.stack(scipy.sparse.triu(A).nonzero())
    for call in (
        lambda m: m.fit(X, A=A),
        lambda m: m.fit(X, nx.from_scipy_sparse_array(A)),
        lambda m: m.fit(X, edges),
        lambda m: m.fit(X, np.zeros(400), A),
        lambda m: m.fit(X, [0] * 400, A),
        lambda m: m.fit(X, scipy.sparse.triu(A, format="csr")),
    ):
        np.testing.assert_array_equal(call(PamCGC(4, **QUICK)).embedding_, base)
    alone = PamCGC(4, knn=4, **QUICK).fit(X)
    assert alone.influence_nnz_ == influence_matrix(knn_graph(X, 4), 2).nnz


def test_a_cluster_that_dies_stays_finite_and_is_told():
    X = np.repeat(np.eye(2), 10, axis=0)
    with pytest.warns(ConvergenceWarning):
        model = PamCGC(4, knn=2, **QUICK).fit(X)
    assert all(np.isfinite(series).all() for series in model.history_.values())
    assert len(np.unique(model.labels_)) == 2  # of four, on two points
    np.testing.assert_allclose(model.q_.sum(axis=1), 1, atol=1e-5)


def test_isolated_nodes_have_themselves(planted):
    X, A, _ = planted
    alone = A.toarray()
    alone[3], alone[:, 3] = 0, 0
    gamma = influence_matrix(scipy.sparse.csr_array(alone), 2).toarray()
    assert np.flatnonzero(gamma[3]).tolist() == np.flatnonzero(gamma[:, 3]).tolist() == [3]
    model = PamCGC(4, **QUICK).fit(X, scipy.sparse.csr_array(alone))
    alone[3, 3] = 1  # a link to itself is what it has anyway
    same = PamCGC(4, **QUICK).fit(X, scipy.sparse.csr_array(alone))
    np.testing.assert_array_equal(model.embedding_, same.embedding_)
    few = np.zeros_like(alone)  # most nodes occur in no edge
    few[[0, 1, 1, 2], [1, 0, 2, 1]] = 1
    by_edges = PamCGC(4, **QUICK).fit(X, np.array([[0, 1], [1, 2]]))
    by_matrix = PamCGC(4, **QUICK).fit(X, scipy.sparse.csr_array(few))
    np.testing.assert_array_equal(by_edges.embedding_, by_matrix.embedding_)
    assert by_edges.history_["contrast"] != model.history_["contrast"]


def test_presets_name_the_widths_of_the_paper():
    X, _ = make_blobs(30, 3, random_state=0)
    model = PamCGC(2, knn=3, hidden="light", epochs=1, pretrain_epochs=1).fit(X)
    assert [layer.out_features for layer in model.encoder_.layers] == [256, 256, 512, 10]
    assert PamCGC(2).hidden == (500, 500, 2000)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 6), st.floats(0.1, 10))
def test_memberships_are_the_formula(seed, n, k, scale):
    rng = np.random.default_rng(seed)
    z, mu = scale * rng.standard_normal((n, 4)), scale * rng.standard_normal((k, 4))
    q = 1 / (1 + ((z[:, None] - mu) ** 2).sum(-1))
    q /= q.sum(1, keepdims=True)
    found = soft_assignment(torch.from_numpy(z), torch.from_numpy(mu))
    np.testing.assert_allclose(found, q, rtol=1e-9)
    p = q**2 / q.sum(0)
    p /= p.sum(1, keepdims=True)
    sharp = sharpened(found)
    np.testing.assert_allclose(sharp, p, rtol=1e-9)
    np.testing.assert_allclose(sharp.sum(1), 1, rtol=1e-12)
    kl = float(divergence(sharp, found))
    assert kl == pytest.approx((p * np.log(p / q)).sum() / n, abs=1e-12)
    assert kl >= -1e-12


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 25), st.integers(1, 4), st.booleans())
def test_influence_is_the_sum_of_dense_powers(seed, n, order, cumulative):
    rng = np.random.default_rng(seed)
    A = np.where(rng.random((n, n)) < 0.2, rng.random((n, n)), 0)
    W = np.maximum(A, A.T) + np.eye(n)
    W /= W.sum(1, keepdims=True)
    powers = [np.linalg.matrix_power(W, r + 1) for r in range(order)]
    found = influence_matrix(scipy.sparse.csr_array(A), order, cumulative)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.toarray(), sum(powers) if cumulative else powers[-1], atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), order if cumulative else 1, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 3, 100])
def test_truncated_powers_keep_the_largest_entries_and_their_sum(count):
    rng = np.random.default_rng(0)
    A = rng.random((20, 20)) * (rng.random((20, 20)) < 0.3)
    found = influence_matrix(scipy.sparse.csr_array(A), 2, cumulative=False, max_per_row=count)
    W = np.maximum(A, A.T) + np.eye(20)
    W /= W.sum(1, keepdims=True)

    def cut(P):
        kept = np.where(np.argsort(np.argsort(-P, axis=1, kind="stable"), axis=1) < count, P, 0)
        return kept / kept.sum(1, keepdims=True)

    np.testing.assert_allclose(found.toarray(), cut(cut(W) @ W), atol=1e-6)
    assert np.diff(found.indptr).max() <= count
    both = influence_matrix(scipy.sparse.csr_array(A), 3, max_per_row=count)
    np.testing.assert_allclose(both.sum(axis=1), 3, rtol=1e-5)


def test_powers_that_fill_up_are_refused_before_they_are_computed(monkeypatch):
    hub = nx.star_graph(400)
    monkeypatch.setattr(influence_module, "spgemm", None)
    with pytest.raises(CostError, match="max_nnz=1e\\+05"):
        influence_matrix(hub, 2, max_nnz=1e5)


@pytest.mark.parametrize("metric", ["heat", "cosine", "dot"])
@pytest.mark.parametrize("sparse", [False, True])
def test_nearest_neighbours_are_those_of_a_dense_sort(metric, sparse):
    rng = np.random.default_rng(1)
    X = rng.random((50, 6))
    if metric != "heat":
        X *= rng.random((50, 6)) < 0.5
        X[7] = 0
    if metric == "heat":
        s = -((X[:, None] - X) ** 2).sum(-1)
    else:
        length = np.linalg.norm(X, axis=1) if metric == "cosine" else np.abs(X).sum(1)
        unit = np.divide(X, length[:, None], out=np.zeros_like(X), where=length[:, None] > 0)
        s = unit @ unit.T
    np.fill_diagonal(s, -np.inf)
    k = 4
    linked = s >= np.sort(s, axis=1)[:, -k][:, None]
    if metric != "heat":
        linked &= s > 0
    found = knn_graph(scipy.sparse.csr_array(X) if sparse else X, k, metric=metric)
    np.testing.assert_array_equal(found.toarray() > 0, linked | linked.T)
    assert set(found.data) == {1.0}
    weighted = knn_graph(X, k, metric=metric, weighted=True)
    h = -s[linked].mean()
    weights = np.exp(s / h) if metric == "heat" else s
    np.testing.assert_allclose(weighted.toarray(), np.where(linked | linked.T, weights, 0), atol=1e-9)
    if metric != "heat":
        assert found[[7]].nnz == 0


def test_bad_input_is_named(planted):
    X, A, _ = planted
    nan, negative = X.astype(float), A.copy()
    nan[0, 0] = np.nan
    negative.data[0] = -1
    for error, word, call in [
        (ArgumentError, "n_clusters=1", lambda: PamCGC(1).fit(X, A)),
        (ArgumentError, "n_clusters=401", lambda: PamCGC(401).fit(X, A)),
        (ArgumentError, "A=None and knn=None", lambda: PamCGC(3).fit(X)),
        (ShapeError, "A has 399 nodes", lambda: PamCGC(3).fit(X, A[:-1, :-1])),
        (ShapeError, "A has shape", lambda: PamCGC(3).fit(X, A[:, :-1])),
        (ArgumentError, "A has 1 weights that are negative", lambda: PamCGC(3).fit(X, negative)),
        (ValueError, "NaN", lambda: PamCGC(3).fit(nan, A)),
        (ArgumentError, "two graphs", lambda: PamCGC(3).fit(X, A, A)),
        (UnsupportedError, "encoder is a str", lambda: PamCGC(3, encoder="mlp").fit(X, A)),
        (ArgumentError, "loss='all'", lambda: PamCGC(3, loss="all").fit(X, A)),
        (ArgumentError, "hidden='huge'", lambda: PamCGC(3, hidden="huge").fit(X, A)),
        (ArgumentError, "hidden=0", lambda: PamCGC(3, hidden=(0,)).fit(X, A)),
        (ArgumentError, "latent", lambda: PamCGC(3, latent=0).fit(X, A)),
        (ArgumentError, "epochs", lambda: PamCGC(3, epochs=-1).fit(X, A)),
        (ArgumentError, "pretrain_epochs", lambda: PamCGC(3, pretrain_epochs=-1).fit(X, A)),
        (ArgumentError, "lr", lambda: PamCGC(3, lr=0).fit(X, A)),
        (ArgumentError, "alpha", lambda: PamCGC(3, alpha=-1).fit(X, A)),
        (ArgumentError, "tau", lambda: PamCGC(3, tau=0).fit(X, A)),
        (ArgumentError, "order", lambda: PamCGC(3, order=0).fit(X, A)),
        (ArgumentError, "weighting", lambda: PamCGC(3, weighting="x").fit(X, A)),
        (ArgumentError, "batch_size=5", lambda: PamCGC(3, batch_size=5, loss="full").fit(X, A)),
        (ArgumentError, "momentum", lambda: PamCGC(3, batch_size=5, momentum=1).fit(X, A)),
        (ArgumentError, "n_samples", lambda: PamCGC(3, loss="sampled", n_samples=0).fit(X, A)),
        (ArgumentError, "knn=0", lambda: PamCGC(3, knn=0).fit(X)),
        (ArgumentError, "metric", lambda: PamCGC(3, knn=3, knn_metric="l1").fit(X)),
        (ArgumentError, "k=400", lambda: knn_graph(X, 400)),
        (ArgumentError, "order=0", lambda: influence_matrix(A, 0)),
        (ArgumentError, "max_per_row=0", lambda: influence_matrix(A, max_per_row=0)),
        (NotFittedError, "PamCGC", lambda: PamCGC(3).predict(X)),
    ]:
        with pytest.raises(error, match=word):
            call()
