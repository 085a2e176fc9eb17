"""One door for every kind of model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gossamer._core.errors import FormatError, UnsupportedError, unknown_choice
from gossamer.compress.models.bundled import BUNDLED, locate
from gossamer.compress.models.source import SourceModel


def load_model(spec: Any, *, tokenizer: Any = None, example_inputs: Any = None) -> SourceModel:
    """Load a model to compress.

    Parameters
    ----------
    spec : str, path, torch.nn.Module or SourceModel
        A bundled name (``smollm2-135m``, ``all-minilm-l6-v2``), a Hugging Face directory with safetensors, a GGUF
        file of a Llama-family model, a transformers model, or any module together with ``example_inputs``.
    tokenizer : optional
        Replaces the tokenizer that the source brings, or gives one where it brings none.
    example_inputs : optional
        For modules that are no language models: a tensor, or a sequence of calls' arguments.

    Returns
    -------
    SourceModel
        In float32. Files are memory-mapped where they hold float32; a GGUF file is converted once into
        ``$GOSSAMER_CACHE`` (default ``~/.cache/gossamer``).

    Raises
    ------
    ArgumentError
        For an unknown name, and for weights with NaN (naming the tensor).
    FormatError
        For a missing, truncated or damaged file.
    UnsupportedError
        For an architecture that is not supported.
    MissingDependencyError
        If a package is needed and not installed; the message says which.
    """
    if isinstance(spec, SourceModel):
        return spec
    if isinstance(spec, (str, os.PathLike)):
        source = _from_path(os.fspath(spec), tokenizer)
    elif hasattr(spec, "named_parameters"):
        from gossamer.compress.models.module import from_module

        return from_module(spec, tokenizer=tokenizer, example_inputs=example_inputs)
    else:
        raise UnsupportedError(
            f"model is a {type(spec).__name__}: expected a name, a path or a torch.nn.Module"
        )
    if tokenizer is not None:
        from gossamer.engine.tokenizer import Tokenizer

        source.tokenizer = Tokenizer.wrap(tokenizer)
    return source


def _from_path(spec: str, tokenizer: Any) -> SourceModel:
    from gossamer.compress.models.gguf_file import load_gguf
    from gossamer.compress.models.huggingface import load_directory

    name, licence, path = "", "", Path(spec)
    if spec in BUNDLED:
        name, licence, path = spec, BUNDLED[spec].licence, locate(spec)
    if path.is_dir():
        return load_directory(path, name=name, licence=licence)
    if path.is_file() or path.suffix == ".gguf":
        return load_gguf(path, name=name, licence=licence, need_tokenizer=tokenizer is None)
    if os.sep in spec or path.suffix:
        raise FormatError(f"{spec}: no such file or directory")
    raise unknown_choice("model", spec, [*BUNDLED, "a directory", "a .gguf file"])
