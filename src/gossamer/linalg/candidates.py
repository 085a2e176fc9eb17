"""The families that a matrix can be held against, each with its largest member within a budget of bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, cast

import numpy as np

from gossamer.linalg.nearest.kronecker import rearrange
from gossamer.linalg.structure import Structure
from gossamer.linalg.structures.block import Block
from gossamer.linalg.structures.block_diagonal import BlockDiagonal
from gossamer.linalg.structures.circulant import Circulant
from gossamer.linalg.structures.dense import Dense
from gossamer.linalg.structures.diagonal import Diagonal
from gossamer.linalg.structures.group_quant import GroupQuant
from gossamer.linalg.structures.group_sparse_quant import GroupSparseQuant
from gossamer.linalg.structures.hadamard import Hadamard
from gossamer.linalg.structures.kronecker import Kronecker
from gossamer.linalg.structures.low_rank import LowRank
from gossamer.linalg.structures.monarch import Monarch
from gossamer.linalg.structures.nm import NM
from gossamer.linalg.structures.nm_quant import NMQuant
from gossamer.linalg.structures.permutation import Permutation
from gossamer.linalg.structures.toeplitz import Toeplitz
from gossamer.linalg.structures.unstructured import Unstructured

Shape = tuple[int, int]
Choice = Callable[[Shape, float], Structure | None]
"""Takes the shape and a number of bits an entry; None where the family has no member that small."""

_DENSITIES = [float(d) for d in np.geomspace(1 / 512, 1, 64)]


class Candidate(NamedTuple):
    """A family for the matrix, or for its columns in another order.

    Attributes
    ----------
    family : str
        Its name.
    structure : Structure
        What ``W[:, order]`` is projected onto.
    order : ndarray of int, shape (K,), optional
        None is the order that the columns have.
    """

    family: str
    structure: Structure
    order: np.ndarray | None = None


def candidates(
    W: np.ndarray, budgets: Iterable[float], families: Sequence[str] | None = None
) -> Iterator[Candidate]:
    """Every family with the members that are worth a projection, each once, the smallest first.

    Complex matrices are held against the families that have complex members: Monarch, also with the columns dealt into
    as many heaps as there are blocks, which is what makes the discrete Fourier transform a member.

    Parameters
    ----------
    W : ndarray, shape (O, K)
        The matrix.
    budgets : iterable of float
        Bits an entry. Each family takes part with its largest member within each of them; below the largest of them
        also with that of the very rank or number of non-zeros that ``W`` has, and with the Kronecker products whose
        shapes suit it best.
    families : sequence of str, optional
        Only these; a real matrix only.
    """
    limits = sorted(budgets)
    if np.iscomplexobj(W):
        yield from _complex(W, limits)
        return
    for name, choose in FAMILIES.items():
        if families is not None and name not in families:
            continue
        own = _OWN[name](W) if name in _OWN else []
        members = [*own, *(choose(W.shape, bits) for bits in limits)]
        for member in dict.fromkeys(members):
            if member is not None and member.bits_per_weight(W.shape) <= limits[-1]:
                yield Candidate(name, member)


def _complex(W: np.ndarray, limits: list[float]) -> Iterator[Candidate]:
    chosen = [_largest(partial(_monarch, dtype=str(W.dtype)))(W.shape, bits) for bits in limits]
    members = [member for member in dict.fromkeys(chosen) if member is not None]
    yield from (Candidate("Monarch", member) for member in members)
    columns = np.arange(W.shape[1])
    for member in members:
        blocks = cast(Monarch, member).nblocks
        yield Candidate("Monarch, columns dealt", member, columns.reshape(-1, cast(int, blocks)).T.ravel())


def _largest(ladder: Callable[[Shape], Iterable[Structure]]) -> Choice:
    """The last of a ladder, which goes up, that fits."""

    def choose(shape: Shape, bits: float) -> Structure | None:
        fitting = [member for member in ladder(shape) if member.bits_per_weight(shape) <= bits]
        return fitting[-1] if fitting else None

    return choose


def _by_density(make: Callable[[float], Structure]) -> Choice:
    return _largest(lambda shape: map(make, _DENSITIES))


def _patterns(shape: Shape) -> list[Structure]:
    return sorted((NM(n, m) for m in (4, 8, 16) for n in range(1, m)), key=lambda p: p.bits_per_weight(shape))


def _sparse_and_low_rank(shape: Shape) -> Iterator[Structure]:
    """Half of the bytes each."""
    one = LowRank(1).bits_per_weight(shape)
    for density in _DENSITIES:
        rank = round(Unstructured(density).bits_per_weight(shape) / one)
        if 1 <= rank <= min(shape) // 2:
            yield Unstructured(density) + LowRank(rank)


def _quantised_and_low_rank(shape: Shape) -> Iterator[Structure]:
    """An eighth of the bytes, about, for the low-rank term."""
    for bits in (2, 3, 4, 8):
        coded = GroupQuant(bits, 32)
        one = LowRank(1, "bfloat16").bits_per_weight(shape)
        rank = max(1, round(coded.bits_per_weight(shape) / 8 / one))
        yield coded + LowRank(rank, "bfloat16")


def _block_diagonal(shape: Shape) -> Iterator[Structure]:
    counts = range(min(shape), 1, -1)
    return (BlockDiagonal(b) for b in counts if not (shape[0] % b or shape[1] % b))


def _kronecker(W: np.ndarray) -> list[Structure]:
    """Of all shapes of the factors, by octaves of size, the one that one power step finds best."""
    rows, columns = ([d for d in range(1, size + 1) if size % d == 0] for size in W.shape)
    shapes = [((a, b), (W.shape[0] // a, W.shape[1] // b)) for a in rows for b in columns]
    best: dict[int, tuple[float, Structure]] = {}
    for left, right in shapes:
        if W.size in (np.prod(left), np.prod(right)):
            continue  # one factor is a number, the other one the matrix
        member = Kronecker(left, right)
        octave = int(np.floor(np.log2(member.bits_per_weight(W.shape))))
        captured = _captured(W, member)
        if octave not in best or captured > best[octave][0]:
            best[octave] = captured, member
    return [best[octave][1] for octave in sorted(best)]


def _captured(W: np.ndarray, member: Kronecker) -> float:
    """Energy along the singular vector of the rearranged matrix, after one step from its largest row."""
    R = rearrange(W, member.left_shape, member.right_shape)
    largest = R[np.argmax(np.einsum("ij,ij->i", R, R))]
    left = R @ largest
    return float(np.square(left @ R).sum() / max(np.square(left).sum(), 1e-30))


def _monarch(shape: Shape, dtype: str | None = None) -> Iterator[Structure]:
    """Slices of rank one: more blocks hold more numbers."""
    for blocks in range(2, min(shape) // 2 + 1):
        if not (shape[0] % blocks or shape[1] % blocks):
            yield Monarch(blocks, rank=1, dtype=dtype)


def _own_rank(W: np.ndarray) -> list[Structure]:
    rank = int(np.linalg.matrix_rank(W))
    return [LowRank(rank)] if 0 < rank < min(W.shape) / 2 else []


def _own_density(W: np.ndarray) -> list[Structure]:
    density = int(np.count_nonzero(W)) / W.size
    return [Unstructured(density)] if 0 < density < 0.75 else []


def _square(structure: Structure) -> Choice:
    """Families without a size of their own: whatever the budget is."""
    return lambda shape, bits: structure if shape[0] == shape[1] else None


def _hadamard(shape: Shape, bits: float) -> Structure | None:
    return Hadamard() if shape[0] == shape[1] and not shape[0] & (shape[0] - 1) else None


FAMILIES: dict[str, Choice] = {
    "dense": _largest(lambda shape: [Dense("bfloat16")]),
    "quantised": _largest(lambda shape: [GroupQuant(bits, 32) for bits in (2, 3, 4, 8)]),
    "unstructured": _by_density(Unstructured),
    "N:M": _largest(_patterns),
    "N:M, 4 bits": _largest(lambda shape: [NMQuant(1, 4, 4, 16), NMQuant(2, 4, 4, 16)]),
    "groups of 16": _by_density(lambda d: Block((1, 16), d)),
    "groups of 16, 4 bits": _by_density(lambda d: GroupSparseQuant(4, 16, d)),
    "blocks of 16 x 16": _by_density(lambda d: Block((16, 16), d)),
    "low rank": _largest(lambda shape: map(LowRank, range(1, min(shape) // 2 + 1))),
    "sparse + low rank": _largest(_sparse_and_low_rank),
    "quantised + low rank": _largest(_quantised_and_low_rank),
    "Kronecker": lambda shape, bits: None,  # its shapes depend on the matrix, see _OWN
    "Toeplitz": lambda shape, bits: Toeplitz() if max(shape) > 1 else None,
    "circulant": _square(Circulant()),
    "Monarch": _largest(_monarch),
    "diagonal": _square(Diagonal()),
    "permutation": _square(Permutation()),
    "Hadamard": _hadamard,
    "block-diagonal": _largest(_block_diagonal),
}
"""How each family chooses its member."""

_OWN: dict[str, Callable[[np.ndarray], list[Structure]]] = {
    "low rank": _own_rank,
    "unstructured": _own_density,
    "Kronecker": _kronecker,
}
"""Members whose size the matrix itself suggests."""
