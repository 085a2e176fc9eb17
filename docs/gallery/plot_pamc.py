"""
Clusters that push each other apart
===================================

Handwritten digits, each linked to its five nearest neighbours. An autoencoder squeezes them into two numbers, where
classes touch. Contrast then pulls neighbours together and pushes the sums of clusters, the meta-nodes, apart by their
angle: clusters settle in directions of their own. Five sums are compared instead of all pairs of images; the last panel
shows what that leaves out.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from gossamer.graph import PamCGC, cluster_metrics
from gossamer.nn import pamc_gap

X, digit = load_digits(n_class=5, return_X_y=True)
X = X / 16
settings = {"knn": 5, "order": 2, "hidden": (128, 128), "latent": 2, "n_init": 10, "random_state": 0}
start = PamCGC(5, pretrain_epochs=40, epochs=0, **settings).fit(X)
model = PamCGC(5, encoder=start.encoder_, epochs=100, **settings).fit(X)

# %%
# Codes of the autoencoder; representations after the contrast, with an arrow to each meta-node; and how much the mean
# exponential of all similarities between two clusters exceeds that of the mean similarity, by tau.

figure, axes = plt.subplots(1, 3, figsize=(13, 4.6), layout="constrained")
for panel, title, fitted in ((axes[0], "autoencoder", start), (axes[1], "after the contrast", model)):
    z = fitted.embedding_
    panel.scatter(*z.T, c=digit, cmap="Set2", vmin=0, vmax=7, s=7, linewidths=0)
    scores = cluster_metrics(digit, fitted.labels_)
    panel.set_title(f"{title}: NMI {scores['nmi']:.2f}")
    panel.set_aspect("equal", adjustable="datalim")
    panel.axhline(0, color="0.85", linewidth=0.6, zorder=0)
    panel.axvline(0, color="0.85", linewidth=0.6, zorder=0)
for cluster in np.unique(model.labels_):
    centre = model.embedding_[model.labels_ == cluster].mean(axis=0)
    axes[1].annotate("", centre, (0, 0), arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1.2})

taus = np.geomspace(0.1, 8, 25)
for fitted, colour, name in ((start, "#b3552e", "autoencoder"), (model, "#2a7f62", "after the contrast")):
    gaps = [pamc_gap(fitted.embedding_, fitted.labels_, tau).gap for tau in taus]
    axes[2].loglog(taus, gaps, color=colour, label=name)
axes[2].axvline(0.5, color="0.6", linewidth=0.8, linestyle=":")
axes[2].set_xlabel(r"$\tau$")
axes[2].set_title("negative term: exact less approximate")
axes[2].legend(frameon=False)
plt.show()
