"""PamC and PamCGC (arXiv 2209.14067): cost of the loss against all pairs, clusters of Cora, Citeseer and digits."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

from benchmarks.harness import Claim, compare, run
from gossamer.graph import PamCGC, cluster_metrics, influence_matrix, knn_graph
from gossamer.nn import PamCLoss, full_contrastive_loss, pamc_loss

PAPER = "accuracy above earlier graph clustering; training 3x faster, 5x less GPU memory than without meta-nodes (USPS)"
SEEDS = (0, 1, 2)
SETTINGS: dict[str, Any] = {"alpha": 2.0, "beta": 2.5, "tau": 0.5, "hidden": "light", "epochs": 100}
SIZES = (5_000, 10_000, 20_000)
CLUSTERS, WIDTH, DEGREE = 10, 10, 10


def instance(n: int) -> tuple[torch.Tensor, Any, torch.Tensor]:
    """Random representations, one step of a walk on a random graph of mean degree 10, and random labels."""
    rng = np.random.default_rng(0)
    edges = rng.integers(n, size=(2, n * DEGREE // 2))
    graph = scipy.sparse.coo_array((np.ones(edges.shape[1]), tuple(edges)), shape=(n, n))
    gamma = influence_matrix(graph, 1)
    z = torch.from_numpy(rng.standard_normal((n, WIDTH), np.float32)).requires_grad_()
    return z, gamma, torch.from_numpy(rng.integers(CLUSTERS, size=n))


def dense_full_loss(z: torch.Tensor, gamma: Any, tau: float = 0.5) -> torch.Tensor:
    """The full loss as one writes it first: an N x N tensor of similarities, differentiated by torch."""
    u = torch.nn.functional.normalize(z)
    s = u @ u.T
    eye = torch.eye(len(z), dtype=torch.bool)
    rows, columns = (torch.from_numpy(i.astype(np.int64)) for i in gamma.tocoo().coords)
    terms = torch.from_numpy(gamma.tocoo().data) * (tau * s.masked_fill(eye, 0)[rows, columns]).exp()
    positive = torch.zeros(len(z)).index_add(0, rows, terms)
    negative = (tau * s).exp().masked_fill(eye, 0).sum(dim=1)
    return negative.log().mean() - (positive + 1e-10).log().mean()


def _step(loss: Any, z: torch.Tensor, *rest: Any) -> None:
    z.grad = None
    loss(z, *rest).backward()


def speed(full: bool) -> Iterator[Claim]:
    """Loss and gradient at growing sizes, the graph laid out once, against all pairs in blocks."""
    torch.set_num_threads(2)
    seconds = {}
    for n in SIZES:
        z, gamma, labels = instance(n)
        loss = PamCLoss()
        _step(loss, z, gamma, labels)
        rounds = []
        for _ in range(30):
            begun = time.perf_counter()
            _step(loss, z, gamma, labels)
            rounds.append(time.perf_counter() - begun)
        seconds[n] = float(np.median(rounds))
    z, gamma, labels = instance(10_000)
    race = compare(
        partial(_step, PamCLoss(), z, gamma, labels),
        partial(_step, full_contrastive_loss, z, gamma),
        rounds=5,
    )
    begun = time.perf_counter()
    _step(pamc_loss, z, gamma, labels)
    once = time.perf_counter() - begun
    times = ", ".join(f"{1e3 * s:.2f} ms at {n:,}" for n, s in seconds.items())
    yield Claim.from_race(
        "Loss and gradient at 10,000 nodes, mean degree 10, d = 10, 10 clusters, 2 threads", ">= 30x", race,
        peer_name="full_contrastive_loss: all pairs, in blocks, loss and gradient in one pass", paper=PAPER,
        note=f"the graph laid out once; with laying it out {1e3 * once:.1f} ms",
    )  # fmt: skip
    slope = float(np.polyfit(np.log(SIZES), np.log([seconds[n] for n in SIZES]), 1)[0])
    yield Claim(
        "Growth of that time from 5,000 to 20,000 nodes: slope of logarithms",
        "<= 1.15",
        slope,
        "",
        note=times,
    )


def _peak(kind: str, n: int) -> float:
    command = [sys.executable, "-m", "benchmarks.pamc_memory", kind, str(n)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def memory(full: bool) -> Iterator[Claim]:
    """Resident memory that loss and gradient add in a process of their own."""
    ours, dense, blocks = (_peak(kind, 10_000) for kind in ("pamc", "dense", "blocks"))
    yield Claim("Memory of loss and gradient at 10,000 nodes, against an N x N tensor", "<= 0.05x", ours, "MB", dense,
                "the full loss, dense, by autograd", paper=PAPER,
                note=f"all pairs in blocks: {blocks:.0f} MB; the graph is laid out within")  # fmt: skip
    yield Claim(
        "Memory of loss and gradient at 20,000 nodes, 210,000 pairs of neighbours",
        "<= 100",
        _peak("pamc", 20_000),
        "MB",
    )


def _planetoid(name: str) -> tuple[Any, Any, np.ndarray]:
    file = np.load(Path(os.environ["GOSSAMER_DATA"]) / f"planetoid/{name}.npz")
    X = scipy.sparse.csr_array((file["x_data"], file["x_indices"], file["x_indptr"]), tuple(file["x_shape"]))
    ones = np.ones(len(file["a_indices"]), np.float32)
    A = scipy.sparse.csr_array((ones, file["a_indices"], file["a_indptr"]), (X.shape[0], X.shape[0]))
    return X, A, file["labels"]


def _digits() -> tuple[Any, Any, np.ndarray]:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    return X, knn_graph(X, 5), y


def _spectral(A: Any, y: np.ndarray, k: int, seed: int) -> dict[str, float]:
    """Spectral clustering of the largest component."""
    from sklearn.cluster import SpectralClustering

    part = scipy.sparse.csgraph.connected_components(A, directed=False)[1]
    inside = np.flatnonzero(part == np.bincount(part).argmax())
    model = SpectralClustering(k, affinity="precomputed", random_state=seed, assign_labels="kmeans")
    labels = model.fit_predict(scipy.sparse.csr_matrix(A[inside][:, inside]))
    return _scores(y[inside], labels)


def _louvain(A: Any, y: np.ndarray, seed: int) -> dict[str, float]:
    from sknetwork.clustering import Louvain

    return _scores(y, Louvain(random_state=seed).fit_predict(scipy.sparse.csr_matrix(A)))


def _scores(y: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    known = y >= 0
    return cluster_metrics(y[known], labels[known])


def table(X: Any, A: Any, y: np.ndarray, order: int, seed: int, passes: int) -> dict[str, dict[str, float]]:
    """Scores of all that is compared, by one seed: the three losses start from one autoencoder."""
    from sklearn.cluster import KMeans

    k = int(y.max()) + 1
    settings = {**SETTINGS, "order": order, "random_state": seed}
    encoder = PamCGC(k, pretrain_epochs=passes, **{**settings, "epochs": 0}).fit(X, A).encoder_
    found = {"K-means on X": _scores(y, KMeans(k, n_init=20, random_state=seed).fit_predict(X))}
    for name, options in (
        ("AE + K-means", {"epochs": 0}),
        ("full loss", {"loss": "full"}),
        ("sampled loss", {"loss": "sampled", "n_samples": 64}),
        ("PamCGC", {}),
        ("PamCGC by size", {"weighting": "size"}),
        ("PamCGC as published", {"centred": False, "revive": False}),
    ):
        found[name] = _scores(y, PamCGC(k, encoder=encoder, **{**settings, **options}).fit(X, A).labels_)
    found["spectral"] = _spectral(A, y, k, seed)
    found["Louvain"] = _louvain(A, y, seed)
    return found


def _quality(
    title: str, X: Any, A: Any, y: np.ndarray, order: int, acc: str, nmi: str, passes: int = 30
) -> Iterator[Claim]:
    torch.set_num_threads(1)
    tables = [table(X, A, y, order, seed, passes) for seed in SEEDS]
    mean = {
        row: {name: float(np.mean([found[row][name] for found in tables])) for name in tables[0][row]}
        for row in tables[0]
    }
    note = "means of 3 seeds at the last epoch, ACC / NMI / ARI / F1: " + "; ".join(
        f"{row} {s['acc']:.3f} / {s['nmi']:.3f} / {s['ari']:.3f} / {s['f1']:.3f}" for row, s in mean.items()
    )
    ours = mean["PamCGC"]
    spread = {
        name: {"kind": "seeds", "values": [t["PamCGC"][name] for t in tables]} for name in ("acc", "nmi")
    }
    if acc:
        yield Claim(f"{title}: accuracy", acc, ours["acc"], "", spread=spread["acc"], paper=PAPER, note=note)
        yield Claim(f"{title}: NMI", nmi, ours["nmi"], "", spread=spread["nmi"])
    gains = _differences(tables, "PamCGC", "AE + K-means")
    yield Claim(f"{title}: NMI less that of AE + K-means", ">= 0.1", float(np.mean(gains)), "",
                spread={"kind": "seeds", "values": gains}, note="" if acc else note)  # fmt: skip
    for row, target in (("full loss", "<= 0.03"), ("sampled loss", "<= 0.01")):
        lost = _differences(tables, row, "PamCGC")
        yield Claim(f"{title}: NMI of the {row} less ours", target, float(np.mean(lost)), "",
                    spread={"kind": "seeds", "values": lost})  # fmt: skip
    yield Claim(f"{title}: NMI against spectral clustering of the graph", "> 1x", ours["nmi"], "",
                mean["spectral"]["nmi"], "SpectralClustering (scikit-learn) on the largest component")  # fmt: skip
    yield Claim(f"{title}: NMI against Louvain, which chooses the number of clusters", "> 1x", ours["nmi"], "",
                mean["Louvain"]["nmi"], "Louvain (scikit-network)")  # fmt: skip


def _differences(tables: list[dict[str, dict[str, float]]], one: str, other: str) -> list[float]:
    return [found[one]["nmi"] - found[other]["nmi"] for found in tables]


def cora(full: bool) -> Iterator[Claim]:
    """2,708 papers of 7 fields, 4 steps of the walk."""
    yield from _quality("Cora", *_planetoid("cora"), 4, ">= 0.55", ">= 0.35")


def citeseer(full: bool) -> Iterator[Claim]:
    """3,327 papers of 6 fields, 3 steps of the walk."""
    yield from _quality("Citeseer", *_planetoid("citeseer"), 3, ">= 0.67", ">= 0.42")


def digits(full: bool) -> Iterator[Claim]:
    """1,797 images of 10 digits and the graph of their 5 nearest neighbours, 2 steps of the walk."""
    yield from _quality("Digits", *_digits(), 2, "", "")


def digits_longer(full: bool) -> Iterator[Claim]:
    """The same with 230 passes of the autoencoder: about as many steps as 50 passes over the digits of USPS are."""
    yield from _quality("Digits, 230 passes of the autoencoder", *_digits(), 2, "", "", passes=230)


def training(full: bool) -> Iterator[Claim]:
    """Twenty epochs on Cora and Citeseer from one autoencoder, and on Cora from none, by both losses."""
    torch.set_num_threads(2)
    for name, order, k, passes in (("Cora", 4, 7, 30), ("Citeseer", 3, 6, 30), ("Cora", 4, 7, 0)):
        X, A, _ = _planetoid(name.lower())
        settings = {**SETTINGS, "order": order, "n_init": 1, "random_state": 0}
        start = PamCGC(k, pretrain_epochs=passes, **{**settings, "epochs": 0}).fit(X, A).encoder_
        settings["epochs"] = 20
        ours, peer = (PamCGC(k, loss=loss, encoder=start, **settings) for loss in ("pamc", "full"))
        race = compare(partial(ours.fit, X, A), partial(peer.fit, X, A), rounds=11, warmup=1)
        seconds, other = (1 / float(np.median(rates)) for rates in (race.ours, race.peer))
        untrained = "" if passes else ", untrained encoder"
        yield Claim(f"{name}: time of 20 epochs, 2 threads, against the full loss{untrained}", "<= 0.7x", seconds, "s",
                    other, 'PamCGC(loss="full")', ratio=1 / race.ratio, spread=race.spread(), paper=PAPER,
                    note=f"light encoder, {ours.influence_nnz_:,} pairs of neighbours of {X.shape[0]:,} nodes; "
                         f"{sum(ours.history_['revived']):g} empty clusters started again; most of the time is the "
                         "encoder's")  # fmt: skip


if __name__ == "__main__":
    parts = {
        "speed": speed,
        "memory": memory,
        "training": training,
        "cora": cora,
        "citeseer": citeseer,
        "digits": digits,
        "digits_longer": digits_longer,
    }
    run("pamc", parts, packages=["torch", "scipy", "scikit-learn", "scikit-network"])
