"""Decoding token by token, ours and llama.cpp's alike: the same prompt, the same tokens, each with its logits."""

from __future__ import annotations

from typing import Any

from benchmarks.harness import Race, compare

CONTEXT = 1024
PROMPT = list(range(1000, 1128))
IDS = [(7919 * i) % 40000 + 100 for i in range(48)]


class OurDecoder:
    """The native decoder on an artifact, driven token by token as the peer is."""

    def __init__(self, path: str, threads: int) -> None:
        from gossamer.engine.artifact import load_artifact
        from gossamer.engine.decoder import Decoder

        self._decoder = Decoder.from_artifact(load_artifact(path), threads=threads, max_context=CONTEXT)
        self.bytes_per_token = self._decoder.bytes_per_token
        self.prefill([1])

    def prefill(self, ids: list[int]) -> None:
        """Forget everything and read a prompt."""
        self._session = self._decoder.new_session()
        self._session.prefill(ids)

    def decode(self, ids: list[int]) -> None:
        """Decode tokens, each with its logits."""
        for token in ids:
            self._session.decode(token)


def decode_race(ours: OurDecoder, peer: Any, rounds: int, *, tokens: int = len(IDS)) -> Race:
    """Tokens a second behind the prompt, in turn; ``tokens`` a round."""
    ids = IDS[:tokens]
    ours.prefill(PROMPT)
    peer.prefill(PROMPT)
    return compare(
        lambda: ours.decode(ids), lambda: peer.decode(ids), work=len(ids), unit="tokens/s", rounds=rounds
    )
