"""Nodes as blocks of points, their own and those of their attributes' values, of which the latter are never copied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse


@dataclass(frozen=True)
class Blocks:
    """n nodes of M + 1 points each in q dimensions.

    Attributes
    ----------
    own : ndarray, shape (n, q)
        The first points.
    values : list of ndarray, shape (n_l, q)
        For each attribute the points of its values.
    codes : list of ndarray of int64, shape (n,)
        Which of them a node has; n_l where it has none.
    """

    own: np.ndarray
    values: list[np.ndarray]
    codes: list[np.ndarray]

    @classmethod
    def of(cls, points: np.ndarray, value_index: np.ndarray) -> Blocks:
        """From rows of ``points`` (n_ext, q) and indices (n, M) of such rows, -1 where there is none."""
        values, codes = [], []
        for column in value_index.T:
            rows, own = np.unique(column, return_inverse=True)
            own = own.reshape(-1)
            if len(rows) and rows[0] < 0:
                rows = rows[1:]
                own = np.where(own == 0, len(rows), own - 1)
            values.append(points[rows])
            codes.append(own)
        return cls(points[: len(value_index)], values, codes)

    def take(self, nodes: np.ndarray) -> Blocks:
        """Some of the nodes."""
        return Blocks(self.own[nodes], self.values, [codes[nodes] for codes in self.codes])

    def centres_at(self, nodes: np.ndarray) -> np.ndarray:
        """The blocks of some nodes as centres (K, M + 1, q); the mean of all where a value is missing."""
        table = [self.own[nodes]]
        for values, codes in zip(self.values, self.codes):
            mean = self._mean(values, codes)
            table.append(np.vstack([values, mean[None]])[codes[nodes]])
        return np.stack(table, axis=1)

    def distances(self, centres: np.ndarray) -> np.ndarray:
        """Squared distances (n, K) to centres; a missing point is at no distance from any."""
        squares = _from_centres(self.own, centres[:, 0])
        for number, (values, codes) in enumerate(zip(self.values, self.codes), 1):
            table = _from_centres(values, centres[:, number])
            squares += np.vstack([table, np.zeros(len(centres))])[codes]
        return squares

    def sums(self, labels: np.ndarray, clusters: int) -> tuple[np.ndarray, np.ndarray]:
        """Sums of points (K, M + 1, q) and how many there are (K, M + 1), cluster by cluster."""
        n = len(labels)
        members = scipy.sparse.csr_array((np.ones(n), (labels, np.arange(n))), shape=(clusters, n))
        sums, counts = [members @ self.own], [np.bincount(labels, minlength=clusters)]
        for values, codes in zip(self.values, self.codes):
            width = len(values) + 1
            table = np.bincount(labels * width + codes, minlength=clusters * width).reshape(clusters, width)
            sums.append(table[:, :-1] @ values)
            counts.append(table[:, :-1].sum(axis=1))
        return np.stack(sums, axis=1), np.stack(counts, axis=1)

    def means(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Centres from sums and counts; the mean of all where no node of a cluster has a value."""
        centres = sums / np.maximum(counts, 1)[:, :, None]
        for number, (values, codes) in enumerate(zip(self.values, self.codes), 1):
            none = counts[:, number] == 0
            if none.any():
                centres[none, number] = self._mean(values, codes)
        return centres

    @staticmethod
    def _mean(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
        counts = np.bincount(codes, minlength=len(values) + 1)[: len(values)]
        return counts @ values / max(int(counts.sum()), 1)


def _from_centres(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    squares = np.einsum("iq,iq->i", points, points)[:, None] + np.einsum("kq,kq->k", centres, centres)
    squares -= 2 * points @ centres.T
    return np.maximum(squares, 0, out=squares)
