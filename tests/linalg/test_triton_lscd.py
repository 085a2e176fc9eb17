"""The Triton kernel that reads Tiled-CSL multiplies as the matrix does; without a GPU in Triton's interpreter."""

import importlib.util
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")

CHECK = """
import numpy as np, torch
from gossamer.linalg import TiledCSL
from gossamer.linalg.triton_lscd import spmm

rng = np.random.default_rng(0)
cases = [((1, 1), 1, 1), ((128, 64), 16, 1), ((300, 517), 3, 1), ((130, 200), 70, 2), ((200, 400), 0, 7)]
for shape, columns, split in cases:
    for density in (0, 0.2, 1):
        W = (rng.standard_normal(shape) * (rng.random(shape) < density)).astype(np.float32)
        A, B = TiledCSL.from_dense(W), torch.from_numpy(rng.standard_normal((shape[1], columns)).astype(np.float32))
        exact = W.astype(np.float16).astype(np.float64) @ B.half().double().numpy()
        y = spmm(A, B, split_k=split)
        assert y.dtype == torch.float32 and y.shape == exact.shape
        np.testing.assert_allclose(y.numpy(), exact, rtol=1e-4, atol=1e-4)
np.testing.assert_array_equal(spmm(A, torch.ones(400)), spmm(A, torch.ones(400, 1))[:, 0])
for call, message in [
    (lambda: spmm(W, torch.ones(400, 1)), "ndarray"),
    (lambda: spmm(A, torch.ones(401, 1)), "(401, 1)"),
    (lambda: spmm(A, torch.ones(400, 1), split_k=8), "split_k=8"),
]:
    try:
        call()
    except ValueError as error:
        assert message in str(error), error
    else:
        raise AssertionError(message)
print("equal")
"""


def run(code, **environment):
    # the environment is read when triton is imported, and must not reach other tests
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_products_in_the_interpreter():
    done = run(CHECK, TRITON_INTERPRET="1")
    assert done.stdout.strip() == "equal", done.stderr


def test_a_cpu_without_the_interpreter_is_refused():
    code = (
        "import torch; from gossamer.linalg import TiledCSL; from gossamer.linalg.triton_lscd import spmm\n"
        "spmm(TiledCSL.from_dense(torch.ones(2, 2)), torch.ones(2, 2))"
    )
    done = run(code, TRITON_INTERPRET="0")
    assert "B is on cpu: expected a GPU" in done.stderr
