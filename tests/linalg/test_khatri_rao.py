"""Khatri-Rao products: against SciPy, nearest for two factors, never worse in a metric."""

import tracemalloc

import numpy as np
import pytest
import scipy.linalg
import torch

from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.linalg import KhatriRao, khatri_rao, weighted_error


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 6, 2), (5, 1, 1), (2, 2, 0)])
def test_two_factors_agree_with_scipy(shape):
    n1, n2, d = shape
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((n1, d)), rng.standard_normal((n2, d))
    np.testing.assert_array_equal(khatri_rao(A, B).to_dense(), scipy.linalg.khatri_rao(A, B))


@pytest.mark.parametrize("columns", [1, 7, 40])
def test_three_factors_are_nested_products_and_multiply_as_such(columns):
    rng = np.random.default_rng(0)
    mats = [rng.standard_normal((n, 5)) for n in (3, 4, 2)]
    dense = scipy.linalg.khatri_rao(scipy.linalg.khatri_rao(mats[0], mats[1]), mats[2])
    A = khatri_rao(*mats)
    x, y = rng.standard_normal((5, columns)), rng.standard_normal((24, columns))
    np.testing.assert_allclose(A.to_dense(), dense)
    np.testing.assert_allclose(A @ x, dense @ x)
    np.testing.assert_allclose(A.T @ y, dense.T @ y)


def test_the_gram_matrix_is_the_product_of_the_gram_matrices():
    rng = np.random.default_rng(0)
    K, V = ([rng.standard_normal((n, d)) for n in (6, 7)] for d in (3, 4))
    both = khatri_rao(*K).to_dense().T @ khatri_rao(*V).to_dense()
    np.testing.assert_allclose(both, (K[0].T @ V[0]) * (K[1].T @ V[1]))


def test_products_do_not_form_the_rows():
    A = khatri_rao(*np.random.default_rng(0).standard_normal((2, 300, 64)))
    x, y = np.ones(64), np.ones(300 * 300)
    tracemalloc.start()
    A @ x, A.T @ y
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * A.shape[0] * A.shape[1] * 8
    assert A.nbytes == 2 * 300 * 64 * 8


def test_a_khatri_rao_product_is_found_again():
    rng = np.random.default_rng(0)
    for rows in ((3, 4), (3, 2, 4)):
        W = khatri_rao(*(rng.standard_normal((n, 5)) for n in rows)).to_dense()
        np.testing.assert_allclose(KhatriRao(rows).project(W).to_dense(), W, atol=1e-12)


def test_a_full_metric_improves_the_fit_in_it():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((12, 5))
    H = np.cov(rng.standard_normal((5, 5)) @ rng.standard_normal((5, 30)))
    plain, aware = (KhatriRao((3, 4)).project(W, metric).to_dense() for metric in (None, H))
    assert weighted_error(W, aware, H) < 0.99 * weighted_error(W, plain, H)


def test_gradients_reach_every_factor():
    mats = [torch.rand(n, 3, dtype=torch.float64, requires_grad=True) for n in (2, 3, 2)]
    x = torch.rand(3, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *mats: khatri_rao(*mats) @ x, mats)


def test_bad_input_is_refused():
    A = np.ones((2, 3))
    for call in (lambda: khatri_rao(A), lambda: khatri_rao(A, np.ones((2, 4))), lambda: khatri_rao(A, A[0])):
        with pytest.raises(ShapeError, match="mats"):
            call()
    with pytest.raises(FormatError, match="float16"):
        khatri_rao(A.astype(np.float16), A)
    with pytest.raises(FormatError, match="as factor 0"):
        khatri_rao(A.astype(np.float32), A)
    with pytest.raises(ArgumentError, match="rows"):
        KhatriRao((3,))
    with pytest.raises(ShapeError, match="5 rows"):
        KhatriRao((2, 3)).project(np.ones((5, 2)))
