"""
Learn the relaxation parameter while solving
============================================

A heat equation whose diffusion swings between rest and a maximum gives a thousand systems, each with its own best
relaxation parameter. A learner sees nothing but the number of iterations of each solve, and the diffusion before the
next one. The map shows what every parameter would have cost at every step; the dots are the learner's choices.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.science import Heat2D, bump
from gossamer.solve import OmegaGrid, RelaxationTuner, ssor_pcg


def kappa(t):
    return max(0.1 * np.sin(2 * np.pi * t), -10 * np.sin(2 * np.pi * t))


def heater(t, x):
    return 32 * bump(x, (0.5 + np.cos(16 * np.pi * t) / 4, 0.5 + np.sin(16 * np.pi * t) / 4), 0.125)


pde = Heat2D(50, 1e-3, kappa, heater, lambda x: bump(x, (0.5, 0.5), 0.25))
tuner = RelaxationTuner("ssor_pcg", "chebcb", bounds=(0.0, 10.0), random_state=0)
omegas, steps = OmegaGrid().values, 3000
chosen, taken, counts, plain = [], [], [], []
for step in range(steps):
    A, b = pde.system(matrix_free=True)
    result = tuner.solve(A, b, x0=pde.u, context=kappa(pde.t))
    chosen.append(result.omega)
    taken.append(result.nit)
    if step % 10 == 0:  # enough for the map
        counts.append([ssor_pcg(A, b, omega=omega, x0=pde.u).nit for omega in omegas])
        plain.append(ssor_pcg(A, b, omega=None, x0=pde.u).nit)
    pde.advance(result.x)

# %%
# Within the first swing the learner has tried everything. Then it follows the valley of the map.

counts, plain, time = np.array(counts).T, np.array(plain), np.arange(steps) * 1e-3
figure, (top, bottom) = plt.subplots(
    2, 1, figsize=(8.4, 6.4), height_ratios=(1.6, 1), sharex=True, layout="constrained"
)
image = top.contourf(time[::10], omegas, counts, levels=np.arange(0, counts.max() + 2, 2), cmap="YlGnBu_r")
top.plot(time, chosen, ".", color="#b45309", markersize=3, alpha=0.7, label="chosen")
top.plot(time[::10], omegas[counts.argmin(axis=0)], color="white", linewidth=0.8, alpha=0.9, label="best")
top.set(ylabel="relaxation parameter", ylim=(0.99, 1.96), xlim=(0, steps * 1e-3))
top.legend(loc="upper left", fontsize=8)
figure.colorbar(image, ax=top, label="iterations")


def smooth(values, width):
    return np.convolve(np.pad(values, width // 2, mode="edge"), np.ones(width) / width, "valid")[
        : len(values)
    ]


bottom.plot(time[::10], smooth(plain, 5), color="#7d858c", label="no preconditioner")
bottom.plot(time[::10], smooth(counts[0], 5), color="#24292e", label="omega = 1")
bottom.plot(time, smooth(np.array(taken), 50), color="#b45309", label="learned")
bottom.plot(time[::10], smooth(counts.min(axis=0), 5), color="#0f766e", label="best for each")
bottom.set(xlabel="time", ylabel="iterations", ylim=(0, None))
bottom.legend(ncols=4, fontsize=8, loc="upper left")
bottom.spines[["top", "right"]].set_visible(False)
bottom.set_ylim(0, 1.3 * plain.max())
plt.show()
