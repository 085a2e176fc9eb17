r"""The outer iterate: :math:`x \leftarrow x - \eta z` with the STORM estimate z, dense or moved where it is read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gossamer._core.errors import UnsupportedError
from gossamer.solve.bilevel.estimators import STORM
from gossamer.solve.bilevel.problem import Direction, SparseVector


def dense(direction: Direction, size: int) -> np.ndarray:
    """A direction in full."""
    return direction.to_dense(size) if isinstance(direction, SparseVector) else direction


class DenseDescent:
    """x, the previous x and z in full, with Adam's scaling if asked for.

    Parameters
    ----------
    x : ndarray, shape (dim_x,)
        Start.
    beta : float
        Of STORM.
    scaling : None or "adam"
        Divide each coordinate of z by the root of its running mean square.
    """

    DECAY, EPSILON = 0.01, 1e-8

    def __init__(self, x: np.ndarray, beta: float, scaling: str | None = None) -> None:
        self.x, self.before = x.copy(), x.copy()
        self.storm, self.scaling = STORM(beta), scaling
        self.square, self.count = np.zeros_like(x), 0

    @property
    def norm(self) -> float:
        """Length of z."""
        return math.inf if self.storm.value is None else float(np.linalg.norm(self.storm.value))

    def read(self, index: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """x now and one step ago."""
        return self.x, self.before

    def push(self, new: Direction, old: Direction, eta: float) -> None:
        """Update z and step."""
        size = len(self.x)
        z = self.storm.update(dense(new, size), dense(old, size))
        self.before = self.x
        if self.scaling is None:
            self.x = self.x - eta * z
            return
        self.count += 1
        self.square += self.DECAY * (z * z - self.square)
        unbiased = self.square / (1 - (1 - self.DECAY) ** self.count)
        self.x = self.x - eta * z / (np.sqrt(unbiased) + self.EPSILON)

    def full(self) -> np.ndarray:
        """x in full, to be read only."""
        return self.x

    def state(self) -> dict[str, np.ndarray]:
        """What a checkpoint holds."""
        z = self.storm.value
        held = {"x": self.x, "before": self.before, "square": self.square, "count": np.array([self.count])}
        return held if z is None else {**held, "z": z}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Take over what :meth:`state` gave."""
        self.x, self.before = state["x"].copy(), state["before"].copy()
        self.square, self.count = state["square"].copy(), int(state["count"][0])
        self.storm.value = state["z"].copy() if "z" in state else None


class LazyDecay:
    r"""The same x and z when every gradient is sparse, in O(non-zeros) a step.

    Untouched coordinates of z only shrink: after c steps :math:`z_j (1-\beta)^c`, while x_j has moved by
    :math:`-\eta z_j \sum_{k=1}^{c} (1-\beta)^k`. Both are caught up where a step reads x.

    Parameters
    ----------
    x : ndarray, shape (dim_x,)
        Start.
    beta : float
        Of STORM.
    """

    def __init__(self, x: np.ndarray, beta: float) -> None:
        self.x, self.before, self.beta = x.copy(), x.copy(), beta
        self.z, self.last = np.zeros_like(x), np.zeros(len(x), np.int64)
        self.t, self.eta, self.square = 0, math.nan, math.inf

    @property
    def norm(self) -> float:
        """Length of z, kept by differences."""
        return math.sqrt(max(self.square, 0.0))

    def read(self, index: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Arrays that hold x now and one step ago on ``index`` (elsewhere they are stale)."""
        if index is None:
            raise UnsupportedError("support: expected coordinates of every batch for a sparse gradient")
        self._catch_up(index)
        return self.x, self.before

    def push(self, new: Direction, old: Direction, eta: float) -> None:
        """Update z on the support and step."""
        if not isinstance(new, SparseVector) or not isinstance(old, SparseVector):
            raise UnsupportedError("the gradient is dense: expected SparseVector from jtvp_xy_g and grad_x_f")
        if eta != self.eta:
            if not math.isnan(self.eta):
                self._catch_up(slice(None))  # what is owed was owed at the old rate
            self.eta = eta
        j, keep = new.index, 1 - self.beta
        if self.t == 0:
            self.z[j] = new.values
            self.square = float(new.values @ new.values)
        else:
            held = self.z[j]
            after = keep * (held - old.values) + new.values
            self.square = keep**2 * (self.square - float(held @ held)) + float(after @ after)
            self.z[j] = after
        self.before[j] = self.x[j]
        self.x[j] -= eta * self.z[j]
        self.t += 1
        self.last[j] = self.t

    def full(self) -> np.ndarray:
        """x in full, to be read only; O(dim_x)."""
        self._catch_up(slice(None))
        self.square = float(self.z @ self.z)
        return self.x

    def state(self) -> dict[str, np.ndarray]:
        """What a checkpoint holds."""
        return {
            "x": self.x,
            "before": self.before,
            "z": self.z,
            "last": self.last,
            "scalars": np.array([self.t, self.eta, self.square]),
        }

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Take over what :meth:`state` gave."""
        for name in ("x", "before", "z", "last"):
            getattr(self, name)[:] = state[name]
        t, self.eta, self.square = state["scalars"].tolist()
        self.t = int(t)

    def _catch_up(self, index: Any) -> None:
        missed = self.t - self.last[index]
        late = missed > 0
        if not late.any():
            return
        j = np.flatnonzero(late) if isinstance(index, slice) else index[late]
        c, keep = missed[late], 1 - self.beta
        shrunk = keep**c
        summed = keep * (1 - shrunk) / self.beta  # keep + keep^2 + ... + keep^c
        z = self.z[j]
        self.x[j] -= self.eta * z * summed
        self.z[j] = z * shrunk
        self.before[j] = self.x[j] + self.eta * self.z[j]  # one step ago
        self.last[j] = self.t
