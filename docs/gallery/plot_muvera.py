"""
One vector for many
===================

A document of token vectors becomes one vector: random hyperplanes cut space into cells, and each cell keeps the mean of
the vectors in it. A query keeps sums. The inner product of both estimates their Chamfer similarity from below, and more
hyperplanes bring it closer.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.retrieve import FDEConfig, FDEncoder, chamfer

rng = np.random.default_rng(4)

# %%
# Cells in the plane: every point of the background has the colour of the document's vector that its cell holds, a mean
# where there are vectors (rings) and the nearest one where there are none.

plane = FDEncoder(FDEConfig(dim=2, reps=1, k_sim=5, d_proj=None, seed=5))
angles = np.concatenate([rng.normal(m, s, n) for m, s, n in ((0.4, 0.2, 14), (2.2, 0.3, 12), (4.4, 0.15, 8))])
document = np.stack([np.cos(angles), np.sin(angles)], 1)
x, y = np.meshgrid(np.linspace(-1.3, 1.3, 260), np.linspace(-1.3, 1.3, 260))
points = np.stack([x.ravel(), y.ravel()], 1)
cells = (
    plane.encode_query(points[:, None, :].copy().reshape(-1, 2), np.arange(len(points) + 1)) != 0
).reshape(len(points), -1, 2)
cell = cells.any(axis=2).argmax(axis=1)
held = plane.encode_document(document).reshape(-1, 2)
hue = (np.arctan2(held[:, 1], held[:, 0]) / (2 * np.pi)) % 1

figure, axes = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained")
axes[0].imshow(
    plt.get_cmap("twilight")(hue[cell].reshape(x.shape)),
    extent=(-1.3, 1.3, -1.3, 1.3),
    origin="lower",
    alpha=0.75,
)
axes[0].scatter(*document.T, s=24, c="white", edgecolors="black", linewidths=0.7, label="document's vectors")
used = np.unique(held[np.unique(cell)].round(6), axis=0)
axes[0].scatter(
    *used.T, s=150, facecolors="none", edgecolors="white", linewidths=1.8, label="what cells hold"
)
axes[0].set(xticks=[], yticks=[], title="32 cells of 5 lines, at most 10 of them met in the plane")
axes[0].legend(loc="lower right")

# %%
# Sets of 40 vectors in 64 dimensions, some of which hold vectors near to the query's: estimates against the truth.

query = rng.standard_normal((8, 64))
query /= np.linalg.norm(query, axis=1, keepdims=True)
documents = []
for share in np.linspace(0, 1, 300):
    vectors = rng.standard_normal((40, 64))
    vectors[:8] = share * 8 * query + (1 - share) * vectors[:8] + 0.5 * rng.standard_normal((8, 64))
    documents.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
truth = chamfer(query, documents)
for k_sim, colour in ((2, "#d9b44a"), (4, "#c75146"), (6, "#5b2a86")):
    encoder = FDEncoder(FDEConfig(dim=64, reps=20, k_sim=k_sim, d_proj=None))
    estimate = (encoder.encode_query(query) @ encoder.encode_document(documents).T)[0] / 20
    axes[1].scatter(truth, estimate, s=9, color=colour, label=f"{2**k_sim} cells")
axes[1].axline((0, 0), slope=1, color="black", linewidth=0.8)
axes[1].set(xlabel="Chamfer similarity", ylabel="estimate", title="estimates stay below, and come closer")
axes[1].legend()
plt.show()
