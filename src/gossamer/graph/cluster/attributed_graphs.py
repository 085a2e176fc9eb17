"""Random graphs with known clusters and attributes that tell something of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer._core.lazy import require
from gossamer._core.random import RandomState, check_random_state

ATTEMPTS = 10
"""Draws of degrees and sizes of communities, which may not fit together."""


@dataclass(frozen=True)
class AttributedGraph:
    """A graph with attributes and its true clusters.

    Attributes
    ----------
    adjacency : csr_array of float64, shape (n, n)
        Symmetric, without weights and loops.
    attributes : ndarray of int64, shape (n, M)
        Categories.
    labels : ndarray of int64, shape (n,)
        The true clusters.
    """

    adjacency: scipy.sparse.csr_array
    attributes: np.ndarray
    labels: np.ndarray


def attributed_sbm(
    n: int,
    n_blocks: int,
    *,
    p_in: float | None = None,
    p_out: float | None = None,
    mean_degree: float | None = None,
    ratio: float | None = None,
    n_attributes: int = 1,
    agreement: float = 0.5,
    random_state: RandomState = None,
) -> AttributedGraph:
    r"""A stochastic block model with blocks of equal size, and attributes that agree with the blocks here and there.

    No method can find the blocks from links alone if :math:`|c_{in} - c_{out}| < q \sqrt{c}`, with
    :math:`c_{in} = n p_{in}`, :math:`c_{out} = n p_{out}`, q blocks and the mean degree c.

    Parameters
    ----------
    n : int
        Nodes.
    n_blocks : int
        Blocks, whose sizes differ by at most one.
    p_in, p_out : float, optional
        Probability of an edge inside a block, and between blocks.
    mean_degree, ratio : float, optional
        Instead of these: c and ``p_out / p_in``.
    n_attributes : int
        M; each has as many values as there are blocks.
    agreement : float
        Probability that an attribute of a node is its block; else it is any value.
    random_state : int, Generator or None
        Of all draws.

    Returns
    -------
    AttributedGraph
        ``adjacency``, ``attributes``, ``labels``.

    Raises
    ------
    ArgumentError
        If it is not one pair of parameters or the other, or a probability is not in [0, 1].

    Notes
    -----
    O(n M + edges).

    Examples
    --------
    >>> from gossamer.graph import attributed_sbm
    >>> graph = attributed_sbm(100, 4, mean_degree=10, ratio=0.1, n_attributes=2, random_state=0)
    >>> graph.adjacency.shape, graph.attributes.shape
    ((100, 100), (100, 2))
    """
    n = check_int("n", n, low=1)
    q = check_int("n_blocks", n_blocks, low=1, high=n)
    by_degree = mean_degree is not None and ratio is not None
    if by_degree == (p_in is not None and p_out is not None):
        raise ArgumentError("expected p_in and p_out, or mean_degree and ratio")
    if by_degree:
        ratio = check_float("ratio", ratio, low=0)
        p_in = check_float("mean_degree", mean_degree, low=0) * q / (n * (1 + (q - 1) * ratio))
        p_out = ratio * p_in
    inside, outside = check_float("p_in", p_in, low=0, high=1), check_float("p_out", p_out, low=0, high=1)
    rng = check_random_state(random_state)
    bounds = np.arange(q + 1) * n // q
    ends = [
        _pairs(rng, bounds[a : a + 2], bounds[b : b + 2], inside if a == b else outside)
        for a in range(q)
        for b in range(a, q)
    ]
    row, column = np.concatenate(ends, axis=1)
    half = scipy.sparse.coo_array((np.ones(len(row)), (row, column)), shape=(n, n)).tocsr()
    labels = np.repeat(np.arange(q), np.diff(bounds))
    return AttributedGraph(
        scipy.sparse.csr_array(half + half.T), noisy_attributes(labels, n_attributes, agreement, rng), labels
    )


def attributed_lfr(
    n: int,
    mixing: float,
    *,
    mean_degree: float = 10,
    min_community: int = 20,
    degree_exponent: float = 3,
    community_exponent: float = 1.5,
    n_attributes: int = 1,
    agreement: float = 0.5,
    random_state: RandomState = None,
) -> AttributedGraph:
    """An LFR benchmark graph, whose degrees and sizes of communities follow power laws, with attributes.

    Parameters
    ----------
    n : int
        Nodes.
    mixing : float
        Share of the edges of a node that leave its community.
    mean_degree : float
        Mean degree.
    min_community : int
        Smallest community.
    degree_exponent, community_exponent : float
        Of the power laws.
    n_attributes, agreement
        As in :func:`attributed_sbm`.
    random_state : int, Generator or None
        Of all draws.

    Returns
    -------
    AttributedGraph
        ``adjacency``, ``attributes``, ``labels``.

    Raises
    ------
    ArgumentError
        If no such graph was found.
    MissingDependencyError
        Without networkx.
    """
    networkx = require("networkx", "graph")
    rng = check_random_state(random_state)
    n = check_int("n", n, low=2)
    check_float("mixing", mixing, low=0, high=1)
    check_int("min_community", min_community, low=1, high=n)
    for attempt in range(ATTEMPTS):
        try:
            graph = networkx.LFR_benchmark_graph(
                n, degree_exponent, community_exponent, mixing, average_degree=mean_degree,
                min_community=min_community, max_iters=200, seed=int(rng.integers(2**31)),
            )  # fmt: skip
            break
        except networkx.ExceededMaxIterations as error:
            if attempt == ATTEMPTS - 1:
                raise ArgumentError(
                    f"n={n}, mixing={mixing}, min_community={min_community}: {error}"
                ) from None
        except networkx.NetworkXException as error:
            raise ArgumentError(f"n={n}, mixing={mixing}, mean_degree={mean_degree}: {error}") from None
    graph.remove_edges_from(list(networkx.selfloop_edges(graph)))
    labels = np.empty(n, np.int64)
    for number, community in enumerate(
        dict.fromkeys(frozenset(graph.nodes[v]["community"]) for v in range(n))
    ):
        labels[list(community)] = number
    adjacency = scipy.sparse.csr_array(
        networkx.to_scipy_sparse_array(graph, nodelist=range(n), dtype=np.float64)
    )
    return AttributedGraph(adjacency, noisy_attributes(labels, n_attributes, agreement, rng), labels)


def noisy_attributes(
    labels: Any, n_attributes: int, agreement: float, random_state: RandomState = None
) -> np.ndarray:
    """Attributes that are a node's cluster with a probability, and any cluster else.

    Parameters
    ----------
    labels : array of int, shape (n,)
        Clusters 0, 1, ...
    n_attributes : int
        M.
    agreement : float
        The probability.
    random_state : int, Generator or None
        Of all draws.

    Returns
    -------
    ndarray of int64, shape (n, M)
    """
    rng = check_random_state(random_state)
    labels = np.asarray(labels, np.int64)
    shape = (len(labels), check_int("n_attributes", n_attributes, low=0))
    true = rng.random(shape) < check_float("agreement", agreement, low=0, high=1)
    return np.where(true, labels[:, None], rng.integers(0, int(labels.max()) + 1, shape))


def _pairs(rng: np.random.Generator, rows: np.ndarray, columns: np.ndarray, p: float) -> np.ndarray:
    """Pairs of two ranges of nodes, or of one, each with probability p: two rows of ends."""
    height, width = int(rows[1] - rows[0]), int(columns[1] - columns[0])
    same = rows[0] == columns[0]
    count = height * (height - 1) // 2 if same else height * width
    chosen = (
        rng.choice(count, int(rng.binomial(count, p)), replace=False, shuffle=False)
        if count
        else np.empty(0, int)
    )
    if not same:
        return np.stack([rows[0] + chosen // width, columns[0] + chosen % width])
    later = ((1 + np.sqrt(1 + 8 * chosen.astype(np.float64))) / 2).astype(np.int64)
    later -= later * (later - 1) // 2 > chosen  # the root may have been rounded over an integer
    return np.stack([rows[0] + chosen - later * (later - 1) // 2, rows[0] + later])
