"""Pruning by the inverse Fisher: predicted costs are true costs, and zeros stay."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from gossamer._core.errors import ArgumentError  # noqa: E402
from gossamer.linalg import NM, Block  # noqa: E402
from gossamer.solve import FisherInverse  # noqa: E402
from gossamer.sparsify import (  # noqa: E402
    GradualRecipe,
    MFACPruner,
    collect_gradients,
    cubic_schedule,
    geometric_schedule,
    masks_of,
    model_sparsity,
    nm_drop,
    obs_saliency,
    obs_update,
    pattern_groups,
)


def quadratic(d=12, m=30, block=None):
    rng = np.random.default_rng(0)
    G = rng.normal(size=(m, d))
    return rng.normal(size=d), FisherInverse(G, 1e-2, block), 1e-2 * np.eye(d) + G.T @ G / m


def test_saliency_is_the_increase_of_a_quadratic_loss():
    w, inverse, H = quadratic()
    for q, rho in enumerate(obs_saliency(w, inverse)):
        move = obs_update(w, inverse, np.array([q])) - w
        assert move @ H @ move / 2 == pytest.approx(rho, rel=1e-8)
    groups = np.array([[0, 3, 5], [7, 8, 11]])
    for Q, rho in zip(groups, obs_saliency(w, inverse, groups)):
        move = obs_update(w, inverse, Q, "exact") - w
        assert move @ H @ move / 2 == pytest.approx(rho, rel=1e-8)
        assert not (w + move)[Q].any()


def test_the_exact_update_is_the_constrained_minimiser():
    w, inverse, H = quadratic()
    Q, rest = np.array([1, 4, 6]), np.setdiff1d(np.arange(12), [1, 4, 6])
    best = np.linalg.lstsq(H[np.ix_(rest, rest)], H[np.ix_(rest, np.arange(12))] @ w, rcond=None)[0]
    np.testing.assert_allclose(obs_update(w, inverse, Q, "exact")[rest], best, rtol=1e-8)


def test_nm_drops_the_cheapest_subset():
    w, inverse, _ = quadratic()
    groups = np.arange(12).reshape(3, 4)
    drop = nm_drop(w, inverse, groups, 2).reshape(3, 2)
    for group, chosen in zip(groups, drop):
        pairs = [[a, b] for i, a in enumerate(group) for b in group[i + 1 :]]
        costs = obs_saliency(w, inverse, np.array(pairs))
        assert set(chosen) == set(pairs[int(costs.argmin())])


def test_schedules_rise_to_their_end():
    kept = 1 - np.r_[0.2, geometric_schedule(0.2, 0.9, 5)]
    np.testing.assert_allclose(kept[1:] / kept[:-1], (0.1 / 0.8) ** 0.2)
    assert cubic_schedule(0, 0.7, 3)[-1] == 0.7
    with pytest.raises(ArgumentError, match="do not return"):
        geometric_schedule(0.5, 0.4, 2)


def task():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(16, 24), torch.nn.ReLU(), torch.nn.Linear(24, 4))
    x = torch.randn(160, 16)
    y = (x[:, :4]).argmax(1)
    opt = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(60):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
    return net, list(zip(x.split(8), y.split(8))), (x, y)


@pytest.mark.parametrize("curvature", ["mfac", "woodfisher", "diagonal", "magnitude"])
@pytest.mark.parametrize("joint", ["independent", "exact"])
def test_the_network_has_the_zeros_it_was_asked_for(curvature, joint):
    net, loader, _ = task()
    report = MFACPruner(
        net, loader, F.cross_entropy, 20, block=32, n_recompute=3, joint=joint, curvature=curvature
    ).prune(0.7)
    weights = {"0.weight": net[0].weight, "2.weight": net[2].weight}
    assert model_sparsity(masks_of(weights)) == pytest.approx(0.7, abs=2e-3) == report.sparsity
    assert all(
        torch.equal(report.weights[k], p) and torch.equal(report.masks[k], p != 0) for k, p in weights.items()
    )
    assert net[0].bias.all()
    assert len(report.history["sparsity"]) == 3
    with pytest.raises(ArgumentError, match="already"):
        MFACPruner(net, loader, F.cross_entropy, 20).prune(0.5)


def test_mfac_and_explicit_blocks_prune_the_same_network():
    nets = []
    for curvature in ("mfac", "woodfisher"):
        net, loader, _ = task()
        net = net.double()
        loader = [(x.double(), y) for x, y in loader]
        MFACPruner(net, loader, F.cross_entropy, 20, block=32, n_recompute=2, curvature=curvature).prune(0.6)
        nets.append(net)
    for a, b in zip(nets[0].parameters(), nets[1].parameters()):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("pattern", ["row", "column", Block((4, 4), density=0.5), NM(2, 4)], ids=str)
def test_patterns_remove_whole_groups(pattern):
    net, loader, _ = task()
    report = MFACPruner(net, loader, F.cross_entropy, 20, n_recompute=2, pattern=pattern).prune(0.5)
    assert report.sparsity >= 0.5
    for mask in report.masks.values():
        numbers = pattern_groups(pattern, tuple(mask.shape)).ravel()
        kept = np.bincount(numbers, mask.numpy().ravel())
        sizes = np.bincount(numbers)
        assert ((kept == 2) if isinstance(pattern, NM) else (kept == 0) | (kept == sizes)).all()


def test_zeros_stay_through_training_with_momentum():
    net, loader, (x, y) = task()
    pruner = MFACPruner(net, loader, F.cross_entropy, 20, n_recompute=2)
    opt = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)

    def epoch():
        for a, b in loader:
            opt.zero_grad()
            F.cross_entropy(net(a), b).backward()
            opt.step()

    reports = GradualRecipe((0.5, 0.8), epochs=3).run(pruner, opt, epoch)
    assert opt.param_groups[0]["lr"] == 0.05
    for name, mask in reports[-1].masks.items():
        assert not pruner.params[name][~mask].any()
    assert F.cross_entropy(net(x), y) < 1.2


def test_gradients_fill_every_row_and_leave_the_model_alone():
    net, loader, (x, y) = task()
    net[1] = torch.nn.Dropout(0.5)
    net.train()
    params = {"0.weight": net[0].weight, "2.weight": net[2].weight}
    batch = collect_gradients(net, [(x, y)], F.cross_entropy, 1, params)
    single = collect_gradients(net, loader, F.cross_entropy, 160, params, per_sample=True)
    np.testing.assert_allclose(single.mean(axis=0), batch[0], atol=1e-6)
    assert net.training
    assert net[1].training
    with pytest.warns(UserWarning, match="run again"):
        again = collect_gradients(net, loader, F.cross_entropy, 30, params, support=np.arange(5))
    np.testing.assert_array_equal(again[20:], again[:10])
    assert collect_gradients(net, loader, F.cross_entropy, 3, params, grads_from="model").any()
    with pytest.raises(ArgumentError, match="loader is empty"):
        collect_gradients(net, [], F.cross_entropy, 3, params)


def test_bad_patterns_are_named():
    with pytest.raises(ArgumentError, match="did you mean 'row'"):
        pattern_groups("rows", (2, 2))
    net, loader, _ = task()
    with pytest.raises(ArgumentError, match="2:4 has"):
        MFACPruner(net, loader, F.cross_entropy, pattern=NM(2, 4)).prune(0.7)
    with pytest.raises(ArgumentError, match="no linear"):
        MFACPruner(torch.nn.ReLU(), loader, F.cross_entropy)
