"""
What is where, and how much
===========================

Four materials mix over an image of a hundred channels, eight of which hold nothing but noise. Unmixing finds the
spectra and the share of each material in each pixel; the noisy channels lose their weight, and a guidance map learns
which pixels are pure.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.learn import RRLbS, abundance_rmse, match_endmembers, simulate_scene

waves = np.linspace(0.4, 2.5, 100)
dips = [(0.65, 1.4), (0.95, 1.9), (1.2, 2.3), (0.5, 1.65)]
slopes = (0.1, -0.12, 0.02, 0.2)
spectra = np.stack(
    [
        0.6 + slope * waves - 0.35 * sum(np.exp(-(((waves - c) / 0.12) ** 2)) for c in pair)
        for pair, slope in zip(dips, slopes, strict=True)
    ]
)
scene = simulate_scene(spectra, (48, 48), kind="half_pure", snr_db=20, n_outlier=8, random_state=1)
model = RRLbS(4, max_iter=300, random_state=0).fit(scene.X, shape=scene.shape)
order = match_endmembers(scene.M, model.endmembers_, np.setdiff1d(np.arange(100), scene.outlier_channels))
found = model.abundances_[:, order]
print(f"root mean squared error of the shares: {abundance_rmse(scene.A, found).mean():.3f}")

# %%
# True shares above, found ones below; then the spectra, the weights of channels, and the guidance map.

figure, axes = plt.subplots(3, 4, figsize=(10, 7.4), layout="constrained")
for k in range(4):
    for panel, shares, title in ((axes[0, k], scene.A, "true"), (axes[1, k], found, "found")):
        panel.imshow(shares[:, k].reshape(48, 48), cmap="viridis", vmin=0, vmax=1)
        panel.set_title(f"material {k + 1}, {title}", fontsize=9)
        panel.set_axis_off()
good = np.setdiff1d(np.arange(100), scene.outlier_channels)
for k, colour in enumerate(("#0f766e", "#b45309", "#24292e", "#7c3aed")):
    axes[2, 0].plot(waves, scene.M[k], color=colour, alpha=0.35, linewidth=3)
    axes[2, 0].plot(waves[good], model.endmembers_[order[k]][good], color=colour, linewidth=1)
axes[2, 0].set_title("spectra: true (wide), found", fontsize=9)
axes[2, 1].semilogy(waves, model.channel_weights_, ".", color="#0f766e")
axes[2, 1].semilogy(
    waves[scene.outlier_channels], model.channel_weights_[scene.outlier_channels], "x", color="#b45309"
)
axes[2, 1].set_title("weights of channels (x: noise)", fontsize=9)
axes[2, 2].imshow(scene.sparseness.reshape(48, 48), cmap="magma", vmin=0, vmax=1)
axes[2, 2].set_title("true sparseness", fontsize=9)
axes[2, 3].imshow(model.guidance_.reshape(48, 48), cmap="magma", vmin=0, vmax=1)
axes[2, 3].set_title("guidance learnt", fontsize=9)
for panel in axes[2, 2:]:
    panel.set_axis_off()
plt.show()
