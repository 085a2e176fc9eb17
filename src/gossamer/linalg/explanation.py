"""Which structure does a matrix have? Every family at equal bytes, with its error."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse

from gossamer._core.arrays import to_numpy
from gossamer._core.checks import check_array, check_float
from gossamer._core.errors import ArgumentError, GossamerError, unknown_choice
from gossamer._core.results import Result
from gossamer.linalg.candidates import FAMILIES, Candidate, candidates
from gossamer.linalg.grammar import format_structure
from gossamer.linalg.metric import check_metric, weighted_error
from gossamer.linalg.operator import StructuredMatrix

BITS = (16.0, 8.0, 4.0, 2.0, 1.0, 0.5)
_EXACT = {
    np.dtype(name): 1e-5 if wide else 1e-11
    for name, wide in {"float32": True, "complex64": True, "float64": False, "complex128": False}.items()
}


@dataclass(frozen=True)
class Fit:
    """One member of one family, nearest to the matrix.

    Attributes
    ----------
    family : str
        Name of the family.
    structure : str
        The family with its parameters, as :func:`gossamer.linalg.parse_structure` reads it.
    nbytes : int
        Storage of the member, all overhead counted.
    bits_per_weight : float
        The same in bits an entry of the matrix.
    error : float
        Root of the squared error over that of the zero matrix, in the metric: 0 is exact, 1 is nothing kept.
    exact : bool
        Whether the error is no more than rounding.
    seconds : float
        What the projection took.
    """

    family: str
    structure: str
    nbytes: int
    bits_per_weight: float
    error: float
    exact: bool
    seconds: float


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanation(Result):
    """What :func:`explain` found.

    Attributes
    ----------
    shape : (int, int)
        Of the matrix.
    fits : tuple of Fit
        Every member that was tried, by family and size.
    skipped : dict of str to str
        Families that refused the matrix, and why.
    metric : str
        "none", "diagonal" or "full".
    """

    shape: tuple[int, int]
    fits: tuple[Fit, ...]
    skipped: dict[str, str] = field(default_factory=dict)
    metric: str = "none"

    def best(self, bits: float = np.inf) -> Fit:
        """The member of the least error among those of at most ``bits`` bits an entry.

        Where several are exact, the smallest of them.

        Raises
        ------
        ArgumentError
            If no family has a member that small.
        """
        fitting = [fit for fit in self.fits if fit.bits_per_weight <= bits]
        if not fitting:
            smallest = min(fit.bits_per_weight for fit in self.fits)
            raise ArgumentError(f"bits={bits}: the smallest member tried takes {smallest:.3g} bits an entry")
        return min(fitting, key=lambda fit: (0.0 if fit.exact else fit.error, fit.nbytes))

    def front(self) -> tuple[Fit, ...]:
        """The members that no other one beats in both size and error, from small to large."""
        kept: list[Fit] = []
        for fit in sorted(self.fits, key=lambda fit: (fit.nbytes, fit.error)):
            if not kept or fit.error < kept[-1].error:
                kept.append(fit)
        return tuple(kept)

    def to_markdown(self) -> str:
        """Error by family (rows) and size (columns) as a table."""
        budgets = sorted({_column(fit) for fit in self.fits}, reverse=True)
        best: dict[tuple[str, float], Fit] = {}
        for fit in self.fits:
            key = fit.family, _column(fit)
            if key not in best or fit.error < best[key].error:
                best[key] = fit
        lines = ["| family | " + " | ".join(f"≤ {b:g} bits" for b in budgets) + " |"]
        lines.append("| --- |" + " ---: |" * len(budgets))
        for family in dict.fromkeys(fit.family for fit in self.fits):
            cells = [best.get((family, b)) for b in budgets]
            shown = ["" if c is None else "exact" if c.exact else f"{c.error:.2g}" for c in cells]
            lines.append(f"| {family} | " + " | ".join(shown) + " |")
        return "\n".join(lines)


def explain(
    W: Any,
    metric: Any = None,
    *,
    bits: Sequence[float] = BITS,
    families: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    r"""Find which structure a matrix has: project it onto each family at equal bytes.

    For every budget of bits an entry the largest member of each family that fits is found by ``project``, and its
    relative error :math:`\sqrt{\mathrm{tr}(E H E^\top) / \mathrm{tr}(W H W^\top)}` is measured. A matrix that *is* a
    member of a family shows as exact at a fraction of the bytes; a trained weight shows what its bytes are best
    spent on, which depends on the metric.

    Parameters
    ----------
    W : array, tensor, sparse matrix or StructuredMatrix, shape (O, K)
        What to explain. Complex matrices are held against the complex families only.
    metric : None or array of shape (K,) or (K, K), optional
        Second moment of the inputs that ``W`` meets, or its diagonal; as for ``project``.
    bits : sequence of float
        Budgets, in bits an entry.
    families : sequence of str, optional
        Only these, by the names that :class:`Explanation` uses; all by default. A complex matrix takes no choice.
    progress : callable, optional
        Hears (members done, members in all).

    Returns
    -------
    Explanation
        ``best(bits)``, ``front()``, ``to_markdown()`` and ``plot()``.

    Raises
    ------
    ArgumentError
        For an unknown family, a budget that is not positive, a zero matrix, or what ``project`` refuses.

    Notes
    -----
    One projection a family and budget; the most expensive are those onto low rank, ``O(O K min(O, K))``.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.linalg import explain
    >>> rng = np.random.default_rng(0)
    >>> W = np.kron(rng.normal(size=(8, 8)), rng.normal(size=(8, 8)))
    >>> explain(W, families=["Kronecker", "low rank", "unstructured"]).best().family
    'Kronecker'
    """
    weights = _dense(W)
    shape = weights.shape
    budgets = [check_float("bits", value, low=0, closed="neither") for value in bits]
    plan = _plan(weights, budgets, families)
    weighing = check_metric(metric, shape[1], weights.real.dtype)
    total = weighted_error(weights, np.zeros_like(weights), weighing)
    if not total > 0:
        raise ArgumentError("W is zero in the metric: every family holds it exactly")
    fits: list[Fit] = []
    skipped: dict[str, str] = {}
    for done, candidate in enumerate(plan, 1):
        order = slice(None) if candidate.order is None else candidate.order
        seen = (
            None
            if weighing is None
            else (weighing[order] if weighing.ndim == 1 else weighing[order][:, order])
        )
        start = time.perf_counter()
        try:
            member = candidate.structure.project(weights[:, order], metric=seen)
        except GossamerError as error:
            skipped[candidate.family] = str(error)
        else:
            lost = weighted_error(weights[:, order], to_numpy(member.to_dense()), seen)
            fits.append(_fit(candidate, member, float(np.sqrt(lost / total)), start))
        if progress is not None:
            progress(done, len(plan))
    if not fits:
        raise ArgumentError(f"W: no family takes it at {max(budgets):g} bits an entry and less")
    found = Explanation(
        shape=shape,
        fits=tuple(fits),
        skipped={name: why for name, why in skipped.items() if name not in {fit.family for fit in fits}},
        metric="none" if weighing is None else ("diagonal" if weighing.ndim == 1 else "full"),
    )
    return Explanation(**{**vars(found), "message": _sentence(found, weights.nbytes)})


def _dense(W: Any) -> np.ndarray:
    if isinstance(W, StructuredMatrix):
        W = W.to_dense()
    elif scipy.sparse.issparse(W):
        W = W.toarray()
    array = to_numpy(check_array("W", W, ndim=2, real=False))
    if array.dtype in _EXACT:
        return array
    return array.astype(np.complex64 if np.iscomplexobj(array) else np.float32)


def _plan(W: np.ndarray, budgets: Sequence[float], families: Sequence[str] | None) -> list[Candidate]:
    for name in families or ():
        if name not in FAMILIES:
            raise unknown_choice("families", name, sorted(FAMILIES))
    return list(candidates(W, budgets, families))


def _fit(candidate: Candidate, member: StructuredMatrix, error: float, start: float) -> Fit:
    exact = error <= _EXACT.get(np.dtype(member.dtype), 1e-5)
    return Fit(
        candidate.family,
        format_structure(candidate.structure),
        member.nbytes,
        member.bits_per_weight,
        error,
        exact,
        time.perf_counter() - start,
    )


def _column(fit: Fit) -> float:
    """The budget of the table that a member belongs to: the next power of two of bits."""
    return float(2.0 ** np.ceil(np.log2(fit.bits_per_weight) - 1e-6))


def _sentence(found: Explanation, nbytes: int) -> str:
    best = found.best()
    share = 100 * best.nbytes / nbytes
    if best.exact and best.family != "dense":
        dealt = " of its columns dealt into heaps" if "dealt" in best.family else ""
        return f"exactly {best.structure}{dealt}, in {share:.2g} % of the bytes"
    limit = max(4.0, min(fit.bits_per_weight for fit in found.fits))
    near = found.best(limit)
    return (
        f"no family holds it exactly; within {limit:.3g} bits an entry {near.structure} is nearest, "
        f"with a relative error of {near.error:.2g}"
    )
