"""
A basis for pictures, learnt as they pass
=========================================

Blocks of two photographs arrive one batch after another and are forgotten. What stays are two matrices; the polar
factor of one of them is an orthonormal basis in which blocks need few numbers. Coding is one product.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.fft import dct
from sklearn.datasets import load_sample_images

from gossamer.learn import OnlineOrthogonalDictionary, orthogonal_dictionary_msp

side, rng = 12, np.random.default_rng(0)
pictures = [picture.mean(axis=2) / 255 for picture in load_sample_images().images]


def blocks(count):
    """Blocks of the photographs, without their mean."""
    out = np.empty((count, side, side))
    for block in out:
        picture = pictures[rng.integers(2)]
        i, j = (rng.integers(length - side) for length in picture.shape)
        block[:] = picture[i : i + side, j : j + side]
    return (out - out.mean(axis=(1, 2), keepdims=True)).reshape(count, -1)


model = OnlineOrthogonalDictionary(batch_size=64, p=4, random_state=0)
for _ in range(60):
    model.partial_fit(blocks(1024))
print("steps", model.n_steps_, "gap", model.gap_)

# %%
# The atoms, those that carry the most energy first.

held = blocks(6000)
energy = (model.transform(held) ** 2).mean(axis=0)
atoms = model.components_[np.argsort(-energy)][:96]
sheet = np.full((8 * (side + 1) + 1, 12 * (side + 1) + 1), np.nan)
for k, atom in enumerate(atoms):
    i, j = (1 + (side + 1) * place for place in divmod(k, 12))
    sheet[i : i + side, j : j + side] = (atom / np.abs(atom).max()).reshape(side, side)

# %%
# How much of held-out blocks k codes leave, beside cosines, principal axes, and the batch method, which keeps its data.
# Then a stream from a basis that is known and changes half way: with steps that vanish the old basis stays, with steps
# that have a floor the new one is found.

cosine = np.kron(*[dct(np.eye(side), norm="ortho", axis=0)] * 2)
train = blocks(6000)
bases = {
    "learnt from the stream": model.components_,
    "batch MSP on 6,000 blocks": orthogonal_dictionary_msp(train, random_state=0).components,
    "cosines (DCT)": cosine,
    "principal axes": np.linalg.svd(train, full_matrices=False)[2],
}
old, new = (np.linalg.qr(rng.normal(size=(12, 12)))[0] for _ in range(2))
traces = {}
for name, options in {
    "vanishing steps": {},
    "steps with a floor": {"rho_min": 0.05, "gamma_min": 0.01},
}.items():
    follower, trace = OnlineOrthogonalDictionary(batch_size=8, random_state=0, **options), []
    for step in range(240):
        basis = old if step < 120 else new
        codes = rng.normal(size=(160, 12)) * (rng.random((160, 12)) < 0.3)
        follower.partial_fit(codes @ basis)
        trace.append(1 - (np.abs(follower.components_ @ basis.T) ** 4).sum() / 12)
    traces[name] = trace

figure, (picture, left, right) = plt.subplots(
    1, 3, figsize=(13, 4), layout="constrained", width_ratios=(1.5, 1, 1)
)
picture.imshow(sheet, cmap="gray")
picture.axis("off")
picture.set_title("atoms, learnt from 61,440 blocks", fontsize=10)
for name, basis in bases.items():
    squares = np.sort((held @ basis.T) ** 2, axis=1)[:, ::-1].sum(axis=0)
    left.semilogy(np.arange(1, 41), (1 - np.cumsum(squares) / squares.sum())[:40], label=name)
left.set(xlabel=f"codes kept of {side * side}", ylabel="share of the energy that is left")
left.legend(fontsize=8)
for name, trace in traces.items():
    right.semilogy(20 * np.arange(1, 241), trace, label=name)
right.axvline(2400, color="0.6", lw=0.8)
right.set(xlabel="steps (the basis changes at the line)", ylabel="recovery error")
right.legend(fontsize=8)
plt.show()
