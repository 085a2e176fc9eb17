"""Safetensors: written without a second copy in memory, read or mapped back with every failure a FormatError."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


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
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)


def map_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Map all arrays of a safetensors file into memory, read-only: pages are read when they are looked at.

    The arrays stay what they are when the file is replaced or removed (on Windows it cannot be, while they live).

    Raises
    ------
    FormatError
        As :func:`read_tensors` does.
    """
    with _opened(path):  # the header is whole, and the file as long as it says
        held = np.asarray(np.memmap(path, np.uint8, "r"))
    start = 8 + int.from_bytes(held[:8].tobytes(), "little")
    header = json.loads(held[8:start].tobytes())
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            dtype = np.dtype(_DTYPES[entry["dtype"]]).newbyteorder("<")
            tensors[name] = held[start + first : start + last].view(dtype).reshape(entry["shape"])
    return tensors


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FormatError(f"{path}: no such file")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  (not a mapping)
                dtype = file.get_slice(name).get_dtype()
                if dtype not in _DTYPES:
                    raise FormatError(
                        f"{path}: tensor {name} is {dtype}: expected one of {', '.join(_DTYPES)}"
                    )
            yield file
    except (SafetensorError, ValueError, TypeError, OSError, OverflowError, MemoryError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: damaged safetensors file ({error})") from None


__all__ = ["map_tensors", "read_tensors", "write_tensors"]
