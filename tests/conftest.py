"""Settings of the whole suite."""

import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# The same examples every time, and no verdict about speed: a busy machine is no reason to fail.
settings.register_profile(
    "gossamer", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gossamer")

SEED = 271_828


@pytest.fixture(scope="module")
def one_thread():
    """Torch on one thread: for modules that train small networks, which more threads only slow down."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Every test draws the same numbers, whichever tests ran before it; other ones than after a seed of its own."""
    np.random.seed(SEED)  # noqa: NPY002 - for code under test that draws from NumPy's global state
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(SEED)
