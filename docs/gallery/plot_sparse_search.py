"""
What a search need not read
===========================

Sixty thousand documents share a vocabulary in which few tokens are common and most are rare. A query of one common and
three rare tokens is searched by bounds: wherever those of all lists together stay below the tenth best score so far,
nothing is read.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import sparse

from gossamer.retrieve import InvertedIndex

rng = np.random.default_rng(3)
n, vocabulary = 60_000, 3000
share = 1 / np.arange(1, vocabulary + 1)
tokens = rng.choice(vocabulary, (n, 40), p=share / share.sum())
documents = sparse.csr_matrix(
    (rng.gamma(2.0, 0.5, n * 40).astype(np.float32), tokens.ravel(), np.arange(0, n * 40 + 1, 40)),
    shape=(n, vocabulary),
)
documents.sum_duplicates()
seen = np.bincount(documents.indices, minlength=vocabulary)
idf = np.log1p((n - seen + 0.5) / (seen + 0.5)).astype(np.float32)

chosen = np.array([2, 60, 400, 900])
query = sparse.csr_matrix((idf[chosen], chosen, [0, len(chosen)]), shape=(1, vocabulary))
index = InvertedIndex().build(documents)
ids, scores = index.search(query, k=10)

# %%
# Each list's largest contribution in a window of documents, stacked. Windows that stay below the bar are shaded
# underneath: no document in them is looked at.

width = 60
columns = documents.tocsc()
bounds = np.zeros((len(chosen), n // width))
for row, token in enumerate(chosen):
    own = columns[:, [token]]
    np.maximum.at(bounds[row], own.indices // width, idf[token] * own.data)
contribution = (documents @ query.T).toarray().ravel()
bar, some = scores[0, -1], contribution > 0
excluded = bounds.sum(axis=0) <= bar

figure, (top, low) = plt.subplots(
    2, 1, figsize=(10, 7), sharex=True, layout="constrained", height_ratios=[2, 1]
)
x = np.arange(n // width) * width
colours = plt.get_cmap("magma")(np.linspace(0.25, 0.85, len(chosen)))
labels = [f"token {t}, in {seen[t]:,} documents" for t in chosen]
top.stackplot(x, bounds, step="post", colors=colours, labels=labels)
top.axhline(bar, color="tab:cyan", lw=2, label="the tenth best score")
top.scatter(ids[0], scores[0], s=44, color="white", edgecolor="black", zorder=3, label="the ten best")
top.set_ylabel("bound of a window")
figure.legend(ncols=3, fontsize=9, loc="outside upper center")
low.fill_between(x, 0, scores.max(), where=excluded, step="post", color="tab:cyan", alpha=0.25, lw=0)
low.scatter(np.flatnonzero(some), contribution[some], s=0.4, color="0.3")
low.axhline(bar, color="tab:cyan", lw=2)
low.set_xlabel("document")
low.set_ylabel("score")
low.set_title(
    f"{some.sum():,} documents share a token with the query; {excluded.mean():.0%} of the windows are excluded"
)
plt.show()

# %%
# Three ways to search, the same documents with the same scores.

for method in ("taat", "maxscore", "bmw"):
    print(method, index.search(query, k=10, method=method)[0].tolist())
