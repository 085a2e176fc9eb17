"""Select columns without labels, by how strongly a sparse autoencoder comes to use them."""

from __future__ import annotations

import math
import time
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, validate_data

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer.learn.select.column_scale import ColumnScale, dense_rows
from gossamer.nn import SparseDAE

CRITERIA = ("input", "output", "combined", "degree")
SCALES = {True: "standard", False: "none", "minmax": "minmax"}
AUTO_BATCHES = 1000  # that epochs="auto" trains at least
EVOLVE_AFTER = 10  # batches of a stream


class QuickSelection(SelectorMixin, BaseEstimator):
    r"""Keep the K columns with the strongest neurons in a sparse denoising autoencoder (QuickSelection).

    A :class:`gossamer.nn.SparseDAE` learns to rebuild the columns while its sparse topology evolves; connections of
    columns that help do grow and stay. The strength of column i is ``s_i = sum_j |W1_ij|``, and the K strongest are
    selected. No label is used, no dense weight exists; time and memory are linear in rows and columns.

    Parameters
    ----------
    n_features_to_select : int or float
        Columns to keep, or their share in (0, 1).
    n_hidden : int or sequence of int
        Hidden units, of each hidden layer.
    epsilon : float
        A layer stores ``epsilon (inputs + outputs)`` weights.
    zeta : float
        Share of the weights that moves after each epoch.
    noise : float
        Standard deviation of the noise on the scaled input.
    noise_draws : {"once", "per_epoch"}
        Whether a row meets the same noise in every epoch.
    epochs : int or "auto"
        Passes over the data. "auto": at least 10, and as many as give 1,000 batches, which small tables need.
    batch_size, learning_rate, momentum, weight_decay, dropout, activation, output :
        See :class:`gossamer.nn.SparseDAE`.
    strength : {"final", "pruned"}
        Read the strengths from the weights after the last epoch, or, as the published code does, from what survived
        the last removal (until a first one: as "final").
    criterion : {"input", "output", "combined", "degree"}
        Sums of \|weights\| out of an input neuron, into an output neuron, both (each divided by its mean), or the
        number of connections of an input neuron.
    standardize : bool or "minmax"
        Scale columns to mean 0 and variance 1, not at all, or to [0, 1]. Without, strength follows the scale of
        columns.
    n_runs : int
        Independent autoencoders on disjoint shares of the rows, whose strengths are averaged.
    n_jobs : int, optional
        Runs that train at the same time, in threads.
    n_threads : int, optional
        Threads of each run. The result depends on neither.
    dtype : {"float32", "float64"}
        Of the autoencoder; X is converted a batch at a time.
    backend : {"native", "scipy"}
        See :class:`gossamer.nn.EvolvingWeight`.
    random_state : int, Generator or None
        Source of all draws.
    verbose : int
        Print a line an epoch.

    Attributes
    ----------
    scores_ : ndarray, shape (n_features,)
        Strengths; 0 for columns of one value.
    ranking_ : ndarray of int, shape (n_features,)
        1 is the strongest; of equal ones the first comes first, columns of one value come last.
    support_ : ndarray of bool, shape (n_features,)
        Columns that are kept.
    autoencoder_ : SparseDAE
        Of the first run; its ``nbytes`` and ``flops_per_sample`` are what it costs.
    history_ : dict
        Of the first run: "loss" and "seconds" of each epoch, and "strength", an array of epochs by features.
    stability_ : float
        Mean share of the selected columns that two runs have in common; 1 for a single run.
    n_iter_ : int
        Epochs.
    n_features_in_ : int
        Columns of X.

    Raises
    ------
    ArgumentError, ValueError
        For parameters out of range, more columns to select than there are, NaN or infinity in X, a single row.

    Notes
    -----
    A batch costs ``6 nnz batch_size`` flops with ``nnz = 2 epsilon (n + n_hidden)``. CSR input and memory maps are
    read a batch at a time, and CSR gives the same bits as the same dense table. :meth:`partial_fit` learns from
    a stream.

    References
    ----------
    Atashgahi et al., "Quick and robust feature selection: the strength of energy-efficient sparse training for
    autoencoders", Machine Learning 2021, arXiv 2012.00560.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import QuickSelection
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 60))
    >>> X[:, :20] = rng.normal(size=(1000, 3)) @ rng.normal(size=(3, 20)) + 0.1 * X[:, :20]
    >>> selector = QuickSelection(10, n_hidden=100, epochs=10, random_state=0).fit(X)
    >>> int(selector.get_support(indices=True).max()) < 20
    True
    >>> selector.transform(X).shape
    (1000, 10)
    """

    def __init__(
        self,
        n_features_to_select: int | float = 50,
        *,
        n_hidden: Any = 1000,
        epsilon: float = 13.0,
        zeta: float = 0.2,
        noise: float = 0.2,
        noise_draws: str = "once",
        epochs: int | str = 10,
        batch_size: int = 100,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 1e-5,
        dropout: float = 0.2,
        activation: str = "sigmoid",
        output: str = "linear",
        strength: str = "final",
        criterion: str = "input",
        standardize: bool | str = True,
        n_runs: int = 1,
        n_jobs: int | None = None,
        n_threads: int | None = None,
        dtype: str = "float32",
        backend: str = "native",
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.n_features_to_select = n_features_to_select
        self.n_hidden = n_hidden
        self.epsilon = epsilon
        self.zeta = zeta
        self.noise = noise
        self.noise_draws = noise_draws
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.activation = activation
        self.output = output
        self.strength = strength
        self.criterion = criterion
        self.standardize = standardize
        self.n_runs = n_runs
        self.n_jobs = n_jobs
        self.n_threads = n_threads
        self.dtype = dtype
        self.backend = backend
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> QuickSelection:
        """Train on X, and select.

        Parameters
        ----------
        X : array or sparse matrix, shape (n_samples, n_features)
            Real numbers of any type; rows are converted and made dense a batch at a time.
        y : ignored
        """
        X = validate_data(self, X, accept_sparse="csr", dtype="numeric", ensure_min_samples=2)
        K, rng = self._checked(X.shape[1]), check_random_state(self.random_state)
        runs = check_int("n_runs", self.n_runs, low=1)
        if X.shape[0] < 2 * runs:
            raise bad_argument("n_runs", runs, f"at most {X.shape[0] // 2}, two rows for each of them")
        scale = ColumnScale(X.shape[1], SCALES[self.standardize])
        scale.update(X, self.batch_size)
        shards = np.array_split(rng.permutation(X.shape[0]), runs) if runs > 1 else [np.arange(X.shape[0])]
        seeds = rng.integers(2**31, size=runs)
        jobs = (
            delayed(self._run)(X, rows, scale, int(seed)) for rows, seed in zip(shards, seeds, strict=True)
        )
        results = Parallel(n_jobs=self.n_jobs, prefer="threads")(jobs)
        self.autoencoder_, self.history_ = results[0]
        self.n_iter_ = len(self.history_["loss"])
        strengths = [history["strength"][-1].astype(float) for _, history in results]
        self._scale, self._evolved_at, self._survivors = scale, 0, None  # from where a stream would go on
        self._select(
            np.mean([s / (s.mean() or 1) for s in strengths], axis=0) if runs > 1 else strengths[0], K
        )
        chosen = [set(self._order(s)[:K]) for s in strengths]
        shares = [len(a & b) / K for i, a in enumerate(chosen) for b in chosen[:i]]
        self.stability_ = float(np.mean(shares)) if shares else 1.0
        return self

    def partial_fit(self, X: Any, y: Any = None) -> QuickSelection:
        """Learn from further rows of a stream: one pass over them, then a new selection.

        The topology evolves at the start of a call when at least ten batches were trained since it last did.
        Columns are scaled by what the stream has shown so far; every row meets new noise.

        Parameters
        ----------
        X : array or sparse matrix, shape (n_samples, n_features)
            At least two rows in the first call.
        y : ignored
        """
        first = not hasattr(self, "autoencoder_")
        least = 2 if first else 1
        X = validate_data(
            self, X, accept_sparse="csr", dtype="numeric", ensure_min_samples=least, reset=first
        )
        K = self._checked(X.shape[1])
        if self.n_runs != 1:
            raise bad_argument("n_runs", self.n_runs, "1 for a stream")
        if first:
            self._scale = ColumnScale(X.shape[1], SCALES[self.standardize])
            self.autoencoder_ = self._autoencoder(X.shape[1], check_random_state(self.random_state))
            self.history_ = {"loss": [], "seconds": [], "strength": np.empty((0, X.shape[1]))}
            self.n_iter_, self.stability_ = 0, 1.0
            self._evolved_at, self._survivors = 0, None
        self._scale.update(X, self.batch_size)
        if self.autoencoder_.n_steps - self._evolved_at >= EVOLVE_AFTER:
            self._survivors = self.autoencoder_.evolve()
            self._evolved_at = self.autoencoder_.n_steps
        self._epoch(
            X, np.arange(X.shape[0]), self._scale, self.autoencoder_, self.history_, self._survivors, None
        )
        self.n_iter_ += 1
        self._select(self.history_["strength"][-1].astype(float), K)
        return self

    def _checked(self, n: int) -> int:
        """The number of columns to keep; what the autoencoder does not check itself is checked here."""
        check_choice("noise_draws", self.noise_draws, ("once", "per_epoch"))
        check_choice("strength", self.strength, ("final", "pruned"))
        check_choice("criterion", self.criterion, CRITERIA)
        check_choice("standardize", self.standardize, SCALES)
        check_int("batch_size", self.batch_size, low=1)
        if self.epochs != "auto":
            check_int("epochs", self.epochs, low=1)
        K = self.n_features_to_select
        if isinstance(K, Integral) and not isinstance(K, bool):
            if not 1 <= K <= n:
                raise bad_argument("n_features_to_select", K, f"at least 1 and at most the {n} columns of X")
            return int(K)
        return max(round(check_float("n_features_to_select", K, low=0, high=1, closed="neither") * n), 1)

    def _autoencoder(self, n: int, rng: Any) -> SparseDAE:
        return SparseDAE(
            n, self.n_hidden, epsilon=self.epsilon, zeta=self.zeta, noise=self.noise, batch_size=self.batch_size,
            learning_rate=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay,
            dropout=self.dropout, activation=self.activation, output=self.output, dtype=self.dtype,
            backend=self.backend, n_threads=self.n_threads, random_state=rng,
        )  # fmt: skip

    def _run(
        self, X: Any, rows: np.ndarray, scale: ColumnScale, seed: int
    ) -> tuple[SparseDAE, dict[str, Any]]:
        model = self._autoencoder(X.shape[1], seed)
        batches = max(len(rows) // self.batch_size, 1)
        epochs = max(10, math.ceil(AUTO_BATCHES / batches)) if self.epochs == "auto" else int(self.epochs)
        history: dict[str, Any] = {"loss": [], "seconds": [], "strength": np.empty((0, X.shape[1]))}
        survivors = None
        for epoch in range(epochs):
            if epoch:
                survivors = model.evolve()
            ids = rows if self.noise_draws == "once" else None
            self._epoch(X, rows, scale, model, history, survivors, ids)
            if self.verbose:
                print(f"epoch {epoch + 1} of {epochs}: loss {history['loss'][-1]:.4g}")
        return model, history

    def _epoch(
        self,
        X: Any,
        rows: np.ndarray,
        scale: ColumnScale,
        model: SparseDAE,
        history: dict[str, Any],
        survivors: list[Any] | None,
        ids: np.ndarray | None,
    ) -> None:
        began = time.perf_counter()
        losses = []
        for batch in model.batches(len(rows)):
            clean = scale.apply(dense_rows(X, rows[batch]), model.dtype)
            losses.append(model.train_batch(clean, None if ids is None else ids[batch]))
        weights = survivors if self.strength == "pruned" and survivors is not None else model.weights
        strength = neuron_strength(weights, self.criterion).astype(np.float32)
        history["loss"].append(float(np.mean(losses)))
        history["seconds"].append(time.perf_counter() - began)
        history["strength"] = np.vstack([history["strength"], strength], dtype=np.float32)

    def _order(self, strength: np.ndarray) -> np.ndarray:
        return np.lexsort((-strength, self._scale.constant))

    def _select(self, strength: np.ndarray, K: int) -> None:
        self.scores_ = np.where(self._scale.constant, 0.0, strength)
        order = self._order(self.scores_)
        self.ranking_ = np.empty(len(order), np.int64)
        self.ranking_[order] = np.arange(1, len(order) + 1)
        self.support_ = self.ranking_ <= K

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self, "support_")
        return self.support_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def neuron_strength(weights: list[scipy.sparse.csr_array], criterion: str = "input") -> np.ndarray:
    """How strongly the columns are connected in an autoencoder with these weights.

    Parameters
    ----------
    weights : list of csr_array
        From the input to the output, (inputs, outputs) each, as :attr:`gossamer.nn.SparseDAE.weights`.
    criterion : {"input", "output", "combined", "degree"}
        See :class:`QuickSelection`.

    Returns
    -------
    ndarray, shape (n_features,)
    """
    check_choice("criterion", criterion, CRITERIA)
    first, last = weights[0], weights[-1]
    if first.shape[0] != last.shape[1]:
        raise ArgumentError(
            f"weights lead from {first.shape[0]} to {last.shape[1]} columns: expected as many"
        )
    if criterion == "degree":
        return np.diff(first.indptr).astype(float)
    into, out = abs(last).sum(axis=0), abs(first).sum(axis=1)
    if criterion == "combined":
        return out / (out.mean() or 1) + into / (into.mean() or 1)
    return out if criterion == "input" else into
