"""
Search directions from a network
================================

Smoke rises past an obstacle. Every time step needs the pressure that keeps the flow free of divergence: a Poisson
system on the cells that are not solid. A small convolutional network, trained on empty boxes of up to 64 x 64 cells and
never on a solution, looks at the residual and proposes where to go; :func:`gossamer.solve.dcdm` makes its proposals
conjugate and takes exact steps along them.
"""

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse.linalg

from gossamer.nn import load_conjugate_direction_net
from gossamer.science import Smoke, fluid_scene
from gossamer.solve import DeepConjugateDirection, cg, dcdm, icpcg

edge = 64
smoke = Smoke(fluid_scene("blob", (edge, edge), random_state=3), buoyancy=0.15)
net = load_conjugate_direction_net(2)
direction = DeepConjugateDirection(net, smoke.system.grid, mask=smoke.system.fluid)
for _ in range(75):
    system, b = smoke.prepare()
    smoke.project(icpcg(system, b, modified=0.97).x)
system, b = smoke.prepare()

# %%
# One step of the solver: the residual, what the network makes of it, and the pressure that is looked for.

pressure = np.zeros_like(b)
inner, places = system.compressed()
pressure[places] = scipy.sparse.linalg.spsolve(inner.tocsc(), b[places])
proposed = direction(b)
proposed *= (proposed @ b) / (proposed @ (system @ proposed))  # the exact step along it
learned = dcdm(system, b, M=direction, rtol=1e-6)
smoke.project(learned.x)

solid = np.ma.masked_where(system.mask.reshape(-1) != 0, np.ones(edge * edge)).reshape(edge, edge)
figure, axes = plt.subplots(2, 2, figsize=(8.6, 8.2), layout="constrained")
picture = axes[0, 0]
picture.imshow(smoke.density, origin="lower", cmap="magma", vmin=0, vmax=1, interpolation="bilinear")
picture.set_title("smoke", fontsize=10)
for axis, values, title in (
    (axes[0, 1], proposed, "the network's first direction"),
    (axes[1, 0], pressure, "the pressure itself"),
):
    size = np.abs(pressure).max()
    axis.imshow(values.reshape(edge, edge), origin="lower", cmap="RdBu_r", vmin=-size, vmax=size)
    axis.set_title(title, fontsize=10)
for axis in (axes[0, 0], axes[0, 1], axes[1, 0]):
    axis.imshow(solid, origin="lower", cmap="Greys", vmin=0, vmax=1.6)
    axis.set_xticks([])
    axis.set_yticks([])

curve = axes[1, 1]
for label, result, colour in (
    ("CG", cg(inner, b[places], rtol=1e-6), "#7d858c"),
    ("CG, incomplete Cholesky", icpcg(inner, b[places], rtol=1e-6), "#0f766e"),
    ("network, conjugate directions", learned, "#b45309"),
):
    residual = np.array(result.history["residual"]) / np.linalg.norm(b)
    curve.semilogy(residual, color=colour, label=f"{label} ({result.nit})")
curve.set(xlabel="iterations", ylabel="residual", ylim=(1e-6, 5))
curve.legend(fontsize=8, frameon=False)
curve.spines[["top", "right"]].set_visible(False)
plt.show()
