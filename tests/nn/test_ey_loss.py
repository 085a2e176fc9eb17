"""The Eckart-Young loss of representations: gradients, optima, other losses, networks, processes."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.learn import StochasticCCA
from gossamer.linalg import canonical_correlations
from gossamer.nn import (
    BarlowTwinsLoss,
    DCCALoss,
    DeepCCA,
    EYLoss,
    SSLEYLoss,
    VICRegLoss,
    ey_loss,
    ssl_ey_loss,
)


def plain(zs, others=None, ridge=0.0, weights=None, shift=False):
    """The loss in operations that autograd differentiates by itself."""

    def cov(a, b):
        return (a - a.mean(0)).T @ (b - b.mean(0)) / (len(a) - 1)

    K = zs[0].shape[1]
    grams = [torch.eye(K, dtype=zs[0].dtype)] * len(zs) if weights is None else [u.T @ u for u in weights]
    V, V2 = (
        sum((1 - ridge) * cov(z, z) + ridge * g for z, g in zip(batch, grams))
        for batch in (zs, zs if others is None else others)
    )
    C = sum(cov(a, b) for i, a in enumerate(zs) for j, b in enumerate(zs) if i != j)
    C = C + V if shift else C
    return torch.trace(-2 * C + V @ V2)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    views=st.integers(2, 4),
    ridge=st.sampled_from([0.0, 0.3, 1.0]),
    shift=st.booleans(),
    paired=st.booleans(),
    weighted=st.booleans(),
)
def test_the_analytic_gradient_is_that_of_autograd(seed, views, ridge, shift, paired, weighted):
    rng = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64).requires_grad_()

    zs = [draw(8, 3) for _ in range(views)]
    others = [draw(6, 3) for _ in range(views)] if paired else None
    us = [draw(5, 3) for _ in range(views)] if weighted else None
    inputs = [*zs, *(others or []), *(us or [])]
    ours = ey_loss(zs, zs_independent=others, ridge=ridge, weights=us, shift=shift)
    wanted = plain(zs, others, ridge, us, shift)
    torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=1e-12)
    for a, b in zip(
        torch.autograd.grad(3 * ours, inputs), torch.autograd.grad(3 * wanted, inputs, allow_unused=True)
    ):
        torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b, rtol=1e-10, atol=1e-11)


def test_finite_differences_agree():
    zs = [torch.randn(6, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *z: ey_loss(z, ridge=0.2, shift=True), zs, atol=1e-7)
    assert torch.autograd.gradcheck(lambda a, b: ssl_ey_loss(a, b), zs[:2], atol=1e-7)


def pairs(n=2000, p=5, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, 2)) * [2, 1]
    return [
        np.hstack([common, rng.standard_normal((n, p - 2))]) @ rng.standard_normal((p, p)) / 2
        for _ in range(2)
    ]


def test_linear_encoders_reach_minus_the_squared_correlations():
    X, Y = pairs()
    X[:, :2] += 0.5 * np.random.default_rng(1).standard_normal((2000, 2))
    views = [torch.from_numpy(v - v.mean(0)) for v in (X, Y)]
    exact = canonical_correlations(X, Y)[:2]
    torch.manual_seed(0)
    encoders = [torch.nn.Linear(5, 2, bias=False, dtype=torch.float64) for _ in views]
    model = DeepCCA(encoders)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = model(*views)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert float(model(*views).detach()) == pytest.approx(-np.sum(exact**2), rel=1e-5)
    assert model.score(views) == pytest.approx(exact.sum(), rel=1e-4)
    linear = StochasticCCA(2, max_epochs=60, learning_rate=0.01, random_state=0).fit(X, Y)
    assert model.score(views) == pytest.approx(linear.correlations_.sum(), rel=0.01)
    # the optimum of the loss is the squared form of full-batch deep CCA
    assert float(DCCALoss(ridge=0)(*model.encode(views)).detach()) == pytest.approx(
        -np.sum(exact**2), rel=1e-4
    )
    roots = DCCALoss(ridge=0, squared=False)(*model.encode(views))
    assert float(roots.detach()) == pytest.approx(-exact.sum(), rel=1e-4)


def test_a_shared_linear_encoder_finds_symmetric_cca():
    rng = torch.Generator().manual_seed(0)
    common = torch.randn(3000, 4, generator=rng, dtype=torch.float64)
    scale = torch.tensor([2.0, 1.0, 0.5, 0.2], dtype=torch.float64)
    x, x2 = (
        scale * common + 0.5 * torch.randn(3000, 4, generator=rng, dtype=torch.float64) for _ in range(2)
    )
    encoder = torch.nn.Linear(4, 2, bias=False, dtype=torch.float64)
    optimizer = torch.optim.LBFGS(encoder.parameters(), max_iter=300, line_search_fn="strong_wolfe")
    loss = SSLEYLoss()

    def closure():
        optimizer.zero_grad()
        value = loss(encoder(x), encoder(x2))
        value.backward()
        return value

    optimizer.step(closure)
    c = ((x - x.mean(0)).T @ (x2 - x2.mean(0))) / 2999
    within = (torch.cov(x.T) + torch.cov(x2.T)) / 2
    values = torch.linalg.eigvals(torch.linalg.solve(within, (c + c.T) / 2)).real.sort(descending=True)[0]
    assert float(closure()) == pytest.approx(-float(values[:2].square().sum()), rel=1e-6)


def test_the_other_losses_are_their_formulas():
    rng = np.random.default_rng(0)
    z, z2 = rng.standard_normal((50, 3)), 0.5 * rng.standard_normal((50, 3))
    t, t2 = torch.from_numpy(z), torch.from_numpy(z2)
    wanted = 25 * np.mean((z - z2) ** 2)
    for v in (z, z2):
        cov = np.cov(v.T)
        wanted += 12.5 * np.maximum(0, 1 - np.sqrt(np.diag(cov) + 1e-4)).mean()
        wanted += (np.sum(cov**2) - np.sum(np.diag(cov) ** 2)) / 3
    assert float(VICRegLoss()(t, t2)) == pytest.approx(wanted)
    R = np.corrcoef(z.T, z2.T)[:3, 3:]
    twins = np.sum((1 - np.diag(R)) ** 2) + 5e-3 * (np.sum(R**2) - np.sum(np.diag(R) ** 2))
    assert float(BarlowTwinsLoss()(t, t2)) == pytest.approx(twins, rel=1e-3)


@pytest.mark.parametrize(
    "loss", [VICRegLoss(), BarlowTwinsLoss(), DCCALoss(), EYLoss(paired=True, ridge=0.01)]
)
def test_a_network_is_trained_by_any_loss(loss):
    X, Y = pairs(n=600)
    views = [torch.from_numpy(v).float() for v in (X, Y)]
    torch.manual_seed(0)
    nets = [torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)) for _ in views]
    model = DeepCCA(nets, loss)
    before = model.score(views)
    model.fit(views, epochs=15, batch_size=60, rate=0.01, seed=0)
    assert model.score(views) > before
    assert len(model.history) == 15
    assert model.history[-1] < model.history[0]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*views), batch_size=100)
    assert len(model.fit(loader, epochs=2).history) == 17


WORKER = """
import sys, torch, torch.distributed as dist
from gossamer.nn import ey_loss
rank, out = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + out + "/meet", rank=rank, world_size=2)
encoder, views, others = torch.load(out + "/problem.pt", weights_only=False)
mine = slice(0, 5) if rank == 0 else slice(5, 12)
loss = ey_loss(
    [encoder(v[mine]) for v in views], zs_independent=[encoder(v[mine]) for v in others], ridge=0.1, group=True
)
loss.backward()
for parameter in encoder.parameters():  # what DistributedDataParallel does
    dist.all_reduce(parameter.grad)
    parameter.grad /= 2
torch.save([loss.detach(), *(p.grad for p in encoder.parameters())], out + f"/{rank}.pt")
dist.destroy_process_group()
"""


def test_two_processes_have_the_loss_and_gradient_of_one(tmp_path):
    rng = torch.Generator().manual_seed(0)
    views, others = ([torch.randn(12, 4, generator=rng) for _ in range(2)] for _ in range(2))
    torch.manual_seed(1)
    encoder = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    torch.save((encoder, views, others), tmp_path / "problem.pt")
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(rank), str(tmp_path)]) for rank in range(2)
    ]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    loss = ey_loss([encoder(v) for v in views], zs_independent=[encoder(v) for v in others], ridge=0.1)
    loss.backward()
    wanted = [loss.detach(), *(p.grad for p in encoder.parameters())]
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for ours, single in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours, single, rtol=1e-5, atol=1e-6)


def test_bad_input_is_named():
    z = torch.randn(6, 3)
    for call, error, word in (
        (lambda: ey_loss([z]), ShapeError, "1 views"),
        (lambda: ey_loss([z, z[:, :2]]), ShapeError, "equal"),
        (lambda: ey_loss([z[:1], z[:1]]), ArgumentError, "1 rows"),
        (lambda: ey_loss([z.to(torch.complex64)] * 2), UnsupportedError, "complex64"),
        (lambda: ey_loss([z.numpy()] * 2), UnsupportedError, "ndarray"),
        (lambda: ey_loss([z, z], ridge=2.0), ArgumentError, "ridge"),
        (lambda: ey_loss([z, z], ridge=[0.1]), ShapeError, "ridge has 1"),
        (lambda: ey_loss([z, z], zs_independent=[z]), ShapeError, "zs_independent"),
        (lambda: ey_loss([z, z], weights=[z]), ShapeError, "weights"),
        (lambda: DCCALoss()(z[:3], z[:3]), ArgumentError, "3 rows"),
        (lambda: DeepCCA([torch.nn.Linear(3, 1)]), ShapeError, "encoders"),
        (lambda: DeepCCA([torch.nn.Linear(3, 1)] * 2).encode([z]), ShapeError, "1 views"),
        (lambda: DeepCCA([torch.nn.Linear(3, 1)] * 2).fit([z, z[:2]]), ShapeError, "rows"),
        (lambda: DeepCCA([torch.nn.Linear(3, 1)] * 2).fit(iter([])), ArgumentError, "no batches"),
        (lambda: DeepCCA([torch.nn.Linear(3, 1)] * 2).fit([z * np.inf, z]), ArgumentError, "diverged"),
    ):
        with pytest.raises(error, match=word):
            call()
