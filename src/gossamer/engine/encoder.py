"""The native BERT encoder: batches of token sequences of any lengths in, hidden states or embeddings out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, FormatError, UnsupportedError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer.engine.artifact import Artifact
from gossamer.engine.prepare import prepare

_MAPS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")
# Tokens a native call: enough to reuse weights from the cache, few enough that activations stay in it.
_TOKENS = 256


class Encoder:
    """A BERT encoder with its own weights and threads; :meth:`from_artifact` makes one."""

    def __init__(self, native: Any, hyper: dict[str, Any], threads: int, kernels: dict[str, str]) -> None:
        self._native = native
        self.hyper = hyper
        self.threads = threads
        self.kernels = kernels
        """What runs each linear map, by module path."""

    @classmethod
    def from_artifact(cls, artifact: Artifact, *, threads: int | None = None, act: str = "int8") -> Encoder:
        """Repack the weights of an artifact of kind "bert".

        Parameters
        ----------
        artifact : Artifact
            The model; none of its arrays is kept.
        threads : int, optional
            Threads of this encoder.
        act : {"int8", "fp32"}
            Activations of products with quantised weights. Dense weights are always multiplied in float32.
        """
        check_choice("act", act, ("int8", "fp32"))
        if artifact.kind != "bert":
            raise UnsupportedError(
                f"an encoder needs an artifact of kind 'bert': this one is {artifact.kind!r}"
            )
        hyper, arrays, threads = artifact.layout.hyper, artifact.arrays, get_threads(threads)

        def floats(name: str) -> np.ndarray:
            return np.ascontiguousarray(to_numpy(arrays[name]), dtype=np.float32)

        def norm(path: str) -> list[np.ndarray]:
            return [floats(f"{path}.weight"), floats(f"{path}.bias")]

        layers = [f"encoder.layer.{i}" for i in range(hyper["num_hidden_layers"])]
        linears = {
            f"{at}.{name}": prepare(artifact.matrices[f"{at}.{name}"]) for at in layers for name in _MAPS
        }
        words = artifact.matrices.get("embeddings.word_embeddings")
        sizes = (
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "vocab_size",
            "max_position_embeddings",
            "type_vocab_size",
        )
        native = _construct(
            sizes=[hyper[name] for name in sizes],
            eps=hyper["layer_norm_eps"],
            words=prepare(words) if words is not None else None,
            word_rows=None if words is not None else floats("embeddings.word_embeddings.weight"),
            positions=floats("embeddings.position_embeddings.weight"),
            types=floats("embeddings.token_type_embeddings.weight"),
            norm=norm("embeddings.LayerNorm"),
            linears=[[linears[f"{at}.{name}"] for name in _MAPS] for at in layers],
            biases=[[floats(f"{at}.{name}.bias") for name in _MAPS] for at in layers],
            norms=[[vector for name in _NORMS for vector in norm(f"{at}.{name}")] for at in layers],
            max_tokens=max(_TOKENS, hyper["max_position_embeddings"]),
            threads=threads,
            int8=act == "int8",
        )
        return cls(native, hyper, threads, {path: linear.kernel for path, linear in linears.items()})

    def hidden(self, batch: Sequence[Sequence[int]], *, batch_size: int = 64) -> list[np.ndarray]:
        """Hidden states (T_i, D), float32, of the last layer for every sequence of ids."""
        found: list[Any] = [None] * len(batch)
        for chosen, offsets, states in self._runs(batch, batch_size):
            for i, start, end in zip(chosen, offsets[:-1], offsets[1:], strict=True):
                found[i] = states[start:end]
        return found

    def embed(self, batch: Sequence[Sequence[int]], *, batch_size: int = 64) -> np.ndarray:
        """Mean of the hidden states of every sequence, scaled to length 1; shape (len(batch), D), float32."""
        found = np.zeros((len(batch), self.hyper["hidden_size"]), dtype=np.float32)
        for chosen, offsets, states in self._runs(batch, batch_size):
            found[chosen] = np.add.reduceat(states, offsets[:-1], axis=0) / np.diff(offsets)[:, None]
        length = np.linalg.norm(found, axis=1, keepdims=True)
        return found / np.maximum(length, 1e-12)

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of weights and of workspaces."""
        return {"weights": self._native.weight_bytes, "work": self._native.work_bytes}

    def _runs(
        self, batch: Sequence[Sequence[int]], batch_size: int
    ) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
        """Run the batch in parts of similar lengths; yields which sequences, their offsets and hidden states."""
        check_int("batch_size", batch_size, low=1)
        limit = self.hyper["max_position_embeddings"]
        for ids in batch:
            if not 1 <= len(ids) <= limit:
                raise ArgumentError(f"a sequence has {len(ids)} tokens: expected 1..{limit}")
        order = sorted(range(len(batch)), key=lambda i: len(batch[i]))
        while order:
            size, tokens = 0, 0
            while size < min(batch_size, len(order)):
                tokens += len(batch[order[size]])
                if size and tokens > _TOKENS:
                    break
                size += 1
            chosen, order = order[:size], order[size:]
            joined = np.concatenate([np.asarray(batch[i], dtype=np.int64) for i in chosen])
            low, high, last = int(joined.min()), int(joined.max()), self.hyper["vocab_size"] - 1
            if low < 0 or high > last:
                raise ArgumentError(f"token ids span {low}..{high}: expected 0..{last}")
            offsets = np.cumsum([0] + [len(batch[i]) for i in chosen], dtype=np.int32)
            states = np.empty((len(joined), self.hyper["hidden_size"]), dtype=np.float32)
            self._native.run(joined.astype(np.int32), offsets, states)
            yield chosen, offsets, states


def _construct(**parts: Any) -> Any:
    try:
        return _native.encoder.Encoder(**parts)
    except (ValueError, MemoryError) as error:
        raise FormatError(
            f"this model cannot be run: {error or 'it needs more memory than there is'}"
        ) from None


__all__ = ["Encoder"]
