"""Group pruning at one threshold for all matrices of a block; the scores and masks of groups live in ``linalg``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gossamer.compress.calibrate.statistics import Statistics
from gossamer.compress.rule import Rule
from gossamer.linalg.nearest.groups import group_mask, group_saliency
from gossamer.linalg.structures.group_sparse_quant import GroupSparseQuant

__all__ = ["group_mask", "group_saliency", "share_density"]


def share_density(
    rules: Mapping[str, Rule], weights: Mapping[str, np.ndarray], statistics: Statistics | None
) -> dict[str, Rule]:
    """Turn the densities of layers with ``scope="block"`` into those that one threshold for all of them gives.

    Within a matrix the groups above a common threshold are its best ones, so that how many there are says all.
    Layers of different densities or metrics do not share a threshold.

    Parameters
    ----------
    rules : mapping of str to Rule
        The rules of one block by layer.
    weights : mapping of str to ndarray, shape (O, K)
        Its weights.
    statistics : Statistics or None
        Second moments of its inputs.
    """
    shared: dict[str, Rule] = dict(rules)
    pools: dict[tuple[object, str], list[str]] = {}
    for path, rule in rules.items():
        if isinstance(rule.structure, GroupSparseQuant) and rule.structure.scope == "block":
            pools.setdefault((rule.structure, rule.metric), []).append(path)
    for (structure, metric), paths in pools.items():
        assert isinstance(structure, GroupSparseQuant)
        scores = []
        for path in paths:
            second = statistics.metric(path, metric) if statistics is not None else None
            scores.append(structure.scores(weights[path], second))
        for path, mask in zip(paths, group_mask(scores, 1 - structure.density, scope="block"), strict=True):
            density = max(int(mask.sum()), 1) / mask.size
            shared[path] = replace(rules[path], structure=replace(structure, density=density))
    return shared
