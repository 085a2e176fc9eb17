"""Codes stand for the nearest centroids, err as faiss does, and meet exact queries by table."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.retrieve import ProductQuantizer

faiss = pytest.importorskip("faiss")
X = np.random.default_rng(0).standard_normal((600, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    return ProductQuantizer(32, 8).fit(X)


def test_codes_are_those_of_the_nearest_centroids(fitted):
    codes = fitted.encode(X)
    assert codes.shape == (600, 4)
    assert codes.dtype == np.uint8
    blocks = X.reshape(600, 4, 1, 8)
    nearest = ((blocks - fitted.centroids) ** 2).sum(-1).argmin(-1)
    assert (codes == nearest).mean() > 0.999
    np.testing.assert_array_equal(
        fitted.decode(codes).reshape(600, 4, 8)[:, 2], fitted.centroids[2, codes[:, 2]]
    )


def test_the_error_is_that_of_faiss(fitted):
    peer = faiss.IndexPQ(32, 4, 8)
    peer.train(X)
    peer.add(X)
    ours = ((fitted.decode(fitted.encode(X)) - X) ** 2).mean()
    assert ours <= 1.05 * ((peer.reconstruct_n(0, 600) - X) ** 2).mean()


def test_inner_products_are_those_of_decoded_vectors(fitted):
    codes, queries = fitted.encode(X[:50]), X[100:107]
    np.testing.assert_allclose(
        fitted.inner_products(queries, codes), queries @ fitted.decode(codes).T, atol=1e-4
    )


def test_what_does_not_fit_is_refused(fitted):
    for error, match, call in [
        (ArgumentError, "block=5", lambda: ProductQuantizer(32, 5)),
        (ArgumentError, "expected at least 256", lambda: ProductQuantizer(32).fit(X[:100])),
        (ArgumentError, "call fit first", lambda: ProductQuantizer(32).encode(X)),
        (ShapeError, "expected \\(n, 32\\)", lambda: fitted.encode(X[:, :8])),
        (ShapeError, "expected uint8", lambda: fitted.decode(np.zeros((2, 4)))),
        (ArgumentError, "NaN", lambda: fitted.encode(np.full((1, 32), np.nan))),
    ]:
        with pytest.raises(error, match=match):
            call()
