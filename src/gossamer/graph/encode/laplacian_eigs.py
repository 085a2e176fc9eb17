"""The low end of a graph's spectrum: what positional encodings are made of."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.arrays import is_torch, to_numpy
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ShapeError, UnsupportedError
from gossamer.graph.encode.eigenpairs import METHODS, smallest_eigenpairs
from gossamer.graph.simple_graph import simple_adjacency

LAPLACIANS = ("sym", "rw", "combinatorial")
CUT = 1e-6
"""Eigenvalues nearer than this on both sides of the cut count as one eigenspace that was cut in two."""


def laplacian_eigs(
    A: Any,
    d: int | None = None,
    laplacian: str = "sym",
    pad: bool = True,
    *,
    method: str = "auto",
    detach: bool = True,
) -> tuple[Any, Any]:
    r"""The d smallest eigenvalues of a graph's Laplacian, zero included, and their eigenvectors.

    .. math:: L = I - D^{-1/2} A D^{-1/2}, \qquad L V = V \mathrm{diag}(\lambda), \qquad
        0 = \lambda_1 \le \dots \le \lambda_d \le 2

    A node without edges has the row zero, so that it adds an eigenvalue 0 like every other component. Eigenvectors are
    unique up to sign, and inside an eigenspace up to rotation: feed them to :class:`gossamer.nn.SPE` or another
    encoding that does not depend on that choice, not to a network as they are.

    Parameters
    ----------
    A : graph
        Undirected, n nodes: a sparse matrix, networkx graph, ``(2, E)`` edges, ... as in :func:`as_adjacency`, or a
        square torch tensor of weights. Self-loops are dropped with a warning.
    d : int, optional
        How many; n by default.
    laplacian : {"sym", "rw", "combinatorial"}
        ``I - D^-1/2 A D^-1/2``; ``I - D^-1 A``, with the same eigenvalues and ``V^T D V = I`` (isolated nodes count as
        of degree 1); or ``D - A``, whose eigenvalues reach twice the highest degree.
    pad : bool
        Where n < d, append zeros to ``lam`` and zero columns to ``V``; otherwise return n.
    method : {"auto", "dense", "sparse"}
        All of the matrix by LAPACK, or the low end by block Lanczos on a sparse factorisation: above 512 nodes where at
        most a quarter of the eigenvalues is wanted. Both find every copy of a multiple eigenvalue.
    detach : bool
        False, for a square torch tensor: the dense decomposition with gradients in the weights. They exist where the
        eigenvalues are distinct, and are NaN or infinite where they are not.

    Returns
    -------
    lam : float64, shape (d,)
        Ascending.
    V : float64, shape (n, d)
        Orthonormal columns. Both are tensors where A was one.

    Raises
    ------
    ArgumentError
        If d < 1, a name is unknown, there are no nodes, or weights are negative, NaN or not symmetric.
    ShapeError
        If A is not square.
    UnsupportedError
        If A is no graph, or ``detach=False`` and A no square tensor.

    Warns
    -----
    UserWarning
        If the eigenvalues d and d + 1 agree to 1e-6: an eigenspace is cut, and no encoding of what is left is
        independent of its basis.

    Notes
    -----
    O(n^3) time and O(n^2) memory dense; otherwise a sparse factorisation, and some twenty solves with it for each
    eigenpair.

    References
    ----------
    Huang et al., "On the stability of expressive positional encodings for graphs", ICLR 2024, arXiv 2310.02579.

    Examples
    --------
    >>> import networkx as nx
    >>> from gossamer.graph import laplacian_eigs
    >>> lam, V = laplacian_eigs(nx.cycle_graph(6), d=3)
    >>> (abs(lam) + 1e-9).round(3).tolist(), V.shape
    ([0.0, 0.5, 0.5], (6, 3))
    """
    check_choice("laplacian", laplacian, LAPLACIANS)
    check_choice("method", method, METHODS)
    if d is not None:
        d = check_int("d", d, low=1)
    if not detach:
        return _differentiable(A, d, laplacian, pad)
    A, torch_input = sparse_form(A), is_torch(A)
    adjacency = simple_adjacency(A)
    n = adjacency.shape[0]
    d = n if d is None else d
    L, root = _laplacian(adjacency, laplacian)
    lam, V = smallest_eigenpairs(L, d + 1, method)
    lam = np.clip(lam, 0, np.inf if laplacian == "combinatorial" else 2)
    _warn_of_a_cut(lam, d)
    lam, V = lam[:d], V[:, :d]
    if laplacian == "rw":
        V = V / root[:, None]
    if pad and n < d:
        lam, V = np.pad(lam, (0, d - n)), np.pad(V, ((0, 0), (0, d - n)))
    if torch_input:
        import torch

        return torch.from_numpy(np.ascontiguousarray(lam)), torch.from_numpy(np.ascontiguousarray(V))
    return lam, V


def laplacian_matrix(adjacency: scipy.sparse.csr_array, laplacian: str = "sym") -> scipy.sparse.csr_array:
    """The Laplacian of a simple adjacency; of ``"rw"`` the symmetric one, to which it is similar."""
    return _laplacian(adjacency, laplacian)[0]


def _laplacian(A: scipy.sparse.csr_array, laplacian: str) -> tuple[scipy.sparse.csr_array, np.ndarray]:
    """The matrix that is decomposed, and square roots of degrees (1 for isolated nodes)."""
    degree = np.asarray(A.sum(axis=1), np.float64).ravel()
    root = np.sqrt(np.where(degree > 0, degree, 1.0))
    if laplacian == "combinatorial":
        return scipy.sparse.csr_array(scipy.sparse.diags_array(degree) - A), root
    inverse = scipy.sparse.diags_array(1 / root)
    half = inverse @ A @ inverse
    # rounding differs between (i, j) and (j, i); solvers read one triangle
    return scipy.sparse.csr_array(
        scipy.sparse.diags_array((degree > 0).astype(float)) - (half + half.T) / 2
    ), root


def sparse_form(A: Any) -> Any:
    """A square torch tensor of weights as a sparse matrix; anything else as it is."""
    if is_torch(A) and str(A.layout) == "torch.strided" and A.is_floating_point():
        if A.ndim != 2 or A.shape[0] != A.shape[1]:
            raise ShapeError(f"A has shape {tuple(A.shape)}: expected a square adjacency")
        return scipy.sparse.csr_array(to_numpy(A))
    return A


def _differentiable(A: Any, d: int | None, laplacian: str, pad: bool) -> tuple[Any, Any]:
    if not is_torch(A) or not A.is_floating_point():
        raise UnsupportedError(
            f"A is a {type(A).__name__}: detach=False expects a square torch tensor of weights"
        )
    import torch

    A = A.to_dense().double()
    simple_adjacency(sparse_form(A))  # for its checks
    W = A - torch.diag(A.diagonal())
    W = (W + W.T) / 2
    n = len(W)
    d = n if d is None else d
    degree = W.sum(1)
    joined = degree > 0
    root = torch.where(joined, degree, 1.0).sqrt()
    if laplacian == "combinatorial":
        L = torch.diag(degree) - W
    else:
        L = torch.diag(joined.double()) - W / root[:, None] / root
    lam, V = torch.linalg.eigh(L)
    _warn_of_a_cut(to_numpy(lam), d)
    lam, V = lam[:d], V[:, :d]
    if laplacian == "rw":
        V = V / root[:, None]
    if pad and n < d:
        lam, V = torch.nn.functional.pad(lam, (0, d - n)), torch.nn.functional.pad(V, (0, d - n))
    return lam, V


def _warn_of_a_cut(lam: np.ndarray, d: int) -> None:
    if len(lam) > d and lam[d] - lam[d - 1] < CUT:
        warnings.warn(
            f"d={d} cuts an eigenspace of the graph: eigenvalues d and d + 1 agree, what is kept depends on the basis",
            UserWarning,
            stacklevel=3,
        )


__all__ = ["laplacian_eigs", "laplacian_matrix", "sparse_form"]
