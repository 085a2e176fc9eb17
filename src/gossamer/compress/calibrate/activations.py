"""Hidden states of many windows, in memory or in a memory-mapped file."""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableSequence
from pathlib import Path
from typing import Any

import numpy as np
import torch


class MappedChunks(MutableSequence):
    """A list of float32 tensors in one file, of which the system keeps in memory what there is room for.

    Chunks are appended once and then written over by others of the same shape. The file belongs to the list: an
    older one is emptied, and :meth:`close` removes it.

    Parameters
    ----------
    path : path
        The file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.write_bytes(b"")
        self._maps: list[np.memmap] = []

    def __len__(self) -> int:
        return len(self._maps)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return torch.from_numpy(np.asarray(self._maps[index]))

    def __setitem__(self, index: Any, chunk: Any) -> None:
        self._maps[index][...] = chunk.detach().numpy()

    def __delitem__(self, index: Any) -> None:
        raise TypeError("chunks in a file stay where they are")

    def __iter__(self) -> Iterator[torch.Tensor]:
        return (self[i] for i in range(len(self)))

    def insert(self, index: int, chunk: Any) -> None:
        """Append a chunk; other places are taken."""
        if index != len(self):
            raise TypeError("chunks in a file can only be appended")
        offset = os.path.getsize(self.path)
        with open(self.path, "ab") as file:
            file.truncate(offset + 4 * chunk.numel())
        self._maps.append(np.memmap(self.path, np.float32, "r+", offset, tuple(chunk.shape)))
        self[index] = chunk

    def close(self) -> None:
        """Remove the file."""
        self._maps.clear()
        self.path.unlink(missing_ok=True)
