"""Recommend by a variational autoencoder of what a user has, with a budget of weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
import torch

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer._core.random import RandomState
from gossamer.learn.recommend.recommender import Recommender

_LAYERS = ("encoder", "code", "decoder", "output")


class MultVAERecommender(Recommender):
    r"""Mult-VAE: rebuild a user's items from a short code, dense or with a fixed number of live weights.

    The items x of a user, divided by their length and thinned by dropout, are encoded as a normal distribution
    (I - hidden - 2 dim) and decoded (dim - hidden - I), with tanh between; the loss is
    :math:`-\sum_i x_i \log \mathrm{softmax}(s)_i + \beta\,\mathrm{KL}`, where :math:`\beta` rises to its value over
    the first half of the training. Scores are those of the mean code. With a ``density`` all four matrices are sparse
    from the first step (:class:`gossamer.sparsify.DSLMasker`).

    Parameters
    ----------
    dim : int
        Length of the code.
    hidden : int
        Units of the hidden layers.
    density : float, optional
        Share of the weights that is live, in (0, 1]; None trains densely. Biases stay dense.
    beta : float
        Weight of the divergence at its largest.
    dropout : float
        Share of a user's items that is hidden in training, in [0, 1).
    epochs : int
        Passes over the users.
    lr, lr_final : float
        Adam's rate at the start and, after a cosine, at the end.
    batch_size : int
        Users of a step.
    masker_options : dict, optional
        More settings of :class:`gossamer.sparsify.DSLMasker`, as for :class:`MFRecommender`.
    verbose : int
        Print a line an epoch.
    random_state : int, Generator or None
        Source of all draws.

    Attributes
    ----------
    sparse_tables_ : dict of str to DynamicSparseTable
        The four matrices.
    n_live_ : int
        Stored weights.
    explorations_, explored_fraction_, history_, seen_, n_users_, n_items_, n_iter_ :
        As for :class:`MFRecommender`.

    Notes
    -----
    A user costs two operations a live weight. Of scikit-learn's checks those of construction, cloning and parameters
    apply, as for :class:`MFRecommender`.

    References
    ----------
    Liang, Krishnan, Hoffman, Jebara, "Variational autoencoders for collaborative filtering", WWW 2018. Wang et al.,
    "Dynamic sparse learning: a novel paradigm for efficient recommendation", WSDM 2024, arXiv 2402.02855.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import MultVAERecommender
    >>> R = np.kron(np.eye(2), np.ones((20, 12)))  # two groups with tastes of their own
    >>> R[0, 3] = R[25, 20] = 0
    >>> rec = MultVAERecommender(dim=4, hidden=16, density=0.5, epochs=60, batch_size=8, lr=1e-2, random_state=0)
    >>> items, scores = rec.fit(R).recommend([0, 25], k=1)
    >>> items.tolist()
    [[3], [20]]
    """

    def __init__(
        self,
        dim: int = 200,
        *,
        hidden: int = 600,
        density: float | None = None,
        beta: float = 0.2,
        dropout: float = 0.5,
        epochs: int = 200,
        lr: float = 1e-3,
        lr_final: float = 1e-5,
        batch_size: int = 64,
        masker_options: dict[str, Any] | None = None,
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        self.dim = dim
        self.hidden = hidden
        self.density = density
        self.beta = beta
        self.dropout = dropout
        self.epochs = epochs
        self.lr = lr
        self.lr_final = lr_final
        self.batch_size = batch_size
        self.masker_options = masker_options
        self.verbose = verbose
        self.random_state = random_state

    def _check(self) -> None:
        super()._check()
        check_int("dim", self.dim, low=1)
        check_int("hidden", self.hidden, low=1)
        check_float("beta", self.beta, low=0)
        check_float("dropout", self.dropout, low=0, high=1, closed="left")

    def _network(self, seen: scipy.sparse.csr_array, generator: torch.Generator) -> torch.nn.Module:
        return ItemAutoencoder(seen.shape[1], self.hidden, self.dim, generator)

    def _n_batches(self, seen: scipy.sparse.csr_array) -> int:
        return -(-len(_users(seen)) // self.batch_size)

    def _batches(self, seen: scipy.sparse.csr_array, rng: np.random.Generator) -> Iterator[Any]:
        order = rng.permutation(_users(seen))
        for start in range(0, len(order), self.batch_size):
            yield torch.from_numpy(seen[order[start : start + self.batch_size]].toarray())

    def _loss(self, network: Any, batch: Any, progress: float, generator: torch.Generator) -> torch.Tensor:
        scores, mean, log_variance = network(batch, self.dropout, generator)
        fit = -(batch * scores.log_softmax(dim=1)).sum(1).mean()
        divergence = (mean**2 + log_variance.exp() - log_variance - 1).sum(1).mean() / 2
        return fit + self.beta * min(2 * progress, 1.0) * divergence

    def _scores(self, users: np.ndarray, ready: Any) -> np.ndarray:
        x = self.seen_[users].toarray()
        x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        hidden = np.tanh(self._layer("encoder", x.T))
        hidden = np.tanh(self._layer("decoder", self._layer("code", hidden, self.dim)))
        return self._layer("output", hidden).T

    def _layer(self, name: str, x: np.ndarray, stop: int | None = None) -> np.ndarray:
        """Outputs of a layer, units by users; the first ``stop`` of them."""
        bias = self._stored.dense(f"{name}.bias")[:stop]
        return self._stored.dot(f"{name}.weight", x, 0, stop) + bias[:, None]

    def _batch_flops(self) -> float:
        return 2.0 * self.batch_size * sum(self._stored.count(f"{name}.weight") for name in _LAYERS)

    def _scoring_flops(self, users: int) -> float:
        return 2.0 * users * sum(self._stored.count(f"{name}.weight") for name in _LAYERS)


class ItemAutoencoder(torch.nn.Module):
    """Encoder, code, decoder and output."""

    encoder: torch.nn.Linear
    code: torch.nn.Linear
    decoder: torch.nn.Linear
    output: torch.nn.Linear

    def __init__(self, n_items: int, hidden: int, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        sizes = ((n_items, hidden), (hidden, 2 * dim), (dim, hidden), (hidden, n_items))
        for name, (inputs, outputs) in zip(_LAYERS, sizes):
            layer = torch.nn.Linear(inputs, outputs)
            torch.nn.init.xavier_uniform_(layer.weight, generator=generator)
            torch.nn.init.zeros_(layer.bias)
            self.add_module(name, layer)

    def forward(
        self, x: torch.Tensor, dropout: float, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Scores of all items, mean and logarithm of the variance of the code, for a batch in training."""
        x = torch.nn.functional.normalize(x)
        kept = torch.rand(x.shape, generator=generator) >= dropout
        hidden = torch.tanh(self.encoder(x * kept / (1 - dropout)))
        mean, log_variance = self.code(hidden).chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=generator)
        code = mean + noise * (log_variance / 2).exp()
        return self.output(torch.tanh(self.decoder(code))), mean, log_variance


def _users(seen: scipy.sparse.csr_array) -> np.ndarray:
    users = np.flatnonzero(np.diff(seen.indptr))
    if not len(users):
        raise ArgumentError("R has no interaction: expected at least one")
    return users
