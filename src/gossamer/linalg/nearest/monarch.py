"""The nearest Monarch matrix: slices of low rank, each with a closed form of its own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg

from gossamer.linalg.metric import weighted_error
from gossamer.linalg.nearest.low_rank import Moment
from gossamer.linalg.nearest.sweeps import while_falling

GRAM_FROM = 48  # from this size on, float32 slices are cut by the eigenvectors of a Gram matrix


class MonarchSizes(NamedTuple):
    """Sizes of the factors ``w1`` (k, q, p) and ``w2`` (l, s, r), where ``l r = k q``.

    Channel ``t = kappa q + iota`` leaves block ``kappa`` of ``w1`` and enters block ``t mod l`` of ``w2`` at place
    ``t // l``. Between blocks ``kappa`` and ``lam`` run ``q / l`` channels, rounded up or down where l does not
    divide q: the slice of the matrix that joins them has that rank at most, and is free otherwise.
    """

    k: int
    q: int
    p: int
    l: int
    s: int
    r: int

    def channels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For every (kappa, iota): block and place in ``w2``, and the number among the channels of its slice."""
        t = np.arange(self.k * self.q).reshape(self.k, self.q)
        return t % self.l, t // self.l, np.broadcast_to(np.arange(self.q) // self.l, t.shape)

    def ranks(self) -> np.ndarray:
        """Channels (k, l) between the blocks of ``w1`` and those of ``w2``."""
        first = -(np.arange(self.k) * self.q)[:, None] % self.l
        return (self.q - 1 - (first + np.arange(self.l)) % self.l) // self.l + 1

    def slices(self, W: np.ndarray) -> np.ndarray:
        """``T[kappa, lam]`` (s, p): rows ``sigma l + lam``, columns ``kappa p + pi`` of W, padded with zeros.

        A view of W where nothing is padded, so that a matrix on disk is read slice by slice.
        """
        rows, cols = self.l * self.s - W.shape[0], self.k * self.p - W.shape[1]
        padded = np.pad(W, ((0, rows), (0, cols))) if rows or cols else W
        return padded.reshape(self.s, self.l, self.k, self.p).transpose(2, 1, 0, 3)


def nearest_monarch(
    W: np.ndarray, sizes: MonarchSizes, metric: np.ndarray | None = None, sweeps: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    r"""Factors of the Monarch matrix nearest to ``W``.

    For every pair of blocks the slice ``T[kappa, lam]`` is cut to the rank of its channels; Eckart and Young make
    this optimal slice by slice, hence for the whole. A metric that couples only inputs of one block keeps the slices
    apart, and the cut is that of ``T H_kk^{1/2}``. One that couples the blocks is descended in: each block of
    columns in turn becomes nearest with the others fixed.

    Parameters
    ----------
    W : ndarray, shape (O, K), real or complex
    sizes : MonarchSizes
    metric : None or ndarray, shape (K,) or (K, K)
        Real; as in :meth:`Structure.project`.
    sweeps : int
        Passes over the blocks of columns, for a metric that couples them.

    Returns
    -------
    w1, w2 : ndarray of float64 or complex128, shape (k, q, p) and (l, s, r)
        Balanced: a row of ``w1`` and its column of ``w2`` have equal norms. The largest entry of the row is positive.
    """
    blocks = _padded_metric(metric, sizes)
    each = zip(sizes.slices(W), sizes.ranks(), _moments(blocks))
    parts = [_cut_block(T, ranks, moment, W.dtype) for T, ranks, moment in each]
    if blocks is not None and blocks.ndim == 4 and _couples(blocks):
        assert metric is not None
        parts = _descend(W, sizes, metric, blocks, parts, sweeps)
    lam, rho, tau = sizes.channels()
    kind = np.result_type(W.dtype, np.float64)
    w1, w2 = np.empty((sizes.k, sizes.q, sizes.p), kind), np.empty((sizes.l, sizes.s, sizes.r), kind)
    for kappa, (U, V) in enumerate(parts):
        w1[kappa] = V[lam[kappa], tau[kappa]]
        w2[lam[kappa], :, rho[kappa]] = U[lam[kappa], :, tau[kappa]]
    return w1, w2


Part = tuple[np.ndarray, np.ndarray]


def _cut_block(T: np.ndarray, ranks: np.ndarray, moment: Moment | None, stored: np.dtype) -> Part:
    """Cut the l slices (l, s, p) of one block of columns: ``U`` (l, s, c) and ``V`` (l, c, p), balanced."""
    l, s, p = T.shape
    c = int(ranks.max())
    wide = T.astype(np.result_type(T.dtype, np.float64))
    U = np.zeros((l, s, c), wide.dtype)
    V = np.zeros((l, c, p), wide.dtype)
    found = min(c, s, p)
    coarse = stored == np.float32 and min(s, p) >= GRAM_FROM
    if moment is None and p < s:
        right = _leading(wide.conj().swapaxes(1, 2), found, coarse)
        V[:, :found] = right.conj().swapaxes(1, 2)
        U[:, :, :found] = wide @ right
    else:
        seen = wide if moment is None else np.stack([moment.times_root(part) for part in wide])
        U[:, :, :found] = _leading(seen, found, coarse)
        V[:, :found] = U[:, :, :found].conj().swapaxes(1, 2) @ wide
    U *= np.arange(c) < ranks[:, None, None]
    return _balanced(U, V)


def _leading(T: np.ndarray, count: int, coarse: bool) -> np.ndarray:
    """The leading left singular vectors of every (s, p) matrix, as (l, s, count)."""
    s, p = T.shape[1:]
    if not p:
        return np.zeros((len(T), s, count), T.dtype)
    if not coarse:
        vectors = np.zeros((len(T), s, count), T.dtype)
        left = np.linalg.svd(T, full_matrices=False)[0][:, :, :count]
        vectors[:, :, : left.shape[2]] = left
        return vectors
    found = []
    for part in T:  # the Gram matrix squares the condition, which float64 has room for when T is float32
        if s <= p:
            found.append(_top(part @ part.conj().T, count))
            continue
        image = part @ _top(part.conj().T @ part, min(count, p))
        norms = np.linalg.norm(image, axis=0)
        unit = image / np.where(norms > 1e-14 * norms.max(initial=0), norms, np.inf)
        found.append(np.pad(unit, ((0, 0), (0, count - unit.shape[1]))))
    return np.stack(found)


def _top(gram: np.ndarray, count: int) -> np.ndarray:
    last = len(gram) - 1
    _, vectors = scipy.linalg.eigh(gram, subset_by_index=(last + 1 - count, last))
    return vectors[:, ::-1]


def _balanced(U: np.ndarray, V: np.ndarray) -> Part:
    """Scale so that columns of U and rows of V have equal norms, and turn the largest entry of V positive."""
    left, right = np.linalg.norm(U, axis=1), np.linalg.norm(V, axis=2)
    alive = (left > 0) & (right > 0)
    ratio = np.sqrt(np.divide(right, left, where=alive, out=np.zeros_like(left)))
    peak = np.take_along_axis(V, np.abs(V).argmax(axis=2)[:, :, None], axis=2)[:, :, 0]
    size = np.abs(peak)
    turn = np.divide(peak, size, where=size > 0, out=np.ones_like(peak))
    inverse = np.divide(1, ratio, where=ratio > 0, out=np.zeros_like(ratio))
    return U * (turn * ratio)[:, None], V * (turn.conj() * inverse)[:, :, None]


def _padded_metric(metric: np.ndarray | None, sizes: MonarchSizes) -> np.ndarray | None:
    """The metric in blocks: (k, p) of a diagonal one, (k, p, k, p) of a full one."""
    if metric is None:
        return None
    missing = sizes.k * sizes.p - len(metric)
    wide = np.pad(metric.astype(np.float64), [(0, missing)] * metric.ndim)
    return wide.reshape((sizes.k, sizes.p) * metric.ndim)


def _moments(blocks: np.ndarray | None):  # type: ignore[no-untyped-def]
    """Moments of the inputs of each block of columns, without end where there is no metric."""
    if blocks is None:
        while True:
            yield None
    for kappa in range(len(blocks)):
        yield Moment(blocks[kappa] if blocks.ndim == 2 else blocks[kappa, :, kappa])


def _couples(blocks: np.ndarray) -> bool:
    apart = np.arange(len(blocks))
    rest = blocks.copy()
    rest[apart, :, apart] = 0
    return bool(rest.any())


def _descend(
    W: np.ndarray, sizes: MonarchSizes, metric: np.ndarray, blocks: np.ndarray, parts: list[Part], sweeps: int
) -> list[Part]:
    """Descend in a metric that couples the blocks, from the better of the fits to its blocks and to none."""
    T, ranks = sizes.slices(W).astype(np.float64), sizes.ranks()
    moments = list(_moments(blocks))

    def error(candidate: list[Part]) -> float:
        return weighted_error(W, _assemble(candidate, sizes)[: W.shape[0], : W.shape[1]], metric)

    plain = [_cut_block(slices, counts, None, W.dtype) for slices, counts in zip(T, ranks)]
    inverses = [scipy.linalg.pinvh(blocks[kappa, :, kappa]) for kappa in range(sizes.k)]

    def sweep(parts: list[Part]) -> list[Part]:
        trial = list(parts)
        rest = T - np.stack([U @ V for U, V in trial])
        for kappa in range(sizes.k):
            # what the error in the other blocks would have this one hold: the conditional mean of their product
            rest[kappa] = 0
            pull = np.einsum("jlsp,jpq->lsq", rest, blocks[:, :, kappa], optimize=True)
            trial[kappa] = _cut_block(
                T[kappa] + pull @ inverses[kappa], ranks[kappa], moments[kappa], W.dtype
            )
            rest[kappa] = T[kappa] - trial[kappa][0] @ trial[kappa][1]
        return trial

    better = min((parts, plain), key=error)
    return while_falling(sweep, better, error, sweeps if sizes.k > 1 else 0, tolerance=1e-6)


def _assemble(parts: list[Part], sizes: MonarchSizes) -> np.ndarray:
    dense = np.stack([U @ V for U, V in parts])  # (k, l, s, p)
    return dense.transpose(2, 1, 0, 3).reshape(sizes.s * sizes.l, sizes.k * sizes.p)
