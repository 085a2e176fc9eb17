"""
Which rows stand for all of them
================================

Two thousand points in the plane, some far out, and a sample of them by each kind of score, for the norm with p = 4.
Below, the ball of norm one, in black, and the balls that twelve weighted samples take for it. Uniform samples miss the
rows that decide.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.solve import lp_coreset

rng = np.random.default_rng(3)
A = rng.normal(size=(2000, 2)) @ np.array([[1.0, 0.4], [0.0, 0.5]])
A[:12] = 6 * rng.normal(size=(12, 2))
p, m = 4, 120
angles = np.linspace(0, 2 * np.pi, 721)
directions = np.array([np.cos(angles), np.sin(angles)])


def ball(rows):
    """Points x with ``||rows x||_p = 1``."""
    return directions / (np.abs(rows @ directions) ** p).sum(axis=0) ** (1 / p)


# %%
# The area of a point grows with its weight.

names = ("uniform", "leverage", "lewis", "sensitivity")
figure, axes = plt.subplots(2, 4, figsize=(10, 5.4), layout="constrained")
true = ball(A)
for column, name in enumerate(names):
    coreset = lp_coreset(A, p, m, scores=name, random_state=1)
    top, below = axes[:, column]
    top.scatter(*A.T, s=2, color="0.8")
    top.scatter(*A[coreset.index].T, s=8 + coreset.weight, color="C3", alpha=0.6, linewidths=0)
    top.set(title=name, aspect="equal", xticks=[], yticks=[])
    for seed in range(12):
        below.plot(*ball(lp_coreset(A, p, m, scores=name, random_state=seed).apply(A)), color="C3", lw=0.6)
    below.plot(*true, color="black", lw=1.5)
    reach = 1.6 * np.abs(true).max()
    below.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
axes[0, 0].set_ylabel(f"{m} of {len(A)} rows")
axes[1, 0].set_ylabel("unit balls, p = 4")
plt.show()
