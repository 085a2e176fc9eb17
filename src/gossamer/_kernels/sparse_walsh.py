"""Peeling of bins: terms are read off bins that hold one, and taken out of the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gossamer._core.checks import check_choice
from gossamer._core.errors import ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import expect_array, ready

DETECTORS = ("rows", "coded", "brute")


@dataclass(frozen=True)
class Rules:
    """What makes a bin empty, or a single term.

    Attributes
    ----------
    detector : {"rows", "coded", "brute"}
        How k is read: from the signs of offsets that follow a base, by a linear code, from all of a coset.
    rows, bch_bits : int
        For "rows": offsets after each base; degree of the field of the BCH check, 0 for the unit vectors.
    soft : bool
        For "rows": votes weighted by magnitude.
    order : int
        For "coded": positions flipped together.
    max_degree : int
        Largest number of ones in k.
    empty, single : float
        Largest mean square of an empty bin, and of what is left of a bin that held one term.
    floor : float
        Least square of a term.
    average : bool
        Average over the groups that report one k in one round.
    """

    detector: str
    rows: int
    bch_bits: int
    soft: bool
    order: int
    max_degree: int
    empty: float
    single: float
    floor: float
    average: bool


def _check(n: int, columns: np.ndarray, shifts: np.ndarray, bins: np.ndarray) -> None:
    if columns.ndim != 2 or shifts.ndim != 2 or len(columns) != len(shifts) or not shifts.size:
        raise ShapeError(f"columns {columns.shape} and shifts {shifts.shape}: expected (C, b) and (C, P)")
    if not 1 <= n <= 62 or columns.shape[1] > min(n, 40):
        raise ShapeError(
            f"n={n} with {columns.shape[1]} columns: expected n from 1 to 62 and b <= n, b <= 40"
        )
    expect_array("columns", columns, np.uint64, columns.shape)
    expect_array("shifts", shifts, np.uint64, shifts.shape)
    expect_array("bins", bins, np.float64, (len(columns), 1 << columns.shape[1], shifts.shape[1]))
    if not (bins.flags.c_contiguous and bins.flags.writeable):
        raise ShapeError("bins must be contiguous and writeable")


def peel(
    n: int,
    columns: np.ndarray,
    shifts: np.ndarray,
    bins: np.ndarray,
    rules: Rules,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Take terms out of ``bins`` (C, 2**b, P), in place; returns their k, their values, and the number of rounds.

    A k may come several times: its values add up. The columns of each group are independent. The result does not
    depend on the number of threads.
    """
    _check(n, columns, shifts, bins)
    detector = DETECTORS.index(check_choice("detector", rules.detector, DETECTORS))
    if rules.detector == "rows" and (rules.rows < 1 or shifts.shape[1] % (rules.rows + 1)):
        raise ShapeError(f"{shifts.shape[1]} offsets: expected runs of rows + 1 = {rules.rows + 1}")
    if rules.detector == "rows" and rules.rows > 62:
        raise ShapeError(f"rows={rules.rows}: expected at most 62")
    if rules.detector == "brute" and n - columns.shape[1] > 26:
        raise ShapeError(f"cosets of 2**{n - columns.shape[1]} members: expected at most 2**26")
    support, values, rounds = _native.walsh.peel(
        n, ready(columns), ready(shifts), bins, detector, rules.rows, rules.bch_bits, rules.soft, rules.order,
        rules.max_degree, rules.empty, rules.single, rules.floor, rules.average, get_threads(threads),
    )  # fmt: skip
    return np.array(support, np.uint64), np.array(values, np.float64), rounds


def subtract(
    n: int,
    columns: np.ndarray,
    shifts: np.ndarray,
    bins: np.ndarray,
    support: np.ndarray,
    values: np.ndarray,
    threads: int | None = None,
) -> None:
    """Take known terms out of ``bins`` (C, 2**b, P), in place."""
    _check(n, columns, shifts, bins)
    if support.shape != values.shape or support.ndim != 1:
        raise ShapeError(f"support {support.shape} and values {values.shape}: expected equal lengths")
    _native.walsh.subtract(
        n, ready(columns), ready(shifts), bins, ready(support, np.uint64), ready(values, np.float64),
        get_threads(threads),
    )  # fmt: skip


def decode_bch(field_bits: int, errors: int, syndrome: int, length: int) -> int | None:
    """The pattern of at most ``errors`` ones among ``length`` positions with this syndrome, or None."""
    return _native.walsh.decode_bch(field_bits, errors, syndrome, length)
