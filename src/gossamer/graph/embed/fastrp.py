"""FastRP: node vectors from powers of a random walk times a very sparse random matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError, bad_argument
from gossamer._core.random import RandomState
from gossamer._kernels import propagate
from gossamer.graph.embed.columns import column_moments, shift_and_scale
from gossamer.graph.embed.panels import Inputs, Progress, add_up, compute, output
from gossamer.graph.embed.projection import GROUP, draw_seed
from gossamer.graph.embed.settings import Settings
from gossamer.graph.embed.walk import open_graph, rows_of, step_edges
from gossamer.graph.inputs import check_weights


def fastrp_embedding(
    A: Any,
    d: int = 128,
    *,
    weights: Sequence[float] | None = (0, 0, 1, 4),
    beta: float = -0.5,
    projection: str = "sparse",
    s: float | str = "sqrt",
    input_matrix: str = "transition",
    normalize: bool = True,
    standardize: bool = False,
    features: Any = None,
    self_weight: float = 0.0,
    q: int = 4,
    directed: bool = False,
    panel: int | None = None,
    n_threads: int | None = None,
    random_state: RandomState = None,
    out: np.ndarray | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    r"""Embed the nodes of a graph by fast random projection.

    .. math:: N = \sum_k \alpha_k\,\mathrm{rows}(A^k L R), \quad A = D^{-1} S, \quad L = \mathrm{diag}((d_j/2m)^\beta)

    with a very sparse random R: entry (i, j) of :math:`A^k` is the chance that a walk of k steps from i ends in j, and
    ``beta`` takes the pull of popular nodes out of it. No power is formed and nothing is optimised: a few products of
    the adjacency with thin matrices. Weights and ``beta`` matter: dense social graphs want three or four powers, sparse
    graphs of large diameter ten or more.

    Parameters
    ----------
    A : graph
        Anything that :func:`as_adjacency` takes, or a :class:`StoredGraph`; n nodes, no negative weights.
    d : int
        Columns.
    weights : sequence of float, or None
        ``alpha_1`` to ``alpha_q``. None returns the powers 1 to q beside each other.
    beta : float
        In [-1, 1]; -1 cancels the degree, 0 leaves walks as they are.
    projection : {"sparse", "gaussian"}
        Of which entries R is.
    s : float or "sqrt"
        See :func:`very_sparse_projection`.
    input_matrix : {"transition", "adjacency", "sym"}
        ``D^-1 S``, ``S``, or ``D^-1/2 S D^-1/2``.
    normalize : bool
        Whether rows of each power have length 1 before they are added.
    standardize : bool
        Whether columns get mean 0 and variance 1; columns of one value become 0.
    features : array or sparse matrix, shape (n, f), optional
        Properties of nodes. The last half of the columns then starts from their projection, scaled to the size of the
        first half, in place of random numbers.
    self_weight : float
        ``alpha_0``, of the node's own row of ``L R``.
    q : int
        Powers for ``weights=None``.
    directed : bool
        Whether edges have a direction; walks then follow it.
    panel : int, optional
        Compute this many columns at a time, a multiple of 32: memory is three panels beside the graph and ``out``,
        at twice the work where rows are normalised.
    n_threads : int, optional
        At most this many; the result does not depend on it.
    random_state : int, Generator or None
        Source of R.
    out : ndarray of float32, shape (n, d), optional
        Filled and returned; may be a memory map.
    progress : callable, optional
        Called with steps done and steps in all.

    Returns
    -------
    ndarray of float32, shape (n, d), or (n, q d) for ``weights=None``
        Nodes without edges have zero rows, and one warning says how many.

    Raises
    ------
    ArgumentError
        If a parameter is out of range, all weights are 0, or the graph is refused.
    ShapeError
        If features or ``out`` do not fit.

    Notes
    -----
    O(q m d) time for m edges and O(m + n d) memory: the result and at most three matrices of its size.

    References
    ----------
    Chen, Sultan, Tian, Chen, Skiena, "Fast and accurate network embeddings via very sparse random projection", CIKM
    2019, arXiv 1908.11512.

    Examples
    --------
    >>> import networkx as nx
    >>> from gossamer.graph import fastrp_embedding
    >>> fastrp_embedding(nx.karate_club_graph(), d=32, random_state=0).shape
    (34, 32)
    """
    settings = Settings(d, weights, beta, projection, s, input_matrix, normalize, self_weight, q)
    graph = open_graph(A, directed)
    plan = settings.plan(graph, draw_seed(random_state), features, n_threads)
    if panel is not None and (check_int("panel", panel, low=GROUP) % GROUP):
        raise bad_argument("panel", panel, f"a multiple of {GROUP}")
    shape = (plan.walk.n, plan.d * (plan.q if plan.alpha is None else 1))
    out = output(out, shape)
    compute(plan, out, panel=panel, progress=progress)
    if standardize:
        shift_and_scale(out, *column_moments(out, n_threads), n_threads)
    return out


class FastRP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embed the nodes of a graph by fast random projection, and nodes that come later by their edges.

    What is fitted is a graph, not a table of samples; otherwise scikit-learn's contract holds.

    Parameters
    ----------
    d : int
        Columns.
    weights, beta, projection, s, input_matrix, normalize, standardize, self_weight, directed, n_threads, random_state :
        See :func:`fastrp_embedding`.
    inductive : bool
        Keep the powers that :meth:`transform` multiplies, one matrix of the size of the embedding for each weight that
        is not zero.

    Attributes
    ----------
    embedding_ : ndarray of float32, shape (n, d)
        Vectors of the nodes.
    degrees_ : ndarray, shape (n,)
        Sums of weights.
    n_features_in_ : int
        Nodes, n.

    References
    ----------
    Chen et al., CIKM 2019, arXiv 1908.11512.

    Examples
    --------
    >>> import networkx as nx
    >>> from gossamer.graph import FastRP
    >>> graph = nx.to_scipy_sparse_array(nx.karate_club_graph())
    >>> model = FastRP(d=32, random_state=0).fit(graph)
    >>> model.transform(graph[[0]]).shape
    (1, 32)
    """

    def __init__(
        self,
        d: int = 128,
        *,
        weights: Sequence[float] = (0, 0, 1, 4),
        beta: float = -0.5,
        projection: str = "sparse",
        s: float | str = "sqrt",
        input_matrix: str = "transition",
        normalize: bool = True,
        standardize: bool = False,
        self_weight: float = 0.0,
        directed: bool = False,
        inductive: bool = True,
        n_threads: int | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.d = d
        self.weights = weights
        self.beta = beta
        self.projection = projection
        self.s = s
        self.input_matrix = input_matrix
        self.normalize = normalize
        self.standardize = standardize
        self.self_weight = self_weight
        self.directed = directed
        self.inductive = inductive
        self.n_threads = n_threads
        self.random_state = random_state

    def fit(self, A: Any, y: Any = None, *, features: Any = None) -> FastRP:
        """Embed the nodes of a graph.

        Parameters
        ----------
        A : graph
            Anything that :func:`fastrp_embedding` takes.
        y : None
            Ignored.
        features : array or sparse matrix, shape (n, f), optional
            Properties of the nodes, as in :func:`fastrp_embedding`.

        Returns
        -------
        FastRP
            This estimator.
        """
        if self.weights is None:
            raise bad_argument("weights", None, "numbers; fastrp_embedding keeps powers apart")
        shared = {field.name: getattr(self, field.name) for field in fields(Settings) if field.name != "q"}
        graph, settings = open_graph(A, self.directed), Settings(**shared)
        plan = settings.plan(graph, draw_seed(self.random_state), features, self.n_threads)
        self.embedding_ = np.empty((plan.walk.n, plan.d), np.float32)
        self._plan, self._inputs = plan, Inputs() if self.inductive and self.self_weight == 0 else None
        compute(plan, self.embedding_, inputs=self._inputs)
        self._moments = column_moments(self.embedding_, self.n_threads) if self.standardize else None
        if self._moments is not None:
            shift_and_scale(self.embedding_, *self._moments, self.n_threads)
        self.degrees_, self.n_features_in_, self._n_features_out = plan.walk.degrees, plan.walk.n, plan.d
        return self

    def fit_transform(self, A: Any, y: Any = None, *, features: Any = None) -> np.ndarray:
        """Embed the nodes of ``A``, as :meth:`fit` does, and return their vectors."""
        return self.fit(A, features=features).embedding_

    def transform(self, A: Any) -> np.ndarray:
        """Vectors of nodes by their edges to the fitted ones; edges among the new ones do not count.

        Parameters
        ----------
        A : sparse matrix, shape (r, n)
            A row of weights for each node. The rows of the fitted graph give ``embedding_``.

        Returns
        -------
        ndarray of float32, shape (r, d)

        Raises
        ------
        ShapeError
            If there are not n columns.
        ArgumentError
            If the model keeps no powers: ``inductive=False``, or a weight of the node itself, which new ones lack.
        """
        check_is_fitted(self)
        if self._inputs is None:
            raise ArgumentError("transform needs inductive=True and self_weight=0")
        if not scipy.sparse.issparse(A) or A.ndim != 2 or A.shape[1] != self.n_features_in_:
            raise ShapeError(
                f"A is {getattr(A, 'shape', type(A).__name__)}: expected sparse (r, {self.n_features_in_})"
            )
        rows = scipy.sparse.csr_array(A, copy=True)
        rows.sum_duplicates()
        rows.data = check_weights(rows.data, "A")
        walk, out = self._plan.walk, np.empty((rows.shape[0], self._plan.d), np.float32)
        degrees = np.asarray(rows.sum(axis=1, dtype=np.float64)).ravel()
        edges = step_edges(rows_of(rows), degrees, walk.n, self.input_matrix, walk.growth)
        squares = np.zeros((self._plan.q + 1, len(out)))
        powers: list[dict[int, np.ndarray]] = []
        for (a, b), kept in zip(self._inputs.bounds, self._inputs.powers, strict=True):
            powers.append({k: np.empty((len(out), b - a), np.float32) for k in self._plan.terms})
            for k, y in powers[-1].items():
                multiply = propagate.sparse if scipy.sparse.issparse(kept[k - 1]) else propagate.dense
                multiply(edges, kept[k - 1], propagate.After(y=y, squares=squares[k]), self.n_threads)
        tail = np.ones(len(degrees)) if walk.tail is None else np.sqrt(degrees)
        factors = {k: self._plan.factor(k, squares[k], tail) for k in self._plan.terms}
        for (a, _), part in zip(self._inputs.bounds, powers, strict=True):
            add_up(part, factors, out, a, self.n_threads)
        if self._moments is not None:
            shift_and_scale(out, *self._moments, self.n_threads)
        return out
