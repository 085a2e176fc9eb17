"""
A tensor from a third of its size
=================================

A tensor of 14 x 14 x 14 is nonzero where three rows, three columns and three slices cross. It is sensed through a
random matrix in every mode, so that there are fewer measurements than entries. Greedy search gives up early; Bayesian
learning with variances that are a Kronecker product finds rows, columns and slices, while nobody said how many there
are or how loud the noise is.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.solve import kro_omp, kro_sbl
from gossamer.solve.bayes.modes import mode_products

rng = np.random.default_rng(3)
size, rows = 14, (8, 10, 12)
factors = [rng.standard_normal((m, size)) for m in rows]
x = np.zeros((size, size, size))
x[np.ix_([2, 6, 11], [1, 7, 9], [3, 4, 12])] = rng.choice([-1, 1], (3, 3, 3)) * rng.uniform(
    0.5, 1.5, (3, 3, 3)
)
clean = mode_products(x.reshape(-1, 1), factors)[0]
y = clean + 0.1 * clean.std() * rng.standard_normal(len(clean))

# %%
# The variances of each mode, iteration by iteration. The run is repeated with one iteration more at a time.

steps = (1, 2, 4, 8, 16, 32, 64)
paths = [kro_sbl(factors, y, method="svd", max_iter=k, tol=0, prune_rel=0).gamma for k in steps]
result = kro_sbl(factors, y)
greedy = kro_omp(factors, y, (10, 10, 10)).reshape(x.shape)
print(result.message, [s.tolist() for s in result.support])

# %%
# Above, the largest entry over slices: the truth and both estimates. Below, how variances of rows that are nothing die.

figure, axes = plt.subplots(2, 3, figsize=(9, 6.4), layout="constrained")
estimates = {"truth": x, "greedy (N-way OMP)": greedy, "Kronecker SBL": result.x.reshape(x.shape)}
for panel, (name, tensor) in zip(axes[0], estimates.items(), strict=True):
    panel.imshow(np.abs(tensor).max(axis=2), cmap="magma_r", vmin=0, vmax=1.5)
    error = np.linalg.norm(tensor - x) / np.linalg.norm(x)
    panel.set(title=name if tensor is x else f"{name}: {error:.0%} off", xticks=[], yticks=[])
for mode, panel in enumerate(axes[1]):
    shares = np.array([gammas[mode] / gammas[mode].max() for gammas in paths])
    active = np.isin(
        np.arange(size), np.flatnonzero(np.abs(x).sum(axis=tuple(m for m in range(3) if m != mode)))
    )
    panel.semilogy(steps, shares[:, ~active], color="#9ca3af", linewidth=0.9)
    panel.semilogy(steps, shares[:, active], color="#b91c1c", linewidth=1.6)
    panel.set(title=("rows", "columns", "slices")[mode], xlabel="iteration", ylim=(1e-6, 2))
    panel.set_xscale("log", base=2)
    panel.spines[["top", "right"]].set_visible(False)
axes[1, 0].set_ylabel("variance, of the largest")
plt.show()
