"""One diagonal system for all channels: S5, and S5-PTD that differs in where it starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import bad_argument
from gossamer.nn.ssm.convolution import causal_conv
from gossamer.nn.ssm.discretize import DISCRETIZATIONS, discretize
from gossamer.nn.ssm.driven import driven_scan
from gossamer.nn.ssm.initial import initial_system
from gossamer.nn.ssm.kernel import vandermonde
from gossamer.nn.ssm.layer import SSMLayer, chunks, log_uniform, pairs

B_INITS = ("lecun", "hippo")
_LEAST = 1e-4
"""Decay that clipped eigenvalues keep."""


class S5(SSMLayer):
    r"""One system of P states for all H channels, :math:`x_k = \bar\Lambda x_{k-1} + \bar B u_k`,
    :math:`y_k = \mathrm{Re} \sum_n w_n C_n x_{kn} + D \odot u_k`.

    One of every conjugate pair of states is kept, with weight 2; real ones have weight 1. The scan is native; what
    surrounds it are two real matrix products. O(L P H), a step O(P H).

    Parameters
    ----------
    d_model : int
        Channels H.
    d_state : int
        States P, conjugates counted; a multiple of ``blocks``.
    blocks : int
        The state matrix starts as this many copies of one for ``d_state / blocks`` states.
    init : {"legs", "inv", "lin", "ptd"}
        As for :class:`S4D`.
    rel : float
        Size of the perturbation for "ptd".
    B_init : {"lecun", "hippo"}
        Random inputs with variance 1 / H in the basis before diagonalisation; or the input of HiPPO for every channel.
    disc : {"zoh", "bilinear"}
        Discretisation.
    dt_min, dt_max : float
        Between which step sizes start, one a state, log-uniform.
    clip_eigs : bool
        Keep real parts at or below -1e-4.
    bidirectional : bool
        Add a second output C that reads states of the reversed sequence.
    step_rescale : float
        Factor of all step sizes, for data that is sampled at another rate than in training.
    mode : {"scan", "conv"}
        How sequences are computed; both give the same numbers.

    Attributes
    ----------
    re, im : Parameter, shape (M,)
        Eigenvalues.
    B, C : Parameter, shape (M, H, 2) and (1 or 2, H, M, 2)
        Complex numbers as pairs.
    log_dt : Parameter, shape (M,)
    D : Parameter, shape (H,)

    References
    ----------
    Smith, Warrington, Linderman, "Simplified State Space Layers for Sequence Modeling", ICLR 2023.

    Examples
    --------
    >>> import torch
    >>> layer = S5(4, d_state=16, blocks=2)
    >>> y, state = layer(torch.zeros(2, 100, 4), return_state=True)
    >>> y.shape, state.shape
    (torch.Size([2, 100, 4]), torch.Size([2, 8]))
    """

    weights: torch.Tensor

    def __init__(
        self,
        d_model: int,
        d_state: int = 256,
        blocks: int = 8,
        init: str = "legs",
        *,
        rel: float = 0.1,
        B_init: str = "lecun",
        disc: str = "zoh",
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
        clip_eigs: bool = True,
        bidirectional: bool = False,
        step_rescale: float = 1.0,
        mode: str = "scan",
    ) -> None:
        super().__init__(d_model, d_state, bidirectional, mode)
        self.blocks = check_int("blocks", blocks, low=1)
        if d_state % blocks:
            nearest = max(1, round(d_state / blocks)) * blocks
            raise bad_argument(
                "d_state", d_state, f"a multiple of blocks={blocks}", f"nearest valid: {nearest}"
            )
        self.init, self.disc = init, check_choice("disc", disc, DISCRETIZATIONS)
        self.B_init, self.clip_eigs = check_choice("B_init", B_init, B_INITS), bool(clip_eigs)
        self.step_rescale = check_float("step_rescale", step_rescale, low=0, closed="neither")
        start, copies = initial_system(init, d_state // blocks, rel), range(blocks)
        size, kind = d_state // blocks, torch.get_default_dtype()
        Lambda = torch.from_numpy(np.tile(start.Lambda, blocks))
        self.re, self.im = (
            torch.nn.Parameter(part.to(kind)) for part in (Lambda.real.clone(), Lambda.imag.clone())
        )
        self.B = pairs(torch.cat([_inputs(start, size, d_model, B_init) for _ in copies]))
        spread = d_state**-0.5
        C = [
            start.read(_truncated((2 if bidirectional else 1, d_model, _width(start, size)), spread))
            for _ in copies
        ]
        self.C = pairs(torch.from_numpy(np.concatenate(C, axis=-1)))
        self.D = torch.nn.Parameter(torch.randn(d_model))
        self.log_dt = torch.nn.Parameter(log_uniform(len(Lambda), dt_min, dt_max))
        weights = torch.from_numpy(np.tile(start.weights, blocks)).to(kind)
        self.register_buffer("weights", weights, persistent=False)

    @property
    def Lambda(self) -> torch.Tensor:
        """Eigenvalues in continuous time, complex (M,)."""
        re = self._wide(self.re)
        return torch.complex(re.clamp(max=-_LEAST) if self.clip_eigs else re, self._wide(self.im))

    def system(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """``Lbar`` (M,) and ``Bbar`` (M, H) of a step, and the weighted ``C`` (1 or 2, H, M)."""
        dt = self.step_rescale * self._wide(self.log_dt).exp()[:, None]
        Lbar, Bbar = discretize(self.Lambda[:, None], self._complex(self.B), dt, self.disc)
        return Lbar[:, 0], Bbar, self._wide(self.weights) * self._complex(self.C)

    def initial_state(self, batch: int) -> torch.Tensor:
        """The zero state, complex (batch, M)."""
        return self.D.new_zeros(batch, *self.im.shape, dtype=self.compute_dtype.to_complex())

    def impulse_response(self, length: int) -> torch.Tensor:
        """The kernel without ``D``, (H, H, length): outputs, then inputs."""
        Lbar, Bbar, C = self.system()
        gains = C[0][:, None] * Bbar.T  # (H, H, M)
        return vandermonde(gains, Lbar.expand_as(gains), length)

    def _conv(self, u: torch.Tensor) -> torch.Tensor:
        Lbar, Bbar, C = self.system()
        modes, length = Lbar[:, None], u.shape[1]
        one = torch.ones_like(modes)
        powers = torch.complex(vandermonde(one, modes, length), vandermonde(-1j * one, modes, length))
        inputs = _drive(u, Bbar).transpose(1, 2)
        y = _read(causal_conv(inputs, powers).transpose(1, 2), C[0])
        if self.bidirectional:
            y = y + _read(causal_conv(inputs.flip(-1), powers).flip(-1).transpose(1, 2), C[1])
        return y

    def _scan(self, u: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        Lbar, Bbar, C = self.system()
        sums, last = [], state
        for direction, reads in enumerate(C):
            parts, x = [], state
            for part in chunks(u, len(Lbar), bool(direction)):
                y, x = (
                    driven_scan(part, Lbar, Bbar, reads, x, bool(direction)) if part.shape[1] else (part, x)
                )
                parts.append(y)
            last = last if direction else x
            sums.append(torch.cat(parts[::-1] if direction else parts, dim=1) if parts[1:] else parts[0])
        return (sums[0] + sums[1] if self.bidirectional else sums[0]), last

    def _step(self, u: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        Lbar, Bbar, C = self.system()
        state = Lbar * state + _drive(u, Bbar)
        return _read(state, C[0]), state

    def continuous_transfer(self, s: torch.Tensor) -> torch.Tensor:
        """``sum_n w_n / 2 (C_n B_n^T / (s - lambda_n) + conjugates)``, (m, H, H): outputs, then inputs."""
        C, B = self._wide(self.weights) / 2 * self._complex(self.C)[0], self._complex(self.B)
        R, mirrored = (1 / (s[:, None] - part) for part in (self.Lambda, self.Lambda.conj()))
        return (C * R[:, None]) @ B + (C.conj() * mirrored[:, None]) @ B.conj()

    def discrete_transfer(self, q: torch.Tensor) -> torch.Tensor:
        """``sum_l K_l q^l`` of the kernel, (m, H, H)."""
        Lbar, Bbar, C = self.system()
        R, mirrored = (1 / (1 - q[:, None] * part) for part in (Lbar, Lbar.conj()))
        return ((C[0] * R[:, None]) @ Bbar + (C[0].conj() * mirrored[:, None]) @ Bbar.conj()) / 2

    def extra_repr(self) -> str:
        """What ``repr`` says."""
        return (
            f"{self.d_model}, d_state={self.d_state}, blocks={self.blocks}, init={self.init!r}, "
            f"B_init={self.B_init!r}, disc={self.disc!r}, bidirectional={self.bidirectional}, mode={self.mode!r}"
        )


class S5PTD(S5):
    """:class:`S5` that starts from copies of HiPPO-LegS perturbed and diagonalised.

    Parameters
    ----------
    d_model, d_state, blocks, rel, B_init, disc, dt_min, dt_max, clip_eigs, bidirectional, step_rescale, mode
        As for :class:`S5`, whose other attributes and methods it shares.

    References
    ----------
    Yu, Nigmetov, Morozov, Mahoney, Erichson, "Robustifying State-space Models for Long Sequences via Approximate
    Diagonalization", ICLR 2024, arXiv 2310.01698.

    Examples
    --------
    >>> import torch
    >>> S5PTD(4, d_state=32, blocks=2)(torch.zeros(2, 100, 4)).shape
    torch.Size([2, 100, 4])
    """

    def __init__(
        self, d_model: int, d_state: int = 256, blocks: int = 8, rel: float = 0.1, **options: Any
    ) -> None:
        super().__init__(d_model, d_state, blocks, "ptd", rel=rel, **options)


def _drive(u: torch.Tensor, Bbar: torch.Tensor) -> torch.Tensor:
    """``Bbar u`` (..., M) for real u (..., H): one real product, as pairs."""
    weights = torch.view_as_real(Bbar).permute(1, 0, 2).flatten(1)
    return torch.view_as_complex((u @ weights).unflatten(-1, (-1, 2)))


def _read(x: torch.Tensor, C: torch.Tensor) -> torch.Tensor:
    """``Re(C x)`` (..., H) for complex x (..., M): one real product, of pairs with their conjugates."""
    weights = torch.view_as_real(C.conj().resolve_conj()).flatten(1)
    return torch.view_as_real(x).flatten(-2) @ weights.T


def _width(start: Any, size: int) -> int:
    return len(start.Lambda) if start.V is None else size


def _truncated(shape: tuple[int, ...], spread: float) -> np.ndarray:
    """Normal numbers without those beyond two deviations, of the given deviation."""
    # 0.8796 is the deviation that truncation leaves of a unit normal
    return torch.nn.init.trunc_normal_(torch.empty(shape)).double().numpy() * (spread / 0.8796)


def _inputs(start: Any, size: int, d_model: int, B_init: str) -> torch.Tensor:
    if B_init == "hippo":
        return torch.from_numpy(start.B)[:, None].expand(-1, d_model)
    B = torch.randn(_width(start, size), d_model).double().numpy() * d_model**-0.5
    return torch.from_numpy(B.astype(complex) if start.Vinv is None else start.Vinv @ B)


__all__ = ["S5", "S5PTD"]
