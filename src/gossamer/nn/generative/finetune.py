"""Fine-tuning of a trained generator for editing directions: the projector, penalties, and nothing but more steps."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import torch

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.results import Result
from gossamer.nn.generative.modulation import latent_directions, orthogonalize_modulation, sefa_directions
from gossamer.nn.generative.penalties import hessian_penalty, orojar_penalty, orthogonality_penalty
from gossamer.nn.generative.style_training import Penalty, StyleTrainer, StyleTraining
from gossamer.nn.generative.stylegan import StyleDiscriminator, StyleGenerator

METHODS = ("projector", "none", "orthogonality", "hessian", "orojar")
WEIGHTS = {"orthogonality": 1.0, "hessian": 0.1, "orojar": 0.01}
TRAINABLE = ("full", "frames")


@dataclass(frozen=True, kw_only=True)
class Finetuned(Result):
    """A fine-tuned generator with its directions.

    Attributes
    ----------
    generator : StyleGenerator
        The averaged one.
    discriminator : StyleDiscriminator
        As it is after the last step.
    directions : dict of str to tensor, shape (r, features)
        Those of the projectors; of the other methods the leading singular vectors (SeFa).
    """

    generator: StyleGenerator = field(repr=False)
    discriminator: StyleDiscriminator = field(repr=False)
    directions: dict[str, torch.Tensor] = field(repr=False)


def finetune_directions(
    generator: StyleGenerator,
    discriminator: StyleDiscriminator,
    images: torch.Tensor,
    *,
    method: str = "projector",
    rank: int = 10,
    steps: int = 100,
    scale: str = "fit",
    trainable: str = "full",
    weight: float | None = None,
    settings: StyleTraining | None = None,
    seed: int = 0,
) -> Finetuned:
    """Go on training a generator for a few steps, with a projector in its modulation or what it is compared with.

    Parameters
    ----------
    generator, discriminator
        Trained; they are not changed.
    images : tensor, shape (n, 3, side, side)
        In [-1, 1].
    method : {"projector", "none", "orthogonality", "hessian", "orojar"}
        Projectors; only more steps (the control); or one of three penalties.
    rank : int
        Directions of each layer.
    steps : int
        About a hundredth of what the generator was trained for.
    scale : {"one", "fit"}
        As in :func:`orthogonalize_modulation`.
    trainable : {"full", "frames"}
        All parameters of the generator, or those of the projectors alone.
    weight : float, optional
        Of the penalty; 1, 0.1 and 0.01 by default.
    settings : StyleTraining, optional
        The default averages over an eighth of the pictures that are shown.
    seed : int
        Of noise and the order of pictures.

    Returns
    -------
    Finetuned

    Raises
    ------
    ArgumentError
        For an unknown method, or an option out of range.
    """
    check_choice("method", method, METHODS)
    check_choice("trainable", trainable, TRAINABLE)
    check_int("steps", steps, low=1)
    if trainable == "frames":
        check_choice("method (with trainable='frames')", method, ("projector",))
    settings = settings if settings is not None else StyleTraining()
    settings = replace(settings, ema=min(settings.ema, max(settings.batch * steps / 8, 1.0)))
    G, D = copy.deepcopy(generator), copy.deepcopy(discriminator)
    G.requires_grad_(True)
    if method == "projector":
        made = orthogonalize_modulation(G, rank, scale=scale)
        if trainable == "frames":
            G.requires_grad_(False)
            for projector in made.values():
                projector.requires_grad_(True)
    share = WEIGHTS.get(method, 0.0) if weight is None else check_float("weight", weight, low=0)
    trainer = StyleTrainer(G, D, images, settings, _penalty(method, share), seed)
    average = trainer.run(steps)
    directions = latent_directions(average) if method == "projector" else sefa_directions(average, rank)
    message = f"{method}, {steps} steps"
    return Finetuned(
        generator=average, discriminator=D, directions=directions, message=message, history=trainer.history
    )


def _penalty(method: str, weight: float) -> Penalty | None:
    if method == "orthogonality":
        return lambda G, codes, rng: weight * orthogonality_penalty(G)
    chosen = {"hessian": hessian_penalty, "orojar": orojar_penalty}.get(method)
    if chosen is None:
        return None

    def penalty(G: StyleGenerator, codes: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        kept, G.precision = (
            G.precision,
            torch.float32,
        )  # differences of pictures in bfloat16 would be rounding
        try:
            return weight * chosen(G, codes.detach(), rng)
        finally:
            G.precision = kept

    return penalty


__all__ = ["Finetuned", "finetune_directions"]
