"""Penalties that ask a generator for disentangled directions: what a projector is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from gossamer._core.checks import check_float, check_int
from gossamer.nn.generative.modulation import affine_map, modulation_layers


def orthogonality_penalty(
    generator: torch.nn.Module, layers: Sequence[str | int] | None = None
) -> torch.Tensor:
    r"""Distance of the maps from codes to styles from orthogonality, :math:`\sum_l \|A_l^T A_l - I\|_F^2`.

    Of the smaller Gram matrix: columns of a tall map, rows of a wide one.

    Parameters
    ----------
    generator : torch.nn.Module
        A style-based generator without projectors.
    layers : sequence of str or int, optional
        As in :func:`orthogonalize_modulation`.

    Returns
    -------
    tensor, scalar
        Differentiable in the maps.
    """
    total = torch.zeros(())
    for name in modulation_layers(generator, layers):
        A, _ = affine_map(generator.get_submodule(name))
        gram = A.T @ A if A.shape[0] >= A.shape[1] else A @ A.T
        total = total + (gram - torch.eye(len(gram))).square().sum()
    return total


def hessian_penalty(
    G: Callable[[torch.Tensor], torch.Tensor],
    w: torch.Tensor,
    rng: torch.Generator,
    *,
    k: int = 2,
    eps: float = 0.1,
) -> torch.Tensor:
    r"""How much the second derivatives of the pictures mix coordinates of the code.

    The variance over Rademacher vectors v of :math:`v^T H v`, twice the sum of squares of the entries of H off its
    diagonal, by second differences ``(G(w + eps v) - 2 G(w) + G(w - eps v)) / eps^2``; the largest over pixels.

    Parameters
    ----------
    G : callable
        Codes to pictures.
    w : tensor, shape (B, ...)
        Codes; all layers of a picture are moved by the same vector.
    rng : torch.Generator
        Of the vectors.
    k : int
        Vectors, at least two.
    eps : float
        Step of the differences.

    Returns
    -------
    tensor, scalar

    References
    ----------
    Peebles et al., "The Hessian penalty", ECCV 2020.
    """
    step, centre = check_float("eps", eps, low=0, closed="right"), 2 * G(w)
    curvatures = [
        (G(w + step * v) - centre + G(w - step * v)) / step**2
        for v in _rademacher(w, check_int("k", k, low=2), rng)
    ]
    return torch.stack(curvatures).var(dim=0).amax()


def orojar_penalty(
    G: Callable[[torch.Tensor], torch.Tensor],
    w: torch.Tensor,
    rng: torch.Generator,
    *,
    k: int = 2,
    eps: float = 0.1,
) -> torch.Tensor:
    r"""How far the changes of the pictures along different coordinates are from orthogonal.

    The variance over Rademacher vectors v of :math:`\|J v\|^2`, twice the sum of squares of the entries of
    :math:`J^T J` off its diagonal, by differences ``(G(w + eps v) - G(w)) / eps``; the mean over the batch.

    Parameters
    ----------
    G, w, rng, k, eps
        As in :func:`hessian_penalty`.

    Returns
    -------
    tensor, scalar

    References
    ----------
    Wei et al., "Orthogonal Jacobian regularization for unsupervised disentanglement in image generation", ICCV 2021.
    """
    step, start = check_float("eps", eps, low=0, closed="right"), G(w)
    lengths = [
        ((G(w + step * v) - start) / step).flatten(1).square().sum(dim=1)
        for v in _rademacher(w, check_int("k", k, low=2), rng)
    ]
    return torch.stack(lengths).var(dim=0).mean()


def _rademacher(w: torch.Tensor, k: int, rng: torch.Generator) -> list[torch.Tensor]:
    shape = (len(w), *(1,) * (w.ndim - 2), w.shape[-1])
    return [2.0 * torch.randint(0, 2, shape, generator=rng) - 1 for _ in range(k)]


__all__ = ["hessian_penalty", "orojar_penalty", "orthogonality_penalty"]
