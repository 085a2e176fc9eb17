"""Gaunt tensor products of NumPy arrays and torch tensors, differentiable to any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer._core.arrays import Array, is_torch
from gossamer._core.checks import check_int
from gossamer._core.errors import UnsupportedError
from gossamer._kernels.gaunt import MAX_FACTORS
from gossamer.linalg.products.gaunt.engines import GauntPlan, check_product, multiply, plan
from gossamer.linalg.products.gaunt.factors import Degrees
from gossamer.linalg.transforms.spherical.harmonics import check_degree


def gaunt_product(x: Array, y: Array, L1: int, L2: int, L3: int | None = None, engine: str = "auto") -> Array:
    r"""Multiply two functions on the sphere by their spherical-harmonic coefficients.

    .. math:: z_{l_3 m_3} = \sum_{l_1 m_1} \sum_{l_2 m_2} G_{l_1 m_1, l_2 m_2, l_3 m_3} \, x_{l_1 m_1} y_{l_2 m_2}
              \quad\Leftrightarrow\quad F_z = F_x F_y

    The tensor product of equivariant networks with all paths whose degrees have an even sum; odd paths (cross products,
    pseudovectors) are not in it. Functions and projections commute with rotations, hence so does the product.
    Associative as long as nothing is cut: pass the whole degree between products.

    Parameters
    ----------
    x : array, shape (..., (L1 + 1)**2)
        NumPy or torch on a CPU; float32 or float64, other floating types are computed in float32.
    y : array, shape (..., (L2 + 1)**2)
        The leading axes broadcast against those of x.
    L1, L2 : int
        Largest degrees, at most 64.
    L3 : int, optional
        Degree to which the product is cut; by default ``L1 + L2``, which is all of it.
    engine : {"auto", "sphere-grid", "torus-grid", "fourier", "dense"}
        All compute the same. ``"sphere-grid"``: Gauss-Legendre nodes, the smallest grid that is exact for L3.
        ``"torus-grid"``: equidistant samples of the Fourier series. ``"fourier"``: convolution of the Fourier
        coefficients, direct or by FFT, as in the paper. ``"dense"``: the table of Gaunt coefficients, O(L^5).
        ``"auto"``: the sphere grid, or for ``L1 + L2 + L3 <= 6`` the table where that measures clearly faster
        (:func:`gaunt_plan` tells).

    Returns
    -------
    array, shape (..., (L3 + 1)**2)
        Kind and dtype of the inputs.

    Raises
    ------
    ArgumentError
        If a last axis is not ``(L + 1)**2``, a degree exceeds 64, or the engine is unknown.

    Warns
    -----
    UserWarning
        If ``L3 > L1 + L2``: what lies beyond is zero.

    Notes
    -----
    O(L^3) operations and O(L^2) memory for a pair. The derivative in one factor is the product of the other with the
    slope of the result, another Gaunt product; so are all higher ones.

    References
    ----------
    Luo, Chen, Krishnapriyan. Gaunt Tensor Products. ICLR 2024, arXiv 2401.10216.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.nn import gaunt_product
    >>> x = np.random.default_rng(0).normal(size=(100, 49))
    >>> gaunt_product(x, x, L1=6, L2=6, L3=6).shape
    (100, 49)
    """
    out = check_degree("L1", L1) + check_degree("L2", L2) if L3 is None else L3
    degrees = Degrees((L1, L2), (1, 1), out)
    check_product(("x", "y"), (x, y), degrees, engine)
    return _dispatch((x, y), degrees, engine)


def gaunt_power(x: Array, power: int, L: int, L_out: int, engine: str = "auto") -> Array:
    r"""Coefficients of :math:`F_x^\nu`, cut to a degree: the many-body product of a feature with itself.

    Computed on one grid that is fine enough for :math:`\nu L + L_\text{out}`, or in Fourier space; nothing is cut
    on the way. Differentiable to any order.

    Parameters
    ----------
    x : array, shape (..., (L + 1)**2)
        Coefficients in NumPy or torch.
    power : int
        :math:`\nu`, from 1 to 8.
    L, L_out : int
        Degrees of x and of the result.
    engine : str
        As in :func:`gaunt_product`; ``"fourier"`` raises the samples of the Fourier series to the power.

    Returns
    -------
    array, shape (..., (L_out + 1)**2)
    """
    check_int("power", power, low=1, high=MAX_FACTORS)
    degrees = Degrees((check_degree("L", L),), (power,), check_degree("L_out", L_out))
    check_product(("x",), (x,), degrees, engine)
    return _dispatch((x,), degrees, engine)


def gaunt_multiply(
    factors: Sequence[Array], degrees: Sequence[int], L_out: int, engine: str = "auto"
) -> Array:
    """Coefficients of the product of 2 to 8 functions on one grid, cut at the end, as :func:`gaunt_product` has it.

    Parameters
    ----------
    factors : sequence of array, shapes (..., (L_i + 1)**2)
        Coefficients; leading axes broadcast.
    degrees : sequence of int
        L_i.
    L_out : int
        Degree of the result.
    engine : str
        As in :func:`gaunt_product`.
    """
    check_int("the number of factors", len(factors), low=2, high=MAX_FACTORS)
    whole = Degrees(tuple(degrees), (1,) * len(factors), L_out)
    check_product([f"factors[{i}]" for i in range(len(factors))], factors, whole, engine)
    return _dispatch(factors, whole, engine)


def gaunt_plan(L1: int, L2: int, L3: int, dtype: Any = "float32") -> GauntPlan:
    """Tell which engine ``"auto"`` runs, and time all of them: seconds for a product on one core.

    Parameters
    ----------
    L1, L2, L3 : int
        Degrees of the factors and of the result.
    dtype : str or dtype
        float32 or float64.
    """
    degrees = Degrees((check_degree("L1", L1), check_degree("L2", L2)), (1, 1), check_degree("L3", L3))
    name = str(dtype).rsplit(".", 1)[-1]
    return GauntPlan(plan(degrees, name).engine, plan(degrees, name, every=True).seconds)


def _dispatch(arrays: Sequence[Array], degrees: Degrees, engine: str) -> Array:
    if any(is_torch(array) for array in arrays):
        return tensor_product(arrays, degrees, engine)
    dtype = np.result_type(*arrays)
    wide = np.float64 if dtype == np.float64 else np.float32
    if dtype.kind != "f":
        raise UnsupportedError(f"the arrays are {dtype}: expected real floating point")
    return multiply([np.asarray(a, wide) for a in arrays], degrees, engine).astype(dtype, copy=False)


def tensor_product(tensors: Sequence[Any], degrees: Degrees, engine: str) -> Any:
    """The product of torch tensors, whose arguments have been checked."""
    import torch

    from gossamer.nn.equivariant.gaunt_autograd import GauntFunction

    tensors = [torch.as_tensor(tensor) for tensor in tensors]
    for tensor in tensors:
        if tensor.device.type != "cpu":
            raise UnsupportedError(f"a tensor is on {tensor.device}: expected tensors on the CPU")
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    if not dtype.is_floating_point:
        raise UnsupportedError(f"the tensors are {dtype}: expected real floating point")
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return GauntFunction.apply(degrees, engine, *(tensor.to(wide) for tensor in tensors)).to(dtype)
