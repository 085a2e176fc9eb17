"""
Pruning groups that share a scale
=================================

GQSA removes whole groups of 16 weights and keeps the rest in 4 bits. What the metric adds is seen in three steps: no
metric, the diagonal (which input channels are loud), and the full second moment (what other columns can make up for).
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.linalg import Block, weighted_error

rng = np.random.default_rng(0)
rows, columns = 96, 256
W = rng.normal(size=(rows, columns)).astype(np.float32)
loud = rng.gamma(0.5, size=columns)
x = (
    rng.normal(size=(4096, 24)) @ rng.normal(size=(24, columns)) + 0.5 * rng.normal(size=(4096, columns))
) * loud
H = (x.T @ x / len(x)).astype(np.float32)
metrics = {"no metric": None, "diagonal": np.diagonal(H).copy(), "full": H}

# %%
# The kept groups at 50 %. With a metric, groups over quiet channels go first; rows keep different numbers of groups,
# which is why the kernel splits its work by groups and not by rows.

structure = Block((1, 16), density=0.5).quantized(bits=4)
figure, panels = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained", sharey=True)
for panel, (name, metric) in zip(panels, metrics.items()):
    A = structure.project(W, metric=metric)
    panel.imshow(A.to_dense() != 0, aspect="auto", cmap="Greens", interpolation="nearest")
    error = weighted_error(W, A.to_dense(), H) / weighted_error(W, np.zeros_like(W), H)
    panel.set(title=f"{name}\noutput error {error:.1%}", xlabel="column")
panels[0].set_ylabel("row")
plt.show()

# %%
# The whole trade-off: the same bytes, three errors.

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
densities = (0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
for name, metric in metrics.items():
    members = [Block((1, 16), density=d).quantized(bits=4).project(W, metric=metric) for d in densities]
    error = [weighted_error(W, A.to_dense(), H) / weighted_error(W, np.zeros_like(W), H) for A in members]
    axes.semilogy([A.bits_per_weight for A in members], error, marker="o", label=name)
axes.set(xlabel="bits a weight, all overhead counted", ylabel="relative error of the outputs")
axes.grid(which="both", alpha=0.2)
axes.legend()
plt.show()
