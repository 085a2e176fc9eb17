"""
Where a LoRA gradient stops being cheap
=======================================

The softmax matrix of attention is close to a product of thin matrices while logits are small, and so is the gradient of
a LoRA adapter. How thin depends on the norms of queries and keys: below a threshold a handful of features certify the
error, above it there are soon more features than tokens, and the exact sum is cheaper.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.nn import phase_transition

norms = np.geomspace(0.3, 4, 16)
figure, panel = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
L = 512
for d, colour in ((2, "#0f766e"), (4, "#b45309"), (8, "#24292e")):
    for eps, style in ((1e-1, ":"), (1e-3, "-")):
        points = phase_transition((L,), norms, d=d, eps=eps, seeds=1, max_features=5000).table
        panel.loglog(
            [point.scaled for point in points],
            [point.k1 for point in points],
            style,
            color=colour,
            linewidth=2.2,
            label=f"width {d}, error {eps:g}",
        )
panel.axhline(L, color="#7d858c", linewidth=1)
panel.annotate("as many features as tokens", (0.115, L * 1.15), color="#7d858c")
panel.set(
    xlabel="largest entry of queries and keys over the root of log L",
    ylabel="features",
    ylim=(1, 6e3),
    title="The phase transition of a certified attention gradient",
)
panel.grid(alpha=0.2, which="both")
panel.legend(fontsize=9)
plt.show()
