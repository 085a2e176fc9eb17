r"""Inner iterates :math:`y_i \leftarrow P(y_i - \tau s_i)` of all blocks, moved only when somebody looks at them."""

from __future__ import annotations

import math

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]
Rate = float | np.ndarray


class StepLengths:
    """A factor of step lengths that changes at some iterations, summed over ranges of them."""

    def __init__(self, tau: float = 1.0) -> None:
        self.starts, self.taus = [0], [tau]

    @property
    def now(self) -> float:
        """The length that holds from the last change on."""
        return self.taus[-1]

    def change(self, t: int, tau: float) -> None:
        """Let ``tau`` hold from iteration ``t`` on."""
        if t == self.starts[-1]:
            self.taus[-1] = tau
        elif tau != self.now:
            self.starts.append(t)
            self.taus.append(tau)

    def at(self, t: int) -> float:
        """The length at iteration ``t``."""
        return self.taus[int(np.searchsorted(self.starts, t, side="right")) - 1]

    def total(self, first: np.ndarray, stop: int) -> np.ndarray:
        """The sum over iterations ``first .. stop - 1``, for each entry of ``first``."""
        out = np.zeros(len(first))
        for k, (start, tau) in enumerate(zip(self.starts, self.taus)):
            end = self.starts[k + 1] if k + 1 < len(self.starts) else math.inf
            out += tau * np.maximum(min(stop, end) - np.maximum(first, start), 0)
        return out

    def forget(self, t: int) -> None:
        """Drop what was over before iteration ``t``."""
        keep = max(int(np.searchsorted(self.starts, t, side="right")) - 1, 0)
        self.starts, self.taus = self.starts[keep:], self.taus[keep:]


class LazyDescent:
    """Holds each block as it was when last sampled; exact, with O(I d) a step.

    The direction of a block is constant between its visits, so missed steps are one multiple of it. Where the ball of
    ``radius`` binds, that block is walked step by step: a segment that ends inside a ball never left it.

    Parameters
    ----------
    y : ndarray, shape (m, d)
        Start; taken over, not copied.
    direction : ndarray, shape (m, d)
        The estimates s, read whenever a block moves.
    tau : float or ndarray, shape (m,)
        Step length, of each block; ``steps`` holds a factor of it that may change.
    radius : float
        Rows are projected onto this ball after each step; ``inf`` leaves them.
    """

    MOST_PIECES = 32

    def __init__(self, y: np.ndarray, direction: np.ndarray, tau: Rate, radius: float = math.inf) -> None:
        self.y, self.direction, self.radius = y, direction, radius
        self.tau = np.array(np.broadcast_to(tau, len(y)))[:, None]
        self.last = np.zeros(len(y), np.int64)
        self.steps = StepLengths()

    def read(self, blocks: np.ndarray, t: int) -> Pair:
        """The rows of ``blocks`` at iteration ``t`` and at ``t - 1``."""
        rows = self.y[blocks], self.tau[blocks] * self.direction[blocks], self.last[blocks]
        before = self._walk(*rows, max(t - 1, 0))
        now = self._walk(before, rows[1], np.full(len(blocks), max(t - 1, 0)), t)
        return now, before

    def store(self, blocks: np.ndarray, t: int, rows: np.ndarray) -> None:
        """Put down what the blocks are at iteration ``t``, before their direction changes."""
        self.y[blocks], self.last[blocks] = rows, t

    def advance(self, t: int) -> None:
        """End iteration ``t``."""
        if len(self.steps.starts) > self.MOST_PIECES:  # bring all up to t, from where reads of t + 1 begin
            self.y[:] = self.read(np.arange(len(self.y)), t + 1)[1]
            self.last[:] = t
            self.steps.forget(t)

    def all(self, t: int) -> np.ndarray:
        """Every row at iteration ``t``."""
        return self.read(np.arange(len(self.y)), t)[0]

    def state(self) -> dict[str, np.ndarray]:
        """What a checkpoint holds."""
        return {
            "y": self.y,
            "last": self.last,
            "starts": np.array(self.steps.starts, np.int64),
            "taus": np.array(self.steps.taus),
        }

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Take over what :meth:`state` gave."""
        self.y[:], self.last[:] = state["y"], state["last"]
        self.steps.starts, self.steps.taus = state["starts"].tolist(), state["taus"].tolist()

    def _walk(self, y: np.ndarray, s: np.ndarray, first: np.ndarray, stop: int) -> np.ndarray:
        out = y - self.steps.total(first, stop)[:, None] * s
        if self.radius < math.inf:
            bound = np.flatnonzero(np.linalg.norm(out, axis=1) > self.radius)
            if len(bound):
                out[bound] = self._step_by_step(y[bound], s[bound], first[bound], stop)
        return out

    def _step_by_step(self, y: np.ndarray, s: np.ndarray, first: np.ndarray, stop: int) -> np.ndarray:
        y = y.copy()
        for t in range(int(first.min()), stop):
            moving = first <= t
            y[moving] = into_ball(y[moving] - self.steps.at(t) * s[moving], self.radius)
        return y


class EagerDescent:
    """The same iterates, every block moved at every step: O(m d). Arguments as for :class:`LazyDescent`."""

    def __init__(self, y: np.ndarray, direction: np.ndarray, tau: Rate, radius: float = math.inf) -> None:
        self.y, self.direction, self.radius = y, direction, radius
        self.tau = np.array(np.broadcast_to(tau, len(y)))[:, None]
        self.before = y.copy()
        self.steps = StepLengths()

    def read(self, blocks: np.ndarray, t: int) -> Pair:
        """The rows of ``blocks`` now and one step ago."""
        return self.y[blocks], self.before[blocks]

    def store(self, blocks: np.ndarray, t: int, rows: np.ndarray) -> None:
        """Nothing to do: the rows are here."""

    def advance(self, t: int) -> None:
        """Move every block along its direction."""
        self.before = self.y.copy()
        self.y -= self.steps.now * self.tau * self.direction
        if self.radius < math.inf:
            self.y[:] = into_ball(self.y, self.radius)

    def all(self, t: int) -> np.ndarray:
        """Every row now."""
        return self.y.copy()

    def state(self) -> dict[str, np.ndarray]:
        """What a checkpoint holds."""
        return {"y": self.y, "before": self.before, "taus": np.array(self.steps.taus[-1:])}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Take over what :meth:`state` gave."""
        self.y[:], self.before = state["y"], state["before"].copy()
        self.steps = StepLengths(float(state["taus"][0]))


def into_ball(rows: np.ndarray, radius: float) -> np.ndarray:
    """Rows scaled down to the norm ``radius`` where they are longer."""
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norm > radius, rows * (radius / np.maximum(norm, 1e-300)), rows)
