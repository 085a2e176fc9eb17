"""Fixed dimensional encodings: one vector for a set of vectors, whose inner products estimate Chamfer similarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.checks import check_array, check_choice, check_int
from gossamer._core.errors import CostError, ShapeError, UnsupportedError, bad_argument
from gossamer._kernels import maxsim
from gossamer.retrieve.multivector.ragged import as_ragged

_MOST = 1 << 28  # entries before a final projection: its table has 4 bytes for each
_HYPERPLANES, _PROJECTION, _FINAL = range(3)  # streams of random numbers that share nothing


@dataclass(frozen=True)
class FDEConfig:
    """How sets of vectors are encoded; equal configurations give comparable encodings.

    Parameters
    ----------
    dim : int
        Of the vectors.
    reps : int
        Independent repetitions, concatenated. More of them lower the variance.
    k_sim : int
        Hyperplanes a repetition, 0 to 20: ``2**k_sim`` cells. More of them lower the bias.
    d_proj : int or None
        Dimensions that sums are projected to within a cell; None (or ``dim``) keeps them.
    final_dim : int, optional
        Count sketch of the whole to so many entries, taken on the fly.
    fill_empty : bool
        Whether an empty cell of a document holds its vector nearest to the cell in Hamming distance. Without it,
        terms of a query that fall into empty cells count 0.
    projection : {"dense", "countsketch"}
        Signs in every entry over ``sqrt(d_proj)``, or one sign a coordinate.
    seed : int
        Of all random matrices.

    Raises
    ------
    ArgumentError
        If a value is out of range, or ``final_dim`` does not make encodings shorter.
    CostError
        If a repetition's cells and dimensions multiply to more than 2**28 entries.

    Notes
    -----
    The paper's choices by size: (reps, k_sim, d_proj) = (20, 3, 8), (20, 4, 8), (20, 5, 8), (20, 5, 16) for 1,280 to
    10,240 dimensions. Where memory while encoding does not matter, (20, 6, None) with ``final_dim=10240`` is better.
    """

    dim: int
    reps: int = 20
    k_sim: int = 5
    d_proj: int | None = 16
    final_dim: int | None = None
    fill_empty: bool = True
    projection: str = "dense"
    seed: int = 1

    def __post_init__(self) -> None:
        check_int("dim", self.dim, low=1)
        check_int("reps", self.reps, low=1)
        check_int("k_sim", self.k_sim, low=0, high=maxsim.MAX_BITS)
        if self.d_proj is not None:
            check_int("d_proj", self.d_proj, low=1, high=self.dim)
        check_choice("projection", self.projection, ("dense", "countsketch"))
        if not isinstance(self.fill_empty, (bool, np.bool_)):
            raise bad_argument("fill_empty", self.fill_empty, "True or False")
        check_int("seed", self.seed, low=0)
        if self.full_dim > _MOST:
            raise CostError(
                f"reps={self.reps}, k_sim={self.k_sim} and d_proj={self.width} make {self.full_dim} entries: expected "
                f"at most {_MOST}"
            )
        if self.final_dim is not None:
            check_int("final_dim", self.final_dim, low=1, high=self.full_dim - 1)

    @property
    def width(self) -> int:
        """Dimensions within a cell."""
        return self.dim if self.d_proj is None else self.d_proj

    @property
    def full_dim(self) -> int:
        """Entries before the final projection, ``reps * 2**k_sim * width``."""
        return self.reps * (1 << self.k_sim) * self.width

    @property
    def fde_dim(self) -> int:
        """Entries of an encoding."""
        return self.full_dim if self.final_dim is None else self.final_dim


class FDEncoder:
    r"""Encode sets of vectors as single vectors whose inner products estimate Chamfer similarity (MaxSim).

    .. math::

        \langle F_q(Q), F_d(P)\rangle / R \approx \mathrm{Chamfer}(Q, P)
            = \sum_{q \in Q} \max_{p \in P} \langle q, p\rangle

    Random hyperplanes cut space into cells. Within a cell vectors of a query are summed, those of a document
    averaged, so that each q meets the mean of the p near to it; empty cells of documents hold a vector from nearby.
    With the identity as projection the estimate is never above Chamfer similarity. Sums are linear, so a query's
    encoding is the sum of its terms' encodings.

    Parameters
    ----------
    config : FDEConfig
        Sizes and seed.
    center : array of shape (dim,), optional
        Taken off vectors for the choice of their cell only: the mean of a corpus, where vectors share a large part.
    threads : int, optional
        Results do not depend on it.

    Raises
    ------
    UnsupportedError
        If ``config`` is not an :class:`FDEConfig`.
    ShapeError, ArgumentError
        If ``center`` does not fit.

    Notes
    -----
    O(R (l k d + min(2^k, 2 l) d d_proj)) for a set of l vectors. Random matrices follow from (seed, repetition), so the
    first repetitions of a longer encoding are those of a shorter one.

    References
    ----------
    Dhulipala, Hadian, Jayaram, Lee, Mirrokni, "MUVERA: multi-vector retrieval via fixed dimensional encodings", NeurIPS
    2024, arXiv 2405.19504.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.retrieve import FDEConfig, FDEncoder, chamfer
    >>> rng = np.random.default_rng(0)
    >>> documents = [rng.normal(size=(n, 32)) for n in (5, 9)]
    >>> encoder = FDEncoder(FDEConfig(dim=32, d_proj=None))
    >>> encoder.encode_document(documents).shape
    (2, 20480)
    >>> estimate = encoder.encode_query(documents[0]) @ encoder.encode_document(documents).T / encoder.config.reps
    >>> bool((estimate[0] <= chamfer(documents[0], documents) + 1e-3).all())
    True
    """

    def __init__(self, config: FDEConfig, *, center: Any = None, threads: int | None = None) -> None:
        if not isinstance(config, FDEConfig):
            raise UnsupportedError(f"config is a {type(config).__name__}: expected FDEConfig")
        self.config = config
        self.threads = threads
        self.center = None
        if center is not None:
            middle = np.asarray(check_array("center", center, ndim=1), np.float32)
            if middle.shape != (config.dim,):
                raise ShapeError(f"center has shape {middle.shape}: expected ({config.dim},)")
            self.center = middle
        directions = hyperplanes(config)
        thresholds = np.zeros(directions.shape[:2], np.float32)
        if self.center is not None:
            thresholds = (directions.astype(np.float64) @ self.center).astype(np.float32)
        self._plan = maxsim.encoding(
            directions, thresholds, projections(config), final_places(config), config.final_dim or 0
        )

    def encode_document(self, X: Any, offsets: Any = None) -> np.ndarray:
        """Encodings of documents: means by cell, empty cells filled.

        Parameters
        ----------
        X : array (sum l, dim) with ``offsets``, list of (l_i, dim), one (l, dim), or TokenVectors
            NumPy or torch; float32, float16, bfloat16 (or its raw bits in uint16); anything else becomes float32.
        offsets : array of shape (n + 1,), optional
            Where sets begin in ``X``.

        Returns
        -------
        ndarray of float32, shape (n, fde_dim)

        Raises
        ------
        ShapeError, ArgumentError
            For other shapes, an empty set, NaN or infinity.
        """
        return self._encode(X, offsets, mean=True, fill=self.config.fill_empty)

    def encode_query(self, X: Any, offsets: Any = None) -> np.ndarray:
        """Encodings of queries: sums by cell, never filled; arguments and result as of :meth:`encode_document`."""
        return self._encode(X, offsets, mean=False, fill=False)

    def _encode(self, X: Any, offsets: Any, *, mean: bool, fill: bool) -> np.ndarray:
        vectors, starts = as_ragged("X", X, offsets, dim=self.config.dim)
        return maxsim.encode(vectors, starts, self._plan, mean=mean, fill=fill, threads=self.threads)

    @property
    def nbytes(self) -> int:
        """Bytes of the random matrices."""
        arrays = (self._plan.directions, self._plan.thresholds, self._plan.projection, self._plan.places)
        return sum(array.nbytes for array in arrays if array is not None)


def hyperplanes(config: FDEConfig) -> np.ndarray:
    """Normals (reps, k_sim, dim) of the hyperplanes, Gaussian, float32."""
    shape = (config.k_sim, config.dim)
    return _stacked([_rng(config, _HYPERPLANES, r).standard_normal(shape) for r in range(config.reps)])


def projections(config: FDEConfig) -> np.ndarray | None:
    """Projections (reps, dim, d_proj) within cells, float32; None for the identity."""
    if config.width == config.dim:
        return None
    found = []
    for r in range(config.reps):
        rng = _rng(config, _PROJECTION, r)
        if config.projection == "dense":
            found.append(_signs(rng, (config.dim, config.width)) / np.sqrt(config.width))
        else:
            one = np.zeros((config.dim, config.width))
            at = rng.integers(0, config.width, config.dim)
            one[np.arange(config.dim), at] = _signs(rng, config.dim)
            found.append(one)
    return _stacked(found)


def final_places(config: FDEConfig) -> np.ndarray | None:
    """Where the final count sketch adds each of ``full_dim`` entries, int32; ``~place`` where it subtracts."""
    if config.final_dim is None:
        return None
    rng = _rng(config, _FINAL)
    places = rng.integers(0, config.final_dim, config.full_dim, dtype=np.int32)
    return np.where(_signs(rng, config.full_dim) > 0, places, ~places)


def _rng(config: FDEConfig, *key: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, *key])


def _signs(rng: np.random.Generator, shape: Any) -> np.ndarray:
    return rng.integers(0, 2, shape, dtype=np.int8) * 2.0 - 1.0


def _stacked(matrices: list[np.ndarray]) -> np.ndarray:
    return np.stack(matrices).astype(np.float32)
