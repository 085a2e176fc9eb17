"""How many bins, groups and offsets a sparse transform needs for a wanted probability of success."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from scipy.special import chdtri, ndtr

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import bad_argument
from gossamer.linalg.transforms.sparse_wht.noise import FALSE_ALARM
from gossamer.linalg.transforms.sparse_wht.samples import MAX_BITS

THRESHOLDS = {2: 1.0, 3: 0.4073, 4: 0.3237, 5: 0.2850, 6: 0.2616}
"""Least bins a group for each coefficient at which peeling succeeds in the limit of many, by number of groups."""


@dataclass(frozen=True)
class SparseWHTPlan:
    """A sketch and what to expect of it.

    Attributes
    ----------
    n, K : int
        Bits of an index and number of coefficients planned for.
    snr_db : float or None
        Signal to noise planned for; None without noise.
    b, C, P : int
        ``2**b`` bins in each of C groups, P offsets.
    n_samples : int
        ``C P 2**b``.
    failure : float
        Estimate of the probability that some coefficient is missing.
    """

    n: int
    K: int
    snr_db: float | None
    b: int
    C: int
    P: int
    n_samples: int
    failure: float

    def options(self) -> dict[str, Any]:
        """Keyword arguments for :func:`gossamer.linalg.sparse_wht`, next to f and n."""
        return {"K": self.K, "b": self.b, "C": self.C, "P": self.P, "method": "coded", "snr_db": self.snr_db}


def plan_sparse_wht(n: int, K: int, snr_db: float | None = None, failure: float = 1e-2) -> SparseWHTPlan:
    r"""Choose the sketch with the fewest samples whose estimated probability of failure is small enough.

    For K coefficients of equal size, random support, and the "coded" detector. Three causes are added up: two
    coefficients that meet in all groups, ``K^2 / 2^(C b + 1)``; a decoder that is misled, by the union bound over
    ``2^(n - b)`` random codewords of length P,

    .. math:: \tfrac12 2^{n-b} \left( \frac{1 + e^{-\rho/2}}{2} \right)^P, \qquad \rho = \mathrm{SNR}\, 2^b / K;

    and a coefficient that stays below the noise threshold in all groups. The bins of a group are kept a quarter above
    the peeling threshold.

    Parameters
    ----------
    n : int
        Bits of an index, at most 62.
    K : int
        Number of coefficients.
    snr_db : float, optional
        ``10 log10(sum X^2 / sigma^2)``; None without noise.
    failure : float
        Largest probability of failure, in (0, 1).

    Returns
    -------
    SparseWHTPlan

    Raises
    ------
    ArgumentError
        For arguments out of range, and where the samples would reach ``2**n``: a dense transform is better.

    References
    ----------
    Li, Bradley, Pawar, Ramchandran, "SPRIGHT", arXiv 1508.06336, 2015.

    Examples
    --------
    >>> from gossamer.linalg import plan_sparse_wht
    >>> plan_sparse_wht(30, 100, snr_db=5).C
    3
    """
    n = check_int("n", n, low=1, high=MAX_BITS)
    K = check_int("K", K, low=1)
    wanted = check_float("failure", failure, low=0, high=1, closed="neither")
    snr = math.inf if snr_db is None else 10 ** (check_float("snr_db", snr_db) / 10)
    best: SparseWHTPlan | None = None
    for C in (3, 4, 5, 6):
        least = max(2, math.ceil(math.log2(1.25 * THRESHOLDS[C] * K)))
        for b in range(min(least, n), min(least + 6, n) + 1):
            structural = K * (K - 1) / 2 / 2.0 ** (b * C)
            if structural > wanted / 2:
                continue
            P = _offsets(n, b, C, K, snr, wanted - structural)
            if P is None or (best is not None and C * P << b >= best.n_samples):
                continue
            missed = structural + _misread(n, b, C, K, snr, P)
            best = SparseWHTPlan(n, K, snr_db, b, C, P, C * P << b, missed)
    if best is None or best.n_samples >= 1 << n:
        raise bad_argument(
            "K", K, f"few coefficients for n={n}", "this needs as many samples as gossamer.linalg.fwht"
        )
    return best


def _offsets(n: int, b: int, C: int, K: int, snr: float, wanted: float) -> int | None:
    low, high = n - b + 8, 4096
    if _misread(n, b, C, K, snr, high) > wanted:
        return None
    while low < high:
        middle = (low + high) // 2
        if _misread(n, b, C, K, snr, middle) <= wanted:
            high = middle
        else:
            low = middle + 1
    return min(low, 1 << n)


def _misread(n: int, b: int, C: int, K: int, snr: float, P: int) -> float:
    """Expected number of coefficients that no group gives away, by the decoder or by the threshold."""
    rho = snr * 2.0**b / K
    halved = (1 + math.exp(-rho / 2)) / 2 if rho < 1400 else 0.5
    misled = 0.5 * 2.0 ** (n - b) * halved**P
    if math.isinf(rho):
        return K * misled
    gamma = float(chdtri(P, FALSE_ALARM / (C << b))) / P - 1
    hidden = float(ndtr((gamma - rho) / math.sqrt((2 + 4 * rho) / P)))
    return K * (misled + hidden ** max(C - 1, 1))
