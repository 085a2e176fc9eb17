"""TEDDY (arXiv 2402.01261): accuracy on Cora and Citeseer beside other tickets, speed of scores and of inference."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

from benchmarks.harness import Claim, compare, run
from gossamer.graph import teddy_edge_scores
from gossamer.nn import GCN, GIN, SparseTensor, skip_zeros
from gossamer.sparsify import TeddyTrainer
from gossamer.sparsify.graph_lottery import UGS, RandomTicket, TicketResult, sweep_sparsities, ticket_cost

LEVELS = (5, 10, 20)
SEEDS = (0, 1, 2)
LAMBDA = 10.0
PAPER = "above UGS and WD-GLT at every sparsity of the sweep, mostly above the dense network"
Data = tuple[Any, Any, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@cache
def _graph(name: str) -> Data:
    """Features with rows of sum 1, adjacency, classes, and the public split."""
    file = np.load(Path(os.environ["GOSSAMER_DATA"]) / f"planetoid/{name}.npz")
    X = scipy.sparse.csr_array((file["x_data"], file["x_indices"], file["x_indptr"]), tuple(file["x_shape"]))
    sums = np.asarray(X.sum(axis=1)).ravel()
    X = scipy.sparse.csr_array(scipy.sparse.diags_array(1 / np.where(sums > 0, sums, 1)) @ X)
    ones = np.ones(len(file["a_indices"]), np.float32)
    A = scipy.sparse.csr_array((ones, file["a_indices"], file["a_indptr"]), (X.shape[0], X.shape[0]))
    return X.astype(np.float32), A, file["labels"], file["train_idx"], file["val_idx"], file["test_idx"]


def _maker(name: str, network: Any, hidden: int) -> Callable[[], torch.nn.Module]:
    X, _, y, *_ = _graph(name)
    return lambda: network(X.shape[1], hidden, int(y.max()) + 1)


def _fit(name: str, trainer: Any, **options: Any) -> tuple[float, TicketResult]:
    """Test accuracy at the best validation epoch."""
    X, A, y, train, val, test = _graph(name)
    ticket = trainer.fit(X, A, y, train, val, **options)
    return 100 * ticket.accuracy(y, test), ticket


def _rows(name: str, network: Any, seed: int, levels: tuple[int, ...]) -> Iterator[tuple[str, int, float]]:
    """Test accuracies by row and level: the dense network (level 0) and what TEDDY and orders of edges make of it."""
    make = _maker(name, network, 64)

    def teddy(edges: float, weights: float, lambda_dt: float = 0.0, score: str = "teddy") -> TeddyTrainer:
        return TeddyTrainer(make, edges, weights, lambda_dt, seed=seed, edge_score=score)

    accuracy, dense = _fit(name, teddy(0, 0))
    yield "dense", 0, accuracy
    for level in levels:
        edges, weights = sweep_sparsities(level)
        yield "TEDDY, full", level, _fit(name, teddy(edges, weights, LAMBDA), teacher_logits=dense.logits)[0]
        if level == levels[-1]:
            for score in ("teddy", "random", "inverse"):
                yield f"{score}, edges only", level, _fit(name, teddy(edges, 0, score=score))[0]


def _table(name: str, network: Any, levels: tuple[int, ...] = LEVELS) -> dict[tuple[str, int], np.ndarray]:
    found: dict[tuple[str, int], list[float]] = {}
    for seed in SEEDS:
        for row, level, accuracy in _rows(name, network, seed, levels):
            found.setdefault((row, level), []).append(accuracy)
    return {key: np.array(values) for key, values in found.items()}


def _note(table: dict[tuple[str, int], np.ndarray]) -> str:
    rows = [
        f"{row}{f' at level {level}' if level else ''} {values.mean():.1f}"
        for (row, level), values in table.items()
    ]
    return f"mean test accuracy, %, hidden 64, seeds {list(SEEDS)}: {'; '.join(rows)}"


def _beside(
    name: str, sign: float, ours: np.ndarray, peer: np.ndarray, peer_name: str, note: str = ""
) -> Claim:
    """Mean accuracies over seeds, with a target of the peer's mean and ``sign`` points."""
    target = f">= {float(np.mean(peer)) + sign:.2f}"
    spread = {"kind": "seeds", "values": np.asarray(ours).tolist(), "peer": np.asarray(peer).tolist()}
    return Claim(name, target, float(np.mean(ours)), "% accuracy", float(np.mean(peer)), peer_name, spread=spread,
                 paper=PAPER, note=note or f"the target is the peer's accuracy {sign:+g} points")  # fmt: skip


def _accuracy(name: str, network: Any, label: str) -> Iterator[Claim]:
    table = _table(name, network)
    dense, last = table["dense", 0], LEVELS[-1]
    for level in LEVELS:
        edges, weights = sweep_sparsities(level)
        yield _beside(f"{label}, full TEDDY without {edges:.0%} of edges and {weights:.0%} of weights", -0.5,
                      table["TEDDY, full", level], dense, "the dense network on the whole graph",
                      _note(table) if level == last else "")  # fmt: skip
    other, lead = ("inverse", 2.0) if name == "cora" else ("random", 1.0)
    yield _beside(f"{label}, edges alone by TEDDY at level {last}", lead, table["teddy, edges only", last],
                  table[f"{other}, edges only", last], f"edges in {other} order")  # fmt: skip


def cora(full: bool) -> Iterator[Claim]:
    """A graph convolutional network on Cora."""
    yield from _accuracy("cora", GCN, "GCN on Cora")
    if full:
        yield from _accuracy("cora", GIN, "GIN on Cora")


def citeseer(full: bool) -> Iterator[Claim]:
    """A graph convolutional network on Citeseer."""
    yield from _accuracy("citeseer", GCN, "GCN on Citeseer")
    if full:
        yield from _accuracy("citeseer", GIN, "GIN on Citeseer")


def _against_ugs(name: str, label: str, seeds: tuple[int, ...]) -> Iterator[Claim]:
    X, A, y, train, val, test = _graph(name)
    make, rounds = _maker(name, GCN, 64), LEVELS[-1]
    ours, peer, seconds = [], [], []
    for seed in seeds:
        start = time.process_time()
        accuracy, _ = _fit(name, TeddyTrainer(make, *sweep_sparsities(rounds), LAMBDA, seed=seed))
        middle = time.process_time()
        tickets = dict(UGS(make, rounds, seed=seed).tickets(X, A, y, train, val, at=(rounds,)))
        seconds.append((middle - start, time.process_time() - middle))
        ours.append(accuracy)
        peer.append(100 * tickets[rounds].accuracy(y, test))
    yield _beside(f"{label}, full TEDDY beside UGS at level {rounds}", 1.0, np.array(ours), np.array(peer),
                  f"UGS, {rounds} rounds", f"seeds {list(seeds)}; the target is UGS +1 point")  # fmt: skip
    a, b = np.sum(seconds, axis=0)
    yield Claim(f"{label}, seconds of processor of TEDDY with its dense training, beside {rounds} rounds of UGS",
                "<= 0.15x", a, "s", b, f"UGS, {rounds} rounds and the ticket's training")  # fmt: skip


def edges(full: bool) -> Iterator[Claim]:
    """TEDDY's edges and random edges under the same projection, both data sets, without distillation."""
    ours, peer = [], []
    for name in ("cora", "citeseer"):
        make = _maker(name, GCN, 64)
        for level in LEVELS:
            shares = sweep_sparsities(level)
            ours.append([_fit(name, TeddyTrainer(make, *shares, 0.0, seed=s))[0] for s in SEEDS])
            peer.append([_fit(name, RandomTicket(make, *shares, seed=s))[0] for s in SEEDS])
    yield _beside("GCN on Cora and Citeseer, TEDDY's edges and projection, mean of levels 5, 10 and 20", 0.0,
                  np.mean(ours, axis=0), np.mean(peer, axis=0), "random edges, same projection")  # fmt: skip


def ugs_cora(full: bool) -> Iterator[Claim]:
    """Twenty rounds of trained masks on Cora: one seed, three with ``--full``."""
    yield from _against_ugs("cora", "GCN on Cora", SEEDS if full else SEEDS[:1])


def ugs_citeseer(full: bool) -> Iterator[Claim]:
    """Twenty rounds of trained masks on Citeseer: one seed, three with ``--full``."""
    yield from _against_ugs("citeseer", "GCN on Citeseer", SEEDS if full else SEEDS[:1])


def scores(full: bool) -> Iterator[Claim]:
    """Scores of ten million edges between a million nodes."""
    rng = np.random.default_rng(0)
    ends = rng.integers(0, 1_000_000, (2, 10_000_000), dtype=np.int32)
    A = scipy.sparse.coo_array((np.ones(ends.shape[1]), tuple(ends)), shape=(1_000_000,) * 2).tocsr()
    A = (A + A.T).tocsr()
    A.data[:] = 1
    teddy_edge_scores(A[:1000, :1000])
    start = time.perf_counter()
    found = teddy_edge_scores(A)
    seconds = time.perf_counter() - start
    yield Claim("Scores of 1e7 undirected edges, 1e6 nodes", "<= 1.5", seconds, "s",
                note=f"{len(found)} stored entries, symmetry checked")  # fmt: skip


def inference(full: bool) -> Iterator[Claim]:
    """A convolutional network of 512 columns on Citeseer: the ticket of level 20 against dense weights, all edges."""
    X, A, *_ = _graph("citeseer")
    make = _maker("citeseer", GCN, 512)
    trainer = TeddyTrainer(make, *sweep_sparsities(20), 0.0, epochs=200 if full else 40)
    _, ticket = _fit("citeseer", trainer)
    dense, fast = make().eval(), skip_zeros(ticket.model)
    x, whole, pruned = SparseTensor.of(X), SparseTensor.of(A), SparseTensor.of(ticket.A_pruned)
    with torch.no_grad():
        assert torch.allclose(fast(x, pruned), ticket.model(x, pruned), atol=1e-4)
        race = compare(lambda: fast(x, pruned), lambda: dense(x, whole), rounds=31, warmup=3)
    costs = ticket_cost(ticket.model, X, ticket.A_pruned).macs, ticket_cost(dense, X, A).macs
    yield Claim.from_race("Inference of the ticket of level 20, GCN, hidden 512, Citeseer", ">= 1.5x", race,
                          peer_name="dense weights on the whole graph, same kernels",
                          note=f"{costs[0]:,} of {costs[1]:,} multiplications; features sparse in both")  # fmt: skip


if __name__ == "__main__":
    parts = {
        "cora": cora,
        "citeseer": citeseer,
        "edges": edges,
        "ugs-cora": ugs_cora,
        "ugs-citeseer": ugs_citeseer,
        "scores": scores,
        "inference": inference,
    }
    run("teddy", parts, packages=["scipy", "torch"])
