"""
What the left half of a picture says about the right
====================================================

Patches of two photographs are cut into halves: two views of the same place. Canonical correlation finds what the halves
share. It never sees more than a hundred patches at a time, forms no covariance of pixels, and could take as many
patches as a disk holds.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images

from gossamer.learn import StochasticCCA, pcc
from gossamer.linalg import canonical_correlations

side, rng = 16, np.random.default_rng(0)
grey = [picture.mean(axis=2) / 255 for picture in load_sample_images().images]
patches = np.empty((30_000, side, side), np.float32)
for patch in patches:
    picture = grey[rng.integers(2)]
    i, j = (rng.integers(length - side) for length in picture.shape)
    patch[:] = picture[i : i + side, j : j + side]
left, right = (half.reshape(len(patches), -1) for half in np.split(patches, 2, axis=2))

model = StochasticCCA(8, batch_size=100, max_epochs=4, average=True, random_state=0).fit(left, right)
print("correlations of the scores", model.correlations_.round(3))

# %%
# How soon: the share of the exact correlations that is captured, with each batch a step by ``partial_fit``.

exact = canonical_correlations(left, right)
curves = {}
for size in (50, 500):
    online, curve = StochasticCCA(8, average=True, random_state=0), []
    for start in range(0, len(left), size):
        online.partial_fit(left[start : start + size], right[start : start + size])
        if start // size in np.unique(np.geomspace(1, len(left) / size, 12).astype(int)):
            curve.append((start + size, pcc(online.transform(left, right), exact)))
    curves[size] = np.array(curve)

# %%
# What a pair of directions sees in its half is the covariance of its score with every pixel. Put side by side, the two
# halves continue each other across the seam, which nobody told them: brightness, its slopes, then edges and bars.

scores = model.transform(left, right)
centred = [half - half.mean(axis=0) for half in (left, right)]
seen = [half.T @ score / len(half) for half, score in zip(centred, scores)]

figure = plt.figure(figsize=(10.5, 6.4), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(1.15, 1))
for k, axes in enumerate(above.subplots(2, 4).ravel()):
    joined = np.hstack([part[:, k].reshape(side, side // 2) for part in seen])
    bound = np.abs(joined).max()
    axes.imshow(joined, cmap="RdBu_r", vmin=-bound, vmax=bound)
    axes.axvline(side / 2 - 0.5, color="0.3", lw=0.8, ls=":")
    axes.set_title(f"correlation {model.correlations_[k]:.2f}", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])

scatter, growth = below.subplots(1, 2)
some = rng.choice(len(left), 3000, replace=False)
for k, colour in ((6, "0.75"), (1, "tab:red")):
    scatter.scatter(scores[0][some, k], scores[1][some, k], s=2, color=colour, label=f"pair {k + 1}")
scatter.set(xlabel="score of the left half", ylabel="score of the right half", xlim=(-4, 4), ylim=(-4, 4))
scatter.legend(markerscale=4, fontsize=8)
for size, curve in curves.items():
    growth.semilogx(*curve.T, marker="o", ms=3, label=f"batches of {size}")
growth.axhline(1, color="0.6", lw=0.8)
growth.set(xlabel="patches seen", ylabel="share of the exact correlations", ylim=(0, 1.03))
growth.legend(fontsize=8)
plt.show()
