"""Variation predictability: can a small network tell which direction a picture was moved along?"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from gossamer._core.checks import check_float, check_int
from gossamer._core.results import Result
from gossamer.nn.generative.modulation import Directions, shifted
from gossamer.nn.generative.path_length import Mapping, draw_shifts


@dataclass(frozen=True, kw_only=True)
class Predictability(Result):
    """How well directions are told apart.

    Attributes
    ----------
    value : float
        Accuracy on held-out pairs.
    chance : float
        What guessing gives: one over the number of directions.
    """

    value: float
    chance: float


def vp_score(
    G: torch.nn.Module,
    mapping: Mapping,
    directions: Directions,
    *,
    n: int = 10_000,
    step: float = 5.0,
    epochs: int = 10,
    held_out: float = 0.2,
    features: int = 64,
    seed: int = 0,
) -> Predictability:
    """Train a network on pairs ``G(w), G(w + step v)`` to say which direction v it was; higher is more distinct.

    Parameters
    ----------
    G : torch.nn.Module
        Codes (B, features) to pictures (B, C, side, side).
    mapping : callable
        Noise (B, features) to codes.
    directions : mapping of str to tensor, shape (r, features)
        As :func:`latent_directions` gives them; each is a class.
    n : int
        Pairs.
    step : float
        Distance along the direction.
    epochs : int
        Passes over the pairs that are not held out; Adam in batches of 64, the rate falling from 2e-3.
    held_out : float
        Share of the pairs on which the accuracy is measured.
    features : int
        Length of the noise.
    seed : int
        Of noise, weights and order.

    Returns
    -------
    Predictability

    References
    ----------
    Zhu et al., "Learning disentangled representations with latent variation predictability", ECCV 2020.
    """
    count = check_int("n", n, low=10)
    check_float("step", step, low=0, closed="right")
    check_int("epochs", epochs, low=1)
    test = round(count * check_float("held_out", held_out, low=0, high=1, closed="neither"))
    rng = torch.Generator().manual_seed(check_int("seed", seed, low=0))
    pairs, labels = _pairs(G, mapping, directions, count, step, features, rng)
    classes = sum(len(V) for V in directions.values())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(pairs.shape[1], classes)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    train, steps = count - test, -(-(count - test) // 64)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * steps)
    for _ in range(epochs):
        for chosen in (torch.randperm(train, generator=rng) + test).split(64):
            loss = F.cross_entropy(network(pairs[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        found = torch.cat([network(piece).argmax(dim=1) for piece in pairs[:test].split(500)])
    return Predictability(value=float((found == labels[:test]).float().mean()), chance=1 / classes)


@torch.no_grad()
def _pairs(
    G: torch.nn.Module,
    mapping: Mapping,
    directions: Directions,
    n: int,
    step: float,
    features: int,
    rng: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both pictures of each pair as channels of one, and the number of the direction."""
    pairs, labels = [], []
    for at in range(0, n, 100):
        size = min(100, n - at)
        w = mapping(torch.randn(size, features, generator=rng))
        shifts, label = draw_shifts(directions, size, step, rng)
        with shifted(G, shifts):
            moved = G(w)
        pairs.append(torch.cat([G(w), moved], dim=1))
        labels.append(label)
    return torch.cat(pairs), torch.cat(labels)


def _network(channels: int, classes: int) -> torch.nn.Module:
    sizes = (channels, 16, 32, 64)
    layers: list[torch.nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [torch.nn.Conv2d(before, after, 3, stride=2, padding=1), torch.nn.ReLU()]
    head = [torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(1024, classes)]
    return torch.nn.Sequential(*layers, *head)


__all__ = ["Predictability", "vp_score"]
