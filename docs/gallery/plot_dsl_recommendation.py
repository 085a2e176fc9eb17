"""
Give popular items longer vectors
=================================

Six hundred users choose among two hundred films, of which few are seen by many and many by few. A recommender may use
a fifth of the weights of its tables. A fixed random mask spreads them evenly; dynamic sparse learning moves them during
training to where the gradient asks for them.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.learn import MFRecommender, rank_metrics

rng = np.random.default_rng(0)
n_users, n_items = 600, 200
taste = rng.normal(size=(n_users, 4)) @ rng.normal(size=(4, n_items))
popularity = -1.3 * np.log(np.arange(1, n_items + 1))
wish = taste + popularity + rng.gumbel(size=taste.shape)
liked = np.zeros(wish.shape, bool)
np.put_along_axis(liked, np.argsort(-wish, axis=1)[:, :20], True, axis=1)
shown = rng.random(liked.shape) < 0.8
train, test = liked & shown, liked & ~shown

# %%
# The same model, seed and budget; only that weights may move differs.


def fitted(density, **masker_options):
    model = MFRecommender(
        dim=32, density=density, epochs=15, batch_size=512, lr=2e-2, reg=5e-3, random_state=0,
        masker_options=masker_options or None,
    )  # fmt: skip
    return model.fit(train)


def recall(model):
    items, _ = model.recommend(np.arange(n_users), k=20)
    return rank_metrics(items, test, ks=[20])["recall@20"]


moving, fixed = fitted(0.2), fitted(0.2, stop_fraction=0.0)
print(f"recall@20: fixed mask {recall(fixed):.3f}, moving weights {recall(moving):.3f}")
print(f"{moving.explored_fraction_:.0%} of the weights were live at some time, {0.2:.0%} at every time")

densities = (0.1, 0.2, 0.4)
curves = {
    "moving weights": [recall(moving if d == 0.2 else fitted(d)) for d in densities],
    "fixed mask": [recall(fixed if d == 0.2 else fitted(d, stop_fraction=0.0)) for d in densities],
}
dense = recall(fitted(None))

# %%
# Films from the most to the least seen. Bright: live weights, by magnitude.

seen = train.sum(axis=0)
order = np.argsort(-seen)
figure, axes = plt.subplots(1, 4, figsize=(12, 4.2), layout="constrained", width_ratios=(1, 1, 1.5, 1.5))
for panel, model, title in zip(axes, (fixed, moving), ("fixed mask", "moving weights")):
    table = model.sparse_table_.rows(n_users, n_users + n_items).abs().numpy()[order]
    panel.imshow(np.sqrt(table), aspect="auto", cmap="magma", interpolation="nearest")
    panel.set_title(title, fontsize=10)
    panel.set_xlabel("dimension")
axes[0].set_ylabel("films, the most seen above")
for model, title, colour in ((fixed, "fixed mask", "#999999"), (moving, "moving weights", "#d95f02")):
    live = np.diff(model.sparse_table_.indptr.numpy())[n_users:]
    axes[2].scatter(seen, live, s=14, alpha=0.7, color=colour, label=title, linewidths=0)
axes[2].set_xscale("log")
axes[2].set_xlabel("users who saw the film")
axes[2].set_title("live weights of a film", fontsize=10)
axes[2].legend(fontsize=8, frameon=False)
for (title, values), colour in zip(curves.items(), ("#d95f02", "#999999")):
    axes[3].plot(densities, values, "o-", color=colour, label=title)
axes[3].axhline(dense, color="black", lw=1, ls=":", label="dense")
axes[3].set_xlabel("share of live weights")
axes[3].set_title("recall@20", fontsize=10)
axes[3].legend(fontsize=8, frameon=False)
plt.show()
