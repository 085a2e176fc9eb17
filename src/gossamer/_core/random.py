"""Randomness: every public function takes ``random_state`` or ``seed`` and ends here."""

from __future__ import annotations

import numpy as np

from gossamer._core.errors import bad_argument

RandomState = int | np.random.Generator | np.random.RandomState | None


def check_random_state(random_state: RandomState) -> np.random.Generator:
    """Turn an int, ``Generator``, legacy ``RandomState`` or None into a ``Generator``."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(0, 2**31 - 1))
    if random_state is None or (isinstance(random_state, (int, np.integer)) and random_state >= 0):
        return np.random.default_rng(random_state)
    raise bad_argument("random_state", random_state, "None, a non-negative integer or a numpy Generator")
