"""
Neighbourhoods of a walk
========================

Forty communities stand on a ring: nodes have most edges inside their own, some into the next ones. FastRP embeds them
without optimisation. Low powers of the walk see communities as separate clusters; high powers see the ring.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.graph import as_adjacency, fastrp_embedding

rng = np.random.default_rng(0)
community = np.repeat(np.arange(40), 50)
inside = rng.integers(0, 50, (2, 12_000)) + 50 * rng.integers(0, 40, 12_000)
source = rng.integers(0, 2000, 3000)
target = (50 * ((source // 50 + 1) % 40)) + rng.integers(0, 50, 3000)
graph = as_adjacency(np.concatenate([inside, [source, target]], axis=1), weighted=False)

# %%
# The two main axes of the vectors, and how alike nodes are, ordered along the ring.

figure, axes = plt.subplots(2, 3, figsize=(10, 6.6), layout="constrained")
for column, (title, weights) in enumerate(
    [("power 2", (0, 1)), ("powers 3 and 4", (0, 0, 1, 4)), ("powers 25 to 60", (0,) * 24 + (1,) * 36)]
):
    X = fastrp_embedding(graph, 128, weights=weights, beta=-0.5, random_state=0)
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    centred = X - X.mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    axes[0, column].scatter(*(left[:, :2] * size[:2]).T, c=community, cmap="twilight", s=4)
    axes[0, column].set_title(title)
    likeness = centred @ centred.T
    axes[1, column].imshow(likeness, cmap="magma", vmax=np.quantile(likeness, 0.99), vmin=0)
for panel in axes.flat:
    panel.set_xticks([])
    panel.set_yticks([])
plt.show()
