"""Splines of eigenvalues against SciPy's, and their slopes."""

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from gossamer._core.errors import ArgumentError
from gossamer.nn import BSplinePhi


@pytest.mark.parametrize("pieces", [1, 2, 5, 8, 16])
def test_values_are_those_of_scipy(pieces):
    torch.manual_seed(0)
    phi = BSplinePhi(3, pieces).double()
    phi = phi.float().double()  # casts do not blur the knots
    c = phi.coefficients.detach().numpy()
    x = np.concatenate([np.linspace(0, 2, 501), 2 * np.arange(pieces + 1) / pieces])
    found = phi(torch.from_numpy(x)[None, :, None])[0].detach()
    for spline in range(3):
        np.testing.assert_allclose(found[:, spline], BSpline(phi.knots, c[spline], 3)(x), rtol=0, atol=1e-12)
    np.testing.assert_allclose(phi.basis(torch.from_numpy(x)).sum(1), 1, atol=1e-12)


@pytest.mark.parametrize("pieces", [1, 2, 7, 16])
@pytest.mark.parametrize("seed", range(3))
def test_the_lipschitz_constant_is_the_steepest_slope(seed, pieces):
    torch.manual_seed(seed)
    phi = BSplinePhi(8, pieces).double()
    c, x = phi.coefficients.detach().numpy(), np.linspace(0, 2, 10_000)
    steepest = np.array([abs(BSpline(phi.knots, row, 3).derivative()(x)).max() for row in c])
    bound = phi.lipschitz().detach().numpy()
    assert (bound >= steepest - 1e-9).all()
    np.testing.assert_allclose(bound, steepest, rtol=1e-5)  # the grid may miss the peak a little
    polygon = abs(3 * np.diff(c) / (np.array(phi.knots)[4:-1] - np.array(phi.knots)[1:-4])).max(1)
    assert (bound <= polygon + 1e-9).all()


def test_projection_keeps_the_mean_and_what_is_flat_enough():
    torch.manual_seed(0)
    phi = BSplinePhi(8, 8).double()
    before, bounds = phi.coefficients.detach().clone(), phi.lipschitz().detach()
    limit = float(bounds.median())
    assert phi.project_lipschitz_(limit) is phi
    after = phi.coefficients.detach()
    torch.testing.assert_close(phi.lipschitz().detach(), bounds.clamp(max=limit))
    torch.testing.assert_close(after.mean(1), before.mean(1))
    assert torch.equal(after[bounds <= limit], before[bounds <= limit])
    phi.project_lipschitz_(0)
    assert float(phi.lipschitz().detach().max()) == pytest.approx(0, abs=1e-12)


def test_eigenvalues_outside_the_range_are_moved_to_its_ends_and_gradients_are_right():
    phi = BSplinePhi(2, 4).double()
    ends = phi(torch.tensor([[[-0.1], [0.0], [2.0], [2.1]]]).double())[0]
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[2], ends[3])
    x = torch.tensor([[[0.1], [0.77], [1.9]]]).double().requires_grad_()
    assert torch.autograd.gradcheck(phi, (x,))


@pytest.mark.parametrize(("m", "pieces"), [(0, 4), (4, 0)])
def test_sizes_must_be_positive(m, pieces):
    with pytest.raises(ArgumentError, match="=0"):
        BSplinePhi(m, pieces)


def test_a_bound_must_not_be_negative():
    with pytest.raises(ArgumentError, match="bound=-1"):
        BSplinePhi(4).project_lipschitz_(-1)
