"""
Fill in a picture from a fifth of its pixels
============================================

Eight plane waves that interfere are a matrix of rank sixteen. A fifth of its entries is enough to have all of it back:
each sweep regresses columns, then rows, and no regression is solved more accurately than the picture is at that time.
Adding errors to every factor on purpose shows what is tolerated: they end up in the result at their own size, and cost
no sweeps.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.solve import matrix_completion

rng = np.random.default_rng(4)
size, waves = 480, 8
rank = 2 * waves  # a plane wave in any direction has rank two
t = np.linspace(0, 1, size)
picture = np.zeros((size, size))
for wave in range(waves):
    angle, frequency, phase = (wave + 0.5) * np.pi / waves, rng.uniform(55, 75), rng.uniform(0, 2 * np.pi)
    across, down = frequency * np.cos(angle) * t, frequency * np.sin(angle) * t
    picture += rng.uniform(0.6, 1) * np.cos(across + down[:, None] + phase)
i, j = np.nonzero(rng.random(picture.shape) < 0.2)
seen = np.full_like(picture, np.nan)
seen[i, j] = picture[i, j]

# %%
# The completion after a few sweeps, and in the end.

frames = {
    sweeps: matrix_completion(
        i, j, picture[i, j], picture.shape, rank, method="cg", maxiter=sweeps, random_state=0
    ).to_dense()
    for sweeps in (1, 3, 30)
}

# %%
# What the size of errors in the updates does to the error of the result.

deltas = (0.0, 1e-6, 1e-4, 1e-2)
curves = [
    matrix_completion(
        i, j, picture[i, j], picture.shape, rank, method="cg", perturb=d, tol=0, maxiter=30, random_state=0
    ).history["rmse"]
    for d in deltas
]

figure = plt.figure(figsize=(9, 6), layout="constrained")
grid = figure.add_gridspec(2, 4, height_ratios=(1.25, 1))
limits = {"vmin": -np.abs(picture).max(), "vmax": np.abs(picture).max(), "cmap": "RdYlBu"}
for column, (title, image) in enumerate(
    [("a fifth is seen", seen), *((f"{s} sweep{'s' * (s > 1)}", f) for s, f in frames.items())]
):
    axes = figure.add_subplot(grid[0, column])
    axes.imshow(image, **limits)
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)
axes = figure.add_subplot(grid[1, :])
for delta, curve, colour in zip(deltas, curves, ("#24292e", "#0f766e", "#b45309", "#b91c1c"), strict=True):
    axes.semilogy(curve, color=colour, label=f"errors of {delta:g}" if delta else "none")
axes.set(xlabel="sweep", ylabel="error on what is seen", xlim=(0, 30))
axes.legend(title="added to every factor", ncols=2, fontsize=8)
axes.spines[["top", "right"]].set_visible(False)
plt.show()
