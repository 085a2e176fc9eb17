"""
Prune far, and let the rest make up for it
==========================================

A network for handwritten digits loses more and more of its weights, with no training afterwards. Magnitude removes the
smallest; the diagonal Fisher the least important; M-FAC also moves the weights that stay. The two curvatures see the
same gradients and are recomputed equally often.
"""

import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn import functional as F

from gossamer.sparsify import MFACPruner

pixels, labels = load_digits(return_X_y=True)
parts = train_test_split(pixels.astype(np.float32) / 16, labels, test_size=0.3, random_state=0)
x, x_test, y, y_test = (torch.from_numpy(part) for part in parts)

torch.manual_seed(0)
net = torch.nn.Sequential(
    torch.nn.Linear(64, 64),
    torch.nn.ReLU(),
    torch.nn.Linear(64, 32),
    torch.nn.ReLU(),
    torch.nn.Linear(32, 10),
)
optimizer = torch.optim.Adam(net.parameters(), 3e-3)
for _ in range(20):
    for batch in torch.randperm(len(x)).split(32):
        optimizer.zero_grad()
        F.cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()

# %%
# Every point starts from the same trained network.

batches = list(zip(x[:1024].split(16), y[:1024].split(16)))


def accuracy(sparsity, curvature):
    pruned = copy.deepcopy(net)
    pruner = MFACPruner(pruned, batches, F.cross_entropy, ngrads=64, n_recompute=8, curvature=curvature)
    pruner.prune(sparsity)
    with torch.no_grad():
        return 100 * (pruned(x_test).argmax(1) == y_test).float().mean()


sparsities = (0.3, 0.5, 0.7, 0.8, 0.9)
figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
for curvature, label in (("magnitude", "magnitude"), ("diagonal", "diagonal Fisher"), ("mfac", "M-FAC")):
    axes.plot(sparsities, [accuracy(s, curvature) for s in sparsities], marker="o", label=label)
axes.set(xlabel="share of weights that are zero", ylabel="test accuracy, %", ylim=(0, 100))
axes.grid(alpha=0.2)
axes.legend()
plt.show()
