"""Wasserstein distances between images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_choice
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.linalg.transport.costs import PointCost
from gossamer.linalg.transport.newton import Stages
from gossamer.linalg.transport.problem import Problem
from gossamer.solve.transport.entropic import run_stages, solve_entropic
from gossamer.solve.transport.result import EntropicOTResult


@dataclass(frozen=True, kw_only=True)
class WassersteinResult(EntropicOTResult):
    """A plan between the pixels of two images.

    Attributes
    ----------
    p : int
        The order of the distance.
    shape : tuple of int
        Of the images; rows and columns of the plan are pixels in row-major order.
    """

    p: int = 2
    shape: tuple[int, ...] = ()

    @property
    def distance(self) -> float:
        """``cost ** (1 / p)``: at least the Wasserstein distance, and that within the regularisation."""
        return float(self.cost ** (1 / self.p))


def wasserstein_grid(
    a: Any,
    b: Any,
    *,
    p: int = 2,
    eta: float,
    ground: str = "euclidean",
    store: bool = True,
    n_sinkhorn: int | None = None,
    max_newton: int = 200,
    tol: float = 1e-10,
    n_jobs: int | None = None,
) -> WassersteinResult:
    """Measure how far the mass of one image lies from that of another, pixels being points of the unit square.

    Pixel (i, j) of an image of shape (h, w) stands at (i, j) / max(h, w). Both images are divided by their sums.
    Pixels without mass are left out of the problem.

    Parameters
    ----------
    a, b : array, shape (h, w) or (length,) or (d, h, w)
        Intensities of at least 0, of the same shape.
    p : {1, 2}
        Costs are distances, or squared distances.
    eta : float
        Inverse of the regularisation, in units of one over those costs.
    ground : {"euclidean", "cityblock"}
        Distance between pixels; squares are of Euclidean ones.
    store : bool
        Keep costs and plan in memory, 16 bytes a pair of pixels; otherwise make them again in each pass.
    n_sinkhorn : int, optional
        Sinkhorn steps of the first stage: by default 20 for p = 2, where the optimal plan is unique, and 700 for
        p = 1, where it is not.
    max_newton : int
        Most Newton steps.
    tol : float
        Largest sum of absolute errors of both marginals.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    WassersteinResult
        ``distance``, and all of :class:`EntropicOTResult`.

    Raises
    ------
    ShapeError, ArgumentError
        If the images differ in shape, are negative or without mass, or an option is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import wasserstein_grid
    >>> image = np.zeros((8, 8))
    >>> image[2, 2] = 1
    >>> wasserstein_grid(image, np.roll(image, 4, axis=1), eta=100.0).distance
    0.5
    """
    images = []
    for name, image in (("a", a), ("b", b)):
        array = to_numpy(check_array(name, image, ndim=(1, 2, 3))).astype(np.float64)
        if not array.size or (array < 0).any() or not array.any():
            raise ArgumentError(f"{name} has no mass, or negative intensities: expected an image with mass")
        images.append(array)
    first, second = images
    if first.shape != second.shape:
        raise ShapeError(f"a has shape {first.shape}, b {second.shape}: expected the same")
    check_choice("p", p, (1, 2))
    check_choice("ground", ground, ("euclidean", "cityblock"))
    if p == 2 and ground != "euclidean":
        raise ArgumentError(f"ground={ground!r}: expected 'euclidean' with p=2")
    places = np.indices(first.shape).reshape(first.ndim, -1).T / max(first.shape)
    cost = PointCost(places, metric="sqeuclidean" if p == 2 else ground)
    stages = Stages(
        n_sinkhorn=(20 if p == 2 else 700) if n_sinkhorn is None else n_sinkhorn, max_newton=max_newton
    )
    r, c = (image.ravel() / image.sum() for image in images)
    return solve_entropic(
        Problem(cost.to_dense() if store else cost, r, c, eta=eta, threads=n_jobs),
        run_stages(stages),
        kind=WassersteinResult,
        method="sinkhorn_newton_sparse",
        tol=tol,
        limit=f"max_newton={max_newton}",
        p=p,
        shape=first.shape,
    )
