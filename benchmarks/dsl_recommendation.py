"""Dynamic sparse learning (arXiv 2402.02855): recommenders with a budget of weights on MovieLens-100k.

Trainings come from :mod:`benchmarks.dsl_recommendation_runs`, which makes and remembers them. Quality is
of the last tenth of each user's interactions; settings were chosen by the tenth before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.dsl_recommendation_data import movielens
from benchmarks.dsl_recommendation_runs import FIXED, MF, MOVING, figures, trained
from benchmarks.harness import Claim, compare, run
from gossamer import set_threads

PAPER = (
    "near or above the dense model at densities down to about 0.3, on six data sets (from memory, no figures)"
)
METRIC = "test ndcg@20"


def _all(name: str, key: str, seeds: list[int]) -> list[float]:
    return [figures(name, seed)[key] for seed in seeds]


def _mean(name: str, key: str, seeds: list[int] | None = None) -> float:
    return float(np.mean(_all(name, key, trained(name) if seeds is None else seeds)))


def _against(ours: str, peer: str, target: str, title: str, words: str, note: str = "") -> Claim:
    """A claim on the means of two settings over the seeds that both were trained with."""
    seeds = trained(ours, peer)
    values = {"ours": _all(ours, METRIC, seeds), "peer": _all(peer, METRIC, seeds)}
    recalls = [f"{_mean(name, 'test recall@20', seeds):.4f}" for name in (ours, peer)]
    return Claim(title, target, float(np.mean(values["ours"])), "NDCG@20", float(np.mean(values["peer"])), words,
                 spread={"kind": "seeds", "values": values}, paper=PAPER,
                 note=f"mean of {len(seeds)} seeds; recall@20: ours {recalls[0]}, peer {recalls[1]}"
                 f"{'; ' + note if note else ''}")  # fmt: skip


def lightgcn(full: bool) -> Iterator[Claim]:
    """64 dimensions, 3 layers, 80 epochs."""
    about = "LightGCN, 64 dimensions, 80 epochs, MovieLens-100k"
    flops = {
        d: _mean(f"gcn-dsl-{d}", "training_flops") / _mean("gcn-dense", "training_flops") for d in (0.5, 0.1)
    }
    explored = f"{_mean('gcn-dsl-0.1', 'explored'):.2f} of the weights were live at some time"
    yield _against("gcn-dsl-0.5", "gcn-dense", ">= 0.95x", f"DSL at density 0.5 against dense: {about}", "dense",
                   f"training operations {flops[0.5]:.2f} of the dense ones")  # fmt: skip
    yield _against("gcn-dsl-0.5", "gcn-static-0.5", ">= 1.03x", f"DSL at 0.5 against a fixed random mask: {about}",
                   "fixed mask, same density")  # fmt: skip
    for peer, target, words in (
        ("gcn-dense", ">= 0.76x", "dense"), ("gcn-static-0.1", ">= 1.12x", "fixed mask, same density"),
        ("gcn-set-0.1", ">= 1.05x", "SET: grows at random"),
        ("gcn-cut-0.1", ">= 0.98x", "dense table of 6 dimensions, as many weights"),
    ):  # fmt: skip
        yield _against("gcn-dsl-0.1", peer, target, f"DSL at density 0.1 against {words}: LightGCN, MovieLens-100k",
                       words, f"{explored}; training operations {flops[0.1]:.2f} of the dense ones")  # fmt: skip


def more_lightgcn(full: bool) -> Iterator[Claim]:
    """Density 0.3, dense tables of fewer dimensions, pruning after training."""
    for density, peer, words in (
        (0.3, "gcn-dense", "dense"), (0.3, "gcn-static-0.3", "fixed mask, same density"),
        (0.3, "gcn-set-0.3", "SET: grows at random"), (0.3, "gcn-cut-0.3", "dense table of 19 dimensions"),
        (0.5, "gcn-set-0.5", "SET: grows at random"), (0.5, "gcn-cut-0.5", "dense table of 32 dimensions"),
        (0.5, "gcn-pruned-0.5", "dense training, then 3 rounds of pruning and 20 epochs each"),
        (0.1, "gcn-pruned-0.1", "dense training, then 3 rounds of pruning and 20 epochs each"),
    ):  # fmt: skip
        yield _against(
            f"gcn-dsl-{density}", peer, ">= 1x", f"DSL at {density} against {words}: LightGCN", words
        )


def peer(full: bool) -> Iterator[Claim]:
    """The dense reference against recbole's."""
    yield _against("gcn-dense", "gcn-recbole", ">= 0.97x", "Dense LightGCN against recbole's: MovieLens-100k",
                   "recbole's LightGCN, same rates, batches and epochs",
                   "its graph is built by us, since the installed SciPy lacks a method that it calls")  # fmt: skip


def factorisation(full: bool) -> Iterator[Claim]:
    """MF-BPR, 64 dimensions."""
    for density in (0.5, 0.3, 0.1):
        ours = f"mf-dsl-{density}"
        for other, words in (("mf-dense", "dense"), (f"mf-static-{density}", "fixed mask, same density"),
                             (f"mf-set-{density}", "SET: grows at random"),
                             (f"mf-cut-{density}", "dense table with as many weights")):  # fmt: skip
            target = (
                ">= 0.95x"
                if other == "mf-dense" and density > 0.1
                else ">= 0.76x"
                if other == "mf-dense"
                else ">= 1x"
            )
            yield _against(
                ours, other, target, f"DSL at {density} against {words}: MF-BPR, MovieLens-100k", words
            )


def networks(full: bool) -> Iterator[Claim]:
    """Mult-VAE and NeuMF at 0.3."""
    for kind, words in (("vae", "Mult-VAE, 600-200-600"), ("neumf", "NeuMF, 32 and 64-32-16-8")):
        ours = f"{kind}-dsl-0.3"
        note = ""
        if kind == "neumf":
            hits = [f"{_mean(name, 'hit@10'):.3f}" for name in (ours, "neumf-dense", "neumf-static-0.3")]
            note = f"hit@10 among 99 random items: DSL {hits[0]}, dense {hits[1]}, fixed mask {hits[2]}"
        yield _against(
            ours, f"{kind}-dense", ">= 0.95x", f"DSL at density 0.3 against dense: {words}", "dense", note
        )
        yield _against(ours, f"{kind}-static-0.3", ">= 1x", f"DSL at 0.3 against a fixed random mask: {words}",
                       "fixed mask, same density", note)  # fmt: skip


def memory(full: bool) -> Iterator[Claim]:
    """Bytes of the stored table."""
    from gossamer.sparsify import DynamicSparseTable

    n = sum(movielens().train.shape)
    table = DynamicSparseTable.random(n, 64, 0.1, random_state=0)
    yield Claim("Bytes of a table at density 0.1: values, columns, row pointers", "<= 0.2x", table.nbytes, "bytes",
                4.0 * n * 64, "dense float32", note=f"{n} rows of 64; 6 bytes a live weight, 8 a row")  # fmt: skip


def planted(full: bool) -> Iterator[Claim]:
    """Planted data of rank 4, five seeds."""
    from gossamer.learn import MFRecommender, rank_metrics

    found: dict[str, list[float]] = {"moving": [], "fixed": []}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        scores = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 300)) + 0.3 * rng.normal(size=(500, 300))
        liked = np.zeros(scores.shape, bool)
        np.put_along_axis(liked, np.argsort(-scores, axis=1)[:, :30], True, axis=1)
        shown = rng.random(liked.shape) < 0.8
        for name, options in (("moving", None), ("fixed", FIXED)):
            model = MFRecommender(dim=32, density=0.25, epochs=12, batch_size=1024, lr=4e-2, random_state=seed,
                                  masker_options=options).fit(liked & shown)  # fmt: skip
            items, _ = model.recommend(np.arange(500), k=20)
            found[name].append(rank_metrics(items, liked & ~shown, ks=[20])["recall@20"])
    means = {name: float(np.mean(values)) for name, values in found.items()}
    yield Claim("Recall@20 above a fixed mask's, planted rank 4, 500 x 300, density 0.25, MF", ">= 0.02",
                means["moving"] - means["fixed"], "recall", spread={"kind": "seeds", "values": found},
                note=f"moving {means['moving']:.3f}, fixed {means['fixed']:.3f}")  # fmt: skip


def scoring(full: bool) -> Iterator[Claim]:
    """Seconds of top-20 lists from the sparse and the dense table."""
    from gossamer.learn import MFRecommender

    torch.set_num_threads(1)
    set_threads(1)
    rng = np.random.default_rng(0)
    wide = rng.random((400, 20_000)) < 0.003
    for words, R, epochs in (("MovieLens-100k", movielens().train, 2), ("400 users, 20,000 items", wide, 2)):
        options: dict[str, Any] = {**MF, "epochs": epochs, "random_state": 0}
        sparse = MFRecommender(**options, density=0.1, masker_options={**MOVING, "delta_t": 10}).fit(R)
        dense = MFRecommender(**options).fit(R)
        users = np.arange(R.shape[0])
        for what, call in (("Top-20 lists", _lists), ("Scores alone", _scores)):
            race = compare(
                call(sparse, users), call(dense, users), work=len(users), unit="users/s", rounds=15
            )
            yield Claim.from_race(f"{what} from a table at density 0.1, MF, 64 dimensions, {words}", ">= 1.5x", race,
                                  peer_name="dense table, NumPy's product", paper=PAPER,
                                  note="one thread; a dense product of 64 columns runs at the processor's speed, and "
                                  "the best 20 are chosen alike: what is claimed is memory")  # fmt: skip


def _lists(model: Any, users: np.ndarray) -> Callable[[], Any]:
    return functools.partial(model.recommend, users, k=20)


def _scores(model: Any, users: np.ndarray) -> Callable[[], Any]:
    return functools.partial(model.score, users)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(
        "dsl-recommendation",
        {
            "lightgcn": lightgcn, "peer": peer, "memory": memory, "planted": planted, "factorisation": factorisation,
            "more-lightgcn": more_lightgcn, "networks": networks, "scoring": scoring,
        },
        packages=("torch", "numpy", "scipy", "recbole"),
    )  # fmt: skip
