"""
Training a pruned layer back
============================

GQSA prunes groups of 16 weights, rounds the others to 4 bits, and then trains what is left. Here is its first stage on
one small network, written out: three starts, the same steps, and what they reach on inputs that were not trained on.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from gossamer.compress import Rule
from gossamer.compress.finetune.descent import Descent
from gossamer.compress.finetune.forms import FakeQuantLinear
from gossamer.compress.finetune.starts import begin
from gossamer.linalg import GroupSparseQuant

rng = np.random.default_rng(0)
width, tokens = 128, 3000
mix = rng.normal(size=(32, width)) * rng.gamma(0.6, size=width)
x = (rng.normal(size=(tokens, 32)) @ mix + 0.3 * rng.normal(size=(tokens, width))).astype(np.float32)
seen, other = torch.from_numpy(x[:2000]), torch.from_numpy(x[2000:])
second = (x[:2000].T @ x[:2000] / 2000).astype(np.float32)
W = (rng.normal(size=(width, width)) / np.sqrt(width)).astype(np.float32)
original = torch.nn.Sequential(torch.nn.Linear(width, width, bias=False), torch.nn.Tanh())
original[0].weight.data = torch.from_numpy(W)
original.requires_grad_(False)

# %%
# A start is a projection of the layer, and the weights that round to it. Pruned groups have no parameters at all;
# rounding counts as the identity in the backward pass.


def train(structure, init, steps=120):
    start = begin(W, Rule(structure), second, init)
    layer = FakeQuantLinear(start.matrix, start.latent)
    model = torch.nn.Sequential(layer, torch.nn.Tanh())
    zeros = [] if layer.zero is None else [layer.zero]
    descent = Descent([([layer.latent], 1e-3), ([layer.scale], 1e-3), (zeros, 1e-2)], steps, clip=0.3)
    targets, losses = original(seen), []
    for step in range(steps):
        rows = torch.arange(step * 250, step * 250 + 250) % len(seen)
        with torch.no_grad():
            wrong = (model(other) - original(other)).square().mean() / original(other).square().mean()
            losses.append(float(wrong))
        descent.step([lambda rows=rows: (model(seen[rows]) - targets[rows]).square().mean()])
    return losses, layer.export().bits_per_weight


runs = {}
for density in (0.5, 0.8):
    structure = GroupSparseQuant(bits=4, group=16, density=density)
    for init, name in (("mask", "masked"), ("obs", "the others reply")):
        runs[f"{1 - density:.0%} of the groups pruned, {name}"] = train(structure, init)

# %%
# Much of what pruning lost comes back within a few dozen steps. Where the start is good already, steps of this size do
# harm: this is why learning rates are swept, and why a block's best epoch is kept, with the start as a candidate.

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for name, (losses, bits) in runs.items():
    axes.semilogy(losses, label=f"{name}: {bits:.2f} bits a weight")
axes.set(xlabel="step", ylabel="relative output error, other inputs")
axes.grid(which="both", alpha=0.2)
axes.legend()
plt.show()
