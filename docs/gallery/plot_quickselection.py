"""
Find where the digits are
=========================

Handwritten digits stand somewhere in a field of noise; every pixel, of a digit or of noise, has the same variance. A
sparse autoencoder without labels moves its weights after each epoch: connections gather at pixels that help to rebuild
others, and the digits' place emerges.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from gossamer.learn import QuickSelection, selection_scores

digits, labels = load_digits(return_X_y=True)
rng = np.random.default_rng(0)
field = rng.normal(size=(len(digits), 32, 32))
large = digits.reshape(-1, 8, 8).repeat(2, axis=1).repeat(2, axis=2)
field[:, 11:27, 5:21] = large / (large.std(axis=0) + 1e-9) + 0.3 * rng.normal(size=large.shape)
field = (field - field.mean(axis=0)) / field.std(axis=0)
X = field.reshape(len(field), -1)

# %%
# Seven hundred of the thousand pixels are noise of their own; 80 pixels are to be kept.

selector = QuickSelection(80, epochs=40, random_state=0).fit(X)
strength = selector.history_["strength"].reshape(-1, 32, 32)
inside = np.zeros((32, 32), bool)
inside[11:27, 5:21] = True
chosen = selector.support_.reshape(32, 32)
ours = selection_scores(X, labels, selector.support_, random_state=0)
random = selection_scores(X, labels, rng.permutation(1024)[:80], random_state=0)
print(f"{inside[chosen].mean():.0%} of the chosen pixels lie where the digits are")
print(
    f"a classifier is right on {ours.accuracy:.0%} with them, on {random.accuracy:.0%} with 80 random pixels"
)

figure, axes = plt.subplots(2, 4, figsize=(10, 5.4), layout="constrained")
for panel, image, label in zip(axes[0, :3], field[[0, 4, 7]], labels[[0, 4, 7]]):
    panel.imshow(image, cmap="gray", vmin=-2.5, vmax=2.5)
    panel.set_title(f"a row of the table: {label}", fontsize=10)
axes[0, 3].imshow(field.std(axis=0), cmap="gray", vmin=0, vmax=1.5)
axes[0, 3].set_title("variance tells nothing", fontsize=10)
for panel, epoch in zip(axes[1, :3], (1, 5, 40)):
    panel.imshow(strength[epoch - 1], cmap="magma")
    panel.set_title(f"strength after epoch {epoch}", fontsize=10)
axes[1, 3].imshow(np.where(chosen, strength[-1], np.nan), cmap="magma", vmin=0)
axes[1, 3].set_facecolor("#e8e8e8")
axes[1, 3].set_title("the 80 strongest", fontsize=10)
for panel in axes.flat:
    panel.set_xticks([])
    panel.set_yticks([])
plt.show()
