"""The sparse layer of :mod:`gossamer._kernels.evolve` in SciPy and NumPy: slow, and an independent oracle of it."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from gossamer.linalg.random_positions import empty_positions

BLOCK = 1 << 22  # numbers that a gradient gathers at once


class ScipyLayer:
    """A sparse (inputs, outputs) weight with bias and momenta; methods as those of the native layer."""

    def __init__(
        self, start: np.ndarray, inputs: np.ndarray, value: np.ndarray, bias: np.ndarray, n_inputs: int
    ) -> None:
        self.n_inputs, self.n_outputs, self.dtype = int(n_inputs), len(bias), value.dtype
        self.start, self.inputs = start.astype(np.int32), inputs.astype(np.int32)
        self.value, self.velocity = value.copy(), np.zeros_like(value)
        self.bias, self.bias_velocity = bias.copy(), np.zeros_like(bias)

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return len(self.value)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in vars(self).values() if isinstance(array, np.ndarray))

    @property
    def _transposed(self) -> scipy.sparse.csr_array:
        shape = (self.n_outputs, self.n_inputs)
        return scipy.sparse.csr_array((self.value, self.inputs, self.start), shape=shape)

    def forward(self, u: np.ndarray, threads: int | None = None) -> np.ndarray:
        """``W^T u``."""
        return self._transposed @ u

    def backward(self, d: np.ndarray, threads: int | None = None) -> np.ndarray:
        """``W d``."""
        return self._transposed.T @ d

    def update(
        self,
        u: np.ndarray,
        d: np.ndarray,
        rate: float,
        momentum: float,
        decay: float,
        threads: int | None = None,
    ) -> None:
        """One step of momentum at the stored entries."""
        outputs = np.repeat(np.arange(self.n_outputs), np.diff(self.start))
        gradient = np.empty_like(self.value)
        step = max(BLOCK // u.shape[1], 1)
        for e in range(0, self.nnz, step):
            here = slice(e, e + step)
            gradient[here] = np.einsum("eb,eb->e", u[self.inputs[here]], d[outputs[here]])
        m = self.dtype.type(u.shape[1])
        self.velocity = self.dtype.type(momentum) * self.velocity - self.dtype.type(rate) * (gradient / m)
        self.value = self.value + self.velocity - self.dtype.type(decay) * self.value
        mean = d.mean(axis=1)
        self.bias_velocity = self.dtype.type(momentum) * self.bias_velocity - self.dtype.type(rate) * mean
        self.bias = self.bias + self.bias_velocity - self.dtype.type(decay) * self.bias

    def prune(self, share: float) -> np.ndarray:
        """Flags of the entries that stay when each sign loses the share closest to zero."""
        keep = np.ones(self.nnz, np.uint8)
        if not share:
            return keep
        ordered = np.sort(self.value)
        negative, positive = ordered[ordered < 0], ordered[ordered > 0]
        above = positive[int(np.floor(share * len(positive)))] if len(positive) else 0
        at = int(np.floor((1 - share) * len(negative)))
        below = negative[at] if at < len(negative) else 0
        keep[:] = (self.value > above) | (self.value < below)
        return keep

    def regrow(self, keep: np.ndarray, ranks: np.ndarray, values: np.ndarray) -> None:
        """Drop entries without a flag, and put as many at the empty places with the given ranks."""
        outputs = np.repeat(np.arange(self.n_outputs), np.diff(self.start))
        kept = keep.astype(bool)
        taken = (outputs * self.n_inputs + self.inputs)[kept]
        places = np.concatenate([taken, empty_positions(taken, ranks)])
        order = np.argsort(places, kind="stable")
        self.value = np.concatenate([self.value[kept], values])[order]
        self.velocity = np.concatenate([self.velocity[kept], np.zeros_like(values)])[order]
        outputs, inputs = np.divmod(places[order], self.n_inputs)
        self.inputs = inputs.astype(np.int32)
        self.start = np.searchsorted(outputs, np.arange(self.n_outputs + 1)).astype(np.int32)
