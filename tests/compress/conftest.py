"""Fixtures: tiny models and their tokens."""

import numpy as np
import pytest
from tests.compress.tiny import tiny_bert, tiny_llama, torch


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def llama():
    return tiny_llama()


@pytest.fixture
def bert():
    return tiny_bert()


@pytest.fixture
def tokens():
    """4,000 tokens from a random first-order chain: text that a context says something about."""
    generator = np.random.default_rng(0)
    jumps = generator.integers(0, 96, (96, 4))
    ids = [0]
    for _ in range(3999):
        ids.append(int(jumps[ids[-1], generator.integers(4)]))
    return np.array(ids)
