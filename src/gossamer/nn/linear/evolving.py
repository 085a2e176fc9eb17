"""A sparse weight that is trained at its stored entries alone, and whose entries move."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.random import RandomState, check_random_state
from gossamer._kernels.evolve import Layer
from gossamer.linalg.random_positions import draw_positions, erdos_renyi_count
from gossamer.nn.linear.evolving_scipy import ScipyLayer

SPREAD = 0.1  # standard deviation of new entries
BACKENDS = {"native": Layer, "scipy": ScipyLayer}


class EvolvingWeight:
    r"""A sparse weight (inputs, outputs) for sparse evolutionary training: no mask, and nothing dense.

    Entries start at places drawn without preference (an Erdos-Renyi graph). A step of momentum,
    ``V = momentum V - rate G``, ``W += V - decay W``, touches the stored entries; :meth:`evolve` moves the share of
    them that is closest to zero to other places. The number of entries stays.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Shape.
    epsilon : float
        ``floor(epsilon (n_inputs + n_outputs))`` entries are stored, at most all.
    dtype : {"float32", "float64"}
        Of the values.
    backend : {"native", "scipy"}
        Compiled, or SciPy and NumPy: the same numbers up to rounding, slower.
    random_state : int, Generator or None
        Source of places and values, at the start and in :meth:`evolve`.

    Attributes
    ----------
    bias : ndarray, shape (n_outputs,)
        Starts at zero.
    n_inputs, n_outputs, dtype
        As given.

    Raises
    ------
    ArgumentError
        For parameters out of range.

    Notes
    -----
    Activations are feature-major, (features, batch): an entry then multiplies contiguous rows. All operations are
    linear in the stored entries. Results do not depend on the number of threads.

    References
    ----------
    Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by
    network science", Nature Communications 2018.

    Examples
    --------
    >>> from gossamer.nn import EvolvingWeight
    >>> W = EvolvingWeight(200, 100, epsilon=2, random_state=0)
    >>> W.nnz, W.evolve(0.3).nnz < W.nnz
    (600, True)
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        *,
        epsilon: float = 13.0,
        dtype: Any = "float32",
        backend: str = "native",
        random_state: RandomState = None,
    ) -> None:
        self.n_inputs = check_int("n_inputs", n_inputs, low=1)
        self.n_outputs = check_int("n_outputs", n_outputs, low=1)
        self.dtype = np.dtype(check_choice("dtype", np.dtype(dtype).name, ("float32", "float64")))
        layer = BACKENDS[check_choice("backend", backend, BACKENDS)]
        count = erdos_renyi_count(n_inputs, n_outputs, epsilon)
        self._rng = check_random_state(random_state)
        places = draw_positions(self.n_inputs * self.n_outputs, count, self._rng)
        outputs, inputs = np.divmod(places, self.n_inputs)
        start = np.searchsorted(outputs, np.arange(self.n_outputs + 1))
        self._layer: Any = layer(
            start, inputs, self._new_values(count), np.zeros(self.n_outputs, self.dtype), self.n_inputs
        )

    def _new_values(self, count: int) -> np.ndarray:
        return (SPREAD * self._rng.standard_normal(count)).astype(self.dtype)

    @property
    def bias(self) -> np.ndarray:
        """Bias (n_outputs,), a view."""
        return self._layer.bias

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return self._layer.nnz

    @property
    def nbytes(self) -> int:
        """Bytes of values, momenta, biases and indices, in both orders that the products need."""
        return self._layer.nbytes

    def to_csr(self) -> scipy.sparse.csr_array:
        """A copy of the weight by inputs: (n_inputs, n_outputs)."""
        return self._csr(slice(None))

    def _csr(self, keep: Any) -> scipy.sparse.csr_array:
        outputs = np.repeat(np.arange(self.n_outputs, dtype=np.int32), np.diff(self._layer.start))
        where = (self._layer.inputs[keep], outputs[keep])
        shape = (self.n_inputs, self.n_outputs)
        return scipy.sparse.coo_array((self._layer.value[keep].copy(), where), shape=shape).tocsr()

    def forward(self, u: np.ndarray, threads: int | None = None) -> np.ndarray:
        """``W^T u`` without the bias: (n_outputs, m) for u of shape (n_inputs, m). 2 nnz m flops."""
        return self._layer.forward(u, threads)

    def backward(self, d: np.ndarray, threads: int | None = None) -> np.ndarray:
        """``W d``: (n_inputs, m) for d of shape (n_outputs, m). 2 nnz m flops."""
        return self._layer.backward(d, threads)

    def update(
        self,
        u: np.ndarray,
        d: np.ndarray,
        rate: float,
        momentum: float = 0.0,
        decay: float = 0.0,
        threads: int | None = None,
    ) -> None:
        """A step of momentum, with the gradient ``mean_b u_ib d_jb`` at stored entries and ``mean_b d_jb`` of the bias.

        Parameters
        ----------
        u : ndarray, shape (n_inputs, m)
            What :meth:`forward` was given.
        d : ndarray, shape (n_outputs, m)
            Derivative of the loss of each column with respect to ``W^T u + bias``.
        rate, momentum, decay : float
            Of the step; the decay is not multiplied by the rate.
        threads : int, optional
            At most this many.
        """
        self._layer.update(u, d, rate, momentum, decay, threads)

    def evolve(self, zeta: float) -> scipy.sparse.csr_array:
        """Remove the share of positive and of negative entries closest to zero; grow as many at empty places.

        Thresholds are the values at index ``floor(zeta n)`` of the ascending positive ones and at
        ``floor((1 - zeta) n)`` of the ascending negative ones; what lies strictly beyond them stays, with its
        momentum. New entries are drawn from ``N(0, 1) / 10``; a place that was just emptied may be drawn again.

        Parameters
        ----------
        zeta : float
            Share in [0, 1); 0 changes nothing.

        Returns
        -------
        csr_array, shape (n_inputs, n_outputs)
            What survived, before the growth.
        """
        zeta = check_float("zeta", zeta, low=0, high=1, closed="left")
        keep = self._layer.prune(zeta)
        survivors = self._csr(keep.astype(bool))
        removed = self.nnz - survivors.nnz
        ranks = draw_positions(self.n_inputs * self.n_outputs - survivors.nnz, removed, self._rng)
        self._layer.regrow(keep, ranks, self._new_values(removed))
        return survivors
