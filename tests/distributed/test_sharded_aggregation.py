"""Five processes that each see a share of the coordinates combine what one process combines."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.distributed.aggregation_group import worker_gradients

from gossamer.solve import AGGREGATORS, aggregate, flag_aggregate


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """What each of the processes found."""
    out = tmp_path_factory.mktemp("shards")
    script = Path(__file__).with_name("aggregation_group.py")
    done = subprocess.run(
        [sys.executable, str(script), str(out), "shards"], timeout=200, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert np.load(out / "codes-shards.npy").tolist() == [0] * 5, done.stderr
    return [np.load(out / f"shards-{rank}.npz") for rank in range(5)]


@pytest.mark.parametrize("rule", AGGREGATORS)
def test_every_rule_gives_what_it_gives_in_one_process(processes, rule):
    expected = aggregate(worker_gradients(), rule, f=0 if rule == "bulyan" else 1)
    for found in processes:
        np.testing.assert_allclose(found[rule], expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_some_processes_may_serve_and_others_only_work(processes):
    G = worker_gradients()
    expected, info = flag_aggregate(G.astype(np.float32), m=2, lam=0.1, return_info=True)
    for rank, found in enumerate(processes):
        assert found["some"].dtype == np.float32
        np.testing.assert_allclose(found["some"], expected, atol=1e-5)
        assert ("quality" in found) == (rank in (1, 3))
        if "quality" in found:
            np.testing.assert_allclose(found["quality"], info.quality, atol=1e-6)
        np.testing.assert_allclose(found["only"], G[1:].mean(axis=0), atol=1e-12)


def test_gradients_may_be_shorter_than_the_list_of_servers(processes):
    for found in processes:
        np.testing.assert_allclose(found["short"], worker_gradients()[:, :2].mean(axis=0), atol=1e-12)


def test_what_does_not_fit_is_refused_in_every_process(processes):
    for rank, found in enumerate(processes):
        length, dtype, count, rule = found["messages"]
        assert "rank 3 has 5 entries: expected 4" in length
        assert "rank 2 has another dtype" in dtype
        assert "processes with a gradient: 1, expected at least 2" in count
        assert "krum needs p >= 2 f + 3" in rule if rank == 0 else "servers at ranks [0] refused" in rule
