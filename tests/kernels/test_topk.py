"""Selections of the largest positive entries against a full sort."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import topk

SHAPES = [(1, 1), (3, 7), (17, 130), (33, 257), (70, 33)]


def matrix(shape, dtype=np.float32, seed=0, levels=None):
    rng = np.random.default_rng(seed)
    if levels is not None:  # many ties and zeros
        return rng.integers(-levels, levels + 1, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def first_largest(line, k):
    """Places of the k largest positive entries, the first of equal ones, ascending."""
    order = np.argsort(-line, kind="stable")[:k]
    return np.sort(order[line[order] > 0])


def places(kept):
    return [kept.where[a:b].tolist() for a, b in zip(kept.start, kept.start[1:])]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_keep_what_a_full_sort_keeps(shape, levels, dtype):
    z = matrix(shape, dtype, levels=levels)
    for k in {1, min(3, shape[1]), shape[1]}:
        kept = topk.rows(z, k)
        assert places(kept) == [first_largest(line, k).tolist() for line in z]
        assert kept.value.dtype == dtype
        assert np.array_equal(kept.value, z[np.repeat(np.arange(len(z)), np.diff(kept.start)), kept.where])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_columns_keep_what_a_full_sort_keeps(shape, levels, dtype):
    z = matrix(shape, dtype, levels=levels)
    m = np.random.default_rng(1).integers(0, shape[0] + 1, shape[1])
    kept = topk.columns(z, m)
    assert places(kept) == [first_largest(line, count).tolist() for line, count in zip(z.T, m)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_largest_of_all_are_those_of_a_full_sort(shape, levels, dtype):
    z = matrix(shape, dtype, levels=levels)
    for count in {1, z.size // 3 + 1, z.size}:
        kept = topk.largest(z, count)
        flat = np.repeat(np.arange(len(z)), np.diff(kept.start)) * shape[1] + kept.where
        assert flat.tolist() == first_largest(z.ravel(), count).tolist()


def test_a_sample_that_sees_only_large_values_does_not_mislead():
    z = np.full((4000, 600), 1e-3, np.float32)
    z[::12] = 5.0  # the rows of the sample
    assert len(topk.largest(z, 1_000_000).value) == 1_000_000


@pytest.mark.parametrize("against", [False, True])
@pytest.mark.parametrize("scale", [0.0, 0.7])
@pytest.mark.parametrize(("base", "weight"), [(1.0, 0.3), (0.0, 1.0)])
def test_scores_choose_what_a_full_sort_of_scores_chooses(base, weight, scale, against):
    z, slope = matrix((9, 201), np.float64), matrix((9, 201), np.float64, 1)
    kept = topk.scored(z, slope, 11, base=base, weight=weight, scale=scale, clip=2.0, against=against)
    size = np.minimum(np.maximum(-slope, 0) if against else np.abs(slope), 2.0)
    by = scale or np.abs(slope).mean(axis=1, keepdims=True)
    score = z * (base + weight * size / by)
    assert places(kept) == [first_largest(line, 11).tolist() for line in score]
    assert np.array_equal(kept.value, z[np.repeat(np.arange(9), np.diff(kept.start)), kept.where])


def test_rows_without_slopes_are_taken_by_value():
    z = matrix((6, 90))
    slope = np.zeros_like(z)
    for base, scale in ((1.0, 0.0), (0.0, 0.0), (0.0, 1.0), (1.0, -1.0)):
        kept = topk.scored(z, slope, 5, base=base, weight=1.0, scale=scale)
        assert places(kept) == places(topk.rows(z, 5))


def test_above_takes_every_entry_over_its_columns_bound():
    z, bound = matrix((19, 130)), matrix((130,), seed=2)
    kept = topk.above(z, bound)
    assert places(kept) == [np.flatnonzero(line > bound).tolist() for line in z]


def test_infinite_bounds_keep_nothing():
    assert len(topk.above(matrix((4, 40)), np.full(40, np.inf)).value) == 0


@pytest.mark.parametrize("run", [
    lambda z, t: topk.rows(z, 8, threads=t),
    lambda z, t: topk.columns(z, np.full(z.shape[1], 9), threads=t),
    lambda z, t: topk.largest(z, 3000, threads=t),
    lambda z, t: topk.scored(z, z[::-1].copy(), 8, base=1.0, weight=0.5, threads=t),
])  # fmt: skip
def test_the_same_bits_for_1_2_and_7_threads(run):
    z = matrix((300, 1000), levels=40)
    one = run(z, 1)
    for threads in (2, 7):
        assert all(np.array_equal(a, b) for a, b in zip(one, run(z, threads), strict=True))


def test_bad_input_is_refused():
    z = matrix((4, 6))
    with pytest.raises(ArgumentError, match="k=7"):
        topk.rows(z, 7)
    with pytest.raises(ArgumentError, match="between 0 and 4"):
        topk.columns(z, np.full(6, 5))
    with pytest.raises(ArgumentError, match="6 integers"):
        topk.columns(z, np.ones(5, int))
    with pytest.raises(ShapeError, match="float32"):
        topk.scored(z, z.astype(np.float64), 2, base=1.0, weight=1.0)
    with pytest.raises(ShapeError, match="bound"):
        topk.above(z, np.zeros(5))
    with pytest.raises(ShapeError, match="at least one row"):
        topk.rows(z[:0], 1)
