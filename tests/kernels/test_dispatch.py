"""One table says which kernels there are; GOSSAMER_ISA and force_isa say which path runs."""

import os
import subprocess
import sys

import pytest
from tests.kernels.kernel_cases import random_case

from gossamer._core.errors import ArgumentError
from gossamer._kernels import dispatch


def test_forced_path_is_the_one_that_runs(isa):
    assert dispatch.active_isa() == isa
    kernels = dispatch.show_kernels()
    assert kernels["gqs"] == isa
    assert set(kernels.values()) <= {isa, isa.removesuffix("-dot")}


def test_table_names_every_family_with_cases(isa):
    import numpy as np

    table = dispatch.table()
    assert {row.family for row in table} >= {"csr", "quant", "gqs", "nm", "block", "lowrank"}
    for row in table:
        assert row.isas == dispatch.available_isas()
        assert random_case(row.family, row.entry, np.random.default_rng(0)).label


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        ("portable", ("portable",)),
        ("avx2", ("portable", "avx2")),
        ("neon", ("portable", "neon")),
        ("neon-dot", ("portable", "neon", "neon-dot")),
    ],
)
def test_paths_are_those_of_the_architecture(monkeypatch, best, expected):
    class Machine:
        detected_isa = active_isa = staticmethod(lambda: best)
        families = staticmethod(lambda: ["gqs", "csr"])

    monkeypatch.setattr(dispatch, "_native", Machine)
    assert dispatch.available_isas() == expected
    assert dispatch.show_kernels() == {"gqs": best, "csr": "neon" if best == "neon-dot" else best}


def test_unknown_path_is_refused():
    with pytest.raises(ArgumentError, match="isa='sse9'"):
        dispatch.force_isa("sse9")


@pytest.mark.parametrize("wanted", dispatch.available_isas())
def test_environment_forces_a_path(wanted):
    code = "from gossamer._kernels import dispatch; print(dispatch.active_isa())"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "GOSSAMER_ISA": wanted},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == wanted


@pytest.mark.skipif("avx512" not in dispatch.available_isas(), reason="needs AVX-512")
def test_the_base_of_avx512_leaves_out_what_came_later(isa):
    dispatch.force_isa("avx512-base")
    assert dispatch.active_isa() == "avx512"
    assert not dispatch._native.lscd.has_bfloat16()
    dispatch.force_isa(isa)


def test_environment_with_an_unknown_path_is_an_error_that_lists_the_known():
    code = "from gossamer._kernels import dispatch; dispatch.active_isa()"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "GOSSAMER_ISA": "mmx"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "GOSSAMER_ISA=mmx: expected one of auto, portable, avx2, avx512" in result.stderr
