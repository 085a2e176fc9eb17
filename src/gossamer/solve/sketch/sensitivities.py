"""Sensitivities: the largest share that a row can have in the p-th power of a norm."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.optimize

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, CostError
from gossamer._core.random import RandomState, check_random_state
from gossamer._core.results import Result
from gossamer.solve.sketch.halving import halving_scores
from gossamer.solve.sketch.leverage import check_rows_matrix, whitener
from gossamer.solve.sketch.lewis import iterate_weights
from gossamer.solve.sketch.lp_minimum import least_powers
from gossamer.solve.sketch.row_blocks import MatrixBlocks, RowBlocks, squared_norms
from gossamer.solve.sketch.row_sample import independent_sample

MOST_VERTICES = 20_000
SMALL = 2000  # rows up to which the whole matrix is its own coreset
DISTORTION = 1 / 3  # of the coreset: a value on it is right within a factor of two


@dataclass(frozen=True, kw_only=True)
class SensitivityResult(Result):
    """What :func:`lp_sensitivities` returns.

    Attributes
    ----------
    scores : ndarray, shape (q,)
        Sensitivities, or estimates between the bounds; zero for rows that are zero.
    lower, upper : ndarray, shape (q,)
        Bounds. Where a coreset stands for the matrix they hold as far as it keeps norms to a third. ``"halving"`` has
        no lower ones: zeros.
    total : float
        Sum of the scores.
    solves : int
        Convex problems that were solved.
    method : str
        Which algorithm ran.
    """

    scores: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    lower: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    upper: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    total: float = 0.0
    solves: int = 0
    method: str = ""


def lp_sensitivities(
    A: Any,
    p: float,
    *,
    method: str = "recursive",
    rows: Any = None,
    factor: float = 2.0,
    bucket: int = 16,
    random_state: RandomState = None,
) -> SensitivityResult:
    r"""Sensitivities of rows, :math:`\sigma_i = \sup_x |a_i x|^p / \|A x\|_p^p`.

    Sampling rows by them keeps ``||A x||_p`` for all x; how many rows that takes is a matter of their sum. The inverse
    of a sensitivity is the least ``||A x||_p^p`` with ``a_i x = 1``.

    Parameters
    ----------
    A : array or sparse matrix, shape (n, d)
        Real and finite.
    p : float
        Positive. Below one the problem is not convex: exact for few columns, by enumeration, and otherwise bounds by
        Lewis weights.
    method : {"recursive", "exact", "bucket", "halving"}
        ``"recursive"`` bounds all rows by the ellipsoid of Lewis weights and solves, on a coreset, for those whose
        bounds are further apart than ``factor``. ``"exact"`` solves a convex problem for every row: for a few
        thousand. ``"bucket"``, for p = 1, solves one for every ``bucket`` rows, for their random sums: overestimates.
        ``"halving"`` finds a coreset of a random half of the rows, from a coreset of a half of the half and so on, and
        bounds what a row adds to it: overestimates for any p, in one pass and one over a half, a quarter and so on.
    rows : array of int, optional
        Rows to find scores of; all by default.
    factor : float
        Largest ratio of bounds that is left alone, above one.
    bucket : int
        Rows a bucket.
    random_state : int, Generator or None
        Source of the coreset and of random sums.

    Returns
    -------
    SensitivityResult

    Raises
    ------
    ArgumentError
        For p <= 0, rows out of range, an unknown method, and ``"bucket"`` with another p than one.
    CostError
        For ``"exact"`` with p < 1 and too many combinations of rows.

    Notes
    -----
    Exact: Newton's method on batches of rows, ``n d^2`` operations an iteration and row, linear programs for p = 1.
    Recursive: Lewis weights and a few solves of size of the coreset.

    References
    ----------
    Woodruff and Yasuda, "Sharper bounds for lp sensitivity sampling", ICML 2023, arXiv 2306.00732. Padmanabhan,
    Woodruff, Zhang, "Computing approximate lp sensitivities", NeurIPS 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import lp_sensitivities
    >>> A = np.random.default_rng(0).normal(size=(60, 3))
    >>> result = lp_sensitivities(A, 3, method="exact")
    >>> bool((result.scores <= 1).all()), 3 <= result.total <= 3**1.5
    (True, True)
    """
    p = check_float("p", p, low=0, closed="neither")
    check_choice("method", method, ("recursive", "exact", "bucket", "halving"))
    check_float("factor", factor, low=1, closed="neither")
    check_int("bucket", bucket, low=1)
    A = check_rows_matrix("A", A)
    n = A.shape[0]
    chosen = np.arange(n) if rows is None else np.asarray(rows)
    if (
        chosen.dtype.kind not in "iu"
        or chosen.ndim != 1
        or (len(chosen) and not 0 <= chosen.min() <= chosen.max() < n)
    ):
        raise ArgumentError(f"rows: expected integers from 0 to {n - 1}")
    blocks, rng = MatrixBlocks(A), check_random_state(random_state)
    if method == "halving":
        upper = halving_scores(blocks, p, rng)[0][chosen]
        return _result(upper, np.zeros(len(chosen)), upper, 0, method)
    X = whitener(A)
    if method == "recursive":
        values, (lower, upper), solves = recursive_scores(
            blocks, X, p, factor, rng, rows if rows is None else chosen
        )
        return _result(values, lower, upper, solves, method)
    Q = np.asarray(A @ X)
    held = chosen[np.einsum("ij,ij->i", Q[chosen], Q[chosen]) > 0]
    if method == "exact":
        values, solves = exact_scores(Q, p, held), len(held)
        bounds = values, values
    else:
        if p != 1:
            raise ArgumentError(f'p={p:g}: expected 1 for method="bucket"')
        values, bounds, solves = _bucket_scores(Q, held, bucket, rng)
    full = []
    for found in (values, *bounds):
        whole = np.zeros(n)
        whole[held] = np.minimum(found, 1.0)
        full.append(whole[chosen])
    return _result(full[0], full[1], full[2], solves, method)


def _result(
    scores: np.ndarray, lower: np.ndarray, upper: np.ndarray, solves: int, method: str
) -> SensitivityResult:
    return SensitivityResult(
        message=f"{solves} problems solved for {len(scores)} rows",
        scores=scores,
        lower=lower,
        upper=upper,
        total=float(scores.sum()),
        solves=solves,
        method=method,
    )


def exact_scores(Q: np.ndarray, p: float, rows: np.ndarray) -> np.ndarray:
    """Sensitivities of some rows of a matrix with orthonormal columns."""
    if not len(rows):
        return np.empty(0)
    if p < 1:
        return _vertex_scores(Q, p, rows)
    if p == 1:
        return np.array([1 / _least_sum(Q, Q[i]) for i in rows])
    if p == 2:
        return np.einsum("ij,ij->i", Q[rows], Q[rows])
    held = Q[np.einsum("ij,ij->i", Q, Q) > 0]
    return 1 / least_powers(held, np.ones(len(held)), Q[rows], lewis_directions(Q, Q[rows], p)[0], p)[0]


def lewis_directions(Q: np.ndarray, rows: np.ndarray, p: float) -> tuple[np.ndarray, np.ndarray]:
    """For every row the x of the Lewis ellipsoid where it is largest, with ``row @ x = 1``; and the Lewis weights."""
    weights, _, inner = iterate_weights(MatrixBlocks(Q), None, p, 1e-8)
    return _peaks(rows, inner), weights


def _peaks(rows: np.ndarray, inner: np.ndarray) -> np.ndarray:
    places = rows @ (inner @ inner.T)
    return places / np.einsum("ij,ij->i", rows, places)[:, None]


def lewis_bounds(forms: np.ndarray, rank: int, weights: np.ndarray, p: float) -> np.ndarray:
    """Upper bounds of all sensitivities, by Lewis weights and by leverage scores."""
    scores = forms ** (p / 2)
    if p <= 2:
        return np.minimum(np.minimum(weights, scores), 1.0)
    return np.minimum(np.minimum(rank ** (p / 2 - 1) * weights, len(forms) ** (p / 2 - 1) * scores), 1.0)


def recursive_scores(
    blocks: RowBlocks,
    X: np.ndarray,
    p: float,
    factor: float,
    rng: np.random.Generator,
    rows: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], int]:
    """Scores, bounds and the number of solves, of all rows or of some, in the basis X of orthonormal columns."""
    n, d = blocks.n, X.shape[1]
    weights, _, inner = iterate_weights(blocks, X, p, 1e-8)
    upper = lewis_bounds(squared_norms(blocks, X), d, weights, p)
    size = math.ceil(max(d, d ** (p / 2)) * math.log(max(d, 2)) / DISTORTION**2)
    if n <= SMALL or not 0 < size < n:
        index, w, loss = np.flatnonzero(weights > 0), np.ones(int((weights > 0).sum())), 0.0
    else:
        index, w = independent_sample(weights, size, rng)
        loss = DISTORTION
    shared = {"X": X, "inner": inner, "B": blocks.take(index) @ X, "w": w}
    shared |= {"p": p, "loss": loss, "factor": factor}
    if rows is None:
        found = blocks.each(_between, upper, **shared)
    else:
        found = [_between(blocks.take(rows), upper[rows], **shared)]
    lower, upper = (np.concatenate([part[side] for part in found]) for side in (0, 1))
    return np.sqrt(lower * upper), (lower, upper), sum(part[2] for part in found)


def _between(
    block: Any,
    bound: np.ndarray,
    X: np.ndarray,
    inner: np.ndarray,
    B: np.ndarray,
    w: np.ndarray,
    p: float,
    loss: float,
    factor: float,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Lower and upper bounds for the rows of a block, solving on B where they are apart, and how many were solved."""
    held = np.flatnonzero(bound > 0)
    rows, upper = np.asarray(block @ X)[held], bound[held].copy()
    places = _peaks(rows, inner)
    scaled = B * w[:, None] ** (1 / p)
    lower = np.empty(len(rows))
    step = max((1 << 22) // max(len(B), 1), 1)
    for lo in range(0, len(rows), step):
        lower[lo : lo + step] = 1 / (np.abs(scaled @ places[lo : lo + step].T) ** p).sum(axis=0)
    lower = np.minimum(lower / (1 + loss), upper)
    wide = np.flatnonzero(upper > factor * lower) if p >= 1 else np.empty(0, int)
    if len(wide):
        minima = least_powers(B, w, rows[wide], places[wide], p)[0]
        lower[wide] = np.minimum(np.maximum(lower[wide], 1 / minima / (1 + loss)), upper[wide])
        slack = 1 + (1e-5 if p < 2 else 1e-9)
        upper[wide] = np.maximum(np.minimum(upper[wide], slack / minima / (1 - loss)), lower[wide])
    whole = np.zeros((2, len(bound)))
    whole[0, held], whole[1, held] = lower, upper
    return whole[0], whole[1], len(wide)


def _bucket_scores(
    Q: np.ndarray, rows: np.ndarray, bucket: int, rng: np.random.Generator
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], int]:
    """Random sums of the rows of a bucket: each is as sensitive as its most sensitive row, half of the time or more."""
    repeats = 7
    order = rng.permutation(len(rows))
    values = np.empty(len(rows))
    held = Q[np.einsum("ij,ij->i", Q, Q) > 0]
    buckets = [order[lo : lo + bucket] for lo in range(0, len(rows), bucket)]
    sums = np.concatenate(
        [(rng.choice([-1.0, 1.0], (repeats if len(b) > 1 else 1, len(b))) @ Q[rows[b]]) for b in buckets]
    ) if buckets else np.empty((0, Q.shape[1]))  # fmt: skip
    keep = np.einsum("ij,ij->i", sums, sums) > 1e-24
    found = np.zeros(len(sums))
    directions, weights = lewis_directions(Q, sums[keep], 1.0)
    found[keep] = 1 / least_powers(held, np.ones(len(held)), sums[keep], directions, 1.0)[0]
    at = 0
    for b in buckets:
        count = repeats if len(b) > 1 else 1
        values[b] = found[at : at + count].max()
        at += count
    n, d = Q.shape
    forms = np.sqrt(np.einsum("ij,ij->i", Q[rows], Q[rows]))
    lower = np.maximum(weights[rows] / math.sqrt(d), forms / math.sqrt(n))
    upper = np.minimum(weights[rows], forms)
    return np.clip(values, lower, upper), (lower, upper), len(sums)


def _least_sum(Q: np.ndarray, row: np.ndarray) -> float:
    """``min ||Q x||_1`` subject to ``row @ x = 1``, by its dual: max t with ``Q^T y = t row`` and ``|y| <= 1``."""
    n, d = Q.shape
    equal = np.concatenate([Q.T, -row[:, None]], axis=1)
    cost = np.zeros(n + 1)
    cost[-1] = -1.0
    bounds = [(-1.0, 1.0)] * n + [(0.0, None)]
    done = scipy.optimize.linprog(cost, A_eq=equal, b_eq=np.zeros(d), bounds=bounds, method="highs")
    if not done.success:
        raise ArgumentError(f"the linear program of a row failed: {done.message}")
    return float(done.x[-1])


def _vertex_scores(Q: np.ndarray, p: float, rows: np.ndarray) -> np.ndarray:
    """For p <= 1 a supremum lies where d - 1 independent rows vanish: look at all such places."""
    d = Q.shape[1]
    held = np.flatnonzero(np.einsum("ij,ij->i", Q, Q) > 0)
    if math.comb(len(held), d - 1) > MOST_VERTICES:
        raise CostError(
            f'p={p:g} with {len(held)} rows and rank {d}: method="exact" looks at all sets of {d - 1} rows, at most '
            f'{MOST_VERTICES}; expected fewer, or method="recursive"'
        )
    best = np.zeros(len(rows))
    for some in itertools.combinations(held, d - 1):
        _, values, right = np.linalg.svd(Q[list(some)].reshape(d - 1, d))
        if d > 1 and values[-1] <= 1e-12 * max(values[0], 1e-300):
            continue  # not independent: no single direction
        powers = np.abs(Q @ right[-1])
        powers[powers < 1e-13 * powers.max()] = 0.0
        powers **= p
        best = np.maximum(best, powers[rows] / powers.sum())
    return best


def total_sensitivity(
    A: Any, p: float, *, n_samples: int | None = None, random_state: RandomState = None
) -> float:
    """An unbiased estimate of the sum of all sensitivities, from a sample of rows.

    Parameters
    ----------
    A : array or sparse matrix, shape (n, d)
        Real and finite.
    p : float
        At least one.
    n_samples : int, optional
        Rows that are solved for, drawn by Lewis weights; 20 d by default, which is within a fifth nearly always.
    random_state : int, Generator or None
        Source of the sample.

    Returns
    -------
    float
        The mean of ``sigma_i / pr(i)`` over the sample.

    Notes
    -----
    Rows are solved for exactly on matrices of at most 2000 rows, and on a coreset otherwise.
    """
    p = check_float("p", p, low=1)
    A = check_rows_matrix("A", A)
    rng = check_random_state(random_state)
    blocks, X = MatrixBlocks(A), whitener(A)
    if not X.shape[1]:
        return 0.0
    count = 20 * X.shape[1] if n_samples is None else check_int("n_samples", n_samples, low=1)
    weights = iterate_weights(blocks, X, p, 1e-8)[0]
    chance = weights / weights.sum()
    drawn, times = np.unique(rng.choice(blocks.n, count, p=chance), return_counts=True)
    values = recursive_scores(blocks, X, p, 1 + 1e-9, rng, drawn)[0]
    return float((times * values / chance[drawn]).sum() / count)


def max_sensitivity(A: Any, p: float = 1.0, *, n_solves: int | None = None) -> tuple[float, float]:
    """Bounds of the largest sensitivity, from few solves.

    Parameters
    ----------
    A : array or sparse matrix, shape (n, d)
        Real and finite.
    p : float
        At least one.
    n_solves : int, optional
        Rows of the largest upper bounds that are solved for; 2 d by default.

    Returns
    -------
    lower, upper : float
        For p = 1 their ratio is at most the root of d, whatever is solved for.
    """
    p = check_float("p", p, low=1)
    A = check_rows_matrix("A", A)
    Q = np.asarray(A @ whitener(A))
    if not Q.shape[1]:
        return 0.0, 0.0
    weights = iterate_weights(MatrixBlocks(Q), None, p, 1e-8)[0]
    bounds = lewis_bounds(np.einsum("ij,ij->i", Q, Q), Q.shape[1], weights, p)
    count = 2 * Q.shape[1] if n_solves is None else check_int("n_solves", n_solves, low=1)
    order = np.argsort(-bounds)
    solved = float(exact_scores(Q, p, order[:count]).max())
    rest = float(bounds[order[count]]) if count < len(order) else 0.0
    return solved, max(solved, rest)
