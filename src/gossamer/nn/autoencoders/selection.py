"""The three selections of matches between tokens and features, as functions on pre-activations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import topk
from gossamer.nn.autoencoders.codes import SparseCodes


def top_per_token(z: torch.Tensor, k: int) -> SparseCodes:
    """Keep the k largest positive entries of every row: Token Choice, or TopK.

    Parameters
    ----------
    z : Tensor, shape (N, F)
        Pre-activations.
    k : int
        At most F.

    Returns
    -------
    SparseCodes
        Of equal entries the one with the lower index stays. Entries that are not positive are never kept.
    """
    z = check_pre(z)
    check_int("k", k, low=1, high=z.shape[1])
    return codes_of(topk.rows(host(z), k), z)


def top_overall(z: torch.Tensor, budget: int) -> SparseCodes:
    """Keep the ``budget`` largest positive entries of the whole batch: Mutual Choice, or BatchTopK.

    Parameters
    ----------
    z : Tensor, shape (N, F)
        Pre-activations.
    budget : int
        Number of matches, k N for k a token on average.

    Returns
    -------
    SparseCodes
        Of equal entries the first, by token and then by feature, stays.
    """
    z = check_pre(z)
    check_int("budget", budget, low=1, high=z.numel())
    return codes_of(topk.largest(host(z), budget), z)


def top_per_feature(z: torch.Tensor, m: Any) -> SparseCodes:
    """Keep the ``m[f]`` largest positive entries of every column f: Feature Choice.

    Parameters
    ----------
    z : Tensor, shape (N, F)
        Pre-activations.
    m : array of int, shape (F,)
        How many tokens each feature gets, between 0 and N.

    Returns
    -------
    SparseCodes
        Of equal entries the first token's stays.
    """
    z = check_pre(z)
    counts = to_numpy(m)
    if counts.shape != (z.shape[1],) or counts.dtype.kind not in "iu":
        raise ShapeError(f"m is {counts.dtype} of shape {counts.shape}: expected {z.shape[1]} integers")
    if counts.min() < 0 or counts.max() > len(z):
        raise ArgumentError(
            f"m spans {counts.min()}..{counts.max()}: expected 0..{len(z)}, the number of tokens"
        )
    return from_columns(topk.columns(host(z), counts), z)


def top_above(z: torch.Tensor, bound: torch.Tensor) -> SparseCodes:
    """Keep every entry of column f above ``bound[f]``: a code that does not depend on the batch.

    Parameters
    ----------
    z : Tensor, shape (N, F)
        Pre-activations.
    bound : Tensor, shape (F,)
        May be infinite.
    """
    z = check_pre(z)
    return codes_of(topk.above(host(z), to_numpy(bound).astype(host(z).dtype)), z)


def check_pre(z: torch.Tensor) -> torch.Tensor:
    """Refuse what is not a matrix with at least one token."""
    if z.ndim != 2 or not z.is_floating_point():
        raise ShapeError(f"z is {z.dtype} of shape {tuple(z.shape)}: expected real numbers (N, F)")
    if z.shape[0] == 0:
        raise ArgumentError("z has N=0 tokens: expected at least one")
    return z.detach()


def from_columns(kept: topk.Kept, z: torch.Tensor) -> SparseCodes:
    """Codes by token of what was kept by feature."""
    import scipy.sparse

    turned = scipy.sparse.csc_array((kept.value, kept.where, kept.start), shape=tuple(z.shape)).tocsr()
    return codes_of(topk.Kept(turned.indptr, turned.indices, turned.data), z)


def host(z: torch.Tensor) -> np.ndarray:
    """The matrix where the kernels read it, half precision widened (its order stays)."""
    wide = z if z.dtype in (torch.float32, torch.float64) else z.float()
    return to_numpy(wide)


def codes_of(kept: topk.Kept, z: torch.Tensor) -> SparseCodes:
    """Codes of what was kept by token, with the type and device of ``z``."""
    values = torch.from_numpy(kept.value).to(device=z.device, dtype=z.dtype)
    return SparseCodes(kept.start, kept.where, values, z.shape[1])
