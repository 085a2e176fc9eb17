"""Counting and listing the states that expectation truncation sums over."""

from __future__ import annotations

import numpy as np

from gossamer._core.errors import bad_argument
from gossamer._kernels.coding import tree_size

MOST_STATES = 2_000_000


def count_states(latents: int, candidates: int, active: int, values: int = 1) -> int:
    """States a point: ``1 + V H + sum_{g=2..active} C(H', g) V^g``."""
    return 1 + values * latents + tree_size(candidates, active, values)


def check_states(latents: int, candidates: int, active: int, values: int = 1) -> int:
    """Their count, refused beyond two million."""
    count = count_states(latents, candidates, active, values)
    if count > MOST_STATES:
        raise bad_argument(
            "max_active",
            active,
            f"at most {MOST_STATES:,} states a point",
            f"{candidates} candidates of which {active} may be active make {count:,}: lower max_active or n_candidates",
        )
    return count


def list_states(candidates: int, active: int, value: np.ndarray) -> np.ndarray:
    """Values of the candidates in each state of two and more causes: (states, candidates).

    In the order of the kernels: a state is followed by those that add causes behind its last one.
    """
    rows = np.zeros((tree_size(candidates, active, len(value)), candidates))
    at = 0
    stack = [(j, v) for j in reversed(range(candidates)) for v in reversed(range(len(value)))]
    prefix: list[tuple[int, int]] = []
    # an entry of the stack is a cause to be added; its depth follows from the marks that end a prefix
    mark = (-1, -1)
    while stack:
        entry = stack.pop()
        if entry == mark:
            prefix.pop()
            continue
        prefix.append(entry)
        if len(prefix) > 1:
            for j, v in prefix:
                rows[at, j] = value[v]
            at += 1
        stack.append(mark)
        if len(prefix) < active:
            last = entry[0]
            stack += [
                (j, v) for j in reversed(range(last + 1, candidates)) for v in reversed(range(len(value)))
            ]
    return rows


def at_most(odds: np.ndarray, active: int) -> tuple[float, float]:
    """``A = p(at most `active` causes)`` and ``B = sum_{g <= active} g p(g)`` for independent causes.

    Parameters
    ----------
    odds : ndarray, shape (H,)
        Probability of each cause.
    active : int
        At most H.
    """
    law = np.zeros(active + 1)
    law[0] = 1.0
    for p in odds:  # the law of the number of causes, cut behind `active`
        law[1:] = law[1:] * (1 - p) + law[:-1] * p
        law[0] *= 1 - p
    return float(law.sum()), float(law @ np.arange(active + 1))
