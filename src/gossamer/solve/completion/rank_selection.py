"""Choose the rank of a completion by its error on entries that were held out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer.solve.completion.completion import matrix_completion
from gossamer.solve.completion.entries import check_triples


@dataclass(frozen=True)
class RankSelection:
    """Held-out errors by rank.

    Attributes
    ----------
    rank : int
        The one with the least error.
    ranks : tuple of int
        All that were tried, ascending.
    rmse : ndarray, shape (len(ranks),)
        On held-out entries.
    """

    rank: int
    ranks: tuple[int, ...]
    rmse: np.ndarray


def select_rank(
    rows: Any,
    cols: Any,
    vals: Any,
    shape: tuple[int, int],
    ranks: Iterable[int],
    *,
    fraction: float = 0.1,
    random_state: RandomState = None,
    **options: Any,
) -> RankSelection:
    """Complete at every rank from nine tenths of the entries and compare the errors on the rest.

    Parameters
    ----------
    rows, cols, vals, shape
        As for :func:`matrix_completion`.
    ranks : iterable of int
        What to try.
    fraction : float
        Of entries that are held out, in (0, 1).
    random_state : int, Generator or None
        Of the split and of every completion.
    **options
        Of :func:`matrix_completion`.

    Returns
    -------
    RankSelection

    Raises
    ------
    ArgumentError
        No ranks, or too few entries to hold some out.
    """
    tried = tuple(sorted({check_int("ranks", rank, low=1, high=min(shape)) for rank in ranks}))
    if not tried:
        raise bad_argument("ranks", (), "at least one")
    fraction = check_float("fraction", fraction, low=0, high=1, closed="neither")
    rng = check_random_state(random_state)
    check = {name: options[name] for name in ("dtype", "duplicates") if name in options}
    entries = check_triples(rows, cols, vals, shape, **check)
    i, j, v = entries.row_of(), entries.rows.index, entries.rows.value
    held = rng.permutation(entries.count) < fraction * entries.count
    if not held.any() or held.all():
        raise ArgumentError(f"{entries.count} entries: expected enough to hold out {fraction:g} of them")
    seed = int(rng.integers(2**31))
    validation = (i[held], j[held], v[held])
    errors = []
    for rank in tried:
        result = matrix_completion(
            i[~held], j[~held], v[~held], shape, rank, validation=validation, random_state=seed, **options
        )
        predicted = result.predict(*validation[:2])
        errors.append(float(np.sqrt(np.mean((predicted - validation[2]).astype(np.float64) ** 2))))
    return RankSelection(tried[int(np.argmin(errors))], tried, np.array(errors))
