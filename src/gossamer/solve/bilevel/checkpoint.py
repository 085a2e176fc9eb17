"""Checkpoints of a run: arrays and a JSON header in one npz or safetensors file, written whole or not at all."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from gossamer._core.errors import FormatError, bad_argument
from gossamer._core.files import write_bytes

FORMAT_VERSION = 1
_HEADER = "header"


def write_checkpoint(
    path: str | os.PathLike[str], header: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    """Write a checkpoint; the ending says which of the two formats.

    Parameters
    ----------
    path : path
        Ends in ``.npz`` or ``.safetensors``.
    header : dict
        Fit for JSON.
    arrays : dict of str to ndarray
        What the run needs to go on.
    """
    text = json.dumps({"format_version": FORMAT_VERSION, **header})
    ending = _ending(path)
    if ending == ".safetensors":
        tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        write_bytes(path, safetensors.numpy.save(tensors, metadata={_HEADER: text}))
        return
    memory = io.BytesIO()
    packed: dict[str, Any] = {**arrays, _HEADER: np.frombuffer(text.encode(), np.uint8)}
    np.savez(memory, **packed)
    write_bytes(path, memory.getvalue())


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what :func:`write_checkpoint` wrote: header and arrays.

    Parameters
    ----------
    path : path
        Ends in ``.npz`` or ``.safetensors``.

    Raises
    ------
    FormatError
        If it is damaged, missing or of another version.
    """
    try:
        if _ending(path) == ".safetensors":
            with safetensors.safe_open(path, framework="np") as file:
                text = (file.metadata() or {})[_HEADER]
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        else:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            text = arrays.pop(_HEADER).tobytes().decode()
        header = json.loads(text)
        version = header.pop("format_version")
    except (
        OSError,
        KeyError,
        ValueError,
        EOFError,
        zipfile.BadZipFile,
        safetensors.SafetensorError,
    ) as error:
        raise FormatError(f"{os.fspath(path)}: not a checkpoint ({error})") from None
    if version != FORMAT_VERSION:
        raise FormatError(f"{os.fspath(path)}: format version {version}, expected {FORMAT_VERSION}")
    return header, arrays


def _ending(path: str | os.PathLike[str]) -> str:
    ending = Path(path).suffix
    if ending not in (".npz", ".safetensors"):
        raise bad_argument("path", os.fspath(path), "a name that ends in .npz or .safetensors")
    return ending
