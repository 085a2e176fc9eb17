"""A linear layer whose weight is a structured matrix, and the exchange of a model's linear layers for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.linalg.operator import Structure, StructuredMatrix


class _Factors(torch.nn.Module):
    """Holds tensors under dotted names, one child module a prefix, and keeps their dtypes for good.

    The dtype of a factor belongs to the format of its matrix: ``model.half()`` must not touch a float32 scale, nor
    ``model.float()`` the packed codes.
    """

    def _register(self, tensors: Mapping[str, torch.Tensor], trainable: bool) -> None:
        for name, tensor in tensors.items():
            head, dot, rest = name.partition(".")
            if dot:
                if head not in self._modules:
                    self.add_module(head, _Factors())
                child = self._modules[head]
                assert isinstance(child, _Factors)
                child._register({rest: tensor}, trainable)
            elif trainable and tensor.is_floating_point():
                self.register_parameter(name, torch.nn.Parameter(tensor.detach().contiguous()))
            else:
                self.register_buffer(name, tensor.detach().contiguous())

    def _find(self, name: str) -> torch.Tensor:
        head, dot, rest = name.partition(".")
        if dot:
            child = self._modules[head]
            assert isinstance(child, _Factors)
            return child._find(rest)
        tensor = self._parameters[head] if head in self._parameters else self._buffers[head]
        assert tensor is not None
        return tensor

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> _Factors:
        return super()._apply(lambda tensor: _keep_dtype(fn, tensor), recurse)


def _keep_dtype(fn: Callable[[torch.Tensor], torch.Tensor], tensor: torch.Tensor) -> torch.Tensor:
    result = fn(tensor)
    return result if result.dtype == tensor.dtype else tensor.to(result.device)


class StructuredLinear(_Factors):
    r"""``y = x A^T + b`` with a structured matrix ``A``: a drop-in for :class:`torch.nn.Linear`.

    Float factors of ``A`` are parameters, integer ones (indices, codes) are buffers; both stand in the
    ``state_dict`` under the factor's name. Without gradients the product runs by the family's native kernel; with
    them, by torch operations on the factors. :meth:`from_linear` turns a trained layer into one.

    Parameters
    ----------
    in_features, out_features : int
        K and O.
    bias : bool
        Whether there is a ``b``.
    structure : Structure, optional
        The family; the usual initialisation of a linear layer is projected onto it.
    matrix : StructuredMatrix, shape (O, K), optional
        The weight, in place of ``structure``.
    trainable : bool
        Whether float factors are parameters; else they are buffers too.

    Raises
    ------
    ArgumentError
        If not exactly one of ``structure`` and ``matrix`` is given, or shapes do not fit.

    Notes
    -----
    ``half()``, ``to(torch.bfloat16)`` and the like cast the bias only: the structure says how factors are stored.
    Inputs of any float dtype are accepted and set the dtype of the result. ``layer.weight`` is the dense weight,
    computed when asked for, for code that reads it.

    Examples
    --------
    >>> import torch
    >>> from gossamer.linalg import LowRank
    >>> from gossamer.nn import StructuredLinear
    >>> layer = StructuredLinear(64, 32, structure=LowRank(4))
    >>> layer(torch.zeros(2, 5, 64)).shape
    torch.Size([2, 5, 32])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        structure: Structure | None = None,
        matrix: StructuredMatrix | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__()
        self.in_features = check_int("in_features", in_features, low=1)
        self.out_features = check_int("out_features", out_features, low=1)
        if (structure is None) == (matrix is None):
            raise ArgumentError("expected exactly one of structure and matrix")
        shape = (self.out_features, self.in_features)
        bound = 1 / math.sqrt(self.in_features)
        if matrix is None:
            assert structure is not None
            if not isinstance(structure, Structure):
                raise UnsupportedError(f"structure is a {type(structure).__name__}: expected a Structure")
            matrix = structure.project(torch.empty(shape).uniform_(-bound, bound))
        if matrix.shape != shape:
            raise ShapeError(
                f"matrix has shape {matrix.shape}: expected (out_features, in_features) = {shape}"
            )
        self._template = type(matrix), matrix.structure, matrix.tags
        self._names = tuple(matrix.factors)
        self._register(matrix.torch().factors, trainable)
        self.bias: torch.nn.Parameter | None
        self.register_parameter(
            "bias", torch.nn.Parameter(torch.empty(out_features).uniform_(-bound, bound)) if bias else None
        )
        self.register_load_state_dict_post_hook(_check_loaded)

    @classmethod
    def from_linear(
        cls,
        linear: torch.nn.Linear,
        structure: Structure | StructuredMatrix,
        metric: Any = None,
        trainable: bool = True,
    ) -> StructuredLinear:
        """Project the weight of a linear layer onto a family; the bias is kept.

        Parameters
        ----------
        linear : torch.nn.Linear
            The layer; it is not changed.
        structure : Structure or StructuredMatrix
            The family, or a member that was fitted already.
        metric : None or array, shape (K,) or (K, K)
            Second moment of the layer's inputs, as in :meth:`Structure.project`.
        trainable : bool
            As in the constructor.
        """
        if not isinstance(linear, torch.nn.Linear):
            raise UnsupportedError(f"linear is a {type(linear).__name__}: expected torch.nn.Linear")
        if isinstance(structure, Structure):
            matrix = structure.project(linear.weight.detach(), metric)
        else:
            matrix = structure
        layer = cls(linear.in_features, linear.out_features, False, matrix=matrix, trainable=trainable)
        if linear.bias is not None:
            layer.bias = torch.nn.Parameter(linear.bias.detach().clone(), linear.bias.requires_grad)
        return layer.train(linear.training).to(linear.weight.device)

    def to_linear(self) -> torch.nn.Linear:
        """The dense layer with the same weight and bias."""
        weight = self.matrix.to_dense().detach()
        dtype = weight.dtype if self.bias is None else self.bias.dtype
        linear = torch.nn.Linear(
            self.in_features, self.out_features, self.bias is not None, weight.device, dtype
        )
        with torch.no_grad():
            linear.weight.copy_(weight)
            if self.bias is not None:
                linear.bias.copy_(self.bias)
        return linear.train(self.training)

    @property
    def structure(self) -> Structure:
        """The family of the weight."""
        return self._template[1]

    @property
    def matrix(self) -> StructuredMatrix:
        """The weight, sharing memory with the parameters and buffers."""
        tensors = {name: self._find(name) for name in self._names}
        # factors are checked again whenever a tensor was exchanged, or an integer one written to: kernels trust them
        state = tuple((tensor, _version(tensor)) for tensor in tensors.values())
        known = self.__dict__.get("_checked")
        if known is None or any(
            a[0] is not b[0] or a[1] != b[1] for a, b in zip(known[0], state, strict=True)
        ):
            kind, structure, tags = self._template
            member = kind(structure, (self.out_features, self.in_features), tensors)
            known = self.__dict__["_checked"] = (state, member.tagged(*tags))
        return known[1]

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> StructuredLinear:
        super()._apply(fn, recurse)
        if self.bias is not None:
            self.bias.data = fn(self.bias.data)
            if self.bias.grad is not None:
                self.bias.grad = fn(self.bias.grad)
        return self

    def __getattr__(self, name: str) -> Any:
        if name == "weight" and "_names" in self.__dict__ and "weight" not in self._names:
            return self.matrix.to_dense()
        return super().__getattr__(name)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_checked", None)
        return state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x A^T + b`` for ``x`` of shape (..., K)."""
        if x.shape[-1] != self.in_features:
            raise ShapeError(f"x has shape {tuple(x.shape)}: expected {self.in_features} in the last place")
        rows = x.reshape(-1, self.in_features)
        y = (self.matrix @ rows.T).T.reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def extra_repr(self) -> str:
        """The sizes, the structure and what it takes to store."""
        bits = self.matrix.bits_per_weight
        sizes = (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )
        return f"{sizes}, structure={self.structure}, {self.matrix.nbytes} bytes ({bits:.3g} bits a weight)"


def _check_loaded(layer: torch.nn.Module, keys: Any) -> None:
    assert isinstance(layer, StructuredLinear)
    layer.matrix  # noqa: B018  (refuses loaded indices that kernels could not walk)


def _version(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_floating_point() or tensor.is_inference() else tensor._version


Choice = Structure | StructuredMatrix | StructuredLinear | None


def replace_linears(
    model: torch.nn.Module,
    structure: Structure | Callable[[str, torch.nn.Linear], Choice],
    *,
    trainable: bool = True,
) -> torch.nn.Module:
    """Exchange the linear layers of a model for structured ones, in place.

    Parameters
    ----------
    model : torch.nn.Module
        The model; its :class:`torch.nn.Linear` modules are exchanged where they stand, and so are the ``Conv1D`` ones
        of transformers' GPT-2, which hold the transposed weight. A layer used in several places stays one layer. A
        weight shared with another module (a tied head) is no longer shared: let the function return None to leave such
        a layer alone.
    structure : Structure or callable
        One family for all, or a function of the layer's name and the layer that returns a family, a fitted
        matrix, a layer that was made of it, or None to leave the layer as it is.
    trainable : bool
        Whether float factors are parameters.

    Returns
    -------
    torch.nn.Module
        ``model``, or its replacement if the model itself is a linear layer.
    """
    done: dict[torch.nn.Module, torch.nn.Module] = {}

    def replaced(name: str, module: torch.nn.Module) -> torch.nn.Module:
        if module not in done:
            linear = _as_linear(module)
            assert linear is not None
            choice = structure if isinstance(structure, Structure) else structure(name, linear)
            if choice is None or isinstance(choice, StructuredLinear):
                done[module] = module if choice is None else choice
            elif isinstance(choice, (Structure, StructuredMatrix)):
                done[module] = StructuredLinear.from_linear(linear, choice, trainable=trainable)
            else:
                raise UnsupportedError(
                    f"{name}: got a {type(choice).__name__}, expected Structure, StructuredMatrix or None"
                )
        return done[module]

    if not isinstance(structure, Structure) and not callable(structure):
        raise UnsupportedError(
            f"structure is a {type(structure).__name__}: expected a Structure or a function"
        )
    if _as_linear(model) is not None:
        return replaced("", model)
    for name, parent in list(model.named_modules()):
        for child_name, child in list(parent._modules.items()):
            if child is not None and _as_linear(child) is not None:
                setattr(parent, child_name, replaced(f"{name}.{child_name}".lstrip("."), child))
    return model


def _as_linear(module: torch.nn.Module) -> torch.nn.Linear | None:
    """A linear layer as it is, the Conv1D of transformers as one on the transposed weight; None for the rest."""
    if isinstance(module, torch.nn.Linear):
        return module
    if type(module).__name__ != "Conv1D" or not hasattr(module, "nf"):
        return None
    weight, bias = module.get_parameter("weight"), module.get_parameter("bias")
    linear = torch.nn.Linear(weight.shape[0], weight.shape[1], device="meta")
    linear.weight = torch.nn.Parameter(weight.detach().T, weight.requires_grad)
    linear.bias = bias
    return linear.train(module.training)


__all__ = ["StructuredLinear", "replace_linears"]
