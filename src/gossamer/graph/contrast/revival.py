"""Clusters that lost all of their nodes, started again in the most dispersed one, as K-means treats them."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.cluster import KMeans


@torch.no_grad()
def revive(z: torch.Tensor, centres: torch.Tensor, rng: np.random.Generator) -> list[int]:
    """Move centres (k, d) to which no row of z (n, d) is nearest, in place; returns which have moved.

    For each, the cluster with the largest sum of squares around its mean is split in two by K-means: one mean replaces
    its centre, the other the empty one. Where codes of each cluster are all the same there is nothing to split.
    """
    moved: list[int] = []
    least = torch.finfo(z.dtype).eps * float(z.square().sum())
    for _ in range(len(centres)):
        labels = torch.cdist(z, centres).argmin(dim=1)
        sizes = torch.bincount(labels, minlength=len(centres))
        empty, spread = int(sizes.argmin()), torch.zeros(len(centres), dtype=z.dtype)
        for a in range(len(centres)):
            members = z[labels == a]
            if len(members) > 1:
                spread[a] = (members - members.mean(dim=0)).square().sum()
        widest = int(spread.argmax())
        if sizes[empty] > 0 or float(spread[widest]) <= least:
            break
        halves = KMeans(2, n_init=1, random_state=int(rng.integers(2**31))).fit(z[labels == widest].numpy())
        centres[[widest, empty]] = torch.from_numpy(halves.cluster_centers_).to(centres)
        moved += [widest, empty]
    return moved
