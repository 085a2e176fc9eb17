"""Recommenders: the networks against plain formulas, sparse against dense, lists, files, metrics and bad input."""

import copy

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import scipy.sparse
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import (
    check_do_not_raise_errors_in_init_or_set_params,
    check_estimator_cloneable,
    check_estimator_repr,
    check_estimator_tags_renamed,
    check_get_params_invariance,
    check_mixin_order,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
    check_valid_tag_types,
)

from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.learn import (
    LightGCNRecommender,
    MFRecommender,
    MultVAERecommender,
    NeuMFRecommender,
    rank_metrics,
    sampled_rank_metrics,
)
from gossamer.learn.recommend.bayesian_ranking import VectorPairs, bpr_loss
from gossamer.learn.recommend.interactions import Seen, as_interactions
from gossamer.learn.recommend.lightgcn import AveragedPairs, propagation_matrix
from gossamer.learn.recommend.neumf import PairNetwork
from gossamer.learn.recommend.top_items import top_items
from gossamer.retrieve import ndcg, recall

SMALL = [
    MFRecommender(dim=8, epochs=3, batch_size=100, random_state=0),
    LightGCNRecommender(dim=8, epochs=3, batch_size=100, random_state=0),
    MultVAERecommender(dim=4, hidden=10, epochs=3, batch_size=16, random_state=0),
    NeuMFRecommender(dim=6, layers=(8, 6, 4), epochs=3, batch_size=100, random_state=0),
]
NAMES = [type(model).__name__ for model in SMALL]


def interactions(n_users=60, n_items=40, density=0.15, seed=0):
    R = scipy.sparse.random_array(
        (n_users, n_items), density=density, rng=np.random.default_rng(seed)
    ).tocsr()
    R.data[:] = 1
    return R


def planted(n_users=500, n_items=300, rank=4, seed=0):
    """A matrix of low rank whose largest entries a row are interactions; a fifth of them is held back."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n_users, rank)) @ rng.normal(size=(rank, n_items)) + 0.3 * rng.normal(
        size=(n_users, n_items)
    )
    chosen = np.argsort(-scores, axis=1)[:, :30]
    rows = np.repeat(np.arange(n_users), 30)
    held = rng.random(len(rows)) < 0.2
    shape, flat = (n_users, n_items), chosen.reshape(-1)
    parts = [
        scipy.sparse.csr_array((np.ones(m.sum()), (rows[m], flat[m])), shape=shape) for m in (~held, held)
    ]
    return parts


@pytest.mark.parametrize("model", SMALL, ids=NAMES)
@pytest.mark.parametrize("check", [check_no_attributes_set_in_init, check_parameters_default_constructible,
                                   check_get_params_invariance, check_set_params, check_mixin_order,
                                   check_do_not_raise_errors_in_init_or_set_params, check_valid_tag_types,
                                   check_estimator_cloneable, check_estimator_repr, check_estimator_tags_renamed],
                         ids=lambda check: check.__name__)  # fmt: skip
def test_the_checks_of_scikit_learn_that_draw_no_samples_pass(model, check):
    """All others fit dense samples drawn at random, whose rows are no users' choices."""
    check(
        type(model).__name__,
        type(model)() if check is check_parameters_default_constructible else clone(model),
    )


@pytest.mark.parametrize("density", [None, 0.4])
@pytest.mark.parametrize("model", SMALL, ids=NAMES)
def test_scores_and_lists_are_those_of_the_network(model, density, monkeypatch):
    """What is stored after the training gives the scores of the network that was trained."""
    R, held = interactions(), {}
    model = clone(model).set_params(density=density)
    network_of = model._network

    def watched(seen, generator):
        held["network"] = network_of(seen, generator)
        return held["network"]

    monkeypatch.setattr(model, "_network", watched)
    model.fit(R)
    with torch.no_grad():
        expected = by_network(held["network"], R).numpy()
    np.testing.assert_allclose(model.score(np.arange(60)), expected, atol=2e-5)
    items, scores = model.recommend([3, 7, 3], k=10)
    assert (items.dtype, scores.dtype, items.shape) == (np.int64, np.float32, (3, 10))
    hidden = np.where(R.toarray() > 0, -np.inf, model.score(np.arange(60)))
    np.testing.assert_array_equal(items, np.argsort(-hidden, axis=1, kind="stable")[[3, 7, 3], :10])
    np.testing.assert_array_equal(scores, np.take_along_axis(hidden[[3, 7, 3]], items, 1).astype(np.float32))
    everything, _ = model.recommend([3], k=40, exclude_seen=False)
    assert sorted(everything[0]) == list(range(40))
    padded, low = model.recommend([3], k=40)
    left = 40 - R[[3]].nnz
    assert (padded[0, left:] == -1).all()
    assert np.isneginf(low[0, left:]).all()
    assert sorted(padded[0, :left]) == np.flatnonzero(R[[3]].toarray()[0] == 0).tolist()


def by_network(network, R):
    if isinstance(network, VectorPairs):
        u, v = network()
        return u @ v.T
    if isinstance(network, PairNetwork):
        n, m = R.shape
        users, items = torch.arange(n).repeat_interleave(m), torch.arange(m).repeat(n)
        return network(users, items).reshape(n, m)
    x = torch.nn.functional.normalize(torch.from_numpy(R.toarray().astype(np.float32)))
    code = network.code(torch.tanh(network.encoder(x))).chunk(2, dim=1)[0]
    return network.output(torch.tanh(network.decoder(code)))


@pytest.mark.parametrize("model", SMALL, ids=NAMES)
def test_the_budget_is_stored_and_the_file_gives_the_same_lists(model, tmp_path):
    R = interactions()
    model = clone(model).set_params(density=0.3, masker_options={"delta_t": 2}).fit(R)
    matrices = model.sparse_tables_
    sizes = sum(t.shape[0] * t.shape[1] for t in matrices.values())
    live = sum(t.nnz for t in matrices.values())
    assert abs(live - 0.3 * sizes) <= len(matrices)  # users and items are rounded apart
    assert model.n_live_ >= live
    assert 0.3 < model.explored_fraction_ < 1
    assert len(model.explorations_) > 1
    cost = model.cost()
    assert cost["live"] == model.n_live_
    dense = clone(model).set_params(density=None, masker_options=None).fit(R)
    rows = sum(t.shape[0] + 1 for t in matrices.values())
    assert cost["bytes"] == model.nbytes_ == 6 * live + 8 * rows + 4 * (model.n_live_ - live)
    assert dense.nbytes_ == 4 * dense.n_live_ == 4 * (sizes + model.n_live_ - live)
    assert cost["training_flops"] < dense.cost()["training_flops"]
    assert cost["inference_flops"] < dense.cost()["inference_flops"]
    for fitted in (model, dense):
        fitted.save(tmp_path / "model.safetensors")
        again = type(model).load(tmp_path / "model.safetensors")
        for ours, theirs in zip(fitted.recommend(np.arange(60), k=15), again.recommend(np.arange(60), k=15)):
            np.testing.assert_array_equal(ours, theirs)
        assert again.get_params() == fitted.get_params()
    path = tmp_path / "other.safetensors"
    with safetensors.safe_open(tmp_path / "model.safetensors", "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = file.metadata()["gossamer"]
    for changed in (about.replace('"n_items": 40', '"n_items": 41'), about.replace('"dim"', '"dims"'), "{}"):
        safetensors.numpy.save_file(tensors, path, {"gossamer": changed})
        with pytest.raises(FormatError, match="not a"):
            type(model).load(path)
    other = SMALL[0] if not isinstance(model, MFRecommender) else SMALL[1]
    with pytest.raises(FormatError, match="expected a"):
        type(other).load(tmp_path / "model.safetensors")


@pytest.mark.parametrize("model", SMALL, ids=NAMES)
def test_a_seed_gives_the_same_model_and_density_one_the_dense_one(model):
    R = interactions()
    first, second = (clone(model).fit(R).score([0, 5]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    full = clone(model).set_params(density=1.0).fit(R).score([0, 5])
    np.testing.assert_allclose(full, first, atol=1e-6)
    assert not np.allclose(first, clone(model).set_params(random_state=1).fit(R).score([0, 5]))


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_best_items_are_those_of_a_stable_sort(order):
    rng = np.random.default_rng(0)
    scores = rng.integers(-6, 9, (40, 30)).astype(np.float32)  # ties; some rows have few positive scores
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    scores[3] = -1
    scores[4] = -np.inf
    items, values = top_items(np.asarray(scores, order=order), 7)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :7]
    found = np.take_along_axis(scores, expected, 1)
    np.testing.assert_array_equal(values, found)
    np.testing.assert_array_equal(items, np.where(np.isneginf(found), -1, expected))
    assert top_items(scores[:0], 7)[0].shape == (0, 7)


def test_propagation_is_the_mean_of_matrix_powers():
    seen = as_interactions(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]]))
    A = np.block([[np.zeros((4, 4)), seen.toarray()], [seen.toarray().T, np.zeros((3, 3))]])
    degree = A.sum(axis=1)
    scale = np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1)), 0)
    P = scale[:, None] * A * scale
    np.testing.assert_allclose(propagation_matrix(seen).toarray(), P, atol=1e-7)
    network = AveragedPairs(seen, 5, 3, torch.Generator().manual_seed(0))
    E = torch.cat([network.users, network.items]).detach().numpy()
    mean = sum(np.linalg.matrix_power(P, layer) for layer in range(4)) / 4
    np.testing.assert_allclose(torch.cat(network()).detach().numpy(), mean @ E, atol=1e-6)
    assert np.array_equal(network()[0][2].detach(), E[2] / 4)  # a user without edges


@pytest.mark.parametrize("kind", ["mf", "lightgcn"])
def test_the_gradient_of_the_loss_is_that_of_finite_differences(kind):
    seen = as_interactions(interactions(9, 7, 0.3))
    generator = torch.Generator().manual_seed(1)
    network = VectorPairs(9, 7, 3, generator) if kind == "mf" else AveragedPairs(seen, 3, 2, generator)
    network = copy.deepcopy(network).double()
    triples = tuple(torch.tensor(part) for part in ([0, 3, 3], [1, 2, 6], [4, 4, 0]))

    def total(users, items):
        with torch.no_grad():
            network.users.copy_(users)
            network.items.copy_(items)
        return bpr_loss(network, triples, 0.3)

    users, items = network.users.detach().clone(), network.items.detach().clone()
    total(users, items).backward()
    for name, table in (("users", users), ("items", items)):
        gradient = getattr(network, name).grad
        for i, j in ((0, 0), (3, 2), (4, 1), (6, 0)):
            step = torch.zeros_like(table)
            step[i, j] = 1e-5
            up, down = ({"users": users, "items": items} | {name: table + s * step} for s in (1, -1))
            slope = float(total(**up).detach() - total(**down).detach()) / 2e-5
            assert slope == pytest.approx(float(gradient[i, j]), abs=1e-8)


def test_moving_weights_beat_fixed_ones_on_planted_data():
    """Rank 4 in 32 dimensions at a density of a quarter: the mean of five seeds."""
    found = {"dsl": [], "static": []}
    for seed in range(5):
        train, truth = planted(seed=seed)
        for name, options in (("dsl", {}), ("static", {"stop_fraction": 0})):
            model = MFRecommender(dim=32, density=0.25, epochs=12, batch_size=1024, lr=4e-2, random_state=seed,
                                  masker_options=options).fit(train)  # fmt: skip
            items, _ = model.recommend(np.arange(500), k=20)
            found[name].append(rank_metrics(items, truth, ks=[20])["recall@20"])
    assert np.mean(found["dsl"]) >= np.mean(found["static"]) + 0.02, found


def test_metrics_are_those_of_a_loop_and_of_the_retrieval_room():
    rng = np.random.default_rng(0)
    truth = scipy.sparse.random_array((50, 80), density=0.06, rng=rng).tolil()
    ranked = np.array([rng.permutation(80)[:20] for _ in range(50)])
    ranked[4, 12:] = -1
    truth[[7]] = 0
    found = rank_metrics(ranked, truth, ks=(5, 20))
    wanted = [set(row.nonzero()[0]) for row in truth.toarray()]
    users = [u for u in range(50) if wanted[u]]
    for k in (5, 20):
        sums = dict.fromkeys(("recall", "ndcg", "precision", "hit"), 0.0)
        for u in users:
            hits = [int(item in wanted[u]) for item in ranked[u, :k]]
            ideal = sum(1 / np.log2(r + 2) for r in range(min(k, len(wanted[u]))))
            sums["recall"] += sum(hits) / len(wanted[u])
            sums["ndcg"] += sum(h / np.log2(r + 2) for r, h in enumerate(hits)) / ideal
            sums["precision"] += sum(hits) / k
            sums["hit"] += any(hits)
        for name, total in sums.items():
            assert found[f"{name}@{k}"] == pytest.approx(total / len(users), abs=1e-12)
        relevant = [wanted[u] for u in users]
        assert found[f"ndcg@{k}"] == pytest.approx(ndcg(ranked[users], relevant, k), abs=1e-12)
        assert found[f"recall@{k}"] == pytest.approx(recall(ranked[users], relevant, k), abs=1e-12)
    assert found["users"] == len(users) < 50


def test_negatives_are_reproducible_even_and_never_had():
    seen = as_interactions(interactions(20, 12, 0.4))
    users = np.repeat(np.arange(20), 500)
    draws = [Seen(seen).draw_others(users, np.random.default_rng(s)) for s in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
    dense = seen.toarray()
    assert not dense[users, draws[0]].any()
    for user in range(20):
        counts = np.bincount(draws[0][users == user], minlength=12)[dense[user] == 0]
        expected = 500 / len(counts)
        assert (abs(counts - expected) < 6 * np.sqrt(expected)).all()
    nearly = as_interactions(np.ones((1, 400)) - np.eye(1, 400, 7))
    assert Seen(nearly).draw_others(np.zeros(3, int), np.random.default_rng(0)).tolist() == [7, 7, 7]
    with pytest.raises(ArgumentError, match="every item"):
        Seen(as_interactions(np.ones((1, 3)))).draw_others(np.zeros(1, int), np.random.default_rng(0))


def test_the_sampled_protocol_is_kind_to_a_good_model_and_fair_to_a_random_one():
    train, truth = planted(200, 300)

    class Knowing:
        seen_ = as_interactions(train)

        def score(self, users):
            return truth.toarray()[users] + 0.0

    found = sampled_rank_metrics(Knowing(), truth, random_state=0)
    assert found == {"hit@10": 1.0, "ndcg@10": 1.0}
    model = MFRecommender(dim=4, epochs=1, lr=1e-9, lr_final=0, random_state=0).fit(train)
    assert sampled_rank_metrics(model, truth, random_state=0)["hit@10"] < 0.25


def test_users_without_items_are_kept_with_zero_vectors():
    R = interactions().toarray()
    R[[5, 9]] = 0
    for model in SMALL[:2]:
        with pytest.warns(UserWarning, match="2 of 60 users have no items, the first is 5"):
            fitted = clone(model).set_params(density=0.5).fit(R)
        assert not fitted.sparse_table_.rows(0, 60)[[5, 9]].any()
        assert not fitted.score([5, 9]).any()
    with pytest.warns(UserWarning, match="no items"):
        fitted = clone(SMALL[3]).fit(scipy.sparse.csr_array(R))
    assert not fitted._stored.rows("gmf_users", np.array([5, 9])).any()
    R[1] = 1  # a user who has everything teaches nothing, and gets nothing
    with pytest.warns(UserWarning, match="no items"):
        fitted = clone(SMALL[0]).fit(R)
    assert (fitted.recommend([1], k=3)[0] == -1).all()


@pytest.mark.parametrize("model", SMALL, ids=NAMES)
def test_bad_input_is_refused(model, tmp_path):
    R, model = interactions(), clone(model)
    bad = R.copy()
    bad.data[3] = np.nan
    with pytest.raises(ArgumentError, match="NaN"):
        model.fit(bad)
    bad.data[3] = -1
    with pytest.raises(ArgumentError, match="negative"):
        model.fit(bad)
    with pytest.raises(ArgumentError, match="R has"), pytest.warns(UserWarning, match="no items"):
        model.fit(np.zeros((3, 4)))
    with pytest.raises(ShapeError, match="R has shape"):
        model.fit(np.ones(4))
    for params, words in (({"density": 0}, "density=0"), ({"density": 1.5}, "density"), ({"epochs": 0}, "epochs"),
                          ({"lr": -1}, "lr"), ({"batch_size": 0}, "batch_size"), ({"dim": 0}, "dim"),
                          ({"density": 1e-5}, "live weight"), ({"random_state": -1}, "random_state"),
                          ({"density": 0.5, "masker_options": {"delta_t": 0}}, "delta_t")):  # fmt: skip
        with pytest.raises(ArgumentError, match=words):
            clone(model).set_params(**params).fit(R)
    model.fit(R)
    with pytest.raises(ArgumentError, match="k=41"):
        model.recommend([0], k=41)
    with pytest.raises(ArgumentError, match="user_ids"):
        model.recommend([60])
    with pytest.raises(ShapeError, match="integers"):
        model.score([0.5])
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(FormatError):
        type(model).load(tmp_path / "bad.safetensors")


def test_bad_lists_are_refused():
    truth = np.eye(3)
    for ranked, words in (([[0, 1]], "rows"), ([[0.5], [1], [2]], "integers"), ([[3], [0], [1]], "items 0 to 2"),
                          ([[1, 1], [0, 1], [2, 1]], "twice")):  # fmt: skip
        with pytest.raises(ArgumentError, match=words):
            rank_metrics(ranked, truth, ks=[1])
    with pytest.raises(ArgumentError, match="ks=3"):
        rank_metrics([[0], [1], [2]], truth, ks=[3])
    with pytest.raises(ArgumentError, match="no true item"):
        rank_metrics([[0], [1], [2]], np.zeros((3, 3)), ks=[1])
    with pytest.raises(ShapeError, match="truth"):
        sampled_rank_metrics(clone(SMALL[0]).fit(interactions()), truth)
    with pytest.raises(AttributeError, match="dense"):
        _ = clone(SMALL[0]).fit(interactions()).sparse_table_
    with pytest.raises(ArgumentError, match="layers"):
        NeuMFRecommender(layers=(7, 3)).fit(interactions())
