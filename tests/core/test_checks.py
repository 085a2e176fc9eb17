"""Checks return what the inside may trust, and say precisely what is wrong."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, GossamerError, ShapeError


@given(st.integers(-50, 50), st.integers(-50, 0), st.integers(0, 50))
def test_check_int_accepts_exactly_the_interval(value, low, high):
    if low <= value <= high:
        assert check_int("n", value, low=low, high=high) == value
    else:
        nearest = low if value < low else high
        with pytest.raises(ArgumentError, match=rf"n={value}: .*nearest valid: {nearest}"):
            check_int("n", value, low=low, high=high)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, np.bool_(True)])
def test_check_int_refuses_what_only_looks_like_an_integer(value):
    with pytest.raises(ArgumentError, match="n="):
        check_int("n", value)


def test_check_int_takes_numpy_integers():
    assert check_int("n", np.int64(3)) == 3
    assert type(check_int("n", np.int64(3))) is int


@pytest.mark.parametrize(
    ("closed", "accepted"),
    [("both", [0, 0.5, 1]), ("left", [0, 0.5]), ("right", [0.5, 1]), ("neither", [0.5])],
)
def test_check_float_keeps_its_ends_open_or_closed(closed, accepted):
    for value in (0, 0.5, 1):
        if value in accepted:
            assert check_float("p", value, low=0, high=1, closed=closed) == value
        else:
            with pytest.raises(ArgumentError, match=f"p={value}"):
                check_float("p", value, low=0, high=1, closed=closed)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "a lot", None])
def test_check_float_refuses_what_is_not_finite(value):
    with pytest.raises(ArgumentError):
        check_float("p", value)


def test_check_choice_names_the_nearest():
    with pytest.raises(ArgumentError, match=r"scope='matrx'.*did you mean 'matrix'\?"):
        check_choice("scope", "matrx", ("matrix", "row"))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_check_array_keeps_kind_and_dtype_without_a_copy(dtype):
    array = np.ones((2, 3), dtype=dtype)
    assert check_array("W", array, ndim=2) is array
    tensor = torch.ones(2, 3, dtype=getattr(torch, dtype))
    assert check_array("W", tensor, ndim=2) is tensor


def test_check_array_makes_integers_float64():
    assert check_array("W", [[1, 2]], ndim=2).dtype == np.float64
    assert check_array("W", torch.ones(2, dtype=torch.int32), ndim=1).dtype == torch.float64


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.ones(3), ShapeError, r"W has shape \(3,\): expected a 2-D array"),
        (np.ones((2, 2)) * 1j, ArgumentError, "complex"),
        ([[1, 2], [3]], ArgumentError, "rectangular"),
        ([["a"]], ArgumentError, "an array of real numbers"),
        (
            np.array([[1, np.nan], [np.inf, 1]]),
            ArgumentError,
            r"2 NaN or infinite entries, the first at \(0, 1\)",
        ),
        (
            torch.tensor([[1.0, float("nan")]]),
            ArgumentError,
            r"1 NaN or infinite entries, the first at \(0, 1\)",
        ),
    ],
)
def test_check_array_says_what_is_wrong(value, error, message):
    with pytest.raises(error, match=message):
        check_array("W", value, ndim=2)


def test_every_error_can_be_caught_as_one_or_as_the_builtin():
    with pytest.raises(GossamerError):
        check_int("n", -1, low=0)
    with pytest.raises(ValueError, match="n=-1"):
        check_int("n", -1, low=0)
