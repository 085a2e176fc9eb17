"""
Hear every frequency, and shout back at none
============================================

HiPPO's state answers each frequency with at most norm 1. The usual diagonal model drops a low-rank term, and answers
some frequencies dozens of times too strongly. Perturb, then diagonalise: the model is as diagonal, and stays calm.
"""

import matplotlib.pyplot as plt
import numpy as np

from gossamer.linalg import hippo, hippo_normal, hippo_ptd

n = 64
B, exact, near = hippo(n)[1], hippo_normal(n), hippo_ptd(n, rel=0.01)
modes = np.abs(np.concatenate([exact.Lambda.imag, near.Lambda.imag]))
omega = np.unique(np.concatenate([np.geomspace(0.3, 3000, 3000), *(modes + d for d in (-0.3, 0, 0.3))]))
omega = omega[omega > 0.3]
sizes = {
    "HiPPO": np.linalg.norm(exact.states(omega), axis=1),
    "diagonal, term dropped (S4D)": np.linalg.norm(exact.diagonal_states(omega), axis=1),
    "perturbed, then diagonalised": np.linalg.norm(near.states(B, omega), axis=1),
}

# %%
# The paper's toy: a linear read-out learns to say 1 for every frequency up to 80, and is asked for 80 to 100.

n = 16
B, exact, near16 = hippo(n)[1], hippo_normal(n), hippo_ptd(n, rel=0.01)
seen, all_of_them = np.linspace(0, 80, 400), np.linspace(0, 100, 1001)
systems = {
    "HiPPO": lambda w: exact.states(w) @ exact.V.T,
    "diagonal, term dropped (S4D)": lambda w: exact.diagonal_states(w) @ exact.V.T,
    "perturbed, then diagonalised": lambda w: near16.states(B, w),
}
predicted = {}
for name, states in systems.items():
    X = states(seen)
    C = np.linalg.lstsq(np.vstack([X.real, X.imag]), np.r_[np.ones(400), np.zeros(400)], rcond=1e-6)[0]
    predicted[name] = (states(all_of_them) @ C).real

# %%
# Above, the norm of the state against frequency. Below left, where eigenvalues lie; right, the toy.

colors = {
    "HiPPO": "0.55",
    "diagonal, term dropped (S4D)": "#c0392b",
    "perturbed, then diagonalised": "#1f6f8b",
}
figure = plt.figure(figsize=(10, 7), layout="constrained")
grid = figure.add_gridspec(2, 2, height_ratios=(1.3, 1))
top, left, right = (figure.add_subplot(place) for place in (grid[0, :], grid[1, 0], grid[1, 1]))
for name in ("diagonal, term dropped (S4D)", "HiPPO", "perturbed, then diagonalised"):
    top.loglog(omega, sizes[name], color=colors[name], lw=2.5 if name == "HiPPO" else 1.1, label=name)
    right.plot(all_of_them, predicted[name], color=colors[name], lw=2.5 if name == "HiPPO" else 1.1)
top.axvline(64**2 / np.pi, color="0.8", lw=0.8, zorder=0)
top.text(64**2 / np.pi, 30, r"  $n^2/\pi$", color="0.4")
top.set(xlabel="angular frequency", ylabel="norm of the state", ylim=(0.1, 80), title="64 states")
top.legend(frameon=False)

dropped = hippo_normal(64).Lambda
left.scatter(dropped.real, dropped.imag, s=8, color=colors["diagonal, term dropped (S4D)"])
left.scatter(near.Lambda.real, near.Lambda.imag, s=8, color=colors["perturbed, then diagonalised"])
left.set_xscale("symlog")
left.set_yscale("symlog")
left.set(xlabel="real part", ylabel="imaginary part", title="eigenvalues")

right.axvspan(80, 100, color="0.93", zorder=0)
right.axhline(1, color="0.8", lw=0.8, zorder=0)
right.set(xlabel="angular frequency", ylabel="predicted amplitude", title="trained up to 80", ylim=(-4, 4))
plt.show()
