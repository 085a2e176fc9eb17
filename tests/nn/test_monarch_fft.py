"""MonarchFFT is torch.fft until it is trained."""

import pytest
import torch

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg import Monarch
from gossamer.nn import MonarchFFT, MonarchFFT2
from gossamer.testing import check_module

LENGTHS = [15, 36, 196, 27, 48, 42, 85, 168, 512, 1024]


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-12)])
def test_it_is_the_fourier_transform(n, inverse, norm, dtype, tolerance):
    x = torch.randn(
        3, n, dtype=torch.promote_types(dtype, torch.complex64), generator=torch.Generator().manual_seed(n)
    )
    expected = (torch.fft.ifft if inverse else torch.fft.fft)(x, norm=norm)
    with torch.no_grad():
        y = MonarchFFT(n, inverse=inverse, norm=norm, dtype=dtype)(x)
    assert y.dtype == x.dtype
    assert float((y - expected).abs().max()) <= tolerance * float(expected.abs().max())


@pytest.mark.parametrize("shape", [(42, 85), (160, 512)])
def test_two_axes(shape):
    x = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = MonarchFFT2(*shape, dtype=torch.float64)(x)
        back = MonarchFFT2(*shape, inverse=True, dtype=torch.float64)(y)
    torch.testing.assert_close(y, torch.fft.fft2(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(back.real, x)


def test_its_factors_are_the_projection_of_the_transform():
    layer = MonarchFFT(36, dtype=torch.float64)
    F = torch.fft.fft(torch.eye(36, dtype=torch.complex128))[:, torch.arange(36).reshape(6, 6).T.flatten()]
    nearest = Monarch(6, dtype="complex128").project(F)
    torch.testing.assert_close(layer.matrix.to_dense(), nearest.to_dense(), rtol=0, atol=1e-12)


def test_it_learns():
    layer = MonarchFFT(12)
    check_module(torch.nn.Sequential(layer, RealPart()), torch.randn(4, 12), half=False, learning_rate=1e-3)
    assert all(not p.is_complex() for p in layer.parameters())


class RealPart(torch.nn.Module):
    def forward(self, x):
        return x.real


def test_a_prime_length_is_refused_or_padded():
    with pytest.raises(ArgumentError, match="n=17 is prime"):
        MonarchFFT(17)
    x = torch.randn(2, 17)
    torch.testing.assert_close(MonarchFFT(17, pad=True)(x), torch.fft.fft(x, n=18), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        MonarchFFT(7, sizes=(7, 1))(x[:, :7]), torch.fft.fft(x[:, :7]), atol=1e-4, rtol=1e-4
    )


def test_bad_input_is_refused():
    with pytest.raises(ArgumentError, match=r"nearest valid: \(6, 2\)|nearest valid: \(4, 3\)"):
        MonarchFFT(12, sizes=(5, 2))
    with pytest.raises(ArgumentError, match="norm"):
        MonarchFFT(12, norm="unitary")
    with pytest.raises(ShapeError, match="expected 12"):
        MonarchFFT(12)(torch.zeros(2, 13))
