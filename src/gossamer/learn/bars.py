"""Bars: pictures of horizontal and vertical lines, the test of whether a method finds parts that overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ShapeError, bad_argument
from gossamer._core.random import RandomState, check_random_state

__all__ = ["Match", "bars_data", "bars_dictionary", "match_dictionaries"]


def bars_dictionary(H: int, negative: bool = False) -> np.ndarray:
    """All bars of a square of side H / 2: rows first, then columns.

    Parameters
    ----------
    H : int
        Even.
    negative : bool
        Every second bar is dark, -1.

    Returns
    -------
    ndarray, shape (H, (H / 2)^2)

    Raises
    ------
    ArgumentError
        If H is odd or below 2.
    """
    if check_int("H", H, low=2) % 2:
        raise bad_argument("H", H, "an even number")
    side = H // 2
    W = np.zeros((H, side, side))
    for i in range(side):
        W[i, i, :] = 1
        W[side + i, :, i] = 1
    if negative:
        W[1::2] *= -1
    return W.reshape(H, side * side)


def bars_data(
    W: np.ndarray,
    n_samples: int,
    *,
    prob: float = 0.2,
    noise: float = 2.0,
    combine: str = "sum",
    values: Sequence[float] = (1,),
    amplitude: tuple[float, float] | None = None,
    random_state: RandomState = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw samples in which each part is there with a given probability, independently.

    Parameters
    ----------
    W : ndarray, shape (H, d)
        Parts.
    n_samples : int
        At least 1.
    prob : float
        Probability of a part.
    noise : float
        Standard deviation of Gaussian noise.
    combine : {"sum", "max", "magnitude"}
        Parts add up, or hide one another by value or by magnitude.
    values : sequence of float
        A part that is there is multiplied by one of them, all equally likely.
    amplitude : (mean, standard deviation), optional
        A part that is there is multiplied by a Gaussian as well.
    random_state : int, Generator or None

    Returns
    -------
    (X, S)
        Samples (n, d) and what parts were multiplied by (n, H), 0 where they are not there.
    """
    W = check_array("W", W, ndim=2)
    rng = check_random_state(random_state)
    check_choice("combine", combine, ("sum", "max", "magnitude"))
    n, H = check_int("n_samples", n_samples, low=1), len(W)
    there = rng.random((n, H)) < check_float("prob", prob, low=0, high=1)
    S: np.ndarray = there * rng.choice(check_array("values", values, ndim=1), (n, H))
    if amplitude is not None:
        S = S * rng.normal(*amplitude, (n, H))
    if combine == "sum":
        X = S @ W
    else:
        X = np.zeros((n, W.shape[1]))
        for s, part in zip(S.T, W, strict=True):
            here = s[:, None] * part
            larger = here > X if combine == "max" else np.abs(here) > np.abs(X)
            X = np.where(larger, here, X)
    return X + check_float("noise", noise, low=0) * rng.standard_normal(X.shape), S


@dataclass(frozen=True)
class Match:
    """Which learnt part is which true one.

    Attributes
    ----------
    order : ndarray, shape (H,)
        ``W[order[h]]`` belongs to ``W_true[h]``.
    signs : ndarray, shape (H,)
        -1 where it is matched by its negative.
    errors : ndarray, shape (H,)
        Mean absolute difference of each pair.
    """

    order: np.ndarray = field(repr=False)
    signs: np.ndarray = field(repr=False)
    errors: np.ndarray

    @property
    def mae(self) -> float:
        """Mean of the errors."""
        return float(self.errors.mean())


def match_dictionaries(W: np.ndarray, W_true: np.ndarray, sign_invariant: bool = False) -> Match:
    """Pair parts one to one so that the mean absolute difference is least (Hungarian method).

    Parameters
    ----------
    W : ndarray, shape (H', d)
        Learnt parts, at least as many as true ones.
    W_true : ndarray, shape (H, d)
    sign_invariant : bool
        A part may be matched by its negative.

    Raises
    ------
    ShapeError
        If there are too few parts, or features differ.
    """
    W, W_true = check_array("W", W, ndim=2), check_array("W_true", W_true, ndim=2)
    if W.shape[1] != W_true.shape[1] or len(W) < len(W_true):
        raise ShapeError(f"W has shape {W.shape}: expected at least {len(W_true)} rows of {W_true.shape[1]}")
    cost = np.abs(W_true[:, None] - W[None]).mean(axis=2)
    signs = np.ones_like(cost)
    if sign_invariant:
        other = np.abs(W_true[:, None] + W[None]).mean(axis=2)
        signs, cost = np.where(other < cost, -1.0, 1.0), np.minimum(cost, other)
    rows, order = linear_sum_assignment(cost)
    return Match(order, signs[rows, order], cost[rows, order])
