"""Sparse weight times dense matrix, in the format that is fastest for its density and the number of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.arrays import is_torch, to_bits, to_numpy
from gossamer._core.checks import check_array, check_choice, check_int
from gossamer._core.errors import ShapeError
from gossamer._kernels import csr, lscd
from gossamer.linalg.operator import StructuredMatrix
from gossamer.linalg.products.lscd_model import FORMATS, calibrate_machine, dense_product, lscd_model
from gossamer.linalg.structures.tiled_bitmap import TiledBitmap, TiledBitmapMatrix


def spmm(
    A: Any, B: Any, *, format: str = "auto", threads: int | None = None, split_k: int | str = "auto"
) -> Any:
    """Multiply a sparse matrix with a dense one: ``A @ B``, summed in float32.

    Keep ``A`` as a :class:`TiledBitmapMatrix`: the forms of it that other formats need are made on first use and
    kept with it. Anything else is packed at every call.

    Parameters
    ----------
    A : TiledBitmapMatrix, StructuredMatrix, scipy.sparse matrix or array, shape (O, K)
        The weight; what is not tiles yet is packed without loss in float32.
    B : array or tensor, shape (K,) or (K, N)
        float32, or a bfloat16 tensor, which bfloat16 tiles multiply by the CPU's own instruction where it has one.
    format : {"auto", "dense", "lscd", "csr"}
        How to multiply; "auto" takes what :func:`lscd_model` predicts to be fastest on this machine.
    threads : int, optional
        At most this many; a dense product uses what its library is set to.
    split_k : int or "auto"
        Slices of K that LSCD sums in order, for matrices of few rows.

    Returns
    -------
    array or tensor of float32, shape (O,) or (O, N)
        Of the kind of ``B``. The same bits for any number of threads, but for a dense product.

    Raises
    ------
    TypeError
        If ``B`` holds integers.
    ShapeError
        If ``A`` or ``B`` have other ranks, or do not fit.
    ArgumentError
        For another format or split.

    References
    ----------
    Xia et al., "Flash-LLM", VLDB 2024.
    """
    check_choice("format", format, ("auto", *FORMATS))
    split = 0 if split_k == "auto" else check_int("split_k", split_k, low=1)
    kind = str(B.dtype if hasattr(B, "dtype") else np.asarray(B).dtype)
    if "int" in kind or "bool" in kind:
        raise TypeError(f"B is {kind}: expected a floating-point array")
    B = check_array("B", B, ndim=(1, 2), finite=False)
    tiles = _tiles(A)
    if B.shape[0] != tiles.shape[1]:
        raise ShapeError(f"A has shape {tiles.shape} and B {tuple(B.shape)}: the inner dimensions differ")
    columns = B[:, None] if B.ndim == 1 else B
    brain = kind == "torch.bfloat16" and tiles.structure.dtype == "bfloat16"
    if format == "auto":
        machine = calibrate_machine("bfloat16" if brain else "float32", threads)
        times = lscd_model(*tiles.shape, columns.shape[1], tiles.density, machine)
        format = min(FORMATS, key=lambda name: times[name])
    y = _product(tiles, columns, format, brain, split, threads)
    y = y[:, 0] if B.ndim == 1 else y
    if not is_torch(B):
        return y
    import torch

    return torch.as_tensor(y)


def _tiles(A: Any) -> TiledBitmapMatrix:
    if isinstance(A, TiledBitmapMatrix):
        return A
    if scipy.sparse.issparse(A):
        A = A.toarray()
    elif isinstance(A, StructuredMatrix):
        A = A.to_dense()
    packed = TiledBitmap.from_dense(to_numpy(check_array("A", A, ndim=2, finite=False)), dtype="float32")
    return packed


def _product(A: TiledBitmapMatrix, B: Any, format: str, brain: bool, split: int, threads: int | None) -> Any:
    if format == "lscd":
        x = to_bits(B) if brain else to_numpy(B).astype(np.float32, copy=False)
        return lscd.matmat(*A._arrays(), x, A.shape[0], split=split, threads=threads)
    if format == "csr":
        x = to_numpy(B).astype(np.float32, copy=False)
        indptr, indices, data = _form(A, "csr")
        return csr.matmat(indptr, indices, data, x, threads)
    if brain:
        return _form(A, "bfloat16")(B)
    return _form(A, "float32")(to_numpy(B).astype(np.float32, copy=False))


def _form(A: TiledBitmapMatrix, name: str) -> Any:
    """The matrix as CSR factors or as a dense product, made once."""
    forms = A.__dict__.setdefault("_forms", {})
    if name not in forms:
        dense = to_numpy(A.to_dense())
        if name == "csr":
            sparse = scipy.sparse.csr_array(dense)
            forms[name] = sparse.indptr, sparse.indices, sparse.data
        else:
            forms[name] = dense_product(dense, name)
    return forms[name]
