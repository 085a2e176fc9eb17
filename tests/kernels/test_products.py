"""Every kernel of the table multiplies as the dense matrix does, on every path, with any number of threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernels.kernel_cases import gqs_case, quant_case, random_case, random_x, rounded

from gossamer._kernels import dispatch

TABLE = [pytest.param(k.family, k.entry, id=f"{k.family}-{k.entry}") for k in dispatch.table()]
seeds = st.integers(0, 2**32 - 1)
columns = st.sampled_from([0, 1, 2, 3, 4, 5, 8, 17, 33])


def by_definition(case, entry, x):
    """The product in float64, and the sum of magnitudes that bounds its rounding."""
    x = x.astype(np.float64)
    if entry == "int8":
        codes, scale = rounded(x.astype(np.float32))
        x = codes * scale
    return case.dense @ x, np.abs(case.dense) @ np.abs(x)


@pytest.mark.parametrize(("family", "entry"), TABLE)
@settings(deadline=None, max_examples=120)
@given(seed=seeds, columns=columns)
def test_product_is_that_of_the_dense_matrix(family, entry, seed, columns):
    rng = np.random.default_rng(seed)
    case = random_case(family, entry, rng)
    x = random_x(case, rng, columns)
    y = case.product(x)
    expected, bound = by_definition(case, entry, x)
    assert y.shape == expected.shape
    assert y.dtype == case.dtype
    precision = np.finfo(case.dtype).eps
    # a rounding of each step of the sum, and for zero points in float16 of what is taken off again
    slack = (
        64
        * precision
        * (bound + np.abs(x).astype(np.float64).sum(axis=0) * np.abs(case.dense).max(initial=0))
    )
    assert (np.abs(y - expected) <= slack + 1e-30).all(), case.label


@pytest.mark.parametrize("rows_cols_columns", [(64, 512, 1), (48, 1000, 1), (48, 512, 3), (96, 512, 40)])
@pytest.mark.parametrize(("family", "entry"), [p for p in TABLE if "float32" in p.values[1]])
def test_float32_error_stays_below_2e6_times_the_root_of_the_width(family, entry, rows_cols_columns):
    rows, cols, columns = rows_cols_columns
    rng = np.random.default_rng(rows + cols)
    build = {"quant": quant_case, "gqs": gqs_case}.get(family)
    cases = (
        [
            build(rng, rows, cols, bits, group, "int", entry)
            for bits in (2, 3, 4, 8)
            for group in (16, 32, 128)
        ]
        if build
        else [random_case(family, entry, rng, largest=cols) for _ in range(8)]
    )
    for case in cases:
        x = random_x(case, rng, columns)
        exact = case.dense @ x.astype(np.float64)
        norm = np.linalg.norm(exact)
        width = case.dense.shape[1]
        assert np.linalg.norm(case.product(x) - exact) <= 2e-6 * np.sqrt(width) * norm + 1e-30, case.label


@pytest.mark.parametrize(("family", "entry"), TABLE)
@settings(deadline=None, max_examples=25)
@given(seed=seeds, columns=st.sampled_from([1, 2, 5, 33]))
def test_every_path_agrees_with_the_portable_one(family, entry, seed, columns, isa):
    rng = np.random.default_rng(seed)
    case = random_case(family, entry, rng)
    x = random_x(case, rng, columns)
    y = case.product(x)
    try:
        dispatch.force_isa("portable")
        reference = case.product(x)
    finally:
        dispatch.force_isa(isa)
    _, bound = by_definition(case, entry, x)
    slack = 1e-6 if case.dtype == np.float32 else 1e-14
    biggest = np.abs(case.dense).max(initial=0) * np.abs(x).sum(axis=0)
    assert (np.abs(y - reference) <= slack * (bound + biggest) + 1e-30).all(), case.label


@pytest.mark.parametrize(("family", "entry"), TABLE)
@pytest.mark.parametrize("columns", [1, 3, 20])
def test_any_number_of_threads_gives_the_same_bits(family, entry, columns):
    rng = np.random.default_rng(columns)
    for case in _large_cases(family, entry, rng):
        x = random_x(case, rng, columns)
        alone = case.product(x, threads=1)
        for threads in (2, 3, 7):
            np.testing.assert_array_equal(case.product(x, threads=threads), alone, err_msg=case.label)


def _large_cases(family, entry, rng):
    """Large enough that several threads are worth waking."""
    from tests.kernels.kernel_cases import (
        block_case,
        csr_case,
        lowrank_case,
        lscd_case,
        monarch_case,
        nm_case,
    )

    return {
        "quant": lambda: [quant_case(rng, 700, 1100, b, g, z, entry) for b, g, z in
                          [(4, 16, "int"), (4, 32, "none"), (3, 20, "float"), (8, 0, "int")]],
        "gqs": lambda: [gqs_case(rng, 700, 1600, b, g, z, entry) for b, g, z in
                        [(4, 16, "int"), (4, 32, "none"), (2, 48, "float"), (3, 20, "int")]],
        "nm": lambda: [nm_case(rng, 700, 1600, 2, 4, entry), nm_case(rng, 700, 1600, 3, 16, entry)],
        "block": lambda: [block_case(rng, 700, 100, (1, 16), entry), block_case(rng, 99, 200, (6, 8), entry)],
        "csr": lambda: [csr_case(rng, 700, 1600, entry)],
        "lscd": lambda: [lscd_case(rng, 700, 1600, entry), lscd_case(rng, 70, 9000, entry, split=5)],
        "monarch": lambda: [monarch_case(rng, (4, 100, 90, 4, 110, 100), (437, 359), entry)],
        "lowrank": lambda: [lowrank_case(rng, 900, 900, 65, entry)],
    }[family]()  # fmt: skip
