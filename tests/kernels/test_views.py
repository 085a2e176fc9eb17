"""Kernels take the arrays that people have: strided, unaligned, read-only, transposed, empty."""

import numpy as np
import pytest
from tests.kernels.kernel_cases import (
    block_case,
    csr_case,
    gqs_case,
    lowrank_case,
    nm_case,
    quant_case,
    random_groups,
    random_x,
)

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import csr, gqs, lowrank, quant
from gossamer._kernels.views import ready


def market(rng):
    yield quant_case(rng, 7, 80, 4, 16, "int", "float32")
    yield quant_case(rng, 7, 80, 4, 16, "int", "int8")
    yield gqs_case(rng, 7, 80, 4, 16, "int", "int8")
    yield gqs_case(rng, 7, 80, 4, 16, "int", "float32")
    yield nm_case(rng, 7, 80, 2, 4, "float32")
    yield block_case(rng, 7, 5, (2, 16), "float64")
    yield csr_case(rng, 7, 80, "float64_int64")
    yield lowrank_case(rng, 7, 80, 3, "float32")


def unaligned(array):
    """The same values one byte off."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned or array.itemsize == 1
    return view


def test_strided_reversed_unaligned_and_read_only_inputs_give_the_same_bits():
    rng = np.random.default_rng(1)
    for case in market(rng):
        x = random_x(case, rng, 3)
        plain = case.product(x)
        wide = np.repeat(x, 2, axis=1)
        frozen = x.copy()
        frozen.flags.writeable = False
        for same in (np.asfortranarray(x), wide[:, ::2], x[::-1].copy()[::-1], unaligned(x), frozen):
            np.testing.assert_array_equal(case.product(same), plain, err_msg=case.label)


def test_unaligned_and_read_only_factors_give_the_same_bits():
    rng = np.random.default_rng(2)
    packed, scale, zero = random_groups(rng, (5, 4), 4, 16, "float")
    x = rng.standard_normal((64, 2)).astype(np.float32)
    options = {"bits": 4, "group": 16, "act": "int8"}
    plain = quant.matmat(packed, scale, zero, x, **options)
    for array in (packed, scale, zero):
        array.flags.writeable = False
    np.testing.assert_array_equal(
        quant.matmat(packed, unaligned(scale), unaligned(zero), x, **options), plain
    )

    indptr, indices, data = np.array([0, 2, 3]), np.array([1, 4, 0]), rng.standard_normal(3)
    y = csr.matmat(unaligned(indptr), unaligned(indices), unaligned(data), x[:6].astype(np.float64))
    np.testing.assert_array_equal(y, csr.matmat(indptr, indices, data, x[:6].astype(np.float64)))


def test_ready_arrays_are_not_copied():
    x = np.ones((3, 4), np.float32)
    assert ready(x) is x


def test_inputs_are_not_modified():
    rng = np.random.default_rng(3)
    for case in market(rng):
        x = random_x(case, rng, 5)
        before = x.copy()
        case.product(x)
        np.testing.assert_array_equal(x, before)


def test_a_matrix_without_rows_or_columns_of_x_gives_an_empty_result():
    rng = np.random.default_rng(4)
    for rows in (0, 3):
        case = quant_case(rng, rows, 40, 4, 16, "int", "int8")
        assert case.product(np.zeros((40, 0), np.float32)).shape == (rows, 0)
        assert case.product(np.zeros((40, 2), np.float32)).shape == (rows, 2)


def test_all_groups_dropped_gives_zero():
    rng = np.random.default_rng(5)
    for entry in ("float32", "float64", "int8"):
        case = gqs_case(rng, 6, 64, 4, 16, "int", entry, density=0)
        assert not case.product(np.ones((64, 3))).any()


def test_low_rank_adds_in_place_and_refuses_what_it_cannot_change():
    left, right = np.ones((3, 1)), np.ones((1, 4))
    y = np.full((3, 2), 10.0)
    assert lowrank.add(y, left, right, np.ones((4, 2))) is y
    np.testing.assert_array_equal(y, np.full((3, 2), 14.0))
    with pytest.raises(ArgumentError, match="changed in place"):
        lowrank.add(np.asfortranarray(y), left, right, np.ones((4, 2)))
    with pytest.raises(ArgumentError, match="y is float32"):
        lowrank.add(y.astype(np.float32), left, right, np.ones((4, 2)))
    with pytest.raises(ShapeError, match=r"y has shape \(3, 2\): expected \(3, 1\)"):
        lowrank.add(y, left, right, np.ones((4, 1)))


def test_one_long_row_is_split_over_tasks_and_added_up():
    """All kept groups in one row: each of the tasks ends in a slot, and the sum is that of the row schedule."""
    rng = np.random.default_rng(6)
    count = 4000
    row_ptr, col = np.array([0, 0, count, count], np.int32), np.arange(count, dtype=np.uint16)
    packed, scale, zero = random_groups(rng, (count,), 4, 16, "int")
    x = rng.standard_normal((count * 16, 2)).astype(np.float32)
    products = [
        gqs.matmat(row_ptr, col, packed, scale, zero, x, bits=4, group=16, act="int8", schedule=s, threads=t)
        for s in gqs.SCHEDULES
        for t in (1, 2, 7)
    ]
    for y in products:
        assert not y[[0, 2]].any()
        np.testing.assert_allclose(y, products[0], rtol=1e-4)
    np.testing.assert_array_equal(products[0], products[1])
    np.testing.assert_array_equal(products[0], products[2])
