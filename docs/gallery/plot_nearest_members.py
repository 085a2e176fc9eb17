"""
One matrix, every family
========================

A weight can be approximated in many families of matrices. Which one spends its bytes best depends on the weight *and*
on the inputs that it meets. Here one matrix is projected onto all of them, in the metric of correlated inputs.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.linalg import (
    NM,
    Block,
    BlockDiagonal,
    GroupQuant,
    Kronecker,
    LowRank,
    Unstructured,
    weighted_error,
)

# %%
# A weight with a few strong directions and heavy tails, like those of trained layers, and inputs of which some
# channels are much louder than others.

rng = np.random.default_rng(0)
rows, columns = 192, 256
W = rng.standard_t(4, size=(rows, columns)) + 0.3 * rng.normal(size=(rows, 8)) @ rng.normal(size=(8, columns))
W = W.astype(np.float32)
x = rng.normal(size=(4096, columns)) @ (
    0.1 * rng.normal(size=(columns, columns)) + np.diag(rng.gamma(1, size=columns))
)
H = (x.T @ x / len(x)).astype(np.float32)

# %%
# Each curve is one family under growing budgets. ``project`` minimises the error of the *outputs*: the second moment
# ``H`` of the inputs is the metric.

curves = {
    "unstructured": [Unstructured(density=d) for d in (0.1, 0.2, 0.35, 0.5)],
    "N:M": [NM(1, 4), NM(2, 4), NM(3, 4)],
    "blocks 1 x 16": [Block((1, 16), density=d) for d in (0.2, 0.35, 0.5, 0.7)],
    "group-quantised": [GroupQuant(bits=b, group=32) for b in (2, 3, 4, 8)],
    "group-sparse, 4 bits": [Block((1, 16), density=d).quantized(bits=4) for d in (0.3, 0.5, 0.8, 1.0)],
    "low-rank": [LowRank(r) for r in (8, 24, 48, 80)],
    "4 bits + low-rank": [GroupQuant(bits=4, group=32) + LowRank(r) for r in (2, 8, 24)],
    "block-diagonal": [BlockDiagonal(b) for b in (16, 8, 4, 2)],
    "Kronecker": [Kronecker((12, 16), (16, 16)), Kronecker((48, 64), (4, 4)), Kronecker((96, 128), (2, 2))],
}

total = weighted_error(W, np.zeros_like(W), H)
figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
for position, (name, family) in enumerate(curves.items()):
    members = [structure.project(W, metric=H) for structure in family]
    bits = [A.bits_per_weight for A in members]
    error = [weighted_error(W, A.to_dense(), H) / total for A in members]
    axes.loglog(bits, error, marker="osD^v"[position % 5], label=name, alpha=0.85)

axes.set(xlabel="bits a weight, all overhead counted", ylabel="relative error of the outputs")
axes.grid(which="both", alpha=0.2)
axes.legend(fontsize=8)
plt.show()
