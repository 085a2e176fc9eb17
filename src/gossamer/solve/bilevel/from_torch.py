"""Oracles from two scalar torch functions, by torch.func."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError, bad_argument
from gossamer.solve.bilevel.problem import MultiBlockProblem

Data = Mapping[str, Any] | Callable[[np.ndarray, int, np.random.Generator], Mapping[str, Any]]


def bilevel_from_torch(
    f: Callable[..., Any],
    g: Callable[..., Any],
    data: Data,
    m: int,
    dim_x: int,
    dim_y: int,
    *,
    data_f: Data | None = None,
    mu: float | None = None,
    smooth: float | None = None,
) -> MultiBlockProblem:
    """Derive every oracle of a multi-block bilevel problem from ``f(x, y, i, batch)`` and ``g(x, y, i, batch)``.

    Parameters
    ----------
    f, g : callable
        Outer and inner value of block ``i`` on a batch, a scalar tensor, of ``x`` (dim_x,) and ``y`` (dim_y,) in
        float64. They run under ``torch.func.vmap``: no branching on values. ``i`` is a tensor of shape (1,), so that
        ``sigma[i]`` picks the block's entry and broadcasts.
    data : mapping or callable
        Mapping: name to array or tensor of shape (m, n, ...), n samples of each block (``expand`` shares data between
        blocks without a copy); ``batch`` maps the names to (B, ...). Callable ``data(blocks, size, rng)``: the same
        mapping, drawn by you, with shapes (I, size, ...).
    m, dim_x, dim_y : int
        Blocks and sizes.
    data_f : mapping or callable, optional
        What f sees (validation data); independent draws from ``data`` by default.
    mu, smooth : float, optional
        Bounds of the eigenvalues of the Hessians of g in y.

    Returns
    -------
    MultiBlockProblem
        With Hessians and values; with ``full`` if all data are mappings.

    Raises
    ------
    ArgumentError, ShapeError
        If the arrays of a mapping do not have the same (m, n) in front.

    Examples
    --------
    >>> import torch
    >>> from gossamer.solve import bilevel_from_torch
    >>> def g(x, y, i, batch):
    ...     return ((batch["t"] - y) ** 2).mean() / 2 + x.exp()[0] * (y**2).sum() / 2
    >>> def f(x, y, i, batch):
    ...     return ((batch["t"] - y) ** 2).mean()
    >>> problem = bilevel_from_torch(f, g, {"t": torch.randn(5, 20, 1)}, m=5, dim_x=1, dim_y=1)
    >>> problem.m
    5
    """
    lower = _source("data", data, m)
    upper = lower if data_f is None else _source("data_f", data_f, m)
    return TorchProblem(f, g, lower, upper, m, dim_x, dim_y, mu, smooth)


class TorchProblem(MultiBlockProblem):
    """What :func:`bilevel_from_torch` returns."""

    def __init__(
        self, f: Any, g: Any, lower: Any, upper: Any, m: int, dim_x: int, dim_y: int, mu: Any, smooth: Any
    ) -> None:
        import torch
        from torch.func import grad, hessian, jvp, vmap

        self.m = check_int("m", m, low=1)
        self.dim_x, self.dim_y = check_int("dim_x", dim_x, low=1), check_int("dim_y", dim_y, low=1)
        self.mu, self.smooth = mu, smooth
        self._lower, self._upper = lower, upper
        if isinstance(lower, Table) and isinstance(upper, Table):
            self.full = lambda blocks: (lower.rows(blocks), upper.rows(blocks))

        def scalar(function: Any) -> Any:
            return lambda x, y, i, batch: function(x, y, i, batch).reshape(())

        f, g = scalar(f), scalar(g)
        places = (None, 0, 0, 0)
        inner = grad(g, argnums=1)

        def product(x: Any, y: Any, v: Any, i: Any, batch: Any) -> Any:
            return jvp(lambda z: inner(x, z, i, batch), (y,), (v,))[1]

        def slope(x: Any, y: Any, v: Any, i: Any, batch: Any) -> Any:
            return jvp(lambda z: g(x, z, i, batch), (y,), (v,))[1]

        def summed(function: Any, count: int) -> Any:
            many = vmap(function, in_dims=(None, *(0,) * count))
            return grad(lambda x, *rest: many(x, *rest).sum())

        self._grad_y_g, self._grad_y_f = vmap(inner, places), vmap(grad(f, argnums=1), places)
        self._hvp, self._hess = vmap(product, (None, 0, 0, 0, 0)), vmap(hessian(g, argnums=1), places)
        self._jtvp, self._grad_x_f, self._value = summed(slope, 4), summed(f, 3), vmap(f, places)
        self._torch = torch

    def sample(self, blocks: np.ndarray, size: int, rng: np.random.Generator) -> Any:
        """Batches for g and for f, drawn independently."""
        return self._lower(blocks, size, rng), self._upper(blocks, size, rng)

    def grad_y_g(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> np.ndarray:
        """By ``grad``."""
        return self._call(self._grad_y_g, x, Y, blocks, batch[0])

    def hvp_yy_g(
        self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: Any
    ) -> np.ndarray:
        """By ``jvp`` of ``grad``."""
        return self._call(self._hvp, x, Y, V, blocks, batch[0])

    def hess_yy_g(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> np.ndarray:
        """By ``hessian``."""
        return self._call(self._hess, x, Y, blocks, batch[0])

    def jtvp_xy_g(
        self, x: np.ndarray, Y: np.ndarray, V: np.ndarray, blocks: np.ndarray, batch: Any
    ) -> np.ndarray:
        """The gradient in x of the slope along V."""
        return self._call(self._jtvp, x, Y, V, blocks, batch[0])

    def grad_x_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> np.ndarray:
        """By ``grad``."""
        return self._call(self._grad_x_f, x, Y, blocks, batch[1])

    def grad_y_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> np.ndarray:
        """By ``grad``."""
        return self._call(self._grad_y_f, x, Y, blocks, batch[1])

    def value_f(self, x: np.ndarray, Y: np.ndarray, blocks: np.ndarray, batch: Any) -> np.ndarray:
        """Values of f."""
        return self._call(self._value, x, Y, blocks, batch[1])

    def _call(self, function: Any, *arguments: Any) -> np.ndarray:
        *arrays, blocks, batch = arguments
        points = [self._torch.tensor(array) for array in arrays]
        return to_numpy(function(*points, self._torch.tensor(blocks)[:, None], batch))


class Table:
    """Samples of each block as tensors (m, n, ...), drawn with replacement."""

    def __init__(self, tensors: dict[str, Any], m: int, n: int) -> None:
        self.tensors, self.m, self.n = tensors, m, n

    def __call__(self, blocks: np.ndarray, size: int, rng: np.random.Generator) -> dict[str, Any]:
        """Draw ``size`` samples of each block."""
        index = rng.integers(0, self.n, (len(blocks), size))
        return {name: tensor[blocks[:, None], index] for name, tensor in self.tensors.items()}

    def rows(self, blocks: np.ndarray) -> dict[str, Any]:
        """All samples of the blocks."""
        return {name: tensor[blocks] for name, tensor in self.tensors.items()}


def _source(name: str, data: Data, m: int) -> Any:
    import torch

    if callable(data):
        return data
    if not isinstance(data, Mapping) or not data:
        raise bad_argument(name, type(data).__name__, "a non-empty mapping of names to arrays, or a callable")
    tensors = {key: torch.as_tensor(value) for key, value in data.items()}
    tensors = {k: t.double() if t.is_floating_point() else t for k, t in tensors.items()}
    n = None
    for key, tensor in tensors.items():
        shape = tuple(tensor.shape)
        if len(shape) < 2 or shape[0] != m:
            raise ShapeError(
                f"{name}[{key!r}] has shape {shape}: expected ({m}, n, ...), samples of m={m} blocks"
            )
        n = shape[1] if n is None else n
        if shape[1] != n:
            raise ShapeError(f"{name}[{key!r}] has {shape[1]} samples a block: expected {n}, as the others")
    if not n:
        raise ArgumentError(f"{name} has no samples: expected at least one a block")
    return Table(tensors, m, n)
