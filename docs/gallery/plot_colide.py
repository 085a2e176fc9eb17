"""
A causal graph, and how loud its noise is
=========================================

Fourteen variables cause each other linearly, and nobody says how large the noise is. Least squares with a fixed weight
on sparsity (DAGMA) needs that weight tuned to the noise; CoLiDE estimates the noise together with the graph. The same
graph is estimated from quiet data and from loud data, with the same weight.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.graph import dag_metrics, simulate_linear_sem
from gossamer.learn import CoLiDE
from gossamer.solve import dagma, topological_order

budget = {"warm_iter": 3000, "max_iter": 6000, "lr": 2e-3}
data = simulate_linear_sem(14, 1000, k=2, sigma2=1.0, random_state=2)
truth, quiet, loud = data.W, 0.25 * data.X, 30 * data.X  # the same table with noise of 0.25 and of 30

# %%
# Both methods see both tables.

model = CoLiDE(noise="ev", **budget)
estimates = {
    "DAGMA, noise 0.25": dagma(quiet, **budget).to_dag(),
    "CoLiDE, noise 0.25": model.fit(quiet).adjacency_,
    "DAGMA, noise 30": dagma(loud, **budget).to_dag(),
    "CoLiDE, noise 30": model.fit(loud).adjacency_,
}
print("noise found in the loud table:", model.noise_std_[0].round(1))

# %%
# The true graph, and each estimate on top of it: right edges dark, false and reversed ones red, missing ones dotted.
# Variables stand on a circle in causal order, clockwise from the top.

order = topological_order(truth)
angle = np.empty(len(order))
angle[order] = np.pi / 2 - 2 * np.pi * np.arange(len(order)) / len(order)
place = np.c_[np.cos(angle), np.sin(angle)]
RIGHT, WRONG, MISSING = "#1f4e79", "#c2410c", "#9ca3af"


def arrow(axes, i, j, colour, style="-", width=1.2):
    axes.annotate(
        "", xy=place[j], xytext=place[i],
        arrowprops={
            "arrowstyle": "-|>", "color": colour, "linestyle": style, "linewidth": width, "shrinkA": 8, "shrinkB": 8,
            "connectionstyle": "arc3,rad=0.12",
        },
    )  # fmt: skip


def draw(axes, W, title):
    for i, j in np.argwhere((truth != 0) & (W == 0)):
        arrow(axes, i, j, MISSING, ":", 1.0)
    for i, j in np.argwhere(W != 0):
        arrow(axes, i, j, RIGHT if truth[i, j] else WRONG, width=0.6 + 0.7 * min(abs(W[i, j]), 2))
    axes.scatter(*place.T, s=130, color="white", edgecolor="#24292e", zorder=3)
    for node, (x, y) in enumerate(place):
        axes.text(x, y, node, ha="center", va="center", fontsize=7, zorder=4)
    axes.set(xlim=(-1.25, 1.25), ylim=(-1.2, 1.2), aspect="equal", title=title)
    axes.axis("off")


figure, panels = plt.subplot_mosaic(
    [["true", "a", "b"], ["true", "c", "d"]], figsize=(11, 7), width_ratios=(1.5, 1, 1), layout="constrained"
)
draw(panels["true"], truth, "the true graph")
for key, (name, W) in zip("abcd", estimates.items(), strict=True):
    draw(panels[key], W, f"{name}: {dag_metrics(truth, W)['shd']} edges wrong")
plt.show()
