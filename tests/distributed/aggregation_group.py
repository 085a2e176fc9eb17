"""Real processes for test_parameter_server.py and test_sharded_aggregation.py: forked from one that has torch loaded.

Each scenario is a function of (rank, out) that runs in every process of a gloo group and leaves its findings in files.
"""

import os
import signal
import sys
import time
import warnings
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist

from gossamer._core.errors import ArgumentError, GossamerError
from gossamer.distributed import ParameterServer, ShardedAggregator
from gossamer.solve import AGGREGATORS

BATCH, STEPS = 8, 20


def problem(classes=3, n=96):
    rng = np.random.default_rng(0)
    centers = 2 * rng.standard_normal((classes, 5))
    y = rng.integers(classes, size=n)
    x = centers[y] + rng.standard_normal((n, 5))
    return torch.from_numpy(x).float(), torch.from_numpy(y)


def batches(worker, workers=4):
    x, y = problem()
    x, y = x[worker::workers], y[worker::workers]
    return [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, len(x), BATCH)]


def network(kind="plain"):
    torch.manual_seed(1)
    extra = [torch.nn.BatchNorm1d(7), torch.nn.Dropout(0.2)] if kind == "rich" else []
    return torch.nn.Sequential(torch.nn.Linear(5, 7), *extra, torch.nn.ReLU(), torch.nn.Linear(7, 3))


def server(kind="plain", **options):
    model = network(kind)
    optimizer = torch.optim.SGD(model.parameters(), 0.2, momentum=0.5)
    return ParameterServer(model, torch.nn.functional.cross_entropy, optimizer=optimizer, **options)


HOSTILE = {
    "rule": "flag",
    "attack": "little_is_enough",
    "byzantine_ranks": [2, 3],
    "drop_rate": 0.1,
    "seed": 5,
}


def numbers(model):
    return torch.cat([t.detach().reshape(-1).float() for t in model.state_dict().values()]).numpy()


def mean_training(rank, out):
    trainer = server(rule="mean", timeout=60)
    result = trainer.fit(batches, STEPS)
    np.save(f"{out}/mean-{rank}.npy", numbers(trainer.model))
    assert (result is None) == (rank > 0)
    if result is not None:
        np.save(f"{out}/mean-losses.npy", result.losses)


def hostile_training(rank, out):
    trainer = server("rich", **HOSTILE, timeout=60)
    seen = []
    result = trainer.fit(batches, STEPS, callback=seen.append)
    if result is not None:
        assert seen == list(range(STEPS))
        np.savez(
            f"{out}/hostile.npz", losses=result.losses, quality=result.quality, model=numbers(trainer.model)
        )


def failures(rank, out):
    """Six workers: one is killed at its fourth batch, one stops moving at its sixth, two are hostile."""

    def loader(worker):
        def read():
            for count in range(10**6):
                if worker == 4 and count == 3:
                    os.kill(os.getpid(), signal.SIGKILL)
                if worker == 5 and count == 5:
                    os.kill(os.getpid(), signal.SIGSTOP)
                yield from batches(worker % 4)[:1]

        return read()

    trainer = server(rule="median", attack="reverse", byzantine_ranks=[1], timeout=3.0)
    ends = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = trainer.fit(loader, STEPS, callback=lambda step: ends.append(time.monotonic()))
    if result is not None:
        lost = sum("lost worker 4" in str(w.message) for w in caught)
        x, y = problem()
        accuracy = float((trainer.model(x).argmax(1) == y).float().mean())
        np.savez(f"{out}/failures.npz", present=result.present, ends=ends, lost=lost, accuracy=accuracy)


def slow(rank, out):
    """Worker 2 sleeps through one step, and comes back."""

    def loader(worker):
        for count in range(10**6):
            if worker == 2 and count == 2:
                time.sleep(3.0)
            yield from batches(worker)[:1]

    def unhurried(step):
        if step > 2:
            time.sleep(0.5)

    result = server(rule="mean", timeout=1.5).fit(loader, 12, callback=unhurried)
    if result is not None:
        np.save(f"{out}/slow.npy", result.present)


def refusals(rank, out):
    """A worker with another model; f that does not fit: the server says so, and the workers learn of it."""
    messages = []
    for trainer in (
        server("rich" if rank == 2 else "plain", timeout=30),
        server(rule="bulyan", f=1, timeout=30),
    ):
        try:
            trainer.fit(batches, 3)
            messages.append("")
        except GossamerError as error:
            messages.append(str(error))
        dist.barrier()
    np.save(f"{out}/refusals-{rank}.npy", np.array(messages))


def worker_gradients(n=1003):
    G = 1 + 0.5 * np.random.default_rng(2).standard_normal((5, n))
    G[1] *= -30
    return G


def shards(rank, out):
    found, G = {}, worker_gradients()
    for rule in AGGREGATORS:
        combine = ShardedAggregator(rule, f=0 if rule == "bulyan" else 1)
        found[rule] = combine(G[rank])
    some = ShardedAggregator("flag", servers=[3, 1], m=2, lam=0.1, return_info=True)
    found["some"], info = some(torch.from_numpy(G[rank]).float())
    assert (info is not None) == (rank in (1, 3))
    if info is not None:
        found["quality"] = info.quality
        assert torch.equal(info.x, found["some"])
    only = ShardedAggregator("mean", servers=[0])
    found["only"] = only(None if rank == 0 else G[rank])
    found["short"] = ShardedAggregator("mean")(G[rank, :2])
    messages = []
    for wrong in (
        lambda: only(G[rank, : 4 + (rank == 3)]),
        lambda: only(G[rank].astype(np.float32 if rank == 2 else np.float64)),
        lambda: only(G[rank] if rank == 4 else None),
        lambda: ShardedAggregator("krum", f=2, servers=[0])(G[rank]),
    ):
        try:
            wrong()
            messages.append("")
        except ArgumentError as error:
            messages.append(str(error))
    np.savez(f"{out}/shards-{rank}.npz", **found, messages=np.array(messages))


def run(scenario, size, out):
    """Fork, run, wait; the server's process decides when a scenario is over, then the others are ended."""
    children = []
    for rank in range(size):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                dist.init_process_group(
                    "gloo",
                    init_method=f"file://{out}/meet-{scenario.__name__}",
                    rank=rank,
                    world_size=size,
                    timeout=timedelta(seconds=100),
                )
                scenario(rank, out)
                code = 0
            except BaseException as error:
                print(f"{scenario.__name__}, rank {rank}: {error!r}", file=sys.stderr, flush=True)
            os._exit(code)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1])]
    patience = time.monotonic() + 10
    for child in children[1:]:
        while (done := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < patience:
            time.sleep(0.02)
        if done[0] == 0:
            os.kill(child, signal.SIGKILL)
            done = os.waitpid(child, 0)
        codes.append(os.waitstatus_to_exitcode(done[1]))
    np.save(f"{out}/codes-{scenario.__name__}.npy", codes)


SCENARIOS = {
    "mean_training": (mean_training, 5),
    "hostile_training": (hostile_training, 5),
    "failures": (failures, 7),
    "slow": (slow, 4),
    "refusals": (refusals, 5),
    "shards": (shards, 5),
}

if __name__ == "__main__":
    torch.set_num_threads(1)  # before forks: no thread pool exists yet
    torch.optim.SGD([torch.zeros(1)], 1.0)  # its imports, once for all processes
    for name in sys.argv[2:]:
        run(*SCENARIOS[name], sys.argv[1])
