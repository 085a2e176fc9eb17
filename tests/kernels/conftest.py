"""Every test of this folder runs once for each instruction set that the machine has."""

import pytest

from gossamer._kernels import dispatch


@pytest.fixture(scope="module", autouse=True, params=dispatch.available_isas())
def isa(request):
    before = dispatch.active_isa()
    dispatch.force_isa(request.param)
    yield request.param
    dispatch.force_isa(before)
