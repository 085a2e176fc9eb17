"""
What compression broke, put back
================================

A sum of structures is a structure. Here a harsh 2-bit grid is repaired by a thin low-rank term; fitting the two in
turn (``sweeps``) lets each make room for the other.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.linalg import GroupQuant, LowRank, Sum, weighted_error

rng = np.random.default_rng(0)
rows, columns = 192, 192
W = (rng.normal(size=(rows, columns)) + rng.normal(size=(rows, 6)) @ rng.normal(size=(6, columns))).astype(
    np.float32
)
x = rng.normal(size=(2048, columns)) * rng.gamma(1, size=columns)
H = (x.T @ x / len(x)).astype(np.float32)
total = weighted_error(W, np.zeros_like(W), H)

# %%
# Rank grows from left to right; the grid alone is the leftmost point of each curve.

grid = GroupQuant(bits=2, group=32)
ranks = (1, 2, 4, 8, 16, 32)
figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
alone = grid.project(W, metric=H)
for sweeps in (1, 4):
    members = [Sum((grid, LowRank(rank)), sweeps=sweeps).project(W, metric=H) for rank in ranks]
    bits = [alone.bits_per_weight, *(A.bits_per_weight for A in members)]
    error = [weighted_error(W, A.to_dense(), H) / total for A in (alone, *members)]
    axes.semilogy(
        bits, error, marker="o", label=f"2 bits + low rank, {sweeps} sweep{'s' if sweeps > 1 else ''}"
    )
for bits in (3, 4):
    A = GroupQuant(bits=bits, group=32).project(W, metric=H)
    axes.plot(A.bits_per_weight, weighted_error(W, A.to_dense(), H) / total, "k*", markersize=10)
    axes.annotate(
        f"{bits} bits",
        (A.bits_per_weight, weighted_error(W, A.to_dense(), H) / total),
        xytext=(6, 4),
        textcoords="offset points",
    )
axes.set(xlabel="bits a weight, all overhead counted", ylabel="relative error of the outputs")
axes.grid(which="both", alpha=0.2)
axes.legend()
plt.show()
