"""The training of sparse autoencoders: phases of allocation, auxiliary losses, unit features, several processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from gossamer._core.arrays import to_torch
from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.nn.autoencoders.allocation import Allocation, FeatureChoice, MutualChoice, TokenChoice
from gossamer.nn.autoencoders.auxiliary import aux_k_loss, aux_zipf_loss
from gossamer.nn.autoencoders.density import DensityTracker
from gossamer.nn.autoencoders.lazy_adam import LazyAdam
from gossamer.nn.autoencoders.sparse_autoencoder import SAEOutput, SparseAutoencoder
from gossamer.nn.autoencoders.together import Group, place, sum_in_place
from gossamer.nn.autoencoders.zipf import ZipfSchedule

_BUFFER, _BLOCK, _SAMPLE = 65_536, 256, 4096
_OWN_PHASES = {
    "mutual": (("token", 0.1), ("mutual", 0.9)),
    "feature": (("token", 0.1), ("mutual", 0.5), ("feature", 0.4)),
}


class SAETrainer:
    """Trains a sparse autoencoder on activations.

    The loss is ``|x - xhat|^2 / mean |x - mean|^2`` plus ``aux_weight`` times an auxiliary loss. Adam, whose gradient
    on the dictionary loses its part along the features, which have norm 1 after each step.

    Parameters
    ----------
    sae : SparseAutoencoder
        Trained in place.
    phases : sequence of (name, fraction), optional
        Which allocation rules for which share of the steps: ``"token"``, ``"mutual"``, ``"feature"``. By default what
        leads up to the allocation of ``sae``: Token Choice warms up Mutual Choice, in which features find their
        natural frequency, to which Feature Choice fits a law of Zipf. Other allocations stay throughout.
    aux : {"zipf", "k", None}
        The auxiliary loss: by deficit against the law (and by death until there is a law), by death, none.
    lr : float or "auto"
        ``"auto"`` is ``3e-4 sqrt(2^14 / F)`` for long training; below 30,000 steps it grows by
        ``sqrt(30,000 / steps)``, up to 4e-3.
    batch_size, steps : int
        Tokens of a step, over all processes, and number of steps.
    seed : int
        Of the order of tokens.
    aux_weight : float
        Of the auxiliary loss.
    k_aux : int, optional
        Features that it uses a token.
    dead_after : int
        Tokens after which a silent feature is dead.
    refresh : int
        Steps after which the law is fitted and features are ranked again.
    lazy_adam : bool
        Leave rows of the matrices without a gradient alone (:class:`LazyAdam`).
    resample : bool
        At each refresh, turn dead features to the residuals of the worst tokens.
    loss : {"mse", "taylor"}
        ``"taylor"`` adds ``|(x - xhat) . g|``, the first-order error of the model's loss, relative to
        ``mean |x - mean| |g|``.
    group : process group of torch.distributed, optional
        Each process takes its part of every batch; all end with the same weights.
    progress : callable, optional
        Called with the number of steps done.

    Attributes
    ----------
    history : dict of str to list of float
        ``loss``, ``aux``, ``l0`` and ``dead`` (a share) of each step.
    tracker : DensityTracker
        How often features were used.
    zipf : ZipfSchedule or None
        The last law that was fitted.

    References
    ----------
    Ayonrinde, arXiv 2411.02124, 2024. Olmo et al., arXiv 2411.10397, 2024.
    """

    def __init__(
        self,
        sae: SparseAutoencoder,
        phases: Sequence[tuple[str, float]] | None = None,
        aux: str | None = "zipf",
        lr: float | str = "auto",
        batch_size: int = 1024,
        steps: int = 2000,
        seed: int = 0,
        *,
        aux_weight: float = 1 / 32,
        k_aux: int | None = None,
        dead_after: int = 20_000,
        refresh: int = 1000,
        lazy_adam: bool = False,
        resample: bool = False,
        loss: str = "mse",
        group: Group = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.sae, self.group, self.progress = sae, group, progress
        self.aux, self.loss = (
            check_choice("aux", aux, ("zipf", "k", None)),
            check_choice("loss", loss, ("mse", "taylor")),
        )
        self.batch_size, self.steps = (
            check_int("batch_size", batch_size, low=1),
            check_int("steps", steps, low=1),
        )
        self.seed, self.refresh = check_int("seed", seed, low=0), check_int("refresh", refresh, low=1)
        self.aux_weight = check_float("aux_weight", aux_weight, low=0)
        self.k_aux, self.dead_after = k_aux, check_int("dead_after", dead_after, low=1)
        self.lazy_adam, self.resample = bool(lazy_adam), bool(resample)
        automatic = _automatic_rate(sae.n_features, self.steps)
        self.lr = automatic if lr == "auto" else check_float("lr", lr, low=0, closed="neither")
        own = sae.allocation
        self.phases = self._allocations(_OWN_PHASES.get(own.name, ()) if phases is None else phases, own)
        if self.batch_size % place(group)[1]:
            raise ArgumentError(
                f"batch_size={batch_size}: expected a multiple of the {place(group)[1]} processes"
            )
        self.history: dict[str, list[float]] = {"loss": [], "aux": [], "l0": [], "dead": []}
        self.tracker = DensityTracker(sae.n_features)
        self.zipf: ZipfSchedule | None = None

    def _allocations(
        self, phases: Sequence[tuple[str, float]], own: Allocation
    ) -> list[tuple[int, Allocation]]:
        """The first step of each phase and its allocation."""
        if not phases:
            return [(0, own)]
        kinds = {"token": TokenChoice, "mutual": MutualChoice, "feature": FeatureChoice}
        shares = [check_float("fraction", share, low=0, high=1) for _, share in phases]
        if abs(sum(shares) - 1) > 1e-6:
            raise ArgumentError(f"phases: fractions add up to {sum(shares):g}: expected 1")
        found, begun = [], 0.0
        for (name, _), share in zip(phases, shares, strict=True):
            check_choice("phase", name, kinds)
            found.append((round(begun * self.steps), own if name == own.name else kinds[name](own.k)))
            begun += share
        return found

    def fit(self, activations: Any, grads: Any = None) -> SAETrainer:
        """Train on activations.

        Parameters
        ----------
        activations : tensor, array, ActivationCache.x or the like, shape (n, d)
            Read in blocks of rows; may lie on disk.
        grads : the same kind and shape, optional
            Gradients of the model's loss, for :class:`gossamer.nn.GradientTopK` and ``loss="taylor"``.

        Returns
        -------
        SAETrainer
            Itself; the autoencoder is in evaluation mode, its thresholds calibrated on the last tokens seen.
        """
        n = len(activations)
        if n < 2 or len(activations.shape) != 2 or activations.shape[1] != self.sae.d:
            raise ShapeError(
                f"activations has shape {tuple(activations.shape)}: expected (n >= 2, {self.sae.d})"
            )
        if grads is not None and tuple(grads.shape) != tuple(activations.shape):
            raise ShapeError(f"grads has shape {tuple(grads.shape)}: expected {tuple(activations.shape)}")
        if self.loss == "taylor" and grads is None:
            raise ArgumentError("loss='taylor' needs grads")
        rng = np.random.default_rng(self.seed)
        sae = self.sae.train()
        sample = np.sort(rng.choice(n, min(n, _SAMPLE), replace=False))
        sae.initialise(_rows(activations, sample))
        optimiser = self._optimiser()
        batches, last = _batches(activations, grads, self.batch_size, rng), torch.empty(0)
        for step in range(self.steps):
            self._enter(step)
            x, g = next(batches)
            last = x
            rank, count = place(self.group)
            part = slice(rank * len(x) // count, (rank + 1) * len(x) // count)
            self._step(optimiser, step, x[part], None if g is None else g[part])
            if self.progress is not None:
                self.progress(step + 1)
        sae.eval()
        sae.calibrate(last)
        return self

    def _enter(self, step: int) -> None:
        """Begin a phase, and fit the law anew, where it is time to."""
        starts = [first for first, _ in self.phases]
        current = max(i for i, first in enumerate(starts) if first <= step)
        allocation, begins = self.phases[current][1], step == starts[current]
        warm = step >= self.steps // 10
        if warm and (begins or step % self.refresh == 0) and (self.tracker.density > 0).sum() >= 3:
            self.zipf = ZipfSchedule.fit(
                self.tracker.density, min(self.sae.allocation.k, self.sae.n_features)
            )
        if begins:
            self.sae.set_allocation(allocation)
            allocation.group = self.group
        if (
            isinstance(allocation, FeatureChoice)
            and allocation.m is None
            and (begins or step % self.refresh == 0)
        ):
            if begins and allocation.zipf is None:
                allocation.zipf = self.zipf
            if allocation.zipf is not None and self.tracker.density.any():
                allocation.rank(self.tracker.density, rotation=step)

    def _step(self, optimiser: Any, step: int, x: torch.Tensor, g: torch.Tensor | None) -> None:
        sae, share = self.sae, 1 / place(self.group)[1]
        out = sae(x, g)
        rows = x.to(sae.W_dec)
        unit = sae.d * sae.scale**2
        loss = (out.recon - rows).square().sum() / (len(rows) * unit)
        if self.loss == "taylor" and g is not None:
            loss = loss + self._taylor(out.recon, rows, g.to(rows))
        aux = self._auxiliary(rows, out, step) if self.aux is not None else loss.new_zeros(())
        optimiser.zero_grad()
        (share * (loss + self.aux_weight * aux)).backward()
        active = torch.from_numpy(out.codes.per_feature)
        figures = share * torch.stack([loss.detach(), aux.detach()]).double()
        if self.group is not None:
            sum_in_place([p.grad for p in sae.parameters() if p.grad is not None], self.group)
            sum_in_place([active, figures], self.group)
        _turn(sae.W_dec)
        nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        optimiser.step(self.lr * _schedule(step, self.steps))
        with torch.no_grad():
            sae.W_dec.div_(sae.W_dec.norm(dim=1, keepdim=True))
        sae.allocation.observe(out.codes)
        self.tracker.update_counts(active.numpy(), self.batch_size)
        dead = self.tracker.dead(self.dead_after)
        for name, value in (
            ("loss", float(figures[0])), ("aux", float(figures[1])),
            ("l0", int(active.sum()) / self.batch_size), ("dead", float(dead.mean())),
        ):  # fmt: skip
            self.history[name].append(value)
        if self.resample and step and step % self.refresh == 0 and dead.any():
            self._resample(optimiser, dead, rows, out)

    def _taylor(self, recon: torch.Tensor, x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        unit = (x - x.mean(dim=0)).norm(dim=1) @ g.norm(dim=1)
        return ((x - recon) * g).sum(dim=1).abs().sum() / unit.clamp(min=torch.finfo(unit.dtype).tiny)

    def _auxiliary(self, x: torch.Tensor, out: SAEOutput, step: int) -> torch.Tensor:
        if self.aux == "zipf" and self.zipf is not None:
            turn = step - step % self.refresh
            return aux_zipf_loss(self.sae, x, out, self.tracker.density, self.zipf, self.k_aux, rotation=turn)
        return aux_k_loss(self.sae, x, out, self.tracker.dead(self.dead_after), self.k_aux)

    @torch.no_grad()
    def _resample(self, optimiser: Any, dead: np.ndarray, x: torch.Tensor, out: SAEOutput) -> None:
        sae = self.sae
        residual = x - out.recon
        worst = residual.norm(dim=1).argsort(descending=True, stable=True)[: int(dead.sum())]
        rows = torch.from_numpy(np.flatnonzero(dead))[: len(worst)]
        unit = nn.functional.normalize(residual[worst], dim=1)
        live = torch.from_numpy(~dead)
        size = sae.W_enc[live].norm(dim=1).mean() if bool(live.any()) else 1.0
        for parameter, value in ((sae.W_dec, unit), (sae.W_enc, 0.2 * size * unit), (sae.b_enc, 0.0)):
            parameter[rows] = value
            optimiser.forget(parameter, rows)

    def _optimiser(self) -> Any:
        parameters, betas, eps = list(self.sae.parameters()), (0.9, 0.999), 6.25e-10
        return LazyAdam(parameters, betas, eps) if self.lazy_adam else _DenseAdam(parameters, betas, eps)


class _DenseAdam:
    """torch's Adam with the interface of :class:`LazyAdam`."""

    def __init__(self, parameters: Sequence[torch.Tensor], betas: tuple[float, float], eps: float) -> None:
        self._adam = torch.optim.Adam(
            parameters, betas=betas, eps=eps, fused=parameters[0].dtype.itemsize >= 4
        )

    def zero_grad(self) -> None:
        self._adam.zero_grad(set_to_none=True)

    def step(self, rate: float) -> None:
        self._adam.param_groups[0]["lr"] = rate
        self._adam.step()

    def forget(self, parameter: torch.Tensor, rows: torch.Tensor) -> None:
        state = self._adam.state[parameter]
        state["exp_avg"][rows] = 0
        state["exp_avg_sq"][rows] = 0


def _automatic_rate(n_features: int, steps: int) -> float:
    """Of the form that is usual for long training; a short one has to go faster. Above 4e-3 many features die."""
    return min(4e-3, 3e-4 * math.sqrt(2**14 / n_features * max(1.0, 30_000 / steps)))


def _schedule(step: int, steps: int) -> float:
    """Linear up over the first 1 %, linear down over the last 20 %."""
    rising, falling = max(1, steps // 100), max(1, steps // 5)
    return min((step + 1) / rising, (steps - step) / falling, 1.0)


@torch.no_grad()
def _turn(weight: torch.Tensor) -> None:
    """Take the part along each row out of the row's gradient."""
    if weight.grad is not None:
        weight.grad.addcmul_((weight.grad * weight).sum(dim=1, keepdim=True), weight, value=-1)


def _rows(data: Any, which: np.ndarray) -> torch.Tensor:
    found = to_torch(data[torch.from_numpy(which)] if isinstance(data, torch.Tensor) else data[which])
    return found.float() if found.dtype == torch.float16 else found


def _batches(
    x: Any, g: Any, batch: int, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """Batches for ever: blocks of rows in random order fill a buffer, whose rows are shuffled."""
    n = len(x)
    blocks = np.arange(-(-n // _BLOCK))
    order: list[int] = []
    left: np.ndarray = np.empty(0, np.int64)
    while True:
        pieces = [left]
        while sum(map(len, pieces)) < max(batch, min(n, _BUFFER)):
            if not order:
                order = rng.permutation(blocks).tolist()
            first = order.pop() * _BLOCK
            pieces.append(np.arange(first, min(n, first + _BLOCK)))
        rows = rng.permutation(np.concatenate(pieces))
        used = len(rows) // batch * batch
        left = rows[used:]
        held = np.unique(rows)
        values, slopes = _rows(x, held), None if g is None else _rows(g, held)
        where = torch.from_numpy(np.searchsorted(held, rows[:used]))
        for part in where.split(batch):
            yield values[part], None if slopes is None else slopes[part]


__all__ = ["SAETrainer"]
