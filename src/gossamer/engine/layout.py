"""What a model of each kind consists of: names and shapes, derived from its ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, FormatError

KINDS = ("llama", "bert", "module")
"""Llama-family decoders, BERT encoders, and anything else (stored, exported, not run by the engine)."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """The tensors of a model.

    Attributes
    ----------
    linear : dict of str to (int, int)
        Modules that must be structured matrices, by Hugging Face module path, with their (out, in) shape.
    either : dict of str to (int, int)
        Modules that may be a structured matrix or an array ``<path>.weight``: the embeddings.
    arrays : dict of str to tuple
        Arrays that must be present.
    optional : dict of str to tuple
        Linear modules and arrays that a model may lack and the engine does not read.
    hyper : dict of str to number
        Checked hyperparameters under their Hugging Face names, defaults filled in.
    """

    linear: dict[str, tuple[int, int]]
    either: dict[str, tuple[int, int]]
    arrays: dict[str, Shape]
    optional: dict[str, Shape] = field(default_factory=dict)
    hyper: dict[str, Any] = field(default_factory=dict)


def model_layout(kind: str, config: Mapping[str, Any]) -> Layout:
    """Derive names and shapes of all tensors from a Hugging Face configuration.

    Parameters
    ----------
    kind : {"llama", "bert"}
        The architecture.
    config : mapping
        What ``config.json`` holds.

    Raises
    ------
    FormatError
        If a value is missing, impossible, or asks for something that the engine does not compute.
    """
    check_choice("kind", kind, ("llama", "bert"))
    if not isinstance(config, Mapping):
        raise FormatError(f"config.json holds a {type(config).__name__}: expected a table")
    try:
        return _llama(config) if kind == "llama" else _bert(config)
    except ArgumentError as error:
        raise FormatError(f"config.json: {error}") from None


def _llama(config: Mapping[str, Any]) -> Layout:
    hidden, inner = _size(config, "hidden_size"), _size(config, "intermediate_size")
    layers, heads = _size(config, "num_hidden_layers", high=4096), _size(config, "num_attention_heads")
    kv_heads = _size(config, "num_key_value_heads", default=heads)
    head = _size(config, "head_dim", default=max(hidden // heads, 1))
    vocabulary = _size(config, "vocab_size")
    if heads % kv_heads:
        raise ArgumentError(
            f"num_attention_heads={heads} is not a multiple of num_key_value_heads={kv_heads}"
        )
    if head % 2:
        raise ArgumentError(f"head_dim={head}: rotary embedding needs an even number")
    check_choice("hidden_act", config.get("hidden_act", "silu"), ("silu",))
    for name in ("attention_bias", "mlp_bias"):
        check_choice(name, bool(config.get(name)), (False,))
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, Mapping):
        raise ArgumentError(f"rope_parameters={rope!r}: expected a table")
    check_choice("rope_type", rope.get("rope_type", rope.get("type", "default")), ("default",))
    hyper = {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head,
        "vocab_size": vocabulary,
        "max_position_embeddings": _size(config, "max_position_embeddings", default=2048),
        "rms_norm_eps": _positive(config, "rms_norm_eps", 1e-6),
        "rope_theta": _positive({**config, **rope}, "rope_theta", 10000.0),
        "tie_word_embeddings": bool(config.get("tie_word_embeddings", False)),
    }
    linear: dict[str, tuple[int, int]] = {}
    arrays: dict[str, Shape] = {"model.norm.weight": (hidden,)}
    for i in range(layers):
        at = f"model.layers.{i}"
        linear |= {
            f"{at}.self_attn.q_proj": (heads * head, hidden),
            f"{at}.self_attn.k_proj": (kv_heads * head, hidden),
            f"{at}.self_attn.v_proj": (kv_heads * head, hidden),
            f"{at}.self_attn.o_proj": (hidden, heads * head),
            f"{at}.mlp.gate_proj": (inner, hidden),
            f"{at}.mlp.up_proj": (inner, hidden),
            f"{at}.mlp.down_proj": (hidden, inner),
        }
        arrays[f"{at}.input_layernorm.weight"] = (hidden,)
        arrays[f"{at}.post_attention_layernorm.weight"] = (hidden,)
    either = {"model.embed_tokens": (vocabulary, hidden)}
    if not hyper["tie_word_embeddings"]:
        either["lm_head"] = (vocabulary, hidden)
    return Layout(linear, either, arrays, {}, hyper)


def _bert(config: Mapping[str, Any]) -> Layout:
    hidden, inner = _size(config, "hidden_size"), _size(config, "intermediate_size")
    layers, heads = _size(config, "num_hidden_layers", high=4096), _size(config, "num_attention_heads")
    vocabulary, types = _size(config, "vocab_size"), _size(config, "type_vocab_size", default=2)
    positions = _size(config, "max_position_embeddings", default=512)
    if hidden % heads:
        raise ArgumentError(f"hidden_size={hidden} is not a multiple of num_attention_heads={heads}")
    check_choice("hidden_act", config.get("hidden_act", "gelu"), ("gelu",))
    check_choice("position_embedding_type", config.get("position_embedding_type", "absolute"), ("absolute",))
    hyper = {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "head_dim": hidden // heads,
        "vocab_size": vocabulary,
        "type_vocab_size": types,
        "max_position_embeddings": positions,
        "layer_norm_eps": _positive(config, "layer_norm_eps", 1e-12),
    }
    linear: dict[str, tuple[int, int]] = {}
    arrays: dict[str, Shape] = {
        "embeddings.position_embeddings.weight": (positions, hidden),
        "embeddings.token_type_embeddings.weight": (types, hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    for i in range(layers):
        at = f"encoder.layer.{i}"
        here: dict[str, tuple[int, int]] = {
            f"{at}.attention.self.query": (hidden, hidden),
            f"{at}.attention.self.key": (hidden, hidden),
            f"{at}.attention.self.value": (hidden, hidden),
            f"{at}.attention.output.dense": (hidden, hidden),
            f"{at}.intermediate.dense": (inner, hidden),
            f"{at}.output.dense": (hidden, inner),
        }
        linear |= here
        arrays |= {f"{path}.bias": (shape[0],) for path, shape in here.items()}
        for norm in (f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"):
            arrays |= {f"{norm}.weight": (hidden,), f"{norm}.bias": (hidden,)}
    either = {"embeddings.word_embeddings": (vocabulary, hidden)}
    optional: dict[str, Shape] = {"pooler.dense": (hidden, hidden), "pooler.dense.bias": (hidden,)}
    return Layout(linear, either, arrays, optional, hyper)


def _size(config: Mapping[str, Any], name: str, *, default: int | None = None, high: int = 1 << 24) -> int:
    value = config.get(name)
    if value is None:
        if default is None:
            raise ArgumentError(f"{name} is missing: expected a positive integer")
        value = default
    return check_int(name, value, low=1, high=high)


def _positive(config: Mapping[str, Any], name: str, default: float) -> float:
    value = config.get(name)
    return check_float(name, default if value is None else value, low=0, closed="neither")
