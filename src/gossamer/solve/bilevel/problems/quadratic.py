"""Quadratic inner and outer problems, whose every quantity is linear algebra."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gossamer._core.checks import check_float, check_int
from gossamer.solve.bilevel.problem import MultiBlockProblem


class Noise(NamedTuple):
    """Means of the noise of one draw, for each block."""

    g: np.ndarray
    f: np.ndarray
    H: np.ndarray
    B: np.ndarray


class QuadraticBilevel(MultiBlockProblem):
    r"""Random quadratics: :math:`g_i = \frac12 y^T H_i y - y^T (B_i x + c_i)`,
    :math:`f_i = \frac12 \|y - t_i\|^2 + \frac{\mu_x}{2} \|x\|^2`.

    Samples see :math:`H_i, B_i` and both gradients with independent Gaussian noise. For tests and trials: solution,
    gradient and minimiser are known.

    Parameters
    ----------
    m, dim_x, dim_y : int
        Blocks and sizes.
    seed : int
        Of the matrices; eigenvalues of each H are uniform in [1, 4], entries of B, c and t standard normal.
    noise : float
        Standard deviation of a sample's noise on :math:`\nabla_y g` and :math:`\nabla_y f`.
    noise_matrix : float, optional
        On the entries of H (symmetric) and B; 0.3 times ``noise`` by default.
    mu_x : float
        Weight of :math:`\|x\|^2`.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import QuadraticBilevel
    >>> problem = QuadraticBilevel(4, 3, 2)
    >>> bool(np.linalg.norm(problem.full_hypergradient(problem.minimiser())) < 1e-12)
    True
    """

    mu, smooth = 1.0, 4.0

    def __init__(
        self,
        m: int,
        dim_x: int,
        dim_y: int,
        seed: int = 0,
        noise: float = 0.0,
        *,
        noise_matrix: float | None = None,
        mu_x: float = 0.1,
    ) -> None:
        self.m = check_int("m", m, low=1)
        self.dim_x, self.dim_y = check_int("dim_x", dim_x, low=1), check_int("dim_y", dim_y, low=1)
        self.noise = check_float("noise", noise, low=0)
        matrix = 0.3 * self.noise if noise_matrix is None else noise_matrix
        self.noise_matrix = check_float("noise_matrix", matrix, low=0)
        self.mu_x = check_float("mu_x", mu_x, low=0)
        rng = np.random.default_rng(check_int("seed", seed, low=0))
        Q = np.linalg.qr(rng.normal(size=(m, dim_y, dim_y)))[0]
        self.H = (Q * rng.uniform(1, 4, (m, 1, dim_y))) @ Q.swapaxes(1, 2)
        self.H = 0.5 * (self.H + self.H.swapaxes(1, 2))
        self.B = rng.normal(size=(m, dim_y, dim_x))
        self.c, self.t = rng.normal(size=(m, dim_y)), rng.normal(size=(m, dim_y))

    def sample(self, blocks: np.ndarray, size: int, rng: np.random.Generator) -> Noise:
        """The mean of ``size`` independent noises a block, drawn as one of the smaller variance."""
        count, d, scale = len(blocks), self.dim_y, size**-0.5
        if self.noise == self.noise_matrix == 0:
            return self.full(blocks)
        H = rng.normal(0, self.noise_matrix * scale, (count, d, d))
        return Noise(
            rng.normal(0, self.noise * scale, (count, d)),
            rng.normal(0, self.noise * scale, (count, d)),
            (H + H.swapaxes(1, 2)) / np.sqrt(2),
            rng.normal(0, self.noise_matrix * scale, (count, d, self.dim_x)),
        )

    def full(self, blocks: np.ndarray) -> Noise:
        """No noise."""
        count, d = len(blocks), self.dim_y
        return Noise(*(np.zeros((count, *s)) for s in ((d,), (d,), (d, d), (d, self.dim_x))))

    def grad_y_g(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Noise) -> np.ndarray:
        """``H y - B x - c``."""
        return (
            self.hvp_yy_g(x, Y, Y, blocks, batch) - (self.B[blocks] + batch.B) @ x - self.c[blocks] + batch.g
        )

    def hvp_yy_g(
        self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: Noise
    ) -> np.ndarray:
        """``H v``."""
        return ((self.H[blocks] + batch.H) @ V[:, :, None])[:, :, 0]

    def hess_yy_g(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Noise) -> np.ndarray:
        """``H``."""
        return self.H[blocks] + batch.H

    def jac_xy_g(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Noise) -> np.ndarray:
        """``-B^T``."""
        return -(self.B[blocks] + batch.B).swapaxes(1, 2)

    def jtvp_xy_g(
        self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: Noise
    ) -> np.ndarray:
        """``-B^T v``, summed."""
        return -np.einsum("idx,id->x", self.B[blocks] + batch.B, V)

    def grad_x_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Noise) -> np.ndarray:
        """``mu_x x``, summed."""
        return len(blocks) * self.mu_x * x

    def grad_y_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Noise) -> np.ndarray:
        """``y - t``."""
        return Y - self.t[blocks] + batch.f

    def value_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> np.ndarray:
        """Values without noise."""
        return 0.5 * np.sum((Y - self.t[blocks]) ** 2, axis=1) + 0.5 * self.mu_x * float(x @ x)

    def solution(self, x: np.ndarray) -> np.ndarray:
        """``y_i(x)``, shape (m, dim_y)."""
        return np.linalg.solve(self.H, (self.B @ x + self.c)[:, :, None])[:, :, 0]

    def full_hypergradient(self, x: np.ndarray) -> np.ndarray:
        """The gradient of F, shape (dim_x,)."""
        V = np.linalg.solve(self.H, (self.solution(x) - self.t)[:, :, None])[:, :, 0]
        return np.einsum("idx,id->x", self.B, V) / self.m + self.mu_x * x

    def minimiser(self) -> np.ndarray:
        """The x at which the gradient of F is zero."""
        M = np.linalg.solve(self.H, self.B)
        rest = np.linalg.solve(self.H, self.c[:, :, None])[:, :, 0] - self.t
        A = np.einsum("idx,idz->xz", M, M) / self.m + self.mu_x * np.eye(self.dim_x)
        return np.linalg.solve(A, -np.einsum("idx,id->x", M, rest) / self.m)
