"""Weighted sets of rows that stand for a matrix in p-norms."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.random import RandomState, check_random_state
from gossamer._core.results import Result
from gossamer.solve.sketch.halving import halving_scores
from gossamer.solve.sketch.leverage import blocks_whitener, check_rows_matrix
from gossamer.solve.sketch.row_blocks import MatrixBlocks, RowBlocks
from gossamer.solve.sketch.row_sample import independent_sample, multinomial_sample
from gossamer.solve.sketch.row_scores import SCORES, row_scores, sample_in_rounds


@dataclass(frozen=True, kw_only=True)
class Coreset(Result):
    """Rows and their weights: ``sum w_i |a_i x|^p`` over them stands for ``||A x||_p^p``.

    Attributes
    ----------
    index : ndarray of int, shape (m,)
        Rows, sorted.
    weight : ndarray, shape (m,)
        Positive weights of the p-th powers.
    p : float
        The exponent.
    n : int
        Rows of the matrix.
    rounds : int
        Rounds of sampling: more than one for "root_leverage".
    """

    index: np.ndarray = field(default_factory=lambda: np.empty(0, int), repr=False)
    weight: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    p: float = 2.0
    n: int = 0
    rounds: int = 1

    def __len__(self) -> int:
        return len(self.index)

    def apply(self, A: Any) -> Any:
        """The rows of A (n, d) or (n,), each times the p-th root of its weight: ``||S A x||_p`` of this is the norm."""
        rows = A if scipy.sparse.issparse(A) else to_numpy(check_array("A", A, ndim=(1, 2)))
        if rows.shape[0] != self.n:
            raise ShapeError(
                f"A has shape {rows.shape}: expected {self.n} rows, as the coreset was drawn from"
            )
        root = self.weight ** (1 / self.p)
        if scipy.sparse.issparse(rows):
            return scipy.sparse.csr_array(scipy.sparse.csr_array(rows)[self.index].multiply(root[:, None]))
        return rows[self.index] * (root if rows.ndim == 1 else root[:, None])

    def sample_weight(self) -> np.ndarray:
        """Weights of all n rows, zero for those that were left out: scikit-learn's ``sample_weight``."""
        out = np.zeros(self.n)
        out[self.index] = self.weight
        return out


def lp_sample_size(
    p: float,
    eps: float,
    delta: float,
    S: float | None = None,
    *,
    d: int,
    n: int,
    scores: str = "lewis",
) -> int:
    r"""Rows to sample for ``||S A x||_p^p`` to be within ``1 +- eps`` of ``||A x||_p^p`` for all x.

    The bounds of the analysis with constant one, :math:`m = v \log(n / \delta) / \epsilon^2`: for p <= 2 the value v is
    d for Lewis weights, halving and root leverage, the smaller of :math:`S^{2/p}` and :math:`d^{1-p/2} S` for
    sensitivities and ``S + d`` for sensitivities plus leverage; for p > 2 it is :math:`d^{p/2}`, :math:`S^{2-2/p}` and
    :math:`d^{2/p} S^{2-4/p}`.

    Parameters
    ----------
    p, eps, delta : float
        Exponent, accuracy and probability of failure.
    S : float, optional
        Total sensitivity; its largest value, ``max(d, d^{p/2})``, by default.
    d, n : int
        Columns and rows.
    scores : str
        What rows are sampled by; "uniform" has no bound and is refused.

    Returns
    -------
    int
        At least d and at most n.

    References
    ----------
    Woodruff and Yasuda, ICML 2023, arXiv 2306.00732; Munteanu and Omlor, "Optimal bounds for lp sensitivity sampling
    via l2 augmentation", ICML 2024, for ``S + d``.
    """
    p = check_float("p", p, low=0, closed="neither")
    check_float("eps", eps, low=0, high=1, closed="right")
    check_float("delta", delta, low=0, high=1, closed="neither")
    check_int("d", d, low=1)
    check_int("n", n, low=1)
    check_choice("scores", scores, [name for name in SCORES if name != "uniform"])
    S = max(d, d ** (p / 2)) if S is None else check_float("S", S, low=0, closed="neither")
    if p <= 2:
        sums = {
            "sensitivity": min(S ** (2 / p), d ** (1 - p / 2) * S),
            "leverage": d ** (2 / p) if p < 2 else d,
        }
        sums |= {"sensitivity+l2": S + d, "leverage+sensitivity": S + d}
        value = sums.get(scores, d)
    else:
        sums = {"sensitivity": S ** (2 - 2 / p), "leverage+sensitivity": d ** (2 / p) * S ** (2 - 4 / p)}
        sums |= {"sensitivity+l2": d ** (2 / p) * S ** (2 - 4 / p)}
        value = sums.get(scores, d ** (p / 2))
    return int(min(max(math.ceil(value * math.log(n / delta) / eps**2), d), n))


def lp_coreset(
    A: Any,
    p: float,
    m: int | None = None,
    *,
    eps: float | None = None,
    delta: float = 0.01,
    scores: Any = "lewis",
    sampling: str = "independent",
    b: Any = None,
    sample_weight: Any = None,
    random_state: RandomState = None,
) -> Coreset:
    r"""Draw a weighted subset of rows that keeps :math:`\|A x\|_p` for every x.

    Lewis weights are the cheap choice that is good for every p; sensitivities, and their mixture with leverage, need
    fewer rows for p > 2 where their sum is small. For regression scores have to see ``b`` as well.

    Parameters
    ----------
    A : array or sparse matrix, shape (n, d)
        Real and finite.
    p : float
        Positive; bounds for p < 1 are not known for all scores.
    m : int, optional
        Rows: on average for independent sampling, draws for multinomial. Not fewer than the rank of A.
    eps, delta : float
        Accuracy and probability of failure, for :func:`lp_sample_size` where m is not given.
    scores : str or array, shape (n,)
        What rows are drawn by: "lewis", "sensitivity", "leverage", "root_leverage", "leverage+sensitivity",
        "sensitivity+l2", "halving", "uniform", or numbers. "halving" takes one pass over a long table and one over a
        half of it, a quarter and so on, where "lewis" takes eight or so; it draws a little less well. "root_leverage"
        is :math:`\tau_i^{p/2}`; for p < 2 with eps given it is computed anew on the sample while that shrinks, down to
        m rows if m is given too. "leverage+sensitivity" is half of each, as shares.
    sampling : {"independent", "multinomial"}
        A coin for each row, with probabilities that sum to m, or m draws.
    b : array, shape (n,), optional
        One more column: rows are drawn by scores of ``[A, b]``, which is not formed.
    sample_weight : array, shape (n,), optional
        Weights that the rows have already.
    random_state : int, Generator or None
        Source of the draws.

    Returns
    -------
    Coreset

    Raises
    ------
    ArgumentError
        If neither or both of m and eps are given, m is less than the rank, or scores are negative or all zero.

    References
    ----------
    Woodruff and Yasuda, "Sharper bounds for lp sensitivity sampling", ICML 2023, arXiv 2306.00732.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import lp_coreset
    >>> A = np.random.default_rng(0).normal(size=(5000, 4))
    >>> coreset = lp_coreset(A, 1, 400, random_state=0)
    >>> norm, near = abs(A.sum(axis=1)).sum(), abs(coreset.apply(A).sum(axis=1)).sum()
    >>> bool(abs(near / norm - 1) < 0.2)
    True
    """
    p = check_float("p", p, low=0, closed="neither")
    check_choice("sampling", sampling, ("independent", "multinomial"))
    A = check_rows_matrix("A", A)
    n = A.shape[0]
    prior = _check_weights(sample_weight, n)
    side = None
    if b is not None:
        side = to_numpy(check_array("b", b, ndim=1)).astype(np.float64, copy=False)
        if side.shape != (n,):
            raise ShapeError(f"b has shape {side.shape}: expected ({n},), as many as A has rows")
        side = side * prior ** (1 / p)
    blocks = MatrixBlocks(_scaled(A, prior ** (1 / p)), side)
    return draw_coreset(blocks, p, m, eps, delta, scores, sampling, prior, check_random_state(random_state))


def draw_coreset(
    blocks: RowBlocks,
    p: float,
    m: int | None,
    eps: float | None,
    delta: float,
    scores: Any,
    sampling: str,
    prior: np.ndarray | None,
    rng: np.random.Generator,
) -> Coreset:
    """:func:`lp_coreset` of rows in blocks, which have the roots of their prior weights in them."""
    n = blocks.n
    _check_size(m, eps, scores)
    name, rounds = scores if isinstance(scores, str) else "", 1
    draw = independent_sample if sampling == "independent" else multinomial_sample
    if name == "halving":
        values, rank = halving_scores(blocks, p, rng)
        m = _rows_wanted(m, eps, delta, p, scores, n, rank)
        index, weight = draw(values if prior is None else values * (prior > 0), m, rng)
    else:
        X = blocks_whitener(blocks)
        m = _rows_wanted(m, eps, delta, p, scores, n, X.shape[1])
        if name == "root_leverage" and p < 2 and eps is not None:
            index, weight, rounds = sample_in_rounds(blocks, X, p, m, eps, rng)
        else:
            values = row_scores(blocks, X, p, scores, rng)
            index, weight = draw(values if prior is None else values * (prior > 0), m, rng)
    return Coreset(
        message=f"{len(index)} of {n} rows by {scores if isinstance(scores, str) else 'given scores'}",
        index=index,
        weight=weight if prior is None else weight * prior[index],
        p=p,
        n=n,
        rounds=rounds,
    )


def lp_coreset_stream(
    blocks: Iterable[Any], p: float, m: int, *, scores: str = "lewis", random_state: RandomState = None
) -> tuple[np.ndarray, Coreset]:
    """A coreset of rows that arrive in blocks, by merging and reducing: memory is m log n rows.

    Every level of merging adds its own error: for a total of eps ask for m as of eps over the number of levels.

    Parameters
    ----------
    blocks : iterable of arrays, shape (c, d)
        The rows.
    p : float
        Exponent.
    m : int
        Rows that a reduced set has.
    scores : str
        As for :func:`lp_coreset`.
    random_state : int, Generator or None
        Source of the draws.

    Returns
    -------
    rows : ndarray, shape (about m, d)
        The rows that were kept, as they came.
    coreset : Coreset
        Their positions in the stream and their weights.
    """
    rng = check_random_state(random_state)
    levels: list[tuple[np.ndarray, np.ndarray, np.ndarray] | None] = []
    start = 0
    for block in blocks:
        rows = to_numpy(check_array("block", block, ndim=2)).astype(np.float64)
        held = rows, np.ones(len(rows)), np.arange(start, start + len(rows))
        start += len(rows)
        held = _reduce(held, p, m, scores, rng)
        for level in range(len(levels) + 1):
            if level == len(levels):
                levels.append(None)
            before = levels[level]
            if before is None:
                levels[level] = held
                break
            levels[level] = None
            held = _reduce(
                tuple(np.concatenate(pair) for pair in zip(before, held, strict=True)), p, m, scores, rng
            )
    left = [held for held in levels if held is not None]
    if not left:
        raise ArgumentError("blocks: expected at least one block of rows")
    rows, weight, index = _reduce(
        tuple(np.concatenate(parts) for parts in zip(*left, strict=True)), p, m, scores, rng
    )
    order = np.argsort(index)
    coreset = Coreset(index=index[order], weight=weight[order], p=p, n=start, rounds=len(levels))
    return rows[order], coreset


def _reduce(held: Any, p: float, m: int, scores: str, rng: np.random.Generator) -> Any:
    rows, weight, index = held
    if len(rows) <= m:
        return held
    coreset = lp_coreset(rows, p, m, scores=scores, sample_weight=weight, random_state=rng)
    return rows[coreset.index], coreset.weight, index[coreset.index]


def _check_size(m: int | None, eps: float | None, scores: Any) -> None:
    if isinstance(scores, str):
        check_choice("scores", scores, SCORES)
    if (m is None) == (eps is None) and not (scores == "root_leverage" if isinstance(scores, str) else False):
        raise ArgumentError(f"m={m!r}, eps={eps!r}: expected one of them")


def _rows_wanted(
    m: int | None, eps: float | None, delta: float, p: float, scores: Any, n: int, rank: int
) -> int:
    if rank == 0:
        raise ArgumentError("A: expected at least one row that is not zero")
    if m is None:
        if not isinstance(scores, str) or eps is None:
            raise ArgumentError("m=None: expected a number of rows")
        return lp_sample_size(p, eps, delta, d=rank, n=n, scores=scores)
    return check_int("m", m, low=rank)


def _check_weights(weights: Any, n: int) -> np.ndarray:
    if weights is None:
        return np.ones(n)
    weights = to_numpy(check_array("sample_weight", weights, ndim=1)).astype(np.float64)
    if weights.shape != (n,) or weights.min(initial=0) < 0:
        raise ArgumentError(f"sample_weight: expected {n} numbers >= 0, one a row")
    return weights


def _scaled(A: Any, factors: np.ndarray) -> Any:
    if (factors == 1).all():
        return A
    if scipy.sparse.issparse(A):
        return scipy.sparse.csr_array(A.multiply(factors[:, None]))
    return A * factors[:, None]
