"""
Where a sketch leaves its error
===============================

The exact solution of this problem is zero, so every coefficient that is not zero is error. All sketches have equally
many rows and the same variance. Dense ones spread the error over all coefficients; sparse ones leave most coefficients
exact and put everything into a few.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.linalg import OSNAP, SRHT, CountSketch, GaussianSketch
from gossamer.solve import linf_hard_instance

n, d = 8192, 96
A, b = linf_hard_instance(n, d)
rows = np.column_stack([A[: 2 * d].toarray(), b[: 2 * d]])  # all that is not zero
kinds = {
    "CountSketch": lambda m, seed: CountSketch(n, m, seed=seed),
    "OSNAP, 4 a column": lambda m, seed: OSNAP(n, m, 4, seed=seed),
    "Gaussian": lambda m, seed: GaussianSketch(n, m, seed=seed),
    "SRHT": lambda m, seed: SRHT(n, m, seed=seed),
}


def errors(draw, m, seeds):
    """Coefficients of the sketched solution, in units of 1 / sqrt(d): one row a seed."""
    found = []
    for seed in range(seeds):
        product = draw(m, seed).partial(rows)
        found.append(np.linalg.lstsq(product[:, :d], product[:, d], rcond=None)[0] * np.sqrt(d))
    return np.array(found)


# %%
# One row of a picture is one draw of the sketch, one column a coefficient. Below, the largest error of a draw against
# the number of rows: with the root of m for dense sketches, not at all for CountSketch until m nears the square of d.

figure = plt.figure(figsize=(9, 6.4), layout="constrained")
grid = figure.add_gridspec(2, 4, height_ratios=(1.1, 1))
for column, (name, draw) in enumerate(kinds.items()):
    axes = figure.add_subplot(grid[0, column])
    image = axes.imshow(abs(errors(draw, 1024, 48)), vmin=0, vmax=1, cmap="magma", aspect="auto")
    axes.set(title=name, xlabel="coefficient", yticks=[])
    if column == 0:
        axes.set_ylabel("draws of the sketch")
figure.colorbar(image, ax=figure.axes, label="error", shrink=0.8, pad=0.01)

axes = figure.add_subplot(grid[1, :])
sizes = (384, 768, 1536, 3072)
for name, draw in kinds.items():
    worst = np.array([abs(errors(draw, m, 10)).max(axis=1) for m in sizes])
    (line,) = axes.loglog(sizes, np.median(worst, axis=1), marker="o", label=name)
    axes.fill_between(
        sizes, np.maximum(worst.min(axis=1), 0.05), worst.max(axis=1), color=line.get_color(), alpha=0.1
    )
axes.set(xlabel="rows of the sketch", ylabel="largest error of a coefficient", ylim=(0.15, 5))
axes.grid(alpha=0.2, which="both")
axes.legend()
plt.show()
