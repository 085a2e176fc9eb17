"""Every family of the market keeps the contracts of a family and of its members."""

import numpy as np
import pytest

from gossamer.testing import MARKET, check_operator, check_structure

stalls = pytest.mark.parametrize("stall", MARKET, ids=lambda stall: stall.name)


@stalls
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_member_is_an_operator(stall, dtype):
    check_operator(stall.member(dtype))


@stalls
def test_the_transpose_of_a_member_is_an_operator(stall):
    check_operator(stall.member().T)


@stalls
def test_projection_keeps_the_contract_of_a_family(stall):
    check_structure(stall.structure, stall.shape)
