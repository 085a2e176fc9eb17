"""Transfer functions: what a layer does to each frequency, and how far an initialisation is from HiPPO."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import UnsupportedError
from gossamer._core.random import check_random_state
from gossamer.linalg.dynamics.hippo import hippo, hippo_normal
from gossamer.linalg.dynamics.ptd import hippo_ptd
from gossamer.nn.ssm.layer import SSMLayer

GAPS = ("legs", "ptd", "random")


@torch.no_grad()
def transfer_function(layer: SSMLayer, omega: Any, discrete: bool = False) -> torch.Tensor:
    r"""Return the response of a layer to :math:`e^{i \omega t}`, with its term D.

    Parameters
    ----------
    layer : SSMLayer
        As :class:`S4`, :class:`S4D` or :class:`S5`.
    omega : array or tensor, shape (m,)
        Angular frequencies: in each channel's own unit of time, in which a step lasts :math:`\Delta`; or radians a
        step, if ``discrete``.
    discrete : bool
        The response of the discretised layer, which is the Fourier transform of its kernel.

    Returns
    -------
    complex tensor, shape (m, H) or (m, H, H)
        For layers that mix channels: outputs, then inputs.

    Raises
    ------
    UnsupportedError
        The layer is no state-space layer.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import S4D, transfer_function
    >>> transfer_function(S4D(3, d_state=8), torch.linspace(0, 10, 5)).shape
    torch.Size([5, 3])
    """
    if not isinstance(layer, SSMLayer):
        raise UnsupportedError(f"layer is a {type(layer).__name__}: expected an SSMLayer")
    points = torch.as_tensor(omega, dtype=torch.float64).reshape(-1)
    points = points.to(layer.compute_dtype)
    zero = torch.zeros_like(points)
    if discrete:
        G = layer.discrete_transfer(torch.polar(torch.ones_like(points), -points))
    else:
        G = layer.continuous_transfer(torch.complex(zero, points))
    D = layer.D.to(layer.compute_dtype)
    return G + (torch.diag(D) if G.ndim == 3 else D)


@torch.no_grad()
def impulse_response(layer: SSMLayer, length: int) -> torch.Tensor:
    """Return the first values of a layer's kernel, D included.

    Parameters
    ----------
    layer : SSMLayer
        As :class:`S4`, :class:`S4D` or :class:`S5`.
    length : int
        Values, at least 1.

    Returns
    -------
    tensor, shape (H, length) or (H, H, length)
    """
    if not isinstance(layer, SSMLayer):
        raise UnsupportedError(f"layer is a {type(layer).__name__}: expected an SSMLayer")
    K = layer.impulse_response(check_int("length", length, low=1)).clone()
    D = layer.D.to(layer.compute_dtype)
    K[..., 0] += torch.diag(D) if K.ndim == 3 else D
    return K


def transfer_gap(
    name: str, n: int, omegas: Any = None, *, rel: float = 0.1, random_state: Any = 0
) -> tuple[float, float]:
    r"""Return how far the transfer function of an initialisation is from that of HiPPO-LegS.

    The largest :math:`|G_{HiPPO}(i\omega) - G(i\omega)|` over outputs C of unit norm and over :math:`\omega`, which is
    the norm of the difference of states. For "legs" it is about :math:`2 n / \pi`, at :math:`\omega = n^2 / \pi`;
    HiPPO's own states have norm 1 at most.

    Parameters
    ----------
    name : {"legs", "ptd", "random"}
        S4D-LegS, which drops the low-rank term; :func:`gossamer.linalg.hippo_ptd`; or a random perturbation of the same
        norm as the latter's.
    n : int
        States.
    omegas : array, optional
        Where to look; by default 400 points up to ``0.4 n^2`` and, close to every eigenvalue, seven more.
    rel : float
        Size of the perturbation.
    random_state : int or Generator
        Of the random perturbation.

    Returns
    -------
    (float, float)
        The largest difference, and its angular frequency.

    References
    ----------
    Yu, Nigmetov, Morozov, Mahoney, Erichson, ICLR 2024, arXiv 2310.01698.

    Examples
    --------
    >>> from gossamer.nn import transfer_gap
    >>> gap, omega = transfer_gap("legs", 16)
    >>> round(gap, 1), round(omega)
    (10.0, 81)
    """
    check_choice("name", name, GAPS)
    h = hippo_normal(n)
    if name == "legs":
        values, points = h.Lambda, _points(n, omegas, h.Lambda)
        return _largest(h.states(points) - h.diagonal_states(points), points)
    A, B = hippo(n)
    if name == "ptd":
        r = hippo_ptd(n, rel)
        points = _points(n, omegas, np.concatenate([r.Lambda, h.Lambda]))
        return _largest(h.states(points) @ h.V.T - r.states(B, points), points)
    E = check_random_state(random_state).standard_normal((n, n))
    values, V = np.linalg.eig(A + E * (rel * np.linalg.norm(A, 2) / np.linalg.norm(E, 2)))
    points = _points(n, omegas, np.concatenate([values, h.Lambda]))
    states = (np.linalg.solve(V, B) / (1j * points[:, None] - values)) @ V.T
    return _largest(h.states(points) @ h.V.T - states, points)


def _points(n: int, omegas: Any, values: np.ndarray) -> np.ndarray:
    if omegas is not None:
        return np.asarray(omegas, float).reshape(-1)
    near = np.abs(values.imag)[:, None] + np.array([-1, -0.3, -0.1, 0, 0.1, 0.3, 1])
    return np.concatenate([np.linspace(0, 0.4 * n * n, 400), near.ravel()])


def _largest(difference: np.ndarray, points: np.ndarray) -> tuple[float, float]:
    sizes = np.linalg.norm(difference, axis=1)
    place = int(sizes.argmax())
    return float(sizes[place]), float(points[place])


__all__ = ["impulse_response", "transfer_function", "transfer_gap"]
