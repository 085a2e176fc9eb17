"""Safetensors: written without a second copy in memory, read back with every failure a FormatError."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gossamer._core.errors import FormatError

_NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a safetensors file; the order is fixed (wide dtypes first, then by name).

    Raises
    ------
    FormatError
        For a dtype that the format does not have.
    OSError
        If the disk is full; the caller removes what was begun.
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, object] = {"__metadata__": {"format": "np"}}
    end = 0
    for name in order:
        array = tensors[name]
        if array.dtype.name not in _NAMES:
            raise FormatError(f"tensor {name} is {array.dtype}: expected one of {', '.join(_NAMES)}")
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that every tensor starts at a multiple of its item size
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            array = tensors[name]
            little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            if little.size:
                file.write(little.reshape(-1).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())


def read_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read all arrays of a safetensors file.

    Raises
    ------
    FormatError
        If the file is missing, truncated, damaged, or holds dtypes that NumPy has not.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FormatError(f"{path}: no such file")
    tensors = {}
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  (not a mapping)
                dtype = file.get_slice(name).get_dtype()
                if dtype not in _NAMES.values():
                    raise FormatError(
                        f"{path}: tensor {name} is {dtype}: expected one of {', '.join(_NAMES.values())}"
                    )
                tensors[name] = file.get_tensor(name)
    except (SafetensorError, ValueError, TypeError, OSError, OverflowError, MemoryError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: damaged safetensors file ({error})") from None
    return tensors


__all__ = ["read_tensors", "write_tensors"]
