"""M-FAC as a torch optimiser: every gradient is multiplied by the inverse Fisher of the last ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from gossamer._core.arrays import to_numpy, to_torch
from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer.solve.curvature.sliding import SlidingFisherInverse
from gossamer.solve.shards import Reduce


class MFAC(torch.optim.Optimizer):
    r"""Descend along :math:`F^{-1} g`, F the damped empirical Fisher of the last ``ngrads`` gradients.

    :math:`g \leftarrow \nabla + \text{wd}\, w`; g enters the window; :math:`u = F^{-1} g`;
    :math:`v \leftarrow \mu v + (1-\mu) u`; :math:`w \leftarrow w - \text{lr}\, v`. One F spans all parameter groups.
    A step costs two passes over the (ngrads, d) window. Tune ``lr`` as for SGD; with large ``damp`` it is SGD with
    ``lr / damp``.

    Parameters
    ----------
    params : iterable
        Tensors or groups; ``lr``, ``momentum`` and ``weight_decay`` may differ by group.
    lr : float
        Step length.
    momentum : float
        :math:`\mu`, on the preconditioned gradient.
    weight_decay : float
        Added to the gradient before it enters the window, so that it is part of F.
    ngrads : int
        Length m of the window.
    damp : float
        :math:`\lambda > 0`.
    sparse : bool
        Leave out entries that are zero at construction: they stay zero, and the window is smaller.
    clip_update : float, optional
        Largest norm of u. None, the method as published.
    damp_relative : float, optional
        Damping as a multiple of the mean diagonal of the undamped F, recomputed each step (factors K in O(m^3)).
    warmup : int
        Steps over which lr rises linearly. 0, the method as published.
    store_dtype : str, optional
        Of the window: float32 (default), float64 or bfloat16.
    reduce : callable, optional
        Sums an array over processes that hold the other parameters (:func:`all_reduce_sum`).

    Raises
    ------
    ArgumentError
        A gradient is not finite (the step is named), or a parameter is not real.

    References
    ----------
    Frantar, Kurtic, Alistarh. M-FAC. NeurIPS 2021, arXiv 2107.03356.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        ngrads: int = 1024,
        damp: float = 1e-5,
        sparse: bool = False,
        *,
        clip_update: float | None = None,
        damp_relative: float | None = None,
        warmup: int = 0,
        store_dtype: str | None = None,
        reduce: Reduce | None = None,
    ) -> None:
        defaults = {
            "lr": check_float("lr", lr, low=0),
            "momentum": check_float("momentum", momentum, low=0, high=1, closed="left"),
            "weight_decay": check_float("weight_decay", weight_decay, low=0),
        }
        super().__init__(params, defaults)
        self.clip_update = clip_update and check_float("clip_update", clip_update, low=0, closed="neither")
        self.damp_relative = damp_relative and check_float(
            "damp_relative", damp_relative, low=0, closed="neither"
        )
        self.warmup = check_int("warmup", warmup, low=0)
        self._support: dict[int, torch.Tensor | None] = {}
        d = 0
        for group in self.param_groups:
            for p in group["params"]:
                if not p.is_floating_point():
                    raise ArgumentError(f"params has a tensor of {p.dtype}: expected real floating point")
                kept = torch.nonzero(p.detach().reshape(-1)).reshape(-1) if sparse else None
                self._support[len(self._support)] = kept
                d += p.numel() if kept is None else len(kept)
        self.fisher = SlidingFisherInverse(ngrads, d, damp, store_dtype=store_dtype, reduce=reduce)
        self._reduce = reduce

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group before training starts; afterwards the window's length is fixed."""
        if hasattr(self, "fisher"):
            raise ArgumentError("a group cannot join later: the window holds gradients of the old groups")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; ``closure`` is evaluated once, with gradients enabled, and its value returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        parts = []
        for p, group, kept in self._members():
            g = torch.zeros_like(p) if p.grad is None else p.grad.detach()
            if g.is_sparse:
                g = g.to_dense()
            if group["weight_decay"]:
                g = g + group["weight_decay"] * p
            g = g.reshape(-1)
            wide = torch.float64 if p.dtype == torch.float64 else torch.float32
            parts.append((g if kept is None else g[kept]).to(wide))
        u = self._precondition(torch.cat(parts))
        scale = min(1.0, self.fisher.pushes / self.warmup) if self.warmup else 1.0
        start = 0
        for (p, group, kept), part in zip(self._members(), parts):
            v = u[start : start + len(part)].to(p.dtype)
            start += len(part)
            if group["momentum"]:
                state = self.state[p]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(v)
                v = state["momentum_buffer"].mul_(group["momentum"]).add_(v, alpha=1 - group["momentum"])
            if kept is None:
                p.add_(v.view_as(p), alpha=-group["lr"] * scale)
            else:
                p.view(-1).index_add_(0, kept, v, alpha=-group["lr"] * scale)
        return loss

    def _precondition(self, g: torch.Tensor) -> torch.Tensor:
        if self.damp_relative is None:
            u = self.fisher.push_mul(g)
        else:
            self.fisher.push(g)
            count = min(self.fisher.pushes, self.fisher.m)
            mean = float(self.fisher.gram.trace()) / (count * self.fisher.d)
            self.fisher.set_damp(max(self.damp_relative * mean, 1e-30))
            u = self.fisher.mul(g)
        if self.clip_update is not None:
            square = to_numpy(u.double().square().sum().reshape(1))
            norm = float((self._reduce(square) if self._reduce else square)[0]) ** 0.5
            if norm > self.clip_update:
                u = u * (self.clip_update / norm)
        return u

    def _members(self) -> Iterable[tuple[torch.Tensor, dict[str, Any], torch.Tensor | None]]:
        number = 0
        for group in self.param_groups:
            for p in group["params"]:
                yield p, group, self._support[number]
                number += 1

    def state_dict(self) -> dict[str, Any]:
        """Parameter groups, momentum, and the window with its factor: a resumed run goes on bit by bit."""
        state = super().state_dict()
        window = self.fisher.state()
        state["fisher"] = {
            k: to_torch(v.view("int16") if v.dtype == "uint16" else v).clone() if hasattr(v, "dtype") else v
            for k, v in window.items()
        }
        state["support"] = dict(self._support)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; the window must have the same size."""
        rest = dict(state_dict)
        window, support = rest.pop("fisher"), rest.pop("support")
        arrays = {k: to_numpy(v) if torch.is_tensor(v) else v for k, v in window.items()}
        if arrays["G"].dtype == "int16":
            arrays["G"] = arrays["G"].view("uint16")
        self.fisher.set_state(arrays)
        self._support = dict(support)
        super().load_state_dict(rest)
