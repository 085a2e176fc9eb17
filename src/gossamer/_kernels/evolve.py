"""What training sparse layers takes: their products, the step of momentum at stored entries, pruning and regrowth."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_choice, check_float
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native, csr
from gossamer._kernels.views import check_ascending, check_pointers, expect_array, ready

ACTIVATIONS = ("linear", "sigmoid", "tanh", "relu", "leaky_relu")


class Layer:
    """A sparse (inputs, outputs) weight in both orders with its bias and the momenta of both.

    Parameters
    ----------
    start, inputs : ndarray
        The stored entries by outputs: pointers (outputs + 1,), ascending inputs of each. Less than 2^31 of them.
    value : ndarray, float32 or float64
        Copied, as is ``bias``.
    bias : ndarray, shape (outputs,)
    n_inputs : int
    """

    def __init__(
        self, start: np.ndarray, inputs: np.ndarray, value: np.ndarray, bias: np.ndarray, n_inputs: int
    ) -> None:
        if len(inputs) >= 2**31 or n_inputs >= 2**31:
            raise ArgumentError(f"{len(inputs)} entries of {n_inputs} inputs: expected less than 2^31")
        if value.dtype not in (np.float32, np.float64):
            raise ArgumentError(f"value is {value.dtype}: expected float32 or float64")
        expect_array("value", value, value.dtype, inputs.shape)
        expect_array("bias", bias, value.dtype, (len(start) - 1,))
        check_pointers("start", start, len(bias), len(inputs))
        check_ascending("inputs", inputs, start, n_inputs)
        self.n_inputs, self.n_outputs, self.dtype = int(n_inputs), len(bias), value.dtype
        self.value, self.velocity = np.array(value, order="C"), np.zeros_like(value)
        self.bias, self.bias_velocity = np.array(bias, order="C"), np.zeros_like(bias)
        self._take(ready(start, np.int32), ready(inputs, np.int32))

    def _take(self, start: np.ndarray, inputs: np.ndarray) -> None:
        self.start, self.inputs = start, inputs
        self.twin_start = np.empty(self.n_inputs + 1, np.int32)
        self.outputs, self.source = np.empty_like(inputs), np.empty_like(inputs)
        _native.evolve.transpose(start, inputs, self.n_inputs, self.twin_start, self.outputs, self.source)
        self._twin: np.ndarray | None = None

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return len(self.value)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays: values, momenta, indices, both orders."""
        return sum(array.nbytes for array in vars(self).values() if isinstance(array, np.ndarray))

    def forward(self, u: np.ndarray, threads: int | None = None) -> np.ndarray:
        """``W^T u``: (outputs, m) for u of shape (inputs, m). 2 nnz m flops."""
        expect_array("u", u, self.dtype, (self.n_inputs, u.shape[1] if u.ndim == 2 else -1))
        return csr.matmat(self.start, self.inputs, self.value, u, threads)

    def backward(self, d: np.ndarray, threads: int | None = None) -> np.ndarray:
        """``W d``: (inputs, m) for d of shape (outputs, m). 2 nnz m flops."""
        expect_array("d", d, self.dtype, (self.n_outputs, d.shape[1] if d.ndim == 2 else -1))
        return csr.matmat(self.twin_start, self.outputs, self.twin_value, d, threads)

    @property
    def twin_value(self) -> np.ndarray:
        """Values in the order by inputs, as they are after the last step."""
        if self._twin is None:
            self._twin = self.value[self.source]
        return self._twin

    def update(
        self,
        u: np.ndarray,
        d: np.ndarray,
        rate: float,
        momentum: float,
        decay: float,
        threads: int | None = None,
    ) -> None:
        """``V = momentum V - rate G, W += V - decay W`` with ``G_ij = mean_b u_ib d_jb`` at stored entries alone."""
        expect_array("u", u, self.dtype, (self.n_inputs, u.shape[1] if u.ndim == 2 else -1))
        expect_array("d", d, self.dtype, (self.n_outputs, u.shape[1]))
        if not u.shape[1]:
            raise ShapeError("u has no columns: expected a batch")
        getattr(_native.evolve, f"update_{self.dtype.name}")(
            self.start, self.inputs, self.value, self.velocity, self.bias, self.bias_velocity, ready(u), ready(d),
            float(rate), float(momentum), float(decay), get_threads(threads),
        )  # fmt: skip
        self._twin = None

    def prune(self, share: float) -> np.ndarray:
        """Flags of the entries that stay when each sign loses the share closest to zero, and zeros go."""
        share = check_float("share", share, low=0, high=1, closed="left")
        keep = np.ones(self.nnz, np.uint8)
        if share:
            getattr(_native.evolve, f"prune_{self.dtype.name}")(self.value, share, keep)
        return keep

    def regrow(self, keep: np.ndarray, ranks: np.ndarray, values: np.ndarray) -> None:
        """Drop entries without a flag; put as many at the empty places with the given ascending ranks.

        Kept entries keep values and momenta; new ones start with momentum zero.
        """
        expect_array("keep", keep, np.uint8, (self.nnz,))
        kept = int(np.count_nonzero(keep))
        keep = ready(keep != 0, np.uint8)
        expect_array("ranks", ranks, np.int64, (self.nnz - kept,))
        expect_array("values", values, self.dtype, ranks.shape)
        empty = self.n_inputs * self.n_outputs - kept
        if len(ranks) and (ranks[0] < 0 or ranks[-1] >= empty or (np.diff(ranks) <= 0).any()):
            raise ArgumentError(f"ranks must ascend within 0..{empty - 1}")
        start, inputs = np.empty_like(self.start), np.empty_like(self.inputs)
        value, velocity = np.empty_like(self.value), np.empty_like(self.velocity)
        getattr(_native.evolve, f"regrow_{self.dtype.name}")(
            self.start, self.inputs, self.value, self.velocity, self.n_inputs, keep, ready(ranks), ready(values),
            start, inputs, value, velocity,
        )  # fmt: skip
        self.value, self.velocity = value, velocity
        self._take(start, inputs)


def add_noise(
    clean: np.ndarray, ids: np.ndarray, seed: int, sd: float, threads: int | None = None
) -> np.ndarray:
    """``clean + sd * N(0, 1)``, (features, m): each number a function of the seed, the feature and ``ids[column]``."""
    clean, out = _plane("clean", clean), np.empty_like(clean)
    expect_array("ids", ids, np.int64, (clean.shape[1],))
    noise = getattr(_native.evolve, f"noise_{clean.dtype.name}")
    noise(ready(clean), ready(ids), _seed(seed), float(sd), out, get_threads(threads))
    return out


def activate(
    z: np.ndarray,
    bias: np.ndarray,
    kind: str,
    *,
    slope: float = 0.01,
    drop: float = 0.0,
    seed: int = 0,
    threads: int | None = None,
) -> np.ndarray:
    """``z = mask f(z + bias)`` in place, (units, m); a share ``drop`` is masked by a function of seed and place."""
    z = _in_place("z", z)
    expect_array("bias", bias, z.dtype, (len(z),))
    entry = getattr(_native.evolve, f"activate_{z.dtype.name}")
    entry(z, ready(bias), _number(kind), float(slope), _seed(seed), _below(drop), get_threads(threads))
    return z


def derive(
    d: np.ndarray,
    a: np.ndarray,
    kind: str,
    *,
    slope: float = 0.01,
    drop: float = 0.0,
    seed: int = 0,
    threads: int | None = None,
) -> np.ndarray:
    """``d *= mask f'`` in place, with the derivative from the values ``a`` that :func:`activate` gave."""
    d = _in_place("d", d)
    expect_array("a", a, d.dtype, d.shape)
    entry = getattr(_native.evolve, f"derive_{d.dtype.name}")
    entry(d, ready(a), _number(kind), float(slope), _seed(seed), _below(drop), get_threads(threads))
    return d


def _plane(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim != 2 or array.dtype not in (np.float32, np.float64):
        raise ShapeError(f"{name} is {array.dtype} of shape {array.shape}: expected a float matrix")
    return array


def _in_place(name: str, array: np.ndarray) -> np.ndarray:
    _plane(name, array)
    if not (array.flags.c_contiguous and array.flags.aligned and array.flags.writeable):
        raise ArgumentError(f"{name} is written to: expected a contiguous array that may be")
    return array


def _number(kind: Any) -> int:
    return ACTIVATIONS.index(check_choice("kind", kind, ACTIVATIONS))


def _seed(seed: int) -> int:
    return int(seed) & (2**64 - 1)


def _below(drop: float) -> int:
    return int(check_float("drop", drop, low=0, high=1, closed="left") * 2**32)
