"""What all state-space layers share: shapes, modes, carried states, parameters that want a rate of their own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError

MODES = ("conv", "scan")
_CHUNK = 1 << 22
"""Complex states of all steps that a scan holds at a time."""


class SSMLayer(torch.nn.Module):
    """A linear, time-invariant map of sequences (B, L, H) with a state, whose modes compute the same."""

    D: torch.nn.Parameter

    def __init__(self, d_model: int, d_state: int, bidirectional: bool, mode: str) -> None:
        super().__init__()
        self.d_model = check_int("d_model", d_model, low=1)
        self.d_state = check_int("d_state", d_state, low=1)
        self.bidirectional = bool(bidirectional)
        self.mode = check_choice("mode", mode, MODES)

    def forward(self, u: torch.Tensor, state: torch.Tensor | None = None, return_state: bool = False) -> Any:
        """Apply the layer.

        Parameters
        ----------
        u : tensor, shape (B, L, d_model)
            Inputs.
        state : complex tensor, optional
            Where the sequence goes on from; the layer then scans, whatever its mode.
        return_state : bool
            Return the last state even where none is given.

        Returns
        -------
        tensor, shape (B, L, d_model)
            Of the dtype of u; with a state, a pair of it and the state behind the last step.
        """
        if u.ndim != 3 or u.shape[-1] != self.d_model:
            raise ShapeError(f"u has shape {tuple(u.shape)}: expected (B, L, {self.d_model})")
        wide = u.to(self.compute_dtype)
        stateful = state is not None or return_state
        if stateful and self.bidirectional:
            raise ArgumentError("state is asked for: a bidirectional layer has none")
        if stateful or self.mode == "scan":
            y, last = self._scan(wide, self.initial_state(len(u)) if state is None else state)
        else:
            y, last = self._conv(wide), None
        y = (y + self._wide(self.D) * wide).to(u.dtype)
        return (y, last) if stateful else y

    def step(self, u: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one step.

        Parameters
        ----------
        u : tensor, shape (B, d_model)
            Input of the step.
        state : complex tensor, optional
            As returned by the last step, or by :meth:`forward`; zero by default.

        Returns
        -------
        (tensor of shape (B, d_model), complex tensor)
            Output and state.
        """
        if u.ndim != 2 or u.shape[-1] != self.d_model:
            raise ShapeError(f"u has shape {tuple(u.shape)}: expected (B, {self.d_model})")
        if self.bidirectional:
            raise ArgumentError("bidirectional=True: such a layer has no steps")
        wide = u.to(self.compute_dtype)
        y, state = self._step(wide, self.initial_state(len(u)) if state is None else state)
        return (y + self._wide(self.D) * wide).to(u.dtype), state

    @abstractmethod
    def initial_state(self, batch: int) -> torch.Tensor:
        """The zero state of ``batch`` sequences."""

    @abstractmethod
    def impulse_response(self, length: int) -> torch.Tensor:
        """The kernel without ``D``: (H, length), or (H, H, length) for layers that mix channels."""

    @abstractmethod
    def continuous_transfer(self, s: torch.Tensor) -> torch.Tensor:
        """The transfer function at complex s (m,), without ``D``: (m, H), or (m, H, H)."""

    @abstractmethod
    def discrete_transfer(self, q: torch.Tensor) -> torch.Tensor:
        """``sum_l K_l q^l`` at complex q (m,), without ``D``: (m, H), or (m, H, H)."""

    @abstractmethod
    def _conv(self, u: torch.Tensor) -> torch.Tensor: ...

    @abstractmethod
    def _scan(self, u: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]: ...

    @abstractmethod
    def _step(self, u: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]: ...

    @property
    def compute_dtype(self) -> torch.dtype:
        """Real dtype inside: that of the parameters, at least single precision."""
        return torch.float64 if self.D.dtype == torch.float64 else torch.float32

    def ssm_parameters(self) -> Iterator[torch.nn.Parameter]:
        """All parameters but ``C`` and ``D``: those of the dynamics, for which small rates are usual."""
        return (p for name, p in self.named_parameters() if name not in ("C", "D"))

    def _wide(self, parameter: torch.Tensor) -> torch.Tensor:
        return parameter.to(self.compute_dtype)

    def _complex(self, parameter: torch.Tensor) -> torch.Tensor:
        """Pairs of reals as complex numbers."""
        return torch.view_as_complex(self._wide(parameter).contiguous())


def chunks(u: torch.Tensor, states: int, reverse: bool) -> list[torch.Tensor]:
    """Parts of (B, L, H) along time whose states fit into :data:`_CHUNK`, in the order of the scan."""
    steps = max(1, _CHUNK // max(1, len(u) * states))
    parts = list(u.split(steps, dim=1))
    return parts[::-1] if reverse else parts


def log_uniform(size: int, dt_min: float, dt_max: float) -> torch.Tensor:
    """Logarithms of step sizes, uniform between those of the bounds."""
    low = check_float("dt_min", dt_min, low=0, closed="neither")
    high = check_float("dt_max", dt_max, low=low)
    low, high = (float(torch.tensor(bound).log()) for bound in (low, high))
    return low + (high - low) * torch.rand(size)


def pairs(values: Any) -> torch.nn.Parameter:
    """Complex numbers as a parameter of pairs of reals of the default dtype."""
    tensor = torch.as_tensor(values).to(torch.complex128).resolve_conj()
    return torch.nn.Parameter(torch.view_as_real(tensor).to(torch.get_default_dtype()))


def ssm_param_groups(
    module: torch.nn.Module, lr: float, ssm_lr: float = 1e-3, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Parameters in two groups for an optimiser: dynamics with a rate of their own and no weight decay, and the rest.

    Parameters
    ----------
    module : torch.nn.Module
        That contains state-space layers.
    lr : float
        Rate of all other parameters.
    ssm_lr : float
        Rate of eigenvalues, inputs and step sizes.
    weight_decay : float
        Of all other parameters.

    Returns
    -------
    list of dict

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import S4D, ssm_param_groups
    >>> [len(group["params"]) for group in ssm_param_groups(S4D(4), lr=1e-2)]
    [4, 2]
    """
    layers = (layer for layer in module.modules() if isinstance(layer, SSMLayer))
    dynamics = {id(p): p for layer in layers for p in layer.ssm_parameters()}
    rest = [p for p in module.parameters() if id(p) not in dynamics]
    return [
        {"params": list(dynamics.values()), "lr": ssm_lr, "weight_decay": 0.0},
        {"params": rest, "lr": lr, "weight_decay": weight_decay},
    ]
