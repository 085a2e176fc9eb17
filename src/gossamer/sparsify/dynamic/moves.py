"""Which live entries leave a mask and which dead ones enter it; exact counts, of equal scores the first entry."""

from __future__ import annotations

import torch

from gossamer._core.checks import check_int
from gossamer._core.errors import ShapeError

PRUNE = ("magnitude", "taylor", "set", "threshold")
GROW = ("gradient", "random", "momentum")


def lowest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Places of the ``count`` smallest entries of a vector, ascending; of equal ones the first. O(n)."""
    if scores.ndim != 1:
        raise ShapeError(f"scores has shape {tuple(scores.shape)}: expected a vector")
    count = check_int("count", count, low=0, high=len(scores))
    if count == 0:
        return torch.empty(0, dtype=torch.int64, device=scores.device)
    bar = scores.kthvalue(count).values
    chosen = scores < bar
    ties = (scores == bar).nonzero()[:, 0]
    chosen[ties[: count - int(chosen.sum())]] = True
    return chosen.nonzero()[:, 0]


def highest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Places of the ``count`` largest entries of a vector, ascending; of equal ones the first. O(n)."""
    return lowest(-scores, count)


def leaving(
    theta: torch.Tensor,
    live: torch.Tensor,
    count: int,
    rule: str = "magnitude",
    gradient: torch.Tensor | None = None,
) -> torch.Tensor:
    """Places of the ``count`` live entries that are worth least.

    Parameters
    ----------
    theta : tensor, shape (n,)
        Weights.
    live : tensor of bool, shape (n,)
        Which may leave.
    count : int
        How many.
    rule : {"magnitude", "taylor", "set", "threshold"}
        Smallest ``|theta|``; smallest ``|theta g|``; half of them the smallest that are not negative, half the
        largest negative ones; with "threshold" the caller counts, and magnitudes decide.
    gradient : tensor, shape (n,)
        g, for "taylor".
    """
    places = live.nonzero()[:, 0]
    values = theta[places]
    if rule == "taylor":
        assert gradient is not None
        values = values * gradient[places]
    if rule != "set":
        return places[lowest(values.abs(), count)]
    above = values >= 0
    positive, negative = places[above], places[~above]
    first = min(max(-(-count // 2), count - len(negative)), len(positive))
    parts = (
        positive[lowest(theta[positive], first)],
        negative[lowest(-theta[negative], count - first)],
    )
    return torch.cat(parts).sort().values


def entering(
    live: torch.Tensor,
    count: int,
    gradient: torch.Tensor | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Places of ``count`` dead entries: those with the largest ``|gradient|``, or random ones without a gradient.

    Parameters
    ----------
    live : tensor of bool, shape (n,)
        Which are not dead.
    count : int
        How many.
    gradient : tensor, shape (n,), optional
        What the loss would gain.
    generator : torch.Generator, optional
        Of random places.
    """
    places = (~live).nonzero()[:, 0]
    if gradient is None:
        return places[torch.randperm(len(places), generator=generator)[:count]].sort().values
    return places[highest(gradient[places].abs(), count)]
