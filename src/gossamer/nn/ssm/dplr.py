"""S4: one diagonal plus low-rank system a channel, HiPPO without an approximation."""

from __future__ import annotations

import math

import torch

from gossamer.linalg.dynamics.hippo import hippo_normal
from gossamer.nn.ssm.convolution import convolve_directions
from gossamer.nn.ssm.layer import SSMLayer, log_uniform, pairs

_CAUCHY = 1 << 24
"""Complex entries of the Cauchy matrices that are formed at a time."""


class S4(SSMLayer):
    r"""H independent systems with :math:`A = \mathrm{diag}(\Lambda) - p p^H`, which starts as HiPPO-LegS exactly.

    The kernel comes from its generating function at roots of unity: Woodbury's identity turns it into four Cauchy sums
    with :math:`1 / (\frac{2}{\Delta} \frac{1 - q}{1 + q} - \lambda_n)`, and an inverse FFT. Diagonal layers
    (:class:`S4D`, :class:`S4PTD`) are simpler and faster; this is what they approximate.

    Parameters
    ----------
    d_model : int
        Channels H.
    d_state : int
        States N of each channel.
    dt_min, dt_max : float
        Between which step sizes start, log-uniform.
    bidirectional : bool
        Add a second output C that reads the sequence from its end.
    mode : {"conv", "scan"}
        How sequences are computed; "scan" takes one dense step after the other.

    Attributes
    ----------
    log_neg_re, im : Parameter, shape (H, M)
        Eigenvalues of the normal part, one of each pair.
    p, B : Parameter, shape (H, M, 2)
        Complex numbers as pairs, as is ``C`` of shape (1 or 2, H, M, 2).
    D, log_dt : Parameter, shape (H,)

    Notes
    -----
    The discretisation is the bilinear one. O(L log L + N L + N^3 log L) a channel; a step O(N^2).

    References
    ----------
    Gu, Goel, Re, "Efficiently Modeling Long Sequences with Structured State Spaces", ICLR 2022.

    Examples
    --------
    >>> import torch
    >>> S4(2, d_state=8)(torch.zeros(1, 50, 2)).shape
    torch.Size([1, 50, 2])
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        *,
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
        bidirectional: bool = False,
        mode: str = "conv",
    ) -> None:
        super().__init__(d_model, d_state, bidirectional, mode)
        h, half = hippo_normal(d_state), (d_state + 1) // 2
        kind = torch.get_default_dtype()
        Lambda = torch.from_numpy(h.Lambda[:half]).expand(d_model, -1)
        self.log_neg_re = torch.nn.Parameter((-Lambda.real).log().to(kind))
        self.im = torch.nn.Parameter(Lambda.imag.to(kind))
        self.p = pairs(torch.from_numpy(h.p[:half]).expand(d_model, -1))
        self.B = pairs(torch.from_numpy(h.B[:half]).expand(d_model, -1))
        C = torch.randn(2 if bidirectional else 1, d_model, d_state).double().numpy() @ h.V[:, :half]
        self.C = pairs(torch.from_numpy(C))
        self.D = torch.nn.Parameter(torch.randn(d_model))
        self.log_dt = torch.nn.Parameter(log_uniform(d_model, dt_min, dt_max))

    def _both(self, half: torch.Tensor) -> torch.Tensor:
        """Modes with their conjugates; a last one without a partner, for odd N, is made real."""
        paired = half[..., : self.d_state // 2]
        alone = half[..., self.d_state // 2 :].real.to(half.dtype)
        return torch.cat([paired, alone, paired.conj()], dim=-1)

    def _parts(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Lambda, p, B (H, N), C (1 or 2, H, N) and dt (H, 1)."""
        Lambda = torch.complex(-self._wide(self.log_neg_re).exp(), self._wide(self.im))
        parts = [self._both(t) for t in (Lambda, *map(self._complex, (self.p, self.B, self.C)))]
        return parts[0], parts[1], parts[2], parts[3], self._wide(self.log_dt).exp()[:, None]

    def system(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Dense ``Abar`` (H, N, N) and ``Bbar`` (H, N) of a step, and ``C`` (1 or 2, H, N)."""
        Lambda, p, B, C, dt = self._parts()
        # (I - dt/2 A)^-1 = R - dt/2 R p p^H R / (1 + dt/2 p^H R p), R = (I - dt/2 Lambda)^-1
        R = 1 / (1 - dt / 2 * Lambda)
        Rp, pR = R * p, R * p.conj()
        share = dt / 2 / (1 + dt / 2 * (p.conj() * Rp).sum(-1, keepdim=True))
        inverse = torch.diag_embed(R) - (share * Rp)[:, :, None] * pR[:, None]
        # (I - X)^-1 (I + X) = 2 (I - X)^-1 - I
        Abar = 2 * inverse - torch.eye(self.d_state, dtype=inverse.dtype)
        return Abar, dt * (R * B - share * Rp * (pR * B).sum(-1, keepdim=True)), C

    def _generating(self, q: torch.Tensor, C: torch.Tensor) -> torch.Tensor:
        """``C (I - Abar q)^-1 Bbar`` for C (..., H, N) at q (m,): (..., H, m)."""
        Lambda, p, B, _, dt = self._parts()
        products = torch.stack([C * B, C * p], dim=-1), torch.stack([p.conj() * B, p.conj() * p], dim=-1)
        out = []
        for part in q.split(max(1, _CAUCHY // Lambda.numel())):
            turn = dt / 2 * (1 + part)  # (H, m)
            cauchy = 1 / ((1 - part)[:, None] - turn[:, :, None] * Lambda[:, None])
            left, right = cauchy @ products[0], cauchy @ products[1]
            low_rank = left[..., 1] * turn * right[..., 0] / (1 + turn * right[..., 1])
            out.append(dt * (left[..., 0] - low_rank))
        return torch.cat(out, dim=-1)

    def _kernels(self, length: int) -> torch.Tensor:
        """Kernels of all directions, (1 or 2, H, length)."""
        Abar, _, C = self.system()
        # at roots of unity the sum of L terms is that of all terms with C (I - Abar^L) in place of C
        cut = C - (C[..., None, :] @ torch.linalg.matrix_power(Abar, length))[..., 0, :]
        angle = -2 * math.pi / length * torch.arange(length // 2 + 1, dtype=torch.float64)
        roots = torch.polar(torch.ones_like(angle), angle).to(Abar.dtype)
        return torch.fft.irfft(self._generating(roots, cut), length)

    def initial_state(self, batch: int) -> torch.Tensor:
        """The zero state, complex (batch, H, N)."""
        return self.D.new_zeros(batch, self.d_model, self.d_state, dtype=self.compute_dtype.to_complex())

    def impulse_response(self, length: int) -> torch.Tensor:
        """The kernel without ``D``, (H, length); of the forward direction."""
        return self._kernels(length)[0]

    def _conv(self, u: torch.Tensor) -> torch.Tensor:
        if not u.shape[1]:
            return torch.zeros_like(u)
        return convolve_directions(u, self._kernels(u.shape[1]))

    def _scan(self, u: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        Abar, Bbar, C = self.system()
        total, last = torch.zeros(()), state
        for direction, reads in enumerate(C):
            x, outputs = state, []
            for value in u.unbind(1)[:: -1 if direction else 1]:
                x = (Abar @ x[..., None])[..., 0] + Bbar * value[..., None]
                outputs.append((reads * x).real.sum(-1))
            last = last if direction else x
            in_time = outputs[::-1] if direction else outputs
            total = total + (torch.stack(in_time, dim=1) if in_time else torch.zeros_like(u))
        return total, last

    def _step(self, u: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        Abar, Bbar, C = self.system()
        state = (Abar @ state[..., None])[..., 0] + Bbar * u[..., None]
        return (C[0] * state).real.sum(-1), state

    def continuous_transfer(self, s: torch.Tensor) -> torch.Tensor:
        """``C (s - A)^-1 B``, (m, H)."""
        Lambda, p, B, C, _ = self._parts()
        R = 1 / (s[:, None, None] - Lambda)
        inner = (R * p.conj() * B).sum(-1) / (1 + (R * p.conj() * p).sum(-1))
        return (C[0] * R * (B - p * inner[..., None])).sum(-1)

    def discrete_transfer(self, q: torch.Tensor) -> torch.Tensor:
        """``sum_l K_l q^l`` of the kernel, (m, H)."""
        return self._generating(q, self._parts()[3][0]).T

    def extra_repr(self) -> str:
        """What ``repr`` says."""
        return (
            f"{self.d_model}, d_state={self.d_state}, bidirectional={self.bidirectional}, mode={self.mode!r}"
        )


__all__ = ["S4"]
