"""
Keep the features that matter
=============================

Vectors hold large features that a readout does not see, and smaller ones that it does. With room for four features a
vector, TopK spends all of them on what is large. Choosing by activation times effect on the loss keeps what the readout
needs, and the larger ``beta`` is, the more so.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from gossamer.nn import GradientTopK

rng = np.random.default_rng(0)
n, d, half, k = 1500, 32, 32, 4
readout = np.zeros(d)
readout[16:] = rng.standard_normal(16)
atoms = np.zeros((2 * half, d))
atoms[:half, :16] = rng.standard_normal((half, 16))
atoms[half:, 16:] = rng.standard_normal((half, 16)) + readout[16:]
atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
z = np.zeros((n, 2 * half))
for row in z:
    row[rng.choice(half, k, replace=False)] = rng.uniform(0.8, 1.2, k)
    row[half + rng.choice(half, k, replace=False)] = rng.uniform(0.3, 0.7, k)

# %%
# The gradient of a squared loss of the readout points along it, as far as the readout is from its target.

target = z @ atoms @ readout
g = np.outer(rng.standard_normal(n), readout)
Z, G, W = map(torch.from_numpy, (z, g, atoms))

betas = np.concatenate([[0], np.geomspace(0.05, 20, 25)])
shares, errors, copies = [], [], []
for beta in betas:
    codes = GradientTopK(k, float(beta)).select(Z, G, W)
    kept = codes.to_dense().numpy()
    shares.append((codes.features >= half).mean())
    errors.append(np.abs(kept @ atoms @ readout - target).mean() / np.abs(target).mean())
    copies.append(np.square((kept - z) @ atoms).sum() / np.square(z @ atoms).sum())

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot(betas, errors, label="error of the readout", lw=2)
left.plot(betas, copies, label="error of the copy", lw=2)
left.plot(betas, shares, label="share of codes that the readout sees", ls="--")
left.set(xlabel="beta", ylim=(0, 1.05))
left.set_xscale("symlog", linthresh=0.05)
left.set_xlim(0, 20)
left.legend()

effects = np.abs(g[0] @ atoms.T)
for beta, marker in ((0.0, "o"), (3.0, "x")):
    chosen = GradientTopK(k, beta).select(Z[:1], G[:1], W).features
    right.scatter(
        z[0, chosen], effects[chosen], s=110, marker=marker, label=f"kept with beta {beta:g}", alpha=0.8
    )
live = z[0] > 0
right.scatter(z[0, live], effects[live], s=14, color="k", label="active features of one vector")
right.set(xlabel="activation", ylabel="effect on the loss")
right.legend()
plt.show()
