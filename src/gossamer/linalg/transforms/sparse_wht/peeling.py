"""One sketch decoded: bins, noise, peeling, refinement, and what is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gossamer._kernels import sparse_walsh, walsh
from gossamer.linalg.transforms.sparse_wht.designs import Design
from gossamer.linalg.transforms.sparse_wht.noise import Levels, estimate_variance, uneven
from gossamer.linalg.transforms.sparse_wht.offsets import Offsets
from gossamer.linalg.transforms.sparse_wht.refine import least_squares

PASSES = 4
"""Most times that peeling starts anew from refined amplitudes."""
LEVELS = 12
"""Most times that the noise is estimated anew from what is left."""
FIRST_SHARE = 0.01
"""Of the power that is left in exact samples with many small terms: what counts as noise at first."""


@dataclass(frozen=True)
class Detection:
    """What a user chooses about detectors."""

    method: str
    osd_order: int
    soft: bool
    max_degree: int
    average: bool
    refine: bool


@dataclass(frozen=True)
class Decoded:
    """Terms of one sketch and what they leave.

    Attributes
    ----------
    support, coef, error : ndarray, shape (K,)
        Indices, amplitudes and their standard errors.
    levels : Levels
        Noise and thresholds.
    energy, residual : float
        Mean square of all bins' entries, before and after.
    unresolved : int
        Bins that hold more than noise.
    uneven : bool
        Whether what is left varies between bins more than noise does.
    rounds : int
        Rounds of peeling.
    """

    support: np.ndarray
    coef: np.ndarray
    error: np.ndarray
    levels: Levels
    energy: float
    residual: float
    unresolved: int
    uneven: bool
    rounds: int


def fold(samples: np.ndarray, threads: int | None = None) -> np.ndarray:
    """Bins ``U_c[j, p]`` of samples ``y[M_c l ^ d_{c,p}]`` given as (C, 2**b, P): transforms over l, divided by B."""
    return walsh.transform(samples, np.empty_like(samples), 1, 1 / samples.shape[1], threads)


def decode(
    design: Design,
    offsets: Offsets,
    bins: np.ndarray,
    how: Detection,
    nu2: float | None,
    precision: float,
    threads: int | None = None,
) -> Decoded:
    """Recover the terms of ``bins`` (C, 2**b, P), which are left as they are.

    ``nu2`` is the variance of the noise in one entry, estimated if None; ``precision`` the relative accuracy of
    samples.
    """
    P = bins.shape[2]
    energies = _mean_squares(bins)
    tiny = max(precision**2 * float(energies.max()), 1e-300)
    variance = estimate_variance(energies, P) if nu2 is None else nu2
    terms, rounds = Terms.none(), 0
    for _ in range(LEVELS):
        levels = Levels.of(variance, P, len(energies), tiny)
        terms, left, turns = _peel(design, offsets, bins, terms, how, levels, threads)
        rounds += turns
        remains = _mean_squares(left)
        if nu2 is not None:
            break
        if variance <= tiny and (remains > levels.empty).mean() > 0.25:
            # exact, but with more small terms than peeling takes: the large ones first, as if the rest were noise
            again = FIRST_SHARE * float(remains.mean())
        else:
            again = estimate_variance(remains, P)
        if again <= tiny or abs(again - variance) <= 0.1 * variance:
            break
        variance = again  # terms had been taken for noise, or noise for terms
    return Decoded(
        *terms, levels, float(energies.mean()), float(remains.mean()), int((remains > levels.empty).sum()),
        variance > tiny and uneven(remains, P), rounds,
    )  # fmt: skip


class Terms(NamedTuple):
    """Indices, amplitudes and standard errors."""

    support: np.ndarray
    coef: np.ndarray
    error: np.ndarray

    @classmethod
    def none(cls) -> Terms:
        """No term."""
        return cls(np.zeros(0, np.uint64), np.zeros(0), np.zeros(0))


def _peel(
    design: Design,
    offsets: Offsets,
    bins: np.ndarray,
    terms: Terms,
    how: Detection,
    levels: Levels,
    threads: int | None,
) -> tuple[Terms, np.ndarray, int]:
    """Peel and refine in turn, from what is known already, until nothing is added; also the bins that are left."""
    place, rules = (design.n, design.columns, offsets.shifts), _rules(how, offsets, levels)
    left, rounds = bins.copy(), 0
    sparse_walsh.subtract(*place, left, terms.support, terms.coef, threads)
    for _ in range(PASSES):
        support, values, turns = sparse_walsh.peel(*place, left, rules, threads)
        rounds += turns
        if not len(support):
            break
        union, at = np.unique(np.r_[terms.support, support], return_inverse=True)
        coef = np.bincount(at, np.r_[terms.coef, values], len(union))
        if not how.refine:
            return Terms(union, coef, np.full(len(union), np.sqrt(levels.nu2 / bins.shape[2]))), left, rounds
        terms = _refined(design, offsets, bins, union, levels)
        left = bins.copy()
        sparse_walsh.subtract(*place, left, terms.support, terms.coef, threads)
        if (_mean_squares(left) <= levels.empty).all():
            break
    return terms, left, rounds


def _mean_squares(bins: np.ndarray) -> np.ndarray:
    return np.einsum("cjp,cjp->cj", bins, bins).ravel() / bins.shape[2]


def _rules(how: Detection, offsets: Offsets, levels: Levels) -> sparse_walsh.Rules:
    detector = {"identity": "rows", "nso": "rows", "coded": "coded", "mle": "brute"}[how.method]
    return sparse_walsh.Rules(
        detector, offsets.rows, offsets.bch_bits, how.soft, how.osd_order, how.max_degree, levels.empty, levels.empty,
        levels.floor, how.average,
    )  # fmt: skip


def _refined(
    design: Design, offsets: Offsets, bins: np.ndarray, support: np.ndarray, levels: Levels
) -> Terms:
    """Least squares without the terms that lie within four standard errors of zero."""
    while len(support):
        coef, error = least_squares(design, offsets.shifts, bins, support)
        error = error * np.sqrt(levels.nu2)
        strong = np.abs(coef) > np.maximum(4 * error, np.sqrt(levels.floor) / 4)
        if strong.all():
            return Terms(support, coef, error)
        support = support[strong]
    return Terms.none()
