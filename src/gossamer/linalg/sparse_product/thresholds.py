"""The thresholds between accumulators: built in, or as :func:`spgemm_calibrate` measured them on this machine."""

from __future__ import annotations

import functools
import os
from dataclasses import asdict, fields
from pathlib import Path

from gossamer._core.errors import FormatError
from gossamer._core.files import read_json, write_json
from gossamer._kernels.spgemm import Thresholds

VERSION = 1


def cache_file() -> Path:
    """Where calibrated thresholds live: ``$XDG_CACHE_HOME/gossamer/spgemm.json``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gossamer" / "spgemm.json"


@functools.lru_cache(maxsize=4)
def _load(path: Path) -> Thresholds:
    if not path.exists():
        return Thresholds()
    record = read_json(path)
    names = {field.name for field in fields(Thresholds)}
    if not isinstance(record, dict) or record.get("version") != VERSION:
        raise FormatError(f"{path}: expected version {VERSION}; delete the file or call spgemm_calibrate()")
    values = record.get("thresholds")
    if (
        not isinstance(values, dict)
        or set(values) != names
        or not all(type(value) is int and value > 0 for value in values.values())
    ):
        raise FormatError(f"{path}: expected positive integers {sorted(names)}; delete the file")
    return Thresholds(**values)


def load_thresholds() -> Thresholds:
    """Calibrated thresholds if there are any, else those that are built in."""
    return _load(cache_file())


def save_thresholds(thresholds: Thresholds) -> None:
    """Use ``thresholds`` from now on, in every process of this user."""
    write_json(cache_file(), {"version": VERSION, "thresholds": asdict(thresholds)})
    _load.cache_clear()
