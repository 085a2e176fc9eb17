"""GGUF files of Llama-family models, converted once into a Hugging Face directory in the cache."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gossamer._core.errors import FormatError, UnsupportedError
from gossamer._core.files import sha256, write_json, write_text
from gossamer._core.lazy import require
from gossamer.compress.models.huggingface import load_directory
from gossamer.compress.models.source import SourceModel

_FORMAT = "1"  # raise it when the conversion changes, so that old cache entries are not read
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_CONTROL = 3


def load_gguf(
    path: str | os.PathLike[str], *, name: str = "", licence: str = "", need_tokenizer: bool = True
) -> SourceModel:
    """Load a GGUF file of a Llama-family model as float32.

    Reading GGUF metadata takes seconds and its blocks must be dequantised, so the first load converts the file into
    a Hugging Face directory under ``$GOSSAMER_CACHE`` (default ``~/.cache/gossamer``), keyed by the file's SHA-256.

    Raises
    ------
    FormatError
        If the file is missing, truncated, damaged, or no GGUF file.
    UnsupportedError
        If it holds another architecture, or a tokenizer that cannot be rebuilt (pass ``tokenizer=`` then).
    """
    file = Path(path)
    try:
        with open(file, "rb") as handle:
            magic = handle.read(4)
    except OSError as error:
        raise FormatError(f"{file}: cannot be read ({error.strerror})") from None
    if magic != b"GGUF":
        raise FormatError(f"{file}: not a GGUF file (it begins with {magic!r})")
    digest = sha256(file)
    target = cache_folder() / "gguf" / f"{digest[:32]}-{_FORMAT}{'' if need_tokenizer else '-weights'}"
    if not (target / "config.json").is_file():
        _convert(file, target, need_tokenizer)
    source = load_directory(target, name=name or file.stem, licence=licence, content_hash=digest)
    source.source_nbytes = file.stat().st_size
    return source


def cache_folder() -> Path:
    """Where converted models are kept: ``$GOSSAMER_CACHE``, else ``~/.cache/gossamer``."""
    return Path(os.environ.get("GOSSAMER_CACHE") or Path.home() / ".cache" / "gossamer")


def _convert(file: Path, target: Path, need_tokenizer: bool) -> None:
    reader = _open(file)
    config = _config(reader, file)
    tokenizer = _tokenizer(reader, file) if need_tokenizer else None
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".converting-", dir=target.parent))
    try:
        _write_weights(reader, config, temporary / "model.safetensors", file)
        if tokenizer is not None:
            write_text(temporary / "tokenizer.json", tokenizer[0])
            write_json(temporary / "tokenizer_config.json", tokenizer[1])
        write_json(temporary / "config.json", config)
        try:
            os.rename(temporary, target)
        except OSError:  # another process converted the same file meanwhile
            if not (target / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _open(file: Path) -> Any:
    gguf = require("gguf", "models")
    try:
        return gguf.GGUFReader(str(file))
    except Exception as error:  # the package lets NumPy's and its own errors through on damaged files
        raise FormatError(f"{file}: truncated or damaged GGUF file ({error})") from None


def _field(reader: Any, key: str, file: Path, default: Any = None) -> Any:
    field = reader.fields.get(key)
    if field is None:
        if default is None:
            raise FormatError(f"{file}: the metadata key {key} is missing")
        return default
    return field.contents()


def _config(reader: Any, file: Path) -> dict[str, Any]:
    architecture = _field(reader, "general.architecture", file)
    if architecture != "llama":
        raise UnsupportedError(f"{file}: architecture {architecture!r}: expected 'llama'")

    def get(key: str, default: Any = None) -> Any:
        return _field(reader, f"llama.{key}", file, default)

    heads, hidden = get("attention.head_count"), get("embedding_length")
    names = {tensor.name for tensor in reader.tensors}
    if "rope_freqs.weight" in names or any(name.endswith("_exps.weight") for name in names):
        raise UnsupportedError(f"{file}: scaled rotary frequencies or experts: expected a plain Llama model")
    tokens = [f"tokenizer.ggml.{name}_token_id" for name in ("bos", "eos", "padding")]
    bos, eos, pad = (int(_field(reader, key, file, -1)) for key in tokens)
    theta = float(get("rope.freq_base", 10000.0))
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": hidden,
        "intermediate_size": get("feed_forward_length"),
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": get("attention.head_count_kv", heads),
        "head_dim": get("attention.key_length", hidden // heads),
        "max_position_embeddings": get("context_length"),
        "rms_norm_eps": float(get("attention.layer_norm_rms_epsilon")),
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "rope_theta": theta,
        "vocab_size": int(next(t for t in reader.tensors if t.name == "token_embd.weight").shape[1]),
        "tie_word_embeddings": "output.weight" not in names,
        "hidden_act": "silu",
        **{
            key: value
            for key, value in (("bos_token_id", bos), ("eos_token_id", eos), ("pad_token_id", pad))
            if value >= 0
        },
    }


def _hf_name(name: str) -> str | None:
    stem, _, suffix = name.rpartition(".")
    if suffix != "weight":
        return None
    if stem in _TOP:
        return f"{_TOP[stem]}.weight"
    prefix, _, rest = stem.partition(".")
    layer, _, part = rest.partition(".")
    return f"model.layers.{layer}.{_LAYER[part]}.weight" if prefix == "blk" and part in _LAYER else None


def _unpermute(heads: int) -> Callable[[np.ndarray], np.ndarray]:
    # GGUF interleaves the two rotary halves of every head in the rows of Q and K; Hugging Face keeps them apart
    def undo(weight: np.ndarray) -> np.ndarray:
        rows, columns = weight.shape
        return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)

    return undo


def _write_weights(reader: Any, config: dict[str, Any], target: Path, file: Path) -> None:
    """Write all tensors as float32 safetensors, one at a time, so that the model is never in memory whole."""
    gguf = require("gguf", "models")
    undo = {
        "self_attn.q_proj.weight": _unpermute(config["num_attention_heads"]),
        "self_attn.k_proj.weight": _unpermute(config["num_key_value_heads"]),
    }
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    plan = []
    end = 0
    for tensor in reader.tensors:
        name = _hf_name(tensor.name)
        if name is None:
            raise UnsupportedError(
                f"{file}: unknown tensor {tensor.name}: expected those of a plain Llama model"
            )
        shape = [int(size) for size in reversed(tensor.shape)]
        begin, end = end, end + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
        plan.append((name, shape, tensor))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(target, "wb") as handle:
        handle.write(len(text).to_bytes(8, "little") + text)
        for name, shape, tensor in plan:
            try:
                weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape)
            except (ValueError, RuntimeError) as error:
                raise FormatError(f"{file}: tensor {tensor.name} cannot be read ({error})") from None
            for ending, change in undo.items():
                if name.endswith(ending):
                    weight = change(weight)
            handle.write(np.ascontiguousarray(weight, dtype="<f4").data)
        handle.flush()
        os.fsync(handle.fileno())


def _tokenizer(reader: Any, file: Path) -> tuple[str, dict[str, Any]]:
    """``tokenizer.json`` and ``tokenizer_config.json`` of a byte-level BPE tokenizer."""
    tokenizers = require("tokenizers", "models")
    model, kind = (_field(reader, f"tokenizer.ggml.{key}", file, "") for key in ("model", "pre"))
    if model != "gpt2" or kind not in ("smollm", "default", "gpt-2", ""):
        raise UnsupportedError(
            f"{file}: tokenizer {model!r} with pre-tokenizer {kind!r} cannot be rebuilt: "
            "pass tokenizer= (for example transformers.AutoTokenizer.from_pretrained(directory))"
        )
    tokens = _field(reader, "tokenizer.ggml.tokens", file)
    merges = [tuple(merge.split(" ", 1)) for merge in _field(reader, "tokenizer.ggml.merges", file)]
    types = _field(reader, "tokenizer.ggml.token_type", file, [1] * len(tokens))
    bpe = tokenizers.models.BPE({token: i for i, token in enumerate(tokens)}, merges)
    tokenizer = tokenizers.Tokenizer(bpe)
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = [tokenizers.pre_tokenizers.Digits(individual_digits=True)] if kind == "smollm" else []
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([*digits, byte_level])
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    control = [token for token, type_ in zip(tokens, types) if type_ == _CONTROL]
    tokenizer.add_special_tokens([tokenizers.AddedToken(t, special=True, normalized=False) for t in control])
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    for key, name in (("bos", "bos"), ("eos", "eos"), ("unknown", "unk"), ("padding", "pad")):
        index = int(_field(reader, f"tokenizer.ggml.{key}_token_id", file, -1))
        if 0 <= index < len(tokens):
            config[f"{name}_token"] = tokens[index]
    template = _field(reader, "tokenizer.chat_template", file, "")
    if template:
        config["chat_template"] = template
    return tokenizer.to_str(), config
