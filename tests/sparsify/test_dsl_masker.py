"""Dynamic sparse learning: the budget is exact, moves are those of a brute-force sort, restarts change nothing."""

import copy
import math

import numpy as np
import pytest
import torch

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.sparsify import DSLMasker, update_ratio
from gossamer.sparsify.dynamic.gradient_window import GradientWindow
from gossamer.sparsify.dynamic.moves import entering, highest, leaving, lowest


def problem(seed=0, shapes=((30, 8), (20, 8))):
    g = torch.Generator().manual_seed(seed)
    tables = [torch.nn.Parameter(torch.randn(shape, generator=g)) for shape in shapes]
    target = torch.randn(shapes[0][0], shapes[1][0], generator=g)
    return tables, lambda: ((tables[0] @ tables[1].T - target) ** 2).mean()


def train(masker, loss, steps, after=lambda: None):
    for _ in range(steps):
        masker.optimizer.zero_grad()
        loss().backward()
        masker.step()
        after()


def masker_of(tables, lr=0.05, **options):
    options = {"density": 0.3, "delta_t": 5, "total_steps": 60, "grad_window": 3, **options}
    return DSLMasker(tables, torch.optim.Adam(tables, lr=lr), **options)


@pytest.mark.parametrize("rules", [{}, {"grow": "random"}, {"grow": "momentum"}, {"prune": "taylor"}, {"prune": "set"},
                                   {"prune": "threshold", "threshold": 0.05}, {"init": "magnitude"},
                                   {"schedule": "linear"}, {"window_sum": "magnitude"}, {"grow_memory": 4096},
                                   {"prune": "taylor", "grow": "momentum"}], ids=str)  # fmt: skip
def test_the_budget_is_the_same_at_every_step_and_dead_weights_are_zero(rules):
    tables, loss = problem()
    masker = masker_of(tables, **rules)
    before = {name: int(mask.sum()) for name, mask in masker.masks.items()}
    if rules.get("init") != "magnitude":
        assert before == {"0": round(0.3 * 240), "1": round(0.3 * 160)}

    def holds():
        assert {name: int(mask.sum()) for name, mask in masker.masks.items()} == before
        for name, p in masker.params.items():
            assert torch.equal(p.detach(), p.detach() * masker.masks[name])

    start = float(loss().detach())
    train(masker, loss, 60, holds)
    assert len(masker.history) == 11  # after step 60 nothing would train what enters
    assert masker.explored_fraction() > 0.35
    assert float(loss().detach()) < start
    assert all(move.live == before for move in masker.history)


def test_a_global_budget_flows_between_tables_and_every_table_keeps_a_weight():
    tables, loss = problem()
    masker = masker_of(tables, scope="global", total_steps=100)
    total = masker.n_live

    def holds():
        assert masker.n_live == total
        assert all(int(mask.sum()) >= 1 for mask in masker.masks.values())

    train(masker, loss, 100, holds)
    assert len({tuple(move.live.values()) for move in masker.history}) > 1


def by_sorting(scores, count, largest):
    order = sorted(range(len(scores)), key=lambda i: (-scores[i] if largest else scores[i], i))
    return sorted(order[:count])


@pytest.mark.parametrize("seed", range(20))
def test_moves_are_those_of_a_sort_with_ties_by_index(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(20, 80))
    theta = torch.tensor(rng.integers(-3, 4, n).astype(np.float32))
    gradient = torch.tensor(rng.integers(-3, 4, n).astype(np.float32))
    live = torch.tensor(rng.random(n) < 0.5)
    live[:2] = torch.tensor([True, False])
    places, dead = np.flatnonzero(live), np.flatnonzero(~live)
    count = int(rng.integers(0, min(len(places), len(dead)) + 1))
    for rule, scores in (("magnitude", theta.abs()), ("taylor", (theta * gradient).abs())):
        expected = places[by_sorting(scores[live].tolist(), count, largest=False)]
        np.testing.assert_array_equal(leaving(theta, live, count, rule, gradient), expected)
    expected = dead[by_sorting(gradient[~live].abs().tolist(), count, largest=True)]
    np.testing.assert_array_equal(entering(live, count, gradient), expected)
    np.testing.assert_array_equal(lowest(theta, n), np.arange(n))
    np.testing.assert_array_equal(highest(theta, 3), by_sorting(theta.tolist(), 3, largest=True))


def test_the_set_rule_takes_half_from_either_side_and_more_where_one_side_has_too_few():
    theta = torch.tensor([0.1, 0.2, 0.3, -0.1, -0.2, 9.0])
    live = torch.ones(6, dtype=torch.bool)
    assert leaving(theta, live, 4, "set").tolist() == [0, 1, 3, 4]
    assert leaving(theta, live, 5, "set").tolist() == [0, 1, 2, 3, 4]
    live[4] = False
    assert leaving(theta, live, 4, "set").tolist() == [0, 1, 2, 3]


def test_a_move_is_the_published_one():
    """Prune by magnitude after the step, grow by the last gradient, from zero and without moments."""
    tables, loss = problem(shapes=((12, 4), (9, 4)))
    masker = masker_of(tables, delta_t=7, grad_window=1, total_steps=40)
    train(masker, loss, 6)
    masks = {name: mask.clone() for name, mask in masker.masks.items()}
    plain = copy.deepcopy(tables)
    optimizer = torch.optim.Adam(plain, lr=0.05)
    optimizer.load_state_dict(copy.deepcopy(masker.optimizer.state_dict()))
    target_loss = loss()
    masker.optimizer.zero_grad()
    target_loss.backward()
    gradients = [p.grad.clone() for p in tables]
    masker.step()
    ratio = 0.005 + (0.5 - 0.005) * (1 + math.cos(math.pi * 7 / 40)) / 2
    for p, g in zip(plain, gradients):
        p.grad = g.clone()
    optimizer.step()
    for (name, mask), p, g in zip(masks.items(), plain, gradients):
        value = (p.detach() * mask).reshape(-1)
        live = mask.reshape(-1)
        count = math.ceil(ratio * int(live.sum()))
        places = np.flatnonzero(live)
        left = places[by_sorting(value[live].abs().tolist(), count, largest=False)]
        live[left] = False
        dead = np.flatnonzero(~live)
        entered = dead[by_sorting(g.reshape(-1)[~live].abs().tolist(), count, largest=True)]
        live[entered] = True
        value[left] = value[entered] = 0
        assert torch.equal(masker.masks[name].reshape(-1), live)
        assert torch.equal(masker.params[name].detach().reshape(-1), value)
        state = masker.optimizer.state[masker.params[name]]
        for moment in ("exp_avg", "exp_avg_sq"):
            assert not state[moment].reshape(-1)[np.union1d(left, entered)].any()
            assert not state[moment].reshape(-1)[~live].any()
    assert masker.history[-1].ratio == ratio


def test_the_update_ratio_is_the_cosine_annealing_of_torch():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.005)
    for step in range(51):
        assert update_ratio(step, 50) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        scheduler.step()
    assert update_ratio(25, 50, schedule="linear") == pytest.approx(0.2525)
    with pytest.raises(ArgumentError, match="step=51"):
        update_ratio(51, 50)


def test_density_one_is_the_dense_run_to_the_bit():
    (tables, loss), (others, other_loss) = problem(3), problem(3)
    masker = masker_of(tables, density=1.0)
    train(masker, loss, 30)
    optimizer = torch.optim.Adam(others, lr=0.05)
    for _ in range(30):
        optimizer.zero_grad()
        other_loss().backward()
        optimizer.step()
    for ours, theirs in zip(tables, others):
        assert torch.equal(ours, theirs)


def test_random_growth_with_a_seed_is_set():
    """Same seed, same masks; what enters does not depend on gradients."""
    runs = []
    for seed in (0, 0, 1):
        tables, loss = problem()
        masker = masker_of(tables, grow="random", seed=seed)
        train(masker, loss, 20)
        runs.append(masker.masks["0"])
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_a_fixed_mask_never_moves_and_vectors_stay_dense():
    model = torch.nn.Linear(6, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    masker = DSLMasker(
        model.named_parameters(), optimizer, density=0.5, delta_t=1, total_steps=9, stop_fraction=0
    )
    before = masker.masks["weight"].clone()
    train(masker, lambda: (model(torch.ones(3, 6)) ** 2).sum(), 9)
    assert list(masker.masks) == ["weight"]
    assert torch.equal(masker.masks["weight"], before)
    assert not masker.history
    both = DSLMasker(model.named_parameters(), optimizer, total_steps=9, mask_bias=True)
    assert int(both.masks["bias"].sum()) == round(0.5 * 5)


def test_a_restart_goes_on_identically(tmp_path):
    tables, loss = problem(5)
    masker = masker_of(tables, grow="momentum", record_masks=True)
    train(masker, loss, 23)
    state = copy.deepcopy((masker.state_dict(), masker.optimizer.state_dict(), [t.detach() for t in tables]))
    torch.save(state, tmp_path / "state.pt")
    train(masker, loss, 30)
    others, other_loss = problem(5)
    again = masker_of(others, grow="momentum", record_masks=True, seed=9)
    kept, optimizer, values = torch.load(tmp_path / "state.pt", weights_only=True)
    with torch.no_grad():
        for p, value in zip(others, values):
            p.copy_(value)
    again.optimizer.load_state_dict(optimizer)
    again.load_state_dict(kept)
    train(again, other_loss, 30)
    for ours, theirs in zip(tables, others):
        assert torch.equal(ours, theirs)
    assert again.history == masker.history
    last = len(again.history)
    for name, mask in again.masks.items():
        assert torch.equal(again.masks_at(last)[name], mask)
        assert torch.equal(again.masks_at(0)[name], masker.masks_at(0)[name])


def test_a_restart_from_something_else_is_refused():
    tables, _ = problem()
    masker = masker_of(tables)
    for change, words in (
        ({"more": 1}, "more"),
        ({"masks": {"0": masker.masks["0"]}}, "other parameters"),
        ({"masks": {name: torch.ones_like(mask) for name, mask in masker.masks.items()}}, "live weights"),
    ):
        with pytest.raises(ArgumentError, match=words):
            masker.load_state_dict({**masker.state_dict(), **change})


def test_the_sketched_window_finds_what_is_large():
    generator = torch.Generator().manual_seed(0)
    gradient = 0.01 * torch.randn(20_000, generator=generator)
    heavy = torch.randperm(20_000, generator=generator)[:50]
    gradient[heavy] = 5.0
    full, sketch = GradientWindow({"p": 20_000}), GradientWindow({"p": 20_000}, memory=40_000, seed=1)
    for window in (full, sketch):
        for _ in range(3):
            window.add("p", gradient)
    assert torch.allclose(full.read("p"), 3 * gradient)
    assert sketch.sums["p"].numel() * 4 <= 40_000
    found = sketch.read("p").abs().topk(50).indices
    assert len(set(found.tolist()) & set(heavy.tolist())) >= 48
    sketch.clear()
    assert not sketch.read("p").any()


def test_bad_input_is_refused():
    tables, loss = problem()
    for options, words in (
        ({"density": 0.0}, "density=0.0"), ({"density": 1.2}, "density=1.2"), ({"density": float("nan")}, "density"),
        ({"delta_t": 0}, "delta_t=0"), ({"density": 1e-4}, "live weight of 0"), ({"rho0": 2}, "rho0=2"),
        ({"prune": "magnitud"}, "did you mean 'magnitude'"), ({"grow": "all"}, "grow='all'"),
        ({"stop_fraction": 1.1}, "stop_fraction"), ({"grad_window": 0}, "grad_window"),
        ({"total_steps": 0}, "total_steps"),
        ({"scope": "row"}, "scope"), ({"init": "erk"}, "init"), ({"grow_memory": 1}, "grow_memory"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=words):
            masker_of(tables, **options)
    with pytest.raises(ArgumentError, match="not a parameter of the optimizer"):
        DSLMasker([torch.nn.Parameter(torch.ones(2, 2))], torch.optim.Adam(tables), total_steps=1)
    with pytest.raises(ShapeError, match="mask_bias"):
        DSLMasker([torch.nn.Parameter(torch.ones(2))], torch.optim.Adam(tables), total_steps=1)
    with pytest.raises(UnsupportedError, match="floating-point"):
        DSLMasker(["table"], torch.optim.Adam(tables), total_steps=1)
    with pytest.raises(ArgumentError, match="record_masks"):
        masker_of(tables).masks_at(0)
    embedding = torch.nn.Embedding(10, 4, sparse=True)
    masker = DSLMasker(embedding.parameters(), torch.optim.SGD(embedding.parameters(), lr=0.1), total_steps=5)
    with pytest.raises(UnsupportedError, match="sparse"):
        train(masker, lambda: embedding(torch.tensor([1, 2])).sum(), 1)
    masker = masker_of(tables, delta_t=1, lr=1.0)
    with pytest.raises(ArgumentError, match="diverged"):
        train(masker, lambda: loss() * float("nan"), 1)
