"""
Which solver for which problem?
===============================

The picture leads from what you have to what to call. Below it, one system of equations is solved by everything that
``gossamer.solve.solve`` offers for it, with preconditioners exchanged in one argument.
"""

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse as sp

from gossamer.solve import solve

# %%
# **From the problem to the call.** Every branch ends in a function that takes arrays, sparse matrices or operators and
# returns ``x``, ``nit``, ``success``, ``message`` and a history.

TREE = {
    "linear equations\n$A x = b$": [
        ("$A$ symmetric positive definite", 'solve(A, b, method="cg", M=...)'),
        ("one after the other, $A$ and $b$ drift", "RelaxationTuner().solve(A, b, x0)"),
    ],
    "far more rows\nthan unknowns": [
        ("least squares, every coefficient counts", "sketched_lstsq(A, b)"),
        ("$p$-norms, robust or minimax", "lp_regression(A, b, p=...)"),
    ],
    "few coefficients\nmatter": [
        ("lasso, logistic, labels on a graph", "block_coordinate_descent(problem)"),
    ],
    "two distributions": [
        ("transport plan, little regularisation", "sinkhorn_newton_sparse(C, r, c, eta=...)"),
    ],
    "a matrix\nwith gaps": [
        ("low rank, few entries seen", "matrix_completion(i, j, v, shape, rank)"),
    ],
    "problems\nin a problem": [
        ("parameters that inner minima share", "multi_block_bilevel(problem, x0, n_iter=...)"),
    ],
    "the curvature\nof a loss": [
        ("products with its inverse", "FisherInverse(gradients, damp=...)"),
    ],
}

figure, axes = plt.subplots(figsize=(10, 5.4))
axes.axis("off")
leaves = sum(len(branches) for branches in TREE.values())
colours = plt.cm.viridis(np.linspace(0.05, 0.85, len(TREE)))
y = leaves - 1.0
for colour, (problem, branches) in zip(colours, TREE.items(), strict=True):
    middle = y - (len(branches) - 1) / 2
    axes.text(0.02, middle, problem, va="center", color=colour, fontweight="bold")
    for question, call in branches:
        axes.annotate("", (0.27, y), (0.21, middle), arrowprops={"arrowstyle": "-", "color": colour})
        axes.text(0.28, y, question, va="center", fontsize=9)
        axes.annotate("", (0.70, y), (0.66, y), arrowprops={"arrowstyle": "->", "color": colour})
        axes.text(0.71, y, call, va="center", fontsize=9, family="monospace")
        y -= 1
axes.set(xlim=(0, 1.16), ylim=(-0.7, leaves - 0.3))
figure.tight_layout()

# %%
# **One system, five ways.** A membrane of 80 x 80 points whose stiffness jumps by a factor of a hundred.

n = 80
rng = np.random.default_rng(0)
stiffness = np.where(np.add.outer(np.arange(n), np.arange(n)) % 40 < 20, 1.0, 100.0).ravel()
step = sp.diags_array([np.ones(n), -np.ones(n - 1)], offsets=[0, -1])
slopes = sp.vstack([sp.kron(step, sp.eye_array(n)), sp.kron(sp.eye_array(n), step)])
A = sp.csr_array(slopes.T @ sp.diags_array(np.tile(stiffness, 2)) @ slopes)
b = rng.normal(size=n * n)

ways = {"cg": {}, 'cg, M="jacobi"': {"M": "jacobi"}}
ways |= {f"ssor-pcg, omega={omega}": {"method": "ssor-pcg", "omega": omega} for omega in (1.0, 1.7)}
try:
    import pyamg

    ways["cg, M=multigrid of PyAMG"] = {"M": pyamg.ruge_stuben_solver(sp.csr_matrix(A))}
except ImportError:
    print("PyAMG is not installed: four ways")

figure, axes = plt.subplots(figsize=(7.5, 4))
for name, options in ways.items():
    result = solve(A, b, rtol=1e-8, **options)
    history = np.array(result.history["residual"])
    axes.semilogy(history / history[0], label=f"{name}: {result.nit}")
    print(f"{name:28} {result.message}")
axes.set(xlabel="iteration", ylabel="residual, relative", title="Which preconditioner?")
axes.legend(frameon=False)
figure.tight_layout()
