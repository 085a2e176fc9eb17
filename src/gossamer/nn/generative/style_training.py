"""Adversarial training of style-based generators, with lazy regularisation, resumable."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import FormatError, ShapeError
from gossamer._core.files import atomic_path
from gossamer.nn.generative.stylegan import StyleDiscriminator, StyleGenerator, sample_codes

Penalty = Callable[[StyleGenerator, torch.Tensor, torch.Generator], torch.Tensor]
"""Takes the generator, codes (B, L, features) and a source of randomness; returns a number to add to the loss."""


@dataclass(frozen=True)
class StyleTraining:
    """How a generator is trained.

    Attributes
    ----------
    batch : int
        Pictures of a step.
    rate : float
        Learning rate of Adam, corrected for lazy regularisation.
    r1, r1_every : float, int
        Weight of the squared gradient of the discriminator at real pictures, and steps between its updates.
    path, path_every : float, int
        Weight of the path-length penalty of the generator, and steps between its updates; 0 leaves it out.
    mixing : float
        Share of pictures made of two codes.
    ema : float
        Pictures after which an old value counts half in the averaged generator.
    penalty_every : int
        Steps between the updates of an additional penalty.
    precision : {"float32", "bfloat16"}
        Of the features inside the networks; parameters and losses stay in float32.
    """

    batch: int = 16
    rate: float = 0.002
    r1: float = 10.0
    r1_every: int = 16
    path: float = 2.0
    path_every: int = 4
    mixing: float = 0.9
    ema: float = 10_000.0
    penalty_every: int = 1
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("batch", "r1_every", "path_every", "penalty_every"):
            check_int(name, getattr(self, name), low=1)
        check_float("rate", self.rate, low=0, closed="neither")
        check_float("ema", self.ema, low=0, closed="neither")
        for name in ("r1", "path"):
            check_float(name, getattr(self, name), low=0)
        check_float("mixing", self.mixing, low=0, high=1)
        check_choice("precision", self.precision, ("float32", "bfloat16"))


class StyleTrainer:
    """Trains a generator against a discriminator: non-saturating losses, R1, path length, an averaged generator.

    Parameters
    ----------
    generator : StyleGenerator
        Trained in place. Only parameters that require gradients are.
    discriminator : StyleDiscriminator
        Trained in place.
    images : tensor of float32, shape (n, 3, side, side)
        In [-1, 1].
    settings : StyleTraining
        How.
    penalty : callable, optional
        ``penalty(generator, codes, rng)`` is added to the loss of the generator.
    seed : int
        Of noise and the order of pictures.

    Attributes
    ----------
    average : StyleGenerator
        The exponential moving average of the generator: what to use afterwards.
    step : int
        Steps done.
    history : dict of str to list of float
        ``generator``, ``discriminator`` losses of each step.

    Notes
    -----
    One step runs the generator twice and the discriminator three times forward, and each twice backward.

    References
    ----------
    Karras et al., CVPR 2020. Mescheder et al., "Which training methods for GANs do actually converge?", ICML 2018.
    """

    def __init__(
        self,
        generator: StyleGenerator,
        discriminator: StyleDiscriminator,
        images: torch.Tensor,
        settings: StyleTraining | None = None,
        penalty: Penalty | None = None,
        seed: int = 0,
    ) -> None:
        side = generator.resolution
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, side, side):
            raise ShapeError(f"images have shape {tuple(images.shape)}: expected (n, 3, {side}, {side})")
        self.settings = settings if settings is not None else StyleTraining()
        self.generator, self.discriminator = generator, discriminator
        self.images, self.penalty = images, penalty
        self.average = copy.deepcopy(generator).requires_grad_(False)
        s = self.settings
        self.generator_optimiser = _adam(generator, s.rate, s.path_every if s.path else None)
        self.discriminator_optimiser = _adam(discriminator, s.rate, s.r1_every if s.r1 else None)
        self.rng = torch.Generator().manual_seed(check_int("seed", seed, low=0))
        self.mean_path = torch.zeros(())
        self.step = 0
        self.history: dict[str, list[float]] = {"generator": [], "discriminator": []}

    def run(self, steps: int) -> StyleGenerator:
        """Train for so many steps; returns the averaged generator."""
        precision = getattr(torch, self.settings.precision)
        kept = self.generator.precision, self.discriminator.precision
        self.generator.precision = self.discriminator.precision = precision
        try:
            for _ in range(check_int("steps", steps, low=0)):
                self._step()
        finally:
            self.generator.precision, self.discriminator.precision = kept
        return self.average

    def _step(self) -> None:
        s, n = self.settings, self.settings.batch
        real = self.images[torch.randint(len(self.images), (n,), generator=self.rng)]
        with torch.no_grad():
            codes = sample_codes(self.generator, n, self.rng, s.mixing)
            fake = self.generator(codes)
        loss = F.softplus(self.discriminator(fake)).mean() + F.softplus(-self.discriminator(real)).mean()
        self._update(self.discriminator_optimiser, loss)
        self.history["discriminator"].append(float(loss.detach()))
        if s.r1 and self.step % s.r1_every == 0:
            self._update(self.discriminator_optimiser, s.r1 / 2 * s.r1_every * self._r1(real))

        self.discriminator.requires_grad_(False)
        codes = sample_codes(self.generator, n, self.rng, s.mixing)
        self.generator.mapping.track(codes[:, 0].detach())
        loss = F.softplus(-self.discriminator(self.generator(codes))).mean()
        self.history["generator"].append(float(loss.detach()))
        if self.penalty is not None and self.step % s.penalty_every == 0:
            loss = loss + s.penalty_every * self.penalty(self.generator, codes, self.rng)
        self._update(self.generator_optimiser, loss)
        if s.path and self.step % s.path_every == 0:
            self._update(self.generator_optimiser, s.path * s.path_every * self._path_length())
        self.discriminator.requires_grad_(True)
        self._average()
        self.step += 1

    def _update(self, optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    def _r1(self, real: torch.Tensor) -> torch.Tensor:
        real = real.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.discriminator(real).sum(), real, create_graph=True)
        return slope.square().sum(dim=(1, 2, 3)).mean()

    def _path_length(self) -> torch.Tensor:
        """How far the lengths of ``J_w^T y``, for random pictures ``y``, are from their running mean."""
        codes = sample_codes(self.generator, max(1, self.settings.batch // 2), self.rng, self.settings.mixing)
        if not codes.requires_grad:  # where the mapping network is not trained
            codes.requires_grad_()
        image = self.generator(codes)
        noise = torch.randn(image.shape, generator=self.rng) / self.generator.resolution
        (slope,) = torch.autograd.grad((image * noise).sum(), codes, create_graph=True)
        lengths = slope.square().sum(dim=2).mean(dim=1).sqrt()
        self.mean_path = self.mean_path.lerp(lengths.detach().mean(), 0.01 if self.step else 1.0)
        return (lengths - self.mean_path).square().mean()

    @torch.no_grad()
    def _average(self) -> None:
        decay = 0.5 ** (self.settings.batch / self.settings.ema)
        own = dict(self.generator.named_parameters())
        for name, value in self.average.named_parameters():
            value.lerp_(own[name], 1 - decay)
        for mine, theirs in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            mine.copy_(theirs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that :meth:`load` needs to go on with the same bits, atomically."""
        with atomic_path(path) as temporary:
            safetensors.torch.save_file(self._state(), temporary)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on where :meth:`save` was called; a file of other networks is a :class:`FormatError`."""
        if not Path(path).exists():
            raise FormatError(f"{path}: no such file")
        state = safetensors.torch.load_file(path)
        own = self._state()
        optimiser = {name for name in state if name.startswith("optimiser.")}
        if set(state) - optimiser != {name for name in own if not name.startswith("optimiser.")}:
            raise FormatError(f"{path}: the tensors are not those of these networks")
        for part, module in self._parts().items():
            module.load_state_dict(
                {k.removeprefix(part + "."): v for k, v in state.items() if k.startswith(part + ".")}
            )
        for key, opt in self._optimisers().items():
            for i, parameter in enumerate(opt.param_groups[0]["params"]):
                head = f"optimiser.{key}.{i}."
                opt.state[parameter] = {
                    k.removeprefix(head): v for k, v in state.items() if k.startswith(head)
                }
        self.rng.set_state(state["rng"])
        self.mean_path, self.step = state["mean_path"], int(state["step"])

    def _parts(self) -> dict[str, torch.nn.Module]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
        }

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"generator": self.generator_optimiser, "discriminator": self.discriminator_optimiser}

    def _state(self) -> dict[str, torch.Tensor]:
        state: dict[str, Any] = {
            "rng": self.rng.get_state(),
            "mean_path": self.mean_path,
            "step": torch.tensor(self.step),
        }
        for part, module in self._parts().items():
            state |= {f"{part}.{name}": value for name, value in module.state_dict().items()}
        for key, opt in self._optimisers().items():
            for i, parameter in enumerate(opt.param_groups[0]["params"]):
                state |= {f"optimiser.{key}.{i}.{k}": v for k, v in opt.state[parameter].items()}
        return {name: value.contiguous().clone() for name, value in state.items()}


def _adam(module: torch.nn.Module, rate: float, every: int | None) -> torch.optim.Adam:
    """Adam whose rate and decay count the regularising updates as part of the step they follow."""
    share = 1.0 if every is None else every / (every + 1)
    trained = [p for p in module.parameters() if p.requires_grad]
    return torch.optim.Adam(trained, lr=rate * share, betas=(0.0, 0.99**share))


__all__ = ["Penalty", "StyleTrainer", "StyleTraining"]
