"""
A low-rank repair that knows its inputs
=======================================

Three terms of the same rank repair a 2-bit matrix: the plain singular value decomposition of the error, one scaled by
the inputs' sizes, and EoRA, which sees the whole second moment of the inputs. Only the last is optimal for the outputs.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.linalg import GroupQuant, Moment, weighted_low_rank

rng = np.random.default_rng(0)
W = rng.normal(size=(192, 256)).astype(np.float32)
mixing = rng.normal(size=(40, 256))  # inputs lie mostly in 40 directions
X = rng.normal(size=(4096, 40)) @ mixing + 0.3 * rng.normal(size=(4096, 256)) * rng.gamma(1, size=256)
C = Moment(X.T @ X / len(X))
error = W - GroupQuant(bits=2, group=32).project(W).to_dense()

# %%
# How much of the outputs' squared error is left.

ranks = (2, 4, 8, 16, 32, 48, 64)
figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
for method, label in (("svd", "plain SVD"), ("act", "scaled by activations"), ("eora", "EoRA")):
    fits = [weighted_low_rank(error, C, rank, method=method) for rank in ranks]
    axes.plot(ranks, [(fit.residual / fit.total) ** 2 for fit in fits], marker="o", label=label)
axes.set(xlabel="rank", ylabel="squared output error left", xscale="log", ylim=(0, 1))
axes.set_xticks(ranks, [str(rank) for rank in ranks])
axes.grid(alpha=0.2)
axes.legend()
plt.show()
