"""The .mat pairs in which the scenes Samson, Jasper Ridge and Urban are passed on: a cube, and its known unmixing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from gossamer._core.errors import FormatError

CUBE, ROWS, COLUMNS = ("V", "Y"), "nRow", "nCol"
MOST = 1 << 31  # pixels or channels


@dataclass(frozen=True)
class SpectralImage:
    """A cube and, where they are known, its endmembers and abundances.

    Attributes
    ----------
    X : ndarray, shape (rows * columns, L)
        Pixels in order of rows, of the type in the file.
    shape : (int, int)
        Rows and columns.
    M : ndarray, shape (K, L), or None
        Endmembers, float64.
    A : ndarray, shape (rows * columns, K), or None
        Abundances, float64.
    """

    X: np.ndarray = field(repr=False)
    shape: tuple[int, int]
    M: np.ndarray | None = field(repr=False)
    A: np.ndarray | None = field(repr=False)


def load_spectral_mat(path: Any, truth: Any = None) -> SpectralImage:
    """Load a cube from a .mat file, and its known unmixing from another.

    Parameters
    ----------
    path : path
        With ``V`` or ``Y`` (L, N), pixels one column of the image after the other, and ``nRow``, ``nCol``.
    truth : path, optional
        With ``M`` (L, K) and ``A`` (K, N).

    Returns
    -------
    SpectralImage

    Raises
    ------
    FormatError
        For files that are no .mat of version 4 to 7, variables that are missing, not numbers or of shapes that do not
        fit, and values that are NaN, infinite or, in M and A, negative.

    Notes
    -----
    Only these variables are read. Files of version 7.3 are HDF5: save them again with ``save -v7``.
    """
    path = Path(path)
    held = _held(path)
    names = [name for name in CUBE if name in held]
    if len(names) != 1:
        raise FormatError(f"{path}: has {', '.join(held) or 'nothing'}: expected one of V and Y")
    rows, columns = (_size(path, held, name) for name in (ROWS, COLUMNS))
    Y = _matrix(path, held, names[0])
    if Y.shape[1] != rows * columns:
        raise FormatError(f"{path}: {names[0]} has {Y.shape[1]} pixels: expected {rows} x {columns}")
    M = A = None
    if truth is not None:
        truth = Path(truth)
        known = _held(truth)
        M, A = (_matrix(truth, known, name).astype(np.float64) for name in ("M", "A"))
        if M.shape[0] != Y.shape[0] or A.shape != (M.shape[1], Y.shape[1]):
            raise FormatError(
                f"{truth}: M and A have shapes {M.shape} and {A.shape}: expected ({Y.shape[0]}, K), (K, {Y.shape[1]})"
            )
        if (M < 0).any() or (A < 0).any():
            raise FormatError(f"{truth}: M or A has negative values")
        M, A = np.ascontiguousarray(M.T), _by_rows(A, rows, columns)
    return SpectralImage(_by_rows(Y, rows, columns), (rows, columns), M, A)


def _by_rows(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """(L, N) with pixels by columns of the image as (N, L) with pixels by rows."""
    return values.reshape(len(values), columns, rows).transpose(2, 1, 0).reshape(rows * columns, len(values))


def _held(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    with open(path, "rb") as handle:
        if handle.read(128)[:19] == b"MATLAB 7.3 MAT-file":
            raise FormatError(f"{path}: version 7.3 (HDF5): save it again with save -v7")
    try:
        return {name: (shape, kind) for name, shape, kind in scipy.io.whosmat(path)}
    except (MatReadError, ValueError, TypeError, OSError, EOFError, KeyError) as error:
        raise FormatError(f"{path}: not a .mat file of version 4 to 7 ({error})") from None


def _matrix(path: Path, held: dict[str, tuple[tuple[int, ...], str]], name: str) -> np.ndarray:
    if name not in held:
        raise FormatError(f"{path}: has {', '.join(held) or 'nothing'}: expected {name}")
    shape, kind = held[name]
    if len(shape) != 2 or not all(1 <= side <= MOST for side in shape):
        raise FormatError(f"{path}: {name} has shape {shape}: expected a matrix")
    if kind not in ("double", "single") and not kind.startswith(("int", "uint")):
        raise FormatError(f"{path}: {name} is {kind}: expected numbers")
    try:
        value = scipy.io.loadmat(path, variable_names=[name])[name]
    except (MatReadError, ValueError, TypeError, OSError, EOFError, KeyError, MemoryError) as error:
        raise FormatError(f"{path}: {name} cannot be read ({error})") from None
    if value.shape != shape or value.dtype.kind not in "fiu":
        raise FormatError(
            f"{path}: {name} is {value.dtype} {value.shape}: expected real numbers of shape {shape}"
        )
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise FormatError(f"{path}: {name} has NaN or infinite values")
    return value


def _size(path: Path, held: dict[str, tuple[tuple[int, ...], str]], name: str) -> int:
    value = _matrix(path, held, name)
    if value.shape != (1, 1) or value[0, 0] != int(value[0, 0]) or not 1 <= value[0, 0] <= MOST:
        raise FormatError(f"{path}: {name} is {value.tolist()}: expected a positive integer")
    return int(value[0, 0])
