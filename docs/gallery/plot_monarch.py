"""
The Fourier transform, taken apart
==================================

The Fourier matrix has no zeros. After one shuffle of its columns it is a Monarch matrix all the same: two
block-diagonal factors with a fixed permutation around them, exactly. Colour is the phase of an entry, brightness its
size.
"""

import matplotlib.pyplot as plt
import numpy as np
import scipy.linalg
from matplotlib.colors import hsv_to_rgb

from gossamer.linalg import LowRank, Monarch, weighted_error

n, m = 64, 8
F = np.fft.fft(np.eye(n), norm="ortho")
shuffle = np.arange(n).reshape(m, m).T.ravel()
A = Monarch(m, dtype="complex128").project(F[:, shuffle])
print(
    f"error {weighted_error(F[:, shuffle], A.to_dense()) ** 0.5:.1e}, {A.flops() / (8 * n * n):.2f} of the operations"
)

# %%
# The nearest Monarch matrix is found slice by slice: with input block and output residue fixed, what remains is a small
# matrix, and its leading singular vectors are a row of one factor and a column of the other. Here nothing is left.

w1, w2 = A.joined()
P = np.eye(n)[shuffle]
parts = {
    "Fourier matrix, columns shuffled": F[:, shuffle],
    "permuted": P,
    "block-diagonal $w_2$": scipy.linalg.block_diag(*w2),
    "permuted ": P,
    "block-diagonal $w_1$": scipy.linalg.block_diag(*w1),
}


def coloured(matrix):
    hue = (np.angle(matrix) / (2 * np.pi)) % 1
    size = np.abs(matrix) / np.abs(matrix).max()
    paint = hsv_to_rgb(np.stack([hue, 0.75 * np.ones_like(hue), np.ones_like(hue)], axis=-1))
    return 1 - size[..., None] * (1 - paint)


figure = plt.figure(figsize=(11, 7), layout="constrained")
axes = figure.subplot_mosaic([list("abcde"), ["f"] * 5], height_ratios=[1, 1.3])
for axis, sign, (name, matrix) in zip((axes[k] for k in "abcde"), ("=", "·", "·", "·", ""), parts.items()):
    axis.imshow(coloured(matrix), interpolation="nearest")
    axis.set_title(name, fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.text(1.08, 0.5, sign, transform=axis.transAxes, fontsize=16, ha="center", va="center")

# %%
# How much of other matrices a Monarch matrix keeps, against a low-rank one with as many numbers. The Hadamard transform
# is a member. The cosine transform is one only of products of such matrices. A smooth kernel is what low rank is for,
# and noise is for neither.

side = 256
grid = np.linspace(-1, 1, side)
rng = np.random.default_rng(0)
cosine = scipy.fft.dct(np.eye(side), norm="ortho")
matrices = {
    "Hadamard": scipy.linalg.hadamard(side) / side**0.5,
    "cosine": cosine[:, np.arange(side).reshape(16, 16).T.ravel()],
    "smooth kernel": np.exp(-8 * (grid[:, None] - grid) ** 2),
    "noise": rng.standard_normal((side, side)) / side**0.5,
}
bars = np.arange(len(matrices))
for shift, name in ((-0.2, "Monarch(16)"), (0.2, "LowRank(16)")):
    family = Monarch(16) if "Monarch" in name else LowRank(16)
    errors = [
        (weighted_error(W, family.project(W)) / (W**2).sum()) ** 0.5
        for W in map(np.asarray, matrices.values())
    ]
    drawn = axes["f"].bar(bars + shift, errors, 0.38, label=f"{name}, {2 * 16 * side} numbers")
    axes["f"].bar_label(drawn, fmt="%.2g", fontsize=8)
axes["f"].set_xticks(bars, matrices)
axes["f"].set(ylabel="relative error of the nearest member", ylim=(0, 1.1))
axes["f"].legend()
axes["f"].grid(axis="y", alpha=0.2)
plt.show()
