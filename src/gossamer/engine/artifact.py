"""A compressed model on disk: safetensors and JSON, versioned, checksummed, read with suspicion."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.errors import ArgumentError, FormatError, GossamerError, unknown_choice
from gossamer._core.files import read_json, sha256, write_json
from gossamer._core.tensorfile import read_tensors, write_tensors
from gossamer.engine.layout import KINDS, Layout, model_layout
from gossamer.engine.tokenizer import Tokenizer
from gossamer.linalg.operator import StructuredMatrix
from gossamer.linalg.structure import structure_from_config

FORMAT_VERSION = 1
WEIGHTS, CONFIG, HEADER = "model.safetensors", "config.json", "gossamer.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
_FILES = (WEIGHTS, CONFIG, TOKENIZER, TOKENIZER_CONFIG)
_KEYS = {"format_version", "kind", "gossamer_version", "matrices", "arrays", "files", "metadata"}
# what a family's check may raise on factors from a hostile file
_BAD_FACTORS = (
    GossamerError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    MemoryError,
    RecursionError,
)


@dataclass
class Artifact:
    """A model whose linear layers are structured matrices.

    Attributes
    ----------
    kind : {"llama", "bert", "module"}
        The architecture; "module" is stored and exported but not run by the engine.
    config : dict
        The Hugging Face configuration.
    matrices : dict of str to StructuredMatrix
        By module path (``model.layers.0.self_attn.q_proj``), of shape (out, in), NumPy factors.
    arrays : dict of str to array
        Every other parameter, by its Hugging Face name.
    metadata : dict
        Recipe, source model, licence, figures: anything that JSON holds.
    tokenizer : Tokenizer or None
        The tokenizer that belongs to the model.
    """

    kind: str
    config: dict[str, Any]
    matrices: dict[str, StructuredMatrix]
    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any] = field(default_factory=dict)
    tokenizer: Tokenizer | None = None

    @property
    def layout(self) -> Layout:
        """Names, shapes and hyperparameters that :attr:`config` asks for."""
        return model_layout(self.kind, self.config)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(m.nbytes for m in self.matrices.values()) + sum(a.nbytes for a in self.arrays.values())

    @property
    def bits_per_weight(self) -> float:
        """Stored bits, all overhead counted, for each weight of the linear layers (without embeddings)."""
        embeddings = () if self.kind == "module" else self.layout.either
        linear = [m for path, m in self.matrices.items() if path not in embeddings]
        return 8 * sum(m.nbytes for m in linear) / max(sum(m.shape[0] * m.shape[1] for m in linear), 1)

    def weight(self, path: str) -> np.ndarray:
        """The dense (out, in) weight of a module, whether it is held as a matrix or as an array."""
        if path in self.matrices:
            return to_numpy(self.matrices[path].to_dense())
        try:
            return self.arrays[f"{path}.weight"]
        except KeyError:
            raise unknown_choice("path", path, self.matrices) from None

    def dense(self) -> dict[str, np.ndarray]:
        """All parameters as dense arrays under their Hugging Face names: a state dictionary."""
        return {**self.arrays, **{f"{path}.weight": self.weight(path) for path in self.matrices}}


def save_artifact(
    path: str | os.PathLike[str],
    artifact: Artifact,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = None,
) -> None:
    """Write an artifact directory: all of it, or nothing.

    Everything is written to a temporary directory beside ``path``, which then takes its place; on any error
    (a full disk included) it is removed and what stood at ``path`` stays. Files in ``path`` that are not the
    artifact's (a report, say) are kept.

    Parameters
    ----------
    path : path
        The directory. An existing artifact is replaced; another non-empty directory is refused.
    artifact : Artifact
        The model. The same artifact gives the same bytes.
    tokenizer : Tokenizer or path, optional
        Overrides ``artifact.tokenizer``; a path names ``tokenizer.json`` or a directory with it.

    Raises
    ------
    ArgumentError
        If ``path`` is something else than an artifact, or metadata are not JSON.
    FormatError
        If the model does not consist of what its configuration asks for, or holds NaN.
    """
    target = Path(path)
    _check_target(target)
    tokenizer = tokenizer if tokenizer is not None else artifact.tokenizer
    if tokenizer is not None and not isinstance(tokenizer, Tokenizer):
        tokenizer = Tokenizer.load(tokenizer)
    check_artifact(artifact)
    tensors = {name: np.asarray(to_numpy(array)) for name, array in artifact.arrays.items()}
    for name, matrix in artifact.matrices.items():
        member = matrix.numpy() if matrix.is_torch else matrix
        for factor, value in member.factors.items():
            if tensors.setdefault(f"{name}.{factor}", value) is not value:
                raise FormatError(f"tensor {name}.{factor} belongs to a matrix and is an array as well")

    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
    try:
        temporary.mkdir()
        write_tensors(temporary / WEIGHTS, tensors)
        write_json(temporary / CONFIG, artifact.config)
        if tokenizer is not None:
            tokenizer.save(temporary)
        header = _header(artifact)
        header["files"] = {
            file: {"bytes": (temporary / file).stat().st_size, "sha256": sha256(temporary / file)}
            for file in _FILES
            if (temporary / file).exists()
        }
        try:
            write_json(temporary / HEADER, header)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"metadata cannot be written as JSON: {error}") from None
        _swap(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_artifact(path: str | os.PathLike[str], verify: bool = True) -> Artifact:
    """Read and check an artifact directory.

    Parameters
    ----------
    path : path
        The directory.
    verify : bool
        Compare the checksums. All other checks (names, shapes, dtypes, index ranges, NaN) are always made.

    Raises
    ------
    FormatError
        If anything is missing, unknown, damaged, out of range or of another version; the message says what
        was found and what was expected.
    """
    folder = Path(path)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise FormatError(f"{folder} {what}: expected an artifact, a directory with {HEADER} and {WEIGHTS}")
    header = _read_header(folder)
    _check_files(folder, header["files"], verify)
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise FormatError(f"{folder / CONFIG} holds a {type(config).__name__}: expected a table")
    tokenizer = Tokenizer.load(folder) if TOKENIZER in header["files"] else None
    tensors = read_tensors(folder / WEIGHTS)
    arrays = _take_arrays(header["arrays"], tensors)
    matrices = _take_matrices(header["matrices"], tensors)
    if tensors:
        some = ", ".join(sorted(tensors)[:3])
        raise FormatError(f"{WEIGHTS} has {len(tensors)} tensors that {HEADER} does not name: {some}")
    artifact = Artifact(header["kind"], config, matrices, arrays, header["metadata"], tokenizer)
    check_artifact(artifact)
    return artifact


def check_artifact(artifact: Artifact) -> None:
    """Refuse a model that does not consist of what its configuration asks for, or holds NaN or infinity."""
    if artifact.kind not in KINDS:
        raise FormatError(f"kind={artifact.kind!r}: expected one of {', '.join(KINDS)}")
    if artifact.kind != "module":
        _check_layout(artifact, artifact.layout)
    for name, array in artifact.arrays.items():
        _check_finite(name, to_numpy(array))
    for path, matrix in artifact.matrices.items():
        raw = matrix.numpy() if matrix.is_torch else matrix
        for factor, value in raw.factors.items():
            _check_finite(f"{path}.{factor}", value, factor in raw.raw_bfloat16)


def _check_layout(artifact: Artifact, layout: Layout) -> None:
    matrices, arrays = artifact.matrices, artifact.arrays
    expected = {path: shape for path, shape in layout.either.items() if path in matrices} | layout.linear
    expected |= {
        path: shape for path, shape in layout.optional.items() if path in matrices and len(shape) == 2
    }
    _compare("matrix", {path: m.shape for path, m in matrices.items()}, expected)
    wanted = layout.arrays | {f"{p}.weight": shape for p, shape in layout.either.items() if p not in matrices}
    wanted |= {name: shape for name, shape in layout.optional.items() if name in arrays and len(shape) == 1}
    _compare("array", {name: tuple(array.shape) for name, array in arrays.items()}, wanted)
    for name, array in arrays.items():
        if to_numpy(array).dtype.name not in ("float16", "float32", "float64"):
            raise FormatError(f"array {name} is {array.dtype}: expected float16, float32 or float64")


def _compare(what: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    plural = {"matrix": "matrices", "array": "arrays"}[what]
    for problem, names in (
        ("lacks", expected.keys() - found.keys()),
        ("has unknown", found.keys() - expected.keys()),
    ):
        if names:
            some = ", ".join(sorted(names)[:3])
            raise FormatError(
                f"the model {problem} {len(names)} {what if len(names) == 1 else plural}: {some}"
            )
    for name, shape in expected.items():
        if found[name] != shape:
            raise FormatError(f"{what} {name} has shape {found[name]}: expected {shape}")


def _check_finite(name: str, array: np.ndarray, raw_bfloat16: bool = False) -> None:
    if array.dtype.kind == "f":
        good = np.isfinite(array)
    elif raw_bfloat16:
        good = (array & 0x7F80) != 0x7F80
    else:
        return
    if not good.all():
        raise FormatError(
            f"tensor {name} has {int((~good).sum())} NaN or infinite entries: expected finite numbers"
        )


def _header(artifact: Artifact) -> dict[str, Any]:
    from gossamer import __version__

    return {
        "format_version": FORMAT_VERSION,
        "kind": artifact.kind,
        "gossamer_version": __version__,
        "metadata": artifact.metadata,
        "matrices": {
            path: {"structure": m.structure.to_config(), "shape": list(m.shape)}
            for path, m in sorted(artifact.matrices.items())
        },
        "arrays": {
            name: {"dtype": to_numpy(array).dtype.name, "shape": list(array.shape)}
            for name, array in sorted(artifact.arrays.items())
        },
    }


def _read_header(folder: Path) -> dict[str, Any]:
    header = read_json(folder / HEADER)
    if not isinstance(header, dict) or "format_version" not in header:
        raise FormatError(f"{folder / HEADER}: expected a table with format_version, kind, matrices, ...")
    version = header["format_version"]
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise FormatError(
            f"{folder} has format_version {version!r}: this gossamer reads {FORMAT_VERSION}; "
            "compress the model again, or use the gossamer that wrote it"
        )
    _exact_keys(HEADER, header, _KEYS)
    for key in ("matrices", "arrays", "files", "metadata"):
        if not isinstance(header[key], dict):
            raise FormatError(f"{HEADER}: {key} is a {type(header[key]).__name__}: expected a table")
    if header["kind"] not in KINDS:
        raise FormatError(f"{HEADER}: kind={header['kind']!r}: expected one of {', '.join(KINDS)}")
    return header


def _check_files(folder: Path, files: dict[str, Any], verify: bool) -> None:
    for required in (WEIGHTS, CONFIG):
        if required not in files:
            raise FormatError(f"{HEADER}: files does not list {required}")
    for name, entry in files.items():
        if name not in _FILES:
            raise FormatError(f"{HEADER}: files lists {name!r}: expected only {', '.join(_FILES)}")
        _exact_keys(f"{HEADER}: files.{name}", entry, {"bytes", "sha256"})
        file = folder / name
        if not file.is_file():
            raise FormatError(f"{file} is missing; {HEADER} lists it")
        if file.stat().st_size != entry["bytes"]:
            raise FormatError(
                f"{file} has {file.stat().st_size} bytes: expected {entry['bytes']}; it is truncated"
            )
        if verify and sha256(file) != entry["sha256"]:
            raise FormatError(f"{file} is damaged: its SHA-256 is not the one in {HEADER}")


def _take_arrays(entries: dict[str, Any], tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    arrays = {}
    for name, entry in entries.items():
        _exact_keys(f"{HEADER}: arrays.{name}", entry, {"dtype", "shape"})
        if name not in tensors:
            raise FormatError(f"{WEIGHTS} lacks the tensor {name}")
        array = tensors.pop(name)
        if list(array.shape) != entry["shape"] or array.dtype.name != entry["dtype"]:
            raise FormatError(
                f"tensor {name} is {array.dtype.name} {list(array.shape)}: "
                f"{HEADER} says {entry['dtype']} {entry['shape']}"
            )
        arrays[name] = array
    return arrays


def _take_matrices(entries: dict[str, Any], tensors: dict[str, np.ndarray]) -> dict[str, StructuredMatrix]:
    factors: dict[str, dict[str, np.ndarray]] = {path: {} for path in entries}
    for name in list(tensors):
        # the longest module path that the name starts with: factors of sums have dots of their own
        path = name
        while (path := path.rpartition(".")[0]) and path not in factors:
            pass
        if path:
            factors[path][name[len(path) + 1 :]] = tensors.pop(name)
    matrices = {}
    for path, entry in entries.items():
        _exact_keys(f"{HEADER}: matrices.{path}", entry, {"structure", "shape"})
        shape = entry["shape"]
        if not (
            isinstance(shape, list)
            and len(shape) == 2
            and all(isinstance(n, int) and not isinstance(n, bool) and 0 < n < 1 << 31 for n in shape)
        ):
            raise FormatError(f"{HEADER}: matrices.{path}: shape={shape!r}: expected two positive integers")
        try:
            structure = structure_from_config(entry["structure"])
            matrices[path] = structure.matrix(structure, (shape[0], shape[1]), factors[path])
        except _BAD_FACTORS as error:
            raise FormatError(f"matrix {path}: {error}") from error
    return matrices


def _exact_keys(where: str, table: Any, keys: set[str]) -> None:
    if not isinstance(table, dict) or set(table) != keys:
        found = sorted(table) if isinstance(table, dict) else type(table).__name__
        raise FormatError(f"{where}: found {found}: expected exactly {sorted(keys)}")


def _check_target(target: Path) -> None:
    if not re.fullmatch(r"[^\0]+", target.name):
        raise ArgumentError(f"path={str(target)!r}: expected the name of a directory to write")
    if target.exists() and not target.is_dir():
        raise ArgumentError(f"path={str(target)!r} is a file: expected a directory, new or an artifact")
    if target.is_dir() and not (target / HEADER).exists() and any(target.iterdir()):
        raise ArgumentError(f"path={str(target)!r} holds files and is no artifact: it would be overwritten")


def _swap(temporary: Path, target: Path) -> None:
    """Put ``temporary`` in the place of ``target``; foreign files of ``target`` move along."""
    if not target.exists():
        os.rename(temporary, target)
        return
    old = temporary.with_suffix(".old")
    os.rename(target, old)
    try:
        os.rename(temporary, target)
    except OSError:
        os.rename(old, target)
        raise
    for entry in old.iterdir():
        if entry.name not in (*_FILES, HEADER):
            os.rename(entry, target / entry.name)
    shutil.rmtree(old, ignore_errors=True)


__all__ = ["FORMAT_VERSION", "Artifact", "check_artifact", "load_artifact", "save_artifact"]
