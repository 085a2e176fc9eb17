"""ENVI cubes: a text header and raw numbers, as imaging spectrometers and GIS programs write them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer._core.files import atomic_path, write_text
from gossamer.datasets.locate import read_text

TYPES = {
    1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip
AXES = {"bsq": (1, 2, 0), "bil": (0, 2, 1), "bip": (0, 1, 2)}  # where rows, columns, channels are on disk
SUFFIXES = ("", ".img", ".dat", ".raw", ".bin", ".bsq", ".bil", ".bip")
LARGEST = 1 << 62


@dataclass(frozen=True)
class EnviCube:
    """A cube whose values stay on disk.

    Attributes
    ----------
    data : memmap, shape (rows, columns, L)
        Read-only, in the order of its file: no value was copied.
    wavelengths : ndarray, shape (L,), or None
    wavelength_units : str or None
    bands : tuple of str, or None
        Names of the channels.
    good : ndarray of bool, shape (L,), or None
        Channels that the header does not mark as bad.
    ignore : float or None
        Value of pixels that hold nothing.
    header : dict of str
        Every field as it stands.
    """

    data: np.memmap
    wavelengths: np.ndarray | None = field(repr=False)
    wavelength_units: str | None
    bands: tuple[str, ...] | None = field(repr=False)
    good: np.ndarray | None = field(repr=False)
    ignore: float | None
    header: dict[str, str] = field(repr=False)


def load_envi(path: Any) -> EnviCube:
    """Map an ENVI cube.

    Parameters
    ----------
    path : path
        The header (.hdr), or the data file beside which it lies (``cube.img`` with ``cube.hdr`` or ``cube.img.hdr``).

    Returns
    -------
    EnviCube

    Raises
    ------
    FormatError
        For a header that is damaged, leaves out a field, or does not describe the file: its size must be what the
        header says. Complex and compressed data are refused.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> path = save_envi(folder + "/cube.hdr", np.ones((2, 3, 4), "float32"))
    >>> load_envi(path).data.shape
    (2, 3, 4)
    """
    header_path, data_path = _files(Path(path))
    header = _parse(header_path)
    rows, columns, L = (_count(header_path, header, name) for name in ("lines", "samples", "bands"))
    code = _whole(header_path, header, "data type")
    if code not in TYPES:
        raise FormatError(f"{header_path}: data type {code}: expected one of {', '.join(map(str, TYPES))}")
    order = _whole(header_path, header, "byte order", 0)
    offset = _whole(header_path, header, "header offset", 0)
    if order not in (0, 1) or offset < 0:
        raise FormatError(
            f"{header_path}: byte order {order}, header offset {offset}: expected 0 or 1, and 0 or more"
        )
    if header.get("file compression", "0").strip() != "0":
        raise FormatError(f"{header_path}: the data are compressed: expected raw numbers")
    interleave = header.get("interleave", "").strip().lower()
    if interleave not in AXES:
        raise FormatError(f"{header_path}: interleave {interleave!r}: expected bsq, bil or bip")
    dtype = np.dtype("<>"[order] + TYPES[code])
    wanted = offset + rows * columns * L * dtype.itemsize
    found = data_path.stat().st_size
    if wanted != found or wanted > LARGEST:
        raise FormatError(
            f"{data_path}: {found} bytes: expected {wanted} for {rows} x {columns} x {L} {dtype}"
        )
    shape = {"bsq": (L, rows, columns), "bil": (rows, L, columns), "bip": (rows, columns, L)}[interleave]
    data = np.memmap(data_path, dtype, "r", offset, shape).transpose(AXES[interleave])
    waves = _numbers(header_path, header, "wavelength", L)
    marks = _numbers(header_path, header, "bbl", L)
    names = _items(header["band names"]) if "band names" in header else None
    if names is not None and len(names) != L:
        raise FormatError(f"{header_path}: {len(names)} band names: expected {L}")
    ignore = header.get("data ignore value")
    return EnviCube(
        data,
        waves,
        header.get("wavelength units"),
        None if names is None else tuple(names),
        None if marks is None else marks > 0,
        None if ignore is None else _number(header_path, "data ignore value", ignore),
        header,
    )


def save_envi(path: Any, cube: Any, *, bands: Any = None, description: str = "") -> Path:
    """Write a cube as one channel after the other (BSQ), with its header; both files whole or not at all.

    Parameters
    ----------
    path : path
        The header (.hdr); the numbers go beside it (.img).
    cube : array, shape (rows, columns, L)
        Integers or floating point.
    bands : list of str, optional
        Names of the channels.
    description : str

    Returns
    -------
    Path
        The header.

    Raises
    ------
    ArgumentError, ShapeError
        For another suffix, arrays that ENVI has no type for, names that do not fit.
    """
    path, cube = Path(path), np.asarray(cube)
    if path.suffix.lower() != ".hdr":
        raise ArgumentError(f"path={str(path)!r}: expected a name that ends in .hdr")
    if cube.ndim != 3 or not cube.size:
        raise ShapeError(f"cube has shape {cube.shape}: expected (rows, columns, L)")
    code = next((c for c, name in TYPES.items() if np.dtype(name) == cube.dtype.newbyteorder("=")), None)
    if code is None:
        raise ArgumentError(f"cube is {cube.dtype}: expected integers of up to 64 bits, float32 or float64")
    rows, columns, L = cube.shape
    names = [str(i + 1) for i in range(L)] if bands is None else [str(name) for name in bands]
    if len(names) != L or any(set(name) & set("{},\n\r") for name in names) or set(description) & set("{}"):
        raise ArgumentError(f"bands and description: expected {L} names without commas, and no braces")
    with atomic_path(path.with_suffix(".img")) as temporary:
        cube.transpose(2, 0, 1).astype(cube.dtype.newbyteorder("<")).tofile(temporary)
    write_text(
        path,
        f"ENVI\ndescription = {{{description}}}\nsamples = {columns}\nlines = {rows}\nbands = {L}\n"
        f"header offset = 0\nfile type = ENVI Standard\ndata type = {code}\ninterleave = bsq\nbyte order = 0\n"
        f"band names = {{{', '.join(names)}}}\n",
    )
    return path


def _files(path: Path) -> tuple[Path, Path]:
    if path.suffix.lower() == ".hdr":
        header, stem = path, path.with_suffix("")
        places = [stem.with_name(stem.name + suffix) for suffix in SUFFIXES]
    else:
        places = [path]
        header = next(
            (h for h in (path.with_name(path.name + ".hdr"), path.with_suffix(".hdr")) if h.is_file()),
            path.with_suffix(".hdr"),
        )
    if not header.is_file():
        raise FormatError(f"{header}: no such header")
    data = [place for place in places if place.is_file()]
    if len(data) != 1:
        found = "none is" if not data else f"{', '.join(p.name for p in data)} are"
        raise FormatError(f"{header}: {found} there of {', '.join(p.name for p in places)}: expected one")
    return header, data[0]


def _parse(path: Path) -> dict[str, str]:
    text = read_text(path)
    lines = text.split("\n", 1)
    if lines[0].strip() != "ENVI":
        raise FormatError(f"{path}: its first line is {lines[0][:40]!r}: expected ENVI")
    fields: dict[str, str] = {}
    rest = re.sub(r"(?m)^\s*;.*$", "", lines[1] if len(lines) > 1 else "")
    while rest := rest.lstrip():
        match = re.match(r"([^={}\n]+?)\s*=[ \t]*(?:\{([^{}]*)\}|([^{}\n]*))[ \t\r]*(?:\n|$)", rest)
        if match is None:
            raise FormatError(f"{path}: {rest[:40]!r}: expected name = value, or name = {{values}}")
        name = " ".join(match[1].lower().split())
        if name in fields:
            raise FormatError(f"{path}: {name} stands twice")
        fields[name] = (match[2] if match[2] is not None else match[3]).strip()
        rest = rest[match.end() :]
    return fields


def _whole(path: Path, header: dict[str, str], name: str, default: int | None = None) -> int:
    text = header.get(name)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch(r"[+-]?\d{1,18}", text):
        raise FormatError(f"{path}: {name} is {text!r}: expected an integer")
    return int(text)


def _count(path: Path, header: dict[str, str], name: str) -> int:
    value = _whole(path, header, name)
    if not 1 <= value <= 1 << 31:
        raise FormatError(f"{path}: {name} is {value}: expected 1 or more")
    return value


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")]


def _number(path: Path, name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise FormatError(f"{path}: {name} is {text!r}: expected a number") from None


def _numbers(path: Path, header: dict[str, str], name: str, count: int) -> np.ndarray | None:
    if name not in header:
        return None
    values = np.array([_number(path, name, item) for item in _items(header[name])])
    if len(values) != count or not np.isfinite(values).all():
        raise FormatError(f"{path}: {len(values)} values of {name}: expected {count}, all finite")
    return values
