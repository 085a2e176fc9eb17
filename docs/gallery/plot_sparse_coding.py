"""
Take pictures apart, in six ways
================================

Ten bars occur at random in small noisy pictures. What happens where two of them cross is the whole difference between
the models: they add up, are subtracted, come in double strength or with a random one, or hide one another. Each model
finds the bars of its own kind, and says how often they occur and how much noise there is.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d

from gossamer import learn
from gossamer.learn import AnnealingSchedule, bars

warnings.simplefilter("ignore", UserWarning)
late = ((0.6, 0.0), (0.9, 1.0))
cold = {"T": ((0, 4.0), (0.8, 1.0)), "truncation": late}
problems = {
    "BinarySparseCoding": ({}, {"T": ((0, 5.0), (0.8, 1.0)), "truncation": late}),
    "TernarySparseCoding": (
        {"values": (-1, 1)},
        {"T": ((0, 2.0), (0.8, 1.0)), "W_noise": ((0.0, 2.0), (0.8, 0.0)), "truncation": late},
    ),
    "DiscreteSparseCoding": ({"values": (1, 2)}, {"T": ((0, 15.0), (0.8, 1.0)), "truncation": late}),
    "GaussianSparseCoding": ({"amplitude": (2.0, 0.5)}, cold),
    "MaximalCausesAnalysis": ({"combine": "max"}, cold),
    "MaximumMagnitudeCausesAnalysis": ({"combine": "magnitude"}, cold),
}


def fit(name):
    """Pictures, and the best of two fits to them."""
    W = bars.bars_dictionary(10, negative=name.startswith("MaximumM")) * 10
    X, _ = bars.bars_data(W, 800, noise=2.0, random_state=2, **problems[name][0])
    schedule = AnnealingSchedule(80, **problems[name][1])
    model = getattr(learn, name)(10, n_candidates=7, max_active=4, schedule=schedule)
    fits = [model.__class__(**model.get_params()).set_params(random_state=k).fit(X) for k in range(2)]
    best = max(fits, key=lambda one: one.score(X))
    match = bars.match_dictionaries(best.components_, W, sign_invariant=True)
    return X, best, match.signs[:, None] * best.components_[match.order]


figure = plt.figure(figsize=(9, 5.4), layout="constrained")
grid = figure.add_gridspec(6, 16)
for row, name in enumerate(problems):
    X, model, parts = fit(name)
    for column, image in enumerate([*X[:4], None, *parts]):
        if image is None:
            continue
        axes = figure.add_subplot(grid[row, column + (column > 4)])
        top = np.abs(image).max()
        axes.imshow(image.reshape(5, 5), cmap="RdBu_r", vmin=-top, vmax=top)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("0.8")
        if column == 0:
            short = name.replace("SparseCoding", "").replace("CausesAnalysis", " causes")
            short = short.replace("MaximumMagnitude", "Maximum\nmagnitude").replace("Maximal ", "Maximal\n")
            axes.set_ylabel(short, rotation=0, ha="right", va="center", fontsize=9)
        if row == 0 and column in (0, 5):
            axes.set_title("pictures" if column == 0 else "parts found", loc="left", fontsize=10)
    print(f"{name}: prior {np.round(np.mean(model.prior_[1:] if name[0] == 'D' else model.prior_), 3)}")
plt.show()

# %%
# Photographs instead of bars: whitened patches, all of the same contrast, of two photographs that come with
# scikit-learn. Under sums and under the maximum in magnitude parts become edges, each at its own place; some are as
# large as the patch.

patches, side = [], 10
for seed, image in enumerate(load_sample_images().images):
    grey = image[:426, :640].mean(axis=2).reshape(213, 2, 320, 2).mean(axis=(1, 3)) / 255
    patches.append(extract_patches_2d(grey, (side, side), max_patches=5000, random_state=seed))
X = np.concatenate(patches).reshape(10000, -1)
X -= X.mean(axis=1, keepdims=True)
X = X[np.argsort(-X.std(axis=1))[:6000]]
X -= X.mean(axis=0)
values, vectors = np.linalg.eigh(X.T @ X)
kept = np.cumsum(values) > 0.03 * values.sum()
X = X @ (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
X *= np.sqrt(kept.sum()) / np.linalg.norm(X, axis=1, keepdims=True)

figure, panels = plt.subplots(1, 2, figsize=(9, 4.6), layout="constrained")
schedule = AnnealingSchedule(40, T=((0, 2.0), (0.8, 1.0)), truncation=late)
for axes, name in zip(panels, ("BinarySparseCoding", "MaximumMagnitudeCausesAnalysis")):
    model = getattr(learn, name)(64, n_candidates=6, max_active=3, schedule=schedule, random_state=0).fit(X)
    fields = model.components_ / np.abs(model.components_).max(axis=1, keepdims=True)
    fields = fields[np.argsort(-np.linalg.norm(model.components_, axis=1))].reshape(8, 8, side, side)
    sheet = np.full((8 * (side + 1) - 1,) * 2, np.nan)
    for i, j in np.ndindex(8, 8):
        sheet[(side + 1) * i :, (side + 1) * j :][:side, :side] = fields[i, j]
    axes.imshow(sheet, cmap="gray", vmin=-1, vmax=1)
    axes.set(xticks=[], yticks=[], title=f"{name}\n{64 * model.prior_:.1f} of 64 causes a patch")
    axes.spines[:].set_visible(False)
plt.show()
