"""
Which structure does my matrix have?
====================================

:func:`gossamer.linalg.explain` projects a matrix onto every family at equal bytes. A matrix that belongs to a family is
named; for any other one the picture shows what its bytes are best spent on.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.linalg import explain

rng = np.random.default_rng(0)

# %%
# **A separable covariance.** Points on a grid whose rows and columns are correlated independently: the covariance of
# the whole is a Kronecker product, which nobody sees in its 147,456 entries.


def decay(n, length):
    return np.exp(-np.abs(np.subtract.outer(np.arange(n), np.arange(n))) / length)


covariance = np.kron(decay(16, 3.0), decay(24, 8.0))
found = explain(covariance, bits=(16, 8, 4, 2, 1))
print(found.message)

# %%
# **The Laplacian of a graph.** A ring with chords is sparse; because all chords are alike, it is more than that.

n = 256
adjacency = np.zeros((n, n))
for step in (1, 7):
    adjacency[np.arange(n), (np.arange(n) + step) % n] = 1
adjacency = np.maximum(adjacency, adjacency.T)
laplacian = np.diag(adjacency.sum(1)) - adjacency
print(explain(laplacian, bits=(16, 8, 4, 2, 1)).message)

# %%
# **The Fourier transform.** As it stands it has no structure that shows. Its columns dealt into heaps make it a Monarch
# matrix, which is how fast transforms work.

print(explain(np.fft.fft(np.eye(64)), bits=(64, 32, 16, 8)).message)

# %%
# **A weight.** A few strong directions, heavy tails, and inputs of which some channels are far louder than others: no
# family holds it exactly, and the metric decides which serves it best.

W = rng.standard_t(4, size=(192, 256)) + 0.4 * rng.normal(size=(192, 6)) @ rng.normal(size=(6, 256))
x = rng.normal(size=(4096, 256)) * rng.gamma(0.7, size=256)
H = x.T @ x / len(x)
weight = explain(W.astype(np.float32), H.astype(np.float32))
print(weight.message)
print(weight.to_markdown())

# %%
# Both as pictures: the covariance falls to the bottom in one family, the weight in none.

figure = found.plot()
figure.axes[0].set_title("A separable covariance", loc="left")
figure

# %%

figure = weight.plot()
figure.axes[0].set_title("A weight, in the metric of its inputs", loc="left")
plt.show()
figure
