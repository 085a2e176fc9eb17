"""Activations of a model on disk: float16 shards that are memory-mapped, and written so that a killed run goes on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, FormatError
from gossamer._core.files import atomic_path, read_json, write_json

_VERSION = 1
_STATE = "cache.json"
FIELDS = {"x": np.float16, "g": np.float16, "tokens": np.int32, "positions": np.int32, "sequences": np.int32}


class ShardedRows:
    """Rows that lie in several memory-mapped arrays, read by slice or by an array of row numbers.

    Parameters
    ----------
    parts : list of ndarray
        With the same trailing shape.
    divisor : float
        Stored values are divided by it when they are read; half precision is read as float32.
    """

    def __init__(self, parts: list[np.ndarray], divisor: float = 1.0) -> None:
        self._parts, self.divisor = parts, divisor
        self._start = np.cumsum([0, *(len(part) for part in parts)])
        self.shape = (int(self._start[-1]), *parts[0].shape[1:])
        self.dtype = np.dtype(np.float32) if parts[0].dtype == np.float16 else parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        wanted = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        if wanted.dtype.kind not in "iu" or wanted.ndim != 1:
            raise ArgumentError("rows: expected a slice or a 1-D array of integers")
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise ArgumentError(f"rows span {wanted.min()}..{wanted.max()}: expected 0..{len(self) - 1}")
        out = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self._start, wanted, side="right") - 1
        for part in np.unique(owner):
            mine = owner == part
            out[mine] = self._parts[part][wanted[mine] - self._start[part]]
        if self.divisor != 1.0:
            out /= np.asarray(self.divisor, self.dtype)
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


class ActivationCache:
    """Activations, and gradients where they were collected, with the tokens they belong to.

    Parameters
    ----------
    path : path
        A directory that :func:`gossamer.nn.load_activations` or
        :func:`gossamer.nn.collect_activations_and_gradients` wrote.

    Attributes
    ----------
    x : ShardedRows of float32, shape (N, d)
        Stored as float16.
    g : ShardedRows of float32, shape (N, d), or None
        Gradients of the loss, stored as float16 times ``scale`` and divided by it when read.
    tokens, positions, sequences : ndarray of int32, shape (N,)
        Token id, place in its sequence, and number of the sequence.
    scale : float
        A power of two; raw gradients would underflow.
    norm_limit : float
        Tokens with a larger activation were left out; infinity if none were.
    fingerprint : str
        Of the model and the place in it.

    Raises
    ------
    FormatError
        If it is not such a directory, or is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        state = read_state(self.path)
        if state is None or not state["shards"]:
            raise FormatError(f"{self.path}: holds no activations")
        self.fingerprint: str = state["fingerprint"]
        self.scale, self.norm_limit = float(state["scale"]), float(state["norm_limit"] or np.inf)
        self.complete = bool(state["complete"])

        def rows(field: str) -> list[np.ndarray]:
            return [_open(self.path, field, i, shard["rows"]) for i, shard in enumerate(state["shards"])]

        self.x = ShardedRows(rows("x"))
        self.g = ShardedRows(rows("g"), self.scale) if state["gradients"] else None
        self.tokens, self.positions, self.sequences = (
            np.concatenate(rows(field)) for field in ("tokens", "positions", "sequences")
        )

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        with_gradients = "" if self.g is None else ", with gradients"
        return f"ActivationCache({len(self)} tokens, d={self.x.shape[1]}{with_gradients}, {str(self.path)!r})"


class CacheWriter:
    """Writes shards one after another; each is whole on disk before the state counts it.

    Parameters
    ----------
    path : path
        Directory; one that was written for another model, place or settings is refused.
    fingerprint : str
        Of model, place and settings.
    gradients : bool
        Whether rows bring gradients.
    """

    def __init__(self, path: str | os.PathLike[str], fingerprint: str, *, gradients: bool) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        found = read_state(self.path)
        if found is None:
            found = {
                "version": _VERSION,
                "fingerprint": fingerprint,
                "gradients": gradients,
                "scale": 1.0,
                "norm_limit": None,
                "complete": False,
                "shards": [],
            }
        elif found["fingerprint"] != fingerprint:
            raise ArgumentError(
                f"{self.path} holds activations of another model, place or setting "
                f"({found['fingerprint'][:12]}, not {fingerprint[:12]}): expected a new directory"
            )
        self.state: dict[str, Any] = found
        self._rows: dict[str, list[np.ndarray]] = {}
        self._batches: list[str] = []

    @property
    def done(self) -> list[str]:
        """Hashes of the batches in finished shards, in order."""
        return [digest for shard in self.state["shards"] for digest in shard["batches"]]

    def add(self, digest: str, **rows: np.ndarray) -> None:
        """Take over the rows of one batch."""
        self._batches.append(digest)
        for field, values in rows.items():
            self._rows.setdefault(field, []).append(values.astype(FIELDS[field]))

    @property
    def pending(self) -> int:
        """Rows that are not on disk yet."""
        return sum(len(rows) for rows in self._rows.get("x", []))

    def flush(self) -> None:
        """Write what was added as one shard."""
        if not self._batches:
            return
        number = len(self.state["shards"])
        for field, rows in self._rows.items():
            with (
                atomic_path(self.path / f"{field}-{number:05d}.npy") as temporary,
                open(temporary, "wb") as file,
            ):
                np.save(file, np.concatenate(rows))
        self.state["shards"].append({"rows": self.pending, "batches": self._batches})
        self._rows, self._batches = {}, []
        write_json(self.path / _STATE, self.state)

    def finish(self) -> ActivationCache:
        """Write the rest, and open what was written."""
        self.flush()
        if not self.state["complete"]:
            self.state["complete"] = True
            write_json(self.path / _STATE, self.state)
        return ActivationCache(self.path)


def read_state(path: Path) -> dict[str, Any] | None:
    """The state of a cache directory; None if there is none yet."""
    if not (path / _STATE).exists():
        return None
    state = read_json(path / _STATE)
    if (
        not isinstance(state, dict)
        or state.get("version") != _VERSION
        or not isinstance(state.get("shards"), list)
    ):
        raise FormatError(f"{path / _STATE}: not the state of an activation cache of version {_VERSION}")
    return state


def batch_digest(tokens: np.ndarray) -> str:
    """Short hash of a batch of tokens."""
    return hashlib.sha256(np.ascontiguousarray(tokens, np.int64).tobytes()).hexdigest()[:16]


def _open(path: Path, field: str, number: int, rows: int) -> np.ndarray:
    file = path / f"{field}-{check_int('shard', number, low=0):05d}.npy"
    try:
        array = np.load(file, mmap_mode="r" if rows else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(f"{file}: missing or damaged ({error})") from None
    if len(array) != rows or array.dtype != FIELDS[field]:
        raise FormatError(
            f"{file}: has {len(array)} rows of {array.dtype}: expected {rows} of {FIELDS[field].__name__}"
        )
    return array
