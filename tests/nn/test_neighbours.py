"""A convolution over two processes, by channels and along the sequence, is that of one process."""

import subprocess
import sys

import pytest
import torch

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.nn import left_neighbour

WORKER = """
import sys

import torch
import torch.distributed as dist
from gossamer.nn import FlashFFTConv, PartialFFTConv, left_neighbour

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
torch.manual_seed(0)
u = torch.randn(2, 4, 700, dtype=torch.float64)
k, weight = torch.randn(4, 50, dtype=torch.float64), torch.randn_like(u)

whole = [x.clone().requires_grad_() for x in (u, k)]
expected = PartialFFTConv(50)(*whole)
expected_grads = torch.autograd.grad((expected.sin() * weight).sum(), whole, create_graph=True)
expected_second = torch.autograd.grad((expected_grads[0] * weight).sum(), whole[0])[0]

own = slice(0, 300) if rank == 0 else slice(300, 700)
part, taps = u[..., own].clone().requires_grad_(), k.clone().requires_grad_()
y = PartialFFTConv(50)(left_neighbour(part, 49), taps)[..., 49:]
du, dk = torch.autograd.grad((y.sin() * weight[..., own]).sum(), (part, taps), create_graph=True)
second = torch.autograd.grad((du * weight[..., own]).sum(), part)[0]
dk = dk.detach()
dist.all_reduce(dk)
assert torch.allclose(y, expected[..., own])
assert torch.allclose(du, expected_grads[0][..., own])
assert torch.allclose(dk, expected_grads[1])
assert torch.allclose(second, expected_second[..., own])

rows = slice(2 * rank, 2 * rank + 2)
assert torch.allclose(FlashFFTConv()(u[:, rows].contiguous(), k[rows]), FlashFFTConv()(u, k)[:, rows])
dist.barrier()
dist.destroy_process_group()
print("same")
"""


def test_two_processes_convolve_as_one(tmp_path):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(tmp_path)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    for worker in workers:
        out, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
        assert out.strip() == "same"


def test_parts_too_short_are_refused_before_anything_travels():
    with pytest.raises(ShapeError, match="n >= count = 9"):
        left_neighbour(torch.zeros(1, 2, 8), 9)
    with pytest.raises(ArgumentError, match="count"):
        left_neighbour(torch.zeros(1, 2, 8), -1)
    u = torch.zeros(1, 2, 8)
    assert left_neighbour(u, 0) is u
