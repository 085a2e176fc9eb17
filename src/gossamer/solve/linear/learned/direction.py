"""A network as a search direction: what stands between a module of torch and a solver."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError


class DeepConjugateDirection:
    r"""Search directions of a network, for :func:`dcdm` and other solvers that take a nonlinear ``M``.

    A call computes ``net(r / norm(r))`` on the grid, in the precision of the network. Without the division the network
    would see residuals that grow smaller than anything it was trained on.

    Parameters
    ----------
    net : torch.nn.Module
        (B, 1, \*grid) to (B, 1, \*grid), such as :class:`gossamer.nn.ConjugateDirectionNet`.
    grid : tuple of int
        Points along each axis, in C order; ``prod(grid)`` is the length of a residual.
    mask : array of bool, shape (n,) or grid, optional
        Where unknowns are; directions are zero elsewhere.
    normalize : bool
        False hands residuals over as they are.

    Raises
    ------
    ArgumentError, ShapeError
        If the mask does not fit the grid.

    References
    ----------
    Kaneda, Akar, Chen, Kala, Hyde and Teran, "A deep conjugate direction method for iteratively solving linear
    systems", ICML 2023, arXiv 2205.10763.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.nn import load_conjugate_direction_net
    >>> from gossamer.science import open_box, poisson_system
    >>> from gossamer.solve import DeepConjugateDirection, dcdm
    >>> system = poisson_system(open_box((48, 48)))
    >>> b = system @ np.random.default_rng(0).standard_normal(48 * 48)
    >>> direction = DeepConjugateDirection(load_conjugate_direction_net(2), system.grid)
    >>> dcdm(system, b, M=direction, rtol=1e-4).success
    True
    """

    def __init__(self, net: Any, grid: Sequence[int], *, mask: Any = None, normalize: bool = True) -> None:
        self.net, self.grid = net, tuple(check_int("grid", points, low=1) for points in grid)
        self.n, self.normalize = math.prod(self.grid), bool(normalize)
        self.mask = None if mask is None else np.asarray(mask, bool).reshape(-1)
        if self.mask is not None and self.mask.shape != (self.n,):
            raise ShapeError(f"mask has {self.mask.size} entries: expected {self.n}, the grid {self.grid}")

    def propose(self, sides: Any) -> Any:
        """Directions for a batch of residuals, tensors of shape (B, n), with gradients."""
        import torch

        z = self.net(sides.reshape(-1, 1, *self.grid)).reshape(sides.shape)
        return z if self.mask is None else z * torch.from_numpy(self.mask).to(z.device)

    def __call__(self, r: np.ndarray) -> np.ndarray:
        """Directions for residuals of shape (n,), or (n, k) at once; of the same shape, float64."""
        import torch

        r = np.asarray(r, np.float64)
        if r.ndim not in (1, 2) or r.shape[0] != self.n:
            raise ShapeError(
                f"r has shape {r.shape}: expected ({self.n},) or ({self.n}, k), the grid {self.grid}"
            )
        columns = r.reshape(self.n, -1)
        if self.normalize:
            size = np.linalg.norm(columns, axis=0)
            columns = columns / np.where(size > 0, size, 1)
        weight = next(iter(self.net.parameters()), None)
        kind = {} if weight is None else {"device": weight.device}
        with torch.inference_mode():
            batch = torch.tensor(columns.T, dtype=torch.float32 if weight is None else weight.dtype, **kind)
            z = self.propose(batch).double().cpu().numpy().T
        return np.ascontiguousarray(z).reshape(r.shape)

    def loss(self, b: Any, A: Any) -> float:
        """The mean of :func:`direction_loss` over right sides of shape (B, n), scaled to norm 1."""
        import torch

        from gossamer.solve.linear.learned.training import direction_loss, torch_product

        sides = np.atleast_2d(np.asarray(b, np.float64))
        size = np.linalg.norm(sides, axis=1, keepdims=True)
        if not (size > 0).all():
            raise ArgumentError("b has a right side that is zero: expected directions")
        sides = sides / size
        with torch.no_grad():
            z = torch.from_numpy(np.stack([self(side) for side in sides]))
            return float(direction_loss(z, torch.from_numpy(sides), torch_product(A)))

    def fit(self, A: Any, **options: Any) -> Any:
        """Train the network for a matrix: :func:`train_direction` with this object."""
        from gossamer.solve.linear.learned.training import train_direction

        return train_direction(self, A, **options)
