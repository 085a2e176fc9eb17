"""Editing directions of a style-based generator: the projector in its modulation, and what it is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch.nn.utils import parametrize

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError, unknown_choice
from gossamer.nn.generative.style_blocks import EqualLinear
from gossamer.nn.linear.householder import HouseholderProjector, PartialIsometry

Directions = Mapping[str, torch.Tensor]
"""Layer (the dotted name of its affine map) to unit directions of its input, (r, features)."""


def orthogonalize_modulation(
    generator: torch.nn.Module,
    rank: int = 10,
    layers: Sequence[str | int] | None = None,
    *,
    scale: str = "one",
    n_reflections: int | str | None = None,
) -> dict[str, HouseholderProjector]:
    """Put projectors in place of the maps from codes to styles, at the partial isometries nearest to them.

    Afterwards fine-tune, for about a hundredth of the steps of the original training (:func:`finetune_directions`).

    Parameters
    ----------
    generator : torch.nn.Module
        Changed in place: a :class:`StyleGenerator`, or any module if ``layers`` names its affine maps.
    rank : int
        r, the number of directions of each layer.
    layers : sequence of str or int, optional
        Dotted names of linear maps, or their numbers among those of the default: the first (upsampling) convolution of
        every block, but not the block of 4 x 4, a second convolution or the colours.
    scale : {"one", "fit"}
        ``"one"`` as in the paper; ``"fit"`` keeps the size of the styles, for short fine-tuning.
    n_reflections : None, int or "full"
        As in :class:`HouseholderProjector`.

    Returns
    -------
    dict of str to HouseholderProjector
        The new maps by name.

    Raises
    ------
    ArgumentError
        For an unknown layer, or a rank that one does not allow.

    References
    ----------
    Song et al., "Householder Projector for unsupervised latent semantics discovery", ICCV 2023.

    Examples
    --------
    >>> from gossamer.nn import StyleGenerator, latent_directions, orthogonalize_modulation
    >>> G = StyleGenerator()
    >>> sorted(orthogonalize_modulation(G, rank=8))
    ['blocks.1.conv0.affine', 'blocks.2.conv0.affine', 'blocks.3.conv0.affine']
    >>> latent_directions(G)["blocks.3.conv0.affine"].shape
    torch.Size([8, 64])
    """
    made = {}
    for name in modulation_layers(generator, layers):
        weight, bias = affine_map(generator.get_submodule(name))
        projector = HouseholderProjector(
            weight.shape[1],
            weight.shape[0],
            rank,
            bias is not None,
            n_reflections,
            scale=scale,
            device=weight.device,
            dtype=weight.dtype,
        )
        made[name] = projector.init_from(weight, bias)
    for name, projector in made.items():
        holder, _, attribute = name.rpartition(".")
        setattr(generator.get_submodule(holder), attribute, projector)
    return made


def modulation_layers(generator: torch.nn.Module, layers: Sequence[str | int] | None = None) -> list[str]:
    """Dotted names of the affine maps of the first convolutions of all blocks, or of those asked for.

    Parameters
    ----------
    generator : torch.nn.Module
        The generator.
    layers : sequence of str or int, optional
        Names of linear maps, or positions in the default list.
    """
    usual = [name for name, _ in generator.named_modules() if name.endswith("conv0.affine")]
    if layers is None:
        if not usual:
            raise UnsupportedError(f"{type(generator).__name__} has no module '*.conv0.affine': give layers=")
        return usual
    if isinstance(layers, (str, int)):
        raise ArgumentError(f"layers={layers!r}: expected a sequence of names or numbers")
    every = {name for name, _ in generator.named_modules()}
    chosen = []
    for layer in layers:
        name = (
            layer if isinstance(layer, str) else usual[check_int("layers", layer, low=0, high=len(usual) - 1)]
        )
        if name not in every:
            raise unknown_choice("layers", name, sorted(every))
        chosen.append(name)
    return chosen


def affine_map(layer: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight (O, K) and bias (O,) that a linear layer applies, scaling included; differentiable.

    Parameters
    ----------
    layer : torch.nn.Module
        :class:`torch.nn.Linear`, an equalised layer, or a projector.
    """
    if isinstance(layer, EqualLinear):
        return layer.effective_weight(), layer.effective_bias()
    weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
    if not isinstance(weight, torch.Tensor) or weight.ndim != 2:
        raise UnsupportedError(
            f"{type(layer).__name__} is no linear map: expected one with a matrix as weight"
        )
    return weight, bias


def latent_directions(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The directions of every projector in a model: columns of its orthogonal factor, never of a decomposition.

    Parameters
    ----------
    model : torch.nn.Module
        With :class:`HouseholderProjector` layers, or weights under :func:`partial_isometry`.

    Returns
    -------
    dict of str to tensor, shape (r, features)
        By the name of the layer; orthonormal rows.

    Raises
    ------
    ArgumentError
        If there is no projector.
    """
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, HouseholderProjector):
            found[name] = module.directions.detach()
        elif parametrize.is_parametrized(module):
            held: Any
            for held in cast(torch.nn.ModuleDict, module.parametrizations).values():
                if isinstance(held[0], PartialIsometry):
                    found[name] = held[0].directions(held.original1).detach()
    if not found:
        raise ArgumentError("model has no projector: call orthogonalize_modulation first")
    return found


def sefa_directions(
    generator: torch.nn.Module, k: int = 10, layers: Sequence[str | int] | None = None
) -> dict[str, torch.Tensor]:
    """The leading right singular vectors of the maps from codes to styles (SeFa), for generators without a projector.

    Parameters
    ----------
    generator : torch.nn.Module
        Not changed.
    k : int
        Directions of each layer.
    layers : sequence of str or int, optional
        As in :func:`orthogonalize_modulation`.

    Returns
    -------
    dict of str to tensor, shape (k, features)

    References
    ----------
    Shen and Zhou, "Closed-form factorization of latent semantics in GANs", CVPR 2021.
    """
    found = {}
    for name in modulation_layers(generator, layers):
        weight, _ = affine_map(generator.get_submodule(name))
        check_int("k", k, low=1, high=min(weight.shape))
        found[name] = torch.linalg.svd(weight.detach())[2][:k]
    return found


def random_directions(directions: Directions, seed: int = 0) -> dict[str, torch.Tensor]:
    """Orthonormal directions drawn at random, as many as given ones.

    Parameters
    ----------
    directions : mapping of str to tensor, shape (r, features)
        Whose layers and sizes are taken.
    seed : int
        Of the draw.
    """
    rng = torch.Generator().manual_seed(check_int("seed", seed, low=0))
    return {
        name: torch.linalg.qr(torch.randn(V.shape[1], V.shape[0], generator=rng))[0].T
        for name, V in directions.items()
    }


@contextmanager
def shifted(generator: torch.nn.Module, shifts: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Within, the named layers see their codes moved by ``shifts[name]``, (B, features) or (features,)."""

    def move(shift: torch.Tensor) -> Any:
        return lambda module, args: (args[0] + shift, *args[1:])

    hooks = [
        generator.get_submodule(name).register_forward_pre_hook(move(shift)) for name, shift in shifts.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def traverse(
    generator: torch.nn.Module,
    w: torch.Tensor,
    layer: str,
    direction: torch.Tensor,
    steps: Any = None,
) -> torch.Tensor:
    """Pictures along one direction, of which only the styles of one layer know.

    Parameters
    ----------
    generator : torch.nn.Module
        Codes to pictures.
    w : tensor, shape (B, ...)
        Codes that the generator takes, usually truncated to 0.7.
    layer : str
        Whose input is moved.
    direction : tensor, shape (features,)
        A row of :func:`latent_directions`.
    steps : sequence of float, optional
        Distances; seven from -20 to 20 by default.

    Returns
    -------
    tensor, shape (steps, B, ...)

    Raises
    ------
    ArgumentError
        For an unknown layer.
    ShapeError
        If ``direction`` is not a vector.
    """
    if layer not in dict(generator.named_modules()):
        raise unknown_choice("layer", layer, [name for name, _ in generator.named_modules()])
    if direction.ndim != 1:
        raise ShapeError(f"direction has shape {tuple(direction.shape)}: expected one vector")
    distances = torch.linspace(-20, 20, 7) if steps is None else torch.as_tensor(steps, dtype=direction.dtype)
    pictures = []
    for distance in distances:
        with shifted(generator, {layer: distance * direction}):
            pictures.append(generator(w))
    return torch.stack(pictures)
