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
    """View ``x`` as a NumPy array: no copy for arrays and CPU tensors, detached from autograd.

    bfloat16, which NumPy lacks, is widened to float32.
    """
    if is_torch(x):
        x = x.detach().cpu()
        return x.float().numpy() if str(x.dtype) == "torch.bfloat16" else x.numpy()
    return np.asarray(x)


def to_torch(x: Array) -> Any:
    """View ``x`` as a torch tensor: no copy where memory allows it."""
    if is_torch(x):
        return x
    import torch

    array = np.asarray(x)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def to_bits(x: Array) -> np.ndarray:
    """Raw bfloat16 as uint16, of a ``torch.bfloat16`` tensor (a view) or of a float array (rounded to even).

    uint16 arrays are taken to be raw bits already.
    """
    if is_torch(x) and str(x.dtype) == "torch.bfloat16":
        import torch

        return x.detach().cpu().view(torch.uint16).numpy()
    array = to_numpy(x)
    if array.dtype == np.uint16:
        return array
    wide = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
    rounded = (wide + 0x7FFF + ((wide >> 16) & 1)) >> 16
    return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16)


def bits_to_bfloat16(x: Array) -> Any:
    """View raw bits (uint16) as a ``torch.bfloat16`` tensor; such tensors pass through."""
    import torch

    return to_torch(x) if is_torch(x) and x.dtype == torch.bfloat16 else to_torch(x).view(torch.bfloat16)


def widen(x: Array) -> Array:
    """Half precision (float16, bfloat16, raw bfloat16 in uint16) as float32; wider types as they are."""
    if is_torch(x):
        return x.float() if x.dtype.itemsize == 2 else x
    if x.dtype == np.uint16:
        return (x.astype(np.uint32) << 16).view(np.float32)
    return x.astype(np.float32) if x.dtype == np.float16 else x


def like(x: Array, reference: Array) -> Array:
    """Give ``x`` the kind (NumPy or torch) and device of ``reference``."""
    if is_torch(reference):
        return to_torch(x).to(reference.device)
    return to_numpy(x)


def nbytes(x: Array) -> int:
    """Bytes that the elements of ``x`` occupy."""
    return int(x.nbytes)
