"""A Hugging Face directory, written whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError
from gossamer._core.files import write_json


def write_directory(
    out: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], config: Mapping[str, Any], tokenizer: Any
) -> None:
    """Write ``model.safetensors``, ``config.json`` and the tokenizer into a new directory.

    Parameters
    ----------
    out : path
        The directory; it must not exist or be empty.
    tensors : dict of str to ndarray
        By the names that transformers gives them.
    config : dict
        What ``config.json`` holds; none is written if it is empty.
    tokenizer : Tokenizer or None
        Written beside it.

    Raises
    ------
    ArgumentError
        If ``out`` is a file or holds anything.
    """
    from safetensors.numpy import save_file

    target = Path(out)
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ArgumentError(f"out={str(target)!r} exists: expected the name of a new directory")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
    try:
        temporary.mkdir()
        contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        # readers of transformers ask which framework wrote the file, and know "pt" only
        save_file(contiguous, temporary / "model.safetensors", metadata={"format": "pt"})
        if config:
            write_json(temporary / "config.json", dict(config))
        if tokenizer is not None:
            tokenizer.save(temporary)
        if target.is_dir():
            target.rmdir()
        os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
