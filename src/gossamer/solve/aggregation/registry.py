"""All rules under their names, with one way to call them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from gossamer._core.arrays import Array
from gossamer._core.checks import check_choice
from gossamer._core.errors import bad_argument
from gossamer.solve.aggregation.bulyan import bulyan
from gossamer.solve.aggregation.centered_clipping import centered_clipping
from gossamer.solve.aggregation.closest import meamed, phocas
from gossamer.solve.aggregation.coordinate import coordinate_median, mean_gradient, trimmed_mean
from gossamer.solve.aggregation.flag import flag_aggregate
from gossamer.solve.aggregation.geometric_median import geometric_median
from gossamer.solve.aggregation.gradients import Gradients
from gossamer.solve.aggregation.krum import krum, multi_krum
from gossamer.solve.shards import Reduce

AGGREGATORS: dict[str, Callable[..., Any]] = {
    "flag": flag_aggregate,
    "mean": mean_gradient,
    "median": coordinate_median,
    "trimmed_mean": trimmed_mean,
    "meamed": meamed,
    "phocas": phocas,
    "geometric_median": geometric_median,
    "krum": krum,
    "multi_krum": multi_krum,
    "bulyan": bulyan,
    "centered_clipping": centered_clipping,
}
"""Rules by name: each is called with the gradients, with ``f`` if it takes one, and with options of its own."""


def aggregate(
    G: Any,
    rule: str | Callable[..., Any] = "flag",
    f: int | None = None,
    *,
    out: Array | None = None,
    reduce: Reduce | None = None,
    **options: Any,
) -> Any:
    """Combine the gradients of p workers by a rule of :data:`AGGREGATORS`.

    Start with ``"flag"``, which needs no f. With f known, ``"multi_krum"`` and ``"trimmed_mean"`` are cheap and good;
    ``"bulyan"`` resists attacks that hide in few coordinates, and wants ``p >= 4 f + 3``; ``"mean"`` is for workers
    that never fail.

    Parameters
    ----------
    G : array or tensor, shape (p, n), or list of p arrays or tensors, shape (n,)
        Gradients, in float32 or float64; half precision is widened on the way. A list may hold memory maps: no rule
        reads more than a block of coordinates at once.
    rule : str or callable
        Name of a rule, or a function that is called with G (and with ``f=``, if it has such a parameter).
    f : int, optional
        How many workers are assumed to be bad. Rules that need no f ignore it.
    out : array or tensor, shape (n,), optional
        Where the result is written, in the dtype of G; for instance a memory map. Not for a function as ``rule``.
    reduce : callable, optional
        Sums an array over the processes that hold the other coordinates (:func:`all_reduce_sum`): each calls this with
        its own coordinates of all gradients, and gets its own of the result. Not for a function as ``rule``.
    **options
        Of the rule, for instance ``lam=0.1``.

    Returns
    -------
    array or tensor, shape (n,)
        In kind, dtype and device as G.

    Raises
    ------
    ShapeError, ArgumentError
        Fewer than two (finite) gradients, unequal lengths, an unknown rule, no f where one is needed, or an f that is
        too large for the rule and p; the message names the inequality.

    Warns
    -----
    RuntimeWarning
        Gradients with NaN or infinities are left out (the median leaves out single values instead).

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.solve import aggregate
    >>> G = np.array([[1.0, 1], [1, 3], [2, 2], [90, -90], [1, 2]])
    >>> aggregate(G, "trimmed_mean", f=1).round(2).tolist()
    [1.33, 1.67]
    """
    if callable(rule):
        if out is not None or reduce is not None:
            raise bad_argument("rule", rule, "a name of AGGREGATORS with out or reduce")
        return rule(G, **_faults(rule, f), **options)
    function = AGGREGATORS[check_choice("rule", rule, AGGREGATORS)]
    return function(Gradients(G, out, reduce), **_faults(function, f, rule), **options)


def _faults(function: Callable[..., Any], f: int | None, name: str = "") -> dict[str, Any]:
    if "f" not in inspect.signature(function).parameters:
        return {}
    if f is None:
        raise bad_argument("f", f, f"the number of bad workers, which {name or 'this rule'} needs")
    return {"f": f}
