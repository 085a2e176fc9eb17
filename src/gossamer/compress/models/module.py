"""Live torch models: those of transformers, and any module with example inputs."""

from __future__ import annotations

import hashlib
from typing import Any

from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer.compress.models.huggingface import ARCHITECTURES, _plain_config
from gossamer.compress.models.source import SourceModel, check_examples


def from_module(
    module: Any, *, tokenizer: Any = None, example_inputs: Any = None, name: str = ""
) -> SourceModel:
    """Wrap a torch module; its weights are shared, not copied, and never modified.

    Parameters
    ----------
    module : torch.nn.Module
        ``LlamaForCausalLM`` or ``BertModel`` of transformers, or any module with linear layers.
    tokenizer : tokenizer of transformers or tokenizers, optional
        Needed to calibrate from text.
    example_inputs : tensor or sequence of calls' arguments, optional
        What to run a module with that is neither of the two; each call is a tensor or a tuple of arguments.
    """
    kind = next((k for k, cls in ARCHITECTURES.items() if type(module).__name__ == cls), "module")
    wrapped = None
    if tokenizer is not None:
        from gossamer.engine.tokenizer import Tokenizer

        wrapped = Tokenizer.wrap(tokenizer)
    if kind == "module" and example_inputs is None:
        raise UnsupportedError(
            f"{type(module).__name__} is neither of {', '.join(ARCHITECTURES.values())}: "
            "expected example_inputs beside any other module"
        )
    configuration = getattr(module, "config", None)
    return SourceModel(
        module=module,
        kind=kind,
        name=name or getattr(configuration, "_name_or_path", "") or type(module).__name__,
        config=_plain_config(configuration, kind) if kind != "module" else {},
        content_hash=state_hash(module),
        tokenizer=wrapped,
        examples=check_examples(example_inputs) if kind == "module" else (),
    ).check()


def state_hash(module: Any) -> str:
    """SHA-256 of a module's parameters and persistent buffers, names included."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        if tensor.device.type == "meta":
            raise ArgumentError(f"tensor {name} has no values: it is on the meta device")
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(memoryview(raw.view(_bytes_dtype()).numpy()))
    return digest.hexdigest()


def _bytes_dtype() -> Any:
    import torch

    return torch.uint8
