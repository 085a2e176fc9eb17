"""
An eigenvector turns, an encoding does not
==========================================

A square grid has two slowest vibrations of the same frequency. Which two eigenvectors stand for them is decided by the
slightest irregularity: take one edge out here or there, and the vectors turn into each other. SPE sees the plane that
they span, and smooth functions of frequencies, so that its picture of the grid stays what it was.
"""

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import torch
from matplotlib.collections import LineCollection

from gossamer.graph import laplacian_batch, laplacian_eigs, pe_stability
from gossamer.nn import SPE

side = 13
grid = nx.convert_node_labels_to_integers(nx.grid_2d_graph(side, side), label_attribute="xy")
xy = np.array([grid.nodes[v]["xy"] for v in grid], float)
gaps = [(0, 1), (side // 2, side // 2 + 1)]
variants = []
for gap in gaps:
    variants.append(grid.copy())
    variants[-1].remove_edge(*gap)

# %%
# A network that has learned nothing yet, and the vector with the second smallest eigenvalue. The spectrum is cut where
# it has a gap: an eigenspace that is cut in two would make any encoding depend on its basis.

torch.manual_seed(2)
lam, _ = laplacian_eigs(grid)
d = 30 + int(np.argmax(np.diff(lam[29:50])))
spe = SPE(d, 3, m=8, rho_hidden=32, rho_layers=3).double()


def second_vector(A):
    v = laplacian_batch([A], d).V[:, 1:2]
    return v * v[0].sign()


def encoding(A):
    with torch.no_grad():
        return spe(*laplacian_batch([A], d).args)


spe(*laplacian_batch([grid], d).args)
spe.eval()
scale = float(encoding(grid).sub(encoding(grid).mean(0)).norm())

# %%
# Now move the missing edge, and let the weight of one edge fall to nothing little by little.

figure = plt.figure(figsize=(11.5, 7), layout="constrained", facecolor="#0e1116")
panels = figure.subplot_mosaic([["a", "b", "c"], ["d", "e", "c"]], width_ratios=[1, 1, 1.25])
for row, (label, function, colours) in enumerate(
    [("second eigenvector", second_vector, "RdBu"), ("SPE", encoding, None)]
):
    values = [function(graph).numpy() for graph in variants]
    low, high = np.min(values, axis=(0, 1)), np.max(values, axis=(0, 1))
    for column, (graph, value, gap) in enumerate(zip(variants, values, gaps)):
        axis = panels["abde"[2 * row + column]]
        axis.add_collection(LineCollection(xy[list(graph.edges)], colors="#5b6472", linewidths=0.7))
        shade = (value - low) / (high - low)
        shade = plt.get_cmap(colours)(shade[:, 0]) if colours else 0.15 + 0.8 * shade
        axis.scatter(*xy.T, s=70, c=shade, linewidths=0, zorder=2)
        axis.plot(*xy[list(gap)].T, color="#ffd166", linewidth=2.5, zorder=1)
        axis.set_title(f"{label}, gap {'in the corner' if column == 0 else 'on the side'}", color="white")
        axis.set_aspect("equal")
        axis.set_axis_off()

weights = 10.0 ** -np.arange(1, 8)
axis = panels["c"]
axis.set_facecolor("#0e1116")
for label, function, size, colour in [
    ("second eigenvector", second_vector, 1.0, "#ef476f"),
    ("SPE", encoding, scale, "#06d6a0"),
]:
    found = []
    for weight in weights:
        pair = []
        for gap in gaps:
            graph = grid.copy()
            graph.edges[gap]["weight"] = 1 - weight
            pair.append(graph)
        found.append(pe_stability(lambda A, f=function, s=size: f(A) / s, *pair, perm=range(side**2)))
    axis.loglog([r.eps for r in found], [r.distance for r in found], "o-", color=colour, label=label)
axis.set_xlabel("change of the Laplacian", color="white")
axis.set_title("change of the encoding, relative", color="white")
axis.tick_params(colors="white", which="both")
axis.spines[:].set_color("#5b6472")
axis.grid(color="#2a303b")
axis.legend(facecolor="#0e1116", edgecolor="#5b6472", labelcolor="white", loc="center left")
plt.show()
