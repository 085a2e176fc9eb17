"""Server and workers in real processes: as one process computes it, and on when some of them stop or lie."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.distributed.aggregation_group import HOSTILE, STEPS, batches, network, numbers, problem, server

from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer.distributed import ParameterServer
from gossamer.solve import coordinate_median

LOSS = torch.nn.functional.cross_entropy


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """What the processes left: they run once for all tests of this file."""
    out = tmp_path_factory.mktemp("processes")
    script = Path(__file__).with_name("aggregation_group.py")
    scenarios = ["mean_training", "hostile_training", "failures", "slow", "refusals"]
    done = subprocess.run(
        [sys.executable, str(script), str(out), *scenarios], timeout=280, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return out


def codes(out, scenario):
    return np.load(out / f"codes-{scenario}.npy").tolist()


def accuracy(model):
    x, y = problem()
    return float((model(x).argmax(1) == y).float().mean())


def test_the_mean_of_four_processes_is_sgd_on_their_batches_together(processes):
    assert codes(processes, "mean_training") == [0] * 5
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.2, momentum=0.5)
    for step in range(STEPS):
        parts = [batches(w)[step % 3] for w in range(4)]
        optimizer.zero_grad()
        LOSS(model(torch.cat([x for x, _ in parts])), torch.cat([y for _, y in parts])).backward()
        optimizer.step()
    for rank in range(5):  # the workers end with the server's parameters
        np.testing.assert_allclose(np.load(processes / f"mean-{rank}.npy"), numbers(model), atol=1e-6)
    assert np.load(processes / "mean-losses.npy").shape == (STEPS, 4)


def test_processes_and_a_simulation_in_one_process_have_the_same_history(processes):
    assert codes(processes, "hostile_training") == [0] * 5
    trainer = server("rich", **HOSTILE)
    result = trainer.fit(batches, STEPS, workers=4)
    found = np.load(processes / "hostile.npz")
    np.testing.assert_allclose(found["losses"], result.losses, rtol=1e-5)
    np.testing.assert_allclose(found["quality"], result.quality, atol=1e-5)
    kept = [not name.endswith("num_batches_tracked") for name in trainer.model.state_dict()]
    sizes = [t.numel() for t in trainer.model.state_dict().values()]
    np.testing.assert_allclose(
        found["model"][np.repeat(kept, sizes)], numbers(trainer.model)[np.repeat(kept, sizes)], atol=1e-5
    )


def test_a_killed_worker_and_one_that_hangs_hold_nobody_up_for_longer_than_the_timeout(processes):
    assert codes(processes, "failures") == [0, 0, 0, 0, 0, -9, -9]
    found = np.load(processes / "failures.npz")
    present = found["present"]
    assert present.shape == (STEPS, 6)
    assert present[:2].all()
    assert not present[3:, 4].any()
    assert not present[5:, 5].any()
    assert found["lost"] == 1
    assert np.diff(found["ends"]).max() < 3 + 10  # the timeout, and a busy machine
    assert (np.diff(found["ends"]) > 2.9).sum() <= 3  # a worker that hangs is waited for once
    assert found["accuracy"] > 0.8


def test_a_slow_worker_misses_a_step_and_comes_back(processes):
    assert codes(processes, "slow") == [0] * 4
    present = np.load(processes / "slow.npy")
    assert not present[2, 2]
    assert present[-1].all()


def test_a_refusal_reaches_every_process(processes):
    found = [np.load(processes / f"refusals-{rank}.npy").tolist() for rank in range(5)]
    assert "the model of worker 1 has 94 numbers: expected 66" in found[0][0]
    assert "bulyan needs p >= 4 f + 3" in found[0][1]
    for rank in range(1, 5):
        assert found[rank] == ["the server stopped because of an error"] * 2


def test_the_rule_decides_whether_hostile_workers_ruin_the_model():
    hostile = {"attack": "reverse", "byzantine_ranks": [1, 6], "seed": 1}
    found = {}
    for rule in ("mean", "flag", "trimmed_mean", "multi_krum"):
        trainer = server(rule=rule, f=2, **hostile)
        trainer.fit(lambda w: batches(w % 4), 40, workers=7)
        found[rule] = accuracy(trainer.model)
    assert found["mean"] < 0.6
    assert min(found["flag"], found["trimmed_mean"], found["multi_krum"]) > 0.85


def test_quality_tells_hostile_workers_from_honest_ones():
    trainer = server(
        rule="flag", rule_options={"m": 1}, attack="random", attack_options={"std": 1.0}, byzantine_ranks=[3]
    )
    result = trainer.fit(batches, 10, workers=4)
    assert result.present.all()
    quality = result.quality.mean(axis=0)
    assert quality[2] < quality[[0, 1, 3]].min() / 2
    assert len(result.history["loss"]) == 10


def test_running_statistics_are_the_median_of_what_the_workers_return():
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 3))
    trainer = ParameterServer(model, LOSS, "mean")
    trainer.fit(batches, 1, workers=4)
    means = [0.1 * batches(w)[0][0].mean(dim=0).numpy() for w in range(4)]
    np.testing.assert_allclose(model[0].running_mean, coordinate_median(np.stack(means)), atol=1e-6)


def test_parameters_that_need_no_gradient_stay_and_float64_works():
    model = network().double()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    trainer = ParameterServer(model, LOSS, "median")
    result = trainer.fit(lambda w: [(x.double(), y) for x, y in batches(w)], 5, workers=4)
    assert torch.equal(model[0].weight, before)
    assert result.losses[-1].mean() < result.losses[0].mean()


def test_a_nan_attack_is_left_out_with_a_warning():
    trainer = server(rule="flag", attack="nan", byzantine_ranks=[4])
    with pytest.warns(RuntimeWarning, match=r"1 of 4 .*\[3\]"):
        trainer.fit(batches, 2, workers=4)
    others = server(rule="flag")
    others.fit(batches, 2, workers=3)
    np.testing.assert_allclose(numbers(trainer.model), numbers(others.model), atol=1e-6)
    assert np.abs(numbers(others.model) - numbers(network())).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "flug"}, "did you mean 'flag'"),
        ({"f": -1}, "f=-1"),
        ({"attack": "revers", "byzantine_ranks": [1]}, "did you mean 'reverse'"),
        ({"byzantine_ranks": [1]}, "attack=None"),
        ({"attack": "zero", "byzantine_ranks": [0]}, "byzantine_ranks=0"),
        ({"drop_rate": 1.5}, "drop_rate=1.5"),
        ({"timeout": 0}, "timeout=0"),
        ({"backend": "mpi"}, "backend='mpi'"),
        ({"optimizer": torch.optim.SGD(network().parameters(), 0.1)}, "the model's parameters"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        ParameterServer(network(), LOSS, **options)


def test_bad_models_loaders_and_counts_are_refused():
    with pytest.raises(UnsupportedError, match="0 trainable"):
        ParameterServer(torch.nn.ReLU(), LOSS, optimizer=None)
    mixed = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.Linear(3, 3).double())
    with pytest.raises(UnsupportedError, match=r"float32, torch\.float64"):
        ParameterServer(mixed, LOSS)
    trainer = server(rule="krum", f=1, attack="zero", byzantine_ranks=[5])
    with pytest.raises(ArgumentError, match=r"ranks in 1\.\.4"):
        trainer.fit(batches, 1, workers=4)
    with pytest.raises(ArgumentError, match="workers=1"):
        server().fit(batches, 1, workers=1)
    with pytest.raises(ArgumentError, match="steps=0"):
        server().fit(batches, 0, workers=4)
    with pytest.raises(ArgumentError, match=r"krum needs p >= 2 f \+ 3"):
        server(rule="krum", f=1).fit(batches, 1, workers=4)
    with pytest.raises(ArgumentError, match=r"worker_loader_fn\(0\)"):
        server().fit(lambda w: [], 1, workers=4)
