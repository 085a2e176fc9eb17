"""Tables for QuickSelection: measured ones from GOSSAMER_DATA, a planted one, and how a selection is judged."""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

DATA = Path(os.environ.get("GOSSAMER_DATA", "../shared/data"))


@dataclass(frozen=True)
class Table:
    """Rows to select and train on, rows to test on, and how many columns are kept."""

    name: str
    X: Any
    y: np.ndarray
    X_test: Any
    y_test: np.ndarray
    K: int
    options: dict[str, Any]

    def accuracy(self, columns: np.ndarray, seed: int) -> float:
        """Test accuracy of 50 extra trees on some columns."""
        from sklearn.ensemble import ExtraTreesClassifier

        trees = ExtraTreesClassifier(50, random_state=seed, n_jobs=2)
        return float(trees.fit(self.X[:, columns], self.y).score(self.X_test[:, columns], self.y_test))

    def scaled(self) -> np.ndarray:
        """Training rows as peers take them: dense, scaled as QuickSelection scales them."""
        from sklearn.preprocessing import MinMaxScaler, StandardScaler

        dense = self.X.toarray() if scipy.sparse.issparse(self.X) else self.X
        scaler = MinMaxScaler() if self.options.get("standardize") == "minmax" else StandardScaler()
        return scaler.fit_transform(dense.astype(np.float64))

    def random(self, seed: int) -> np.ndarray:
        """K columns drawn at random."""
        return np.random.default_rng(seed).permutation(self.X.shape[1])[: self.K]


def mnist(rows: int = 8000) -> Table:
    """The first rows of the MNIST test images; the last 2,000 to test on."""
    folder = DATA / "mnist-t10k"
    X, y = (
        np.frombuffer(gzip.decompress((folder / f"t10k-{name}-ubyte.gz").read_bytes()), np.uint8, offset=skip)
        for name, skip in (("images-idx3", 16), ("labels-idx1", 8))
    )
    X = X.reshape(-1, 784)
    return Table("MNIST", X[:rows], y[:rows], X[8000:], y[8000:], 50, {})


def madelon() -> Table:
    """Five columns that tell the class, fifteen combinations of them, 480 of noise."""
    with np.load(DATA / "uci-feature-selection/madelon.npz") as data:
        X, y = data["X"], data["y"].ravel()
    return Table("Madelon", X[:2000], y[:2000], X[2000:], y[2000:], 20, {"output": "tanh"})


def isolet() -> Table:
    """Spoken letters."""
    with np.load(DATA / "uci-feature-selection/isolet.npz") as data:
        return _split("Isolet", data["X"], data["y"].ravel(), {"epochs": "auto"})


def pcmac() -> Table:
    """Counts of words in two newsgroups."""
    with np.load(DATA / "uci-feature-selection/pcmac.npz") as data:
        X = scipy.sparse.csr_matrix((data["data"], data["indices"], data["indptr"]), shape=data["shape"])
        return _split("PCMAC", X.astype(np.float32), data["y"].ravel(), {"standardize": "minmax"})


def _split(name: str, X: Any, y: np.ndarray, options: dict[str, Any]) -> Table:
    from sklearn.model_selection import train_test_split

    fitted, held, labels, expected = train_test_split(X, y, test_size=0.2, random_state=42)
    return Table(name, fitted, labels, held, expected, 50, options)


def planted(seed: int, factors: int) -> tuple[np.ndarray, np.ndarray]:
    """40 columns of a few factors among 400 of noise, all of variance 1; which ones they are."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((2000, factors)) @ rng.standard_normal((factors, 40))
    X = np.c_[X / X.std(axis=0), rng.standard_normal((2000, 400))]
    order = rng.permutation(440)
    return X[:, order], order < 40
