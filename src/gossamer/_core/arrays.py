"""One way to look at NumPy arrays and torch tensors. Torch is never imported from here."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from array_api_compat import array_namespace

Array = Any
"""A NumPy array or a torch tensor."""


def is_torch(x: Any) -> bool:
    """True for torch tensors; does not import torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def namespace(*arrays: Array) -> Any:
    """The array-API namespace (``array_api_compat.numpy`` or ``.torch``) shared by ``arrays``."""
    return array_namespace(*arrays)


def to_numpy(x: Array) -> np.ndarray:
    """View ``x`` as a NumPy array: no copy for arrays and CPU tensors, detached from autograd."""
    if is_torch(x):
        return x.detach().cpu().numpy()
    return np.asarray(x)


def to_torch(x: Array) -> Any:
    """View ``x`` as a torch tensor: no copy where memory allows it."""
    if is_torch(x):
        return x
    import torch

    array = np.asarray(x)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def like(x: Array, reference: Array) -> Array:
    """Give ``x`` the kind (NumPy or torch) and device of ``reference``."""
    if is_torch(reference):
        return to_torch(x).to(reference.device)
    return to_numpy(x)


def nbytes(x: Array) -> int:
    """Bytes that the elements of ``x`` occupy."""
    return int(x.nbytes)
