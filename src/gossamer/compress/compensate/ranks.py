"""How a budget of bytes is best spent on ranks."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

import numpy as np

from gossamer._core.checks import check_float
from gossamer._core.errors import ArgumentError


def allocate_ranks(
    spectra: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, int]],
    totals: Mapping[str, float],
    budget_bits: float,
    *,
    bits: float = 16,
) -> dict[str, int]:
    r"""Choose a rank for every layer so that the sum of relative output errors falls most for the bytes.

    The next rank of a layer gains :math:`S_{r+1}^2 / \|W P\|_F^2` and costs ``bits (O + K) / 8`` bytes; the rank with
    the largest gain a byte is bought next, from a heap, until nothing affordable is left. Gains of a layer fall with
    its rank, so that no other choice of the same bytes gains more, except for what is left over at the end.

    Parameters
    ----------
    spectra : mapping of str to ndarray
        Singular values of :math:`\Delta W P`, descending, by layer.
    shapes : mapping of str to (int, int)
        (O, K).
    totals : mapping of str to float
        :math:`\|W P\|_F`.
    budget_bits : float
        What may be spent, in bits for each of all the layers' weights.
    bits : float
        Bits of an entry of the factors.

    Returns
    -------
    dict of str to int
        Ranks; 0 where nothing is worth its bytes.
    """
    budget = check_float("budget_bits", budget_bits, low=0) * sum(o * k for o, k in shapes.values()) / 8
    if set(spectra) != set(shapes) or set(spectra) != set(totals):
        raise ArgumentError("spectra, shapes and totals: expected the same layers in all three")
    ranks = dict.fromkeys(spectra, 0)
    heap: list[tuple[float, str]] = []

    def offer(name: str) -> None:
        rank, values = ranks[name], spectra[name]
        if rank < min(len(values), *shapes[name]) and totals[name] > 0 and values[rank] > 0:
            gain = float(values[rank]) ** 2 / totals[name] ** 2
            heapq.heappush(heap, (-gain / sum(shapes[name]), name))

    for name in spectra:
        offer(name)
    while heap:
        _, name = heapq.heappop(heap)
        cost = bits * sum(shapes[name]) / 8
        if cost <= budget:
            budget -= cost
            ranks[name] += 1
            offer(name)
    return ranks
