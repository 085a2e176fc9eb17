"""The text that compression learns activations from when the user names none."""

from __future__ import annotations

from pathlib import Path

from gossamer._core.errors import FormatError, MissingDataError
from gossamer.datasets.locate import read_text
from gossamer.datasets.sotu import load_sotu
from gossamer.datasets.wikitext2 import load_wikitext2


def load_calibration_text(source: str | Path | None = None) -> tuple[str, str]:
    """Load calibration text and the name to report it under.

    Advice: calibrate on text like that which the model will meet; a few hundred kilobytes are enough.

    Parameters
    ----------
    source : path, {"wikitext2", "sotu"} or None
        A UTF-8 text file of yours, or a known source. None takes WikiText-2 (valid) where ``GOSSAMER_DATA`` has
        it, else the State of the Union addresses of the package ``sotu``.

    Returns
    -------
    text : str
        The text.
    name : str
        What it is, for the report.

    Raises
    ------
    MissingDataError
        If the file or the source is not there, saying how to get one.
    FormatError
        If the file holds no text.
    """
    if source == "wikitext2":
        return load_wikitext2("valid"), "WikiText-2 valid"
    if source == "sotu":
        return load_sotu("calibrate"), "State of the Union 1900-1989"
    if source is None:
        try:
            return load_calibration_text("wikitext2")
        except MissingDataError:
            return load_calibration_text("sotu")
    path = Path(source).expanduser()
    if not path.is_file():
        raise MissingDataError(f"calibration text {str(source)!r}: no such file, nor one of wikitext2, sotu")
    text = read_text(path)
    if not text.strip():
        raise FormatError(f"{path}: the calibration text is empty")
    return text, path.name
