"""NEON kernels give what portable ones give, on an emulated CPU with the integer dot product and on one without."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "aarch64"
NEEDED = ("cmake", os.environ.get("CXX_AARCH64", "aarch64-linux-gnu-g++"), "qemu-aarch64")


@pytest.fixture(scope="module", autouse=True)
def isa():
    """Once, not for each instruction set of this machine: the emulated one has its own."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    "GOSSAMER_ISA" in os.environ, reason="runs once, with the best instruction set of this machine"
)
@pytest.mark.skipif(
    not all(map(shutil.which, NEEDED)), reason=f"cross-compiles for aarch64: needs {', '.join(NEEDED)}"
)
def test_neon_kernels_equal_portable_ones_under_emulation(tmp_path):
    result = subprocess.run([HERE / "run.sh", tmp_path], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("all equal") == 2
