"""Diagonal layers with one system a channel: S4D, and S4-PTD that differs in where it starts."""

from __future__ import annotations

from typing import Any

import torch

from gossamer._core.checks import check_choice
from gossamer.nn.ssm.convolution import convolve_directions
from gossamer.nn.ssm.discretize import DISCRETIZATIONS, discretize
from gossamer.nn.ssm.initial import initial_system
from gossamer.nn.ssm.kernel import vandermonde
from gossamer.nn.ssm.layer import SSMLayer, chunks, log_uniform, pairs
from gossamer.nn.ssm.scan import ssm_scan


class S4D(SSMLayer):
    r"""H independent diagonal systems, :math:`x' = \Lambda x + B u`, :math:`y = \mathrm{Re} \sum_n w_n C_n x_n + D u`.

    One of every conjugate pair of modes is kept, with weight :math:`w_n = 2`; real modes have weight 1. Convolution
    costs O(L log L + N L) a channel, a step O(N). Choose ``init="ptd"`` (:class:`S4PTD`) where inputs may hold
    narrow-band noise: the other starts answer some frequencies far more strongly than HiPPO does.

    Parameters
    ----------
    d_model : int
        Channels H.
    d_state : int
        States N of each channel, conjugates counted.
    init : {"legs", "inv", "lin", "ptd"}
        HiPPO-LegS without its low-rank term and with half of B; two formulas that approximate its eigenvalues; or
        HiPPO-LegS itself, perturbed and diagonalised.
    rel : float
        Size of the perturbation for "ptd".
    disc : {"zoh", "bilinear"}
        Discretisation.
    dt_min, dt_max : float
        Between which step sizes start, log-uniform.
    bidirectional : bool
        Add a second output C that reads the sequence from its end.
    mode : {"conv", "scan"}
        How sequences are computed; both give the same numbers.

    Attributes
    ----------
    log_neg_re, im : Parameter, shape (H, M)
        Eigenvalues ``-exp(log_neg_re) + i im``, left of the imaginary axis whatever training does.
    B, C : Parameter, shape (H, M, 2) and (1 or 2, H, M, 2)
        Complex numbers as pairs.
    D, log_dt : Parameter, shape (H,)

    References
    ----------
    Gu, Gupta, Goel, Re, "On the Parameterization and Initialization of Diagonal State Space Models", NeurIPS 2022.

    Examples
    --------
    >>> import torch
    >>> layer = S4D(4, d_state=16)
    >>> layer(torch.zeros(2, 100, 4)).shape
    torch.Size([2, 100, 4])
    """

    weights: torch.Tensor

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        init: str = "legs",
        *,
        rel: float = 0.1,
        disc: str = "zoh",
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
        bidirectional: bool = False,
        mode: str = "conv",
    ) -> None:
        super().__init__(d_model, d_state, bidirectional, mode)
        self.init, self.disc = init, check_choice("disc", disc, DISCRETIZATIONS)
        start = initial_system(init, d_state, rel)
        Lambda = torch.from_numpy(start.Lambda).expand(d_model, -1)
        kind = torch.get_default_dtype()
        self.log_neg_re = torch.nn.Parameter((-Lambda.real).log().to(kind))
        self.im = torch.nn.Parameter(Lambda.imag.to(kind))
        self.B = pairs(torch.from_numpy(start.B).expand(d_model, -1))
        outputs = 2 if bidirectional else 1
        if start.V is None:
            C = torch.randn(outputs, d_model, len(start.Lambda), dtype=torch.complex128)
        else:
            C = torch.from_numpy(start.read(torch.randn(outputs, d_model, d_state).double().numpy()))
        self.C = pairs(C)
        self.D = torch.nn.Parameter(torch.randn(d_model))
        self.log_dt = torch.nn.Parameter(log_uniform(d_model, dt_min, dt_max))
        self.register_buffer("weights", torch.from_numpy(start.weights).to(kind), persistent=False)

    @property
    def Lambda(self) -> torch.Tensor:
        """Eigenvalues in continuous time, complex (H, M)."""
        return torch.complex(-self._wide(self.log_neg_re).exp(), self._wide(self.im))

    def system(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """``Lbar`` and ``Bbar`` (H, M) of a step, and the weighted ``C`` (1 or 2, H, M)."""
        dt = self._wide(self.log_dt).exp()[:, None]
        Lbar, Bbar = discretize(self.Lambda, self._complex(self.B), dt, self.disc)
        return Lbar, Bbar, self._wide(self.weights) * self._complex(self.C)

    def initial_state(self, batch: int) -> torch.Tensor:
        """The zero state, complex (batch, H, M)."""
        return self.D.new_zeros(batch, *self.im.shape, dtype=self.compute_dtype.to_complex())

    def impulse_response(self, length: int) -> torch.Tensor:
        """The kernel without ``D``, (H, length); of the forward direction."""
        Lbar, Bbar, C = self.system()
        return vandermonde(C[0] * Bbar, Lbar, length)

    def _conv(self, u: torch.Tensor) -> torch.Tensor:
        Lbar, Bbar, C = self.system()
        return convolve_directions(u, vandermonde(C * Bbar, Lbar.expand_as(C), u.shape[1]))

    def _scan(self, u: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        Lbar, Bbar, C = self.system()
        total, last = torch.zeros(()), state
        for direction, reads in enumerate(C):
            parts, x = [], state.flatten(1)
            for part in chunks(u, Lbar.numel(), bool(direction)):
                inputs = (part[..., None] * Bbar).flatten(2)
                states = ssm_scan(Lbar.flatten(), inputs, x, reverse=bool(direction))
                x = states[:, 0 if direction else -1] if states.shape[1] else x
                parts.append((states.unflatten(-1, Lbar.shape) * reads).real.sum(-1))
            last = last if direction else x.unflatten(-1, Lbar.shape)
            total = total + torch.cat(parts[::-1] if direction else parts, dim=1)
        return total, last

    def _step(self, u: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        Lbar, Bbar, C = self.system()
        state = Lbar * state + Bbar * u[..., None]
        return (C[0] * state).real.sum(-1), state

    def continuous_transfer(self, s: torch.Tensor) -> torch.Tensor:
        """``sum_n w_n / 2 (C_n B_n / (s - lambda_n) + conjugates)``, (m, H)."""
        Lambda, s = self.Lambda, s[:, None, None]
        gains = self._wide(self.weights) / 2 * self._complex(self.C)[0] * self._complex(self.B)
        return (gains / (s - Lambda) + gains.conj() / (s - Lambda.conj())).sum(-1)

    def discrete_transfer(self, q: torch.Tensor) -> torch.Tensor:
        """``sum_l K_l q^l`` of the kernel, (m, H)."""
        Lbar, Bbar, C = self.system()
        gains, q = C[0] * Bbar / 2, q[:, None, None]
        return (gains / (1 - q * Lbar) + gains.conj() / (1 - q * Lbar.conj())).sum(-1)

    def extra_repr(self) -> str:
        """What ``repr`` says."""
        return (
            f"{self.d_model}, d_state={self.d_state}, init={self.init!r}, disc={self.disc!r}, "
            f"bidirectional={self.bidirectional}, mode={self.mode!r}"
        )


class S4PTD(S4D):
    """:class:`S4D` that starts from HiPPO-LegS perturbed and diagonalised: uniformly close to HiPPO itself.

    Parameters
    ----------
    d_model, d_state, rel, disc, dt_min, dt_max, bidirectional, mode
        As for :class:`S4D`, whose other attributes and methods it shares.

    References
    ----------
    Yu, Nigmetov, Morozov, Mahoney, Erichson, "Robustifying State-space Models for Long Sequences via Approximate
    Diagonalization", ICLR 2024, arXiv 2310.01698.

    Examples
    --------
    >>> import torch
    >>> y, state = S4PTD(4, d_state=16).step(torch.zeros(2, 4))
    >>> y.shape
    torch.Size([2, 4])
    """

    def __init__(self, d_model: int, d_state: int = 64, rel: float = 0.1, **options: Any) -> None:
        super().__init__(d_model, d_state, "ptd", rel=rel, **options)


__all__ = ["S4D", "S4PTD"]
