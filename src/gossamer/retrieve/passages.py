"""Documents on a disk as passages of a length that encoders read whole."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from gossamer._core.checks import check_int
from gossamer._core.errors import FormatError

ENDINGS = (".txt", ".md", ".rst")


def split_passages(text: str, words: int = 80) -> list[str]:
    """Cut a text into passages of at most so many words, at blank lines and at ends of sentences where it can.

    Parameters
    ----------
    text : str
        Of any length; without words there are no passages.
    words : int
        Of a passage. Encoders cut what is longer than they take: 80 words are about 110 word pieces.

    Returns
    -------
    list of str
        In order; white space is one blank.

    Raises
    ------
    ArgumentError
        For ``words < 1``.

    Examples
    --------
    >>> from gossamer.retrieve import split_passages
    >>> split_passages("One two. Three four five.", words=3)
    ['One two.', 'Three four five.']
    """
    words = check_int("words", words, low=1)
    passages: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        held: list[str] = []
        for sentence in re.split(r"(?<=[.!?])\s+", paragraph):
            parts = sentence.split()
            if held and len(held) + len(parts) > words:
                passages.append(" ".join(held))
                held = []
            held += parts
            while len(held) > words:
                passages.append(" ".join(held[:words]))
                held = held[words:]
        if held:
            passages.append(" ".join(held))
    return passages


def read_passages(path: str | os.PathLike[str], words: int = 80) -> dict[str, str]:
    """Passages of the documents of a folder or of a JSON-lines file, by key.

    Parameters
    ----------
    path : path
        A folder, of which all ``.txt``, ``.md`` and ``.rst`` files are read, also in folders within; or a ``.jsonl``
        file, of which each line has a ``text`` and may have an ``id`` and a ``title``.
    words : int
        Of a passage, see :func:`split_passages`.

    Returns
    -------
    dict of str to str
        Keys are the file's path within the folder, or the id (else the line's number), with ``#2`` and so on for
        passages after the first. A title stands before each passage.

    Raises
    ------
    FormatError
        If there is nothing at ``path``, or a file or line is not what it should be.
    """
    where, found = Path(path), dict[str, str]()
    if where.is_dir():
        documents = _files(where)
    elif where.is_file() and where.suffix == ".jsonl":
        documents = _lines(where)
    else:
        raise FormatError(f"{where}: expected a folder, or a .jsonl file")
    for key, title, text in documents:
        for number, passage in enumerate(split_passages(text, words), 1):
            name = key if number == 1 else f"{key}#{number}"
            if name in found:
                raise FormatError(f"{where}: two documents are called {name!r}")
            found[name] = f"{title}: {passage}" if title else passage
    if not found:
        raise FormatError(f"{where}: no text in it")
    return found


def _files(folder: Path) -> Iterator[tuple[str, str, str]]:
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in ENDINGS and file.is_file():
            try:
                yield file.relative_to(folder).as_posix(), "", file.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise FormatError(f"{file}: not UTF-8 text ({error})") from None


def _lines(file: Path) -> Iterator[tuple[str, str, str]]:
    with open(file, encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                record = json.loads(line)
                text = record.get("text") if isinstance(record, dict) else None
                if not isinstance(text, str):
                    raise FormatError(f"{file}, line {number}: expected an object with a text")
                yield str(record.get("id", number)), str(record.get("title") or ""), text
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise FormatError(f"{file}: not JSON lines ({error})") from None
