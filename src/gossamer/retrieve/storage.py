"""Folders of indexes: one writer, any number of readers, each of whom sees one whole generation.

A folder holds ``manifest.json`` and one safetensors file an array. Files never change: a save writes new ones under new
names, then replaces the manifest, which names them with their sizes and checksums, and then removes those that nothing
names any more. Readers map arrays into memory, so what they have opened outlives the files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError, ConflictError, FormatError
from gossamer._core.files import atomic_path, read_json, write_json
from gossamer._core.tensorfile import map_tensors, write_tensors

FORMAT_VERSION = 1
MANIFEST, LOCK = "manifest.json", "writer.lock"
_KEYS = {"format_version", "kind", "generation", "meta", "arrays", "checksum"}
_ENTRY = {"file", "dtype", "shape", "sha256"}
_NAME = re.compile(r"[a-z0-9_]+(?:[.-][a-z0-9_]+)*")
_FILE = re.compile(rf"{_NAME.pattern}\.[0-9a-f]{{12}}\.safetensors")
_ATTEMPTS = 20  # a reader meets a writer's replacement at most once a save, and saves take longer than this many opens


@dataclass(frozen=True)
class StoredIndex:
    """One generation of an index folder.

    Attributes
    ----------
    kind : str
        What the folder holds.
    generation : int
        1 for the first save; every save adds one.
    meta : dict
        What the index keeps besides arrays.
    arrays : dict of str to ndarray
        Read-only, mapped into memory.
    """

    kind: str
    generation: int
    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]


def save_index(
    folder: str | os.PathLike[str],
    kind: str,
    meta: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    keep: Iterable[str] = (),
    replaces: int | None = None,
) -> int:
    """Write an index into its folder, whole or not at all; readers see the old one until the new one is complete.

    Parameters
    ----------
    folder : path
        Made if it is not there. An older generation of the same kind is replaced.
    kind : str
        What the folder holds; :func:`load_index` asks for it.
    meta : mapping
        Plain values for JSON (no NaN).
    arrays : mapping of str to ndarray
        Names of lower-case letters, digits, ``_``, and ``.`` or ``-`` inside; numeric arrays of any shape. Bytes of
        other libraries' files go as uint8.
    keep : iterable of str
        Arrays of the present generation that stay as they are: their files are not written again.
    replaces : int, optional
        The generation that the writer has read, 0 for an empty folder; if another one is there by now, nothing is
        written. None replaces whatever is there.

    Returns
    -------
    int
        The new generation.

    Raises
    ------
    ConflictError
        If another process is writing, or ``replaces`` is not the present generation.
    ArgumentError
        For a bad name, an array kept that is not there, or a folder that holds another kind.
    FormatError
        For a dtype that files do not have, or a damaged manifest.

    Notes
    -----
    Written files and their folder are flushed to the disk before the manifest is replaced. What a crashed writer left
    is removed by the next save.
    """
    folder, keep = Path(folder), list(keep)
    for name in [*arrays, *keep]:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ArgumentError(f"array name {name!r}: expected lower-case letters, digits, '_', '.' or '-'")
    twice = sorted(set(arrays) & set(keep))
    if twice:
        raise ArgumentError(f"arrays {twice[:3]} are both written and kept")
    with _writer(folder):
        present = _read_manifest(folder) if (folder / MANIFEST).exists() else None
        generation, old = (present["generation"], present["arrays"]) if present else (0, {})
        if present and present["kind"] != kind:
            raise ArgumentError(f"{folder} holds an index of kind {present['kind']!r}: expected {kind!r}")
        if replaces is not None and replaces != generation:
            raise ConflictError(
                f"{folder} is at generation {generation}: this index was read at {replaces}; load it again"
            )
        missing = sorted(set(keep) - set(old))
        if missing:
            raise ArgumentError(f"arrays {missing[:3]} cannot be kept: {folder} does not hold them")
        try:
            entries = {name: old[name] for name in keep}
            entries |= {name: _write(folder, name, np.asarray(array)) for name, array in arrays.items()}
            _flush(folder)
            write_json(
                folder / MANIFEST,
                _signed(
                    {
                        "format_version": FORMAT_VERSION,
                        "kind": kind,
                        "generation": generation + 1,
                        "meta": dict(meta),
                        "arrays": entries,
                    }
                ),
            )
            _flush(folder)
        finally:
            _sweep(folder)
    return generation + 1


def load_index(folder: str | os.PathLike[str], kind: str, *, verify: bool = True) -> StoredIndex:
    """Open the present generation of an index folder, its arrays mapped into memory.

    Parameters
    ----------
    folder : path
        What :func:`save_index` wrote.
    kind : str
        What it must hold.
    verify : bool
        Compare every array with its checksum, which reads all of it once. Sizes, dtypes, shapes and the manifest's
        own checksum are always compared.

    Returns
    -------
    StoredIndex
        Safe from writers: a later save neither changes nor removes what is mapped.

    Raises
    ------
    FormatError
        If the folder is not an index, of another kind or version, or a file is missing, changed or cut short.
    """
    folder = Path(folder)
    for attempt in range(_ATTEMPTS):
        manifest = _read_manifest(folder)
        if manifest["kind"] != kind:
            raise FormatError(f"{folder} holds an index of kind {manifest['kind']!r}: expected {kind!r}")
        try:
            arrays = {name: _open(folder, name, entry) for name, entry in manifest["arrays"].items()}
            break
        except FormatError:
            moved = _read_manifest(folder)["generation"] != manifest["generation"]
            if not moved or attempt == _ATTEMPTS - 1:
                raise  # nobody replaced it: it is damaged
    if verify:
        for name, array in arrays.items():
            if _sha256(array) != manifest["arrays"][name]["sha256"]:
                raise FormatError(f"{folder}: the array {name!r} does not match its checksum")
    return StoredIndex(kind, manifest["generation"], manifest["meta"], arrays)


def generation_of(folder: str | os.PathLike[str]) -> int:
    """The present generation of an index folder, 0 if it holds none: cheap, for readers that follow a writer."""
    path = Path(folder)
    return _read_manifest(path)["generation"] if (path / MANIFEST).exists() else 0


@contextmanager
def _writer(folder: Path) -> Iterator[None]:
    """Be the only writer of ``folder``: a lock that the system drops when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "a+b") as handle:
        try:
            _lock(handle.fileno())
        except OSError:
            raise ConflictError(f"{folder}: another process is writing this index") from None
        yield


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _write(folder: Path, name: str, array: np.ndarray) -> dict[str, Any]:
    file = f"{name}.{secrets.token_hex(6)}.safetensors"
    with atomic_path(folder / file) as temporary:
        write_tensors(temporary, {"data": array})
    return {
        "file": file,
        "dtype": array.dtype.newbyteorder("<").str,
        "shape": list(array.shape),
        "sha256": _sha256(array),
    }


def _open(folder: Path, name: str, entry: dict[str, Any]) -> np.ndarray:
    tensors = map_tensors(folder / entry["file"])
    array = tensors.get("data")
    if len(tensors) != 1 or array is None:
        raise FormatError(f"{folder}: the file of {name!r} holds {sorted(tensors)}: expected data")
    if array.dtype.str != entry["dtype"] or list(array.shape) != entry["shape"]:
        raise FormatError(
            f"{folder}: the array {name!r} is {array.dtype.str} {list(array.shape)}: the manifest says "
            f"{entry['dtype']} {entry['shape']}"
        )
    return array


def _read_manifest(folder: Path) -> dict[str, Any]:
    where = folder / MANIFEST
    manifest = read_json(where)
    if not isinstance(manifest, dict) or manifest.get("format_version") != FORMAT_VERSION:
        version = manifest.get("format_version") if isinstance(manifest, dict) else None
        raise FormatError(
            f"{where}: format version {version!r}; this gossamer reads version {FORMAT_VERSION}"
        )
    if set(manifest) != _KEYS:
        raise FormatError(f"{where} has the keys {sorted(manifest)}: expected {sorted(_KEYS)}")
    if manifest != _signed({key: value for key, value in manifest.items() if key != "checksum"}):
        raise FormatError(f"{where} does not match its own checksum")
    arrays, generation = manifest["arrays"], manifest["generation"]
    good = isinstance(arrays, dict) and isinstance(manifest["meta"], dict) and type(generation) is int
    if not good or not all(_is_entry(name, entry) for name, entry in arrays.items()):
        raise FormatError(f"{where}: expected a generation, meta and a table of arrays")
    return manifest


def _is_entry(name: str, entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and set(entry) == _ENTRY
        and isinstance(entry["file"], str)
        and _FILE.fullmatch(entry["file"]) is not None
        and entry["file"].startswith(f"{name}.")
    )


def _signed(manifest: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(manifest, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"meta holds what JSON has not ({error})") from None
    # what is read back: tuples are lists by then, integer keys are text
    return {**json.loads(text), "checksum": hashlib.sha256(text.encode()).hexdigest()}


def _sha256(array: np.ndarray) -> str:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    return hashlib.sha256(little.view(np.uint8).data).hexdigest()


def _flush(folder: Path) -> None:
    """Flush the folder's own entries, where the system has that."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove files of arrays, whole or begun, that the manifest does not name."""
    named = set()
    if (folder / MANIFEST).exists():
        named = {entry["file"] for entry in _read_manifest(folder)["arrays"].values()}
    for path in folder.iterdir():
        begun = re.fullmatch(r"\.(.+)\.[0-9a-f]{12}\.part", path.name)
        ours = _FILE.fullmatch(begun[1] if begun else path.name) or (begun and begun[1] == MANIFEST)
        if ours and path.name not in named:
            with suppress(OSError):  # on Windows a file that a reader has mapped stays until the next save
                path.unlink()


__all__ = ["StoredIndex", "generation_of", "load_index", "save_index"]
