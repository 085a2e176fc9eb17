"""Views spread over a cluster by their features are fitted as on one machine."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.distributed import fit_views
from gossamer.learn import MultiviewCCA, StochasticCCA, StochasticPLS, pvc

da = pytest.importorskip("dask.array", reason="needs dask: pip install 'gossamer[distributed]'")


def views(n=300, p=40, q=6, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, 2)) * [3, 2]
    X = common @ rng.standard_normal((2, p)) + rng.standard_normal((n, p))
    return X, common @ rng.standard_normal((2, q)) + rng.standard_normal((n, q)) + 1


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (StochasticPLS, {}),
        (StochasticCCA, {"ridge": 0.2, "paired": True}),
        (StochasticCCA, {"ridge": 0.1, "average": True, "optimizer": "sgd", "tol": 1e-9}),
        (MultiviewCCA, {"ridge": 0.5, "shift": True}),
    ],
)
def test_it_is_the_serial_fit(client, kind, options):
    X, Y = views()
    options = {"batch_size": 30, "max_epochs": 3, "random_state": 0, **options}
    serial = kind(2, **options)
    serial = serial.fit([X, Y]) if kind is MultiviewCCA else serial.fit(X, Y)
    # rows are split as well, and joined again; the second view stays here
    spread = fit_views(kind(2, **options), [da.from_array(X, chunks=(200, 17)), Y], client=client)
    for ours, theirs in zip(spread._weights, serial._weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(spread.correlations_, serial.correlations_, atol=1e-9)
    np.testing.assert_allclose(spread.means_[0], X.mean(axis=0), atol=1e-12)
    both = [X, Y]
    if kind is MultiviewCCA:
        np.testing.assert_allclose(spread.transform(both)[0], serial.transform(both)[0], atol=1e-8)
        spread.partial_fit(both)
    else:
        np.testing.assert_allclose(spread.transform(X), serial.transform(X), atol=1e-8)
        spread.partial_fit(X, Y)
    assert spread.n_steps_ == serial.n_steps_ + 1


def test_workers_open_their_own_columns(client, tmp_path):
    """More bytes of features than any array here: each chunk is a file that one worker maps."""
    rng = np.random.default_rng(1)
    n, width, chunks = 200, 5000, 4
    common = rng.standard_normal((n, 2))
    Y = common @ rng.standard_normal((2, 4)) + 0.5 * rng.standard_normal((n, 4))
    parts = []
    for c in range(chunks):
        block = np.round(2 * common @ rng.standard_normal((2, width)) + rng.standard_normal((n, width)))
        file = np.memmap(tmp_path / str(c), dtype=np.int8, mode="w+", shape=(n, width))
        file[:] = np.clip(block, -100, 100)
        file.flush()
        parts.append(str(tmp_path / str(c)))

    def load(path, n=n, width=width):
        return np.memmap(path, dtype=np.int8, mode="r", shape=(n, width))

    import dask

    X = da.concatenate(
        [da.from_delayed(dask.delayed(load)(path), (n, width), np.int8) for path in parts], axis=1
    )
    estimator = StochasticPLS(2, batch_size=50, max_epochs=15, learning_rate=0.1, random_state=0)
    model = fit_views(estimator, [X, Y], client=client, together=10)
    whole = np.hstack([load(path) for path in parts]).astype(np.float64)
    cross = np.linalg.svd(Y.T @ (whole - whole.mean(0)) / (n - 1), compute_uv=False)
    assert model.x_weights_.shape == (chunks * width, 2)
    assert pvc(model.x_weights_, model.y_weights_, whole, Y, cross) > 0.95


def test_bad_input_is_named(client):
    X, Y = views(n=20)
    with pytest.raises(UnsupportedError, match="estimator"):
        fit_views(object(), [X, Y], client=client)
    with pytest.raises(ShapeError, match="same rows"):
        fit_views(StochasticPLS(1), [da.from_array(X), Y[:-1]], client=client)
    with pytest.raises(ShapeError, match=r"Xs\[1\]"):
        fit_views(StochasticPLS(1), [X, Y[:, 0]], client=client)
    with pytest.raises(ArgumentError, match="real numbers"):
        fit_views(StochasticPLS(1), [X, Y.astype(complex)], client=client)
    with pytest.raises(ArgumentError, match="n_components"):
        fit_views(StochasticPLS(7), [da.from_array(X), Y], client=client)
    unknown = da.from_array(X)
    with pytest.raises(ShapeError, match="unknown"):
        fit_views(StochasticPLS(1), [unknown[unknown[:, 0] > 0], Y], client=client)
