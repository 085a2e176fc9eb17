"""Calibration windows mixed from a task's own training items and from general text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, unknown_choice
from gossamer.compress.calibrate.windows import calibration_windows


def task_lines(items: Iterable[Any]) -> str:
    """One line an item, ``question correct-answer. ``, which is how a task becomes calibration text.

    Parameters
    ----------
    items : iterable
        Pairs (question, answer), or questions with ``query``, ``choices`` and ``gold``.
    """
    lines = []
    for item in items:
        if hasattr(item, "query"):
            question, answer = item.query, item.choices[item.gold]
        else:
            question, answer = item
        lines.append(f"{str(question).strip()} {str(answer).strip().rstrip('.')}. ")
    return "".join(lines)


def task_mix(
    sources: Mapping[str, Any],
    tokenizer: Any,
    mix: Mapping[str, float] | None = None,
    *,
    length: int = 256,
    count: int = 64,
) -> np.ndarray:
    """Cut windows from several sources in given shares.

    Advice: half task and half general text, when a compensation is for one task; text alone else.

    Parameters
    ----------
    sources : mapping of str to text or items
        Text (or the path of a file of it), token ids, or a list of task items (see :func:`task_lines`).
    tokenizer
        As for :func:`calibration_windows`.
    mix : mapping of str to float, optional
        Share of each source, adding to 1; equal shares if None. What rounding leaves goes to the largest remainders.
    length, count : int
        Tokens in a window, and number of windows.

    Returns
    -------
    ndarray of int64, shape (count, length)
        Sources in turn, so that any part of the windows holds all of them.

    Raises
    ------
    ArgumentError
        For shares that name no source or do not add to 1, and sources that are too short.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.compress.calibrate import task_mix
    >>> ids = task_mix({"task": np.zeros(40, int), "text": np.ones(40, int)}, None, length=4, count=4)
    >>> ids[:, 0].tolist()
    [0, 1, 0, 1]
    """
    shares = dict.fromkeys(sources, 1 / max(len(sources), 1)) if mix is None else dict(mix)
    check_int("count", count, low=1)
    for name, share in shares.items():
        if name not in sources:
            raise unknown_choice("mix", name, sources)
        check_float(f"mix[{name!r}]", share, low=0, high=1)
    if not shares or not math.isclose(sum(shares.values()), 1, abs_tol=1e-9):
        raise ArgumentError(f"mix={shares}: expected shares that add to 1")
    parts, places = [], []
    for name, number in _apportion(shares, count).items():
        if not number:
            continue
        source = sources[name]
        text = (
            source
            if isinstance(source, (str, np.ndarray)) or hasattr(source, "__fspath__")
            else task_lines(source)
        )
        parts.append(calibration_windows(text, tokenizer, length, number))
        places.append((np.arange(number) + 0.5) / number)
    order = np.argsort(np.concatenate(places), kind="stable")
    return np.concatenate(parts)[order]


def _apportion(shares: Mapping[str, float], count: int) -> dict[str, int]:
    exact = {name: share * count for name, share in shares.items()}
    whole = {name: int(value + 1e-9) for name, value in exact.items()}
    rest = sorted(exact, key=lambda name: whole[name] - exact[name])
    for name in rest[: count - sum(whole.values())]:
        whole[name] += 1
    return whole
