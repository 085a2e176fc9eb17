"""
Pairs that sum to zero
======================

Twelve numbers modulo 101. Each asks: is there a pair among us that sums to zero with me? Third-order attention scores
all pairs for every token, and a closed choice of queries and keys of width five answers exactly: the logit of a pair is
the cosine of the angle that its sum makes, and a null pair half-way between a match and a near miss decides.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.nn import match3_construction, match3_dataset, tensor_attention

tokens, labels = match3_dataset(40, seed=4)
chosen = int(np.argmin(abs(labels.sum(1) - 4)))
x, match = tokens[chosen], labels[chosen]
Q, K1, K2, V1, V2, pair_mask = match3_construction(x, M=101)
out = tensor_attention(Q, (K1, K2), (V1, V2), scale=1.0, mode="exact", pair_mask=pair_mask)[:, 0]
print("tokens ", x.tolist())
print("matches", (out > 0.5).astype(int).tolist())

# %%
# Every panel is one token as the query and shows the logits of all pairs of tokens. A ring marks pairs that sum to zero
# with the query: there the logit is at its maximum, and attention falls on it.

logits = np.einsum("il,jl,kl->ijk", Q, K1, K2)[:, :-1, :-1]
sums = (x[:, None, None] + x[None, :, None] + x[None, None, :]) % 101

figure, axes = plt.subplots(3, 4, figsize=(9, 7.2), layout="constrained")
for i, panel in enumerate(axes.flat):
    panel.imshow(logits[i], cmap="viridis")
    rows, columns = np.nonzero(sums[i] == 0)
    panel.scatter(columns, rows, s=90, facecolors="none", edgecolors="#d6336c", linewidths=2.2)
    answer = "yes" if out[i] > 0.5 else "no"
    panel.set_title(f"{x[i]}: {answer}", color="#0f766e" if match[i] else "#7d858c", fontsize=11)
    panel.set(xticks=[], yticks=[])
figure.suptitle("All pairs, as each of twelve tokens sees them")

# %%
# The fast mode does not answer such questions: it is for small logits. There, its error stays below the bound that it
# certifies, and falls as fast as the bound does.

sizes = np.geomspace(0.3, 1.6, 12)
figure, panel = plt.subplots(figsize=(7, 4.2), layout="constrained")
rng = np.random.default_rng(0)
for eps, colour in ((1e-1, "#b45309"), (1e-2, "#0f766e"), (1e-3, "#24292e")):
    errors, bounds, features = [], [], []
    for size in sizes:
        q, k1, k2, v1, v2 = rng.uniform(-size, size, (5, 80, 4))
        exact = tensor_attention(q, (k1, k2), (v1, v2), mode="exact")
        fast, info = tensor_attention(q, (k1, k2), (v1, v2), mode="poly", eps=eps, return_info=True)
        errors.append(abs(fast - exact).max() / abs(v1).max() / abs(v2).max())
        bounds.append(info.bound)
        features.append(info.features)
    panel.loglog(sizes, bounds, color=colour, label=f"certified, eps={eps:g}")
    panel.loglog(sizes, errors, color=colour, marker="o", linestyle=":", label="measured")
    panel.annotate(
        f"{features[-1]} monomials", (sizes[-1], bounds[-1]), textcoords="offset points", xytext=(-80, 8)
    )
panel.set(xlabel="largest entry of queries and keys", ylabel="error of an output", ylim=(3e-9, 0.3))
panel.grid(alpha=0.2)
panel.legend(ncols=3, fontsize=8, loc="lower right")
plt.show()
