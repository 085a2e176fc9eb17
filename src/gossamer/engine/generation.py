"""From a stream of token ids to a stream of text that ends where it should."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread
from typing import Any

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError
from gossamer._core.results import Result
from gossamer.engine.sampling import Sampling
from gossamer.engine.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True, repr=False)
class GenerateResult(Result):
    """What a model answered.

    Attributes
    ----------
    text : str
        The answer, cut before a stop string.
    ids : list of int
        Ids of all tokens that were drawn, the end-of-text token excluded.
    finish_reason : {"eos", "stop", "length", "cancelled"}
        The model ended, a stop string came, ``max_new_tokens`` were drawn, or a callback asked to end.
    prompt_tokens : int
        Length of the prompt.
    prefill_seconds, decode_seconds : float
        Time until the first logits, and from there to the end.
    sampling : Sampling
        The settings, with the seed that was used.
    """

    text: str = ""
    ids: list[int] = field(default_factory=list)
    finish_reason: str = "length"
    prompt_tokens: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def prefill_speed(self) -> float:
        """Prompt tokens a second."""
        return self.prompt_tokens / self.prefill_seconds if self.prefill_seconds else 0.0

    @property
    def decode_speed(self) -> float:
        """Drawn tokens a second."""
        return len(self.ids) / self.decode_seconds if self.decode_seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """All fields and both speeds as plain Python values."""
        return {**super().to_dict(), "prefill_speed": self.prefill_speed, "decode_speed": self.decode_speed}

    def __str__(self) -> str:
        return self.text


class StopScanner:
    """Finds stop strings in text that comes in pieces; holds back what may still become one.

    The stop string that is complete first ends the text, wherever the borders of the pieces are.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = check_stops(stops)
        self._held = ""
        self.stopped = False

    def put(self, text: str) -> str:
        """Take a piece; return what certainly stands before any stop string."""
        if self.stopped:
            return ""
        text = self._held + text
        hits = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if hits:
            self.stopped, self._held = True, ""
            return text[: min(hits)[1]]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """What was held back and did not become a stop string."""
        text, self._held = self._held, ""
        return text


class TextBuilder:
    """Collects drawn ids into text: whole characters, nothing of a stop string, pieces passed on as they come."""

    def __init__(
        self,
        tokenizer: Tokenizer | None,
        eos: frozenset[int],
        stops: Sequence[str] = (),
        emit: Callable[[str], Any] | None = None,
    ) -> None:
        if tokenizer is None and check_stops(stops):
            raise ArgumentError("stop strings need a tokenizer, and this model has none")
        self._decoder = tokenizer.stream() if tokenizer else None
        self._scanner = StopScanner(stops)
        self._eos, self._emit = eos, emit
        self._pieces: list[str] = []
        self.ids: list[int] = []
        self.reason = ""

    def put(self, token: int) -> bool:
        """Take one id; return whether generation goes on."""
        if token in self._eos:
            self.reason = "eos"
            return False
        self.ids.append(token)
        if self._decoder is not None:
            self._give(self._scanner.put(self._decoder.put(token)))
            if self._scanner.stopped:
                self.reason = "stop"
        return not self.reason

    def finish(self) -> str:
        """End the text and return all of it."""
        if self._decoder is not None and not self._scanner.stopped:
            self._give(self._scanner.put(self._decoder.finish()))
            if self._scanner.stopped:
                self.reason = "stop"
            self._give(self._scanner.finish())
        self.reason = self.reason or "length"
        return "".join(self._pieces)

    def _give(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
            # a callback that returns False ends the generation; None, the usual return, does not
            if self._emit is not None and self._emit(piece) is False and not self.reason:
                self.reason = "cancelled"


class TextStream(Iterator[str]):
    """Iterates over the pieces of an answer while it is being generated; ``result`` is there at the end.

    Leaving the loop early and calling :meth:`close` (or dropping the stream) ends the generation.
    """

    def __init__(self, run: Callable[[Callable[[str], bool]], GenerateResult]) -> None:
        self._queue: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._state = state = {"open": True}
        self._result: GenerateResult | None = None
        queue = self._queue

        def emit(piece: str) -> bool:
            queue.put(("text", piece))
            return state["open"]

        def work() -> None:
            try:
                queue.put(("result", run(emit)))
            except BaseException as error:  # whatever it is belongs to the thread that iterates
                queue.put(("error", error))

        # the thread must not hold the stream itself, or dropping it would never close it
        self._thread = Thread(target=work, name="gossamer-stream", daemon=True)
        self._thread.start()

    def __next__(self) -> str:
        if self._result is not None or not self._state["open"]:
            raise StopIteration
        what, value = self._queue.get()
        if what == "text":
            return value
        self._thread.join()
        if what == "error":
            self._state["open"] = False
            raise value
        self._result = value
        raise StopIteration

    @property
    def result(self) -> GenerateResult:
        """The whole answer with its figures; consumes what is left of the stream."""
        for _ in self:
            pass
        if self._result is None:
            raise ArgumentError("the stream was closed before the answer was complete")
        return self._result

    def close(self) -> None:
        """End the generation after the token that is being drawn."""
        self._state["open"] = False
        self._thread.join()

    def __del__(self) -> None:
        self._state["open"] = False


def run_generation(
    session: Any,
    ids: Sequence[int],
    builder: TextBuilder,
    *,
    max_new_tokens: int,
    sampling: Sampling,
    stop_ids: Sequence[int],
) -> GenerateResult:
    """Prefill a fresh session with ``ids``, draw tokens natively, build the text."""
    sampling = sampling.seeded()
    start = time.perf_counter()
    session.prefill(ids)
    middle = time.perf_counter()
    if max_new_tokens:
        session.generate(max_new_tokens, sampling, stop_ids, builder.put)
    end = time.perf_counter()
    text = builder.finish()
    return GenerateResult(
        text=text,
        ids=builder.ids,
        finish_reason=builder.reason,
        prompt_tokens=len(ids),
        prefill_seconds=middle - start,
        decode_seconds=end - middle,
        sampling=sampling,
        message=f"ended by {builder.reason} after {len(builder.ids)} tokens",
    )


def check_stops(stops: Sequence[str] | None) -> tuple[str, ...]:
    """Return stop strings as a tuple; an empty string, which would stop everything, is refused."""
    if stops is None:
        return ()
    stops = (stops,) if isinstance(stops, str) else tuple(stops)
    for stop in stops:
        if not isinstance(stop, str) or not stop:
            raise ArgumentError(f"stop={stop!r}: expected non-empty strings")
    return stops


def room(prompt_tokens: int, max_new_tokens: int | None, context: int, default: int = 256) -> int:
    """How many tokens may be drawn: ``max_new_tokens``, or what the context has room for, up to ``default``."""
    if prompt_tokens > context:
        raise ArgumentError(f"the prompt has {prompt_tokens} tokens: expected at most {context}, the context")
    left = context - prompt_tokens
    if max_new_tokens is None:
        return min(default, left)
    wanted = check_int("max_new_tokens", max_new_tokens, low=0)
    if wanted > left:
        raise ArgumentError(
            f"max_new_tokens={wanted}: expected at most {left}, "
            f"because the prompt takes {prompt_tokens} of the context's {context} tokens"
        )
    return wanted


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    for size in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0


__all__ = [
    "GenerateResult",
    "StopScanner",
    "TextBuilder",
    "TextStream",
    "check_stops",
    "room",
    "run_generation",
]
