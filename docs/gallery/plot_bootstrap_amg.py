"""
What multigrid cannot reduce
============================

Points on a ring, linked to their neighbours. Each hierarchy of the bootstrap is built along what those before it leave
of a random vector, which varies slowly along the links: the smooth vectors, orthonormal, are waves around the ring.
K-means on them cuts the ring into arcs. With two colours for every point as attributes, each wrong now and then, the
cuts move to where the colours change.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from gossamer.graph import AttributedAMGClustering, noisy_attributes

rng = np.random.default_rng(4)
angle = rng.uniform(0, 2 * np.pi, 2500)
radius = np.sqrt(rng.uniform(0.35, 1, 2500))
points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
links = cKDTree(points).query_pairs(0.065, output_type="ndarray")
truth = np.select([points[:, 1] > 0.35, points[:, 1] < -0.35], [0, 1], np.where(points[:, 0] > 0, 2, 3))
colours = noisy_attributes(truth, 2, 0.75, random_state=0)

alone, together = (
    AttributedAMGClustering(4, max_hierarchies=12, restarts=40, conv_ratio=0, random_state=0).fit(
        links.T, attributes
    )
    for attributes in (None, colours)
)


def recolour(labels):
    """The same clusters, numbered as in the truth where they overlap most."""
    overlap = np.zeros((4, 4))
    np.add.at(overlap, (labels, truth), 1)
    return linear_sum_assignment(-overlap)[1][labels]


# %%
# Above, four of the orthonormal smooth vectors. Below: an attribute, clusters by links alone, clusters with two such
# attributes, and what the attributes were drawn from.

figure, axes = plt.subplots(2, 4, figsize=(13, 6.8), layout="constrained")
panels = [(f"smooth vector {k + 1}", alone.embedding_[:2500, k], "RdBu_r") for k in (1, 2, 3, 4)]
panels += [
    ("one attribute", colours[:, 0], "Set2"),
    ("links alone", recolour(alone.labels_), "Set2"),
    ("with two attributes", recolour(together.labels_), "Set2"),
    ("truth", truth, "Set2"),
]
for panel, (title, value, palette) in zip(axes.flat, panels):
    lines = LineCollection(points[links], colors="0.8", linewidths=0.3, zorder=0)
    panel.add_collection(lines)
    limit = np.abs(value).max()
    scale = {"vmin": -limit, "vmax": limit} if palette == "RdBu_r" else {"vmin": 0, "vmax": 7}
    panel.scatter(*points.T, c=value, cmap=palette, s=6, linewidths=0, **scale)
    panel.set_title(title)
    panel.set_aspect("equal")
    panel.set_axis_off()
plt.show()
