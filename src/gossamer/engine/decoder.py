"""The native decoder of Llama-family models: prepared weights, sessions with a key-value cache, token loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, FormatError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer.engine.artifact import Artifact
from gossamer.engine.layout import model_layout
from gossamer.engine.prepare import prepare
from gossamer.engine.sampling import Sampling
from gossamer.linalg import Dense
from gossamer.linalg.operator import StructuredMatrix

KV = ("float16", "float32", "int8")
ACT = ("int8", "fp32")
_ATTENTION, _MLP = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
# kernels that multiply a family as what it is
_OWN = {
    "dense": "dense",
    "group-quant": "packed",
    "group-sparse-quant": "group-sparse",
    "tiled-bitmap": "lscd",
    "nm": "nm",
}


class Decoder:
    """A model, ready to run; make one with :meth:`from_artifact`.

    Weights are immutable. Sessions of one decoder share its threads and take turns, a token at a time; decoders are
    independent of each other. Results do not depend on the number of threads.
    """

    def __init__(self, native: Any, facts: dict[str, Any], weights: list[dict[str, Any]]) -> None:
        self._native = native
        self._facts = facts
        self._weights = weights
        self.vocab_size: int = facts["vocabulary"]
        self.max_context: int = facts["max_context"]

    @classmethod
    def from_artifact(
        cls,
        artifact: Artifact,
        threads: int | None = None,
        act: str = "int8",
        kv: str = "float16",
        max_context: int | None = None,
    ) -> Decoder:
        """Repack the weights of an artifact of kind "llama".

        Parameters
        ----------
        artifact : Artifact
            The model. Its arrays are copied.
        threads : int, optional
            All cores by default.
        act : {"int8", "fp32"}
            Activations of products with quantised weights: int8 in blocks of 32, or float32 as they are.
        kv : {"float16", "float32", "int8"}
            What keys and values are held in.
        max_context : int, optional
            Most tokens of a session; ``max_position_embeddings`` by default. Memory is taken as it is needed.

        Raises
        ------
        FormatError
            If a tensor is missing, has the wrong shape, or the configuration asks for what is not supported.
        ArgumentError
            If an option is out of range.
        """
        check_choice("act", act, ACT)
        check_choice("kv", kv, KV)
        if artifact.kind != "llama":
            raise ArgumentError(f"artifact of kind {artifact.kind!r}: expected 'llama'")
        hyper = model_layout("llama", artifact.config).hyper
        context = check_int(
            "max_context", max_context or hyper["max_position_embeddings"], low=1, high=1 << 20
        )
        facts = {
            "layers": hyper["num_hidden_layers"],
            "hidden": hyper["hidden_size"],
            "inner": hyper["intermediate_size"],
            "heads": hyper["num_attention_heads"],
            "kv_heads": hyper["num_key_value_heads"],
            "head_dim": hyper["head_dim"],
            "vocabulary": hyper["vocab_size"],
            "max_context": context,
            "eps": hyper["rms_norm_eps"],
            "rope_theta": hyper["rope_theta"],
            "int8": act == "int8",
            "kv": kv,
        }
        weights = _Weights(artifact)
        layers = []
        for i in range(facts["layers"]):
            at = f"model.layers.{i}"
            layers.append(
                (
                    *(weights.matrix(f"{at}.self_attn.{name}") for name in _ATTENTION),
                    *(weights.matrix(f"{at}.mlp.{name}") for name in _MLP),
                    weights.vector(f"{at}.input_layernorm.weight"),
                    weights.vector(f"{at}.post_attention_layernorm.weight"),
                )
            )
        embedding = weights.matrix("model.embed_tokens")
        head = embedding if hyper["tie_word_embeddings"] else weights.matrix("lm_head")
        try:
            native = _native.decoder.Decoder(
                facts, layers, embedding, head, weights.vector("model.norm.weight"), get_threads(threads)
            )
        except ValueError as error:
            raise FormatError(f"this model does not fit together: {error}") from None
        return cls(native, facts, weights.rows)

    def new_session(self) -> Session:
        """Start an empty conversation."""
        return Session(self)

    def decode_batch(self, sessions: Sequence[Session], ids: Sequence[int]) -> np.ndarray:
        """Give one token to each of several sessions in one pass over the weights.

        Returns
        -------
        array of shape (B, V), float32
            Logits of the position after each token.
        """
        logits = np.empty((len(ids), self.vocab_size), np.float32)
        _checked(self._native.decode_batch, [s._native for s in sessions], _ids(ids), logits)
        return logits

    def describe(self) -> list[dict[str, Any]]:
        """One row a matrix: path, structure, shape, kernel that multiplies it, bytes that a product reads, note.

        The note is not empty where a matrix is multiplied in another form than the one that the file holds.
        """
        return [dict(row) for row in self._weights]

    def timed(self, work: Callable[[], Any]) -> tuple[int, list[tuple[str, float, float, float]]]:
        """Call ``work`` and tell where the passes in it spent their time.

        Returns
        -------
        passes : int
            Passes over the weights.
        parts : list of (name, serial, open, busy)
            Seconds of one thread alone; seconds while tasks were open to all threads; seconds that threads spent in
            tasks, added up. ``open * threads - busy`` is what they waited.
        """
        self._native.start_profile()
        try:
            work()
        finally:
            passes, parts = self._native.stop_profile()
        return passes, parts

    @property
    def threads(self) -> int:
        """Threads of this decoder, the caller's included."""
        return self._native.threads

    @property
    def bytes_per_token(self) -> int:
        """Weight bytes that one decoded token reads (the cache comes on top)."""
        rows = self._weights
        tied = rows[-1]["path"] == "model.embed_tokens"
        return sum(row["bytes"] for row in rows if tied or row["path"] != "model.embed_tokens")

    def attention_cost(self, context: int) -> tuple[int, int]:
        """Bytes of the cache that one token reads with ``context`` tokens before it, and flops of its attention."""
        f = self._facts
        entries = 2 * f["layers"] * f["kv_heads"] * f["head_dim"] * context
        size = {"float32": 4, "float16": 2, "int8": 1}[f["kv"]]
        return entries * size, 2 * entries * (f["heads"] // f["kv_heads"])

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of the prepared weights and of the working memory; a session's cache is its own."""
        return {
            "weights": sum(row["bytes"] for row in self._weights),
            "scratch": self._native.scratch_bytes,
        }

    def __repr__(self) -> str:
        f = self._facts
        return f"Decoder({f['layers']} layers, hidden {f['hidden']}, kv {f['kv']}, {self.threads} threads)"


class Session:
    """One conversation: the tokens so far and their keys and values.

    One call at a time; a call while another one runs is refused.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._native = _native.decoder.Session(decoder._native)

    def prefill(self, ids: Sequence[int]) -> np.ndarray:
        """Append ``ids``, up to 64 in one pass over the weights; returns the last position's logits (V,).

        Raises
        ------
        ArgumentError
            If there are no ids, one is outside the vocabulary, or the context is full. The session stays as it was.
        """
        logits = np.empty((1, self._decoder.vocab_size), np.float32)
        _checked(self._native.prefill, _ids(ids), logits)
        return logits[0]

    def decode(self, token: int) -> np.ndarray:
        """Append one token; returns the logits (V,) of the next position."""
        return self.prefill([token])

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """Append ``ids``; returns the logits (T, V) of all their positions."""
        ids = _ids(ids)
        logits = np.empty((len(ids), self._decoder.vocab_size), np.float32)
        _checked(self._native.logits, ids, logits)
        return logits

    def generate(
        self,
        max_new_tokens: int,
        sampling: Sampling | None = None,
        stop_ids: Sequence[int] = (),
        callback: Callable[[int], Any] | None = None,
    ) -> list[int]:
        """Draw tokens natively and append them.

        Parameters
        ----------
        max_new_tokens : int
            Most tokens to draw.
        sampling : Sampling, optional
            Greedy by default. Random numbers come from SplitMix64: same seed, same tokens.
        stop_ids : sequence of int
            Drawing one of these ends the call.
        callback : callable, optional
            Called with every drawn id, stop ids included; False ends the call.

        Returns
        -------
        list of int
            The drawn ids, a stop id included.

        Raises
        ------
        ArgumentError
            Without a prompt, for ids outside the vocabulary, or if the context is too small.
        """
        settings = (sampling or Sampling()).seeded()
        return _checked(
            self._native.generate,
            check_int("max_new_tokens", max_new_tokens, low=0),
            settings.temperature,
            min(settings.top_k, self._decoder.vocab_size),
            settings.top_p,
            settings.repetition_penalty,
            settings.seed,
            _ids(stop_ids),
            callback,
        )

    @property
    def ids(self) -> list[int]:
        """All tokens given and drawn."""
        return self._native.ids

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of the key-value cache."""
        return {"cache": self._native.nbytes}

    def __len__(self) -> int:
        return self._native.length


class _Weights:
    """Prepares the tensors of an artifact and remembers what became of each."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self.rows: list[dict[str, Any]] = []

    def matrix(self, path: str) -> Any:
        if path in self._artifact.matrices:
            matrix = self._artifact.matrices[path]
        else:
            weight = self._array(f"{path}.weight", 2)
            family = Dense("bfloat16" if weight.dtype == np.uint16 else "float32")
            matrix = family.matrix(
                family,
                weight.shape,
                {"weight": weight if weight.dtype == np.uint16 else weight.astype(np.float32)},
            )
        linear = prepare(matrix)
        self.rows.append(
            {
                "path": path,
                "structure": matrix.structure.kind,
                "kernel": linear.kernel,
                "shape": tuple(matrix.shape),
                "bytes": linear.nbytes,
                "note": _note(matrix, linear.kernel),
            }
        )
        return linear

    def vector(self, name: str) -> np.ndarray:
        return np.ascontiguousarray(self._array(name, 1), dtype=np.float32)

    def _array(self, name: str, ndim: int) -> np.ndarray:
        array = self._artifact.arrays.get(name)
        if array is None or array.ndim != ndim:
            raise FormatError(
                f"{name} is {'missing' if array is None else f'{array.ndim}-D'}: expected {ndim}-D"
            )
        return array


def _note(matrix: StructuredMatrix, kernel: str) -> str:
    base = kernel.removesuffix("+low-rank")
    if kernel != base or base.startswith(_OWN.get(matrix.structure.kind, "\0")):
        return ""
    if base.startswith("bitmap"):
        return "non-zeros are multiplied as float32, found by a bitmap"
    return "multiplied as the dense matrix that it represents"


def _ids(ids: Sequence[int]) -> list[int]:
    return [check_int("token id", token) for token in ids]


def _checked(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except ValueError as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(str(error)) from None


__all__ = ["Decoder", "Session"]
