"""Save and load named structured matrices.

A file is a safetensors file with one metadata key, ``gossamer``: JSON with ``format_version`` and, for each matrix,
``structure`` (its config), ``shape``, ``tags`` and the names of its ``factors``. Factor ``left`` of matrix ``name``
is the tensor ``name.left``. bfloat16 is stored as raw uint16.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from gossamer._core.errors import ArgumentError, FormatError
from gossamer._core.files import atomic_path
from gossamer.linalg.operator import StructuredMatrix, structure_from_config

FORMAT_VERSION = 1
_ENTRY = {"structure", "shape", "tags", "factors"}


def save_matrices(path: str | os.PathLike[str], matrices: Mapping[str, StructuredMatrix]) -> None:
    """Write named matrices to one file, whole or not at all. Equal matrices give equal bytes.

    Parameters
    ----------
    path : path
        The file; an older one is replaced.
    matrices : mapping of str to StructuredMatrix
        Torch factors are written as NumPy arrays.

    Raises
    ------
    ArgumentError
        If a name is empty, or two factors would get the same name.
    """
    tensors: dict[str, np.ndarray] = {}
    header: dict[str, Any] = {}
    for name, matrix in matrices.items():
        if not isinstance(name, str) or not name:
            raise ArgumentError(f"matrix name {name!r}: expected a non-empty string")
        if not isinstance(matrix, StructuredMatrix):
            raise ArgumentError(
                f"matrices[{name!r}] is a {type(matrix).__name__}: expected a StructuredMatrix"
            )
        for factor, array in matrix.numpy().factors.items():
            key = f"{name}.{factor}"
            if key in tensors:
                raise ArgumentError(f"matrix name {name!r} clashes with another: both own the tensor {key!r}")
            tensors[key] = np.ascontiguousarray(array)
        header[name] = {
            "structure": matrix.structure.to_config(),
            "shape": list(matrix.shape),
            "tags": sorted(matrix.tags),
            "factors": list(matrix.factors),
        }
    text = json.dumps({"format_version": FORMAT_VERSION, "matrices": header}, sort_keys=True, allow_nan=False)
    with atomic_path(path) as temporary:
        safetensors.numpy.save_file(tensors, temporary, metadata={"gossamer": text})


def load_matrices(path: str | os.PathLike[str]) -> dict[str, StructuredMatrix]:
    """Read every matrix of a file that :func:`save_matrices` wrote, with NumPy factors.

    Raises
    ------
    FormatError
        If the file is missing, damaged, of another version, or holds an unknown family, a missing or unknown tensor,
        or factors that their family refuses.
    """
    try:
        with safetensors.safe_open(Path(path), framework="numpy") as handle:
            entries = _read_header(path, handle.metadata())
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118  (not a mapping)
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file") from None
    except (OSError, TypeError, AttributeError, safetensors.SafetensorError) as error:
        raise FormatError(f"{path}: not a whole safetensors file ({error})") from None
    matrices = {name: _build(path, name, entry, tensors) for name, entry in entries.items()}
    if tensors:
        raise FormatError(f"{path}: holds tensors that belong to no matrix: {sorted(tensors)[:3]}")
    return matrices


def _read_header(path: Any, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    if not metadata or "gossamer" not in metadata:
        raise FormatError(f"{path}: a safetensors file, but not of gossamer's matrices")
    try:
        header = json.loads(metadata["gossamer"])
    except (json.JSONDecodeError, RecursionError) as error:
        raise FormatError(f"{path}: damaged header ({error})") from None
    if not isinstance(header, dict) or header.get("format_version") != FORMAT_VERSION:
        version = header.get("format_version") if isinstance(header, dict) else None
        raise FormatError(f"{path}: format version {version!r}; this gossamer reads version {FORMAT_VERSION}")
    entries = header.get("matrices")
    if set(header) != {"format_version", "matrices"} or not isinstance(entries, dict):
        raise FormatError(f"{path}: header has keys {sorted(header)}: expected format_version and matrices")
    return entries


def _build(path: Any, name: str, entry: Any, tensors: dict[str, np.ndarray]) -> StructuredMatrix:
    where = f"{path}: matrix {name!r}"
    if not isinstance(entry, dict) or set(entry) != _ENTRY:
        raise FormatError(f"{where}: expected the keys {sorted(_ENTRY)}")
    shape, names, tags = entry["shape"], entry["factors"], entry["tags"]
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int and n > 0 for n in shape):
        raise FormatError(f"{where}: shape {shape!r} is not two positive integers")
    for key, values in (("factors", names), ("tags", tags)):
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise FormatError(f"{where}: {key} is not a list of names")
    missing = [factor for factor in names if f"{name}.{factor}" not in tensors]
    if missing:
        raise FormatError(f"{where}: the tensors of {missing} are missing")
    factors = {factor: tensors.pop(f"{name}.{factor}") for factor in dict.fromkeys(names)}
    try:
        structure = structure_from_config(entry["structure"])
        return structure.matrix(structure, (shape[0], shape[1]), factors).tagged(*tags)
    except (ArgumentError, FormatError, RecursionError) as error:
        raise FormatError(f"{where}: {error}") from None
