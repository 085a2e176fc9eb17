"""A parameter server: one process holds the model, others send gradients, some of them bad ones or none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, UnsupportedError, bad_argument
from gossamer._core.results import Result
from gossamer.distributed.attacks import ATTACKS, Attack, attack_gradients, drop_packets
from gossamer.distributed.flat_model import FlatModel, Worker
from gossamer.distributed.links import SERVER, LocalWorkers, RemoteWorkers, serve
from gossamer.solve import AGGREGATORS, aggregate


@dataclass(frozen=True, kw_only=True)
class ServerResult(Result):
    """What a server saw of its workers; ``history`` has the median loss, the number of answers and the seconds a step.

    Attributes
    ----------
    present : ndarray of bool, shape (steps, p)
        Who answered in time.
    losses : ndarray, shape (steps, p)
        Loss of every worker's batch; NaN where no answer came in time.
    quality : ndarray, shape (steps, p)
        With the rule "flag": share of every worker's gradient in the subspace; NaN without an answer. Otherwise empty.
    """

    present: np.ndarray = field(default_factory=lambda: np.empty((0, 0), bool), repr=False)
    losses: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    quality: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), repr=False)


class ParameterServer:
    r"""Synchronous training with p workers whose gradients are combined by a robust rule.

    In every step the server sends the parameters, each worker computes the gradient of its next batch, and the server
    combines what arrives within ``timeout`` and lets the optimiser step. Who is late or dead is missing in that step:
    p shrinks. Who is late is asked again; who is dead is not.

    Create it, and call :meth:`fit`, in every process of a torch.distributed group (for instance under ``torchrun``):
    process 0 is the server, process r the worker r - 1. ``fit(..., workers=p)`` needs no processes: the same history,
    computed in this one.

    Parameters
    ----------
    model : torch.nn.Module
        On any device. Floating buffers (running statistics) travel with the parameters; the server takes the median
        of what workers return. Parameters that need no gradient do not travel: build them equal everywhere.
    loss_fn : callable
        Of ``model(inputs)`` and targets: the mean over the batch.
    rule : str or callable
        As for :func:`gossamer.solve.aggregate`.
    f : int
        Bad workers assumed, for the rules that want to know. It stays while p shrinks: where the rule's inequality
        then fails, training ends with an error rather than with a weaker guarantee.
    optimizer : torch.optim.Optimizer, optional
        Of the model's parameters; plain SGD with rate 0.1 by default. Only the server's makes steps.
    attack : str or callable, optional
        To try a rule out: what the server finds in place of the gradients of ``byzantine_ranks``, as by
        :func:`attack_gradients`.
    byzantine_ranks : iterable of int
        Their ranks, in 1..p.
    drop_rate : float
        To try a rule out: share of coordinates of every gradient that the network loses (zeros arrive).
    backend : str
        Of the group, if none exists yet and ``fit`` has to join one (from the environment, as ``torchrun`` sets it).
    timeout : float
        Seconds that the server waits in a step. Workers wait as long as their process group lets them.
    rule_options, attack_options : mapping, optional
        Options of the rule and of the attack.
    seed : int
        Of attacks, losses of packets, and the workers' random numbers in torch on the CPU (dropout, augmentation).

    Raises
    ------
    ArgumentError, UnsupportedError
        An unknown rule or attack, ranks that are no workers, an optimiser of other parameters, mixed dtypes.

    Notes
    -----
    A message has the size of the model; the server keeps p of them. For models larger than that, see
    :class:`ShardedAggregator`. gloo trusts the form of messages: do not expose its ports to strangers.

    References
    ----------
    Almasi, Mishra, Vamanan, Ravi. Flag Aggregator: Scalable Distributed Training under Failures and Augmented Losses
    using Convex Optimization. ICLR 2024, arXiv 2302.05865.

    Examples
    --------
    >>> import torch
    >>> from gossamer.distributed import ParameterServer
    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(5, 64, 3)
    >>> y = x @ torch.tensor([[1.0], [2.0], [3.0]])
    >>> model = torch.nn.Linear(3, 1)
    >>> server = ParameterServer(
    ...     model, torch.nn.functional.mse_loss, rule="flag", attack="reverse", byzantine_ranks=[2]
    ... )
    >>> result = server.fit(lambda worker: [(x[worker], y[worker])], steps=200, workers=5)
    >>> model.weight.detach().round(decimals=2).tolist()
    [[1.0, 2.0, 3.0]]
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss_fn: Callable[..., torch.Tensor],
        rule: str | Callable[..., Any] = "flag",
        f: int = 0,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        attack: str | Attack | None = None,
        byzantine_ranks: Iterable[int] = (),
        drop_rate: float = 0.0,
        backend: str = "gloo",
        timeout: float = 60.0,
        rule_options: Mapping[str, Any] | None = None,
        attack_options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self._flat = FlatModel(model)
        self.model, self.loss_fn = model, loss_fn
        self.rule = rule if callable(rule) else check_choice("rule", rule, AGGREGATORS)
        self.f = check_int("f", f, low=0)
        self.optimizer = torch.optim.SGD(self._flat.parameters, 0.1) if optimizer is None else optimizer
        owned = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        if not owned <= {id(p) for p in model.parameters()}:
            raise bad_argument(
                "optimizer", type(optimizer).__name__, "an optimiser of the model's parameters"
            )
        self.attack = (
            attack if attack is None or callable(attack) else check_choice("attack", attack, ATTACKS)
        )
        self.byzantine_ranks = frozenset(check_int("byzantine_ranks", r, low=1) for r in byzantine_ranks)
        if self.byzantine_ranks and attack is None:
            raise bad_argument("attack", attack, "an attack for byzantine_ranks")
        self.drop_rate = check_float("drop_rate", drop_rate, low=0, high=1)
        self.timeout = check_float("timeout", timeout, low=0, closed="neither")
        if "gloo" not in backend:
            raise bad_argument("backend", backend, "gloo, or a list with it such as 'cpu:gloo,cuda:nccl'")
        self.backend = backend
        self.rule_options, self.attack_options = dict(rule_options or {}), dict(attack_options or {})
        self.seed = check_int("seed", seed, low=0)

    def fit(
        self,
        worker_loader_fn: Callable[[int], Iterable[Any]],
        steps: int,
        *,
        workers: int | None = None,
        callback: Callable[[int], None] | None = None,
    ) -> ServerResult | None:
        """Train, and return what happened; in worker processes None. All end with the server's parameters.

        Parameters
        ----------
        worker_loader_fn : callable
            Gives worker 0 to p - 1 its batches, pairs of inputs and targets; they are begun anew when they end.
        steps : int
            Steps of the optimiser.
        workers : int, optional
            Simulate so many in this process.
        callback : callable, optional
            Called in the server after every step, with its number.

        Raises
        ------
        ArgumentError
            Fewer than two workers, fewer than two answers in a step, or f too large for those that came.
        """
        steps = check_int("steps", steps, low=1)
        if workers is not None:
            self._check_workers("workers", check_int("workers", workers, low=2))
            local = {w: self._worker(worker_loader_fn, w) for w in range(workers)}
            return self._train(LocalWorkers(local), workers, steps, callback)
        joined = self._join()
        try:
            p = dist.get_world_size() - 1
            self._check_workers("world size - 1", check_int("world size - 1", p, low=2))
            rank = dist.get_rank()
            if rank != SERVER:
                worker = self._worker(worker_loader_fn, rank - 1)
                serve(worker, self._flat.size, self._flat.state(), self._flat.write)
                return None
            remote = RemoteWorkers(p, self._flat.size, self._flat.dtype, self.timeout)
            return self._train(remote, p, steps, callback)
        finally:
            if joined:
                dist.destroy_process_group()

    def _train(
        self, source: LocalWorkers | RemoteWorkers, p: int, steps: int, callback: Callable[[int], None] | None
    ) -> ServerResult:
        losses = np.full((steps, p), np.nan)
        quality = np.full((steps, p), np.nan) if self.rule == "flag" else np.empty((0, 0))
        history: dict[str, list[Any]] = {"loss": [], "workers": [], "waited": [], "combined": []}
        there = np.zeros((steps, p), bool)
        state, failed = self._flat.state(), True
        try:
            for step in range(steps):
                start = time.perf_counter()
                answers = dict(sorted(source.collect(step, state).items()))
                arrived = time.perf_counter()
                if len(answers) < 2:
                    raise ArgumentError(
                        f"step {step}: {len(answers)} of {p} workers answered within {self.timeout:g} s: "
                        "expected at least 2"
                    )
                present = list(answers)
                found = self._step(step, answers)
                state = self._flat.state()
                there[step, present] = True
                losses[step, present] = [loss for loss, _ in answers.values()]
                if found is not None:
                    quality[step, present] = found
                history["loss"].append(float(np.median(losses[step, present])))
                history["workers"].append(len(present))
                history["waited"].append(arrived - start)
                history["combined"].append(time.perf_counter() - arrived)
                if callback is not None:
                    callback(step)
            failed = False
        finally:
            source.close(state, failed)
        return ServerResult(
            message=f"{steps} steps", history=history, present=there, losses=losses, quality=quality
        )

    def _step(self, step: int, answers: Mapping[int, tuple[float, torch.Tensor]]) -> np.ndarray | None:
        present, n = list(answers), self._flat.n
        G: Any = [message[:n] for _, message in answers.values()]
        where: dict[str, Any] = {"seed": self.seed, "step": step, "workers": present}
        bad = [i for i, w in enumerate(present) if w + 1 in self.byzantine_ranks]
        if self.attack is not None and bad:
            G = attack_gradients(G, self.attack, bad, **where, **self.attack_options)
        if self.drop_rate:
            G = drop_packets(G, self.drop_rate, **where)
        options = self.rule_options | ({"return_info": True} if self.rule == "flag" else {})
        x = aggregate(G, self.rule, self.f, **options)
        x, info = x if self.rule == "flag" else (x, None)
        self._flat.write_gradient(x)
        self.optimizer.step()
        if self._flat.buffers:
            self._flat.write_buffers(aggregate([message[n:] for _, message in answers.values()], "median"))
        return None if info is None else info.quality

    def _worker(self, worker_loader_fn: Callable[[int], Iterable[Any]], number: int) -> Worker:
        return Worker(self._flat, self.loss_fn, worker_loader_fn(number), number, self.seed)

    def _check_workers(self, name: str, p: int) -> None:
        if any(rank > p for rank in self.byzantine_ranks):
            raise bad_argument(
                "byzantine_ranks", sorted(self.byzantine_ranks), f"ranks in 1..{p}, as {name} is {p}"
            )

    def _join(self) -> bool:
        if dist.is_initialized():
            if "gloo" not in str(dist.get_backend_config()):
                raise UnsupportedError(
                    f"the process group has the backend {dist.get_backend()}: expected gloo for the CPU"
                )
            return False
        dist.init_process_group(self.backend)
        return True
