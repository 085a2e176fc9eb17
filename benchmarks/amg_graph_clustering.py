"""Bootstrap AMG for attributed graphs (arXiv 2109.09610): random graphs, Lawyers, linear time, preconditioning."""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse
import scipy.sparse.linalg

from benchmarks.harness import Claim, compare, run

PAPER = (
    "attributes keep NMI high where links fail; better modularity and entropy than SA-Cluster; linear time"
)
BLOCKS = 4
CASES = {"clear links": (0.08, 0.01), "doubtful links": (0.05, 0.02), "almost no links": (0.04, 0.03)}
CATEGORIES = [0, 1, 2, 5, 6]
"""Columns of Lawyers that are categories: status, gender, office, practice, law school."""
PATIENCE = 60
"""Seconds after which an eigensolver is stopped."""
MEMORY = 12 << 30
"""Bytes above which it is."""


def _nmi(labels: Any, truth: Any) -> float:
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(truth, labels))


def _ours(A: Any, attributes: Any, K: int, seed: int, **options: Any) -> Any:
    from gossamer.graph import AttributedAMGClustering

    options = {"max_hierarchies": 20, "restarts": 60, "n_jobs": 1, **options}
    return AttributedAMGClustering(K, random_state=seed, **options).fit(A, attributes)


def _equal(attributes: np.ndarray) -> np.ndarray:
    """How many attributes two nodes share."""
    return (attributes[:, None] == attributes).sum(axis=2).astype(float)


def _spectral(kernel: Any, K: int, seed: int) -> np.ndarray:
    from sklearn.cluster import SpectralClustering

    model = SpectralClustering(K, affinity="precomputed", random_state=seed, assign_labels="kmeans")
    return model.fit_predict(scipy.sparse.csr_matrix(kernel) if scipy.sparse.issparse(kernel) else kernel)


def _attributes_only(attributes: np.ndarray, K: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import OneHotEncoder

    return KMeans(K, n_init=10, random_state=seed).fit_predict(OneHotEncoder().fit_transform(attributes))


def _leiden(A: Any, seed: int) -> np.ndarray:
    import igraph
    import leidenalg

    source, target = scipy.sparse.triu(A, 1).nonzero()
    graph = igraph.Graph(A.shape[0], list(zip(source.tolist(), target.tolist(), strict=True)))
    return np.array(
        leidenalg.find_partition(graph, leidenalg.ModularityVertexPartition, seed=seed).membership
    )


def _table(graph: Any, K: int, seed: int) -> dict[str, float]:
    """NMI with the truth of all that is compared on one graph."""
    from gossamer.graph import SACluster

    A, a, equal = graph.adjacency, graph.attributes, _equal(graph.attributes)
    found = {
        "fused": _ours(A, a, K, seed).labels_,
        "fused, rows normed": _ours(A, a, K, seed, normalize=True).labels_,
        "links": _ours(A, None, K, seed).labels_,
        "attributes": _attributes_only(a, K, seed),
        "spectral": _spectral(A, K, seed),
        "spectral of the sum": _spectral(A.toarray() / A.mean() + equal / equal.mean(), K, seed),
        "Leiden": _leiden(A, seed),
        "SA-Cluster": SACluster(K).fit(A, a).labels_,
    }
    return {name: _nmi(labels, graph.labels) for name, labels in found.items()}


def _means(tables: list[dict[str, float]]) -> tuple[dict[str, float], str]:
    mean = {name: float(np.mean([table[name] for table in tables])) for name in tables[0]}
    return mean, "NMI " + ", ".join(f"{name} {value:.3f}" for name, value in mean.items())


def _seeds(tables: list[dict[str, float]], name: str) -> dict[str, Any]:
    return {"kind": "seeds", "values": [table[name] for table in tables]}


def sbm(full: bool) -> Iterator[Claim]:
    """Four blocks of 150 nodes, four attributes that are the block with probability 0.5."""
    from gossamer.graph import attributed_sbm

    tables = {}
    for case, (inside, outside) in CASES.items():
        graphs = [
            attributed_sbm(600, BLOCKS, p_in=inside, p_out=outside, n_attributes=4, random_state=seed)
            for seed in range(5)
        ]
        tables[case] = [_table(graph, BLOCKS, seed) for seed, graph in enumerate(graphs)]
    for case in ("doubtful links", "almost no links"):
        mean, note = _means(tables[case])
        title = f"NMI on 4 blocks, {case}"
        note = f"means of 5 seeds: {note}; the sum of kernels is dense, n^2 numbers"
        spread = _seeds(tables[case], "fused")
        fused, links = mean["fused"], mean["links"]
        if case == "doubtful links":
            yield Claim(f"{title}: with attributes, against links alone", ">= 2x", fused, "NMI", links,
                        "the same without attributes", spread=spread, paper=PAPER, note=note)  # fmt: skip
            yield Claim(f"{title}: gained over attributes alone", ">= 0.03", fused - mean["attributes"], "NMI",
                        note="attributes alone: KMeans of scikit-learn on one-hot columns")  # fmt: skip
        else:
            yield Claim(f"{title}: gained over links alone", ">= 0.3", fused - links, "NMI", spread=spread,
                        paper=PAPER, note=note)  # fmt: skip
        gain = mean["fused, rows normed"] - mean["attributes"]
        yield Claim(f"{title}: gained over attributes alone, normalize=True", ">= 0.03", gain, "NMI",
                    note="rows of the embedding at length 1, an option that is not the paper's")  # fmt: skip
        yield Claim(f"{title}: with attributes, against SA-Cluster", "> 1x", fused, "NMI",
                    mean["SA-Cluster"], "SACluster", paper=PAPER)  # fmt: skip
    mean, note = _means(tables["clear links"])
    yield Claim("NMI on 4 blocks, clear links: without attributes, against spectral clustering", ">= 0.95x",
                mean["links"], "NMI", mean["spectral"], "SpectralClustering (scikit-learn)",
                spread=_seeds(tables["clear links"], "links"),
                note=f"means of 5 seeds: {note}; noisy attributes drown clear links")  # fmt: skip


def lfr(full: bool) -> Iterator[Claim]:
    """Communities of power-law sizes that mix more and more, two attributes that are right with probability 0.6."""
    from gossamer.graph import attributed_lfr

    means = {}
    for mixing in (0.2, 0.4, 0.6, 0.8):
        tables = []
        for seed in range(3):
            graph = attributed_lfr(250, mixing, n_attributes=2, agreement=0.6, random_state=seed)
            K = int(graph.labels.max()) + 1
            fused, links = (_ours(graph.adjacency, a, K, seed).labels_ for a in (graph.attributes, None))
            alone = _attributes_only(graph.attributes, K, seed)
            tables.append({
                "fused": _nmi(fused, graph.labels), "links": _nmi(links, graph.labels),
                "attributes": _nmi(alone, graph.labels),
            })  # fmt: skip
        means[mixing] = _means(tables)
    note = "; ".join(f"mixing {mixing}: {text}" for mixing, (_, text) in means.items())
    for mixing in (0.6, 0.8):
        mean, _ = means[mixing]
        yield Claim(f"NMI on LFR graphs, mixing {mixing}: with attributes, against links alone", "> 1x", mean["fused"],
                    "NMI", mean["links"], "the same without attributes", paper=PAPER, note=note)  # fmt: skip


def _lawyers(name: str, table: str, columns: list[int] | None) -> tuple[Any, np.ndarray]:
    folder = Path(os.environ["GOSSAMER_DATA"]) / "bcmatch4graphs"
    A = scipy.sparse.csr_array(scipy.io.mmread(folder / f"{name}.mtx"))
    A = scipy.sparse.csr_array(A.maximum(A.T))
    A.data[:] = 1
    A.setdiag(0)
    A.eliminate_zeros()
    attributes = np.loadtxt(folder / f"{table}.txt", dtype=np.int64, ndmin=2)
    return A, attributes if columns is None else attributes[:, columns]


def lawyers(full: bool) -> Iterator[Claim]:
    """Modularity and entropy of attributes on friendships of 36 lawyers and advice among 71."""
    from gossamer.graph import SACluster, attribute_entropy

    less, gained, lines, against = [], [], [], []
    for name, table in (
        ("sample_LLawyers_friend36", "metadata_sample_LLawyers_36"),
        ("sample_LLawyers_adv", "metadata_sample_LLawyers_adv"),
    ):
        A, a = _lawyers(name, table, CATEGORIES)
        for K in (3, 4):
            fused = _ours(A, a, K, 0, max_hierarchies=40, restarts=100)
            links = _ours(A, None, K, 0, max_hierarchies=40, restarts=100)
            peer = SACluster(K).fit(A, a)
            entropy = attribute_entropy(a, links.labels_)
            less.append(100 * (1 - fused.entropy_ / entropy))
            gained.append(fused.modularity_ - links.modularity_)
            against.append((fused.modularity_, peer.modularity_))
            lines.append(
                f"{len(a)} nodes, K={K}: with attributes ({fused.modularity_:.3f}, {fused.entropy_:.2f}), links alone "
                f"({links.modularity_:.3f}, {entropy:.2f}), SA-Cluster ({peer.modularity_:.3f}, {peer.entropy_:.2f})"
            )
    note = "modularity and entropy in bits; " + "; ".join(lines)
    spread = {"kind": "cases", "values": less}
    yield Claim("Lawyers: least entropy saved by attributes, of 4 cases", ">= 8", min(less), "%", spread=spread,
                paper=PAPER, note=note)  # fmt: skip
    yield Claim("Lawyers: most modularity lost by attributes, of 4 cases", "<= 0.04", max(0.0, -min(gained)), "",
                spread={"kind": "cases", "values": gained})  # fmt: skip
    yield Claim(
        "Lawyers: cases in which attributes raise modularity", ">= 2", sum(g > 0 for g in gained), "of 4"
    )
    ours, peers = (float(np.mean(column)) for column in zip(*against, strict=True))
    yield Claim("Lawyers: mean modularity with attributes, against SA-Cluster", "> 1x", ours, "", peers, "SACluster",
                paper=PAPER)  # fmt: skip


def yeast(full: bool) -> Iterator[Claim]:
    """A network of 2,375 proteins with one attribute."""
    from gossamer.graph import attribute_entropy

    A, a = _lawyers("sample_yeast", "metadata_sample_yeast", None)
    fused, links = (_ours(A, table, 10, 0, restarts=20, n_jobs=2) for table in (a, None))
    entropy = attribute_entropy(a, links.labels_)
    yield Claim("Yeast proteins, K=10: entropy with the attribute, against links alone", "< 1x", fused.entropy_, "bits",
                entropy, "the same without attributes", paper=PAPER,
                note=f"modularity {fused.modularity_:.3f} and {links.modularity_:.3f}, "
                     f"{len(np.unique(a))} values")  # fmt: skip


def _vectors(n: int) -> tuple[Any, float]:
    """A graph of n nodes and how long its smooth vectors of ten hierarchies take."""
    from gossamer.graph import attributed_sbm, smooth_vectors

    A = attributed_sbm(n, 10, mean_degree=10, ratio=0.05, random_state=0).adjacency
    begun = time.perf_counter()
    W = smooth_vectors(A, 10, conv_ratio=0, random_state=0)
    seconds = time.perf_counter() - begun
    assert W.shape == (n, 11)
    return A, seconds


def scale(full: bool) -> Iterator[Claim]:
    """Smooth vectors of ten hierarchies on 25,000 and on 100,000 nodes of mean degree 10."""
    small, large = min(_vectors(25_000)[1] for _ in range(2)), _vectors(100_000)[1]
    yield Claim("Ten hierarchies, 1e5 nodes, mean degree 10", "<= 40", large, "s", paper=PAPER)
    yield Claim("Growth of that time from 2.5e4 to 1e5 nodes, over linear growth", "<= 1.3", large / small / 4, "",
                paper=PAPER, note=f"{small:.2f} s and {large:.2f} s, one thread")  # fmt: skip


def _eigenvectors(A: Any, pipe: Any) -> None:
    """The same number of eigenvectors of the same Laplacian, and the seconds that they take."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    degree = scipy.sparse.diags_array(A.sum(axis=1))
    begun = time.perf_counter()
    scipy.sparse.linalg.eigsh(scipy.sparse.csc_matrix(degree - A), k=11, sigma=-1e-3, which="LM")
    pipe.send(time.perf_counter() - begun)


def eigenvectors(full: bool) -> Iterator[Claim]:
    """Against shift-and-invert Lanczos for eleven eigenvectors, stopped after a minute."""
    A, ours = _vectors(100_000)
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_eigenvectors, args=(A, there))
    process.start()
    done = here.poll(PATIENCE)
    peer = here.recv() if done else float(PATIENCE)
    process.kill()
    process.join()
    note = (
        ""
        if done
        else f"eigsh was not done after {PATIENCE} s or ran out of {MEMORY >> 30} GiB; that time stands for it"
    )
    yield Claim("Eleven vectors, 1e5 nodes: smooth ones against eigenvectors", "< 1x", ours, "s", peer,
                "scipy eigsh, sigma=-1e-3", note=note)  # fmt: skip


def _grid(side: int = 300) -> tuple[Any, np.ndarray]:
    from gossamer.graph import laplacian_spd

    path = scipy.sparse.diags_array([1.0, 1.0], offsets=[-1, 1], shape=(side, side))
    eye = scipy.sparse.eye_array(side)
    A = laplacian_spd(scipy.sparse.csr_array(scipy.sparse.kron(path, eye) + scipy.sparse.kron(eye, path)))
    return A, np.random.default_rng(0).standard_normal(side**2)


def _composite(**options: Any) -> Any:
    from gossamer.solve import BootstrapAMG

    return BootstrapAMG(random_state=0, **options)


def _total(build: Callable[[], Any], A: Any, b: np.ndarray) -> Any:
    """Set a preconditioner up and solve with it, all in one."""
    from gossamer.solve import solve

    result = solve(A, b, method="cg", M=build(), rtol=1e-8)
    assert result.success
    return result


def _smoothed(A: Any) -> Any:
    import pyamg

    return pyamg.smoothed_aggregation_solver(scipy.sparse.csr_matrix(A))


def _adaptive(A: Any, candidates: int) -> Any:
    import pyamg

    np.random.seed(0)  # noqa: NPY002 (PyAMG draws from it)
    return pyamg.aggregation.adaptive_sa_solver(scipy.sparse.csr_matrix(A), num_candidates=candidates)[0]


GRID_OPTIONS = {"sweeps": 2, "smooth": True}


def preconditioner(full: bool) -> Iterator[Claim]:
    """Setup and conjugate gradients to 1e-8 for the Laplacian of a 300 x 300 grid, against PyAMG."""
    A, b = _grid()
    ours = partial(_total, lambda: _composite(**GRID_OPTIONS).setup(A), A, b)
    peer = partial(_total, lambda: _smoothed(A), A, b)
    mine, theirs = ours().nit, peer().nit
    race = compare(ours, peer, rounds=5, warmup=0)
    seconds, other = (1 / np.median(rates) for rates in (race.ours, race.peer))
    yield Claim("Time of setup and solution on a 300 x 300 grid, against PyAMG", "<= 1.2x", seconds, "s", other,
                "pyamg smoothed_aggregation_solver in the same conjugate gradients", ratio=1 / race.ratio,
                spread=race.spread(), note=f"{mine} iterations, PyAMG {theirs}; spread of rates")  # fmt: skip
    for candidates, ratio in ((1, 0.5), (3, 0.25)):
        begun = time.perf_counter()
        adaptive = _total(lambda: _adaptive(A, candidates), A, b).nit  # noqa: B023 (called at once)
        between = time.perf_counter()
        composite = _total(lambda: _composite(conv_ratio=ratio, **GRID_OPTIONS).setup(A), A, b).nit  # noqa: B023
        seconds = time.perf_counter() - between
        yield Claim(f"Iterations on a 300 x 300 grid, conv_ratio={ratio}, against {candidates} adaptive candidates",
                    "< 1x", composite, "iterations", adaptive, "pyamg adaptive_sa_solver",
                    note=f"with setup {seconds:.2f} s, PyAMG {between - begun:.2f} s")  # fmt: skip


if __name__ == "__main__":
    parts = {
        "sbm": sbm,
        "lfr": lfr,
        "lawyers": lawyers,
        "yeast": yeast,
        "scale": scale,
        "eigenvectors": eigenvectors,
        "preconditioner": preconditioner,
    }
    packages = ["scipy", "scikit-learn", "networkx", "leidenalg", "pyamg"]
    run("amg-graph-clustering", parts, packages=packages)
