"""With ``act="int8"`` the integers are exact, on every path."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernels.kernel_cases import GROUPS, gqs_case, quant_case, rounded

BUILD = {"quant": quant_case, "gqs": gqs_case}
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("family", ["quant", "gqs"])
@settings(deadline=None, max_examples=150)
@given(
    seed=seeds,
    bits=st.sampled_from([2, 3, 4, 8]),
    group=st.sampled_from(GROUPS),
    zero=st.sampled_from(["none", "int"]),
    cols=st.integers(1, 400),
    columns=st.sampled_from([1, 2, 4, 5, 9]),
)
def test_integer_products_are_exact(family, seed, bits, group, zero, cols, columns):
    """Weights with scale 1 and activations that are integers up to 127 in every block: nothing is rounded."""
    rng = np.random.default_rng(seed)
    case = BUILD[family](rng, 5, cols, bits, group, zero, "int8", scale=1)
    x = rng.integers(-127, 128, (cols, columns)).astype(np.float32)
    x[::32] = 127
    np.testing.assert_array_equal(case.product(x), case.dense @ x, err_msg=case.label)


@pytest.mark.parametrize("family", ["quant", "gqs"])
@settings(deadline=None, max_examples=60)
@given(
    seed=seeds, bits=st.sampled_from([2, 3, 4, 8]), group=st.sampled_from(GROUPS), cols=st.integers(1, 300)
)
def test_floats_follow_the_formula(family, seed, bits, group, cols):
    rng = np.random.default_rng(seed)
    case = BUILD[family](rng, 6, cols, bits, group, "int", "int8")
    x = (rng.standard_normal((cols, 3)) * 10.0 ** rng.integers(-6, 6)).astype(np.float32)
    codes, scale = rounded(x)
    expected = case.dense @ (codes * scale)
    bound = np.abs(case.dense) @ np.abs(codes * scale)
    assert (np.abs(case.product(x) - expected) <= 1e-6 * bound + 1e-36).all(), case.label


@pytest.mark.parametrize("family", ["quant", "gqs"])
def test_rounding_is_that_of_numpy_on_halves(family):
    """``127 x / max|x|`` at exact halves goes to the even integer."""
    rng = np.random.default_rng(0)
    case = BUILD[family](rng, 4, 64, 4, 16, "none", "int8", scale=1)
    x = (np.arange(64, dtype=np.float32)[:, None] - 32) + np.float32(0.5)
    x[::32] = 127
    np.testing.assert_array_equal(case.product(x), case.dense @ np.rint(x))


@pytest.mark.parametrize("family", ["quant", "gqs"])
def test_zeros_and_tiny_numbers_give_zero_and_nan_stays_visible(family):
    rng = np.random.default_rng(0)
    case = BUILD[family](rng, 4, 64, 4, 16, "int", "int8", **({"density": 9} if family == "gqs" else {}))
    assert not case.product(np.zeros((64, 1), np.float32)).any()
    assert np.abs(case.product(np.full((64, 1), 1e-42, np.float32))).max() < 1e-35
    bad = np.ones((64, 2), np.float32)
    bad[5, 1] = np.nan
    y = case.product(bad)
    kept = (case.dense[:, :32] != 0).any(axis=1)
    np.testing.assert_array_equal(y[:, 0], case.product(bad[:, :1].copy())[:, 0])  # as if alone
    assert np.isnan(y[kept, 1]).all()
