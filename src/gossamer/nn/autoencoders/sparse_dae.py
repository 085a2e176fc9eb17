"""A denoising autoencoder whose weights are sparse all the time, trained by sparse evolutionary training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.random import RandomState, check_random_state
from gossamer._core.threads import get_threads
from gossamer._kernels.evolve import ACTIVATIONS, activate, add_noise, derive
from gossamer.nn.linear.evolving import EvolvingWeight


class SparseDAE:
    r"""Sparse denoising autoencoder: rebuild the clean x from ``x + noise N(0, 1)``, with sparse weights only.

    Layers n -> hidden -> n hold :class:`EvolvingWeight` matrices: products, gradients and momenta exist at the stored
    entries alone. Training is SGD with momentum on ``|y - x|^2 / 2``, the mean over a batch; :meth:`evolve` moves the
    weakest entries and is called between epochs.

    Parameters
    ----------
    n_features : int
        Columns of X.
    hidden : int or sequence of int
        Units of the hidden layers.
    epsilon : float
        Each layer stores ``floor(epsilon (inputs + outputs))`` weights, at most all.
    zeta : float
        Share of the weights of each sign that :meth:`evolve` moves.
    noise : float
        Standard deviation of the noise on the input.
    batch_size : int
        Rows of a step; the rest of a pass that does not fill a batch is left out, unless it is all there is.
    learning_rate, momentum, weight_decay : float
        Of the steps; the decay is taken from the weights as it is, not times the rate.
    dropout : float
        Share of hidden values that a step masks; without training they are multiplied by ``1 - dropout`` instead.
    activation, output : {"sigmoid", "tanh", "relu", "leaky_relu", "linear"}
        Of the hidden units, and of the outputs.
    slope : float
        Of "leaky_relu" below zero.
    dtype : {"float32", "float64"}
        Of weights and activations.
    backend : {"native", "scipy"}
        See :class:`EvolvingWeight`.
    n_threads : int, optional
        At most this many; results do not depend on it.
    random_state : int, Generator or None
        Source of weights, noise, dropout and new places.

    Attributes
    ----------
    layers : list of EvolvingWeight
        From the input to the output.
    n_steps, n_samples_seen : int
        Batches and rows trained on.

    Raises
    ------
    ArgumentError, ShapeError
        For parameters out of range, NaN in X, and X with other columns.

    Notes
    -----
    A step costs ``6 nnz m`` flops (less what the first layer does not pass back), nnz the weights of all layers and m
    the rows: linear in the number of features. Memory is O(nnz + m (n + hidden)).

    References
    ----------
    Atashgahi et al., "Quick and robust feature selection: the strength of energy-efficient sparse training for
    autoencoders", Machine Learning 2021, arXiv 2012.00560.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.nn import SparseDAE
    >>> X = np.random.default_rng(0).normal(size=(500, 5)) @ np.random.default_rng(1).normal(size=(5, 60))
    >>> model = SparseDAE(60, hidden=50, learning_rate=0.05, random_state=0)
    >>> first = model.partial_fit(X)
    >>> for _ in range(20):
    ...     survivors = model.evolve()
    ...     loss = model.partial_fit(X)
    >>> loss < first, model.nnz
    (True, 2860)
    """

    def __init__(
        self,
        n_features: int,
        hidden: int | Sequence[int] = 1000,
        *,
        epsilon: float = 13.0,
        zeta: float = 0.2,
        noise: float = 0.2,
        batch_size: int = 100,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 1e-5,
        dropout: float = 0.2,
        activation: str = "sigmoid",
        output: str = "linear",
        slope: float = 0.01,
        dtype: Any = "float32",
        backend: str = "native",
        n_threads: int | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.n_features = check_int("n_features", n_features, low=1)
        units = [hidden] if np.ndim(hidden) == 0 else list(hidden)  # type: ignore[arg-type]
        self.hidden = tuple(check_int("hidden", count, low=1) for count in units)
        if not self.hidden:
            raise ArgumentError("hidden=(): expected at least one layer")
        self.zeta = check_float("zeta", zeta, low=0, high=1, closed="left")
        self.noise = check_float("noise", noise, low=0)
        self.batch_size = check_int("batch_size", batch_size, low=1)
        self.learning_rate = check_float("learning_rate", learning_rate, low=0, closed="neither")
        self.momentum = check_float("momentum", momentum, low=0, high=1, closed="left")
        self.weight_decay = check_float("weight_decay", weight_decay, low=0, high=1, closed="left")
        self.dropout = check_float("dropout", dropout, low=0, high=1, closed="left")
        self.activation = check_choice("activation", activation, ACTIVATIONS)
        self.output = check_choice("output", output, ACTIVATIONS)
        self.slope = check_float("slope", slope, low=0, closed="left")
        self.n_threads = None if n_threads is None else check_int("n_threads", n_threads, low=1)
        self._rng = check_random_state(random_state)
        sides = (self.n_features, *self.hidden, self.n_features)
        self.layers = [
            EvolvingWeight(a, b, epsilon=epsilon, dtype=dtype, backend=backend, random_state=self._rng)
            for a, b in itertools.pairwise(sides)
        ]
        self.dtype = self.layers[0].dtype
        self._noise_seed, self._drop_seed = (int(seed) for seed in self._rng.integers(2**63, size=2))
        self.n_steps = self.n_samples_seen = 0

    @property
    def weights(self) -> list[scipy.sparse.csr_array]:
        """Copies of the weights, (inputs, outputs) each."""
        return [layer.to_csr() for layer in self.layers]

    @property
    def nnz(self) -> int:
        """Stored weights of all layers, without biases."""
        return sum(layer.nnz for layer in self.layers)

    @property
    def nbytes(self) -> int:
        """Bytes of weights, momenta, biases and indices."""
        return sum(layer.nbytes for layer in self.layers)

    @property
    def flops_per_sample(self) -> int:
        """Multiplications and additions at weights that training takes a row: forward, backward, gradients."""
        return 6 * self.nnz - 2 * self.layers[0].nnz

    def train_batch(self, X: Any, ids: Any = None) -> float:
        """Take one step on a batch.

        Parameters
        ----------
        X : array, shape (m, n_features)
            Clean rows, dense or sparse.
        ids : array of int, shape (m,), optional
            Rows with the same id get the same noise each time; None draws new noise.

        Returns
        -------
        float
            Mean squared error of an entry before the step, with noise and dropout.
        """
        clean = self._columns(X)
        m = clean.shape[1]
        if not m:
            raise ShapeError("X has no rows: expected a batch")
        if ids is None:  # negative, so that no row's own id meets them
            ids = -1 - np.arange(self.n_samples_seen, self.n_samples_seen + m)
        threads = get_threads(self.n_threads)
        u = clean
        if self.noise:
            u = add_noise(clean, np.asarray(ids, np.int64), self._noise_seed, self.noise, threads)
        values = [u]
        for i, layer in enumerate(self.layers):
            z = layer.forward(values[i], threads)
            values.append(activate(z, layer.bias, threads=threads, **self._kind(i)))
        y = values.pop()
        if self.output == "linear":
            d = np.subtract(y, clean, out=y)
            loss = float(np.vdot(d, d)) / d.size
        else:
            d = y - clean
            loss = float(np.vdot(d, d)) / d.size
            derive(d, y, threads=threads, **self._kind(len(self.hidden)))
        for i in reversed(range(len(self.layers))):
            layer = self.layers[i]
            back = None
            if i:
                back = derive(layer.backward(d, threads), values[i], threads=threads, **self._kind(i - 1))
            layer.update(values[i], d, self.learning_rate, self.momentum, self.weight_decay, threads)
            if back is not None:
                d = back
        self.n_steps += 1
        self.n_samples_seen += m
        return loss

    def _kind(self, layer: int) -> dict[str, Any]:
        """What follows a layer in this step."""
        if layer == len(self.hidden):
            return {"kind": self.output, "slope": self.slope}
        seed = self._drop_seed + self.n_steps * len(self.hidden) + layer
        return {"kind": self.activation, "slope": self.slope, "drop": self.dropout, "seed": seed}

    def partial_fit(self, X: Any, y: Any = None) -> float:
        """Pass once over the rows of X in random order; returns the mean loss of its batches.

        Parameters
        ----------
        X : array or sparse matrix, shape (N, n_features)
            Clean rows; only one batch at a time is made dense.
        y : ignored
        """
        X = self._rows(X)
        return float(np.mean([self.train_batch(X[rows]) for rows in self.batches(X.shape[0])]))

    def batches(self, count: int) -> list[np.ndarray]:
        """Rows of the batches of one pass over ``count`` rows: a random order, cut."""
        order = self._rng.permutation(check_int("count", count, low=1))
        m = min(self.batch_size, count)
        return [order[i : i + m] for i in range(0, count - m + 1, m)]

    def evolve(self) -> list[scipy.sparse.csr_array]:
        """Move the weakest share of the weights of every layer; returns what survived, before the growth."""
        return [layer.evolve(self.zeta) for layer in self.layers]

    def encode(self, X: Any) -> np.ndarray:
        """Values (N, hidden[-1]) of the last hidden layer, without noise."""
        return self._pass(X, self.layers[:-1])

    def reconstruct(self, X: Any) -> np.ndarray:
        """Outputs (N, n_features) for X of the same shape, without noise."""
        return self._pass(X, self.layers)

    def _pass(self, X: Any, layers: list[EvolvingWeight]) -> np.ndarray:
        X = self._rows(X)
        out = np.empty((X.shape[0], layers[-1].n_outputs), self.dtype)
        for start in range(0, X.shape[0], self.batch_size):
            u = self._columns(X[start : start + self.batch_size])
            for i, layer in enumerate(layers):
                kind = self.output if i == len(self.hidden) else self.activation
                u = activate(
                    layer.forward(u, self.n_threads),
                    layer.bias,
                    kind,
                    slope=self.slope,
                    threads=self.n_threads,
                )
                if i < len(self.hidden) and self.dropout:
                    u *= 1 - self.dropout
            out[start : start + u.shape[1]] = u.T
        return out

    def _rows(self, X: Any) -> Any:
        if scipy.sparse.issparse(X):
            X = X.tocsr()
        else:
            X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ShapeError(f"X has shape {X.shape}: expected (N, {self.n_features})")
        return X

    def _columns(self, X: Any) -> np.ndarray:
        """Rows as contiguous columns of the dtype, checked."""
        X = self._rows(X)
        dense = X.toarray() if scipy.sparse.issparse(X) else X
        return np.ascontiguousarray(check_array("X", dense, ndim=2).T, self.dtype)
