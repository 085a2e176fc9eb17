"""Where unmixing starts: corners of the trusted channels, or random pixels, of a cube in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer.learn.unmix.blocks import Survey
from gossamer.learn.unmix.vertex import CornerSearch


def trusted_corners(
    blocks: Any, survey: Survey, trusted: np.ndarray, K: int, rng: np.random.Generator
) -> np.ndarray:
    """Endmembers (K, L) by VCA of the trusted channels, zero on the others."""
    search = CornerSearch(
        survey.sums[trusted] / survey.live, survey.second[np.ix_(trusted, trusted)] / survey.live, K, trusted
    )
    reach = max(blocks.call("project", search))

    def farthest(direction: np.ndarray) -> tuple[tuple[int, int], np.ndarray]:
        found = blocks.call("farthest", search, reach, direction)
        block = max(range(len(found)), key=lambda i: found[i][0])
        return (block, found[block][1]), found[block][2]

    low = np.array([blocks.one(b, "low_point", i) for b, i in search.run(farthest, rng)])
    blocks.call("forget_projection")
    M = np.zeros((K, len(trusted)))
    M[:, trusted] = search.spectra(low)
    return M


def random_spectra(
    blocks: Any, survey: Survey, trusted: np.ndarray, K: int, rng: np.random.Generator
) -> np.ndarray:
    """Spectra (K, L) of random pixels."""
    ends = np.cumsum(blocks.call("lit"))
    places = rng.choice(survey.live, K, replace=False)
    found = np.searchsorted(ends, places, side="right")
    return np.stack(
        [
            blocks.one(int(b), "spectrum", int(n - (ends[b - 1] if b else 0)))
            for b, n in zip(found, places, strict=True)
        ]
    )
