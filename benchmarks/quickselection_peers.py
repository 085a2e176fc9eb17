"""What QuickSelection is compared with: graph-based selectors, a concrete autoencoder, dense training with masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.quickselection_data import Table


def affinity(X: np.ndarray) -> Any:
    """Five nearest neighbours, heat kernel with t=1, as scikit-feature makes it."""
    from skfeature.utility.construct_W import construct_W

    return construct_W(X, metric="euclidean", neighbor_mode="knn", weight_mode="heat_kernel", k=5, t=1)


def laplacian_score(table: Table) -> np.ndarray:
    """Columns with the smallest Laplacian scores."""
    from skfeature.function.similarity_based import lap_score

    X = table.scaled()
    return np.argsort(lap_score.lap_score(X, mode="raw", W=affinity(X)), kind="stable")[: table.K]


def mcfs(table: Table) -> np.ndarray:
    """Multi-cluster feature selection with as many clusters as classes."""
    from skfeature.function.sparse_learning_based import MCFS

    X = table.scaled()
    # with t=1 the kernel of far apart rows underflows, and a row without neighbours has no Laplacian
    from skfeature.utility.construct_W import construct_W

    W = construct_W(X, metric="euclidean", neighbor_mode="knn", weight_mode="binary", k=5)
    weights = MCFS.mcfs(X, n_selected_features=table.K, W=W, n_clusters=len(np.unique(table.y)), mode="raw")
    return np.argsort(-np.abs(weights).max(axis=1), kind="stable")[: table.K]


def udfs(table: Table) -> np.ndarray:
    """Unsupervised discriminative feature selection."""
    from skfeature.function.sparse_learning_based import UDFS

    weights = UDFS.udfs(table.scaled(), gamma=0.1, n_clusters=len(np.unique(table.y)), mode="raw")
    return np.argsort(-np.square(weights).sum(axis=1), kind="stable")[: table.K]


def concrete_autoencoder(table: Table, seed: int, epochs: int = 100) -> tuple[np.ndarray, float]:
    """Columns that a concrete autoencoder picks, and the mean largest probability of its selectors at the end.

    Two hidden layers of 320 units, Adam 1e-3, batches of 64; the temperature falls from 10 to 0.1 by equal factors.
    """
    import torch
    from torch.nn import functional as F

    torch.manual_seed(seed)
    X = torch.from_numpy(table.scaled().astype(np.float32))
    n, K = X.shape[1], table.K
    logits = torch.nn.Parameter(torch.nn.init.xavier_normal_(torch.empty(K, n)))
    decoder = torch.nn.Sequential(
        torch.nn.Linear(K, 320),
        torch.nn.LeakyReLU(0.2),
        torch.nn.Dropout(0.1),
        torch.nn.Linear(320, 320),
        torch.nn.LeakyReLU(0.2),
        torch.nn.Dropout(0.1),
        torch.nn.Linear(320, n),
    )
    optimizer = torch.optim.Adam([logits, *decoder.parameters()], 1e-3)
    steps = epochs * (len(X) // 64)
    fall, temperature = (0.1 / 10) ** (1 / steps), 10.0
    for _ in range(epochs):
        for rows in torch.randperm(len(X))[: len(X) // 64 * 64].split(64):
            batch = X[rows]
            gumbel = -torch.log(-torch.log(torch.rand(K, n).clamp_(1e-7, 1 - 1e-7)))
            selectors = torch.softmax((logits + gumbel) / temperature, dim=1)
            loss = F.mse_loss(decoder(batch @ selectors.T), batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            temperature *= fall
    with torch.no_grad():
        sure = float(torch.softmax(logits / 0.1, dim=1).max(dim=1).values.mean())
        return np.unique(logits.argmax(dim=1).numpy()), sure


class MaskedDAE:
    """The same autoencoder with dense weights: masks, autograd, SGD with momentum; None for no masks."""

    def __init__(self, n: int, hidden: int, masks: list[np.ndarray] | None, seed: int = 0) -> None:
        import torch

        torch.manual_seed(seed)
        self.torch = torch
        self.masks = None if masks is None else [torch.from_numpy(mask.astype(np.float32)) for mask in masks]
        self.layers = torch.nn.ModuleList([torch.nn.Linear(n, hidden), torch.nn.Linear(hidden, n)])
        self.optimizer = torch.optim.SGD(self.layers.parameters(), 0.01, momentum=0.9, weight_decay=1e-3)

    def step(self, clean: Any) -> float:
        """One step on a batch (m, n)."""
        torch = self.torch
        a = clean + 0.2 * torch.randn_like(clean)
        for i, layer in enumerate(self.layers):
            weight = layer.weight if self.masks is None else layer.weight * self.masks[i]
            a = torch.nn.functional.linear(a, weight, layer.bias)
            if i == 0:
                a = torch.sigmoid(a) * (torch.rand_like(a) >= 0.2)
        loss = ((a - clean) ** 2).sum() / (2 * len(clean))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())
