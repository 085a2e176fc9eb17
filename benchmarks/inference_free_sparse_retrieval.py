"""Inference-free sparse retrieval (arXiv 2411.04403): quality on package descriptions, what training gives, and speed.

Students are trained by :mod:`benchmarks.inference_free_sparse_runs`, which takes minutes for each; the part
``students`` speaks of those that are there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.harness import Claim, compare, run
from benchmarks.inference_free_sparse_data import (
    debian,
    dense_rows,
    queries_by,
    sparse_rows,
    untrained_encoder,
    xquad,
)
from benchmarks.inference_free_sparse_runs import available, measure

PAPER = "BEIR mean NDCG@10: doc-v2-distill .504 at FLOPS 1.8, doc-v1 .490 at 2.3, siamese v2 .528 at 8.3"
LATENCY = "client-side latency 1.1x that of BM25"
UNIT = "NDCG@10"


def _ndcg_of_scores(scores: np.ndarray) -> float:
    from gossamer.retrieve import ndcg

    return ndcg(np.argsort(-scores, axis=1, kind="stable")[:, :10], debian().relevant)


def teachers(full: bool) -> Iterator[Claim]:
    """Each teacher alone, the sum of raw scores, and the ensemble of normalised ones, ranking all documents."""
    from gossamer.retrieve import HeterogeneousTeacher

    data = debian()
    dense = dense_rows("queries", data.queries) @ dense_rows("docs", data.docs).T
    rare = (sparse_rows("queries", data.queries) @ sparse_rows("docs", data.docs).T).toarray()
    ensemble = HeterogeneousTeacher([lambda q, d: dense, lambda q, d: rare]).combine([dense, rare])
    alone = {"all-MiniLM-L6-v2": _ndcg_of_scores(dense), "SPLADE": _ndcg_of_scores(rare)}
    raw, together = _ndcg_of_scores(dense + rare), _ndcg_of_scores(ensemble)
    best = max(alone, key=lambda name: alone[name])
    said = (
        f"ensemble {together:.3f}, "
        + ", ".join(f"{k} {v:.3f}" for k, v in alone.items())
        + f", raw sum {raw:.3f}"
    )
    yield Claim(f"{UNIT} gained by the normalised ensemble over the better teacher alone", ">= 0.03",
                together - alone[best], UNIT, note=said)  # fmt: skip
    yield Claim(f"{UNIT} gained by the normalised ensemble over the sum of raw scores", ">= 0.025", together - raw,
                UNIT)  # fmt: skip


def _words_by_bm25s() -> tuple[Any, Any]:
    import bm25s

    data = debian()
    retriever = bm25s.BM25(k1=1.2, b=0.75, backend="numpy")
    retriever.index(bm25s.tokenize(data.docs, show_progress=False), show_progress=False)
    return retriever, bm25s.tokenize(data.queries, show_progress=False)


def untrained(full: bool) -> Iterator[Claim]:
    """A SPLADE encoder's documents with queries by a table, before any training of ours, beside lexical searches."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    from gossamer.retrieve import BM25DocEncoder, ndcg

    data = debian()
    rows = sparse_rows("docs", data.docs)
    start, binary = measure(rows, "idf"), measure(rows, "binary")
    yield Claim(f"{UNIT} gained by queries weighted by IDF over binary ones, without training", ">= 0.005",
                start["ndcg"] - binary["ndcg"], UNIT,
                note=f"IDF {start['ndcg']:.3f}, binary {binary['ndcg']:.3f}, "
                f"{start['nonzeros']:.0f} non-zeros a document")  # fmt: skip
    retriever, asked = _words_by_bm25s()
    words, _ = retriever.retrieve(asked, k=10, show_progress=False)
    bm25 = BM25DocEncoder(queries_by("corpus").pieces).fit(data.docs)
    pieces = measure(bm25.encode(data.docs), "corpus")["ndcg"]
    yield Claim(f"{UNIT} of untrained documents with IDF queries, against BM25 of words", ">= 1x", start["ndcg"], UNIT,
                ndcg(words, data.relevant), "bm25s, k1=1.2, b=0.75",
                note=f"BM25 of word pieces {pieces:.3f}")  # fmt: skip
    tfidf = TfidfVectorizer(sublinear_tf=True).fit(data.docs)
    cosine = (tfidf.transform(data.queries) @ tfidf.transform(data.docs).T).toarray()
    yield Claim(f"{UNIT} of untrained documents with IDF queries, against TF-IDF", ">= 1x", start["ndcg"], UNIT,
                _ndcg_of_scores(cosine), "TfidfVectorizer, sublinear tf (scikit-learn)")  # fmt: skip


def fusion(full: bool) -> Iterator[Claim]:
    """The dense ranking and the inference-free one, fused by ranks."""
    from gossamer.retrieve import ndcg, reciprocal_rank_fusion

    data = debian()
    rows = sparse_rows("docs", data.docs)
    dense = dense_rows("queries", data.queries) @ dense_rows("docs", data.docs).T
    ranked = [np.argsort(-dense, axis=1, kind="stable")[:, :100], _search(rows, "idf", 100)]
    fused = ndcg(reciprocal_rank_fusion(ranked, k=10)[0], data.relevant)
    yield Claim(f"{UNIT} of the dense and the inference-free ranking fused, against the dense one", ">= 1x",
                fused, UNIT, _ndcg_of_scores(dense), "all-MiniLM-L6-v2, exact search")  # fmt: skip


def questions(full: bool) -> Iterator[Claim]:
    """Questions over 240 paragraphs of XQuAD, where words alone find nearly everything."""
    import bm25s

    from gossamer.retrieve import InvertedIndex, ndcg

    paragraphs, asked, relevant = xquad()
    index = InvertedIndex().build(untrained_encoder(max_length=256).encode(paragraphs))
    found = {kind: index.search(queries_by(kind).encode(asked), 10)[0] for kind in ("idf", "binary")}
    retriever = bm25s.BM25(k1=1.2, b=0.75, backend="numpy")
    retriever.index(bm25s.tokenize(paragraphs, show_progress=False), show_progress=False)
    words, _ = retriever.retrieve(bm25s.tokenize(asked, show_progress=False), k=10, show_progress=False)
    yield Claim(f"{UNIT} on XQuAD of untrained documents with IDF queries, against BM25 of words", ">= 1x",
                ndcg(found["idf"], relevant), UNIT, ndcg(words, relevant), "bm25s, k1=1.2, b=0.75",
                note=f"binary queries {ndcg(found['binary'], relevant):.3f}")  # fmt: skip


def _search(rows: Any, queries: str, k: int) -> np.ndarray:
    from gossamer.retrieve import InvertedIndex

    return InvertedIndex().build(rows).search(queries_by(queries).encode(debian().queries), k)[0]


def _pruned(rows: Any, nonzeros: float) -> dict[str, float]:
    """The figures of documents cut to their largest weights, so many on average at most."""
    from gossamer.retrieve import prune_rows

    top = max(n for n in range(1, 400) if np.minimum(rows.getnnz(1), n).mean() <= nonzeros)
    return measure(prune_rows(rows, top_n=top), "idf")


def students(full: bool) -> Iterator[Claim]:
    """What distillation changes, by the mean over the seeds that were trained."""
    rows = sparse_rows("docs", debian().docs)
    start = measure(rows, "idf")
    found = {
        name: available(name) for name in ("ensemble", "light", "dense", "sparse", "plain", "plain-light")
    }

    def mean(name: str, key: str) -> float:
        return float(np.mean([run[key] for run in found[name]]))

    def seeds(name: str) -> dict[str, Any]:
        return {"kind": "seeds", "values": [run["ndcg"] for run in found[name]]}

    def said(name: str) -> str:
        return (
            f"{mean(name, 'ndcg'):.3f} at {mean(name, 'nonzeros'):.0f} non-zeros and FLOPS {mean(name, 'flops'):.2f}, "
            f"{len(found[name])} seeds; start {start['ndcg']:.3f} at {start['nonzeros']:.0f} and {start['flops']:.2f}"
        )

    if found["ensemble"]:
        ours, left = mean("ensemble", "ndcg"), mean("ensemble", "nonzeros")
        yield Claim(f"{UNIT} lost by the distilled student, lambda_d .01", "<= 0.010", start["ndcg"] - ours, UNIT,
                    paper=PAPER, note=said("ensemble"), spread=seeds("ensemble"))  # fmt: skip
        yield Claim("Non-zeros of a document of the distilled student, lambda_d .01", "<= 0.45x", left, "non-zeros",
                    start["nonzeros"], "the start, without training")  # fmt: skip
        pruned = _pruned(rows, left)["ndcg"]
        yield Claim(f"{UNIT} gained by distillation over the start pruned to as many non-zeros", ">= 0.010",
                    ours - pruned, UNIT, note=f"pruned start {pruned:.3f}")  # fmt: skip
    if found["ensemble"] and found["dense"] and found["sparse"]:
        best = max(("dense", "sparse"), key=lambda name: mean(name, "ndcg"))
        yield Claim(f"{UNIT} gained by two teachers over the better one alone", ">= 0.003",
                    mean("ensemble", "ndcg") - mean(best, "ndcg"), UNIT,
                    note=f"{best} alone: {said(best)}", spread=seeds(best))  # fmt: skip
    if found["light"]:
        yield Claim(f"{UNIT} of the student with lambda_d .001, against the start", ">= 1x",
                    mean("light", "ndcg"), UNIT, start["ndcg"], "the start, without training",
                    note=said("light"), spread=seeds("light"))  # fmt: skip
        yield Claim("Non-zeros of a document of the student with lambda_d .001", "<= 0.65x", mean("light", "nonzeros"),
                    "non-zeros", start["nonzeros"], "the start, without training")  # fmt: skip
    if found["ensemble"] and found["plain"] and found["plain-light"]:
        costs = [mean(name, "flops") for name in ("plain", "plain-light")]
        values = [mean(name, "ndcg") for name in ("plain", "plain-light")]
        order = np.argsort(costs)
        equal = float(np.interp(mean("ensemble", "flops"), np.array(costs)[order], np.array(values)[order]))
        yield Claim(f"{UNIT} gained by the IDF-aware loss over plain FLOPS with binary queries, at equal FLOPS",
                    ">= 0.005", mean("ensemble", "ndcg") - equal, UNIT,
                    note=f"plain, lambda_d .01: {said('plain')}; lambda_d .003: {said('plain-light')}")  # fmt: skip


def _zipf(n: int, vocabulary: int = 30_522, per_row: int = 120) -> sparse.csr_matrix:
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, vocabulary + 1)
    tokens = np.searchsorted(np.cumsum(share / share.sum()), rng.random((n, per_row))).clip(0, vocabulary - 1)
    weights = rng.gamma(2.0, 0.4, n * per_row).astype(np.float32)
    rows = sparse.csr_matrix(
        (weights, tokens.ravel(), np.arange(0, n * per_row + 1, per_row)), shape=(n, vocabulary)
    )
    rows.sum_duplicates()
    return rows


def _short_queries(docs: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """Three to eight tokens of a document, weighted by IDF."""
    rng, n = np.random.default_rng(1), docs.shape[0]
    seen = np.bincount(docs.indices, minlength=docs.shape[1])
    idf = np.log1p((n - seen + 0.5) / (seen + 0.5)).astype(np.float32)
    tokens, ends = [], [0]
    for _ in range(count):
        row = int(rng.integers(n))
        own = docs.indices[docs.indptr[row] : docs.indptr[row + 1]]
        tokens.append(np.sort(rng.choice(own, min(len(own), int(rng.integers(3, 9))), replace=False)))
        ends.append(ends[-1] + len(tokens[-1]))
    chosen = np.concatenate(tokens)
    return sparse.csr_matrix((idf[chosen], chosen, ends), shape=(count, docs.shape[1]))


def engine(full: bool) -> Iterator[Claim]:
    """The searches against each other and against SciPy, one thread, on documents drawn by a law of Zipf."""
    from gossamer.retrieve import InvertedIndex

    docs = _zipf(200_000)
    queries = _short_queries(docs, 100)
    index, columns = InvertedIndex().build(docs), docs.T.tocsr()

    def search(method: str) -> Callable[[], Any]:
        return lambda: index.search(queries, 10, method, threads=1)

    def scipy() -> tuple[np.ndarray, np.ndarray]:
        ids, scores = np.empty((queries.shape[0], 10), np.int64), np.empty((queries.shape[0], 10), np.float32)
        for q in range(queries.shape[0]):
            row = (queries[q] @ columns).toarray().ravel()
            best = np.argpartition(-row, 10)[:10]
            ids[q] = best[np.argsort(-row[best])]
            scores[q] = row[ids[q]]
        return ids, scores

    exact = search("taat")()
    for method in ("maxscore", "bmw"):
        found = search(method)()
        assert all(np.array_equal(a, b) for a, b in zip(found, exact, strict=True)), method
    np.testing.assert_allclose(scipy()[1], exact[1], rtol=1e-4)
    where = f"{docs.shape[0]:,} documents of 120 tokens, queries of 3 to 8 tokens, k=10"
    rest = compare(search("maxscore"), search("taat"), work=queries.shape[0], unit="queries/s", rounds=5)
    race = compare(search("bmw"), search("taat"), work=queries.shape[0], unit="queries/s", rounds=5)
    yield Claim.from_race("Block-max WAND against reading every posting", ">= 2x", race,
                          peer_name="own search term at a time",
                          note=f"{where}; equal results, to the bit. MaxScore: {rest.ratio:.2f}x. A posting read "
                          "in order costs less than deciding not to read it")  # fmt: skip
    race = compare(search("taat"), scipy, work=queries.shape[0], unit="queries/s", rounds=3)
    yield Claim.from_race("Reading every posting against the full product", ">= 5x", race,
                          peer_name="SciPy sparse product by query and argpartition", note=where)  # fmt: skip


def latency(full: bool) -> Iterator[Claim]:
    """Queries over the encoded slice: what they take, against BM25 in the same engine and bm25s, one thread."""
    from gossamer.retrieve import BM25DocEncoder, InvertedIndex, latency_percentiles

    data, encoder = debian(), queries_by("idf")
    index = InvertedIndex().build(sparse_rows("docs", data.docs))
    by_corpus = queries_by("corpus")
    lexical = InvertedIndex().build(BM25DocEncoder(by_corpus.pieces).fit(data.docs).encode(data.docs))
    queries, binary = encoder.encode(data.queries), by_corpus.encode(data.queries)
    times = []
    for text in data.queries:
        begin = time.perf_counter()
        encoder.encode([text])
        times.append(time.perf_counter() - begin)
    told = latency_percentiles(times)
    yield Claim("Microseconds to encode a query, mean", "<= 100", told["mean"] * 1e6, "microseconds",
                note=f"p95 {told['p95'] * 1e6:.0f}")  # fmt: skip

    def learned() -> Any:
        return index.search(queries, 10, threads=1)

    race = compare(learned, lambda: lexical.search(binary, 10, threads=1), work=len(data.queries), unit="queries/s",
                   rounds=7)  # fmt: skip
    yield Claim.from_race("Queries over learned documents, against BM25 in the same engine", ">= 0.77x", race,
                          peer_name="BM25 of word pieces, same index and search", paper=LATENCY,
                          note=f"at most 1.3 times the latency; {index.n_postings / len(data.docs):.0f} weights a "
                          f"document, {lexical.n_postings / len(data.docs):.0f} of BM25; no training yet")  # fmt: skip
    retriever, asked = _words_by_bm25s()
    race = compare(learned, lambda: retriever.retrieve(asked, k=10, show_progress=False), work=len(data.queries),
                   unit="queries/s", rounds=5)  # fmt: skip
    yield Claim.from_race("Queries over learned documents, against bm25s on the same texts", ">= 1x", race,
                          peer_name="bm25s, NumPy")  # fmt: skip


if __name__ == "__main__":
    run(
        "inference-free-sparse-retrieval",
        {
            "teachers": teachers,
            "untrained": untrained,
            "questions": questions,
            "fusion": fusion,
            "students": students,
            "engine": engine,
            "latency": latency,
        },
        packages=("bm25s", "scikit-learn", "scipy", "torch", "transformers"),
    )
