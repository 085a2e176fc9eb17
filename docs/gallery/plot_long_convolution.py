"""
Where the time of a long convolution goes
=========================================

A convolution with a filter as long as the sequence, by torch's transforms and fused into one pass: time a point against
the length. Then the impulse responses that a Hyena filter starts with, one line a channel: the picture of a memory.
"""

import time

import matplotlib.pyplot as plt
import torch

from gossamer.nn import FlashFFTConv, HyenaFilter

conv = FlashFFTConv()


def by_torch(u, k):
    n = 2 * u.shape[-1]
    return torch.fft.irfft(torch.fft.rfft(u, n=n) * torch.fft.rfft(k, n=n), n=n)[..., : u.shape[-1]]


def nanoseconds(call, u, k):
    times = []
    for _ in range(3):
        start = time.perf_counter()
        call(u, k)
        times.append(time.perf_counter() - start)
    return 1e9 * min(times) / u.numel()


lengths = [2**i for i in range(8, 15)]
curves = {"torch.fft": [], "FlashFFTConv": []}
for length in lengths:
    u, k = torch.randn(1, 2**17 // length, length), torch.randn(2**17 // length, length)
    for name, call in (("torch.fft", by_torch), ("FlashFFTConv", conv)):
        curves[name].append(nanoseconds(call, u, k))

# %%
# Both transform the filter in every call.

torch.manual_seed(0)
with torch.no_grad():
    filters = HyenaFilter(12, 512)(512)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for name, values in curves.items():
    left.plot(lengths, values, marker="o", label=name)
left.set(xscale="log", yscale="log", xlabel="length", ylabel="nanoseconds a point")
left.grid(alpha=0.2)
left.legend()
colours = plt.get_cmap("viridis")(torch.linspace(0, 1, len(filters)).numpy())
for i, (row, colour) in enumerate(zip(filters, colours)):
    wave = row / row.abs().max()
    right.fill_between(range(512), wave + 1.2 * i, 1.2 * i, color=colour, alpha=0.5, lw=0)
    right.plot(wave + 1.2 * i, color=colour, lw=1)
right.set(xlabel="lag", yticks=[], title="filters of a Hyena layer")
plt.show()
