"""FastRP: node vectors from powers of a random walk times a very sparse random matrix."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError, bad_argument
from gossamer._core.random import RandomState
from gossamer._kernels import propagate
from gossamer.graph.embed.panels import Inputs, Plan, Progress, add_up, compute, row_blocks
from gossamer.graph.embed.projection import GROUP, draw_seed, gaussian_columns, sparse_columns, sparsity
from gossamer.graph.embed.walk import MATRICES, make_walk, step_edges
from gossamer.graph.inputs import as_adjacency, check_weights


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
        Anything that :func:`as_adjacency` takes; n nodes, no negative weights.
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
    adjacency = as_adjacency(A, directed=directed, name="A")
    plan = make_plan(
        adjacency, d, weights, beta, projection, s, input_matrix, normalize, features, self_weight, q, n_threads,
        random_state,
    )  # fmt: skip
    if panel is not None and (check_int("panel", panel, low=GROUP) % GROUP):
        raise bad_argument("panel", panel, f"a multiple of {GROUP}")
    shape = (adjacency.shape[0], plan.d * (plan.q if plan.alpha is None else 1))
    if out is None:
        out = np.empty(shape, np.float32)
    elif out.shape != shape or out.dtype != np.float32:
        raise ShapeError(f"out is {out.dtype} of shape {out.shape}: expected float32 of shape {shape}")
    compute(plan, out, panel=panel, progress=progress)
    if standardize:
        shift_and_scale(out, *column_moments(out))
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

    def fit(self, A: Any, y: Any = None) -> FastRP:
        """Embed the nodes of ``A``, anything that :func:`as_adjacency` takes."""
        if self.weights is None:
            raise bad_argument("weights", None, "numbers; fastrp_embedding keeps powers apart")
        adjacency = as_adjacency(A, directed=self.directed, name="A")
        plan = make_plan(
            adjacency, self.d, self.weights, self.beta, self.projection, self.s, self.input_matrix, self.normalize,
            None, self.self_weight, 1, self.n_threads, self.random_state,
        )  # fmt: skip
        self.embedding_ = np.empty((adjacency.shape[0], plan.d), np.float32)
        self._plan, self._inputs = plan, Inputs() if self.inductive and self.self_weight == 0 else None
        compute(plan, self.embedding_, inputs=self._inputs)
        self._moments = column_moments(self.embedding_) if self.standardize else None
        if self._moments is not None:
            shift_and_scale(self.embedding_, *self._moments)
        self.degrees_, self.n_features_in_, self._n_features_out = (
            plan.walk.degrees,
            len(self.embedding_),
            plan.d,
        )
        return self

    def fit_transform(self, A: Any, y: Any = None) -> np.ndarray:
        """Embed the nodes of ``A`` and return their vectors."""
        return self.fit(A).embedding_

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
        rows = scipy.sparse.csr_array(
            (check_weights(rows.data, "A"), rows.indices, rows.indptr), shape=rows.shape
        )
        walk, out = self._plan.walk, np.empty((rows.shape[0], self._plan.d), np.float32)
        degrees = np.asarray(rows.sum(axis=1, dtype=np.float64)).ravel()
        edges = step_edges(rows, degrees, self.input_matrix, walk.growth)
        squares = np.zeros((self._plan.q + 1, len(out)))
        powers: list[dict[int, np.ndarray]] = []
        for (a, b), kept in zip(self._inputs.bounds, self._inputs.powers, strict=True):
            powers.append({k: np.empty((len(out), b - a), np.float32) for k in self._plan.terms})
            for k, y in powers[-1].items():
                multiply = propagate.sparse if scipy.sparse.issparse(kept[k - 1]) else propagate.dense
                multiply(edges, kept[k - 1], propagate.After(y=y, squares=squares[k]), self.n_threads)
        tail = None if walk.tail is None else np.sqrt(degrees)
        factors = {k: self._plan.factor(k, squares[k], tail) for k in self._plan.terms}
        for (a, b), part in zip(self._inputs.bounds, powers, strict=True):
            add_up(part, factors, out[:, a:b])
        if self._moments is not None:
            shift_and_scale(out, *self._moments)
        return out


def make_plan(
    A: scipy.sparse.csr_array,
    d: int,
    weights: Sequence[float] | None,
    beta: float,
    projection: str,
    s: float | str,
    input_matrix: str,
    normalize: bool,
    features: Any,
    self_weight: float,
    q: int,
    n_threads: int | None,
    random_state: RandomState,
) -> Plan:
    """Check the parameters of an embedding, and draw its seed."""
    d, n = check_int("d", d, low=1), A.shape[0]
    beta = check_float("beta", beta, low=-1, high=1)
    check_choice("projection", projection, ("sparse", "gaussian"))
    check_choice("input_matrix", input_matrix, MATRICES)
    s = sparsity(s, n)
    alpha = None
    if weights is not None:
        alpha = (check_float("self_weight", self_weight), *(check_float("weights", w) for w in weights))
        if len(alpha) == 1 or not any(alpha):
            raise bad_argument("weights", tuple(weights), "at least one that is not zero")
        q = len(alpha) - 1
        while q > 1 and alpha[q] == 0:
            q -= 1
    walk, seed = make_walk(A, beta, input_matrix), draw_seed(random_state)
    alone = int((walk.degrees == 0).sum())
    if alone:
        warnings.warn(
            f"{alone} of {n} nodes have no edges: their vectors are zero", UserWarning, stacklevel=3
        )
    own = d if features is None else -(-d // 2)
    head = walk.head[:, None]

    def random_columns(first: int, last: int) -> Any:
        if projection == "gaussian":
            return gaussian_columns(seed, n, own, first, last) * head.astype(np.float32)
        R = sparse_columns(seed, n, own, s, first, last).tocsr()
        R.data *= np.repeat(walk.head, np.diff(R.indptr))
        return R.astype(np.float32)

    properties = None if features is None else _project(features, n, d - own, seed, random_columns(0, own))

    def start(first: int, last: int) -> Any:
        if properties is None or last <= own:
            return random_columns(first, last)
        second = properties[:, max(first - own, 0) : last - own]
        if first >= own:
            return np.ascontiguousarray(second)
        left = random_columns(first, own)
        return np.hstack([left.toarray() if scipy.sparse.issparse(left) else left, second])

    return Plan(walk, start, d, alpha, check_int("q", q, low=1), normalize, n_threads)


def _project(features: Any, n: int, d: int, seed: int, beside: Any) -> np.ndarray:
    """Features (n, f) times a very sparse matrix (f, d), with entries as large in the mean as those ``beside``."""
    X = features if scipy.sparse.issparse(features) else check_array("features", np.asarray(features), ndim=2)
    if X.ndim != 2 or X.shape[0] != n or not X.shape[1]:
        raise ShapeError(f"features have shape {X.shape}: expected ({n}, f)")
    P = sparse_columns(seed ^ 1, X.shape[1], max(d, 1), sparsity("sqrt", X.shape[1]), 0, d).tocsr()
    mapped = X @ P
    mapped = (mapped.toarray() if scipy.sparse.issparse(mapped) else mapped).astype(np.float64)
    there = scipy.sparse.linalg.norm(beside) if scipy.sparse.issparse(beside) else np.linalg.norm(beside)
    size = np.linalg.norm(mapped)
    return (mapped * (there * np.sqrt(max(d, 1) / beside.shape[1]) / (size or 1))).astype(np.float32)


def column_moments(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each column and the reciprocal of its deviation, 0 where all values are one; float64."""
    blocks = list(row_blocks(*X.shape))
    mean = sum(X[rows].sum(axis=0, dtype=np.float64) for rows in blocks) / len(X)
    variance = sum(np.square(X[rows] - mean).sum(axis=0) for rows in blocks) / len(X)
    deviation = np.sqrt(variance)
    varies = deviation > 1e-6 * np.abs(mean)
    return mean, np.where(varies, 1 / np.where(varies, deviation, 1), 0)


def shift_and_scale(X: np.ndarray, mean: np.ndarray, inverse: np.ndarray) -> None:
    """Subtract and multiply columns, in place."""
    for rows in row_blocks(*X.shape):
        X[rows] = (X[rows] - mean) * inverse
