"""What each direction does to known factors: the matrix of changes, and how near to one factor a direction is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ShapeError
from gossamer._core.results import Result
from gossamer.datasets.shape_images import FACTORS
from gossamer.nn.generative.factor_reader import FactorReader
from gossamer.nn.generative.modulation import Directions, shifted
from gossamer.nn.generative.path_length import Mapping


@dataclass(frozen=True, kw_only=True)
class FactorChanges(Result):
    r"""What each direction of each layer does to the factors.

    Attributes
    ----------
    changes : dict of str to ndarray, shape (r, F)
        :math:`M_{jf}`, the mean change of factor f along direction j, in units of its change between two random
        pictures of the same generator.
    one_factorness : dict of str to ndarray, shape (r,)
        :math:`1 - H(M_j / \sum_f M_{jf}) / \log F`: one if a direction changes one factor, zero if all alike.
    """

    changes: dict[str, np.ndarray]
    one_factorness: dict[str, np.ndarray]

    @property
    def means(self) -> dict[str, float]:
        """Mean one-factorness by layer."""
        return {name: float(values.mean()) for name, values in self.one_factorness.items()}

    @property
    def best_layer(self) -> str:
        """The layer of the largest mean."""
        return max(self.means, key=lambda name: self.means[name])

    @property
    def coverage(self) -> int:
        """Factors that some direction changes more than any other factor."""
        return len({FACTORS[f] for M in self.changes.values() for f in M.argmax(axis=1)})


@torch.no_grad()
def factor_changes(
    G: torch.nn.Module,
    mapping: Mapping,
    directions: Directions,
    reader: FactorReader,
    *,
    n: int = 200,
    step: float = 5.0,
    features: int = 64,
    seed: int = 0,
) -> FactorChanges:
    """Move along every direction and read off what changes.

    Parameters
    ----------
    G : torch.nn.Module
        Codes (B, features) to pictures.
    mapping : callable
        Noise (B, features) to codes.
    directions : mapping of str to tensor, shape (r, features)
        As :func:`latent_directions` gives them.
    reader : FactorReader
        Reads the factors.
    n : int
        Codes, the same for all directions.
    step : float
        Distance along the direction.
    features : int
        Length of the noise.
    seed : int
        Of the noise.

    Returns
    -------
    FactorChanges
    """
    check_int("n", n, low=2)
    check_float("step", step, low=0, closed="right")
    rng = torch.Generator().manual_seed(check_int("seed", seed, low=0))
    w = mapping(torch.randn(n, features, generator=rng))
    start = G(w)
    unit = reader.changes(start, start.roll(1, dims=0)).mean(axis=0)
    changes, scores = {}, {}
    for name, V in directions.items():
        rows = []
        for direction in V:
            with shifted(G, {name: step * direction}):
                rows.append(reader.changes(start, G(w)).mean(axis=0) / unit)
        changes[name] = np.array(rows)
        scores[name] = one_factorness(changes[name])
    return FactorChanges(changes=changes, one_factorness=scores)


def one_factorness(changes: np.ndarray) -> np.ndarray:
    r"""How near each row is to a single entry, :math:`1 - H(M_j / \sum_f M_{jf}) / \log F`.

    Parameters
    ----------
    changes : ndarray, shape (r, F)
        Non-negative.

    Returns
    -------
    ndarray, shape (r,)
        In [0, 1]; a row of zeros, which changes nothing, scores zero.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.nn import one_factorness
    >>> one_factorness(np.array([[0.0, 3, 0], [1, 1, 1]])).round(6).tolist()
    [1.0, 0.0]
    """
    M = np.asarray(changes, np.float64)
    if M.ndim != 2 or M.shape[1] < 2 or (M < 0).any():
        raise ShapeError(f"changes of shape {M.shape}: expected non-negative (r, F) with F >= 2")
    total = M.sum(axis=1, keepdims=True)
    p = np.divide(M, total, out=np.full_like(M, 1 / M.shape[1]), where=total > 0)
    logs = np.log(p, out=np.zeros_like(p), where=p > 0)
    return 1 + (p * logs).sum(axis=1) / np.log(M.shape[1])


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    r"""Distance of two clouds of features as normal distributions (FID in a feature space of one's own).

    .. math:: \|\mu_1 - \mu_2\|^2 + \mathrm{tr}(C_1 + C_2 - 2 (C_1 C_2)^{1/2})

    Parameters
    ----------
    first, second : ndarray, shapes (n, d), (m, d)
        Features, such as ``reader.features(images)``.

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.nn import frechet_distance
    >>> x = np.random.default_rng(0).normal(size=(1000, 3))
    >>> abs(round(frechet_distance(x, x + [3, 0, 0]), 6))
    9.0
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ShapeError(
            f"features have shapes {a.shape} and {b.shape}: expected (n, d) and (m, d), n, m >= 2"
        )
    C, D = np.cov(a.T).reshape(a.shape[1], -1), np.cov(b.T).reshape(b.shape[1], -1)
    # the trace of the root of C D is that of the symmetric root C^(1/2) D C^(1/2)
    values, vectors = scipy.linalg.eigh(C)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    middle = np.sqrt(scipy.linalg.eigvalsh(root @ D @ root).clip(0)).sum()
    return float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + np.trace(C) + np.trace(D) - 2 * middle)


__all__ = ["FactorChanges", "factor_changes", "frechet_distance", "one_factorness"]
