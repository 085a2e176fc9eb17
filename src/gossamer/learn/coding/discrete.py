"""Parts that occur in one of several known amounts."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_float
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.random import RandomState
from gossamer.learn.coding.annealing import AnnealingSchedule, Knobs
from gossamer.learn.coding.e_step import EStep, Params
from gossamer.learn.coding.linear import LinearCoding
from gossamer.learn.coding.rows import Columns, Sums

LEAST_SHARE = 1e-6


class DiscreteSparseCoding(LinearCoding):
    r"""Causes with values from a finite set that add up: ``y = W^T s + noise``, ``p(s_h = values[k]) = pi_k``.

    Where all values have one sign start hot (``T`` from 15 in the schedule): fits that start cool end with a part at
    some scale between its amounts.

    Parameters
    ----------
    n_components : int
        Causes, H.
    values : sequence of float
        What a cause can be; distinct, 0 among them.
    min_zero_prob : float
        Least probability of 0.
    pi_init : array of shape (K,), optional
        Probabilities of ``values`` to start from.
    n_candidates, max_active, schedule, learn, fit_offset, selection, W_init, sigma_init
        As for :class:`BinarySparseCoding`.
    max_extra_iter, tol, n_jobs, chunk_size, random_state, verbose
        As for :class:`BinarySparseCoding`. States are ``(K - 1)^g`` as many for g causes.

    Attributes
    ----------
    components_, noise_, offset_, bound_, n_iter_, n_used_, n_states_
        As of :class:`BinarySparseCoding`.
    prior_ : ndarray, shape (K,)
        Probabilities of ``values``.

    Raises
    ------
    ArgumentError
        Parameters out of range; values that repeat or lack 0; more than two million states a sample.

    Notes
    -----
    ``transform`` of states that are cut at ``max_active`` underrates the causes of crowded samples, and the prior is
    learnt from the same posteriors: unlike the other models this one makes no correction for that.

    References
    ----------
    Exarchakis, Luecke, "Discrete sparse coding", Neural Computation 2017; "ProSper", arXiv 1908.06843, 2019.

    Examples
    --------
    >>> from gossamer.learn import DiscreteSparseCoding, bars
    >>> W = bars.bars_dictionary(6) * 5
    >>> X, S = bars.bars_data(W, 400, prob=0.3, noise=1.0, values=(1, 2), random_state=0)
    >>> model = DiscreteSparseCoding(6, values=(0, 1, 2), random_state=0).fit(X)
    >>> model.prior_.shape
    (3,)
    """

    def __init__(
        self,
        n_components: int = 10,
        *,
        values: tuple[float, ...] = (0, 1, 2),
        min_zero_prob: float = 0.0,
        n_candidates: int | None = None,
        max_active: int | None = None,
        schedule: AnnealingSchedule | None = None,
        learn: tuple[str, ...] = ("W", "pi", "sigma"),
        fit_offset: bool = False,
        selection: Any = "auto",
        W_init: Any = None,
        pi_init: Any = None,
        sigma_init: Any = None,
        max_extra_iter: int = 0,
        tol: float = 1e-4,
        n_jobs: int | None = None,
        chunk_size: int = 2048,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            n_components, n_candidates=n_candidates, max_active=max_active, schedule=schedule, learn=learn,
            fit_offset=fit_offset, selection=selection, W_init=W_init, pi_init=pi_init, sigma_init=sigma_init,
            max_extra_iter=max_extra_iter, tol=tol, n_jobs=n_jobs, chunk_size=chunk_size, random_state=random_state,
            verbose=verbose,
        )  # fmt: skip
        self.values = values
        self.min_zero_prob = min_zero_prob

    def _check(self, rows: Any) -> Any:
        values = check_array("values", self.values, ndim=1)
        if len(values) < 2 or len(set(values.tolist())) != len(values) or not (values == 0).any():
            raise ArgumentError(f"values={self.values!r}: expected distinct numbers with 0 among them")
        check_float("min_zero_prob", self.min_zero_prob, low=0, high=1, closed="left")
        return super()._check(rows)

    def _values(self) -> tuple[float, ...]:
        return tuple(float(v) for v in self.values if v != 0)

    def _default_schedule(self) -> AnnealingSchedule:
        return AnnealingSchedule(100, T=((0, 2.0), (0.7, 1.0)))

    def _law(self, params: Params) -> np.ndarray:
        return params["pi"]

    def _start(self, columns: Columns, rng: np.random.Generator) -> Params:
        params = super()._start(columns, rng)
        others = len(self._values())
        return params | {"pi": np.array([1 - params["pi"], *[params["pi"] / others] * others])}

    def _given(self, params: Params) -> Params:
        given, start = self.pi_init, params["pi"]
        if given is not None:
            law = check_array("pi_init", given, ndim=1)
            if law.shape != start.shape or (law < 0).any() or not np.isclose(law.sum(), 1):
                raise ShapeError(f"pi_init={given!r}: expected {len(start)} probabilities that sum to 1")
            zero = int(np.flatnonzero(np.asarray(self.values) == 0)[0])
            start = self._floored(np.concatenate([law[zero : zero + 1], np.delete(law, zero)]))
        return super()._given(params) | {"pi": start}

    def _perturb(self, params: Params, knobs: Knobs, rng: np.random.Generator) -> Params:
        params = super()._perturb(params, knobs, rng)
        if knobs.pi_noise:
            law = params["pi"] + knobs.pi_noise * rng.standard_normal(len(params["pi"]))
            law = np.maximum(law, 0)
            params = params | {"pi": self._floored(law / max(law.sum(), LEAST_SHARE))}
        return params

    def _fresh_prior(self, params: Params, sums: Sums, step: EStep) -> np.ndarray:
        share = sums["count"] / (sums["points"] * self.n_components)
        return self._floored(np.concatenate([[1 - share.sum()], share]))

    def _floored(self, law: np.ndarray) -> np.ndarray:
        """No value impossible, 0 no rarer than was asked for."""
        law = np.maximum(law, LEAST_SHARE)
        law = law / law.sum()
        if law[0] < self.min_zero_prob:
            law = np.concatenate([[self.min_zero_prob], law[1:] * (1 - self.min_zero_prob) / (1 - law[0])])
        return law

    def _publish(self, params: Params) -> None:
        law = params["pi"]
        super()._publish(params | {"pi": 1 - law[0]})
        zero = int(np.flatnonzero(np.asarray(self.values) == 0)[0])
        self.prior_ = np.insert(law[1:], zero, law[0])
