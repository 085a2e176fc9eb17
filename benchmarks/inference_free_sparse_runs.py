"""Students of the benchmark of inference-free sparse retrieval: trained once a setting and seed, and remembered.

``python -m benchmarks.inference_free_sparse_runs NAME:SEED ...`` trains some of :data:`SETTINGS`, without arguments
all; a training that was interrupted goes on.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.inference_free_sparse_data import CACHE, debian, queries_by, teachers, untrained_encoder
from gossamer._core.files import read_json, write_json

STEPS, SEEDS = 150, (0, 1, 2)


@dataclass(frozen=True)
class Setting:
    """A way to train.

    Attributes
    ----------
    taught_by : tuple of str
        Of ``dense`` and ``sparse``.
    lambda_d : float
        Weight of the penalty.
    queries : str
        ``idf``, or ``binary``: then the penalty is plain FLOPS.
    """

    taught_by: tuple[str, ...] = ("dense", "sparse")
    lambda_d: float = 0.01
    queries: str = "idf"


SETTINGS = {
    "ensemble": Setting(),
    "light": Setting(lambda_d=0.001),
    "dense": Setting(("dense",)),
    "sparse": Setting(("sparse",)),
    "plain": Setting(queries="binary"),
    "plain-light": Setting(queries="binary", lambda_d=0.003),
}


def measure(rows: Any, queries: str) -> dict[str, float]:
    """How well documents are found, and what they cost."""
    from gossamer.retrieve import InvertedIndex, average_flops, mrr, ndcg, recall

    data = debian()
    asked = queries_by(queries).encode(data.queries)
    ids, _ = InvertedIndex().build(rows).search(asked, 10)
    return {
        "ndcg": ndcg(ids, data.relevant),
        "mrr": mrr(ids, data.relevant),
        "recall": recall(ids, data.relevant),
        "nonzeros": rows.nnz / rows.shape[0],
        "flops": average_flops(asked, rows),
    }


def student(name: str, seed: int) -> dict[str, float]:
    """The figures of a student, trained now if it was not."""
    path = CACHE / "runs" / f"{name}-{seed}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, _train(name, seed))
    return read_json(path)


def available(name: str) -> list[dict[str, float]]:
    """The figures of the seeds with which a setting was trained."""
    return [student(name, seed) for seed in SEEDS if (CACHE / "runs" / f"{name}-{seed}.json").exists()]


def _train(name: str, seed: int) -> dict[str, float]:
    from gossamer.retrieve import HeterogeneousTeacher, SparseDistillTrainer

    setting, begin = SETTINGS[name], time.perf_counter()
    known = teachers(("train-queries", "train-docs"))
    encoder = untrained_encoder()
    trainer = SparseDistillTrainer(
        encoder,
        queries_by(setting.queries),
        HeterogeneousTeacher([known[kind] for kind in setting.taught_by]),
        lambda_d=setting.lambda_d,
        ramp_steps=STEPS // 3,
        lr=5e-5,
        seed=seed,
        progress=lambda step: print(f"{name}-{seed}: step {step}", flush=True) if step % 10 == 0 else None,
    )
    trainer.fit(debian().pairs, STEPS, checkpoint=CACHE / "runs" / f"{name}-{seed}.safetensors", every=25)
    figures = measure(encoder.encode(debian().docs), setting.queries)
    return {**figures, "seconds": time.perf_counter() - begin}


if __name__ == "__main__":
    wanted = sys.argv[1:] or [f"{name}:{seed}" for seed in SEEDS for name in SETTINGS]
    for one in wanted:
        which, _, number = one.partition(":")
        print(which, number, student(which, int(number or 0)), flush=True)
