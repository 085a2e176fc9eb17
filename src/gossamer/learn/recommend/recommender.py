"""What the recommenders share: the one training loop, top-k lists, costs, and files."""

from __future__ import annotations

import os
import time
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError, FormatError
from gossamer._core.random import check_random_state
from gossamer.learn.recommend.interactions import as_interactions, check_users
from gossamer.learn.recommend.stored_tables import StoredTables
from gossamer.learn.recommend.top_items import top_items
from gossamer.sparsify import DSLMasker, DynamicSparseTable, Exploration

_SCORES = 1 << 22  # at a time
_STOP = 0.8  # of the training, when weights cease to move


class Recommender(BaseEstimator):
    """A network on interactions, trained with a fixed number of live weights.

    Subclasses set the parameters ``density, epochs, lr, lr_final, batch_size, masker_options, verbose, random_state``
    and say what the network, its batches, its loss and its scores are.
    """

    density: float | None
    epochs: int
    lr: float
    lr_final: float
    batch_size: int
    masker_options: dict[str, Any] | None
    verbose: int
    random_state: Any

    seen_: scipy.sparse.csr_array
    history_: dict[str, list[float]]
    explorations_: list[Exploration]
    explored_fraction_: float
    n_live_: int
    n_users_: int
    n_items_: int
    n_iter_: int
    _stored: StoredTables

    def fit(self, R: Any, y: Any = None) -> Any:
        """Learn from interactions.

        Parameters
        ----------
        R : sparse matrix or array, shape (n_users, n_items)
            What is above zero is an interaction. Users without any are kept with zero vectors, with a warning.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ArgumentError, ShapeError
            For negative or NaN entries, no pair to learn from, or parameters out of range.
        """
        seen = as_interactions(R)
        self._check()
        rng = check_random_state(self.random_state)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        empty = np.flatnonzero(np.diff(seen.indptr) == 0)
        if len(empty):
            warnings.warn(
                f"R: {len(empty)} of {seen.shape[0]} users have no items, the first is {empty[0]}; they are kept with "
                "zero vectors",
                stacklevel=2,
            )
        network = self._network(seen, generator)
        with torch.no_grad():
            for name in self._user_tables:
                dict(network.named_parameters())[name][empty] = 0
        self._train(network, seen, rng, generator)
        return self

    def _train(
        self,
        network: torch.nn.Module,
        seen: scipy.sparse.csr_array,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> None:
        steps = self._n_batches(seen)
        total = steps * self.epochs
        params: dict[str, torch.Tensor] = dict(network.named_parameters())
        optimizer = torch.optim.Adam(params.values(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total, eta_min=self.lr_final)
        masker, seed = None, int(rng.integers(2**31))
        if self.density is not None:
            options = {
                "delta_t": max(total // 40, 1), "stop_fraction": _STOP, "seed": seed,
                **(self.masker_options or {}),
            }  # fmt: skip
            masker = DSLMasker(params, optimizer, density=self.density, total_steps=total, **options)
        self.history_ = {"loss": [], "seconds": []}
        done = 0
        for epoch in range(self.epochs):
            began, losses = time.perf_counter(), 0.0
            for batch in self._batches(seen, rng):
                optimizer.zero_grad()
                loss = self._loss(network, batch, done / total, generator)
                loss.backward()
                (optimizer if masker is None else masker).step()
                schedule.step()
                losses, done = losses + float(loss.detach()), done + 1
            if not np.isfinite(losses):
                raise ArgumentError(f"lr={self.lr!r}: the training diverged in epoch {epoch + 1}")
            self.history_["loss"].append(losses / steps)
            self.history_["seconds"].append(time.perf_counter() - began)
            if self.verbose:
                print(f"epoch {epoch + 1} of {self.epochs}: loss {losses / steps:.4g}")
        self.explorations_ = [] if masker is None else masker.history
        self.explored_fraction_ = 1.0 if masker is None else masker.explored_fraction()
        self._keep(seen, StoredTables.of(*self._arranged(params, None if masker is None else masker.masks)))

    def recommend(
        self, user_ids: Any, k: int = 20, exclude_seen: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items of users, the best first.

        Parameters
        ----------
        user_ids : array of int, shape (m,)
            Rows of the fitted matrix.
        k : int
            At most the number of items.
        exclude_seen : bool
            Leave out what a user had; -1 with the score minus infinity stands where too few items are left.

        Returns
        -------
        items : ndarray of int64, shape (m, k)
            Of equal scores the first.
        scores : ndarray of float32, shape (m, k)
            Falling.
        """
        check_is_fitted(self, "n_live_")
        users = check_users(user_ids, self.n_users_)
        k = check_int("k", k, low=1, high=self.n_items_)
        items = np.empty((len(users), k), np.int64)
        scores = np.empty((len(users), k), np.float32)
        for rows, found in self._blocks(users):
            if exclude_seen:
                had = self.seen_[users[rows]].tocoo()
                found[had.row, had.col] = -np.inf
            items[rows], scores[rows] = top_items(found, k)
        return items, scores

    def score(self, user_ids: Any) -> np.ndarray:
        """Scores of all items for users, float32 (m, n_items); seen items among them."""
        check_is_fitted(self, "n_live_")
        users = check_users(user_ids, self.n_users_)
        scores = np.empty((len(users), self.n_items_), np.float32)
        for rows, found in self._blocks(users):
            scores[rows] = found
        return scores

    @property
    def sparse_tables_(self) -> dict[str, DynamicSparseTable]:
        """The trained matrices in compressed rows, by name; empty after a dense training."""
        check_is_fitted(self, "n_live_")
        return self._stored.sparse

    @property
    def nbytes_(self) -> int:
        """Bytes of the trained weights as they are stored."""
        check_is_fitted(self, "n_live_")
        return self._stored.nbytes

    def cost(self) -> dict[str, float]:
        """Weights and work, counted from live weights.

        Returns
        -------
        dict of str to float
            ``live`` weights, ``bytes`` as stored, ``inference_flops`` to score all items for all users,
            ``training_flops`` of the whole training: three times the forward pass of each batch. Dense gradients that
            growth looks at, a share ``grad_window / delta_t`` of the steps, are not among them.
        """
        check_is_fitted(self, "n_live_")
        batches = self._n_batches(self.seen_) * self.n_iter_
        return {
            "live": float(self.n_live_),
            "bytes": float(self.nbytes_),
            "inference_flops": float(self._scoring_flops(self.n_users_)),
            "training_flops": float(3 * batches * self._batch_flops()),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trained tables (values, columns, row pointers), what users had, and the settings.

        One safetensors file, written atomically.
        """
        check_is_fitted(self, "n_live_")
        settings = self.get_params(deep=False)
        state = settings["random_state"]
        settings["random_state"] = int(state) if isinstance(state, (int, np.integer)) else None
        about = {"class": type(self).__name__, "params": settings, "n_items": self.n_items_}
        more = {"seen.indptr": self.seen_.indptr, "seen.indices": self.seen_.indices}
        self._stored.save(path, about, more)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """Read what :meth:`save` wrote; anything else is a :class:`FormatError`."""
        stored, about, more = StoredTables.load(path)
        if about.get("class") != cls.__name__:
            raise FormatError(f"{path}: holds a {about.get('class')}, expected a {cls.__name__}")
        try:
            settings = about["params"].items()  # JSON has no tuples
            model = cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in settings})
            indptr, indices = more["seen.indptr"], more["seen.indices"]
            shape = (len(indptr) - 1, int(about["n_items"]))
            seen = scipy.sparse.csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=shape)
            seen.check_format(full_check=True)
            params, _ = model._arranged(
                dict(model._network(seen, torch.Generator()).named_parameters()), None
            )
            if stored.shapes != (wanted := {name: tuple(p.shape) for name, p in params.items()}):
                raise ValueError(f"tables {stored.shapes}, expected {wanted}")
            model.explorations_, model.history_, model.explored_fraction_ = [], {}, float("nan")
            model._keep(seen, stored)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path}: not a {cls.__name__} ({error})") from None
        return model

    def _keep(self, seen: scipy.sparse.csr_array, stored: StoredTables) -> None:
        self._stored, self.seen_ = stored, seen
        self.n_users_, self.n_items_ = seen.shape
        self.n_live_, self.n_iter_ = stored.n_live, self.epochs

    def _check(self) -> None:
        if self.density is not None:
            check_float("density", self.density, low=0, high=1, closed="right")
        for name in ("epochs", "batch_size"):
            check_int(name, getattr(self, name), low=1)
        check_float("lr", self.lr, low=0, closed="neither")
        check_float("lr_final", self.lr_final, low=0)

    def _blocks(self, users: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        ready = self._prepare()
        size = max(_SCORES // self.n_items_, 1)
        for start in range(0, len(users), size):
            rows = slice(start, min(start + size, len(users)))
            yield rows, self._scores(users[rows], ready)

    def _arranged(
        self, params: dict[str, torch.Tensor], masks: dict[str, torch.Tensor] | None
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor] | None]:
        """Parameters and masks in the form in which they are stored."""
        return params, masks

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.positive_only = True
        return tags

    _user_tables: tuple[str, ...] = ()

    def _prepare(self) -> Any:
        """What all blocks of users share when they are scored."""
        return None

    @abstractmethod
    def _network(self, seen: scipy.sparse.csr_array, generator: torch.Generator) -> torch.nn.Module: ...

    @abstractmethod
    def _n_batches(self, seen: scipy.sparse.csr_array) -> int: ...

    @abstractmethod
    def _batches(self, seen: scipy.sparse.csr_array, rng: np.random.Generator) -> Iterator[Any]: ...

    @abstractmethod
    def _loss(
        self, network: Any, batch: Any, progress: float, generator: torch.Generator
    ) -> torch.Tensor: ...

    @abstractmethod
    def _scores(self, users: np.ndarray, ready: Any) -> np.ndarray: ...

    @abstractmethod
    def _batch_flops(self) -> float: ...

    @abstractmethod
    def _scoring_flops(self, users: int) -> float: ...
