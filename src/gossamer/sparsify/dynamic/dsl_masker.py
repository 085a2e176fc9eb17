"""Train with a fixed number of live weights that move to where the loss asks for them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError, bad_argument
from gossamer.sparsify.dynamic.exploration import Exploration, packed, unpacked
from gossamer.sparsify.dynamic.gradient_window import GradientWindow
from gossamer.sparsify.dynamic.moves import GROW, PRUNE, entering, highest, leaving
from gossamer.sparsify.schedules import update_ratio

MOMENTUM = 0.9  # of the average that grow="momentum" goes by


class DSLMasker:
    r"""Dynamic sparse learning: an optimiser whose parameters keep a fixed number of live weights, which move.

    A mask M holds all other weights at zero from the first step on. Every ``delta_t`` steps the share
    :math:`\rho_t = \eta + (\rho_0 - \eta)(1 + \cos(\pi t/T))/2` of the live weights, those of smallest magnitude,
    leaves M, and as many dead ones enter it with the value 0: those whose gradient is largest ("regret"). No dense
    model is trained before or after.

    Give it the *dense* gradients that ``backward`` leaves, and call :meth:`step` where ``optimizer.step()`` stood.

    Parameters
    ----------
    params : iterable of tensors, of (name, tensor) pairs, or mapping
        Parameters of the optimiser, such as ``model.named_parameters()``. Vectors (biases) stay dense.
    optimizer : torch.optim.Optimizer
        Any that works entry by entry (SGD, Adam, AdamW, ...).
    density : float
        Share of the weights that is live, in (0, 1]. With 1 nothing is masked or moved.
    delta_t : int
        Steps between moves.
    total_steps : int
        T, steps of the whole training; not epochs.
    rho0, rho_min : float
        :math:`\rho_0` and :math:`\eta`.
    schedule : {"cosine", "linear"}
        See :func:`update_ratio`.
    prune : {"magnitude", "taylor", "set", "threshold"}
        Smallest :math:`|\theta|`, or :math:`|\theta g|`; half the smallest positive and half the largest negative; all
        with :math:`|\theta|` below ``threshold``, instead of a share.
    grow : {"gradient", "random", "momentum"}
        Largest sum of gradients over a window; at random (SET); largest moving average of gradients.
    grad_window : int
        Steps before a move whose gradients are summed; 1 is the published rule. A batch touches few rows of a table:
        the last gradient alone favours the users and items that came last.
    window_sum : {"gradient", "magnitude"}
        Sum gradients, so that noise cancels, or their magnitudes.
    grow_memory : int, optional
        Bytes of a count-sketch that stands for the window of each parameter; by default 4 a weight are taken.
    init : {"uniform", "magnitude"}
        Live weights at the start: ``round(density size)`` of each parameter at random, or the largest of all.
    scope : {"tensor", "global"}
        Whether every parameter keeps its number of live weights, or all together do, so that the budget flows
        between them (each keeps at least one).
    stop_fraction : float
        Share of the training after which nothing moves: what enters last has no time to learn. 0 is a fixed mask.
    threshold : float
        For ``prune="threshold"``.
    mask_bias : bool
        Mask vectors as well, as the published code does.
    record_masks : bool
        Keep every mask (a bit a weight and move), see :meth:`masks_at`.
    seed : int
        Of random masks and growth.

    Attributes
    ----------
    masks : dict of str to bool tensor
        Live weights.
    steps : int
        Taken so far.
    history : list of Exploration
        Every move.

    Raises
    ------
    ArgumentError
        For values out of range, a density that leaves a parameter without live weights, parameters that are not the
        optimiser's, or a gradient with NaN.
    UnsupportedError
        For sparse gradients: what is to grow is chosen among entries that have none yet.

    Notes
    -----
    A step costs one pass over the weights, a move a selection (no sort) of O(size). Between moves gradients of dead
    weights are cleared before the optimiser sees them, and its moments are cleared where weights leave or enter, so
    that what grows again does not jump.

    References
    ----------
    Wang, Sui, Wu, Zheng, Xiong, "Dynamic sparse learning: a novel paradigm for efficient recommendation", WSDM 2024,
    arXiv 2402.02855.

    Examples
    --------
    >>> import torch
    >>> from gossamer.sparsify import DSLMasker
    >>> table = torch.nn.Parameter(torch.ones(100, 8))
    >>> masker = DSLMasker([table], torch.optim.Adam([table]), density=0.25, delta_t=2, total_steps=10)
    >>> for _ in range(10):
    ...     masker.optimizer.zero_grad()
    ...     (table**2).sum().backward()
    ...     masker.step()
    >>> int((table != 0).sum()) <= 200, masker.density()
    (True, 0.25)
    """

    def __init__(
        self,
        params: Any,
        optimizer: torch.optim.Optimizer,
        *,
        density: float = 0.5,
        delta_t: int = 3000,
        total_steps: int,
        rho0: float = 0.5,
        rho_min: float = 0.005,
        schedule: str = "cosine",
        prune: str = "magnitude",
        grow: str = "gradient",
        grad_window: int = 50,
        window_sum: str = "gradient",
        grow_memory: int | None = None,
        init: str = "uniform",
        scope: str = "tensor",
        stop_fraction: float = 1.0,
        threshold: float = 1e-3,
        mask_bias: bool = False,
        record_masks: bool = False,
        seed: int = 0,
    ) -> None:
        share = check_float("density", density, low=0, high=1, closed="right")
        self.delta_t = check_int("delta_t", delta_t, low=1)
        self.total_steps = check_int("total_steps", total_steps, low=1)
        self.rho0 = check_float("rho0", rho0, low=0, high=1)
        self.rho_min = check_float("rho_min", rho_min, low=0, high=1)
        self.schedule = check_choice("schedule", schedule, ("cosine", "linear"))
        self.prune, self.grow = check_choice("prune", prune, PRUNE), check_choice("grow", grow, GROW)
        self.grad_window = check_int("grad_window", grad_window, low=1)
        check_choice("window_sum", window_sum, ("gradient", "magnitude"))
        check_choice("init", init, ("uniform", "magnitude"))
        self.scope = check_choice("scope", scope, ("tensor", "global"))
        self.stop_at = check_float("stop_fraction", stop_fraction, low=0, high=1) * self.total_steps
        self.threshold = check_float("threshold", threshold, low=0)
        if grow_memory is not None:
            check_int("grow_memory", grow_memory, low=20)
        self.optimizer = optimizer
        self.params = _named(params, mask_bias)
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name, p in self.params.items():
            if id(p) not in trained:
                raise ArgumentError(f"params: {name} is not a parameter of the optimizer")
        self._generator = torch.Generator().manual_seed(check_int("seed", seed, low=0))
        sizes = {name: p.numel() for name, p in self.params.items()}
        self._window = GradientWindow(sizes, window_sum == "magnitude", grow_memory, seed)
        self._averages: dict[str, torch.Tensor] = {}
        self.masks = self._start(share, init)
        self.steps = 0
        self.history: list[Exploration] = []
        self._recorded: list[dict[str, torch.Tensor]] | None = [] if record_masks else None
        self._explored = {name: mask.clone() for name, mask in self.masks.items()}
        self._hold()
        self._record()

    def step(self) -> None:
        """Take one step of the optimiser on the live weights; move some of them where it is time."""
        due = self._next_move()
        self.steps += 1
        for name, p in self.params.items():
            if p.grad is not None and p.grad.is_sparse:
                raise UnsupportedError(f"the gradient of {name} is sparse: expected a dense one")
        needed = self.grow == "gradient" or self.prune == "taylor"
        if due is not None:
            self._collect(needed and due - self.steps < self.grad_window)
        with torch.no_grad():
            for name, p in self.params.items():
                if p.grad is not None:
                    p.grad.masked_fill_(~self.masks[name], 0.0)
        self.optimizer.step()
        self._hold()
        if due == self.steps:
            self._explore()

    def density(self) -> float:
        """Share of the weights that is live."""
        return self.n_live / sum(mask.numel() for mask in self.masks.values())

    @property
    def n_live(self) -> int:
        """Live weights of all masked parameters."""
        return sum(int(mask.sum()) for mask in self.masks.values())

    def explored_fraction(self) -> float:
        """Share of the weights that were live at least once."""
        seen = sum(int(mask.sum()) for mask in self._explored.values())
        return seen / sum(mask.numel() for mask in self._explored.values())

    def masks_at(self, move: int) -> dict[str, torch.Tensor]:
        """Masks after a move (0: at the start), with ``record_masks``."""
        if self._recorded is None:
            raise ArgumentError("record_masks=False: masks of earlier moves were not kept")
        check_int("move", move, low=0, high=len(self._recorded) - 1)
        return {name: unpacked(bits, self.masks[name]) for name, bits in self._recorded[move].items()}

    def state_dict(self) -> dict[str, Any]:
        """Everything that a restart needs beside the states of model and optimiser: tensors and plain values."""
        return {
            "steps": self.steps,
            "masks": {name: mask.clone() for name, mask in self.masks.items()},
            "explored": {name: mask.clone() for name, mask in self._explored.items()},
            "window": {name: total.clone() for name, total in self._window.sums.items()},
            "averages": {name: average.clone() for name, average in self._averages.items()},
            "generator": self._generator.get_state(),
            "history": [vars(move).copy() for move in self.history],
            "recorded": None if self._recorded is None else list(self._recorded),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict` of a masker with the same parameters and settings.

        Raises
        ------
        ArgumentError
            If names, shapes or numbers of live weights are others.
        """
        missing = set(self.state_dict()) ^ set(state)
        if missing:
            raise ArgumentError(f"state: unknown or missing entries {sorted(missing)}")
        for part in ("masks", "explored"):
            shapes = {name: mask.shape for name, mask in state[part].items()}
            if shapes != {name: mask.shape for name, mask in self.masks.items()}:
                raise ArgumentError(f"state: the {part} are those of other parameters")
        live = sum(int(mask.sum()) for mask in state["masks"].values())
        if live != self.n_live:
            raise ArgumentError(f"state: {live} live weights, expected {self.n_live}")
        self.steps = check_int("steps", state["steps"], low=0)
        self.masks = {name: mask.clone() for name, mask in state["masks"].items()}
        self._explored = {name: mask.clone() for name, mask in state["explored"].items()}
        self._window.sums = {name: total.clone() for name, total in state["window"].items()}
        self._averages = {name: average.clone() for name, average in state["averages"].items()}
        self._generator.set_state(state["generator"])
        self.history = [Exploration(**move) for move in state["history"]]
        self._recorded = None if state["recorded"] is None else list(state["recorded"])
        self._hold()

    def _start(self, share: float, init: str) -> dict[str, torch.Tensor]:
        sizes = {name: p.numel() for name, p in self.params.items()}
        if init == "uniform":
            chosen = {
                name: torch.randperm(n, generator=self._generator)[: round(share * n)]
                for name, n in sizes.items()
            }
        else:
            values = torch.cat([p.detach().reshape(-1).abs().float() for p in self.params.values()])
            keep = torch.zeros(len(values), dtype=torch.bool)
            keep[highest(values, round(share * len(values)))] = True
            parts = keep.split(list(sizes.values()))
            chosen = {name: part.nonzero()[:, 0] for name, part in zip(sizes, parts)}
        masks = {}
        for name, p in self.params.items():
            if not len(chosen[name]):
                raise bad_argument("density", share, f"enough for a live weight of {name} {tuple(p.shape)}")
            mask = torch.zeros(p.numel(), dtype=torch.bool)
            mask[chosen[name]] = True
            masks[name] = mask.reshape(p.shape).to(p.device)
        return masks

    def _next_move(self) -> int | None:
        """The step after which weights move next, if they still do."""
        due = (self.steps // self.delta_t + 1) * self.delta_t
        return due if due < self.stop_at else None

    def _collect(self, into_window: bool) -> None:
        for name, p in self.params.items():
            if p.grad is None:
                continue
            if into_window:
                self._window.add(name, p.grad)
            if self.grow == "momentum":
                average = self._averages.setdefault(name, torch.zeros_like(p.grad))
                average.lerp_(p.grad, 1 - MOMENTUM)

    def _hold(self) -> None:
        with torch.no_grad():
            for name, p in self.params.items():
                p.masked_fill_(~self.masks[name], 0.0)

    @torch.no_grad()
    def _explore(self) -> None:
        ratio = update_ratio(self.steps, self.total_steps, self.rho0, self.rho_min, self.schedule)
        groups = [[name] for name in self.params] if self.scope == "tensor" else [list(self.params)]
        moves = [self._move(names, ratio) for names in groups]
        self._window.clear()
        live = {name: int(mask.sum()) for name, mask in self.masks.items()}
        moved, returned = sum(m for m, _ in moves), sum(r for _, r in moves)
        self.history.append(Exploration(self.steps, ratio, moved, returned, live))
        for name, mask in self.masks.items():
            self._explored[name] |= mask
        self._record()

    def _move(self, names: list[str], ratio: float) -> tuple[int, int]:
        """Let weights of some parameters leave and enter; how many moved, how many of them returned."""
        theta = torch.cat([self.params[name].detach().reshape(-1) for name in names])
        live = torch.cat([self.masks[name].reshape(-1) for name in names])
        sizes = [self.masks[name].numel() for name in names]
        if bool(live.all()):
            return 0, 0
        worth = self._summed(names) if self.prune == "taylor" else None
        free = live.clone()
        if len(names) > 1:
            for part, weights, mask in zip(free.split(sizes), theta.split(sizes), live.split(sizes)):
                part[weights.abs().masked_fill(~mask, -1.0).argmax()] = False
        held = int(live.sum())
        count = math.ceil(ratio * held)
        if self.prune == "threshold":
            count = int((theta[free].abs() < self.threshold).sum())
        count = min(count, int(free.sum()))
        left = leaving(theta, free, count, self.prune, worth)
        live[left] = False
        wanted = None if self.grow == "random" else self._summed(names, averages=self.grow == "momentum")
        entered = entering(live, count, wanted, self._generator)
        live[entered] = True
        changed = torch.zeros_like(live)
        changed[left] = changed[entered] = True
        for name, mask, change in zip(names, live.split(sizes), changed.split(sizes)):
            p = self.params[name]
            self.masks[name] = mask.reshape(p.shape).clone()
            self._clear(p, change.reshape(p.shape))
        both = len(left) + len(entered) - int(changed.sum())
        return count, both

    def _summed(self, names: list[str], averages: bool = False) -> torch.Tensor:
        """Gradients of some parameters over the window, or their moving averages."""
        parts = []
        for name in names:
            p = self.params[name]
            part = self._averages.get(name, torch.zeros_like(p)) if averages else self._window.read(name)
            parts.append(part.reshape(-1).to(p.device))
        total = torch.cat(parts)
        if not bool(total.isfinite().all()):
            raise ArgumentError(
                f"gradients up to step {self.steps} have NaN or infinite entries: the training diverged"
            )
        return total

    def _clear(self, p: torch.Tensor, change: torch.Tensor) -> None:
        """Weights that left or entered are zero, and so is what the optimiser remembers of them."""
        p.masked_fill_(change, 0.0)
        for value in self.optimizer.state.get(p, {}).values():
            if isinstance(value, torch.Tensor) and value.shape == p.shape:
                value.masked_fill_(change, 0.0)

    def _record(self) -> None:
        if self._recorded is not None:
            self._recorded.append({name: packed(mask) for name, mask in self.masks.items()})


def _named(params: Any, mask_bias: bool) -> dict[str, torch.Tensor]:
    pairs: Iterator[Any] = iter(params.items() if isinstance(params, Mapping) else params)
    found: dict[str, torch.Tensor] = {}
    for place, entry in enumerate(pairs):
        name, p = entry if isinstance(entry, tuple) else (str(place), entry)
        if not isinstance(p, torch.Tensor) or not p.is_floating_point():
            raise UnsupportedError(f"params: {name} is a {type(p).__name__}: expected floating-point tensors")
        if p.numel() and (p.ndim > 1 or mask_bias):
            found[name] = p
    if not found:
        raise ShapeError("params has nothing to mask: expected matrices, or mask_bias=True for vectors")
    return found


__all__ = ["DSLMasker", "Exploration"]
