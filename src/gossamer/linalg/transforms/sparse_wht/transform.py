"""The sparse Walsh-Hadamard transform: choose inputs, fold them into bins, peel."""

from __future__ import annotations

import math
from typing import Any

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer.linalg.transforms.sparse_wht.designs import DESIGNS, make_design
from gossamer.linalg.transforms.sparse_wht.offsets import METHODS, default_offsets, make_offsets
from gossamer.linalg.transforms.sparse_wht.peeling import Detection
from gossamer.linalg.transforms.sparse_wht.result import SparseWHTResult
from gossamer.linalg.transforms.sparse_wht.samples import Samples
from gossamer.linalg.transforms.sparse_wht.stages import Noise, Stage, explained, run_stages, sizes
from gossamer.linalg.transforms.walsh_hadamard import NORMS, factor


def sparse_wht(
    f: Any,
    n: int,
    K: int | None = None,
    *,
    method: str = "coded",
    sigma: float | None = None,
    snr_db: float | None = None,
    C: int = 3,
    b: int | None = None,
    P: int | None = None,
    design: str = "random",
    refine: bool = True,
    norm: str = "forward",
    max_queries: int | None = None,
    max_degree: int | None = None,
    vectorised: str = "bits",
    osd_order: int = 1,
    soft: bool = True,
    average: bool = True,
    batch: int = 1 << 16,
    threads: int | None = None,
    random_state: RandomState = None,
) -> SparseWHTResult:
    r"""Walsh-Hadamard coefficients of a function of n bits that has few, from few of its values.

    .. math:: f(m) = \sum_{k \in S} X[k] (-1)^{\langle m, k \rangle} + w_m, \qquad |S| = K \ll N = 2^n

    Queries on random subspaces, folded by small transforms, hash the coefficients into ``2**b`` bins in each of C
    groups. Offsets give every bin P entries, from which a detector reads a coefficient that is alone in its bin; taking
    it out of the other groups leaves others alone (SPRIGHT). O(K n) queries and O(K n^2) time, noise or not; nothing of
    size N is formed.

    Choose "coded" (fewest samples, with or without noise), "identity" (exact values only; cheapest to decode), "nso"
    (noise; n + 1 queries for each of its repetitions), "mle" (tries all ``2**(n - b)`` indices; small n).

    Parameters
    ----------
    f : callable or array of shape (2**n,)
        A callable takes a bit matrix (q, n) uint8, column i being bit i of the index, or with ``vectorised="index"``
        indices (q,) uint64, and returns q real numbers. An array may be memory-mapped; entry m is f(m).
    n : int
        Bits, at most 62.
    K : int, optional
        Number of coefficients expected. None doubles the bins from 16 on until no bin is left unresolved; what has been
        asked is used again.
    method : {"coded", "identity", "nso", "mle"}
        The detector.
    sigma : float, optional
        Standard deviation of the noise of a value; without it and ``snr_db`` estimated from the quietest bins.
    snr_db : float, optional
        ``10 log10(sum X^2 / sigma^2)``, in place of ``sigma``; also chooses P.
    C, b, P : int, optional
        Groups, bits of a bin's number, offsets. By default 3, ``max(2, ceil(log2 K))`` (more for K below 10, which
        would meet in all groups too often), and from 2n at 10 dB to 4n at 0 dB; "identity" takes n + 1.
        :func:`plan_sparse_wht` chooses them for a probability of failure.
    design : {"random", "partition", "cyclic"}
        Subspaces: uniform (any support); disjoint coordinates, or overlapping windows of them (random supports only).
    refine : bool
        Least squares on the support found, without terms below four standard errors.
    norm : {"forward", "ortho", "none"}
        Scale of the coefficients, as in :func:`fwht`.
    max_queries : int, optional
        Distinct inputs that may be asked for. A sketch that does not fit is made smaller, and ``success`` is False.
    max_degree : int, optional
        Largest number of ones in an index. "identity" and "nso" then read k from the check of a BCH code, with
        t ceil(log2(n + 1)) offsets in place of n where that is fewer.
    vectorised : {"bits", "index"}
        What a callable takes.
    osd_order : int
        Of "coded": up to this many of the most reliable signs are flipped together.
    soft : bool
        Of "nso": weigh votes by magnitude.
    average : bool
        Average amplitudes over the groups that report the same index in one round.
    batch : int
        Most inputs in one call of f.
    threads : int, optional
        As :func:`gossamer.set_threads` by default; results do not depend on it.
    random_state : int or Generator, optional
        Source of subspaces and offsets.

    Returns
    -------
    SparseWHTResult
        ``support``, ``coef`` and how they came about. ``success`` says that what is left in every bin is explained by
        noise; coefficients below ``detection_floor`` may hide in it.

    Raises
    ------
    ArgumentError
        For arguments out of range (the message says which), for K above ``2**(0.9 n)`` (take :func:`fwht`), and for
        values of f that are not finite or not as many as asked.

    References
    ----------
    Li, Bradley, Pawar, Ramchandran, "SPRIGHT: A fast and robust framework for sparse Walsh-Hadamard transform",
    arXiv 1508.06336, 2015.

    Examples
    --------
    >>> from gossamer.linalg import sparse_wht
    >>> result = sparse_wht(lambda bits: 3.0 - 2.0 * (bits[:, 1] ^ bits[:, 7]), n=20, K=2, random_state=0)
    >>> [(columns, round(value, 6)) for columns, value in result.interactions()]
    [((), 2.0), ((1, 7), 1.0)]
    """
    check_choice("method", method, METHODS)
    check_choice("design", design, DESIGNS)
    check_choice("norm", norm, NORMS)
    samples = Samples(f, n, vectorised, max_queries, batch)
    n = samples.n
    noise = _noise(sigma, snr_db)
    groups = check_int("C", C, low=1)
    degree = n if max_degree is None else check_int("max_degree", max_degree, low=1, high=n)
    how = Detection(method, check_int("osd_order", osd_order, low=0), soft, degree, average, refine)
    tried = sizes(n, K, b, groups)
    if P is None:
        P = default_offsets(n, tried[0], method, max_degree, noise.snr_db)
    P = check_int("P", P, low=1)
    if method == "coded" and n - tried[0] + 1 > P:
        raise bad_argument("P", P, f"at least n - b + 1 = {n - tried[0] + 1} for method='coded'")
    if method == "mle" and n - tried[0] > 26:
        raise bad_argument("method", method, f"n - b <= 26, here {n - tried[0]}", "'coded' has no such limit")
    rng = check_random_state(random_state)
    whole = make_design(n, tried[-1], groups, design, rng)
    offsets = make_offsets(n, groups, P, method, max_degree, rng)
    stage = run_stages(whole, offsets, samples, how, noise, tried, threads)

    found, scale = stage.found, factor(norm, 1 << n) * (1 << n)
    success = not stage.short and explained(found, noise, len(tried) > 1)
    return SparseWHTResult(
        success=success,
        message=_message(stage, success),
        n=n,
        support=found.support,
        coef=found.coef * scale,
        error=found.error * scale,
        norm=norm,
        n_queries=len(samples.keys),
        n_samples=groups * P << stage.b,
        sigma=math.sqrt(found.levels.nu2 * (1 << stage.b)),
        detection_floor=found.levels.smallest * scale,
        energy=found.energy,
        residual_energy=found.residual,
        unresolved_bins=found.unresolved,
        rounds=found.rounds,
        b=stage.b,
        groups=groups,
        offsets=P,
        method=method,
    )


def _noise(sigma: float | None, snr_db: float | None) -> Noise:
    if sigma is not None and snr_db is not None:
        raise ArgumentError(f"sigma={sigma!r} and snr_db={snr_db!r}: expected at most one of them")
    return Noise(
        None if sigma is None else check_float("sigma", sigma, low=0),
        None if snr_db is None else check_float("snr_db", snr_db, low=-60, high=300),
    )


def _message(stage: Stage, success: bool) -> str:
    found = stage.found
    if success:
        return "noise explains what is left in every bin"
    if stage.short:
        return f"max_queries ends before the sketch does; decoded with 2**{stage.b} bins a group"
    if found.unresolved:
        return f"{found.unresolved} bins hold more than noise: try more bins (b), groups (C) or offsets (P)"
    return "what is left could be noise or many small terms: give sigma or snr_db, or more bins"
