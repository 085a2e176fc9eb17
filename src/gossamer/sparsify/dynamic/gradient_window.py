"""Gradients of the last steps, summed: in full, or in a sketch of bounded memory."""

from __future__ import annotations

from collections.abc import Mapping

import torch

SKETCHES = 5
BLOCK = 1 << 20  # entries hashed at a time


class GradientWindow:
    r"""Sum of gradients, or of their magnitudes, by parameter.

    Parameters
    ----------
    sizes : mapping of str to int
        Entries of each parameter.
    magnitudes : bool
        Sum :math:`|g|` instead of g.
    memory : int, optional
        Bytes of a count-sketch that stands for each full sum: five tables, of whose estimates the median is taken.
    seed : int
        Of the hash functions.

    References
    ----------
    Charikar, Chen, Farach-Colton, "Finding frequent items in data streams", 2004.
    """

    def __init__(
        self, sizes: Mapping[str, int], magnitudes: bool = False, memory: int | None = None, seed: int = 0
    ) -> None:
        self.sizes, self.magnitudes = dict(sizes), magnitudes
        self.width = 0 if memory is None else max(memory // (4 * SKETCHES), 1)
        self.sums: dict[str, torch.Tensor] = {}
        generator = torch.Generator().manual_seed(seed)
        # odd multipliers and shifts of 62-bit multiply-shift hashes, a row for places and a row for signs
        self._hash = torch.randint(1 << 61, (2, SKETCHES, 2), generator=generator) * 2 + 1

    def add(self, name: str, gradient: torch.Tensor) -> None:
        """Add a gradient of the parameter ``name``."""
        flat = gradient.detach().reshape(-1).float()
        flat = flat.abs() if self.magnitudes else flat
        if name not in self.sums:
            shape = (SKETCHES, self.width) if self.width else (self.sizes[name],)
            self.sums[name] = torch.zeros(shape, device=flat.device)
        if not self.width:
            self.sums[name] += flat
            return
        for start in range(0, len(flat), BLOCK):
            part = flat[start : start + BLOCK]
            for row, (places, signs) in zip(self.sums[name], self._hashes(start, len(part))):
                row.index_add_(0, places, part * signs)

    def read(self, name: str) -> torch.Tensor:
        """The sum for the parameter ``name``, or the sketch's estimate of it; zeros if nothing was added."""
        if name not in self.sums:
            return torch.zeros(self.sizes[name])
        if not self.width:
            return self.sums[name]
        estimates = []
        for start in range(0, self.sizes[name], BLOCK):
            hashes = self._hashes(start, min(BLOCK, self.sizes[name] - start))
            rows = [row[places] * signs for row, (places, signs) in zip(self.sums[name], hashes)]
            estimates.append(torch.stack(rows).median(dim=0).values)
        return torch.cat(estimates)

    def clear(self) -> None:
        """Forget what was added."""
        self.sums.clear()

    def _hashes(self, start: int, count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        index = torch.arange(start, start + count)
        found = []
        for place, sign in zip(*self._hash):
            # products wrap around at 64 bits; the upper bits of them are the hash
            where = ((index * place[0] + place[1]) >> 24).remainder(self.width)
            bit = ((index * sign[0] + sign[1]) >> 40) & 1
            found.append((where, (1 - 2 * bit).float()))
        return found
