"""Hugging Face directories: ``config.json``, safetensors (one file or sharded), ``tokenizer.json``."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from gossamer._core.errors import FormatError, UnsupportedError
from gossamer._core.files import read_json, sha256
from gossamer._core.lazy import require
from gossamer.compress.models.source import SourceModel

ARCHITECTURES = {"llama": "LlamaForCausalLM", "bert": "BertModel"}
# buffers that old checkpoints store and the model computes
_COMPUTED = ("embeddings.position_ids", "rotary_emb.inv_freq")


def load_directory(
    path: str | os.PathLike[str], *, name: str = "", licence: str = "", content_hash: str = ""
) -> SourceModel:
    """Load a Hugging Face directory as float32, memory-mapped, every key accounted for.

    Raises
    ------
    FormatError
        If a file is missing, truncated or damaged, or keys are missing, unknown or of another shape.
    UnsupportedError
        If the architecture is neither a Llama-family decoder nor a BERT encoder.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FormatError(f"{folder}: no such directory")
    config = read_json(folder / "config.json")
    model_type = config.get("model_type") if isinstance(config, dict) else None
    if model_type not in ARCHITECTURES:
        raise UnsupportedError(
            f"{folder}: model_type={model_type!r}: expected one of {', '.join(ARCHITECTURES)}; "
            "other torch modules compress when given with example inputs"
        )
    files = _weight_files(folder)
    state = _read_tensors(files, folder)
    module, config = build(str(model_type), config, state, str(folder))
    digest = (
        content_hash
        or hashlib.sha256(
            "".join(sha256(file) for file in [folder / "config.json", *files]).encode()
        ).hexdigest()
    )
    return SourceModel(
        module=module,
        kind=str(model_type),
        name=name or folder.name,
        config=config,
        content_hash=digest,
        tokenizer=_tokenizer(folder),
        licence=licence,
        source_nbytes=sum(file.stat().st_size for file in files),
    ).check()


def import_architectures() -> None:
    """Import what loading will need from transformers, which imports its models on first use."""
    transformers = require("transformers", "models")
    for name in ARCHITECTURES.values():
        getattr(transformers, name)


def build(kind: str, config: dict[str, Any], state: dict[str, Any], where: str) -> tuple[Any, dict[str, Any]]:
    """Build a transformers model around the tensors of ``state`` without allocating weights of its own.

    Returns the module, in evaluation mode, and its complete configuration.
    """
    torch, transformers = require("torch", "models"), require("transformers", "models")
    settings = {
        key: value for key, value in config.items() if key not in ("model_type", "dtype", "torch_dtype")
    }
    configuration = transformers.AutoConfig.for_model(kind, **settings)
    with torch.device("meta"):
        if kind == "bert":
            pooled = any(name.endswith("pooler.dense.weight") for name in state)
            module = transformers.BertModel(configuration, add_pooling_layer=pooled)
        else:
            module = transformers.LlamaForCausalLM(configuration)
    module.load_state_dict(
        _fit(module, state, bool(configuration.tie_word_embeddings), kind, where), assign=True
    )
    _compute_buffers(module, configuration, kind)
    if kind == "llama":
        module.tie_weights()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module.eval(), _plain_config(configuration, kind)


def _fit(module: Any, state: dict[str, Any], tied: bool, kind: str, where: str) -> dict[str, Any]:
    """The state under the module's own names and as float32, or an error that names what does not fit."""
    expected = {name: tensor.shape for name, tensor in module.state_dict().items()}
    found = {}
    for key, tensor in state.items():
        name = key.removeprefix("bert.") if kind == "bert" else key
        if not name.endswith(_COMPUTED):
            found[name] = tensor
    if kind == "llama" and tied and "model.embed_tokens.weight" in found:
        found["lm_head.weight"] = found["model.embed_tokens.weight"]
    for what, names in (
        ("missing", expected.keys() - found.keys()),
        ("unknown", found.keys() - expected.keys()),
    ):
        if names:
            raise FormatError(f"{where}: {len(names)} {what} tensors: {', '.join(sorted(names)[:4])}")
    for name, shape in expected.items():
        if found[name].shape != shape:
            raise FormatError(
                f"{where}: tensor {name} has shape {tuple(found[name].shape)}: config.json asks for {tuple(shape)}"
            )
        if not found[name].is_floating_point():
            raise UnsupportedError(f"{where}: tensor {name} is {found[name].dtype}: expected floating point")
    return {name: found[name].float() for name in expected}


def _compute_buffers(module: Any, configuration: Any, kind: str) -> None:
    import torch

    if kind == "llama":
        module.model.rotary_emb = type(module.model.rotary_emb)(config=configuration)
        return
    positions = torch.arange(configuration.max_position_embeddings)[None]
    for name, value in (("position_ids", positions), ("token_type_ids", torch.zeros_like(positions))):
        if name in module.embeddings._buffers:
            module.embeddings._buffers[name] = value


def _plain_config(configuration: Any, kind: str) -> dict[str, Any]:
    config = configuration.to_dict()
    config["architectures"] = [ARCHITECTURES[kind]]
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" in rope:
        config["rope_theta"] = rope["rope_theta"]  # where readers older than transformers 5 look for it
    return {key: value for key, value in config.items() if key != "_name_or_path"}


def _weight_files(folder: Path) -> list[Path]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        others = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".h5"))
        hint = f"; {', '.join(others)}: only safetensors are read" if others else ""
        raise FormatError(f"{folder}: no model.safetensors and no model.safetensors.index.json{hint}")
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise FormatError(f"{index}: expected a table weight_map")
    files = [folder / str(name) for name in sorted(set(weight_map.values()))]
    for file in files:
        if file.parent != folder or not file.is_file():
            raise FormatError(f"{index}: lists {file.name}, which is missing")
    return files


def _read_tensors(files: list[Path], folder: Path) -> dict[str, Any]:
    safetensors = require("safetensors", "models")
    state: dict[str, Any] = {}
    for file in files:
        try:
            with safetensors.safe_open(str(file), framework="pt") as handle:
                for name in handle.keys():  # noqa: SIM118 (not a mapping)
                    if name in state:
                        raise FormatError(f"{folder}: tensor {name} stands in two files")
                    state[name] = handle.get_tensor(name)
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{file}: truncated or damaged safetensors file ({error})") from None
    return state


def _tokenizer(folder: Path) -> Any:
    from gossamer.engine.tokenizer import Tokenizer

    if not (folder / "tokenizer.json").is_file():
        return None
    tokenizer = Tokenizer.load(folder)
    template = folder / "chat_template.jinja"
    if template.is_file():
        tokenizer.config.setdefault("chat_template", template.read_text(encoding="utf-8"))
    return tokenizer
