"""
Load as sparse, compute as dense
================================

A pruned weight can be multiplied as a dense matrix, as bitmap tiles that are expanded in registers, or as compressed
rows. Which is fastest depends on its density and on the number of columns; the time model says where the borders lie.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.linalg import TiledBitmap, TiledCSL, calibrate_machine, lscd_model

# %%
# One measurement of the machine, then predictions for a weight of 4096 x 4096.

machine = calibrate_machine()
columns = np.array([1, 2, 4, 8, 16, 32, 64, 128])
densities = np.linspace(0.02, 0.6, 30)
names = ("dense", "lscd", "csr")
fastest = np.array(
    [
        [
            int(np.argmin([times[name] for name in names]))
            for n in columns
            for times in [lscd_model(4096, 4096, int(n), float(d), machine)]
        ]
        for d in densities
    ]
)
figure, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
axes.pcolormesh(np.arange(len(columns) + 1), densities, fastest[:-1], cmap="Set2", vmin=0, vmax=7)
axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
axes.set(xlabel="columns", ylabel="density", title="fastest format, float32 right-hand side")
for index, name in enumerate(names):
    axes.plot([], [], "s", color=plt.get_cmap("Set2")(index / 7), label=name)
axes.legend()
plt.show()

# %%
# What the formats take, and what the reordering of the GPU format is for: stores that collide in a bank.

rng = np.random.default_rng(0)
figure, (bits, conflicts) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
some = (0.05, 0.1, 0.2, 0.3, 0.5)
members = [(rng.normal(size=(256, 128)) * (rng.random((256, 128)) < d)).astype(np.float32) for d in some]
bits.plot(some, [TiledBitmap.from_dense(W).bits_per_weight for W in members], "o-", label="TiledBitmap")
bits.plot(some, [TiledCSL.from_dense(W).bits_per_weight for W in members], "o-", label="TiledCSL")
bits.axhline(16, color="k", linestyle=":", label="dense, 16 bits")
bits.set(xlabel="density", ylabel="bits a weight")
bits.legend()
for reorder, label in ((False, "row order"), (True, "reordered")):
    tiles = [TiledCSL.from_dense(W, reorder=reorder) for W in members]
    conflicts.plot(some, [A.bank_conflicts() / len(A.words) for A in tiles], "o-", label=label)
conflicts.set(xlabel="density", ylabel="bank conflicts a word")
conflicts.legend()
plt.show()
