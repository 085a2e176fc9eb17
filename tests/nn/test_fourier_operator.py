"""The learned operator starts as the Fourier neural operator of equal weights."""

import pytest
import torch

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.nn import FourierOperator1d, SpectralConv1d
from gossamer.testing import check_module


def test_learned_transforms_start_as_the_fast_one():
    torch.manual_seed(0)
    learned = FourierOperator1d(48, modes=9, width=8, depth=2)
    fixed = FourierOperator1d(48, modes=9, width=8, depth=2, transform="fft")
    missing = fixed.load_state_dict(
        {k: v for k, v in learned.state_dict().items() if k in fixed.state_dict()}
    )
    assert not missing.missing_keys
    u = torch.randn(3, 48)
    torch.testing.assert_close(learned(u), fixed(u), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("transform", ["fft", "monarch"])
def test_a_spectral_layer_keeps_low_modes_only(transform):
    torch.manual_seed(0)
    layer = SpectralConv1d(3, 36, modes=5, transform=transform)
    with torch.no_grad():
        y = torch.fft.rfft(layer(torch.randn(2, 3, 36)))
    assert float(y[..., 5:].abs().max()) < 1e-5
    assert float(y[..., :5].abs().max()) > 1e-2


@pytest.mark.parametrize("transform", ["fft", "monarch"])
def test_it_keeps_the_contract_of_a_module(transform):
    torch.manual_seed(0)
    module = FourierOperator1d(12, modes=3, width=4, depth=2, transform=transform)
    check_module(module, torch.randn(3, 12), half=False, learning_rate=1e-2)


def test_bad_input_is_refused():
    with pytest.raises(ArgumentError, match="nearest valid: 6"):
        SpectralConv1d(4, 12, modes=7)
    with pytest.raises(ArgumentError, match="transform"):
        SpectralConv1d(4, 12, modes=3, transform="dct")
    with pytest.raises(ShapeError, match="batch, 12"):
        FourierOperator1d(12, modes=3, width=4)(torch.zeros(2, 13))
    with pytest.raises(ShapeError, match="12 points"):
        SpectralConv1d(4, 12, modes=3)(torch.zeros(2, 4, 13))
