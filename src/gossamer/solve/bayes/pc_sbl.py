"""Sparse Bayesian learning for runs of nonzeros: neighbours share their precision."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.checks import check_float
from gossamer.solve.bayes.evidence import Plan, SparseBayesResult, check_factors, maximise_evidence
from gossamer.solve.bayes.posterior import PlainModel
from gossamer.solve.bayes.variances import Update
from gossamer.solve.iteration import Callback

SHAPE, RATE = 0.5, 1e-4
LARGE, OFF = 1e3, 1e10


def pc_sbl(
    A: Any,
    y: Any,
    *,
    coupling: float = 0.9,
    noise_var: float | None = None,
    max_iter: int = 150,
    tol: float = 1e-4,
    callback: Callback | None = None,
) -> SparseBayesResult:
    r"""Recover an x whose nonzeros come in runs from ``y = A x + n`` (pattern-coupled SBL).

    The prior precision of entry i is :math:`\alpha_i + \eta (\alpha_{i-1} + \alpha_{i+1})`, and :math:`\alpha_i = (a
    + 1/2) / (E_i / 2 + b)` with :math:`E_i = m_i + \eta (m_{i-1} + m_{i+1})`, m the posterior second moments, a =
    1/2, b = 1e-4. An :math:`\alpha` above 1,000 times the smallest becomes 1e10 times it, which switches the entry
    off.

    Parameters
    ----------
    A : array, shape (M, N)
        Real or complex.
    y : array, shape (M,) or (M, P)
        Measurements.
    coupling : float
        :math:`\eta` in [0, 1].
    noise_var, max_iter, tol, callback
        As for :func:`kro_sbl`.

    Returns
    -------
    SparseBayesResult
        With one mode; nothing is pruned.

    Raises
    ------
    ArgumentError
        As for :func:`kro_sbl`.

    References
    ----------
    Fang, Shen, Li, Li, "Pattern-coupled sparse Bayesian learning for recovery of block-sparse signals", IEEE
    Transactions on Signal Processing 63, 2015.
    """
    eta = check_float("coupling", coupling, low=0, high=1)
    plan = Plan(noise_var, False, max_iter, tol, [0.0], 0.0, None, callback)
    return maximise_evidence(check_factors([A]), y, PlainModel, _coupled(eta), plan)


def _coupled(eta: float) -> Update:
    def update(moments: np.ndarray, gammas: list[np.ndarray], kept: list[np.ndarray]) -> list[np.ndarray]:
        alpha = (SHAPE + 0.5) / (0.5 * _with_neighbours(moments, eta) + RATE)
        alpha[alpha > LARGE * alpha.min()] = OFF * alpha.min()
        return [1.0 / _with_neighbours(alpha, eta)]

    return update


def _with_neighbours(v: np.ndarray, eta: float) -> np.ndarray:
    out = v.copy()
    out[1:] += eta * v[:-1]
    out[:-1] += eta * v[1:]
    return out
