"""
Which labels are wrong, as many losses see it
=============================================

Thirty percent of the training labels near two moons are flipped. Twenty logistic losses of different temperature share
one weight for each training sample; a clean validation set judges the weights. A step looks at four of the twenty
problems and at 32 samples of each, yet the weights of wrong labels fall for all.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.preprocessing import PolynomialFeatures

from gossamer.solve import HyperWeighting, multi_block_bilevel

points, labels = make_moons(1800, noise=0.18, random_state=0)
truth = 2.0 * labels - 1
features = PolynomialFeatures(3, include_bias=False).fit_transform(points / 2)
rng = np.random.default_rng(0)
wrong = rng.random(900) < 0.3
given = np.where(wrong, -truth[:900], truth[:900])

problem = HyperWeighting(
    features[:900], given, features[900:], truth[900:], sigmas=np.linspace(1, 5, 20), lam=1e-3
)
result = multi_block_bilevel(
    problem,
    np.zeros(900),
    maxiter=8000,
    blocks_per_step=4,
    lr=300.0,
    gamma=1.0,
    schedule="stage",
    eval_every=400,
    random_state=0,
)

# %%
# Left: the training samples, coloured by the label they carry, as large as their weight; rings mark flipped labels.
# Middle: the weights of right and wrong labels. Right: the mean validation loss of the twenty problems.

weight = 1 / (1 + np.exp(-result.x))
figure, (left, middle, right) = plt.subplots(
    1, 3, figsize=(12, 4.2), layout="constrained", width_ratios=(1.5, 1, 1)
)
colours = np.where(given > 0, "#0f766e", "#b45309")
left.scatter(*points[:900].T, s=60 * weight**2 + 1, c=colours, alpha=0.75, linewidths=0)
left.scatter(*points[:900][wrong].T, s=46, facecolors="none", edgecolors="#24292e", linewidths=0.4)
left.set_title("size: learned weight; ring: flipped label", fontsize=10)
left.set_xticks([])
left.set_yticks([])
bins = np.linspace(0, 1, 31)
middle.hist(weight[~wrong], bins, color="#0f766e", alpha=0.8, label="right labels", density=True)
middle.hist(weight[wrong], bins, color="#b45309", alpha=0.7, label="wrong labels", density=True)
middle.set(xlabel="learned weight", ylabel="density")
middle.legend(frameon=False)
right.plot(result.eval_iterations, result.fun_history, marker="o", markersize=3, color="#24292e")
right.set(xlabel="step", ylabel="validation loss, mean of 20 problems")
right.grid(alpha=0.2)
plt.show()
