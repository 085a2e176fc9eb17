"""Gradients of LoRA adapters of an attention layer, exact or in time linear in the number of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gossamer._core.arrays import is_torch, to_numpy, to_torch
from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.nn.attention.polynomial_attention import MODES, PolynomialAttention

NAMES = ("q", "k", "v")


def lora_attention_gradient(
    X: Any,
    Wq: Any,
    Wk: Any,
    Wv: Any,
    adapters: Mapping[str, tuple[Any, Any]],
    *,
    upstream: Any = None,
    Y: Any = None,
    alpha: float | None = None,
    num_heads: int = 1,
    kv_heads: int | None = None,
    causal: bool = False,
    softmax1: bool = False,
    scale: float | None = None,
    adapt: Sequence[str] = ("q", "v"),
    method: str = "poly",
    eps: float = 1e-3,
    max_features: int = 20_000,
    fallback: str = "raise",
    grad_x: str = "fast",
) -> dict[str, Any]:
    r"""Gradients with respect to low-rank adapters of the projections of softmax attention.

    Weights are :math:`W_a = W_a^* + \frac{\alpha}{r} B_a A_a`, the output :math:`o = \mathrm{softmax}(\beta X W_q (X
    W_k)^T) X W_v`, and the loss :math:`\frac12 \|o - Y\|^2`, or any with slope ``upstream`` in o. With f the softmax
    matrix, :math:`c = \partial L / \partial o` and :math:`p = f \circ (c v^T) - \mathrm{diag}(\langle o_i, c_i \rangle)
    f`: :math:`dW_q = \beta X^T p X W_k`, :math:`dW_k = \beta X^T p^T X W_q`, :math:`dW_v = X^T f^T c`, and
    :math:`dB_a = \frac{\alpha}{r} dW_a A_a^T`, :math:`dA_a = \frac{\alpha}{r} B_a^T dW_a`.

    "poly" replaces f by a product of polynomial features, and p by the chain of low-rank products that follows: time
    linear in L, if norms are small. ``gossamer.nn.lora_norm_report`` says whether they are.

    Parameters
    ----------
    X : array or tensor, shape (L, d) or (batch, L, d)
        Tokens.
    Wq, Wk, Wv : arrays or tensors, shape (d, width)
        Frozen weights; keys and values are ``kv_heads / num_heads`` as wide as queries.
    adapters : mapping of str to (A, B)
        For each of ``adapt``: A of shape (r, width) and B of shape (d, r).
    upstream : array or tensor, shape of the output, optional
        Slope of the loss in the output.
    Y : array or tensor, shape of the output, optional
        Target of the squared loss, in place of ``upstream``.
    alpha : float, optional
        r by default, for a factor of 1.
    num_heads, kv_heads : int
        Heads of queries, and of keys and values (as many by default).
    causal : bool
        Token i sees tokens 0, ..., i.
    softmax1 : bool
        Add 1 to every denominator.
    scale : float, optional
        beta; one over the root of the width of a head by default.
    adapt : sequence of {"q", "k", "v"}
        Projections that have adapters.
    method : {"poly", "exact-forward", "exact", "auto"}
        As the mode of :class:`PolynomialAttention`.
    eps : float
        Relative error of every exponential.
    max_features : int
        Largest number of features.
    fallback : {"raise", "exact"}
        Where ``eps`` takes more: an error, or exact attention with an ``ExactFallbackWarning``.
    grad_x : {"fast", "exact"}
        How ``dX`` is computed; "exact" is quadratic in L whatever the method.

    Returns
    -------
    dict
        ``dA_q``, ``dB_q`` and so on for each of ``adapt``; ``dX``; ``output``; ``info``.

    Raises
    ------
    ShapeError
        Shapes do not fit.
    ArgumentError
        Not exactly one of ``upstream`` and ``Y`` is given, or ``adapt`` and ``adapters`` differ.
    BoundError
        ``eps`` takes more than ``max_features``.

    Notes
    -----
    O(L k1 d^2) time for k1 features; "exact" takes O(L^2 d).

    References
    ----------
    Hu, Su, Kuo, Song, Liu, "Computational Limits of Low-Rank Adaptation (LoRA) for Transformer-Based Models",
    ICLR 2025, arXiv 2406.03136.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.standard_normal((2, 50, 8)) * 0.5
    >>> Wq, Wk, Wv = rng.standard_normal((3, 8, 8)) / 4
    >>> adapters = {a: (rng.standard_normal((2, 8)), rng.standard_normal((8, 2)) / 10) for a in "qv"}
    >>> fast, exact = (
    ...     lora_attention_gradient(X, Wq, Wk, Wv, adapters, Y=Y, method=method) for method in ("poly", "exact")
    ... )
    >>> bool(np.linalg.norm(fast["dA_q"] - exact["dA_q"]) < 1e-2 * np.linalg.norm(exact["dA_q"]))
    True
    """
    check_choice("method", method, MODES)
    check_choice("grad_x", grad_x, ("fast", "exact"))
    if (upstream is None) == (Y is None):
        raise ArgumentError("expected exactly one of upstream and Y")
    if len(set(adapt)) != len(adapt) or set(adapt) != set(adapters) or not set(adapt) <= set(NAMES):
        raise ArgumentError(
            f"adapt={tuple(adapt)!r} and adapters of {sorted(adapters)}: expected the same of q, k, v"
        )
    x = to_torch(check_array("X", X, ndim=(2, 3)))
    weights = {
        name: _matrix(f"W{name}", W, x, (x.shape[-1], None))
        for name, W in zip(NAMES, (Wq, Wk, Wv), strict=True)
    }
    num_heads = check_int("num_heads", num_heads, low=1)
    kv_heads = num_heads if kv_heads is None else check_int("kv_heads", kv_heads, low=1, high=num_heads)
    heads = {"q": num_heads, "k": kv_heads, "v": kv_heads}
    for name, W in weights.items():
        if W.shape[1] % heads[name]:
            raise ShapeError(f"W{name} has {W.shape[1]} columns: expected a multiple of {heads[name]} heads")
    if num_heads % kv_heads or weights["q"].shape[1] // num_heads != weights["k"].shape[1] // kv_heads:
        raise ShapeError(f"heads of queries and keys do not fit: {num_heads} and {kv_heads}")
    attention = PolynomialAttention(
        method, eps=eps, causal=causal, softmax1=softmax1, max_features=max_features, fallback=fallback
    )
    with torch.enable_grad():
        leaves: dict[str, torch.Tensor] = {"X": x.detach().clone().requires_grad_()}
        adapted = dict(weights)
        for name in adapt:
            A, B = adapters[name]
            width = weights[name].shape[1]
            A = _matrix(f"A of adapter {name}", A, x, (None, width)).detach().clone().requires_grad_()
            B = (
                _matrix(f"B of adapter {name}", B, x, (x.shape[-1], A.shape[0]))
                .detach()
                .clone()
                .requires_grad_()
            )
            if not len(A):
                raise ShapeError(f"adapter {name} has rank 0: expected r >= 1")
            factor = 1.0 if alpha is None else check_float("alpha", alpha) / len(A)
            adapted[name] = weights[name] + factor * (B @ A)
            leaves |= {f"A_{name}": A, f"B_{name}": B}
        inputs, twins = leaves["X"], None
        if grad_x == "exact":
            frozen = {name: W.detach() for name, W in adapted.items()}
            twins = tuple(_heads(inputs @ frozen[name], heads[name], num_heads) for name in NAMES)
            inputs = inputs.detach()
        q, k, v = (_heads(inputs @ adapted[name], heads[name], num_heads) for name in NAMES)
        info = attention.explain(q, k, v, scale)
        output = attention(q, k, v, scale, twins=twins).transpose(-3, -2).flatten(-2)
        if upstream is not None:
            slope = _output("upstream", upstream, output)
        else:
            slope = output.detach() - _output("Y", Y, output)
        slopes = torch.autograd.grad(output, list(leaves.values()), slope)
    results: dict[str, Any] = {f"d{name}": s for name, s in zip(leaves, slopes, strict=True)}
    results["output"] = output.detach()
    if not is_torch(X):
        results = {name: to_numpy(value) for name, value in results.items()}
    return results | {"info": info}


def _matrix(name: str, value: Any, x: torch.Tensor, shape: tuple[int | None, int | None]) -> torch.Tensor:
    matrix = to_torch(check_array(name, value, ndim=2))
    if any(wanted not in (None, size) for wanted, size in zip(shape, matrix.shape, strict=True)):
        wanted_shape = ", ".join("any" if size is None else str(size) for size in shape)
        raise ShapeError(f"{name} has shape {tuple(matrix.shape)}: expected ({wanted_shape})")
    if matrix.dtype != x.dtype:
        raise ArgumentError(f"{name} is {matrix.dtype}: expected {x.dtype}, as X")
    return matrix


def _output(name: str, value: Any, output: torch.Tensor) -> torch.Tensor:
    array = to_torch(check_array(name, value, ndim=output.ndim))
    if array.shape != output.shape:
        raise ShapeError(
            f"{name} has shape {tuple(array.shape)}: expected {tuple(output.shape)}, as the output"
        )
    return array.to(output.dtype)


def _heads(x: torch.Tensor, heads: int, wanted: int) -> torch.Tensor:
    """(..., heads, L, width of a head), each repeated for the queries that share it."""
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2).repeat_interleave(wanted // heads, -3)


__all__ = ["lora_attention_gradient"]
