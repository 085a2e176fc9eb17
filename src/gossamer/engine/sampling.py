"""How the next token is drawn: checked settings, and the reference that the native sampler is tested against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from gossamer._core.checks import check_float, check_int


@dataclass(frozen=True)
class Sampling:
    r"""Settings of the sampler, applied in this order.

    Parameters
    ----------
    temperature : float >= 0
        0 takes the most likely token (after the penalty; the smallest id among equals). Otherwise logits are
        divided by it: below 1 sharpens, above 1 flattens.
    top_k : int >= 0
        Keep the ``k`` largest logits; 0 keeps all. Among equals at the border the smaller ids stay.
    top_p : float in (0, 1]
        Then keep the smallest set of most likely tokens whose probability reaches ``p``.
    repetition_penalty : float > 0
        Before all that: a positive logit of a token that stands in the prompt or the answer is divided by this,
        a negative one multiplied (Keskar et al., "CTRL", 2019). 1 changes nothing.
    seed : int or None
        Same seed, same tokens. None draws one and the result reports it.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        check_float("temperature", self.temperature, low=0, high=100)
        check_int("top_k", self.top_k, low=0)
        check_float("top_p", self.top_p, low=0, high=1, closed="right")
        check_float("repetition_penalty", self.repetition_penalty, low=0, high=100, closed="right")
        if self.seed is not None:
            check_int("seed", self.seed, low=0, high=2**63 - 1)

    def seeded(self) -> Sampling:
        """The same settings with a seed: its own, or a fresh one."""
        if self.seed is not None:
            return self
        return replace(self, seed=int(np.random.default_rng().integers(2**63)))


def penalise(logits: np.ndarray, seen: Iterable[int], penalty: float) -> np.ndarray:
    """Make tokens that were seen less likely; ``logits`` (V,) are not changed."""
    logits = np.array(logits, dtype=np.float64)
    if penalty != 1:
        ids = np.unique(np.fromiter(seen, dtype=np.int64))
        logits[ids] = np.where(logits[ids] > 0, logits[ids] / penalty, logits[ids] * penalty)
    return logits


def distribution(logits: np.ndarray, seen: Iterable[int], sampling: Sampling) -> np.ndarray:
    """Probability of every token under ``sampling``.

    Parameters
    ----------
    logits : array of shape (V,)
        What the model gives for the next position.
    seen : iterable of int
        Ids of the prompt and of the answer so far.
    sampling : Sampling
        The settings.

    Returns
    -------
    array of shape (V,), float64
        Zero for tokens that the filters exclude; sums to 1. O(V log V).
    """
    logits = penalise(logits, seen, sampling.repetition_penalty)
    probabilities = np.zeros_like(logits)
    if sampling.temperature == 0:
        probabilities[np.argmax(logits)] = 1
        return probabilities
    order = np.argsort(-logits, kind="stable")  # stable: the smaller id first among equals
    kept = order[: sampling.top_k or len(order)]
    scaled = logits[kept] / sampling.temperature
    weights = np.exp(scaled - scaled[0])
    weights /= weights.sum()
    # a token stays if what is more likely does not reach top_p already
    weights[np.cumsum(weights) - weights >= sampling.top_p] = 0
    probabilities[kept] = weights / weights.sum()
    return probabilities


def sample(
    logits: np.ndarray, seen: Iterable[int], sampling: Sampling, random_state: np.random.Generator
) -> int:
    """Draw one token id from :func:`distribution`."""
    probabilities = distribution(logits, seen, sampling)
    return int(random_state.choice(len(probabilities), p=probabilities))


__all__ = ["Sampling", "distribution", "penalise", "sample"]
