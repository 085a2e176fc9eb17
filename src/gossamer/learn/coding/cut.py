"""The k largest of numbers that lie in chunks, without sorting or moving them all."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer.learn.coding.rows import Rows

BINS = 4096


def keep_largest(rows: Rows, values: list[Any], count: int) -> list[Any]:
    """A mask a chunk of the ``count`` largest values, the first of equal ones.

    Each pass makes a histogram of 4096 bins of those that are still in question; once they are few they are gathered.

    Parameters
    ----------
    rows : LocalRows or DaskRows
        Where the chunks lie.
    values : list of (handles of) ndarray
        One array a chunk.
    count : int
        At least 1, at most as many as there are.
    """
    low, high = _outer(rows, values, -np.inf, np.inf)
    wanted = count  # among those within [low, high]
    while True:
        bins = sum(rows.gather(rows.map(_histogram, values, shared=(low, high))))
        from_top = np.cumsum(bins[::-1])
        place = int(np.searchsorted(from_top, wanted))
        wanted -= int(from_top[place - 1]) if place else 0
        k = BINS - 1 - place
        inside = int(bins[k])
        if inside <= BINS or low == high:
            break
        before = (low, high)
        low, high = _outer(rows, values, low, high, k)
        if (low, high) == before:
            break
    if low == high:
        threshold = low
    else:
        parts = rows.gather(rows.map(_in_bin, values, shared=(low, high, k)))
        threshold = float(np.partition(np.concatenate(parts), inside - wanted)[inside - wanted])
    above, equal = np.array(rows.gather(rows.map(_compare, values, shared=(threshold,)))).T
    free = count - int(above.sum())
    taken = np.clip(free - np.concatenate([[0], np.cumsum(equal)[:-1]]), 0, equal)
    return rows.map(_mask, values, [int(t) for t in taken], shared=(threshold,))


def _outer(
    rows: Rows, values: list[Any], low: float, high: float, k: int | None = None
) -> tuple[float, float]:
    ends = np.array(rows.gather(rows.map(_ends, values, shared=(low, high, k))))
    return float(ends[:, 0].min()), float(ends[:, 1].max())


def _bin(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Bins of those within [low, high], -1 for the others."""
    width = (high - low) or 1.0
    place = np.clip((values - low) / width * BINS, 0, BINS - 1).astype(np.int64)
    return np.where((values >= low) & (values <= high), place, -1)


def _histogram(values: np.ndarray, low: float, high: float) -> np.ndarray:
    place = _bin(values, low, high)
    return np.bincount(place[place >= 0], minlength=BINS)


def _in_bin(values: np.ndarray, low: float, high: float, k: int) -> np.ndarray:
    return values[_bin(values, low, high) == k]


def _ends(values: np.ndarray, low: float, high: float, k: int | None) -> tuple[float, float]:
    chosen = values if k is None else _in_bin(values, low, high, k)
    return (float(chosen.min()), float(chosen.max())) if len(chosen) else (np.inf, -np.inf)


def _compare(values: np.ndarray, threshold: float) -> tuple[int, int]:
    return int((values > threshold).sum()), int((values == threshold).sum())


def _mask(values: np.ndarray, ties: int, threshold: float) -> np.ndarray:
    mask = values > threshold
    mask[np.flatnonzero(values == threshold)[:ties]] = True
    return mask
