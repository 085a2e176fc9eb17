"""Running estimates with variance reduction: MSVR for one of many blocks, STORM for one vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError, bad_argument

Project = Callable[[np.ndarray], np.ndarray]


def theory_gamma(m: int, blocks_per_step: int, alpha: float) -> float:
    r"""The weight of MSVR's correction: :math:`\frac{m-I}{I(1-\alpha)} + (1-\alpha)`.

    A block is seen every m/I steps on average; its correction stands for the drift of all of them. With I = m it is
    that of STORM.

    Parameters
    ----------
    m, blocks_per_step : int
        Blocks, and how many are sampled a step.
    alpha : float
        In (0, 1]; below 1 where I < m.

    Raises
    ------
    ArgumentError
        If alpha is 1 with I < m: the weight is infinite.
    """
    m = check_int("m", m, low=1)
    count = check_int("blocks_per_step", blocks_per_step, low=1, high=m)
    alpha = check_float("alpha", alpha, low=0, high=1, closed="right")
    if count == m:
        return 1 - alpha
    if alpha == 1:
        raise bad_argument("alpha", alpha, "a number below 1 with gamma='theory' and blocks_per_step < m")
    return (m - count) / (count * (1 - alpha)) + (1 - alpha)


class MSVR:
    r"""Estimates of m quantities of which a few are sampled a step.

    :math:`s_i \leftarrow (1-\alpha) s_i + \alpha h_i(z_t) + \gamma\,(h_i(z_t) - h_i(z_{t-1}))` for sampled blocks;
    the others stay as they are. The first visit of a block sets :math:`s_i = h_i(z_t)`.

    Parameters
    ----------
    m : int
        Blocks.
    shape : tuple of int
        Of one estimate.
    blocks_per_step : int
        I, which the weight of the theory depends on.
    alpha : float
        In (0, 1].
    gamma : "theory" or float
        Weight of the correction (:func:`theory_gamma`); 0 is a moving average.
    project : callable, optional
        Applied to the updated estimates (I, \*shape).

    Attributes
    ----------
    value : ndarray, shape (m, \*shape)
        The estimates; zeros before the first visit.
    seen : ndarray of bool, shape (m,)
        Whether a block has been visited.

    References
    ----------
    Jiang, Li, Wang, Zhang, Yang. Multi-block-single-probe variance reduced estimator. NeurIPS 2022, arXiv 2207.08540.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import MSVR
    >>> s = MSVR(3, (1,), 1, alpha=0.5, gamma=0)
    >>> s.update(np.array([1]), np.array([[2.0]]), np.array([[0.0]])).tolist()
    [[2.0]]
    """

    def __init__(
        self,
        m: int,
        shape: tuple[int, ...],
        blocks_per_step: int,
        *,
        alpha: float = 0.1,
        gamma: Any = "theory",
        project: Project | None = None,
    ) -> None:
        self.alpha = check_float("alpha", alpha, low=0, high=1, closed="right")
        if isinstance(gamma, str):
            if gamma != "theory":
                raise bad_argument("gamma", gamma, "'theory' or a number")
            self.gamma = theory_gamma(m, blocks_per_step, alpha)
        else:
            self.gamma = check_float("gamma", gamma, low=0)
        self.value = np.zeros((check_int("m", m, low=1), *shape))
        self.seen = np.zeros(m, bool)
        self.project = project

    def update(self, blocks: np.ndarray, new: np.ndarray, old: np.ndarray) -> np.ndarray:
        """Take the samples of a step in, at the current and at the previous iterate, and return the new estimates.

        Parameters
        ----------
        blocks : ndarray of int, shape (I,)
            Each at most once.
        new, old : ndarray, shape (I, \\*shape)
            The quantities from the same samples at the current and at the previous iterate.

        Raises
        ------
        ArgumentError
            If a block comes twice, or lies outside 0..m-1.
        ShapeError
            If ``new`` or ``old`` does not fit.
        """
        check_blocks(blocks, len(self.value))
        wanted = (len(blocks), *self.value.shape[1:])
        for name, part in (("new", new), ("old", old)):
            if part.shape != wanted:
                raise ShapeError(f"{name} has shape {part.shape}: expected {wanted}")
        held = (1 - self.alpha) * self.value[blocks] + self.alpha * new + self.gamma * (new - old)
        first = ~self.seen[blocks]
        if first.any():
            held[first] = new[first]
            self.seen[blocks] = True
        if self.project is not None:
            held = self.project(held)
        self.value[blocks] = held
        return held


class STORM:
    r"""A running estimate of one vector: :math:`z \leftarrow (1-\beta)(z - G_{t-1}) + G_t`, first :math:`z = G_0`.

    Parameters
    ----------
    beta : float
        In (0, 1]; 1 is the plain sample.

    Attributes
    ----------
    value : ndarray or None
        The estimate.

    References
    ----------
    Cutkosky, Orabona. Momentum-based variance reduction in non-convex SGD. NeurIPS 2019, arXiv 1905.10018.
    """

    def __init__(self, beta: float) -> None:
        self.beta = check_float("beta", beta, low=0, high=1, closed="right")
        self.value: np.ndarray | None = None

    def update(self, new: np.ndarray, old: np.ndarray) -> np.ndarray:
        """Take in the samples of a step at the current and at the previous iterate; returns the estimate.

        Parameters
        ----------
        new, old : ndarray, shape (n,)
            From the same samples at the current and at the previous iterate.
        """
        if self.value is None:
            self.value = np.array(new, np.float64)
        else:
            self.value = (1 - self.beta) * (self.value - old) + new
        return self.value


def check_blocks(blocks: np.ndarray, m: int) -> None:
    """Refuse block numbers that are out of range or come twice."""
    if len(blocks) and (blocks.min() < 0 or blocks.max() >= m):
        raise ArgumentError(
            f"blocks has numbers from {blocks.min()} to {blocks.max()}: expected 0 to {m - 1}"
        )
    if len(blocks) > 1:
        ordered = np.sort(blocks)
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(twice):
            raise ArgumentError(f"blocks holds {int(twice[0])} twice: expected each at most once")
