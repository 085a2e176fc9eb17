"""
What the left half of a picture says about the right
====================================================

Patches of two photographs are cut into halves: two views of the same place. Canonical correlation finds what the halves
share. It never sees more than a hundred patches at a time, forms no covariance of pixels, and could take as many
patches as a disk holds.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.linalg import block_diag, eigh
from sklearn.datasets import load_sample_images

from gossamer.learn import StochasticCCA, tcc

side, rng = 16, np.random.default_rng(0)
grey = [picture.mean(axis=2) / 255 for picture in load_sample_images().images]
patches = np.empty((30_000, side, side), np.float32)
for patch in patches:
    picture = grey[rng.integers(2)]
    i, j = (rng.integers(length - side) for length in picture.shape)
    patch[:] = picture[i : i + side, j : j + side]
left, right = (half.reshape(len(patches), -1) for half in np.split(patches, 2, axis=2))

options = {"ridge": 0.03, "batch_size": 100, "learning_rate": 2e-3, "average": True, "random_state": 0}
model = StochasticCCA(8, max_epochs=10, **options).fit(left, right)
print("correlations of the scores", model.correlations_.round(3))

# %%
# How soon: patches arrive in batches, each a step by ``partial_fit``. Other patches, held out, say what has been found;
# the dashed line is the dense eigenproblem of all pixels, which sees all of them at once.

held = [half[-6000:] for half in (left, right)]
curves = {}
for size in (20, 100):
    online, curve = StochasticCCA(8, **options), []
    marks = np.unique(np.geomspace(1, 240_000 / size, 16).astype(int))
    for step in range(1, marks[-1] + 1):
        rows = rng.integers(24_000, size=size)
        online.partial_fit(left[rows], right[rows])
        if step in marks:
            curve.append((step * size, tcc(online.transform(*held))))
    curves[size] = np.array(curve)

X, Y = (half[:24_000].astype(float) / scale for half, scale in zip((left, right), model.scales_))
cov, p = np.cov(X.T, Y.T), X.shape[1]
A = np.block([[np.zeros((p, p)), cov[:p, p:]], [cov[p:, :p], np.zeros((p, p))]])
B = 0.97 * block_diag(cov[:p, :p], cov[p:, p:]) + 0.03 * np.eye(2 * p)
W = eigh(A, B, subset_by_index=(2 * p - 8, 2 * p - 1))[1]
exact = tcc([held[0] @ W[:p], held[1] @ W[p:]])

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
for k, colour in ((7, "0.75"), (1, "tab:red")):
    scatter.scatter(scores[0][some, k], scores[1][some, k], s=2, color=colour, label=f"pair {k + 1}")
scatter.set(xlabel="score of the left half", ylabel="score of the right half", xlim=(-4, 4), ylim=(-4, 4))
scatter.legend(markerscale=4, fontsize=8)
for size, curve in curves.items():
    growth.semilogx(*curve.T, marker="o", ms=3, label=f"batches of {size}")
growth.axhline(exact, color="0.4", lw=0.9, ls="--", label="dense eigenproblem")
growth.set(xlabel="patches seen", ylabel="sum of eight correlations, held out", ylim=(0, 6))
growth.legend(fontsize=8)
plt.show()
