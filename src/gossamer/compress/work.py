"""The work directory: what of a run is finished, so that a run that was killed goes on where it stood."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gossamer._core.errors import ArgumentError, FormatError, GossamerError
from gossamer._core.files import atomic_path, read_json, write_json
from gossamer.compress.methods.layer import Fitted
from gossamer.compress.result import LayerRow
from gossamer.linalg import structure_from_config

_VERSION = 1
_STATE = "state.json"


class WorkDirectory:
    """``<out>.work``: a state file, and one safetensors file for each finished block.

    Every file is written whole or not at all, a block's file before the state that counts it, so that a run may be
    killed at any moment.

    Parameters
    ----------
    path : Path
        The directory.
    identity : mapping of str to value
        What makes this run this run: hashes of model, recipe and calibration, the seed.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], done: int) -> None:
        self.path, self.identity, self.done = path, dict(identity), done

    @classmethod
    def open(
        cls, out: str | os.PathLike[str], identity: Mapping[str, Any], *, resume: bool, overwrite: bool
    ) -> WorkDirectory:
        """Begin, or go on with, the run whose artifact will be ``out``.

        Raises
        ------
        ArgumentError
            If an earlier run left its work and neither ``resume`` nor ``overwrite`` is set, or if it was a run
            with another model, recipe, calibration or seed.
        """
        target = Path(out)
        path = target.with_name(target.name + ".work")
        if path.exists() and not (path / _STATE).exists() and any(path.iterdir()):
            raise ArgumentError(
                f"{path} holds other files: expected a new directory, or the work of an earlier run"
            )
        if (path / _STATE).exists():
            if resume:
                return cls._reopen(path, identity)
            if not overwrite:
                raise ArgumentError(
                    f"{path} holds an unfinished run: pass resume=True, or overwrite=True to begin anew"
                )
            shutil.rmtree(path)
        path.mkdir(parents=True, exist_ok=True)
        work = cls(path, identity, 0)
        work._write_state()
        return work

    @classmethod
    def _reopen(cls, path: Path, identity: Mapping[str, Any]) -> WorkDirectory:
        state = read_json(path / _STATE)
        if not isinstance(state, dict) or state.get("version") != _VERSION:
            raise FormatError(f"{path / _STATE}: expected version {_VERSION}; remove {path} to begin anew")
        for key, value in identity.items():
            if state["identity"].get(key) != value:
                raise ArgumentError(
                    f"resume: {path} was begun with another {key} ({state['identity'].get(key)!r}, now {value!r}): "
                    "give the same one, or overwrite=True to begin anew"
                )
        for leftover in path.glob(".*.part"):  # of a write that was killed
            leftover.unlink()
        return cls(path, identity, int(state["done"]))

    def save_block(self, index: int, fitted: Mapping[str, Fitted]) -> None:
        """Write block ``index`` and count it as finished."""
        with self.writing():
            save_fitted(self.path / f"block-{index:03d}.safetensors", fitted)
            self.done = index + 1
            self._write_state()

    def load_block(self, index: int) -> dict[str, Fitted]:
        """Read a finished block."""
        return load_fitted(self.path / f"block-{index:03d}.safetensors")

    def load_all(self) -> list[Fitted]:
        """Every finished layer, in order."""
        return [item for index in range(self.done) for item in self.load_block(index).values()]

    def remove(self) -> None:
        """Delete the directory, once the artifact stands."""
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say what to do when the disk is full."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DiskFullError(
                f"no space left to write in {self.path.parent} ({error}); what is finished is kept: "
                "make room and run again with resume=True"
            ) from error

    def _write_state(self) -> None:
        write_json(self.path / _STATE, {"version": _VERSION, "identity": self.identity, "done": self.done})


class DiskFullError(GossamerError, OSError):
    """The disk is full. Nothing that was finished is lost."""


def save_fitted(path: Path, fitted: Mapping[str, Fitted]) -> None:
    """Write fitted layers as safetensors, atomically; names, families and rows go in the metadata."""
    from safetensors.numpy import save_file

    tensors, about = {}, {}
    for name, item in fitted.items():
        matrix = item.matrix.numpy()
        tensors.update({f"{name}.{key}": factor for key, factor in matrix.factors.items()})
        about[name] = {
            "structure": matrix.structure.to_config(),
            "factors": list(matrix.factors),
            "row": asdict(item.row),
        }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"layers": json.dumps(about)})


def load_fitted(path: Path) -> dict[str, Fitted]:
    """Read what :func:`save_fitted` wrote."""
    from safetensors import SafetensorError, safe_open

    fitted = {}
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            for name, entry in json.loads(file.metadata()["layers"]).items():
                structure = structure_from_config(entry["structure"])
                row = LayerRow(**{**entry["row"], "shape": tuple(entry["row"]["shape"])})
                factors = {key: file.get_tensor(f"{name}.{key}") for key in entry["factors"]}
                fitted[name] = Fitted(structure.matrix(structure, row.shape, factors), row)
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise FormatError(f"{path}: damaged ({error}); remove {path.parent} to begin anew") from None
    return fitted
