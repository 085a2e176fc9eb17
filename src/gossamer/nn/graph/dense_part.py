"""What layers do to each node by itself: a linear map of dense or sparse features, and dropout of either."""

from __future__ import annotations

from typing import Any

import torch

from gossamer.nn.graph.sparse_tensor import SparseTensor

Features = torch.Tensor | SparseTensor
"""A table of features: a dense tensor, a sparse one, or a :class:`SparseTensor`."""


def as_features(x: Any) -> Features:
    """Dense tensors as they are; anything sparse as a :class:`SparseTensor`."""
    dense = isinstance(x, torch.Tensor) and x.layout == torch.strided
    return x if dense else SparseTensor.of(x)


def transform(linear: Any, x: Any) -> torch.Tensor:
    """``linear(x)``, for sparse x by its stored entries only."""
    x = as_features(x)
    if isinstance(x, torch.Tensor):
        return linear(x)
    y = multiply(linear, x)
    return y if linear.bias is None else y + linear.bias


def multiply(linear: Any, x: Features) -> torch.Tensor:
    """``x W^T``, in the layer's own way where it has one."""
    own = getattr(linear, "multiply", None)
    return x @ linear.weight.T if own is None else own(x)


def dropout(x: Features, p: float, training: bool) -> Features:
    """Dropout; zeros of sparse features stay zero in any case, so that only stored entries are drawn for."""
    if not training or p == 0:
        return x
    if isinstance(x, torch.Tensor):
        return torch.nn.functional.dropout(x, p)
    return x.with_values(torch.nn.functional.dropout(x.values, p))


__all__ = ["Features", "as_features", "dropout", "multiply", "transform"]
