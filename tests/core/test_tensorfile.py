"""Safetensors are read and mapped as they were written."""

import numpy as np
import pytest

from gossamer._core.errors import FormatError
from gossamer._core.tensorfile import map_tensors, read_tensors, write_tensors


def test_mapped_and_read_arrays_are_those_written(tmp_path):
    rng = np.random.default_rng(0)
    names = (
        "float64",
        "float32",
        "float16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint64",
        "uint32",
        "uint8",
        "bool",
    )
    tensors = {name: rng.integers(0, 2, (3, 5)).astype(name) for name in names}
    tensors |= {"empty": np.zeros((0, 4), np.float32), "single": np.array(3, np.int8)}
    write_tensors(tmp_path / "x", tensors)
    for found in (read_tensors(tmp_path / "x"), map_tensors(tmp_path / "x")):
        assert set(found) == set(tensors)
        for name, array in tensors.items():
            np.testing.assert_array_equal(found[name], array, strict=True)
    assert not map_tensors(tmp_path / "x")["float32"].flags.writeable


@pytest.mark.parametrize("read", [read_tensors, map_tensors])
def test_missing_and_damaged_files_are_refused(tmp_path, read):
    with pytest.raises(FormatError, match="no such file"):
        read(tmp_path / "x")
    write_tensors(tmp_path / "x", {"a": np.arange(9)})
    whole = (tmp_path / "x").read_bytes()
    for damaged in (b"", whole[:7], whole[:-1], b"\xff" * len(whole)):
        (tmp_path / "x").write_bytes(damaged)
        with pytest.raises(FormatError, match="damaged"):
            read(tmp_path / "x")
