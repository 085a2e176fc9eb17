"""
Which features interact? Ask in the right places
================================================

A boosted-trees model of twenty binary features is a sum of parities, a million of them. Some ten thousand well-chosen
questions find those that matter; the same trees, expanded by hand, say whether they are right.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier

from gossamer.linalg import fwht, sparse_wht

data, target = load_breast_cancer(return_X_y=True)
names = load_breast_cancer().feature_names[:20]
bits = (data[:, :20] > np.median(data[:, :20], axis=0)).astype(np.float32)
model = GradientBoostingClassifier(max_depth=4, n_estimators=60, random_state=0).fit(bits, target)

result = sparse_wht(model.decision_function, n=20, P=20, max_queries=30_000, random_state=0)
print(result)

# %%
# All 2**20 values, for the truth. This is what nobody could ask of an experiment.

everything = np.arange(1 << 20, dtype=np.uint32)
columns = ((everything[:, None] >> np.arange(20)) & 1).astype(np.float32)
truth = fwht(model.decision_function(columns), norm="forward")

# %%
# Left: every coefficient found against the true one. Right: the strongest pairs.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained", width_ratios=(1, 1.15))
order = np.bitwise_count(result.support)
spot = left.scatter(
    truth[result.support.astype(int)], result.coef, c=order, cmap="viridis", s=18, vmin=0, vmax=4
)
left.axline((0, 0), slope=1, color="0.7", lw=0.8, zorder=0)
left.set_xscale("symlog", linthresh=1e-2)
left.set_yscale("symlog", linthresh=1e-2)
left.set(xlabel="true coefficient", ylabel=f"found with {result.n_queries:,} of {1 << 20:,} values")
figure.colorbar(spot, ax=left, label="features in the parity", ticks=range(5))

pairs = np.zeros((20, 20))
for features, value in result.interactions(2):
    if len(features) == 2:
        pairs[features] = pairs[features[::-1]] = value
    elif len(features) == 1:
        pairs[features[0], features[0]] = value
bound = np.abs(pairs).max()
image = right.imshow(
    pairs, cmap="RdBu_r", norm=plt.matplotlib.colors.SymLogNorm(0.02, vmin=-bound, vmax=bound)
)
right.set_xticks(range(20), names, rotation=90, fontsize=6)
right.set_yticks(range(20), names, fontsize=6)
right.set_title("single features (diagonal) and pairs", fontsize=10)
figure.colorbar(image, ax=right, label="coefficient")
plt.show()
