"""A low-rank term inside a quantised product is the sum of the two products, in every storage and with any threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernels.kernel_cases import gqs_case, quant_case, random_case, random_factors, random_x

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import lowrank

STORAGES = ("float32", "float64", "bfloat16", "int2", "int3", "int4", "int8")
ENTRIES = ("float32", "float64", "int8")


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("family", ["quant", "gqs"])
@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    columns=st.sampled_from([0, 1, 2, 5, 17]),
    storage=st.sampled_from(STORAGES),
)
def test_fused_is_the_sum_of_the_parts(family, entry, seed, columns, storage, isa):
    rng = np.random.default_rng(seed)
    case = random_case(family, entry, rng)
    x = random_x(case, rng, columns)
    rank = int(rng.choice([0, 1, 7, 16, 40]))
    if rank == 0 and storage.startswith("int"):
        rank = 8
    factors, dense = random_factors(rng, *case.dense.shape, rank, storage)
    expected = case.product(x) + dense @ x.astype(np.float64)
    bound = np.abs(case.product(x)) + rank * np.abs(dense).max(initial=1) * np.abs(x).sum(
        axis=0, keepdims=True
    )
    slack = 64 * np.finfo(case.dtype).eps * bound
    if rank:  # factors cancel in their product: what is rounded is as large as they are
        slack = slack * 16
    assert (np.abs(case.product(x, low_rank=factors) - expected) <= slack + 1e-30).all(), case.label


@pytest.mark.parametrize("columns", [1, 3, 20])
@pytest.mark.parametrize("storage", ["bfloat16", "int8", "int4"])
@pytest.mark.parametrize("entry", ["float32", "int8"])
@pytest.mark.parametrize("build", [quant_case, gqs_case])
def test_any_number_of_threads_gives_the_same_bits(build, entry, storage, columns, isa):
    rng = np.random.default_rng(columns)
    case = build(rng, 700, 1600, 4, 16, "int", entry)
    factors, dense = random_factors(rng, 700, 1600, 64, storage)
    x = random_x(case, rng, columns)
    alone = case.product(x, threads=1, low_rank=factors)
    for threads in (2, 3, 7):
        np.testing.assert_array_equal(case.product(x, threads=threads, low_rank=factors), alone)
    unfused = case.product(x).astype(np.float64) + dense @ x.astype(np.float64)
    assert np.linalg.norm(alone - unfused) <= 1e-5 * np.linalg.norm(unfused)


@pytest.mark.parametrize("schedule", ["task", "row"])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.5])
def test_rows_without_a_group_get_their_term(schedule, density, isa):
    rng = np.random.default_rng(3)
    case = gqs_case(rng, 300, 640, 4, 16, "int", "float32", density=density)
    factors, dense = random_factors(rng, 300, 640, 8, "float32")
    x = random_x(case, rng, 2)
    for threads in (1, 4):
        y = case.product(x, threads=threads, schedule=schedule, low_rank=factors)
        expected = (case.dense + dense) @ x.astype(np.float64)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_term_alone_is_added_in_every_storage(storage, dtype, isa):
    if storage in ("float32", "float64") and np.dtype(dtype).name != storage:
        pytest.skip("dense factors have the dtype of the result")
    rng = np.random.default_rng(4)
    (left, right), dense = random_factors(rng, 90, 130, 24, storage)
    x = rng.standard_normal((130, 3)).astype(dtype)
    start = rng.standard_normal((90, 3)).astype(dtype)
    y = lowrank.add(start.copy(), left, right, x)
    scale = np.abs(dense).max() * np.abs(x).sum()
    np.testing.assert_allclose(y, start + dense @ x.astype(np.float64), atol=64 * np.finfo(dtype).eps * scale)


def test_factors_that_do_not_fit_are_refused():
    rng = np.random.default_rng(5)
    (left, right), _ = random_factors(rng, 9, 40, 8, "int4")
    with pytest.raises(ArgumentError, match="left is codes, right is float32"):
        lowrank.check(left, np.zeros((8, 40), np.float32), (9, 40))
    with pytest.raises(ShapeError, match="do not fit"):
        lowrank.check(
            left, right._replace(qweight=right.qweight[:7], scale=right.scale[:7], zero=None), (9, 40)
        )
    with pytest.raises(ShapeError, match="expected 9x41"):
        lowrank.check(left, right, (9, 41))
