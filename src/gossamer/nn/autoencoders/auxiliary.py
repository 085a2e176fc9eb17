"""Losses that bring features back which are silent, or used less than a law wants."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer.nn.autoencoders.codes import SparseCodes
from gossamer.nn.autoencoders.selection import top_per_token
from gossamer.nn.autoencoders.sparse_autoencoder import SAEOutput, SparseAutoencoder
from gossamer.nn.autoencoders.sparse_products import decode_sum, encode_values
from gossamer.nn.autoencoders.zipf import ZipfSchedule


def aux_k_loss(
    sae: SparseAutoencoder, x: torch.Tensor, out: SAEOutput, dead_mask: Any, k_aux: int | None = None
) -> torch.Tensor:
    """How well the strongest dead features of each token explain what the reconstruction missed.

    ``|e - W_dec^T c_aux|^2 / |x - mean|^2`` for the residual ``e = x - xhat``, a constant.

    Parameters
    ----------
    sae : SparseAutoencoder
    x : Tensor, shape (N, d)
    out : SAEOutput
        Of ``sae(x)``.
    dead_mask : array of bool, shape (F,)
        Which features are dead.
    k_aux : int, optional
        Features a token; the smaller of d / 2 and the number of dead ones if not given.

    Returns
    -------
    Tensor
        0 if nothing is dead.
    """
    dead = to_numpy(dead_mask)
    if dead.shape != (sae.n_features,) or dead.dtype != bool:
        raise ShapeError(
            f"dead_mask is {dead.dtype} of shape {dead.shape}: expected bool ({sae.n_features},)"
        )
    return _loss(sae, x, out, dead.astype(np.float64), k_aux)


def aux_zipf_loss(
    sae: SparseAutoencoder,
    x: torch.Tensor,
    out: SAEOutput,
    density: Any,
    zipf: ZipfSchedule,
    k_aux: int | None = None,
    tau: float = 0.1,
    rotation: int = 0,
) -> torch.Tensor:
    """The same for features that are used less than a law says: each weighs in by how much it falls short.

    A feature of density p whose rank is due ``p_r`` has the deficit ``1 - p / p_r``, clipped to [0, 1]; the k_aux
    largest of deficit times z explain the residual. Dead features have deficit 1: where all others are on target this
    is :func:`aux_k_loss`.

    Parameters
    ----------
    sae, x, out : as for :func:`aux_k_loss`
    density : array of shape (F,)
        Share of tokens on which each feature is active.
    zipf : ZipfSchedule
        The law.
    k_aux : int, optional
        Features a token; the smaller of d / 2 and the number of features in deficit if not given.
    tau : float
        Deficits up to this one are let be.
    rotation : int
        Where equal densities begin to be ranked, as for :meth:`ZipfSchedule.targets`.
    """
    check_float("tau", tau, low=0, high=1)
    used = to_numpy(density)
    if used.shape != (sae.n_features,):
        raise ShapeError(f"density has shape {used.shape}: expected ({sae.n_features},)")
    deficit = np.clip(1 - used / zipf.targets(used, rotation), 0, 1)
    return _loss(sae, x, out, np.where(deficit > tau, deficit, 0.0), k_aux)


def _loss(
    sae: SparseAutoencoder, x: torch.Tensor, out: SAEOutput, weight: np.ndarray, k_aux: int | None
) -> torch.Tensor:
    wanted = np.flatnonzero(weight)
    if not len(wanted):
        return out.recon.new_zeros(())
    k = min(max(1, sae.d // 2), len(wanted)) if k_aux is None else check_int("k_aux", k_aux, low=1)
    rows = x.reshape(-1, sae.d).to(sae.W_dec)
    factor = torch.from_numpy(weight).to(sae.W_dec)
    chosen = torch.from_numpy(wanted)
    with torch.no_grad():
        found = top_per_token(out.pre[:, chosen] * factor[chosen], min(k, len(wanted)))
    codes = SparseCodes(
        found.start, wanted[found.features], found.values / factor[chosen[found.features]], sae.n_features
    )
    sparse = sae.uses_kernels
    values = encode_values(rows / sae.scale - sae.b_pre.detach(), sae.W_enc, sae.b_enc, codes, sparse=sparse)
    weighed = codes.with_values(values * factor[torch.from_numpy(codes.features).long()])
    explained = decode_sum(weighed, sae.W_dec, sparse=sparse) * sae.scale
    residual = rows - out.recon.detach()
    return (residual - explained).square().sum() / (len(rows) * sae.d * sae.scale**2)
