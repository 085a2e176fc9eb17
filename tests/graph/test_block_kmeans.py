"""K-means on blocks against scikit-learn's on replicated points, with missing values against loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.graph import block_kmeans


def problem(n, M, q, seed, missing=0.0):
    rng = np.random.default_rng(seed)
    values = 4
    index = n + values * np.arange(M) + rng.integers(0, values, (n, M))
    index[rng.random((n, M)) < missing] = -1
    points = rng.standard_normal((n + values * M, q))
    return points, index.astype(np.int64)


def replicated(points, index):
    return np.concatenate([points[: len(index)], *(points[column] for column in index.T)], axis=1)


@settings(deadline=None, max_examples=40)
@given(st.integers(8, 60), st.integers(0, 3), st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_without_missing_values_it_is_k_means_on_replicated_points(n, M, q, K, seed):
    points, index = problem(n, M, q, seed)
    X = replicated(points, index)
    start = np.random.default_rng(seed).choice(n, K, replace=False)
    found = block_kmeans(points, K, index if M else None, init=start, max_iter=300) if M else None
    found = found or block_kmeans(points[:n], K, init=start, max_iter=300)
    peer = KMeans(K, init=X[start], n_init=1, max_iter=300, tol=0, algorithm="lloyd").fit(X)
    np.testing.assert_array_equal(found.labels, peer.labels_)
    np.testing.assert_allclose(found.inertia, peer.inertia_, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.centres.reshape(K, -1), peer.cluster_centers_, atol=1e-9)


def test_distances_add_up_dimension_by_dimension_and_missing_values_add_nothing():
    points, index = problem(30, 3, 4, 0, missing=0.3)
    found = block_kmeans(points, 3, index, init=[0, 1, 2], max_iter=50)
    for v in range(30):
        distance = []
        for centre in found.centres:
            differences = [points[v] - centre[0]]
            differences += [
                np.zeros(4) if row < 0 else points[row] - centre[b] for b, row in enumerate(index[v], 1)
            ]
            vector = np.linalg.norm(differences, axis=0)  # one norm a dimension
            distance.append(np.linalg.norm(vector))
        assert np.argmin(distance) == found.labels[v]
    for c in range(3):
        members = index[found.labels == c]
        np.testing.assert_allclose(found.centres[c, 0], points[:30][found.labels == c].mean(axis=0))
        for b in range(3):
            rows = members[:, b][members[:, b] >= 0]
            np.testing.assert_allclose(found.centres[c, b + 1], points[rows].mean(axis=0))


def test_no_cluster_is_empty():
    points = np.zeros((10, 2))
    points[9] = 5
    found = block_kmeans(points, 3, init=[0, 1, 2])
    assert sorted(np.bincount(found.labels)) == [1, 1, 8]
    assert found.labels[9] != found.labels[0]
    assert len(np.unique(block_kmeans(points, 10, random_state=0).labels)) == 10


def test_the_best_restart_counts_by_inertia_or_by_a_score():
    points, index = problem(60, 1, 2, 1)
    starts = np.random.default_rng(0).integers(0, 60, (20, 4))
    runs = [block_kmeans(points, 4, index, init=start) for start in starts]
    best = block_kmeans(points, 4, index, init=starts)
    assert best.inertia == min(run.inertia for run in runs)

    def first_ten(labels):
        return float((labels[:10] == labels[0]).sum())

    chosen = block_kmeans(points, 4, index, init=starts, score=first_ten)
    assert chosen.score == max(first_ten(run.labels) for run in runs) == first_ten(chosen.labels)


@pytest.mark.parametrize("batch_size", [None, 64])
def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads(batch_size):
    points, index = problem(500, 2, 3, 2)
    runs = [
        block_kmeans(points, 5, index, restarts=7, batch_size=batch_size, random_state=3, threads=threads)
        for threads in (1, 2, 7)
    ]
    for other in runs[1:]:
        np.testing.assert_array_equal(other.labels, runs[0].labels)
        assert other.centres.tobytes() == runs[0].centres.tobytes()


def test_mini_batches_come_close_to_all_nodes():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 4000)
    points = np.concatenate([8 * np.eye(4)[truth] + rng.standard_normal((4000, 4)), 8 * np.eye(4)])
    index = (4000 + truth)[:, None]
    whole = block_kmeans(points, 4, index, restarts=10, random_state=0)
    batches = block_kmeans(points, 4, index, restarts=10, batch_size=200, max_iter=20, random_state=0)
    assert batches.inertia <= 1.05 * whole.inertia


def test_bad_input_is_named():
    points, index = problem(20, 1, 2, 0)
    with pytest.raises(ShapeError, match="value_index is float64"):
        block_kmeans(points, 2, index.astype(float))
    with pytest.raises(ShapeError, match=r"value_index is int64 of shape \(20,\)"):
        block_kmeans(points, 2, index[:, 0])
    with pytest.raises(ArgumentError, match=r"value_index spans -2"):
        block_kmeans(points, 2, index - index.min() - 2)
    with pytest.raises(ArgumentError, match="n_clusters=21"):
        block_kmeans(points, 21, index)
    with pytest.raises(ShapeError, match="init is"):
        block_kmeans(points, 2, index, init=[0, 1, 2])
    with pytest.raises(ArgumentError, match=r"init spans 0\.\.20: expected 0\.\.19"):
        block_kmeans(points, 2, index, init=[0, 20])
    for wrong in ({"restarts": 0}, {"max_iter": 0}, {"batch_size": 0}):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            block_kmeans(points, 2, index, **wrong)
    points[3, 1] = np.nan
    with pytest.raises(ArgumentError, match="points"):
        block_kmeans(points, 2, index)
