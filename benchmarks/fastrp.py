"""FastRP (arXiv 1908.11512): quality on BlogCatalog and PubMed, speed, and scale, beside other ways to vectors."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse

from benchmarks.harness import Claim, compare, run

PAPER = "BlogCatalog, 10 % labels: FastRP d=512 micro .372 macro .228; DeepWalk d=128 .364 / .213 (reference notebook)"
TUNED = {"weights": (0, 0, 1, 6.67), "beta": -0.64}
PROJECTIONS = 5
RECIPE = "the recipe in SciPy and scikit-learn, as many projections"


def _blogcatalog() -> tuple[Any, np.ndarray]:
    file = scipy.io.loadmat(Path(os.environ["GOSSAMER_DATA"]) / "blogcatalog/blogcatalog.mat")
    return scipy.sparse.csr_array(file["network"]), file["group"].toarray() > 0


def _f1(X: np.ndarray, labels: np.ndarray, seeds: int = 3) -> tuple[float, float]:
    """Micro and macro F1 of logistic regressions on 10 % of the nodes, each node's number of labels given."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    scores = []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(X))
        train, test = order[: len(X) // 10], order[len(X) // 10 :]
        chances = np.zeros((len(test), labels.shape[1]))
        for j in range(labels.shape[1]):
            if labels[train, j].any():
                model = LogisticRegression(C=0.1, max_iter=200).fit(X[train], labels[train, j])
                chances[:, j] = model.predict_proba(X[test])[:, 1]
        rank = np.argsort(np.argsort(-chances, axis=1), axis=1)
        predicted = rank < labels[test].sum(axis=1, keepdims=True)
        scores.append(
            [f1_score(labels[test], predicted, average=kind, zero_division=0) for kind in ("micro", "macro")]
        )
    return tuple(np.mean(scores, axis=0))  # type: ignore[return-value]


def _ours(A: Any, d: int, seed: int = 0, **changed: Any) -> np.ndarray:
    from gossamer.graph import fastrp_embedding

    return fastrp_embedding(A, d, standardize=True, random_state=seed, **{**TUNED, **changed})


def _over_projections(
    embed: Callable[[int], np.ndarray], labels: np.ndarray, count: int = PROJECTIONS
) -> np.ndarray:
    """Micro and macro F1 of each projection: (count, 2)."""
    return np.array([_f1(embed(seed), labels) for seed in range(count)])


def _seeds(values: np.ndarray) -> dict[str, Any]:
    return {"kind": "seeds", "values": [float(value) for value in values]}


def _deviation(values: np.ndarray) -> str:
    return f"s.d. over {len(values)} projections {np.std(values, ddof=1):.4f}"


def quality(full: bool) -> Iterator[Claim]:
    """F1 on BlogCatalog at 128 columns, with and without the pull of popular nodes, over several projections."""
    from benchmarks.fastrp_peers import dense

    A, labels = _blogcatalog()
    tuned = _over_projections(lambda seed: _ours(A, 128, seed), labels)
    plain = _over_projections(lambda seed: _ours(A, 128, seed, beta=0.0), labels)
    peer = _over_projections(lambda seed: dense(A, 128, **TUNED, seed=seed), labels)
    flat = _over_projections(lambda seed: dense(A, 128, **{**TUNED, "beta": 0.0}, seed=seed), labels)
    note = (
        f"{_deviation(tuned[:, 0])}; macro-F1 {tuned[:, 1].mean():.3f}, of the recipe {peer[:, 1].mean():.3f}"
    )
    yield Claim("Micro-F1 on BlogCatalog, d=128", ">= 0.350", tuned[:, 0].mean(), "F1", peer[:, 0].mean(), RECIPE,
                spread=_seeds(tuned[:, 0]), paper=PAPER, note=note)  # fmt: skip
    gain = tuned[:, 1] - plain[:, 1]
    yield Claim("Macro-F1 gained by beta=-0.64 over beta=0, d=128", ">= 0.008", gain.mean(), "F1",
                (peer[:, 1] - flat[:, 1]).mean(), RECIPE, spread=_seeds(gain), note=_deviation(gain))  # fmt: skip


def quality_wide(full: bool) -> Iterator[Claim]:
    """F1 on BlogCatalog at 512 columns, over several projections."""
    A, labels = _blogcatalog()
    found = _over_projections(lambda seed: _ours(A, 512, seed), labels)
    for name, target, values in (("Micro", ">= 0.360", found[:, 0]), ("Macro", ">= 0.215", found[:, 1])):
        yield Claim(f"{name}-F1 on BlogCatalog, d=512", target, values.mean(), "F1", spread=_seeds(values),
                    paper=PAPER, note=_deviation(values))  # fmt: skip


def _rivals(
    A: Any, labels: np.ndarray, name: str, said: str, embed: Callable[..., np.ndarray]
) -> Iterator[Claim]:
    """Quality of another method at 128 columns with the same classifier, and the time that it takes."""
    from sklearn.preprocessing import scale

    start = time.perf_counter()
    X = embed(A, 128)
    theirs = time.perf_counter() - start
    _ours(A, 128, n_threads=2)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        mine = _ours(A, 128, n_threads=2)
        times.append(time.perf_counter() - start)
    peer, ours = _f1(scale(X.astype(np.float64)), labels), _f1(mine, labels)
    yield Claim(f"Micro-F1 on BlogCatalog, d=128, against {name}", ">= 1x", ours[0], "F1", peer[0], said,
                note=f"macro-F1 {ours[1]:.3f} against {peer[1]:.3f}")  # fmt: skip
    target = ">= 100x" if name == "DeepWalk" else ">= 1x"
    yield Claim(f"Embeddings of BlogCatalog, d=128, against {name}", target, 1 / float(np.median(times)), "calls/s",
                1 / theirs, said, note=f"{theirs:.1f} s against {np.median(times):.3f} s")  # fmt: skip


def deepwalk(full: bool) -> Iterator[Claim]:
    """Quality and time of DeepWalk."""
    from benchmarks.fastrp_peers import deepwalk as embed

    said = "10 walks of 40 nodes (NumPy), skip-gram of window 10, one epoch, two workers (gensim)"
    yield from _rivals(*_blogcatalog(), "DeepWalk", said, embed)


def factors(full: bool) -> Iterator[Claim]:
    """Quality and time of randomised SVD of the normalised adjacency, and of ProNE."""
    from benchmarks.fastrp_peers import prone, svd

    A, labels = _blogcatalog()
    yield from _rivals(
        A, labels, "randomised SVD", "scikit-learn randomized_svd of the normalised adjacency", svd
    )
    yield from _rivals(A, labels, "ProNE", "ProNE's recipe in SciPy and scikit-learn", prone)


def _pubmed() -> tuple[Any, np.ndarray]:
    file = np.load(Path(os.environ["GOSSAMER_DATA"]) / "planetoid/pubmed_graph.npz")
    indices = file["a_indices"]
    return scipy.sparse.csr_array((np.ones(len(indices)), indices, file["a_indptr"])), file["labels"]


def _splits(n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Nodes to learn from, one in ten, and the others."""
    orders = [np.random.default_rng(seed).permutation(n) for seed in range(3)]
    return [(order[: n // 10], order[n // 10 :]) for order in orders]


def _accuracy(X: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=0.1, max_iter=200).fit(X[train], labels[train]).score(X[test], labels[test])


def pubmed(full: bool) -> Iterator[Claim]:
    """Accuracy on the PubMed graph without features, 10 % labels, over several projections."""
    from sklearn.preprocessing import scale

    from benchmarks.fastrp_peers import svd

    A, labels = _pubmed()
    splits = _splits(len(labels))
    long = {"weights": (0,) * 8 + (1,) * 16, "beta": 0.0}
    found = np.array(
        [
            np.mean([_accuracy(X, labels, *split) for split in splits])
            for X in (_ours(A, 128, seed, **long) for seed in range(PROJECTIONS))
        ]
    )
    X = scale(svd(A, 128).astype(np.float64))
    peer = float(np.mean([_accuracy(X, labels, *split) for split in splits]))
    yield Claim("Accuracy on the PubMed graph, d=128, powers 9 to 24, beta=0", ">= 0.77", found.mean(), "accuracy",
                peer, "randomised SVD of the normalised adjacency (scikit-learn), d=128", spread=_seeds(found),
                note=_deviation(found))  # fmt: skip


def tuner(full: bool) -> Iterator[Claim]:
    """Accuracy on PubMed with weights and beta that the tuner found from the training labels alone, for each split."""
    from gossamer.graph import holdout_score, tune_fastrp

    A, labels = _pubmed()
    scores, found = [], []
    for seed, (train, test) in enumerate(_splits(len(labels))):
        score = holdout_score(labels, train, random_state=seed)
        best = tune_fastrp(A, score, q=(4, 24), random_state=seed).params
        scores.append(_accuracy(_ours(A, 128, seed, **best), labels, train, test))
        weights = np.array(best["weights"])
        window = f"powers {np.flatnonzero(weights)[0] + 1} to {len(weights)}"
        found.append(f"{window}, last weight {weights[-1]:.1f}, beta {best['beta']:.2f}")
    yield Claim("Accuracy on the PubMed graph, d=128, tuned on 10 % labels (20 trials, q from 4 to 24)", ">= 0.76",
                float(np.mean(scores)), "accuracy", spread=_seeds(np.array(scores)), note="; ".join(found))  # fmt: skip


def speed(full: bool) -> Iterator[Claim]:
    """Seconds at 512 columns on two threads, end to end, against SciPy."""
    from benchmarks.fastrp_peers import dense, published

    A, _ = _blogcatalog()

    def ours() -> np.ndarray:
        return _ours(A, 512, n_threads=2)

    race = compare(ours, lambda: dense(A, 512, **TUNED), rounds=9)
    yield Claim.from_race("Embeddings of BlogCatalog, d=512, against SciPy with dense float32 panels", ">= 4x", race,
                          peer_name="scipy sparse @ dense float32, scikit-learn normalize and scale")  # fmt: skip
    race = compare(ours, lambda: published(A, 512, **TUNED), rounds=3, warmup=0)
    yield Claim.from_race("Embeddings of BlogCatalog, d=512, against the reference's recipe", ">= 4x", race,
                          peer_name="SparseRandomProjection and sparse products (SciPy, scikit-learn)")  # fmt: skip


def _power_law(n: int, edges: int, exponent: float = 2.5) -> Any:
    """A Chung-Lu graph: ends of edges drawn by expected degrees i^(-1 / (exponent - 1))."""
    rng = np.random.default_rng(0)
    weight = np.cumsum(np.arange(1, n + 1) ** (-1 / (exponent - 1)))
    ends = np.searchsorted(weight, rng.random((2, edges)) * weight[-1]).astype(np.int32)
    ones = np.ones(edges, np.float32)
    A = scipy.sparse.coo_array((ones, (ends[0], ends[1])), shape=(n, n)).tocsr()
    A = (A + A.T).tocsr()
    A.data[:] = 1
    return A


def scale(full: bool) -> Iterator[Claim]:
    """A million nodes and ten million edges, 64 columns, four powers."""
    from gossamer.graph import fastrp_embedding

    A = _power_law(1_000_000, 10_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    fastrp_embedding(A, 64, random_state=0, n_threads=2)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    yield Claim("Power-law graph, 1e6 nodes, 1e7 edges, d=64, q=4", "<= 40", seconds, "s")
    yield Claim("Peak memory of that, graph included", "<= 2.2", peak, "GiB",
                note=f"the process; making the graph alone had peaked at {before / 2**20:.2f} GiB")  # fmt: skip


if __name__ == "__main__":
    parts = {
        "quality": quality,
        "quality-wide": quality_wide,
        "pubmed": pubmed,
        "tuner": tuner,
        "factors": factors,
        "deepwalk": deepwalk,
        "speed": speed,
        "scale": scale,
    }
    run("fastrp", parts, packages=["scipy", "scikit-learn", "gensim"])
