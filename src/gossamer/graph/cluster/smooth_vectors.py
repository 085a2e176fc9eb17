"""An embedding of a graph by what multigrid cannot reduce."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.random import RandomState
from gossamer.graph.cluster.laplacian import laplacian_spd
from gossamer.solve.multigrid.bootstrap import BootstrapAMG

DEPENDENT = 1e-10
"""Singular values below this times the largest one belong to directions that are not there."""


def smooth_vectors(
    A: Any,
    max_hierarchies: int = 40,
    *,
    conv_ratio: float = 1e-6,
    solver_it: int = 15,
    weighted: bool = False,
    random_state: RandomState = None,
) -> np.ndarray:
    """Vectors that vary slowly along the edges of a graph, in linear time: the span of its lowest eigenvectors, nearly.

    They are what composites of ever more multigrid hierarchies for the Laplacian (:func:`laplacian_spd`) leave of
    random vectors, after a first one that is constant. Use as many as there are clusters to be told apart, and more.

    Parameters
    ----------
    A : sparse matrix, networkx graph, edges, or path, of n nodes
        An undirected graph, as in :func:`as_adjacency`.
    max_hierarchies : int
        Most hierarchies, one vector each; fewer if the composite converges.
    conv_ratio : float
        The ratio of energy norms at which it has.
    solver_it : int
        Steps of the composite for each vector.
    weighted : bool
        Whether weights count; if not, every edge has weight 1.
    random_state : int, Generator or None
        Of the random vectors.

    Returns
    -------
    ndarray of float64, shape (n, r + 1)
        For r hierarchies; all but the first have energy 1.

    Raises
    ------
    ArgumentError, ShapeError, UnsupportedError, FormatError
        As :func:`as_adjacency`.

    Notes
    -----
    ``solver_it r (r + 1) / 2`` multigrid cycles, O(edges) each.

    References
    ----------
    D'Ambra, Cutillo, Vassilevski, "Bootstrap AMG for spectral clustering", Computational and Mathematical Methods 1(2),
    2019.

    Examples
    --------
    >>> import networkx as nx, numpy as np
    >>> from gossamer.graph import smooth_vectors
    >>> W = smooth_vectors(nx.barbell_graph(20, 0), 5, random_state=0)
    >>> bool(np.ptp(W[:19, 1]) < 0.01 * abs(W[0, 1] - W[-1, 1]))
    True
    """
    solver = BootstrapAMG(max_hierarchies, conv_ratio, solver_it, random_state=random_state)
    return solver.setup(laplacian_spd(A, weighted=weighted)).smooth_vectors_


def orthonormal_coordinates(W: np.ndarray) -> np.ndarray:
    """The left singular vectors of smooth vectors; a row is the place of a node, (n, rank)."""
    U, s, _ = np.linalg.svd(W, full_matrices=False)
    return U[:, s > DEPENDENT * s[0]]
