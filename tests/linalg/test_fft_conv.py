"""Transforms by chains against numpy.fft, and the matrices of convolutions."""

import numpy as np
import pytest
import scipy.linalg
import torch

from gossamer._core.errors import ArgumentError, FormatError
from gossamer.linalg import Convolution, FFTConv, monarch_fft, monarch_ifft, monarch_order
from gossamer.linalg.transforms.fft_conv import chains


@pytest.mark.parametrize("n", [1, 2, 16, 48, 210, 1000, 4096, 3 * 2**15])
@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.float64, np.complex128])
def test_natural_order_is_numpys_and_monarch_order_is_its_permutation(n, dtype):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((3, n)).astype(dtype)
    if np.iscomplexobj(x):
        x += 1j * rng.standard_normal((3, n)).astype(x.real.dtype)
    X, expected = monarch_fft(x), np.fft.fft(x.astype(complex))
    tolerance = (2e-6 if x.real.dtype == np.float32 else 1e-13) * np.log2(n + 2)
    assert X.dtype == (np.complex64 if x.real.dtype == np.float32 else np.complex128)
    assert np.abs(X - expected).max() <= tolerance * np.abs(expected).max()
    factors = chains.balanced_factors(n)
    permuted = monarch_fft(x, factors, order="monarch")
    assert np.array_equal(permuted, X[:, monarch_order(factors)])
    assert np.abs(monarch_ifft(permuted, factors, order="monarch") - x).max() <= 4 * tolerance
    assert np.abs(monarch_ifft(X) - x).max() <= 4 * tolerance


def test_the_order_is_that_of_the_definition():
    """Step by step, as the paper has it: columns, twiddle factors, rows."""
    first, second = 4, 6
    x = np.random.default_rng(0).standard_normal(24)
    inner = np.fft.fft(x.reshape(first, second), axis=0)
    inner = inner * np.exp(-2j * np.pi * np.outer(np.arange(first), np.arange(second)) / 24)
    assert np.allclose(
        np.fft.fft(inner, axis=1).reshape(-1), monarch_fft(x, (first, second), order="monarch")
    )


def test_the_order_of_three_factors_is_that_of_reshapes():
    n1, n2, n3 = 2, 3, 4
    natural = np.arange(24)
    nested = natural.reshape(n2 * n3, n1).T.reshape(n1, n3, n2).transpose(0, 2, 1).reshape(-1)
    assert np.array_equal(monarch_order((n1, n2, n3)), nested)


def test_tensors_stay_tensors_and_other_lengths_are_refused():
    x = torch.randn(2, 30)
    assert torch.allclose(monarch_fft(x), torch.fft.fft(x), atol=1e-4)
    with pytest.raises(ArgumentError, match="nearest valid: 12"):
        monarch_fft(np.zeros(11))
    with pytest.raises(ArgumentError, match="product of 12"):
        monarch_fft(np.zeros(12), (3, 3))


@pytest.mark.parametrize("n", [1, 5, 64, 300])
@pytest.mark.parametrize("causal", [True, False])
def test_the_matrix_of_a_convolution(n, causal):
    rng = np.random.default_rng(n)
    k, x = rng.standard_normal(max(1, n - 2)), rng.standard_normal((n, 3))
    column = np.pad(k, (0, n - len(k)))
    expected = scipy.linalg.toeplitz(column, np.zeros(n) if causal else np.roll(column[::-1], 1))
    A = FFTConv(k, n, causal)
    assert np.array_equal(A.to_dense(), expected)
    assert np.allclose(A @ x, expected @ x)
    assert np.allclose(A.T @ x, expected.T @ x)
    assert Convolution(len(k), causal).project(expected).factors["taps"] == pytest.approx(k)
    assert A.flops() > 0
    T = FFTConv(torch.from_numpy(k).requires_grad_(), n, causal)
    y = T @ torch.from_numpy(x)
    assert np.allclose(y.detach().numpy(), expected @ x)
    y.sum().backward()
    by_matrix = torch.autograd.grad((T.to_dense() @ torch.from_numpy(x)).sum(), T.factors["taps"])[0]
    assert torch.allclose(T.factors["taps"].grad, by_matrix)


def test_taps_that_do_not_fit_are_refused():
    with pytest.raises(FormatError, match="taps"):
        FFTConv(np.zeros(6), 5, causal=False)
    with pytest.raises(FormatError, match="float32 or float64"):
        FFTConv(np.zeros(3, np.int64), 5)
