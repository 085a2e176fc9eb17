"""A step of the optimiser is the dense computation."""

import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gossamer._core.errors import ArgumentError  # noqa: E402
from gossamer.solve import MFAC  # noqa: E402


def params():
    torch.manual_seed(0)
    return [
        torch.nn.Parameter(torch.randn(3, 2, dtype=torch.float64)),
        torch.nn.Parameter(torch.randn(4, dtype=torch.float64)),
    ]


def drive(ps, opt, steps, start=0):
    for step in range(start, start + steps):
        gen = torch.Generator().manual_seed(step)
        for p in ps:
            p.grad = torch.randn(p.shape, generator=gen, dtype=p.dtype)
        opt.step()


def test_steps_equal_the_dense_computation_with_decay_momentum_and_two_rates():
    ps = params()
    opt = MFAC(
        [{"params": [ps[0]]}, {"params": [ps[1]], "lr": 0.05}],
        lr=0.1,
        momentum=0.9,
        weight_decay=0.01,
        ngrads=3,
        damp=0.1,
        store_dtype="float64",
    )
    w = np.concatenate([p.detach().numpy().ravel() for p in ps])
    window, v = [], np.zeros(10)
    lr = np.r_[np.full(6, 0.1), np.full(4, 0.05)]
    for step in range(7):
        drive(ps, opt, 1, step)
        g = np.concatenate([p.grad.numpy().ravel() for p in ps]) + 0.01 * w
        window = [*window, g][-3:]
        F = 0.1 * np.eye(10) + sum(np.outer(a, a) for a in window) / 3
        v = 0.9 * v + 0.1 * np.linalg.solve(F, g)
        w = w - lr * v
        np.testing.assert_allclose(np.concatenate([p.detach().numpy().ravel() for p in ps]), w, rtol=1e-9)


@pytest.mark.parametrize("store", ["float64", "bfloat16"])
def test_a_resumed_run_goes_on_bit_by_bit(store):
    ps = params()
    opt = MFAC(ps, momentum=0.5, ngrads=3, store_dtype=store)
    drive(ps, opt, 5)
    file = io.BytesIO()
    torch.save([opt.state_dict(), [p.detach().clone() for p in ps]], file)
    drive(ps, opt, 4, 5)
    file.seek(0)
    state, weights = torch.load(file, weights_only=True)
    again = [torch.nn.Parameter(w) for w in weights]
    twin = MFAC(again, momentum=0.5, ngrads=3, store_dtype=store)
    twin.load_state_dict(state)
    drive(again, twin, 4, 5)
    assert all(torch.equal(a, b) for a, b in zip(ps, again))


def test_large_damping_is_gradient_descent():
    ps, qs = params(), params()
    opt, sgd = MFAC(ps, lr=1e6, damp=1e8, ngrads=4), torch.optim.SGD(qs, lr=1e-2)
    drive(ps, opt, 5)
    drive(qs, sgd, 5)
    assert all(torch.allclose(a, b, rtol=1e-6) for a, b in zip(ps, qs))


def test_zeros_stay_out_of_a_sparse_window_and_the_closure_runs_once():
    ps = params()
    with torch.no_grad():
        ps[0][0] = 0
    opt = MFAC(ps, lr=0.1, ngrads=3, sparse=True)
    assert opt.fisher.d == 8
    calls = []

    def closure():
        calls.append(1)
        opt.zero_grad()
        loss = sum((p - 1).square().sum() for p in ps)
        loss.backward()
        return loss

    assert float(opt.step(closure)) > 0
    assert len(calls) == 1
    assert not ps[0][0].any()
    assert ps[0][1].any()


def test_safeguards_and_refusals():
    ps = params()
    opt = MFAC(ps, lr=1.0, ngrads=3, clip_update=0.5, damp_relative=0.1, warmup=2)
    before = [p.detach().clone() for p in ps]
    drive(ps, opt, 1)
    assert float(sum((a - b).square().sum() for a, b in zip(ps, before))) ** 0.5 == pytest.approx(
        0.25, rel=1e-5
    )
    ps[0].grad[0, 0] = float("nan")
    with pytest.raises(ArgumentError, match="step 2"):
        opt.step()
    with pytest.raises(ArgumentError, match="group cannot join"):
        opt.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
