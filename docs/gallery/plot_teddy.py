"""
Which edges a network can do without
====================================

A few hubs, and many nodes with few neighbours. TEDDY scores every edge from degrees alone: what runs between hubs can
go, what ties the quiet nodes to the rest stays. Pruning the other way round takes the periphery apart.
"""

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np

from gossamer.graph import sparsify_edges, teddy_edge_scores

graph = nx.powerlaw_cluster_graph(220, 3, 0.6, seed=4)
place = nx.kamada_kawai_layout(graph)
scores = teddy_edge_scores(graph)
degree = np.array([d for _, d in graph.degree])

# %%
# Scores on the whole graph, then half of the edges removed: lowest first, highest first, and at random.

rank = np.argsort(np.argsort(list(scores.values()))) / len(scores)
panels = [("every edge, coloured by its score", graph, None)]
for title, order in (
    ("lowest scores gone", "teddy"),
    ("random ones gone", "random"),
    ("highest gone", "inverse"),
):
    pruned, report = sparsify_edges(graph, 0.5, order, random_state=0)
    panels.append((f"{title}: {report.new_isolated} nodes cut off", pruned, report))

colour = dict(zip(scores, plt.get_cmap("plasma")(0.05 + 0.8 * rank)))
figure, axes = plt.subplots(2, 2, figsize=(10, 9), layout="constrained", facecolor="#10131a")
for axis, (title, drawn, _) in zip(axes.flat, panels):
    lonely = np.array([drawn.degree(v) == 0 for v in graph])
    nx.draw_networkx_edges(
        drawn, place, ax=axis, width=0.8, alpha=0.75, edge_color=[colour[tuple(e)] for e in drawn.edges]
    )
    xy = np.array([place[v] for v in graph])
    axis.scatter(*xy[~lonely].T, s=6 + 3 * degree[~lonely], c="white", linewidths=0, zorder=3)
    axis.scatter(*xy[lonely].T, s=26, facecolors="none", edgecolors="#ff6b6b", linewidths=1.2, zorder=3)
    axis.set_title(title, color="white")
    axis.set_axis_off()
plt.show()
