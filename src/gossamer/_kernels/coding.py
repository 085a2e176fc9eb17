"""E-steps of sparse coding by expectation truncation: log joints, posteriors and moments over trees of states."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._core.threads import get_threads
from gossamer._kernels import _native
from gossamer._kernels.views import ready

LANES = 8  # features of a maximum are padded to whole vectors of the widest instruction set


class Tree(NamedTuple):
    """Which states of two and more causes a row has: of at most ``active`` causes among each point's ``chosen``."""

    chosen: np.ndarray
    """(points, candidates) int32, ascending in a row."""
    active: int
    values: int
    """Values of a cause besides 0."""
    latents: int

    @property
    def columns(self) -> int:
        """Of a row: no cause, one cause (latents x values), then the tree."""
        return 1 + self.latents * self.values + tree_size(self.chosen.shape[1], self.active, self.values)


def tree_size(candidates: int, active: int, values: int = 1) -> int:
    """``sum_{g=2..active} C(candidates, g) values^g``."""
    total, level = 0, candidates * values
    for g in range(2, active + 1):
        level = level * (candidates - g + 1) * values // g
        total += level
    return total


def largest(scores: np.ndarray, count: int, threads: int | None = None) -> np.ndarray:
    """Ascending places of the ``count`` largest scores of each row, the first of equal ones: (n, count) int32."""
    scores = _matrix("scores", scores)
    if not 1 <= count <= scores.shape[1]:
        raise ArgumentError(f"count={count}: expected 1..{scores.shape[1]}")
    if not np.isfinite(scores).all():
        raise ArgumentError(f"scores have {int((~np.isfinite(scores)).sum())} NaN or infinite entries")
    chosen = np.empty((len(scores), count), np.int32)
    _native.coding.largest(scores, chosen, get_threads(threads))
    return chosen


def normalise(joint: np.ndarray, threads: int | None = None) -> np.ndarray:
    """Turn log joints (n, columns) into posteriors in place; returns their log normalisers (n,)."""
    joint = _output("joint", joint)
    if not joint.shape[1]:
        raise ShapeError(f"joint has shape {joint.shape}: expected a column")
    evidence = np.empty(len(joint))
    _native.coding.normalise(joint, evidence, get_threads(threads))
    return evidence


def excess(data: np.ndarray, W: np.ndarray, threads: int | None = None) -> np.ndarray:
    """``-sum_d max(W_hd - y_nd, 0)`` for points (n, D) and causes (H, D): (n, H)."""
    data, W = pad(_matrix("data", data)), pad(_matrix("W", W))
    if data.shape[1] != W.shape[1]:
        raise ShapeError(f"data and W have shapes {data.shape} and {W.shape}: expected the same columns")
    score = np.empty((len(data), len(W)))
    _native.coding.excess(data, W, score, get_threads(threads))
    return score


def linear_joint(
    tree: Tree,
    joint: np.ndarray,
    value: np.ndarray,
    prior: np.ndarray,
    field: np.ndarray,
    gram: np.ndarray,
    threads: int | None = None,
) -> None:
    """Fill the tree's columns of ``joint``, whose columns of no and of one cause are filled.

    ``value`` (K - 1,) and the ``prior`` of each against 0; ``field`` (n, H) of y.W and ``gram`` (H, H) of W.W, both
    divided by the variance.
    """
    joint = _rows(tree, joint)
    _native.coding.linear_joint(
        tree.chosen,
        tree.active,
        _vector("value", value, tree.values),
        _vector("prior", prior, tree.values),
        _expect("field", field, (len(joint), tree.latents)),
        _expect("gram", gram, (tree.latents, tree.latents)),
        joint,
        get_threads(threads),
    )


def linear_moments(
    tree: Tree, posterior: np.ndarray, value: np.ndarray, mean: np.ndarray, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Moments over the tree: adds E[s] to ``mean`` (n, H); returns sums of s s^T and of causes with each value."""
    posterior = _rows(tree, posterior)
    _output("mean", mean, (len(posterior), tree.latents))
    second, count = np.empty((tree.latents, tree.latents)), np.empty(tree.values)
    _native.coding.linear_moments(
        tree.chosen, tree.active, _vector("value", value, tree.values), posterior, mean, second, count,
        get_threads(threads),
    )  # fmt: skip
    return second, count


class Maximum:
    """The smoothed, signed maximum of causes W (H, D), ``t = sum s sign(W) |W|^rho``, ``sign(t) |t|^(1/rho)``.

    Parameters
    ----------
    W : ndarray, shape (H, D)
    rho : float
        Above 1; the maximum as it grows.
    """

    def __init__(self, W: np.ndarray, rho: float) -> None:
        W = _matrix("W", W)
        self.features, self.exponent = W.shape[1], 1.0 / float(rho)
        size = np.abs(W)
        scale = size.max(axis=0)  # powers of numbers up to 1 cannot overflow
        part = size / np.where(scale > 0, scale, 1.0)
        self.scale = ready(pad(scale[None])[0])
        self.slope = pad(part ** (rho - 1))
        self.power = pad(np.sign(W) * part**rho)

    def joint(
        self,
        tree: Tree,
        joint: np.ndarray,
        data: np.ndarray,
        prior: float,
        precision: float,
        threads: int | None = None,
    ) -> None:
        """Fill the tree's columns by ``prior |s| - precision (|y - bar(s)|^2 - |y|^2)``, data (n, D)."""
        joint = _rows(tree, joint)
        _native.coding.maximum_joint(
            *self._arguments(tree, data, len(joint)), float(prior), float(precision), joint, get_threads(threads)
        )  # fmt: skip

    def mean(self, tree: Tree, posterior: np.ndarray, threads: int | None = None) -> np.ndarray:
        """Posterior mean of what the tree's states superpose to: (n, D)."""
        posterior = _rows(tree, posterior)
        out = np.zeros((len(posterior), self.power.shape[1]))
        arguments = self._arguments(tree, np.zeros((len(posterior), self.features)), len(posterior))
        _native.coding.maximum_mean(*arguments, posterior, out, get_threads(threads))
        return out[:, : self.features]

    def residual(
        self, tree: Tree, posterior: np.ndarray, data: np.ndarray, threads: int | None = None
    ) -> np.ndarray:
        """Sum over the tree of posterior times ``|y - bar|^2 - |y|^2``, data (n, D): (n,)."""
        posterior = _rows(tree, posterior)
        out = np.zeros(len(posterior))
        _native.coding.maximum_residual(
            *self._arguments(tree, data, len(posterior)), posterior, out, get_threads(threads)
        )
        return out

    def moments(
        self, tree: Tree, posterior: np.ndarray, data: np.ndarray, threads: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sums over the tree of A and A y, both (H, D), ``A = min(1, |W / bar|^(rho - 1))``."""
        posterior = _rows(tree, posterior)
        weight, weighted = np.empty_like(self.power), np.empty_like(self.power)
        _native.coding.maximum_moments(
            *self._arguments(tree, data, len(posterior)), posterior, weight, weighted, get_threads(threads)
        )
        return weight[:, : self.features], weighted[:, : self.features]

    def _arguments(self, tree: Tree, data: np.ndarray, points: int) -> tuple[Any, ...]:
        if tree.values != 1 or tree.latents != len(self.power):
            raise ShapeError(f"tree has {tree.latents} causes: expected {len(self.power)} of one value")
        data = pad(_expect("data", data, (points, self.features)))
        return tree.chosen, tree.active, self.power, self.slope, self.scale, data, self.exponent


class Gaussian(NamedTuple):
    """Causes with amplitudes N(mean, slab) under Gaussian noise.

    ``prior`` (H,) log odds; ``slab`` (H,) variances or (H, H); ``gram`` = W^T noise^-1 W (H, H).
    """

    prior: np.ndarray
    mean: np.ndarray
    slab: np.ndarray
    gram: np.ndarray

    def joint(
        self, tree: Tree, joint: np.ndarray, field: np.ndarray, beta: float = 1.0, threads: int | None = None
    ) -> None:
        """Fill the tree's columns of ``joint``; ``field`` = W^T noise^-1 y (n, H); likelihood to the power beta."""
        joint = _rows(tree, joint)
        prior, mean, slab, field, gram = self._checked(tree, field, len(joint))
        _native.coding.gaussian_joint(
            tree.chosen, tree.active, float(beta), prior, mean, slab, field, gram, joint, get_threads(threads)
        )

    def moments(
        self,
        tree: Tree,
        posterior: np.ndarray,
        field: np.ndarray,
        first: np.ndarray,
        present: np.ndarray,
        threads: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Adds E[s z] and E[s] to ``first`` and ``present`` (n, H); returns sums over the tree of pairs.

        Of ``s z (s z)^T``, ``s (s z)^T`` and ``s s^T``; the latter two are zeros where the slab is diagonal.
        """
        posterior = _rows(tree, posterior)
        for name, rows in (("first", first), ("present", present)):
            _output(name, rows, (len(posterior), tree.latents))
        prior, mean, slab, field, gram = self._checked(tree, field, len(posterior))
        second, cross, pairs = np.zeros((3, tree.latents, tree.latents))
        _native.coding.gaussian_moments(
            tree.chosen, tree.active, prior, mean, slab, field, gram, posterior, first, present, second, cross,
            pairs, get_threads(threads),
        )  # fmt: skip
        return second, cross, pairs

    def _checked(self, tree: Tree, field: np.ndarray, points: int) -> tuple[np.ndarray, ...]:
        H = tree.latents
        if tree.values != 1:
            raise ShapeError(f"tree has {tree.values} values: expected 1")
        slab = _matrix("slab", np.atleast_2d(self.slab))
        if slab.shape not in ((1, H), (H, H)) or not (np.diagonal(slab) > 0).all():
            raise ShapeError(f"slab has shape {self.slab.shape}: expected variances ({H},) or ({H}, {H})")
        return (
            _vector("prior", self.prior, H),
            _vector("mean", self.mean, H),
            slab,
            _expect("field", field, (points, H)),
            _expect("gram", self.gram, (H, H)),
        )


def pad(array: np.ndarray) -> np.ndarray:
    """Columns up to a multiple of eight, zeros behind."""
    rows, columns = array.shape
    if columns % LANES == 0:
        return ready(array, np.float64)
    out = np.zeros((rows, -(-columns // LANES) * LANES))
    out[:, :columns] = array
    return out


def _rows(tree: Tree, array: np.ndarray) -> np.ndarray:
    chosen, H = tree.chosen, tree.latents
    if chosen.dtype != np.int32 or chosen.ndim != 2 or not chosen.flags.c_contiguous:
        raise ShapeError(f"chosen is {chosen.dtype} of shape {chosen.shape}: expected int32 (n, candidates)")
    if not 1 <= tree.active <= chosen.shape[1] <= H or tree.values < 1:
        raise ArgumentError(
            f"active={tree.active}, {chosen.shape[1]} candidates of {H}: expected 1 <= active <= candidates <= latents"
        )
    if len(chosen) and (
        chosen[:, 0].min() < 0 or chosen[:, -1].max() >= H or (chosen[:, 1:] <= chosen[:, :-1]).any()
    ):
        raise ArgumentError(f"chosen must ascend in a row, within 0..{H - 1}")
    return _output("rows", array, (len(chosen), tree.columns))


def _output(name: str, array: np.ndarray, shape: tuple[int, ...] | None = None) -> np.ndarray:
    fits = array.ndim == 2 if shape is None else array.shape == shape
    if not fits or array.dtype != np.float64 or not (array.flags.c_contiguous and array.flags.writeable):
        raise ShapeError(
            f"{name} is {array.dtype} of shape {array.shape}: expected writeable contiguous float64 {shape or '(n, m)'}"
        )
    return array


def _matrix(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim != 2:
        raise ShapeError(f"{name} has shape {array.shape}: expected a matrix")
    return ready(array, np.float64)


def _expect(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape != shape:
        raise ShapeError(f"{name} has shape {array.shape}: expected {shape}")
    return ready(array, np.float64)


def _vector(name: str, array: np.ndarray, size: int) -> np.ndarray:
    return _expect(name, array, (size,))
