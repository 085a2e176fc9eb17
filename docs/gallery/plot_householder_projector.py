"""
Ten directions that a generator is made to have
===============================================

A small generator paints one shape on a grey ground. In one of its layers the map from codes to styles becomes a partial
isometry of rank ten, held by Householder reflections, and the generator is trained for a few more steps. What do its
directions do, against the singular vectors of the map that was there before?
"""

import dataclasses

import matplotlib.pyplot as plt
import torch

from gossamer.datasets import factor_images
from gossamer.datasets.shape_images import FACTORS
from gossamer.nn import (
    factor_changes,
    finetune_directions,
    load_shapes32,
    sefa_directions,
    traverse,
)
from gossamer.nn.generative.shapes32 import TRAINING

shapes = load_shapes32()
images = torch.from_numpy(factor_images(2000).images)
steps = round(0.03 * shapes.steps)
tuned = finetune_directions(
    shapes.generator, shapes.discriminator, images, steps=steps, settings=dataclasses.replace(TRAINING)
)
print(tuned.message)

# %%
# The frames are orthonormal to rounding after any number of steps, without a penalty.

for name, V in tuned.directions.items():
    print(name, tuple(V.shape), f"{float((V @ V.T - torch.eye(len(V))).abs().max()):.1e}")

# %%
# Above: what each direction changes, read off by a network that was trained on real pictures; a row with one bright
# field is a direction of one factor. Below: walks along the directions of that layer that score highest.

contestants = {
    "SeFa": (shapes.generator, sefa_directions(shapes.generator)),
    "Householder projector": (tuned.generator, tuned.directions),
}
results = {
    name: factor_changes(G, G.mapping, V, shapes.reader, n=64, step=3.0)
    for name, (G, V) in contestants.items()
}
layer = results["Householder projector"].best_layer

figure = plt.figure(figsize=(11, 8), layout="constrained")
axes = figure.subplot_mosaic([["m0", "m1"], ["w0", "w1"]], height_ratios=[1, 1.6])
z = torch.randn(1, 64, generator=torch.Generator().manual_seed(7))
for i, (name, result) in enumerate(results.items()):
    G, V = contestants[name]
    changes = result.changes[layer]
    share = changes / changes.sum(axis=1, keepdims=True)
    axis = axes[f"m{i}"]
    axis.imshow(share.T, cmap="magma", vmin=0, vmax=1, aspect="auto")
    axis.set_yticks(range(len(FACTORS)), FACTORS)
    axis.set(xlabel="direction", title=f"{name}, one-factorness {result.means[layer]:.2f}")
    order = result.one_factorness[layer].argsort()[::-1][:6]
    w = G.mapping(z, truncation=0.7)
    rows = [traverse(G, w, layer, V[layer][j], torch.linspace(-9, 9, 9))[:, 0] for j in order]
    picture = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    axis = axes[f"w{i}"]
    axis.imshow(((picture.clamp(-1, 1) + 1) / 2).permute(1, 2, 0))
    axis.set_yticks([32 * k + 16 for k in range(6)], [f"{j}: {FACTORS[changes[j].argmax()]}" for j in order])
    axis.set_xticks([16, 144, 272], ["-9", "0", "9"])
    axis.set_xlabel("distance along the direction")
plt.show()
