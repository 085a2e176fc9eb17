"""One object that runs an artifact: text in, text, logits, perplexity or embeddings out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer._core.threads import get_threads
from gossamer._kernels.dispatch import active_isa
from gossamer.engine import evaluate
from gossamer.engine.artifact import Artifact, load_artifact
from gossamer.engine.batch import generate_batch
from gossamer.engine.benchmark import BenchmarkResult, benchmark
from gossamer.engine.generation import (
    TextBuilder,
    TextStream,
    check_stops,
    room,
    run_generation,
)
from gossamer.engine.prompts import Prompt, PromptReader
from gossamer.engine.sampling import Sampling
from gossamer.engine.tokenizer import Tokenizer

_PIECE = 128  # positions whose logits are held at once: 128 x 49,152 floats are 25 MB


class Engine:
    """Runs a compressed model natively; :meth:`load` makes one from a directory.

    Engines of one process are independent: each has its own weights, threads and caches.

    Parameters
    ----------
    artifact : Artifact
        A model of kind "llama" or "bert". Its weights are repacked; the engine keeps none of its arrays.
    threads : int, optional
        Threads of this engine; all cores by default.
    act : {"int8", "fp32"}
        Arithmetic of products with quantised weights: activations in int8 (fast) or float32 (exact).
    kv : {"float16", "float32", "int8"}
        What the key-value cache of a decoder is held in.
    max_context : int, optional
        Tokens of prompt and answer together; what the configuration says by default.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        threads: int | None = None,
        act: str = "int8",
        kv: str = "float16",
        max_context: int | None = None,
    ) -> None:
        check_choice("act", act, ("int8", "fp32"))
        check_choice("kv", kv, ("float16", "float32", "int8"))
        if artifact.kind not in ("llama", "bert"):
            raise UnsupportedError(f"an artifact of kind {artifact.kind!r} is stored and exported, not run")
        hyper = artifact.layout.hyper
        self.kind = artifact.kind
        self.config = dict(artifact.config)
        self.metadata = dict(artifact.metadata)
        self.tokenizer: Tokenizer | None = artifact.tokenizer
        self.threads = get_threads(threads)
        self.act, self.kv = act, kv
        self.vocab_size: int = hyper["vocab_size"]
        positions = hyper["max_position_embeddings"]
        high = positions if self.kind == "bert" else None
        self.max_context = check_int("max_context", max_context or positions, low=1, high=high)
        self._reader = PromptReader(self.tokenizer, self.vocab_size)
        self._summary = _summary(artifact)
        if self.kind == "llama":
            from gossamer.engine.decoder import Decoder

            self._model: Any = Decoder.from_artifact(
                artifact, threads=self.threads, act=act, kv=kv, max_context=self.max_context
            )
        else:
            from gossamer.engine.encoder import Encoder

            self._model = Encoder.from_artifact(artifact, threads=self.threads, act=act)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, verify: bool = True, **options: Any) -> Engine:
        """Load an artifact directory; ``options`` are those of :class:`Engine`.

        Raises
        ------
        FormatError
            If the artifact is damaged, hostile, or of another version.
        """
        return cls(load_artifact(path, verify=verify), **options)

    # -- language models ----------------------------------------------------------------------------------------

    def generate(
        self,
        prompt: Prompt | Sequence[Prompt],
        *,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
        chat: bool = False,
        stream: Callable[[str], Any] | None = None,
    ) -> Any:
        """Continue a prompt, or several.

        Parameters
        ----------
        prompt : str or sequence of int, or a sequence of those
            Text or token ids. With ``chat``, a text is what the user says; a conversation is a sequence of
            ``{"role": ..., "content": ...}``.
        max_new_tokens : int, optional
            At most so many; 256, or what the context has room for, by default.
        temperature, top_k, top_p, repetition_penalty, seed
            See :class:`~gossamer.engine.Sampling`. Prompt ``i`` of several uses ``seed + i``.
        stop : sequence of str
            Strings that end the answer and are not part of it.
        chat : bool
            Put the prompt into the model's chat template.
        stream : callable, optional
            Called with each piece of text as it is certain; returning False ends the generation. For an iterator
            see :meth:`stream`.

        Returns
        -------
        GenerateResult or list of GenerateResult

        Raises
        ------
        ArgumentError
            If a setting is out of range, a prompt is empty, or prompt and answer do not fit into the context.
        """
        self._needs("llama", "generate", "embed")
        sampling = Sampling(temperature, top_k, top_p, repetition_penalty, seed)
        prompts, many = self._reader.prompts(prompt, chat)
        if many and stream is not None:
            raise ArgumentError(f"stream with {len(prompts)} prompts: expected one prompt")
        sizes = [room(len(ids), max_new_tokens, self.max_context) for ids in prompts]
        seed = sampling.seeded().seed or 0
        builders = [TextBuilder(self.tokenizer, self.eos_ids, stop, stream) for _ in prompts]
        samplings = [replace(sampling, seed=(seed + i) % 2**63) for i in range(len(prompts))]
        if many:
            return generate_batch(self._model, prompts, builders, sizes, samplings)
        return run_generation(
            self._model.new_session(),
            prompts[0],
            builders[0],
            max_new_tokens=sizes[0],
            sampling=samplings[0],
            stop_ids=sorted(self.eos_ids),
        )

    def stream(self, prompt: Prompt, **options: Any) -> TextStream:
        """Iterate over the pieces of an answer while it is drawn; the options are those of :meth:`generate`.

        >>> for piece in engine.stream("Once upon a time"):  # doctest: +SKIP
        ...     print(piece, end="", flush=True)
        """
        self._needs("llama", "stream", "embed")
        chat = bool(options.get("chat", False))
        if self._reader.prompts(prompt, chat)[1]:
            raise ArgumentError("stream takes one prompt: expected a text or token ids")
        # what is wrong shows here, not in the loop
        room(len(self._reader.prompts(prompt, chat)[0][0]), options.get("max_new_tokens"), self.max_context)
        check_stops(options.get("stop", ()))
        return TextStream(lambda emit: self.generate(prompt, **{**options, "stream": emit}))

    def logits(self, prompt: Prompt) -> np.ndarray:
        """Logits (T, V), float32, of every position of one prompt (text or ids)."""
        self._needs("llama", "logits", "hidden")
        ids = self._reader.prompts(prompt, False)[0][0]
        room(len(ids), 0, self.max_context)
        return np.concatenate(list(self._logit_pieces(ids)))

    def perplexity(
        self, text: str | Sequence[int], *, window: int = 512, windows: int | None = None
    ) -> evaluate.PerplexityResult:
        """Perplexity of a text or of token ids; see :func:`gossamer.engine.evaluate.perplexity`.

        Raises
        ------
        ArgumentError
            If the text has fewer tokens than the windows need, or a window is longer than the context.
        """
        self._needs("llama", "perplexity", "embed")
        check_int("window", window, low=2, high=self.max_context)
        ids = self._reader.plain(text) if isinstance(text, str) else self._reader.checked(text)
        return evaluate.perplexity(self._logit_pieces, ids, window=window, windows=windows)

    def choose(self, query: str, choices: Sequence[str], *, normalise: str = "bytes") -> int:
        """Index of the most likely continuation of ``query``; see :func:`gossamer.engine.evaluate.choice_scores`."""
        self._needs("llama", "choose", "embed")
        scores = evaluate.choice_scores(self._logit_pieces, self._reader.plain, query, choices, normalise)
        return int(scores.argmax())

    def accuracy(
        self,
        questions: Sequence[evaluate.Question] | str | os.PathLike[str],
        *,
        limit: int | None = None,
        normalise: str = "bytes",
        progress: Callable[[int, int], None] | None = None,
    ) -> evaluate.AccuracyResult:
        """Multiple-choice accuracy on questions, or on a file of JSON lines that holds them."""
        self._needs("llama", "accuracy", "embed")
        if isinstance(questions, (str, os.PathLike)):
            questions = evaluate.read_questions(questions, limit)
        return evaluate.accuracy(
            self._logit_pieces, self._reader.plain, questions[:limit], normalise=normalise, progress=progress
        )

    # -- encoders -----------------------------------------------------------------------------------------------

    def embed(
        self, texts: str | Sequence[str], *, batch_size: int = 64, max_length: int | None = None
    ) -> np.ndarray:
        """Sentence embeddings: the mean of the last hidden states of a text, scaled to length 1.

        Parameters
        ----------
        texts : str or sequence of str
            What to embed; longer texts are cut to ``max_length`` tokens.
        batch_size : int
            Texts a native call. Texts are concatenated, not padded: it bounds memory and hardly changes speed.
        max_length : int, optional
            What the model has positions for, by default.

        Returns
        -------
        array of shape (D,) or (len(texts), D), float32
        """
        self._needs("bert", "embed", "generate")
        many = not isinstance(texts, str)
        batch = [texts] if isinstance(texts, str) else list(texts)
        limit = check_int("max_length", max_length or self.max_context, low=3, high=self.max_context)
        tokenizer = self._reader.need_tokenizer()
        ids = tokenizer.encode_batch(batch, max_length=limit)
        found = self._model.embed(ids, batch_size=batch_size)
        return found if many else found[0]

    def hidden(self, prompt: str | Sequence[int]) -> np.ndarray:
        """Hidden states (T, D) of the last layer for one text or one sequence of ids."""
        self._needs("bert", "hidden", "logits")
        ids = self._reader.read(prompt)
        if len(ids) > self.max_context:
            raise ArgumentError(f"the text has {len(ids)} tokens: expected at most {self.max_context}")
        return self._model.hidden([ids])[0]

    # -- about the engine ---------------------------------------------------------------------------------------

    def benchmark(self, prefill: int = 128, decode: int = 128, repeats: int = 5) -> BenchmarkResult:
        """Measure speed on random tokens; see :func:`gossamer.engine.benchmark.benchmark`."""
        return benchmark(self, prefill, decode, repeats)

    @property
    def decoder(self) -> Any:
        """The native decoder, for token-by-token use: ``engine.decoder.new_session()``."""
        self._needs("llama", "decoder", "encoder")
        return self._model

    @property
    def encoder(self) -> Any:
        """The native encoder, for sequences of ids: ``engine.encoder.hidden([[101, 102]])``."""
        self._needs("bert", "encoder", "decoder")
        return self._model

    @property
    def memory(self) -> dict[str, int]:
        """Bytes that the native side holds, by purpose."""
        return dict(self._model.memory)

    @property
    def eos_ids(self) -> frozenset[int]:
        """Ids that end a text: the tokenizer's and the configuration's."""
        found = self.config.get("eos_token_id")
        ids = set(found) if isinstance(found, list) else {found}
        if self.tokenizer is not None:
            ids.add(self.tokenizer.special("eos_token"))
        return frozenset(i for i in ids if isinstance(i, int) and 0 <= i < self.vocab_size)

    def describe(self) -> dict[str, Any]:
        """What runs here: kind, sizes, structures, arithmetic, threads."""
        return {
            "kind": self.kind,
            **self._summary,
            "threads": self.threads,
            "isa": active_isa(),
            "act": self.act,
            **({"kv": self.kv} if self.kind == "llama" else {}),
            "max_context": self.max_context,
            "memory": self.memory,
            "kernels": self._kernels(),
            "metadata": self.metadata,
        }

    def __repr__(self) -> str:
        bits = self._summary["bits_per_weight"]
        return f"Engine({self.kind}, {bits:.3g} bits a weight, {self.threads} threads, {active_isa()})"

    def _kernels(self) -> dict[str, int]:
        """How many matrices each kernel multiplies."""
        if self.kind == "llama":
            return dict(Counter(row["kernel"] for row in self._model.describe()))
        return dict(Counter(self._model.kernels.values()))

    def _logit_pieces(self, ids: Sequence[int]) -> Iterator[np.ndarray]:
        session = self._model.new_session()
        for at in range(0, len(ids), _PIECE):
            yield session.logits(ids[at : at + _PIECE])

    def _needs(self, kind: str, method: str, instead: str) -> None:
        if self.kind != kind:
            raise UnsupportedError(
                f"{method} needs a model of kind {kind!r}; this one is {self.kind!r}: use {instead}"
            )


def _summary(artifact: Artifact) -> dict[str, Any]:
    structures: dict[str, int] = {}
    for matrix in artifact.matrices.values():
        structures[str(matrix.structure)] = structures.get(str(matrix.structure), 0) + 1
    parameters = sum(m.shape[0] * m.shape[1] for m in artifact.matrices.values())
    return {
        "parameters": parameters + sum(int(a.size) for a in artifact.arrays.values()),
        "bytes": artifact.nbytes,
        "bits_per_weight": artifact.bits_per_weight,
        "structures": structures,
    }


__all__ = ["Engine"]
