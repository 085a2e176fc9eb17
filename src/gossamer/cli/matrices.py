"""Matrix Market files, for the commands that read matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gossamer._core.errors import FormatError


def read_matrix_market(path: Path) -> Any:
    """The SciPy sparse matrix or array in a file; anything else is a :class:`FormatError` that names it."""
    import scipy.io

    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    try:
        return scipy.io.mmread(path)
    except (ValueError, OverflowError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: not a Matrix Market file ({error})") from None
