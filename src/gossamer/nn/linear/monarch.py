"""Monarch layers, and the exchange of a model's linear layers for them."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ShapeError, UnsupportedError
from gossamer._core.results import Result
from gossamer.linalg.metric import weighted_error
from gossamer.linalg.monarch_autograd import monarch_product
from gossamer.linalg.operator import StructuredMatrix
from gossamer.linalg.structures.monarch import Monarch, MonarchMatrix
from gossamer.nn.linear.structured import Choice, StructuredLinear, replace_linears


class MonarchLinear(StructuredLinear):
    r"""A linear layer whose weight is the product of two block-diagonal factors and a permutation.

    Forward and backward run by one native kernel a factor. Four blocks halve the operations of a square layer, eight
    quarter them; :class:`gossamer.linalg.Monarch` has the formula.

    Parameters
    ----------
    in_features, out_features : int
        K and O, each at least ``nblocks``.
    bias : bool
        Whether there is a bias.
    nblocks : int or (int, int)
        Blocks of both factors, or of each.
    rank : int, optional
        Rank of the slices; by default what the smaller side of the blocks allows.
    init : {"kaiming", "dense"}
        Factors uniform in ``1 / sqrt(fan_in)`` of each, for training from the start; or the projection of the usual
        initialisation of a dense layer.
    device, dtype : optional
        Of the parameters; float32 or float64.

    Notes
    -----
    Decay of the factors is not decay of their product: use half the weight decay of the dense layer, or none.

    References
    ----------
    Dao et al., "Monarch: Expressive structured matrices for efficient and accurate training", ICML 2022.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import MonarchLinear
    >>> layer = MonarchLinear(64, 128, nblocks=4)
    >>> layer(torch.zeros(2, 64)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([2, 128]), 3200)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        nblocks: int | tuple[int, int] = 4,
        rank: int | None = None,
        init: str = "kaiming",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        check_choice("init", init, ("kaiming", "dense"))
        check_int("in_features", in_features, low=1)
        check_int("out_features", out_features, low=1)
        structure = Monarch(nblocks, rank=rank)
        kind = dtype or torch.get_default_dtype()
        if kind not in (torch.float32, torch.float64):
            raise UnsupportedError(f"dtype={kind}: expected torch.float32 or torch.float64")
        if init == "dense":
            bound = 1 / math.sqrt(in_features)
            weight = torch.empty(out_features, in_features, dtype=kind).uniform_(-bound, bound)
            matrix = structure.project(weight)
        else:
            matrix = fresh(structure, (out_features, in_features), kind)
        super().__init__(in_features, out_features, bias, matrix=matrix)
        if self.bias is not None:
            bound = 1 / math.sqrt(out_features)
            self.bias = torch.nn.Parameter(torch.empty(out_features, dtype=kind).uniform_(-bound, bound))
        if device is not None:
            self.to(device)

    @classmethod
    def from_linear(  # type: ignore[override]
        cls,
        linear: torch.nn.Linear,
        nblocks: int | tuple[int, int] = 4,
        rank: int | None = None,
        metric: Any = None,
    ) -> StructuredLinear:
        """Project the weight of a trained layer; the bias is kept.

        Parameters
        ----------
        linear : torch.nn.Linear
            The layer; it is not changed.
        nblocks, rank : int
            As in the constructor.
        metric : None or array, shape (K,) or (K, K)
            Second moment of the layer's inputs, as in :meth:`Structure.project`.
        """
        if not isinstance(linear, torch.nn.Linear):
            raise UnsupportedError(f"linear is a {type(linear).__name__}: expected torch.nn.Linear")
        matrix = Monarch(nblocks, rank=rank).project(linear.weight.detach(), metric)
        return cls._in_place_of(linear, matrix)

    @classmethod
    def _in_place_of(cls, linear: torch.nn.Linear, matrix: StructuredMatrix) -> StructuredLinear:
        layer = cls.__new__(cls)
        StructuredLinear.__init__(layer, linear.in_features, linear.out_features, False, matrix=matrix)
        if linear.bias is not None:
            layer.bias = torch.nn.Parameter(linear.bias.detach().clone(), linear.bias.requires_grad)
        return layer.train(linear.training).to(linear.weight.device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x A^T + b`` for ``x`` of shape (..., K): products and bias in one pass."""
        matrix = self.matrix
        assert isinstance(matrix, MonarchMatrix)
        w1, w2 = (matrix.factors[name] for name in ("w1", "w2"))
        if x.dtype != w1.dtype or (self.bias is not None and self.bias.dtype != w1.dtype):
            return super().forward(x)
        if x.shape[-1] != self.in_features:
            raise ShapeError(f"x has shape {tuple(x.shape)}: expected {self.in_features} in the last place")
        rows = x.reshape(-1, self.in_features)
        y = monarch_product(w1, w2, rows.T, matrix.sizes, matrix.shape, self.bias)
        return y.T.reshape(*x.shape[:-1], self.out_features)


def fresh(structure: Monarch, shape: tuple[int, int], dtype: torch.dtype) -> MonarchMatrix:
    """A random member: every factor uniform in one over the root of its last side."""
    k, q, p, l, s, r = structure.sizes(shape)
    w1 = torch.empty(k, q, p, dtype=dtype).uniform_(-1 / math.sqrt(p), 1 / math.sqrt(p))
    w2 = torch.empty(l, s, r, dtype=dtype).uniform_(-1 / math.sqrt(r), 1 / math.sqrt(r))
    return MonarchMatrix(structure, shape, {"w1": w1, "w2": w2})


@dataclass(frozen=True)
class MonarchLayer:
    """What became of one layer.

    Attributes
    ----------
    name : str
        Of the module.
    shape : (int, int)
        Rows and columns of its weight.
    parameters, flops : (int, int)
        Of the weight before and after; operations for one input.
    relative_error : float
        ``||W - A||_F / ||W||_F`` of the projection; NaN for fresh factors.
    """

    name: str
    shape: tuple[int, int]
    parameters: tuple[int, int]
    flops: tuple[int, int]
    relative_error: float


@dataclass(frozen=True, repr=False)
class MonarchReport(Result):
    """What :func:`monarchize` exchanged.

    Attributes
    ----------
    layers : tuple of MonarchLayer
        In the order of the model.
    parameters, flops : (int, int)
        Of the whole model before and after, and of its exchanged layers for one input.
    """

    layers: tuple[MonarchLayer, ...]
    parameters: tuple[int, int]
    flops: tuple[int, int]


def monarchize(
    model: torch.nn.Module,
    nblocks: int | tuple[int, int] = 4,
    *,
    rank: int | None = None,
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
    min_features: int = 256,
    method: str = "project",
    metrics: Any = None,
) -> tuple[torch.nn.Module, MonarchReport]:
    """Exchange the linear layers of a model for Monarch layers, in place.

    Projected factors start a fine-tuning from a trained model (dense to sparse), fresh ones a training from nothing.
    :func:`densify` goes back.

    Parameters
    ----------
    model : torch.nn.Module
        The model: its ``torch.nn.Linear`` layers, and transformers' ``Conv1D`` ones. Layers whose weight another
        module shares, such as a tied head, are left alone.
    nblocks, rank : int
        As in :class:`gossamer.linalg.Monarch`.
    include, exclude : sequence of str
        Patterns of module names, as a shell has them: ``("*mlp*", "*attn*")``.
    min_features : int
        Layers with a smaller side are left alone.
    method : {"project", "fresh"}
        The nearest Monarch matrix of each weight, or random factors.
    metrics : mapping of str to array, optional
        Second moments of the inputs of layers, by name, for the projection.

    Returns
    -------
    model, report : Module, MonarchReport
        The same model, and what was exchanged with parameters and operations before and after.

    Raises
    ------
    ArgumentError
        For an unknown method, or blocks that a chosen layer cannot fill.
    """
    check_choice("method", method, ("project", "fresh"))
    check_int("min_features", min_features, low=1)
    structure = Monarch(nblocks, rank=rank)
    before = sum(p.numel() for p in model.parameters())
    users: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            users[id(parameter)] = users.get(id(parameter), 0) + 1
    layers: list[MonarchLayer] = []

    def choose(name: str, linear: torch.nn.Linear) -> Choice:
        wanted = any(fnmatch.fnmatch(name, pattern) for pattern in include)
        shape = (linear.out_features, linear.in_features)
        if not wanted or any(fnmatch.fnmatch(name, pattern) for pattern in exclude):
            return None
        if min(shape) < min_features or users.get(id(linear.weight), 1) > 1:
            return None
        weight = linear.weight.detach()
        if method == "fresh":
            matrix, error = fresh(structure, shape, weight.dtype), math.nan
        else:
            member = structure.project(weight, (metrics or {}).get(name))
            size = float((to_numpy(weight).astype(float) ** 2).sum())
            error = math.sqrt(weighted_error(weight, member.to_dense()) / size) if size else 0.0
            assert isinstance(member, MonarchMatrix)
            matrix = member
        numbers = sum(f.numel() for f in matrix.factors.values())
        dense = shape[0] * shape[1]
        layers.append(MonarchLayer(name, shape, (dense, numbers), (2 * dense, matrix.flops()), error))
        return MonarchLinear._in_place_of(linear, matrix)

    model = replace_linears(model, choose)
    after = sum(p.numel() for p in model.parameters())
    dense, sparse = (sum(layer.flops[i] for layer in layers) for i in (0, 1))
    message = f"{len(layers)} layers exchanged"
    report = MonarchReport(
        message=message, layers=tuple(layers), parameters=(before, after), flops=(dense, sparse)
    )
    return model, report


__all__ = ["MonarchLayer", "MonarchLinear", "MonarchReport", "monarchize"]
