"""
Spend a budget of features where it pays
========================================

Vectors that are sums of one to sixteen known features, some of them far more common than others. TopK gives every
vector five features; Mutual Choice gives the batch as many in all, and lets each vector have what it needs.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from gossamer.datasets import planted_features
from gossamer.nn import MutualChoice, SAETrainer, SparseAutoencoder, TokenChoice, ZipfSchedule, sae_metrics

atoms, x = map(torch.from_numpy, planted_features(8000, d=32, features=96, most=12))

found = {}
for name, choice in (("Token Choice", TokenChoice(5)), ("Mutual Choice", MutualChoice(5))):
    sae = SparseAutoencoder(32, 96, choice)
    SAETrainer(sae, steps=300, batch_size=512, refresh=50).fit(x[:6000])
    sae.calibrate(x[:6000])
    found[name] = sae, sae.encode(x[6000:]), sae_metrics.evaluate(sae, x[6000:])

# %%
# Left: how many features vectors got. Middle: how often each feature is used, and the law of Zipf and Mandelbrot fitted
# to Mutual Choice. Right: how close each true feature is to the nearest learnt one, the most common first.

figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
for name, (sae, codes, figures) in found.items():
    axes[0].hist(codes.per_token, bins=np.arange(20) - 0.5, alpha=0.6, label=name)
    density = np.sort(figures["density"])[::-1]
    axes[1].loglog(np.arange(1, 97), density, label=f"{name}, error {figures['normalised_mse']:.2f}")
    cosine = (atoms @ sae.W_dec.detach().T).max(dim=1).values
    axes[2].plot(cosine, ".", label=f"{name}: {int((cosine > 0.9).sum())} found")
law = ZipfSchedule.fit(found["Mutual Choice"][2]["density"])
axes[1].loglog(np.arange(1, 97), law.density, "k--", lw=1, label=f"law, a = {law.a:.2f}")
axes[2].axhline(0.9, color="k", lw=0.8, ls=":")
axes[0].set(xlabel="active features", ylabel="vectors")
axes[1].set(xlabel="rank", ylabel="share of vectors")
axes[2].set(xlabel="true feature", ylabel="cosine with the nearest learnt one")
for ax in axes:
    ax.legend(fontsize=8)
plt.show()
