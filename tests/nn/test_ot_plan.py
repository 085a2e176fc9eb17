"""Differentiable transport plans against finite differences and unrolled iterations."""

import numpy as np
import pytest
import torch

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.linalg.transport.implicit import plan_gradient
from gossamer.nn.functional import ot_plan
from gossamer.solve import sinkhorn_newton_sparse


def problem(n, m, seed=0):
    g = torch.Generator().manual_seed(seed)
    C, r, c = (torch.rand(*s, generator=g, dtype=torch.float64) for s in ((n, m), (n,), (m,)))
    return C, (r + 0.1) / (r + 0.1).sum(), (c + 0.1) / (c + 0.1).sum()


def test_the_plan_is_the_solvers():
    C, r, c = problem(12, 9)
    want = sinkhorn_newton_sparse(C.numpy(), r.numpy(), c.numpy(), eta=30.0).plan
    np.testing.assert_allclose(ot_plan(C, r, c, eta=30.0).numpy(), want, atol=1e-13)


def unrolled(C, r, c, eta, steps):
    v = torch.zeros_like(c)
    for _ in range(steps):
        u = r.log() - torch.logsumexp(v - eta * C, 1)
        v = c.log() - torch.logsumexp(u[:, None] - eta * C, 0)
    return torch.exp(u[:, None] + v - eta * C)


@pytest.mark.parametrize(("n", "m", "eta"), [(6, 5, 2.0), (5, 8, 20.0), (15, 15, 8.0), (1, 4, 3.0)])
def test_gradients_are_those_of_unrolled_steps(n, m, eta):
    weights = torch.rand(n, m, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    grads = []
    for plan in (lambda *a: ot_plan(*a, eta=eta), lambda *a: unrolled(*a, eta, 1500)):
        inputs = [x.clone().requires_grad_() for x in problem(n, m)]
        (weights * plan(*inputs)).sum().backward()
        grads.append([x.grad for x in inputs])
    (C, r, c), (C1, r1, c1) = grads
    assert torch.allclose(C, C1, atol=1e-10)
    # marginals: up to a shift of each, as only directions that keep the masses equal are compared
    assert torch.allclose(r - r.mean(), r1 - r1.mean(), atol=1e-9)
    assert torch.allclose(c - c.mean(), c1 - c1.mean(), atol=1e-9)
    assert abs(float(r.mean())) < 1e-12


def test_gradients_are_finite_differences_where_the_plan_is_sparse():
    C, r, c = problem(20, 20, 3)
    direction, rise = (
        torch.randn(20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
        1e-5,
    )
    eta, G = 100.0, torch.rand(20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    C.requires_grad_()
    (G * ot_plan(C, r, c, eta=eta)).sum().backward()
    with torch.no_grad():
        up, down = (
            (G * ot_plan(C + s * rise * direction, r, c, eta=eta)).sum() / (2 * rise) for s in (1, -1)
        )
    assert float((C.grad * direction).sum()) == pytest.approx(float(up - down), rel=1e-5)


def test_marginals_along_directions_that_keep_the_mass():
    C, r, c = problem(9, 7)
    G = np.random.default_rng(0).random((9, 7))
    P = sinkhorn_newton_sparse(C.numpy(), r.numpy(), c.numpy(), eta=10.0, tol=1e-14).plan
    _, dr, dc = plan_gradient(P, G, 10.0)
    turn = np.eye(9)[0] * 1e-5
    lift = np.eye(7)[2] * 1e-5
    up, down = (
        (
            G
            * sinkhorn_newton_sparse(
                C.numpy(), r.numpy() + s * turn, c.numpy() + s * lift, eta=10.0, tol=1e-14
            ).plan
        )
        for s in (1, -1)
    )
    assert dr @ turn + dc @ lift == pytest.approx((up - down).sum() / 2, rel=1e-6)


def test_stacks_and_single_precision():
    C = torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    r = torch.softmax(torch.randn(3, 6, generator=torch.Generator().manual_seed(1)), -1)
    plans = ot_plan(C, r, eta=5.0)
    assert plans.dtype == torch.float32
    assert torch.allclose(plans.sum(-1), r, atol=1e-6)
    plans[..., 0, 0].sum().backward()
    assert C.grad.dtype == torch.float32
    for k in range(3):
        one = C[k].detach().clone().requires_grad_()
        ot_plan(one, r[k], eta=5.0)[0, 0].backward()
        assert torch.equal(one.grad, C.grad[k])


def test_bad_input():
    C = torch.zeros(3, 4)
    with pytest.raises(UnsupportedError, match="float16"):
        ot_plan(C.half(), eta=1.0)
    with pytest.raises(ShapeError, match="C has shape"):
        ot_plan(C[0], eta=1.0)
    with pytest.raises(ShapeError, match="r has shape"):
        ot_plan(C, torch.ones(4) / 4, eta=1.0)
    with pytest.raises(ArgumentError, match="positive"):
        ot_plan(C, torch.tensor([0.5, 0.5, 0.0]), eta=1.0)
    with pytest.raises(ArgumentError, match="eta"):
        ot_plan(C, eta=0.0)
    with pytest.raises(ArgumentError, match="max_newton"):
        ot_plan(torch.rand(30, 30, generator=torch.Generator().manual_seed(0)), eta=500.0, max_newton=1)
