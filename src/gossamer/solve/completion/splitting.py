"""Alternating minimisation in the form that theory is about: fresh entries for every half sweep."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError
from gossamer.solve.completion.alternating import Inner, Model, finish
from gossamer.solve.completion.entries import Entries
from gossamer.solve.completion.factors import CompletionResult, incoherence, subspace_distance
from gossamer.solve.completion.start import clip_start, spectral_start
from gossamer.solve.iteration import Watch


def default_rounds(tol: float) -> int:
    """Rounds after which a distance that falls to a quarter each time has fallen by ``tol``."""
    return max(1, math.ceil(math.log(1 / max(tol, 1e-16)) / math.log(4)))


def split(entries: Entries, parts: int, rank: int, rng: np.random.Generator) -> list[Entries]:
    """Entries in random parts of equal size.

    Raises
    ------
    ArgumentError
        If a part had fewer than ``rank`` entries for each line of the longer side.
    """
    needed = parts * rank * max(entries.shape)
    if entries.count < needed:
        raise ArgumentError(
            f"{entries.count} entries are too few to split into {parts} parts: expected at least {needed}, "
            f"{rank} for each of {max(entries.shape)} lines in every part; or sample_splitting=False, or fewer rounds"
        )
    label = np.empty(entries.count, np.int64)
    label[rng.permutation(entries.count)] = np.arange(entries.count) % parts
    return [entries.part(label == part) for part in range(parts)]


def split_minimization(
    entries: Entries,
    rank: int,
    rounds: int,
    inner: Inner,
    watch: Watch,
    *,
    start: np.ndarray | None,
    mu: float | None,
    clip: bool,
    rng: np.random.Generator,
) -> CompletionResult:
    """``2 rounds + 1`` parts: one for the spectral start, one for each half sweep; a start given replaces its own."""
    first, *parts = split(entries, 2 * rounds + 1, rank, rng)
    U = spectral_start(first, rank, rng, inner.threads)[0] if start is None else np.linalg.qr(start)[0]
    U, clipped = clip_start(U, mu) if clip else (U, 0)
    scale = max(
        float(np.sqrt(np.mean(entries.rows.value.astype(np.float64) ** 2))), np.finfo(np.float64).tiny
    )
    unknown = float("nan")
    names = ("row_distance", "column_distance", "row_mu", "column_mu", "inner_steps")
    nothing: dict[str, Any] = dict.fromkeys(names, unknown)
    watch(U, 1.0, rmse=scale, **nothing)
    V = np.zeros((entries.shape[1], rank), U.dtype)
    hat, deficient, over, done = U, 0, False, 0
    while not over and done < rounds:
        before: list[Any] = [U, V]
        V_hat, columns = inner.solve(parts[done].columns, U, None)
        V = np.ascontiguousarray(np.linalg.qr(V_hat)[0])
        hat, rows = inner.solve(parts[rounds + done].rows, V, None)
        U = np.ascontiguousarray(np.linalg.qr(hat)[0])
        deficient = columns.n_deficient + rows.n_deficient
        done += 1
        rmse = Model(hat, V).residual(entries)
        more: dict[str, Any] = {
            "rmse": rmse,
            "row_distance": subspace_distance(before[0], U),
            "column_distance": subspace_distance(before[1], V) if done > 1 else 1.0,
            "row_mu": incoherence(U),
            "column_mu": incoherence(V),
            "inner_steps": float(np.mean(np.concatenate([columns.steps, rows.steps]))),
        }
        over = watch(U, rmse / scale, **more)
    return finish(entries, Model(hat, V), watch, inner.method, deficient, clipped)
