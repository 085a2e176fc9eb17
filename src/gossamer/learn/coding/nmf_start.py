"""Parts to start a fit from: the shapes that non-negative factorisation finds."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import ArgumentError
from gossamer._core.random import RandomState, check_random_state


def nmf_start(
    X: Any, n_components: int, *, rows: int = 10_000, random_state: RandomState = None
) -> np.ndarray:
    """Parts of a non-negative factorisation at the size they have in the data, for ``W_init``.

    Where parts hide one another and many are there at once, annealing from random parts ends in a wrong optimum, while
    a factorisation, which adds parts up, already finds their shapes. Expectation maximisation from these at a
    temperature of 1 then finds what belongs to a maximum: sizes, prior, noise, and which parts a sample has.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Samples; negative entries, which are noise, count as 0.
    n_components : int
        Parts.
    rows : int
        Samples to draw if there are more.
    random_state : int, Generator or None
        For the start of the factorisation, which has many optima, and the draw of samples.

    Returns
    -------
    ndarray of shape (n_components, d), float64
        A part is scaled by the second over the first moment of its codes, which is a for codes of values 0 and a.

    Raises
    ------
    ArgumentError
        More parts than samples; nothing positive in X.

    Notes
    -----
    O(n d H) a sweep of scikit-learn's coordinate descent.

    References
    ----------
    "ProSper", arXiv 1908.06843, 2019, for the models; Cichocki, Phan, "Fast local algorithms for large scale
    nonnegative matrix and tensor factorizations", 2009, for the factorisation.

    Examples
    --------
    >>> from gossamer.learn import AnnealingSchedule, MaximalCausesAnalysis, bars, nmf_start
    >>> W = bars.bars_dictionary(8) * 10
    >>> X, S = bars.bars_data(W, 500, prob=0.5, noise=1.0, combine="max", random_state=0)
    >>> start = nmf_start(X, 8, random_state=0)
    >>> cold = AnnealingSchedule(20, T=1.0)
    >>> model = MaximalCausesAnalysis(8, max_active=8, schedule=cold, W_init=start).fit(X)
    >>> bool(bars.match_dictionaries(model.components_, W).mae < 0.5)
    True
    """
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    X = check_array("X", X, ndim=2)
    H = check_int("n_components", n_components, low=1)
    rng = check_random_state(random_state)
    if len(X) > check_int("rows", rows, low=1):
        X = X[np.sort(rng.choice(len(X), rows, replace=False))]
    if len(X) < H:
        raise ArgumentError(f"n_components={H}: expected at most as many parts as samples, {len(X)}")
    positive = np.maximum(X, 0).astype(np.float64)
    if not positive.any():
        raise ArgumentError("X has no positive entry: expected data that non-negative parts make")
    model = NMF(H, init="random", max_iter=1000, random_state=int(rng.integers(2**31)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a start need not have converged
        codes = model.fit_transform(positive)
    first = codes.sum(axis=0)
    return model.components_ * (np.square(codes).sum(axis=0) / np.where(first > 0, first, 1))[:, None]


__all__ = ["nmf_start"]
