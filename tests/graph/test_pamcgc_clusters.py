"""Clusters of block contrastive clustering are not left behind by the codes, and do not stay empty."""

import copy

import numpy as np
import pytest
import torch

from gossamer.graph import PamCGC, cluster_metrics, influence_matrix, knn_graph
from gossamer.graph.contrast.autoencoder import as_input
from gossamer.graph.contrast.revival import revive
from gossamer.graph.contrast.soft_clusters import soft_assignment
from gossamer.nn import pamc_loss

SIZES = (90, 60, 40, 30, 20)
Y = np.repeat(np.arange(5), SIZES)
SETTINGS = {"knn": 5, "order": 2, "hidden": (32,), "n_init": 5, "epochs": 40, "random_state": 0}
PUBLISHED = {"centred": False, "revive": False}
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return (rng.random((5, 30))[Y] + 0.15 * rng.standard_normal((240, 30))).astype(np.float32)


@pytest.fixture(scope="module")
def start(X):
    return PamCGC(5, pretrain_epochs=100, **{**SETTINGS, "epochs": 0}).fit(X)


def fit(X, encoder, **settings):
    return PamCGC(5, encoder=encoder, **{**SETTINGS, **settings}).fit(X)


def used(model):
    return len(np.unique(model.labels_))


@pytest.fixture(scope="module")
def published(X, start):
    return fit(X, start.encoder_, **PUBLISHED)


@pytest.fixture(scope="module")
def drifting(X, start):
    """The codes drift from the centres, but clusters are started again."""
    return fit(X, start.encoder_, centred=False)


def test_codes_around_the_origin_keep_clusters_that_others_lose(X, start, published):
    begun = cluster_metrics(Y, start.labels_)["nmi"]
    assert begun > 0.9
    assert used(published) < 5
    assert cluster_metrics(Y, published.labels_)["nmi"] < begun - 0.1
    centred = fit(X, start.encoder_, revive=False)
    assert used(centred) == 5
    assert cluster_metrics(Y, centred.labels_)["nmi"] > 0.9


def test_it_is_a_common_shift_of_all_codes_that_leaves_centres_behind(X, start):
    before, few = (fit(X, start.encoder_, epochs=epochs, **PUBLISHED) for epochs in (0, 5))
    moved = few.embedding_ - before.embedding_
    common, drift = moved.mean(axis=0), few.cluster_centers_ - before.cluster_centers_
    assert np.linalg.norm(common) > 0.8 * np.linalg.norm(moved, axis=1).mean()
    assert np.linalg.norm(common) > 5 * np.linalg.norm(drift, axis=1).max()


def test_where_an_encoder_puts_all_codes_has_no_effect(X, start):
    elsewhere = copy.deepcopy(start.encoder_)
    with torch.no_grad():
        elsewhere.layers[-1].bias += 2
    one, other = (fit(X, encoder, epochs=5) for encoder in (start.encoder_, elsewhere))
    np.testing.assert_allclose(other.embedding_, one.embedding_, atol=5e-3)
    assert np.mean(one.labels_ == other.labels_) > 0.98


@pytest.mark.parametrize("own", [False, True], ids=["pretrained", "given"])
def test_centring_moves_codes_and_centres_alike(X, start, own):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(30, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    encoder = net if own else start.encoder_
    before = fit(X, encoder, epochs=0)
    still = fit(X, encoder, epochs=1, lr=1e-12)
    np.testing.assert_allclose(
        still.embedding_, before.embedding_ - before.embedding_.mean(axis=0), atol=1e-4
    )
    np.testing.assert_allclose(still.q_, before.q_, atol=1e-4)
    np.testing.assert_array_equal(still.predict(X), before.labels_)


def test_without_what_is_ours_it_is_the_published_loop(X, start):
    epochs = 4
    found = fit(X, start.encoder_, epochs=epochs, **PUBLISHED)
    encoder = copy.deepcopy(start.encoder_)
    centres = torch.nn.Parameter(torch.from_numpy(fit(X, start.encoder_, epochs=0).cluster_centers_.copy()))
    optimizer = torch.optim.Adam([*encoder.parameters(), centres], lr=1e-3)
    gamma = influence_matrix(knn_graph(X, 5), 2)
    for _ in range(epochs):
        z = encoder(as_input(X))
        q = 1 / (1 + torch.cdist(z, centres).square())
        q = q / q.sum(dim=1, keepdim=True)
        p = q.detach().square() / q.detach().sum(dim=0)
        p = p / p.sum(dim=1, keepdim=True)
        loss = 2 * pamc_loss(z, gamma, q.detach()) + 2 * (p * (p / q).log()).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        np.testing.assert_allclose(found.embedding_, encoder(as_input(X)), atol=5e-3)
    np.testing.assert_allclose(found.cluster_centers_, centres.detach(), atol=2e-3)


def test_clusters_that_empty_are_started_again(published, drifting):
    assert sum(published.history_["revived"]) == 0
    assert sum(drifting.history_["revived"]) > 0
    assert drifting.history_["revived"][0] == 0
    assert used(drifting) > used(published)
    better, worse = (cluster_metrics(Y, model.labels_)["nmi"] for model in (drifting, published))
    assert better > worse + 0.05


def test_in_mini_batches_they_are_too(X, start):
    lost, revived = (
        fit(X, start.encoder_, batch_size=80, epochs=30, centred=False, revive=on) for on in (False, True)
    )
    assert used(lost) < 5
    assert sum(revived.history_["revived"]) > 0
    assert used(revived) > used(lost)
    kept = fit(X, start.encoder_, batch_size=80, epochs=10)
    assert cluster_metrics(Y, kept.labels_)["nmi"] > 0.9


def test_where_no_cluster_empties_nothing_changes(X, start):
    one, other = (fit(X, start.encoder_, epochs=10, revive=on) for on in (True, False))
    assert one.history_["revived"] == [0] * 10
    assert np.array_equal(one.embedding_, other.embedding_)
    assert np.array_equal(one.cluster_centers_, other.cluster_centers_)


def test_the_same_seed_starts_the_same_clusters_again(X, start, drifting):
    again = fit(X, start.encoder_, centred=False)
    assert again.history_["revived"] == drifting.history_["revived"]
    assert np.array_equal(again.embedding_, drifting.embedding_)


def test_an_empty_cluster_takes_half_of_the_most_dispersed_one():
    rng = np.random.default_rng(0)
    true = np.array([[0.0, 0.0], [30.0, 0.0], [34.0, 0.0], [0.0, 30.0], [0.0, 33.0]])
    z = torch.from_numpy(np.repeat(true, 20, axis=0) + 0.1 * rng.standard_normal((100, 2)))
    centres = torch.tensor([[900.0, 0.0], [32.0, 0.0], [0.0, 0.0], [0.0, 31.5], [0.0, 900.0]]).double()
    assert sorted(revive(z, centres, rng)) == [0, 1, 3, 4]
    means = z.reshape(5, 20, 2).mean(dim=1)
    found = centres[torch.cdist(means, centres).argmin(dim=1)]
    np.testing.assert_allclose(found[[1, 2, 3, 4]], means[[1, 2, 3, 4]], atol=1e-9)
    assert centres[2].tolist() == [0.0, 0.0]
    q = soft_assignment(z, centres)
    assert torch.bincount(q.argmax(dim=1), minlength=5).tolist() == [20] * 5


def test_there_is_nothing_to_split_among_codes_that_are_the_same():
    z = torch.eye(3).repeat_interleave(5, dim=0)
    centres = torch.cat([torch.eye(3), 9 * torch.ones(2, 3)])
    before, rng = centres.clone(), np.random.default_rng(0)
    assert revive(z, centres, rng) == []
    assert torch.equal(centres, before)
    assert rng.integers(2**31) == np.random.default_rng(0).integers(2**31)
    assert revive(z[:2], centres, rng) == []
    X = np.repeat(np.eye(2), 10, axis=0)
    model = PamCGC(4, knn=2, hidden=(8,), epochs=3, pretrain_epochs=2, random_state=0).fit(X)
    assert model.history_["revived"] == [0] * 3
    assert len(np.unique(model.labels_)) == 2  # as many as there are points
    assert (model.labels_.reshape(2, 10) == model.labels_[[0, 10], None]).all()
