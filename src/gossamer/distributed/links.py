"""How a server reaches its workers: other processes, each behind a thread of its own, or models in this process.

A process answers when it wants, or never. The thread that waits for it has no time limit, since gloo closes all its
connections when one operation times out; the server has one, and goes on without those who are late. An answer that
comes later is recognised by its step and thrown away; the worker then gets the present one.
"""

from __future__ import annotations

import queue
import threading
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from gossamer._core.errors import ArgumentError, GossamerError
from gossamer.distributed.flat_model import Worker

SERVER = 0
FOREVER = timedelta(days=365)
JOIN, FINISH, GIVE_UP, FAILED = -1, -2, -3, -4  # in the place of a step


class Event(NamedTuple):
    """What a link reports: an answer (its step), that the worker is there (JOIN), or that it is lost (FAILED)."""

    worker: int
    step: int
    loss: float
    message: Any


class LocalWorkers:
    """Workers that take turns in this process."""

    def __init__(self, workers: dict[int, Worker]) -> None:
        self._workers = workers

    def collect(self, step: int, state: torch.Tensor) -> dict[int, tuple[float, torch.Tensor]]:
        """Loss and message of every worker."""
        return {number: worker.answer(step, state) for number, worker in self._workers.items()}

    def close(self, state: torch.Tensor, failed: bool) -> None:
        """Nothing to tell anybody."""


class RemoteWorkers:
    """Workers in the processes 1 to p of the default group of torch.distributed.

    Parameters
    ----------
    count : int
        p.
    size, dtype
        Of a message.
    timeout : float
        Seconds that a step waits for answers, and that the end waits for everybody to be told.
    """

    def __init__(self, count: int, size: int, dtype: torch.dtype, timeout: float) -> None:
        self._size, self._timeout = size, timeout
        self._inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._links = {w: _Link(w, size, dtype, self._inbox) for w in range(count)}
        self._idle: set[int] = set()
        for link in self._links.values():
            link.start()

    def collect(self, step: int, state: torch.Tensor) -> dict[int, tuple[float, torch.Tensor]]:
        """Loss and message of those who answered in time."""
        awaited = set(self._idle) if step else set(self._links)
        for worker in sorted(self._idle):
            self._ask(worker, step, state)
        deadline = time.monotonic() + self._timeout
        answers: dict[int, tuple[float, torch.Tensor]] = {}
        while awaited - answers.keys():
            try:
                event = self._inbox.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                break
            worker = event.worker
            if event.step == FAILED:
                del self._links[worker]
                self._idle.discard(worker)
                awaited.discard(worker)
                warnings.warn(
                    f"step {step}: lost worker {worker}: {event.message}", RuntimeWarning, stacklevel=2
                )
                continue
            if event.step == JOIN and int(event.loss) != self._size:
                raise ArgumentError(
                    f"the model of worker {worker} has {int(event.loss)} numbers: expected {self._size}, as here"
                )
            self._idle.add(worker)
            if event.step == step:
                answers[worker] = event.loss, event.message
            else:
                self._ask(worker, step, state)
                awaited.add(worker)
        return answers

    def close(self, state: torch.Tensor, failed: bool) -> None:
        """Tell all who listen that this is the end, and give them the last state."""
        deadline = time.monotonic() + self._timeout
        for link in self._links.values():
            link.orders.put((GIVE_UP if failed else FINISH, state))
        for link in self._links.values():
            link.join(max(deadline - time.monotonic(), 0.0))

    def _ask(self, worker: int, step: int, state: torch.Tensor) -> None:
        self._idle.discard(worker)
        self._links[worker].orders.put((step, state))


class _Link(threading.Thread):
    def __init__(self, worker: int, size: int, dtype: torch.dtype, inbox: queue.SimpleQueue[Event]) -> None:
        super().__init__(name=f"link to worker {worker}", daemon=True)
        self.orders: queue.SimpleQueue[tuple[int, torch.Tensor]] = queue.SimpleQueue()
        self._worker, self._rank, self._inbox = worker, worker + 1, inbox
        self._message = torch.empty(size, dtype=dtype)

    def run(self) -> None:
        try:
            step, count = self._header()
            self._inbox.put(Event(self._worker, step, count, None))
            while True:
                order, state = self.orders.get()
                self._send(torch.tensor([order]))
                self._send(state)
                if order < 0:
                    return
                step, loss = self._header()
                if step == FAILED:
                    raise RuntimeError("it could not compute its gradient")
                self._receive(self._message)
                self._inbox.put(Event(self._worker, step, loss, self._message))
        except RuntimeError as error:  # what gloo raises when the other end is gone
            self._inbox.put(Event(self._worker, FAILED, 0.0, str(error)))

    def _header(self) -> tuple[int, float]:
        header = torch.empty(2, dtype=torch.float64)
        self._receive(header)
        return int(header[0]), float(header[1])

    def _send(self, tensor: torch.Tensor) -> None:
        _wait(dist.isend(tensor, self._rank))

    def _receive(self, tensor: torch.Tensor) -> None:
        _wait(dist.irecv(tensor, self._rank))


def serve(worker: Worker, size: int, state: torch.Tensor, write: Callable[[torch.Tensor], None]) -> None:
    """The life of a worker process: gradients at the states that the server sends, until it says that this is the end.

    Parameters
    ----------
    worker : Worker
        Of this process.
    size : int
        Of a message.
    state : torch.Tensor
        Where states are received.
    write : callable
        Takes the last state.
    """
    _report(JOIN, size)
    order = torch.empty(1, dtype=torch.int64)
    while True:
        dist.recv(order, SERVER)
        dist.recv(state, SERVER)
        step = int(order)
        if step == GIVE_UP:
            raise GossamerError("the server stopped because of an error")
        if step < 0:
            write(state)
            return
        try:
            loss, message = worker.answer(step, state)
        except BaseException:
            _report(FAILED, 0.0)
            raise
        _report(step, loss)
        dist.send(message, SERVER)


def _wait(work: dist.Work | None) -> None:
    if work is not None:
        work.wait(FOREVER)


def _report(step: int, value: float) -> None:
    dist.send(torch.tensor([step, value], dtype=torch.float64), SERVER)
