"""Memory that is given back: the values stay, whatever holds them."""

import sys

import numpy as np
import pytest

from gossamer.compress import memory


def test_paging_out_keeps_the_values_of_any_memory(tmp_path):
    values = np.arange(3_000_001, dtype=np.float32)
    values.tofile(tmp_path / "weights")
    mapped = np.memmap(tmp_path / "weights", dtype=np.float32, mode="c")
    own, odd = values.copy(), values[3:-5]
    before = odd.copy()
    memory.page_out([mapped, own, odd, values[::2], values[:3], np.empty(0)])
    assert np.array_equal(mapped, own)
    assert np.array_equal(values, own)
    assert np.array_equal(odd, before)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how to")
def test_mapped_weights_leave_memory(tmp_path):
    size = 64 << 20
    np.ones(size, np.uint8).tofile(tmp_path / "weights")
    mapped = np.memmap(tmp_path / "weights", dtype=np.uint8, mode="c")
    assert int(mapped[::4096].sum()) == size // 4096
    full = memory.resident()
    memory.page_out([mapped])
    assert memory.resident() <= full  # an old kernel keeps them, which is allowed
    assert int(mapped[::4096].sum()) == size // 4096
