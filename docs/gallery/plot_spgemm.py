"""
Sparse times sparse, row by row
===============================

A row of :math:`C = AB` is a sum of rows of B. How many products meet in one entry, and how wide the window of its
columns is, differ from matrix to matrix, and so does the accumulator that sums them best. Three matrices show what
``accumulator="auto"`` makes of it.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse as sp

from gossamer.linalg import spgemm

rng = np.random.default_rng(0)

# %%
# A band (neighbours meet neighbours), a random graph (hardly anything meets) and a graph with hubs (few rows make most
# of the products).

n = 10_000
band = sp.csr_array(sp.diags_array([rng.normal(size=n - abs(k)) for k in range(-8, 9)], offsets=range(-8, 9)))
scattered = sp.random_array((n, n), density=8 / n, rng=rng, format="csr")
popular = (n * rng.random(8 * n) ** 4).astype(int)
hubs = sp.coo_array((rng.normal(size=8 * n), (rng.permutation(popular), popular)), shape=(n, n)).tocsr()
matrices = {"band": band, "random": scattered, "hubs": hubs}

# %%
# The statistics say which accumulator each row took, and how many products make one entry.

results = {name: spgemm(A, A, return_stats=True)[1] for name, A in matrices.items()}
for name, stats in results.items():
    rows = {kind: count for kind, count in stats.rows.items() if count}
    print(f"{name}: {stats.flops:,} products, {stats.compression:.1f} an entry, rows {rows}")

# %%
# Forced accumulators give the same entries, in different times.

kinds = ("auto", "small", "dense", "hash", "hash-vector")
seconds = {}
for name, A in matrices.items():
    expected = (A @ A).nnz
    for kind in kinds:
        best = np.inf
        for _ in range(2):
            start = time.perf_counter()
            C = spgemm(A, A, accumulator=kind)
            best = min(best, time.perf_counter() - start)
        assert C.nnz >= expected  # SciPy drops what cancels exactly
        seconds[name, kind] = best

figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
for i, kind in enumerate(kinds):
    time_a_product = [1e9 * seconds[name, kind] / results[name].flops for name in matrices]
    axes.bar(np.arange(len(matrices)) + (i - 2) * 0.16, time_a_product, 0.15, label=kind)
axes.set_xticks(np.arange(len(matrices)), list(matrices))
axes.set(ylabel="nanoseconds a product", yscale="log")
axes.grid(axis="y", which="both", alpha=0.2)
axes.legend(title="accumulator", fontsize=8)
plt.show()
