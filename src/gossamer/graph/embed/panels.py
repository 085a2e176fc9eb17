"""Weighted sums of powers of a walk times random columns, a panel of columns at a time.

Columns do not depend on each other but for the lengths of rows. A panel that has all columns, or no need of lengths,
is summed while it is computed. Else the powers that count are kept until all lengths are known; or, where memory is
short, everything is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import propagate
from gossamer.graph.embed.walk import Walk

WIDTH = 128
"""Columns that go through the powers together: their rows fill the registers of AVX-512 once."""
_KEPT = 3  # powers that may be kept beside each other
_DENSE = 1 / 16  # a panel with this share of entries multiplies faster as a dense one

Panel = Any
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """What is summed: ``alpha_k`` times power k of the walk times the start, k from 0 to q.

    Attributes
    ----------
    walk : Walk
        The graph.
    start : callable
        Gives columns ``first`` to ``last`` of the start, scaled by ``walk.head``: sparse or dense, float32.
    d : int
        Columns in all.
    alpha : tuple of float
        Weights of powers 0 to q; None keeps powers 1 to q apart.
    q : int
        Highest power.
    normalize : bool
        Whether rows of each power have length 1 before they are added.
    threads : int, optional
        At most this many.
    """

    walk: Walk
    start: Callable[[int, int], Panel]
    d: int
    alpha: tuple[float, ...] | None
    q: int
    normalize: bool
    threads: int | None = None

    @property
    def terms(self) -> tuple[int, ...]:
        """Powers that count."""
        return tuple(k for k in range(self.q + 1) if (k > 0 if self.alpha is None else self.alpha[k] != 0))

    def factor(self, k: int, squares: np.ndarray | None, tail: np.ndarray | None = None) -> np.ndarray:
        """What rows of power k are multiplied with, given their squared lengths if these are divided out.

        ``tail`` stands in for that of the walk, for rows of other nodes.
        """
        alpha = 1.0 if self.alpha is None else self.alpha[k]
        if self.normalize:
            assert squares is not None
            return np.where(squares > 0, alpha / np.sqrt(np.where(squares > 0, squares, 1)), 0).astype(
                np.float32
            )
        if tail is None:
            tail = np.ones(self.walk.n) if self.walk.tail is None else self.walk.tail
        with np.errstate(over="ignore"):
            factor = (alpha * np.float64(self.walk.growth) ** k * tail).astype(np.float32)
        if not np.isfinite(factor).all():
            raise ArgumentError(
                f"power {k} of the adjacency leaves the range of float32: expected normalize=True"
            )
        return factor


@dataclass
class Inputs:
    """What each counting power was multiplied from, panel by panel: all that new nodes need."""

    bounds: list[tuple[int, int]] = field(default_factory=list)
    powers: list[dict[int, Panel]] = field(default_factory=list)


def compute(
    plan: Plan,
    out: np.ndarray,
    *,
    panel: int | None = None,
    inputs: Inputs | None = None,
    progress: Progress | None = None,
) -> None:
    """Fill ``out`` (n, d), or (n, q d) where powers are kept apart."""
    apart, terms = plan.alpha is None, plan.terms
    lengths_needed = plan.normalize
    many = len(terms) > _KEPT and not apart
    width = min(panel or (plan.d if many and lengths_needed else WIDTH), plan.d)
    bounds = [(a, min(a + width, plan.d)) for a in range(0, plan.d, width)]
    alone = len(bounds) == 1 or not lengths_needed
    twice = not alone and panel is not None
    tick = _counter(progress, len(bounds) * plan.q * (2 if twice else 1))
    keep_inputs = {k - 1 for k in terms if k} if inputs is not None else set()

    def remember(a: int, b: int, powers: dict[int, Panel]) -> None:
        if inputs is not None:
            inputs.bounds.append((a, b))
            inputs.powers.append({k: powers[k] for k in keep_inputs})

    if alone and not apart:
        for a, b in bounds:
            direct = (
                len(bounds) == 1 and type(out) is np.ndarray
            )  # a memory map would be written for each power
            total = out if direct else np.empty((len(out), b - a), np.float32)
            total[...] = 0
            remember(a, b, panel_total(plan, a, b, None, total, keep_inputs, tick))
            if total is not out:
                out[:, a:b] = total
        return
    squares = np.zeros((plan.q + 1, len(out)))
    kept = []
    for a, b in bounds:
        keep = set() if twice else set(terms)
        powers = panel_powers(plan, a, b, squares if lengths_needed else None, keep | keep_inputs, tick)
        remember(a, b, powers)
        kept.append({k: powers[k] for k in keep})
    factors = {k: plan.factor(k, squares[k]) for k in terms}
    for (a, b), powers in zip(bounds, kept, strict=True):
        if apart:
            if twice:
                powers = panel_powers(plan, a, b, None, set(terms), tick)
            for k in terms:
                add_up({k: powers[k]}, factors, out, (k - 1) * plan.d + a, plan.threads)
        elif twice:
            total = np.zeros((len(out), b - a), np.float32)
            panel_total(plan, a, b, factors, total, set(), tick)
            out[:, a:b] = total
        else:
            add_up(powers, factors, out, a, plan.threads)
        powers.clear()


def panel_powers(
    plan: Plan, first: int, last: int, squares: np.ndarray | None, keep: set[int], tick: Callable[[], None]
) -> dict[int, Panel]:
    """Run a panel through the powers; squared lengths are added to ``squares`` (q + 1, n), powers in ``keep`` kept."""

    def after(k: int) -> propagate.After:
        return propagate.After(squares=None if squares is None else squares[k])

    start = plan.start(first, last)
    if squares is not None:
        squares[0] += squared_lengths(start)
    return _run(plan, start, after, keep, tick)


def panel_total(
    plan: Plan,
    first: int,
    last: int,
    factors: dict[int, np.ndarray] | None,
    total: np.ndarray,
    keep: set[int],
    tick: Callable[[], None],
) -> dict[int, Panel]:
    """Add up a panel while it runs; without ``factors`` rows of the panel are the whole rows."""
    assert plan.alpha is not None
    alpha, own = plan.alpha, factors is None and plan.normalize
    start = plan.start(first, last)

    def factor(k: int, squares: np.ndarray | None) -> np.ndarray:
        return plan.factor(k, squares) if factors is None else factors[k]

    def after(k: int) -> propagate.After:
        if alpha[k] == 0:
            return propagate.After()
        coefficients = None if own else factor(k, None)
        return propagate.After(total=total, coefficients=coefficients, alpha=alpha[k])

    if alpha[0] != 0:
        rows = start.toarray() if scipy.sparse.issparse(start) else start
        total += factor(0, squared_lengths(start) if own else None)[:, None] * rows
    return _run(plan, start, after, keep, tick)


def add_up(
    powers: dict[int, Panel],
    factors: dict[int, np.ndarray],
    out: np.ndarray,
    column: int,
    threads: int | None,
) -> None:
    """Write the sum of the powers, each with its rows multiplied, into columns of ``out`` from ``column``."""
    add = False
    for k, power in powers.items():
        part = power.toarray() if scipy.sparse.issparse(power) else power
        propagate.scale(part, factors[k], out, column, add=add, threads=threads)
        add = True


def output(out: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray:
    """Room for the result: ``out`` if it is given and fits."""
    if out is None:
        return np.empty(shape, np.float32)
    if out.shape != shape or out.dtype != np.float32 or not (out.flags.c_contiguous and out.flags.writeable):
        raise ShapeError(
            f"out is {out.dtype} of shape {out.shape}: expected writable contiguous float32 of shape {shape}"
        )
    return out


def _run(
    plan: Plan,
    start: Panel,
    after: Callable[[int], propagate.After],
    keep: set[int],
    tick: Callable[[], None],
) -> dict[int, Panel]:
    n = plan.walk.n
    kept: dict[int, Panel] = {0: start} if 0 in keep else {}
    x, free = densified(start), None
    for k in range(1, plan.q + 1):
        needed = k < plan.q or k in keep
        y = (np.empty((n, x.shape[1]), np.float32) if free is None else free) if needed else None
        multiply = propagate.sparse if scipy.sparse.issparse(x) else propagate.dense
        whole = replace(after(k), y=y)
        for rows, edges in plan.walk.blocks:
            multiply(edges, x, whole.of(rows), plan.threads)
        free = x if isinstance(x, np.ndarray) and k > 1 and k - 1 not in keep else None
        if k in keep:
            kept[k] = y
        x = y
        tick()
    return kept


def densified(panel: Panel) -> Panel:
    """The panel in the form that multiplies faster."""
    sparse = scipy.sparse.issparse(panel) and panel.nnz <= _DENSE * panel.shape[0] * panel.shape[1]
    return panel if sparse or isinstance(panel, np.ndarray) else panel.toarray()


def squared_lengths(panel: Panel) -> np.ndarray:
    """Of rows, float64."""
    if scipy.sparse.issparse(panel):
        return np.asarray(panel.multiply(panel).sum(axis=1, dtype=np.float64)).ravel()
    return np.einsum("ij,ij->i", panel, panel, dtype=np.float64)


def _counter(progress: Progress | None, total: int) -> Callable[[], None]:
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return tick
