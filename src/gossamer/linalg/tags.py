"""Tags: properties of a matrix that its owner declares and solvers rely on.

A tag is never guessed from the entries. Families imply some (a diagonal matrix is triangular), arithmetic
keeps those that it can, ``A.tagged("psd")`` declares more, and :func:`check_tags` refuses a false declaration
cheaply.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.random import RandomState, check_random_state

if TYPE_CHECKING:
    from gossamer.linalg.operator import StructuredMatrix

TAGS = ("symmetric", "psd", "orthogonal", "lower_triangular", "upper_triangular")
"""``psd`` (positive semi-definite) implies ``symmetric``; ``orthogonal`` means ``A^T A = A A^T = I``."""

TRANSPOSED = {"lower_triangular": "upper_triangular", "upper_triangular": "lower_triangular"}
"""How transposition renames a tag; the others stay."""


def close_tags(tags: Iterable[str], shape: tuple[int, int]) -> frozenset[str]:
    """Return the tags with all that they imply; refuse unknown ones and those that need a square matrix."""
    closed = {check_choice("tag", tag, TAGS) for tag in tags}
    if "psd" in closed:
        closed.add("symmetric")
    if closed & {"symmetric", "orthogonal"} and shape[0] != shape[1]:
        raise ShapeError(f"tags={sorted(closed)}: a {shape[0]}x{shape[1]} matrix is not square")
    return frozenset(closed)


def check_tags(
    A: StructuredMatrix, *, probes: int = 4, tolerance: float | None = None, random_state: RandomState = 0
) -> None:
    r"""Refuse a matrix whose tags are false, by products with a few random vectors.

    A true tag always passes; a false one passes with probability zero for ``symmetric`` and ``orthogonal``,
    and may pass for ``psd`` and the triangular tags when only few directions violate it.

    Parameters
    ----------
    A : StructuredMatrix, shape (O, K)
        The matrix; its ``tags`` are tested.
    probes : int
        Random vectors per tag. The cost is about ``6 * probes`` products.
    tolerance : float, optional
        Relative to the size of the product; ``1e-4`` in float32 and ``1e-9`` in float64 by default.
    random_state : int or Generator
        Source of the vectors.

    Raises
    ------
    ArgumentError
        Naming the tag and by how much it fails.
    """
    rng = check_random_state(random_state)
    count = check_int("probes", probes, low=1)
    allowed = tolerance if tolerance is not None else (1e-4 if A.dtype == np.float32 else 1e-9)
    for tag in sorted(A.tags):
        x = rng.standard_normal((A.shape[1], count)).astype(A.dtype)
        excess = _VIOLATION[tag](A, x, rng)
        if excess > allowed:
            raise ArgumentError(
                f"tag {tag!r} is false: violated by {excess:.2g}, expected at most {allowed:.2g}"
            )


def _asymmetry(A: StructuredMatrix, x: np.ndarray, rng: np.random.Generator) -> float:
    forward = _apply(A, x)
    return _relative(forward - to_numpy(A._multiply_transposed(x)), forward)


def _negativity(A: StructuredMatrix, x: np.ndarray, rng: np.random.Generator) -> float:
    y = _apply(A, x)
    forms = (x * y).sum(axis=0, dtype=np.float64)
    sizes = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0)) + np.finfo(np.float64).tiny
    return float((-forms / sizes).max())


def _non_orthogonality(A: StructuredMatrix, x: np.ndarray, rng: np.random.Generator) -> float:
    return _relative(to_numpy(A._multiply_transposed(_apply(A, x))) - x, x)


def _above_diagonal(A: StructuredMatrix, x: np.ndarray, rng: np.random.Generator) -> float:
    worst = 0.0
    for column in x.T:
        cut = int(rng.integers(0, A.shape[1]))
        tail = column.copy()
        tail[:cut] = 0
        y = _apply(A, tail[:, None])[:, 0]
        worst = max(worst, _relative(y[:cut], y))
    return worst


def _below_diagonal(A: StructuredMatrix, x: np.ndarray, rng: np.random.Generator) -> float:
    worst = 0.0
    for column in x.T:
        cut = int(rng.integers(0, A.shape[1])) + 1
        head = column.copy()
        head[cut:] = 0
        y = _apply(A, head[:, None])[:, 0]
        worst = max(worst, _relative(y[cut:], y))
    return worst


def _apply(A: StructuredMatrix, x: np.ndarray) -> np.ndarray:
    return to_numpy(A._multiply(x))


def _relative(error: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(error)) / max(float(np.linalg.norm(reference)), 1e-300)


_VIOLATION = {
    "symmetric": _asymmetry,
    "psd": _negativity,
    "orthogonal": _non_orthogonality,
    "lower_triangular": _above_diagonal,
    "upper_triangular": _below_diagonal,
}
