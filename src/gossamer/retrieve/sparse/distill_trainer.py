"""The training of a sparse document encoder: a ranking loss by teachers, and the IDF-aware penalty."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer._core.files import atomic_path
from gossamer.retrieve.sparse.doc_encoder import SparseDocEncoder
from gossamer.retrieve.sparse.losses import (
    flops_loss,
    info_nce_loss,
    kl_loss,
    margin_mse_loss,
    quadratic_ramp,
)
from gossamer.retrieve.sparse.query_encoder import IDFQueryEncoder
from gossamer.retrieve.sparse.teacher import Teacher
from gossamer.retrieve.sparse.word_pieces import as_texts

_LOSSES = ("kl", "info_nce", "margin_mse")


class SparseDistillTrainer:
    """Train a document encoder whose queries need no model.

    The loss is ``L_rank + lambda_d min(1, (step + 1) / ramp_steps)^2 L_FLOPS(w)``. Scores are ``sum_j IDF_j w_j`` over
    the tokens of the query, which makes the penalty on ``w`` the IDF-aware one (see :func:`idf_flops_loss`). AdamW,
    with a warm-up and then a linear decay of the learning rate.

    Parameters
    ----------
    encoder : SparseDocEncoder
        Trained in place. Its pruning does not take part.
    query_encoder : IDFQueryEncoder
        The weights of query tokens; with a table of ones this is SPLADE-doc.
    teacher : callable, optional
        Scores (nq, nd) of documents for queries, as :class:`HeterogeneousTeacher`; needed by ``"kl"`` and
        ``"margin_mse"`` where :meth:`fit` is not given scores.
    lambda_d : float
        The penalty's weight: 0.002 to 0.05 for teachers of scale 30.
    ramp_steps : int
        Steps until the penalty is whole: a few hundred for a short fine-tuning, ten thousands for pre-training.
    lr : float
        Learning rate at its peak.
    batch_size : int
        Queries of a batch.
    accumulate : int
        Batches of a step; candidates are those of the own batch.
    loss : {"kl", "info_nce", "margin_mse"}
        The ranking loss.
    temperature : float
        Of ``"kl"`` and ``"info_nce"``.
    threshold : int, optional
        Documents with fewer entries escape the penalty.
    weight_decay, warmup : float
        Of AdamW; the share of the steps in which the learning rate rises.
    seed : int
        Of the order of examples and of dropout.
    progress : callable, optional
        Called with the number of steps done.

    Attributes
    ----------
    history : dict of str to list of float
        ``loss``, ``rank``, ``flops``, ``nonzeros`` (a document) and ``lr`` of each step.

    References
    ----------
    Geng, Ru, Yang, *Towards competitive search relevance for inference-free learned sparse retrievers*,
    arXiv 2411.04403, 2024.

    Examples
    --------
    >>> trainer = SparseDistillTrainer(encoder, queries, teacher, lambda_d=0.01)  # doctest: +SKIP
    >>> trainer.fit([("a query", "its document"), ("another", "its own")], steps=150)  # doctest: +SKIP
    """

    def __init__(
        self,
        encoder: SparseDocEncoder,
        query_encoder: IDFQueryEncoder,
        teacher: Teacher | None = None,
        lambda_d: float = 0.01,
        ramp_steps: int = 200,
        lr: float = 2e-5,
        *,
        batch_size: int = 32,
        accumulate: int = 1,
        loss: str = "kl",
        temperature: float = 1.0,
        threshold: int | None = None,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        seed: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        if len(query_encoder.idf) != encoder.vocabulary:
            raise ShapeError(
                f"query_encoder has {len(query_encoder.idf)} tokens: expected {encoder.vocabulary}, as the encoder has"
            )
        self.encoder, self.query_encoder, self.teacher = encoder, query_encoder, teacher
        self.lambda_d = check_float("lambda_d", lambda_d, low=0)
        self.ramp_steps = check_int("ramp_steps", ramp_steps, low=0)
        self.lr = check_float("lr", lr, low=0, closed="neither")
        self.batch_size = check_int("batch_size", batch_size, low=1)
        self.accumulate = check_int("accumulate", accumulate, low=1)
        self.loss = check_choice("loss", loss, _LOSSES)
        self.temperature = check_float("temperature", temperature, low=0, closed="neither")
        self.threshold = None if threshold is None else check_int("threshold", threshold, low=0)
        self.weight_decay = check_float("weight_decay", weight_decay, low=0)
        self.warmup = check_float("warmup", warmup, low=0, high=1)
        self.seed, self.progress = check_int("seed", seed, low=0, high=2**31 - 1), progress
        self.history: dict[str, list[float]] = {k: [] for k in ("loss", "rank", "flops", "nonzeros", "lr")}

    def fit(
        self,
        examples: Sequence[Sequence[str]],
        steps: int,
        *,
        scores: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        every: int = 100,
    ) -> SparseDistillTrainer:
        """Train for so many steps.

        Parameters
        ----------
        examples : sequence of tuples of str
            ``(query, document)``: all documents of a batch are candidates. ``(query, positive, negative, ...)``, all of
            one length: those documents are.
        steps : int
            Of the optimiser.
        scores : array of shape (len(examples), documents), optional
            The teacher's scores of each example's own documents, computed before.
        checkpoint : path, optional
            A file that is written every so many steps and at the end. If it is there, training goes on from it, with
            the same bits as if it had not stopped.
        every : int
            Steps between two checkpoints.

        Returns
        -------
        SparseDistillTrainer
            Itself.

        Raises
        ------
        ArgumentError
            For no examples, ragged ones, or a loss that has no teacher.
        FormatError
            If the checkpoint is damaged or of another training.
        """
        examples, count = _checked(examples)
        steps, every = check_int("steps", steps, low=1), check_int("every", every, low=1)
        if scores is not None:
            scores = np.asarray(scores, np.float32)
            if count < 2 or scores.shape != (len(examples), count):
                raise ShapeError(
                    f"scores have shape {scores.shape}: expected ({len(examples)}, {count}), 2 or more"
                )
        if self.loss != "info_nce" and self.teacher is None and scores is None:
            raise ArgumentError(f"loss={self.loss!r} needs a teacher or scores")
        if self.loss == "margin_mse" and count < 2:
            raise ArgumentError(
                "loss='margin_mse' needs negatives: expected (query, positive, negative, ...)"
            )
        parameters = [p for _, p in self._named()]
        optimizer = torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)
        begin = 0
        if checkpoint is not None and Path(checkpoint).exists():
            begin = self._resume(checkpoint, optimizer, steps, len(examples))
        batches = self._batches(len(examples), begin * self.accumulate)
        was_training = self.encoder.model.training
        self.encoder.model.train()
        try:
            for step in range(begin, steps):
                self._step(
                    step, steps, [next(batches) for _ in range(self.accumulate)], examples, scores, optimizer
                )
                if checkpoint is not None and ((step + 1) % every == 0 or step + 1 == steps):
                    self._write(checkpoint, optimizer, step + 1, steps, len(examples))
                if self.progress is not None:
                    self.progress(step + 1)
        finally:
            self.encoder.model.train(was_training)
        return self

    def _step(
        self, step: int, steps: int, batches: list[np.ndarray], examples: Any, scores: Any, optimizer: Any
    ) -> None:
        rate = self.lr * _schedule(step, steps, self.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        ramp = self.lambda_d * quadratic_ramp(step, self.ramp_steps)
        optimizer.zero_grad()
        seen = np.zeros(4)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(
                (self.seed << 32) + step
            )  # dropout is a function of the step, so that resuming is exact
            for batch in batches:
                rank, flops, nonzeros = self._losses([examples[i] for i in batch], scores, batch)
                loss = rank + ramp * flops
                (loss / len(batches)).backward()
                seen += np.array([loss.item(), rank.item(), flops.item(), nonzeros]) / len(batches)
        if not np.isfinite(seen).all():
            raise ArgumentError(f"the loss is not finite at step {step}: try a smaller lr than {self.lr}")
        optimizer.step()
        for name, value in zip(self.history, (*seen, rate), strict=True):
            self.history[name].append(float(value))

    def _losses(
        self, batch: list[tuple[str, ...]], scores: Any, places: np.ndarray
    ) -> tuple[Any, Any, float]:
        queries, count = [example[0] for example in batch], len(batch[0]) - 1
        docs = [text for example in batch for text in example[1:]]
        encoder = self.encoder
        w = encoder.weights(encoder.pieces.ids(docs, max_length=encoder.max_length))
        q = torch.from_numpy(self.query_encoder.encode(queries).toarray()).to(w)
        if count == 1:
            student = q @ w.T
        else:
            student = (q[:, None] * w.reshape(len(batch), count, -1)).sum(-1)
        if self.loss == "info_nce":
            positive = None if count == 1 else torch.zeros(len(batch), dtype=torch.long, device=w.device)
            rank = info_nce_loss(student, positive, self.temperature)
        else:
            if scores is not None:
                taught = scores[places]
            elif count == 1:
                taught = self.teacher(queries, docs)  # type: ignore[misc]
            else:  # normalised over the query's own candidates
                taught = np.concatenate([self.teacher(example[:1], example[1:]) for example in batch])  # type: ignore[misc]
            target = torch.as_tensor(np.asarray(taught, np.float32)).to(w)
            rank = (
                kl_loss(student, target, self.temperature)
                if self.loss == "kl"
                else margin_mse_loss(student, target)
            )
        flops = flops_loss(w, slots=count, threshold=self.threshold)
        return rank, flops, float((w.detach() > 0).sum() / len(docs))

    def _batches(self, count: int, skip: int) -> Iterator[np.ndarray]:
        """Endless batches, each epoch in an order of its own; what an epoch's end leaves too small is dropped."""
        size = min(self.batch_size, count)
        epoch = 0
        while True:
            order = np.random.default_rng((self.seed, epoch)).permutation(count)
            for at in range(0, count - size + 1, size):
                if skip > 0:
                    skip -= 1
                else:
                    yield order[at : at + size]
            epoch += 1

    def _named(self) -> list[tuple[str, Any]]:
        return [(name, p) for name, p in self.encoder.model.named_parameters() if p.requires_grad]

    def _settings(self, steps: int, examples: int) -> dict[str, Any]:
        names = ("lambda_d", "ramp_steps", "lr", "batch_size", "accumulate", "loss", "temperature", "threshold",
                 "weight_decay", "warmup", "seed")  # fmt: skip
        return {**{name: getattr(self, name) for name in names}, "steps": steps, "examples": examples}

    def _write(self, path: Any, optimizer: Any, step: int, steps: int, examples: int) -> None:
        tensors = {}
        for name, p in self._named():
            tensors[f"weight.{name}"] = p.detach().contiguous()
            for key in ("exp_avg", "exp_avg_sq"):
                if key in optimizer.state[p]:  # not where no gradient came, as in a pooler
                    tensors[f"{key}.{name}"] = optimizer.state[p][key].contiguous()
        about = {"settings": self._settings(steps, examples), "step": step, "history": self.history}
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, {"training": json.dumps(about)})

    def _resume(self, path: Any, optimizer: Any, steps: int, examples: int) -> int:
        try:
            with safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {})["training"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            step, found, history = about["step"], about["settings"], about["history"]
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path}: not a checkpoint of this trainer ({error})") from None
        wanted = self._settings(steps, examples)
        other = [name for name in wanted if found.get(name) != wanted[name]]
        if other:
            raise FormatError(
                f"{path} is of a training with {other[0]}={found.get(other[0])!r}: expected {wanted[other[0]]!r}"
            )
        known = dict(self._named())
        shapes = {
            f"{kind}.{name}": p.shape
            for name, p in known.items()
            for kind in ("weight", "exp_avg", "exp_avg_sq")
        }
        good = all(shapes.get(name) == tensor.shape for name, tensor in tensors.items())
        if not good or not all(f"weight.{name}" in tensors for name in known):
            raise FormatError(f"{path}: its parameters are not those of the encoder")
        with torch.no_grad():
            for name, p in self._named():
                p.copy_(tensors[f"weight.{name}"])
                if f"exp_avg.{name}" not in tensors:
                    continue
                optimizer.state[p] = {
                    "step": torch.tensor(float(step)),
                    "exp_avg": tensors[f"exp_avg.{name}"].to(p),
                    "exp_avg_sq": tensors[f"exp_avg_sq.{name}"].to(p),
                }
        self.history = history
        return int(step)


def _checked(examples: Any) -> tuple[list[tuple[str, ...]], int]:
    found = [tuple(as_texts(f"examples[{i}]", example)) for i, example in enumerate(examples)]
    if not found:
        raise ArgumentError("examples is empty: expected at least one (query, document)")
    lengths = {len(example) for example in found}
    if len(lengths) != 1 or min(lengths) < 2:
        raise ArgumentError(
            f"examples have {sorted(lengths)} texts: expected a query and as many documents in each"
        )
    return found, lengths.pop() - 1


def _schedule(step: int, steps: int, warmup: float) -> float:
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return (steps - step) / max(1, steps - rising)
