"""An embedding or head held in pieces of rows, of which one at a time becomes dense."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from gossamer.linalg import StructuredMatrix

ROWS = 4096
"""Rows of a piece: even, so that packed pairs of zero points never straddle two pieces."""


class Table:
    """The rows of a compressed embedding or head.

    Parameters
    ----------
    pieces : sequence of StructuredMatrix
        Consecutive rows, ``ROWS`` each but for the last.
    """

    def __init__(self, pieces: Sequence[StructuredMatrix]) -> None:
        self._pieces = list(pieces)

    def rows(self, ids: np.ndarray) -> torch.Tensor:
        """The rows of sorted ``ids``, shape (len(ids), K)."""
        out = np.empty((len(ids), self._pieces[0].shape[1]), dtype=np.float32)
        for index, member in enumerate(self._pieces):
            inside = (ids >= index * ROWS) & (ids < (index + 1) * ROWS)
            if inside.any():
                out[inside] = member.to_dense()[ids[inside] - index * ROWS]
        return torch.from_numpy(out)

    def pieces(self) -> Iterator[torch.Tensor]:
        """All rows in order, a dense piece at a time."""
        for member in self._pieces:
            yield torch.from_numpy(member.to_dense())
