"""Train a network to propose conjugate directions, without solving a single system."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, FormatError
from gossamer._core.files import atomic_path
from gossamer._core.results import Result
from gossamer.solve.linear.learned.direction import DeepConjugateDirection
from gossamer.solve.linear.learned.ritz_sides import RitzSides, ritz_rhs_dataset
from gossamer.solve.operators import check_operator

WARMUP = 100
"""Steps in which the learning rate rises, or a tenth of all if that is less."""
LONGEST = 1.0
"""Norm that gradients are cut to: one odd batch shall not undo many."""


@dataclass(frozen=True, kw_only=True)
class DirectionTraining(Result):
    """What :func:`train_direction` returns; the network itself is trained in place.

    Attributes
    ----------
    loss : float
        Mean over right sides that were not trained on.
    steps : int
        Of the optimiser, those before a checkpoint included.
    seconds : float
        Processor time of this call.
    """

    loss: float = math.nan
    steps: int = 0
    seconds: float = math.nan


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSystem:
    """One system of several that a network is trained on, for :func:`train_direction`.

    Attributes
    ----------
    direction : DeepConjugateDirection
        The network on the grid of the system.
    A : array, sparse matrix, StructuredMatrix or LinearOperator, shape (n, n)
        The system.
    data : RitzSides
        Its right sides.
    batch_size : int
        Right sides a step.
    share : float
        How often it is drawn, in relation to others.
    """

    direction: DeepConjugateDirection
    A: Any
    data: RitzSides
    batch_size: int = 16
    share: float = 1.0


def torch_product(A: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the product with a symmetric matrix as a function of rows, (B, n) to (B, n), with its gradient."""
    operator = check_operator("A", A)

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, z: torch.Tensor) -> torch.Tensor:
            columns = z.detach().cpu().numpy().T
            return torch.from_numpy(np.ascontiguousarray(operator.matmat(columns).T)).to(z)

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return Product.apply(grad)

    return Product.apply


def direction_loss(
    z: torch.Tensor, b: torch.Tensor, product: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    r"""Mean squared residual after the best step along each direction, :math:`|b - \alpha A z|^2`.

    .. math:: \alpha = z^T b / z^T A z

    Zero where z is parallel to the solution, and the same for every multiple of z.

    Parameters
    ----------
    z : Tensor, shape (B, n)
        Directions.
    b : Tensor, shape (B, n)
        Right sides, of norm 1.
    product : callable
        Rows times ``A``, with gradients: :func:`torch_product`, or a system's own.
    """
    z = z / z.norm(dim=1, keepdim=True).clamp_min(torch.finfo(z.dtype).tiny)
    image = product(z)
    curvature = (z * image).sum(dim=1)
    curvature = curvature + 1e-12 * (curvature <= 1e-12)
    alpha = (z * b).sum(dim=1) / curvature
    return (b - alpha[:, None] * image).square().sum(dim=1).mean()


def train_direction(
    direction: DeepConjugateDirection,
    A: Any,
    *,
    steps: int,
    batch_size: int = 16,
    lr: float = 1e-3,
    final_lr: float = 1e-5,
    data: RitzSides | None = None,
    others: Sequence[TrainingSystem] = (),
    random_state: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 250,
    log: Callable[[str], Any] | None = None,
) -> DirectionTraining:
    """Fit the network of a direction to a matrix, by Adam on :func:`direction_loss`.

    The rate rises for 100 steps (a tenth of all, if that is less) and falls along a cosine; gradients longer than 1 are
    cut to that length. A step's right sides depend on the seed and the number of the step only, so that a run that goes
    on from a checkpoint ends as if it had not been interrupted.

    Parameters
    ----------
    direction : DeepConjugateDirection
        Its network is trained in place.
    A : array, sparse matrix, StructuredMatrix or LinearOperator, shape (n, n)
        Symmetric positive semidefinite, of the grid of ``direction``.
    steps : int
        Of the optimiser.
    batch_size : int
        Right sides a step. Published: 10.
    lr, final_lr : float
        Largest and last rate. Published: 1e-4 throughout.
    data : RitzSides, optional
        Right sides; ``ritz_rhs_dataset(A, n_ritz=min(2000, n // 2))`` by default.
    others : sequence of TrainingSystem
        More systems for the same network, such as other grids: each step draws one of them, or ``A`` with a share
        of 1.
    random_state : int
        Seed of the right sides.
    checkpoint : path, optional
        File that the state is written to every ``every`` steps, and read from at the start if it is there.
    every : int
        Steps between two looks at the loss on other right sides.
    log : callable, optional
        Is handed a line of text at every look.

    Returns
    -------
    DirectionTraining
        ``history`` has ``step``, ``train`` (mean since the last look) and ``loss`` (on other right sides).

    Raises
    ------
    FormatError
        If the checkpoint is damaged, or of another network.
    ArgumentError, ShapeError, UnsupportedError
        If an argument is out of range or does not fit.
    """
    begin = time.process_time()
    check_int("steps", steps, low=1)
    check_int("every", every, low=1)
    seed = check_int("random_state", random_state, low=0)
    check_float("lr", lr, low=0, closed="right")
    check_float("final_lr", final_lr, low=0, high=lr)
    if data is None:
        data = ritz_rhs_dataset(A, n_ritz=min(2000, max(direction.n // 2, 1)), random_state=seed)
    first = TrainingSystem(direction=direction, A=A, data=data, batch_size=batch_size)
    net = direction.net.train()
    lessons = [_Lesson(system, net, seed) for system in (first, *others)]
    shares = np.array([check_float("share", lesson.system.share, low=0) for lesson in lessons])
    shares /= shares.sum()
    optimizer = torch.optim.Adam(net.parameters(), lr)
    done = _load(checkpoint, net, optimizer) if checkpoint is not None and Path(checkpoint).exists() else 0
    history: dict[str, list[Any]] = {"step": [], "train": [], "loss": []}
    total, other, warmup = 0.0, math.nan, min(WARMUP, steps // 10) or 1

    def unseen() -> float:
        return float(shares @ [lesson.unseen() for lesson in lessons])

    for step in range(done, steps):
        progress = (step - warmup) / max(steps - warmup, 1)
        cosine = final_lr + (lr - final_lr) * (1 + math.cos(math.pi * max(progress, 0))) / 2
        for group in optimizer.param_groups:
            group["lr"] = cosine * min(1, (step + 1) / warmup)
        optimizer.zero_grad()
        lesson = lessons[np.random.default_rng([seed, 2, step]).choice(len(lessons), p=shares)]
        loss = lesson.loss(np.random.default_rng([seed, 0, step]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), LONGEST)
        optimizer.step()
        total += float(loss.detach())
        if (step + 1) % every == 0 or step + 1 == steps:
            other = unseen()
            for name, value in zip(history, (step + 1, total / (step % every + 1), other)):
                history[name].append(value)
            total = 0.0
            if checkpoint is not None:
                _save(checkpoint, net, optimizer, step + 1)
            if log is not None:
                spent, train = time.process_time() - begin, history["train"][-1]
                log(f"step {step + 1} of {steps}: loss {other:.5f}, {train:.5f} in training, {spent:.0f} s")
    if done >= steps:
        other = unseen()
    net.eval()
    return DirectionTraining(
        success=True,
        message=f"loss {other:.4g} after {max(done, steps)} steps",
        history=history,
        loss=other,
        steps=max(done, steps),
        seconds=time.process_time() - begin,
    )


class _Lesson:
    """A system with what its loss needs, and right sides that are not trained on."""

    def __init__(self, system: TrainingSystem, net: torch.nn.Module, seed: int) -> None:
        if system.direction.net is not net:
            raise ArgumentError(
                "others has a direction of another network: expected one network for all systems"
            )
        self.system, self.product = system, torch_product(system.A)
        check_int("batch_size", system.batch_size, low=1)
        self.fresh = torch.from_numpy(system.data.draw(64, np.random.default_rng([seed, 1])))

    def loss(self, rng: np.random.Generator) -> torch.Tensor:
        """Of a new batch."""
        return self._loss_of(torch.from_numpy(self.system.data.draw(self.system.batch_size, rng)))

    @torch.no_grad()
    def unseen(self) -> float:
        """Of right sides that are not trained on."""
        return float(np.mean([float(self._loss_of(part)) for part in self.fresh.split(16)]))

    def _loss_of(self, sides: torch.Tensor) -> torch.Tensor:
        return direction_loss(self.system.direction.propose(sides), sides, self.product)


def _save(path: Any, net: Any, optimizer: torch.optim.Adam, step: int) -> None:
    tensors = {f"net.{name}": value.contiguous() for name, value in net.state_dict().items()}
    for name, parameter in net.named_parameters():
        for key in ("exp_avg", "exp_avg_sq"):
            tensors[f"{key}.{name}"] = optimizer.state[parameter][key].contiguous()
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata={"step": str(step)})


def _load(path: Any, net: Any, optimizer: torch.optim.Adam) -> int:
    try:
        with safe_open(Path(path), framework="pt") as handle:
            step = int((handle.metadata() or {})["step"])
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        net.load_state_dict({k.removeprefix("net."): v for k, v in tensors.items() if k.startswith("net.")})
        for name, parameter in net.named_parameters():
            averages = {key: tensors[f"{key}.{name}"] for key in ("exp_avg", "exp_avg_sq")}
            if any(value.shape != parameter.shape for value in averages.values()):
                raise FormatError(f"{path}: averages of {name} have another shape than it")
            optimizer.state[parameter] = {"step": torch.tensor(float(step)), **averages}
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise FormatError(f"{path}: not a checkpoint of this network ({error})") from None
    return step
