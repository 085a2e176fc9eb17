"""Sums of the representations of clusters, and what of a contrastive loss is left when only they repel each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.nn.contrast.unit_rows import unit_rows

ASSIGNMENTS = ("hard", "soft")
WEIGHTINGS = ("equal", "size")


def shares(labels: Any, rows: int, n_clusters: int | None, assignment: str, device: Any) -> torch.Tensor:
    """Labels (rows,) as int64 in 0..k-1, or memberships (rows, k) where soft ones are asked for; without gradients."""
    check_choice("assignment", assignment, ASSIGNMENTS)
    if not isinstance(labels, torch.Tensor):
        labels = torch.from_numpy(np.ascontiguousarray(labels))
    labels = labels.detach().to(device)
    if labels.ndim not in (1, 2) or len(labels) != rows:
        raise ShapeError(f"labels has shape {tuple(labels.shape)}: expected ({rows},) or ({rows}, k)")
    k = None if n_clusters is None else check_int("n_clusters", n_clusters, low=1)
    if labels.ndim == 2:
        if not labels.is_floating_point():
            raise UnsupportedError(f"labels holds {labels.dtype}: expected floating memberships (n, k)")
        if not bool((labels >= 0).all()) or not bool(labels.isfinite().all()):
            raise ArgumentError("labels has negative, NaN or infinite memberships: expected numbers >= 0")
        if k is not None and labels.shape[1] != k:
            raise ShapeError(f"labels has {labels.shape[1]} columns: expected n_clusters={k}")
        return labels if assignment == "soft" else labels.argmax(dim=1)
    if assignment == "soft":
        raise ShapeError(f"labels has shape {tuple(labels.shape)}: soft assignment needs ({rows}, k)")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise UnsupportedError(f"labels holds {labels.dtype}: expected integers")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (k is not None and high >= k):
        raise ArgumentError(f"labels spans {low}..{high}: expected 0..{'' if k is None else k - 1}")
    return labels.long()


def cluster_sums(z: torch.Tensor, labels: torch.Tensor, k: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums (k, d) of the rows of z by cluster and the sizes (k,) of clusters, from labels or memberships."""
    if labels.ndim == 2:
        memberships = labels.to(z.dtype)
        return memberships.T @ z, memberships.sum(dim=0)
    sizes = torch.bincount(labels, minlength=k or 0).to(z.dtype)
    return z.new_zeros(len(sizes), z.shape[1]).index_add(0, labels, z), sizes


def meta_negatives(
    C: torch.Tensor, sizes: torch.Tensor, tau: float, weighting: str, eps: float
) -> torch.Tensor:
    """The negative term of meta-nodes C (k, d); clusters of size 0 have no part in it. O(k^2 d)."""
    full = sizes > 0
    C, sizes = C[full], sizes[full]
    u = unit_rows(C)
    eye = torch.eye(len(u), dtype=torch.bool, device=u.device)
    e = (tau * (u @ u.T).masked_fill(eye, 0.0)).exp()
    if weighting == "equal":
        return (e.sum(dim=1) + eps).log().mean()
    return (sizes / sizes.sum()) @ (e @ sizes + eps).log()


__all__ = ["ASSIGNMENTS", "WEIGHTINGS", "cluster_sums", "meta_negatives", "shares"]
