"""
Which block next, and a forest for a block
==========================================

Least squares with five thousand columns of very different lengths, five coordinates at a time: what a choice of block
is worth. Then a lattice whose potentials are held at a few nodes: the block is a maximal forest, coloured by its trees,
and one sweep up and down each tree solves for all of it.
"""

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from gossamer.solve import LabelPropagation, LeastSquares, block_coordinate_descent

rng = np.random.default_rng(0)
A = sp.random_array((500, 5000), density=0.1, rng=rng, data_sampler=rng.normal, format="csc")
A = A @ sp.diags_array(10 * rng.standard_normal(5000))
weights = rng.standard_normal(5000) * (rng.random(5000) < 0.1)
problem = LeastSquares(A, A @ weights + rng.standard_normal(500))

runs = {
    "fixed, random, gradient": {"partition": "sort", "select": "random", "update": "gradient"},
    "fixed, random, matrix": {"partition": "sort", "select": "random", "update": "matrix"},
    "fixed, gsl, matrix": {"partition": "sort", "select": "gsl", "update": "matrix"},
    "variable, gsd, gradient": {"select": "gsd", "update": "gradient"},
    "variable, gs, matrix": {"select": "gs", "update": "matrix"},
    "variable, gsd, matrix": {"select": "gsd", "update": "matrix"},
}
histories = {
    name: block_coordinate_descent(problem, maxiter=300, tol=0, random_state=0, **rule).fun_history
    for name, rule in runs.items()
}

# %%
# Eight nodes of a lattice of 40 x 40 are held; the third block of a run is drawn over the potentials that it gives.

side = 40
line = sp.diags_array([np.ones(side - 1), np.ones(side - 1)], offsets=[-1, 1])
W = sp.csr_array(sp.kron(line, sp.eye_array(side)) + sp.kron(sp.eye_array(side), line))
y = np.zeros(side * side)
y[rng.choice(side * side, 8, replace=False)] = np.resize([1.0, -1.0], 8)
graph = LabelPropagation(W, y)
result = block_coordinate_descent(graph, select="forest-gsd", maxiter=400, record=True)

block = graph.unlabelled[result.blocks[2]]
part = sp.coo_array(W[block][:, block])
_, tree = connected_components(part, directed=False)

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
for name, history in histories.items():
    left.semilogy(history, label=name, lw=2)
left.set(xlabel="iteration of five coordinates", ylabel="objective")
left.grid(alpha=0.2)
left.legend(fontsize=8)

right.imshow(graph.complete(result.x).reshape(side, side), cmap="RdBu", vmin=-1, vmax=1, alpha=0.45)
for i, j in zip(*part.coords):
    if i < j:
        ends = np.array([np.divmod(block[i], side), np.divmod(block[j], side)])
        right.plot(ends[:, 1], ends[:, 0], color=plt.cm.tab20(tree[i] % 20), lw=2)
held = np.flatnonzero(y)
right.scatter(
    held % side, held // side, c=y[held], cmap="RdBu", vmin=-1, vmax=1, s=70, edgecolors="black", zorder=3
)
right.set(xticks=[], yticks=[], title=f"a block: {len(block)} of {graph.n} nodes, {tree.max() + 1} trees")
plt.show()
