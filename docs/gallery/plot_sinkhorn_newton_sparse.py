"""
A digit flows into another one
==============================

Optimal transport says where the ink of one digit must go to become another, at the least total effort. With little
regularisation every spot of ink goes nearly to one place, and the plan can be walked: part of the way is a picture in
between. The plan has a million entries, of which a few thousand carry everything: that makes Newton steps cheap.
"""

import itertools
import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter, zoom
from sklearn.datasets import load_digits

from gossamer.solve import ConvergenceWarning, sinkhorn, sinkhorn_newton_sparse, wasserstein_grid

size = 40
images, labels = load_digits(return_X_y=True)


def ink(digit, which=0):
    image = images[labels == digit][which].reshape(8, 8)
    image = np.clip(zoom(np.pad(image, 1), 4, order=3), 0, None)
    return np.where(image > 4, image, 0)


# %%
# Five digits, and the plan from each to the next. The mass of a plan's entry moves on a straight line from its row's
# pixel to its column's; what lies between two pixels at time t is shared among the four around it.


def in_between(result, t, fine=2):
    plan = result.sparse_plan(1e-9).tocoo()
    places = np.indices(result.shape).reshape(2, -1).T
    at = fine * ((1 - t) * places[plan.row] + t * places[plan.col])
    low = np.floor(at).astype(int)
    share = at - low
    picture = np.zeros((fine * size + 1, fine * size + 1))
    for down in (0, 1):
        for right in (0, 1):
            weight = np.abs(1 - down - share[:, 0]) * np.abs(1 - right - share[:, 1])
            np.add.at(picture, (low[:, 0] + down, low[:, 1] + right), plan.data * weight)
    return gaussian_filter(picture, 1.1)


chain = [3, 8, 0, 6, 5]
plans = [wasserstein_grid(ink(a), ink(b), eta=4000.0) for a, b in itertools.pairwise(chain)]
print(plans[0])

# %%
# Above: the way from digit to digit. Below: what the solver sees. The plan of a random assignment, rows in the order of
# their partners, as the regularisation falls; and the error of the marginals, step by step.

figure = plt.figure(figsize=(11, 7.2), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(1.35, 1))
steps = np.linspace(0, 1, 9)[:-1]
for axes, (k, t) in zip(
    above.subplots(len(plans), len(steps), gridspec_kw={"wspace": 0, "hspace": 0}).flat,
    ((k, t) for k in range(len(plans)) for t in steps),
):
    axes.imshow(in_between(plans[k], t), cmap="magma")
    axes.axis("off")

C = np.random.default_rng(0).random((120, 120))
*panels, curves = below.subplots(1, 4, width_ratios=(1, 1, 1, 1.6))
order = sinkhorn_newton_sparse(C, eta=3000.0, annealing=True).to_assignment()
for axes, eta in zip(panels, (10.0, 60.0, 400.0)):
    plan = sinkhorn_newton_sparse(C, eta=eta).plan[:, order]
    axes.imshow(np.log10(plan * len(C)), cmap="magma", vmin=-6, vmax=0)
    axes.set_title(f"eta = {eta:.0f}: {(plan > 1e-4 / len(C)).sum():,} entries", fontsize=9)
    axes.set(xticks=[], yticks=[])

C = np.random.default_rng(0).random((500, 500))
newton = sinkhorn_newton_sparse(C, eta=1200.0, tol=1e-13)
with warnings.catch_warnings(category=ConvergenceWarning, action="ignore"):
    plain = sinkhorn(C, eta=1200.0, maxiter=100, log_domain=False)
curves.semilogy(plain.history["marginal_error"], color="0.6", label="Sinkhorn alone")
curves.semilogy(
    newton.history["marginal_error"], ".-", color="#b5367a", label="20 Sinkhorn steps, then Newton"
)
curves.set(xlim=(0, 100), ylim=(1e-15, 3), xlabel="step", title="error of the marginals")
curves.title.set_fontsize(9)
curves.legend(frameon=False, fontsize=8)
curves.spines[["top", "right"]].set_visible(False)
plt.show()
