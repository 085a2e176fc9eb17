"""How far a positional encoding moves when its graph changes a little."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment, quadratic_assignment
from scipy.spatial.distance import cdist

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_choice
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.results import Result
from gossamer.graph.encode.laplacian_eigs import LAPLACIANS, laplacian_matrix
from gossamer.graph.simple_graph import simple_adjacency

EXACT = 7
"""Up to this many nodes every permutation is tried."""

STARTS = 4
"""Random starts of the search above that."""


@dataclass(frozen=True, kw_only=True)
class StabilityResult(Result):
    """What :func:`pe_stability` measured.

    Attributes
    ----------
    distance : float
        Frobenius norm of the change of the encoding.
    eps : float
        Frobenius norm of the change of the Laplacian.
    ratio : float
        ``distance / eps``; 0 if nothing changed, infinite if only the encoding did.
    perm : ndarray of int64, shape (n,)
        Node of the second graph that stands for each node of the first.
    """

    distance: float
    eps: float
    ratio: float
    perm: np.ndarray


def pe_stability(
    pe_fn: Callable[[Any], Any], A: Any, A2: Any, perm: Any = None, *, laplacian: str = "sym"
) -> StabilityResult:
    r"""Measure the change of an encoding against the change of its graph.

    .. math:: \| \mathrm{PE}(A) - P\,\mathrm{PE}(A_2) \|_F \quad\text{over}\quad
        \varepsilon = \| L - P L_2 P^T \|_F

    For :class:`gossamer.nn.SPE` the first is bounded by a multiple of :math:`\sqrt\varepsilon + \varepsilon` that does
    not depend on gaps between eigenvalues, save the one at the cut; for encodings that split eigenspaces nothing bounds
    it.

    Parameters
    ----------
    pe_fn : callable
        Takes an adjacency, csr_array (n, n), and returns an array or tensor (n, p).
    A, A2 : graph
        Undirected, of n nodes each, any form of :func:`as_adjacency`.
    perm : array of int, shape (n,), optional
        Node of A2 for each node of A; ``range(n)`` if the second graph is the first with a few edges changed. By
        default the P that makes eps least: all are tried up to 7 nodes, above that a search from several starts
        finds a good one, and eps is an upper bound.
    laplacian : {"sym", "rw", "combinatorial"}
        Which Laplacian eps compares; of ``"rw"`` the symmetric one.

    Returns
    -------
    StabilityResult

    Raises
    ------
    ShapeError
        If the graphs differ in size, or the encodings in shape.
    ArgumentError
        If ``perm`` is no permutation, or the encoding is not finite.

    References
    ----------
    Huang et al., ICLR 2024, arXiv 2310.02579, theorem 1.

    Examples
    --------
    >>> import networkx as nx
    >>> from gossamer.graph import pe_stability, perturb_edges
    >>> ring = nx.cycle_graph(8)
    >>> found = pe_stability(lambda A: A @ A.toarray(), ring, perturb_edges(ring, 1, 0), perm=range(8))
    >>> found.ratio < 3
    True
    """
    check_choice("laplacian", laplacian, LAPLACIANS)
    first, second = simple_adjacency(A), simple_adjacency(A2, name="A2")
    n = first.shape[0]
    if second.shape[0] != n:
        raise ShapeError(f"A2 has {second.shape[0]} nodes: expected {n}, as A has")
    L, L2 = (laplacian_matrix(graph, laplacian).toarray() for graph in (first, second))
    order = _best_permutation(L, L2) if perm is None else _check_permutation(perm, n)
    eps = float(np.linalg.norm(L - L2[np.ix_(order, order)]))
    there, back = (_encode(pe_fn, graph) for graph in (first, second))
    if there.shape != back.shape or there.ndim != 2 or len(there) != n:
        raise ShapeError(f"pe_fn gave {there.shape} and {back.shape}: expected ({n}, p) twice")
    distance = float(np.linalg.norm(there - back[order]))
    ratio = distance / eps if eps > 0 else (0.0 if distance == 0 else math.inf)
    return StabilityResult(distance=distance, eps=eps, ratio=ratio, perm=order)


def _encode(pe_fn: Callable[[Any], Any], graph: Any) -> np.ndarray:
    encoding = to_numpy(pe_fn(graph)).astype(np.float64)
    if not np.isfinite(encoding).all():
        raise ArgumentError("pe_fn gave NaN or infinity: expected finite numbers")
    return encoding


def _check_permutation(perm: Any, n: int) -> np.ndarray:
    order = to_numpy(perm if not isinstance(perm, range) else list(perm))
    if (
        order.shape != (n,)
        or order.dtype.kind not in "iu"
        or not np.array_equal(np.sort(order), np.arange(n))
    ):
        raise ArgumentError(f"perm has shape {order.shape}: expected each of 0..{n - 1} once")
    return order.astype(np.int64)


def _best_permutation(L: np.ndarray, L2: np.ndarray) -> np.ndarray:
    """The order of L2 in which its inner product with L is largest."""
    n = len(L)
    if n <= EXACT:
        orders = np.array(list(itertools.permutations(range(n))))
        gains = np.einsum("ij,pij->p", L, L2[orders[:, :, None], orders[:, None, :]])
        return orders[np.argmax(gains)]
    same = np.arange(n)
    candidates = [same, linear_sum_assignment(cdist(_surroundings(L), _surroundings(L2)))[1]]
    rng = np.random.default_rng(0)
    for start in (np.eye(n), "barycenter", *["randomized"] * STARTS):
        options = {"maximize": True, "P0": start, "rng": rng}
        candidates.append(quadratic_assignment(L, L2, method="faq", options=options).col_ind)
    polished = [same]
    for order in candidates:
        options = {"maximize": True, "partial_guess": np.stack([same, order], axis=1), "rng": rng}
        polished.append(quadratic_assignment(L, L2, method="2opt", options=options).col_ind)
    return max(polished, key=lambda order: float((L * L2[np.ix_(order, order)]).sum())).astype(np.int64)


def _surroundings(L: np.ndarray) -> np.ndarray:
    """What heat that starts at each node does, in an order that does not depend on names: rows to match nodes by."""
    lam, U = np.linalg.eigh(L)
    spread = [np.sort((U * np.exp(-t * lam)) @ U.T, axis=1) for t in (1, 4)]
    stays = (U**2) @ np.exp(-np.outer(lam, (0.5, 1, 2, 4, 8)))
    return np.hstack([*spread, 4 * stays])


__all__ = ["StabilityResult", "pe_stability"]
