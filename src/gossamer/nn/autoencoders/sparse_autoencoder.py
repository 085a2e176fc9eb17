"""The sparse autoencoder: a linear encoder, an allocation of matches, a dictionary of unit features."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

from gossamer._core.arrays import to_torch
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, FormatError, ShapeError, UnsupportedError
from gossamer._core.files import atomic_path
from gossamer.nn.autoencoders.allocation import Allocation, allocation_from
from gossamer.nn.autoencoders.codes import SparseCodes
from gossamer.nn.autoencoders.sparse_products import decode_sum, encode_values, native

_FORMAT = "gossamer-sae-1"


@dataclass(frozen=True)
class SAEOutput:
    """What an autoencoder makes of a batch.

    Attributes
    ----------
    recon : Tensor, shape (N, d)
        The reconstruction, in the units of the input.
    codes : SparseCodes
        What is active, and how strongly.
    pre : Tensor, shape (N, F)
        Pre-activations, without gradients.
    """

    recon: torch.Tensor
    codes: SparseCodes
    pre: torch.Tensor

    @property
    def mask(self) -> torch.Tensor:
        """Which features are active on which token, bool, shape (N, F)."""
        return self.codes.mask()


class SparseAutoencoder(nn.Module):
    """Writes activations as sums of few features from a large dictionary.

    ``z = ReLU(W_enc (x - b_pre) + b_enc)``, of which an allocation keeps a few entries as the code c; the
    reconstruction is ``W_dec^T c + b_pre``. Features have norm 1. Inputs are divided by a constant of the data set,
    which :meth:`initialise` sets, so that ``mean |x - mean|^2 = d``.

    In training mode the allocation looks at the whole batch; in evaluation mode a code depends on its token alone,
    through thresholds that training follows and :meth:`calibrate` makes exact.

    Parameters
    ----------
    d : int
        Width of the activations.
    n_features : int
        F, size of the dictionary.
    allocation : TokenChoice, MutualChoice, FeatureChoice or GradientTopK
        Which entries a code keeps.
    tied_init : bool
        Begin with the encoder equal to the decoder.
    dtype : torch.dtype
        Of the parameters: float32 or float64 run in kernels, others through dense products.
    seed : int
        Of the initial dictionary.

    Attributes
    ----------
    W_enc, W_dec : Parameter, shape (F, d)
        One row a feature.
    b_enc, b_pre : Parameter, shapes (F,) and (d,)
    sparse : bool
        Whether kernels do the sparse products where they can; the dense ones give the same to rounding.

    Raises
    ------
    ArgumentError
        If k exceeds F.

    Notes
    -----
    A training step costs ``2 N d F`` flops for the pre-activations and about ``8 nnz d`` for the rest.

    References
    ----------
    Ayonrinde, "Adaptive Sparse Allocation with Mutual Choice & Feature Choice Sparse Autoencoders",
    arXiv 2411.02124, 2024. Gao et al., "Scaling and evaluating sparse autoencoders", 2024.
    """

    scale: torch.Tensor

    def __init__(
        self,
        d: int,
        n_features: int,
        allocation: Allocation,
        *,
        tied_init: bool = True,
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.d, self.n_features = check_int("d", d, low=1), check_int("n_features", n_features, low=1)
        if not isinstance(allocation, Allocation):
            raise UnsupportedError(f"allocation is a {type(allocation).__name__}: expected an Allocation")
        generator = torch.Generator().manual_seed(check_int("seed", seed, low=0))
        W = nn.functional.normalize(torch.randn(n_features, d, generator=generator), dim=1).to(dtype)
        own = W if tied_init else torch.randn(n_features, d, generator=generator).to(dtype) / math.sqrt(d)
        self.W_dec, self.W_enc = nn.Parameter(W), nn.Parameter(own.clone())
        self.b_enc = nn.Parameter(torch.zeros(n_features, dtype=dtype))
        self.b_pre = nn.Parameter(torch.zeros(d, dtype=dtype))
        self.register_buffer("scale", torch.ones((), dtype=dtype))
        self.sparse = True
        self.allocation = allocation
        self.set_allocation(allocation)

    def set_allocation(self, allocation: Allocation) -> None:
        """Spend the budget in another way from now on."""
        allocation.bind(self.n_features)
        self.allocation = allocation.train(self.training)

    @torch.no_grad()
    def initialise(self, x: torch.Tensor) -> SparseAutoencoder:
        """Set the scale, and ``b_pre`` to the geometric median, from a sample of activations (n, d)."""
        x = self._rows(x)
        spread = float((x.double() - x.double().mean(dim=0)).square().sum(dim=1).mean())
        if not spread > 0:
            raise ArgumentError("x has no spread: all activations are the same")
        self.scale.fill_(math.sqrt(spread / self.d))
        self.b_pre.copy_(_geometric_median(x / self.scale))
        return self

    def pre_activations(self, x: torch.Tensor) -> torch.Tensor:
        """``W_enc (x - b_pre) + b_enc``, shape (N, F), for rows in the units of the input."""
        return torch.addmm(self.b_enc, self._rows(x) / self.scale - self.b_pre, self.W_enc.T)

    def forward(self, x: torch.Tensor, grads: torch.Tensor | None = None) -> SAEOutput:
        """Encode and decode: by the batch in training mode, token by token in evaluation mode.

        Parameters
        ----------
        x : Tensor, shape (..., d)
            Activations; leading dimensions are flattened.
        grads : Tensor, shape of x, optional
            Gradients of the model's loss, which :class:`gossamer.nn.GradientTopK` chooses by, in either mode.

        Raises
        ------
        ArgumentError
            For no tokens, or a value that is not finite (naming the row).
        """
        rows = self._rows(x) / self.scale - self.b_pre
        with torch.no_grad():
            pre = torch.addmm(self.b_enc, rows, self.W_enc.T)
            codes = self._select(pre, None if grads is None else self._gradients(grads, x), self.training)
        values = encode_values(rows, self.W_enc, self.b_enc, codes, sparse=self.uses_kernels)
        codes = codes.with_values(values)
        return SAEOutput(self.decode(codes), codes, pre)

    def encode(
        self, x: torch.Tensor, grads: torch.Tensor | None = None, *, mode: str | None = None
    ) -> SparseCodes:
        """Codes of activations, without gradients.

        Parameters
        ----------
        x : Tensor, shape (..., d)
            Activations.
        grads : Tensor, shape of x, optional
            As in :meth:`forward`.
        mode : {"batch", "threshold"}, optional
            Allocate within the batch, or token by token; by default as :meth:`forward` would.
        """
        batch = (
            self.training if mode is None else check_choice("mode", mode, ("batch", "threshold")) == "batch"
        )
        with torch.no_grad():
            pre = self.pre_activations(x)
            return self._select(pre, None if grads is None else self._gradients(grads, x), batch)

    def decode(self, codes: SparseCodes) -> torch.Tensor:
        """Reconstruction (N, d) of codes, in the units of the input."""
        if codes.shape[1] != self.n_features:
            raise ShapeError(f"codes has shape {codes.shape}: expected {self.n_features} features")
        return (decode_sum(codes, self.W_dec, sparse=self.uses_kernels) + self.b_pre) * self.scale

    def reconstruct(self, x: torch.Tensor, grads: torch.Tensor | None = None) -> torch.Tensor:
        """``decode(encode(x))`` with the shape and dtype of x, without gradients."""
        with torch.no_grad():
            return self.decode(self.encode(x, grads)).view(x.shape).to(x.dtype)

    @torch.no_grad()
    def calibrate(self, x: torch.Tensor, rounds: int = 40) -> SparseAutoencoder:
        """Set the thresholds so that tokens of a held-out sample have k active features on average.

        Parameters
        ----------
        x : Tensor, shape (n, d)
            Some thousand activations.
        rounds : int
            Bisections of a common factor of all thresholds.
        """
        allocation = self.allocation
        if not allocation.batch_free:
            if not allocation.ready:
                allocation.observe(self.encode(x, mode="batch"))
            pre, bound = self.pre_activations(x), allocation.bound.clone()
            low, high = 0.0, 4.0
            for _ in range(rounds):
                allocation.bound = bound * ((low + high) / 2)
                if allocation.select_alone(pre).nnz > allocation.k * len(pre):
                    low = (low + high) / 2
                else:
                    high = (low + high) / 2
            allocation.bound = bound * high
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, thresholds and settings as one safetensors file, atomically."""
        about = {
            "format": _FORMAT, "d": self.d, "n_features": self.n_features,
            "dtype": str(self.W_dec.dtype).removeprefix("torch."), "allocation": self.allocation.settings(),
        }  # fmt: skip
        state = {name: tensor.detach().contiguous() for name, tensor in self.state_dict().items()}
        with atomic_path(path) as temporary:
            safetensors.torch.save_file(state, temporary, {"gossamer": json.dumps(about)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SparseAutoencoder:
        """Read what :meth:`save` wrote, in evaluation mode; anything else is a :class:`FormatError`."""
        try:
            with safetensors.safe_open(os.fspath(path), framework="pt") as file:
                about = json.loads((file.metadata() or {})["gossamer"])
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            if about["format"] != _FORMAT:
                raise KeyError(about["format"])
            allocation = allocation_from(about["allocation"])
            sae = cls(about["d"], about["n_features"], allocation, dtype=getattr(torch, about["dtype"]))
            sae.load_state_dict(state)
        except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise FormatError(f"{path}: not a sparse autoencoder ({error})") from None
        return sae.eval()

    def _select(self, pre: torch.Tensor, grads: torch.Tensor | None, batch: bool) -> SparseCodes:
        if batch or grads is not None:
            return self.allocation.select(pre, grads, self.W_dec.detach())
        return self.allocation.select_alone(pre)

    @property
    def uses_kernels(self) -> bool:
        """Whether the sparse products run in kernels."""
        return self.sparse and native(self.W_enc, self.W_dec, self.b_enc, self.b_pre)

    def _rows(self, x: Any) -> torch.Tensor:
        x = to_torch(x)
        if not x.is_floating_point():
            raise TypeError(f"x is {x.dtype}: expected real numbers")
        if x.ndim < 1 or x.shape[-1] != self.d:
            raise ShapeError(f"x has shape {tuple(x.shape)}: expected (..., {self.d})")
        rows = x.reshape(-1, self.d).to(self.W_dec)
        if not len(rows):
            raise ArgumentError("x has N=0 tokens: expected at least one")
        bad = ~rows.detach().isfinite().all(dim=1)
        if bool(bad.any()):
            raise ArgumentError(f"x has NaN or infinite entries, first in row {int(bad.nonzero()[0])}")
        return rows

    def _gradients(self, grads: Any, x: Any) -> torch.Tensor:
        grads = to_torch(grads)
        if tuple(grads.shape) != tuple(x.shape):
            raise ShapeError(f"grads has shape {tuple(grads.shape)}: expected that of x, {tuple(x.shape)}")
        return grads.reshape(-1, self.d)

    def extra_repr(self) -> str:
        """Sizes, for the printed module."""
        return f"d={self.d}, n_features={self.n_features}, k={self.allocation.k}"


def _geometric_median(x: torch.Tensor, steps: int = 20) -> torch.Tensor:
    """The point with the least sum of distances to the rows (Weiszfeld)."""
    centre = x.mean(dim=0)
    for _ in range(steps):
        near = 1 / (x - centre).norm(dim=1).clamp(min=float(np.finfo(np.float32).eps))
        centre = (near[:, None] * x).sum(dim=0) / near.sum()
    return centre
