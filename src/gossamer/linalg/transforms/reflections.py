"""Products of Householder reflections: three ways to apply them, and how to read them off an orthogonal matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from gossamer._core.arrays import Array, is_torch
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError

ALGORITHMS = ("wy", "pairwise", "sequential")
"""Compact WY in panels; merged pairs of reflections; one reflection after the other."""

PANEL = 64
SMALLEST = 1e-12


def reflect(
    W: Array,
    X: Array,
    *,
    transposed: bool = False,
    algorithm: str = "wy",
    stop_recursion: int | None = None,
) -> Array:
    r"""Multiply by a product of Householder reflections, :math:`H_1 H_2 \cdots H_k X`.

    .. math:: H_i = I - 2 w_i w_i^T / \|w_i\|^2, \qquad H_1 \cdots H_k = I - W T W^T,\quad
        T^{-1} = \tfrac12 I + \mathrm{striu}(W^T W)

    for unit columns. Take ``"wy"``: panels of 64 reflections by matrix products and a small triangular solve. The other
    two are what it is compared with.

    Parameters
    ----------
    W : array or tensor, shape (d, k)
        The vectors :math:`w_i`, of any length but zero.
    X : array or tensor, shape (d, n)
        Of the kind and dtype of ``W``.
    transposed : bool
        Multiply by the transpose, which is the product in the opposite order.
    algorithm : {"wy", "pairwise", "sequential"}
        ``"pairwise"`` merges neighbours ``I + W_1^T Y_1`` and ``I + W_2^T Y_2``, doubling the blocks.
    stop_recursion : int, optional
        Merges of ``"pairwise"``, after which the blocks multiply ``X`` one by one; None merges all into one.

    Returns
    -------
    array or tensor, shape (d, n)
        Differentiable to any order for tensors; ``"wy"`` keeps only ``W`` and the result for the backward pass.

    Raises
    ------
    ArgumentError
        If a column of ``W`` is shorter than 1e-12 or not finite.
    ShapeError
        If there are more columns than rows, or ``X`` has other rows.

    Notes
    -----
    ``"wy"`` takes 2 d k (64 + 2 n) flops, ``"sequential"`` 4 d k n in k dependent steps, ``"pairwise"`` 2 d k^2 to
    merge all. The result is orthogonal up to rounding whatever ``W`` is. Half precision is computed in float32, also
    under autocast.

    References
    ----------
    Schreiber and Van Loan, "A storage-efficient WY representation for products of Householder transformations", 1989.
    Mathiasen et al., "What if neural networks had SVDs?", NeurIPS 2020 (merged pairs).
    """
    check_choice("algorithm", algorithm, ALGORITHMS)
    check_vectors("W", W)
    if X.ndim != 2 or X.shape[0] != W.shape[0]:
        raise ShapeError(f"X has shape {tuple(X.shape)}: expected ({W.shape[0]}, n) to fit W{tuple(W.shape)}")
    if stop_recursion is not None:
        check_int("stop_recursion", stop_recursion, low=0)
    return _product(W, X, transposed, algorithm, stop_recursion)


def frame(W: Array, columns: int | None = None, *, algorithm: str = "wy") -> Array:
    """The first columns of the product of reflections: orthonormal, whatever ``W`` is.

    Parameters
    ----------
    W : array or tensor, shape (d, k)
        The vectors of the reflections.
    columns : int, optional
        m, at most d; all d by default.
    algorithm : {"wy", "pairwise", "sequential"}
        As in :func:`reflect`.

    Returns
    -------
    array or tensor, shape (d, m)
    """
    check_vectors("W", W)
    d = int(W.shape[0])
    m = d if columns is None else check_int("columns", columns, low=1, high=d)
    if is_torch(W):
        import torch

        start: Any = torch.eye(d, m, dtype=W.dtype, device=W.device)
    else:
        start = np.eye(d, m, dtype=W.dtype)
    return _product(W, start, False, check_choice("algorithm", algorithm, ALGORITHMS), None)


def to_reflectors(Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors ``W`` (d, m) and signs (m,) of int8 with ``frame(W, m) * signs`` equal to given orthonormal columns.

    By the QR decomposition, whose triangular factor is then diagonal with entries of one. Vector i is zero above row i
    and one in it. Where LAPACK stores no reflection, the vector is the unit vector, which flips row i, and the sign
    makes up for it.
    """
    m = Q.shape[1]
    (packed, tau), R = scipy.linalg.qr(Q, mode="raw")
    W = np.tril(packed[:, :m], -1)
    np.fill_diagonal(W, 1)
    signs = np.where(np.diagonal(R) < 0, -1, 1)
    signs = np.where(tau[:m] == 0, -signs, signs)
    return np.ascontiguousarray(W), signs.astype(np.int8)


def check_vectors(name: str, W: Array) -> None:
    """Refuse vectors of no direction."""
    if W.ndim != 2 or not 1 <= W.shape[1] <= W.shape[0]:
        raise ShapeError(f"{name} has shape {tuple(W.shape)}: expected (d, k) with 1 <= k <= d")
    values = W
    if is_torch(W):
        import torch

        if W.device.type == "meta" or torch.compiler.is_compiling():
            return  # no values to look at
        values = W.detach()
    squares = (values * values).sum(0)
    if not bool((squares > SMALLEST**2).all() & (squares < float("inf")).all()):
        bad = int((~((squares > SMALLEST**2) & (squares < float("inf")))).argmax())
        raise ArgumentError(
            f"{name}[:, {bad}] has length {float(squares[bad]) ** 0.5:.3g}: expected a finite one above {SMALLEST}"
        )


def _product(W: Array, X: Array, transposed: bool, algorithm: str, stop: int | None) -> Array:
    if is_torch(W):
        from gossamer.linalg.transforms.reflections_autograd import tensor_reflect

        return tensor_reflect(W, X, transposed, algorithm, stop)
    wide = np.result_type(W.dtype, np.float32)
    unit = unit_columns(W.astype(wide, copy=False))
    return apply_units(unit, X.astype(wide, copy=False), transposed, algorithm, stop)


def unit_columns(W: Array) -> Array:
    """``W`` with columns of length one."""
    return W / ((W * W).sum(0) ** 0.5)


def apply_units(
    W: Array, X: Array, transposed: bool, algorithm: str, stop_recursion: int | None = None
) -> Array:
    """:func:`reflect` for unit columns, without checks."""
    if algorithm == "sequential":
        order = range(W.shape[1]) if transposed else range(W.shape[1] - 1, -1, -1)
        for i in order:
            w = W[:, i : i + 1]
            X = X - w @ (2 * (w.T @ X))
        return X
    if algorithm == "pairwise":
        blocks = _merged(W, stop_recursion)
        if transposed:
            for left, right in blocks:
                X = X + right.T @ (left @ X)
        else:
            for left, right in reversed(blocks):
                X = X + left.T @ (right @ X)
        return X
    starts = panels(W.shape[1])
    for at in starts if transposed else reversed(starts):
        V = W[:, at : at + PANEL]
        X = X - V @ solve(inverse_T(V), V.T @ X, transposed)
    return X


def panels(k: int) -> range:
    """First columns of the panels of ``k`` reflections."""
    return range(0, k, PANEL)


def inverse_T(V: Array) -> Array:
    """The upper triangular inverse of T for unit columns."""
    if is_torch(V):
        import torch

        return (V.T @ V).triu(1) + 0.5 * torch.eye(V.shape[1], dtype=V.dtype, device=V.device)
    return np.triu(V.T @ V, 1) + 0.5 * np.eye(V.shape[1], dtype=V.dtype)


def solve(inverse: Array, B: Array, transposed: bool) -> Array:
    """``T B`` or ``T^T B`` from the inverse of T."""
    if is_torch(inverse):
        import torch

        return torch.linalg.solve_triangular(inverse.T if transposed else inverse, B, upper=not transposed)
    return scipy.linalg.solve_triangular(inverse, B, trans=int(transposed), check_finite=False)


def _merged(W: Array, stop: int | None) -> list[tuple[Array, Array]]:
    """Blocks ``I + left^T right`` whose product is that of the reflections; neighbours merge, an odd one waits."""
    blocks: list[tuple[Any, Any]] = [(-2 * W[:, i : i + 1].T, W[:, i : i + 1].T) for i in range(W.shape[1])]
    merges = 0
    while len(blocks) > 1 and (stop is None or merges < stop):
        pairs = zip(blocks[::2], blocks[1::2], strict=False)
        merged = [_merge(first, second) for first, second in pairs]
        blocks = merged + blocks[len(merged) * 2 :]
        merges += 1
    return blocks


def _merge(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    (left1, right1), (left2, right2) = first, second
    moved = left2 + (left2 @ right1.T) @ left1
    if is_torch(left1):
        import torch

        return torch.cat([left1, moved]), torch.cat([right1, right2])
    return np.concatenate([left1, moved]), np.concatenate([right1, right2])
