"""What others make of the same functions: sparse-transform, and scikit-learn on low-order parities."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np


def qsft_decode(f: Any, b: int, repeats: int, method: str) -> tuple[bool, float, int]:
    """Whether sparse-transform finds the support, the seconds it reports for decoding, and its samples."""
    from sparse_transform.qsft.qsft import transform
    from sparse_transform.qsft.signals.input_signal_subsampled import SubsampledSignal

    np.random.seed(int(f.rng.integers(1 << 31)))  # noqa: NPY002  (its matrices come from the legacy generator)
    powers = np.uint64(1) << np.arange(f.n, dtype=np.uint64)
    settings = {
        "query_method": "complex",
        "subsampling_method": "qsft",
        "delays_method_source": "identity",
        "delays_method_channel": method,
        "num_subsample": 3,
        "num_repeat": repeats,
        "b": b,
    }
    signal = SubsampledSignal(
        func=lambda rows: f((np.asarray(rows).astype(np.uint64) * powers).sum(axis=1, dtype=np.uint64)),
        n=f.n, q=2, noise_sd=f.sigma, query_args=settings,
    )  # fmt: skip
    channel = "nso-soft" if method == "nso" else method
    result = transform(
        signal, reconstruct_method_source="identity", reconstruct_method_channel=channel, b=b, num_subsample=3,
        num_repeat=repeats, noise_sd=f.sigma, report=True,
    )  # fmt: skip
    found = {int(sum(int(bit) << i for i, bit in enumerate(k))) for k in result["transform"]}
    return found == {int(k) for k in f.support}, float(result["runtime"]), int(result["n_samples"])


def sparse_regression(kind: str, f: Any, queries: int, K: int) -> tuple[int, float]:
    """How much of the support is among the K largest parities of order <= 2, and seconds of the fit."""
    from sklearn.linear_model import LassoCV, OrthogonalMatchingPursuit

    points = f.rng.integers(0, 1 << f.n, queries, dtype=np.uint64)
    y = f(points)
    start = time.perf_counter()
    signs = 1.0 - 2.0 * ((points[:, None] >> np.arange(f.n, dtype=np.uint64)) & np.uint64(1)).astype(
        np.float64
    )
    terms = [t for size in range(3) for t in itertools.combinations(range(f.n), size)]
    design = np.column_stack([signs[:, t].prod(axis=1) for t in terms])
    model = LassoCV(cv=5) if kind == "lasso" else OrthogonalMatchingPursuit(n_nonzero_coefs=K)
    coef = model.fit(design[:, 1:], y).coef_
    taken = time.perf_counter() - start
    masks = np.array([sum(1 << i for i in t) for t in terms[1:]])
    largest = masks[np.argsort(-np.abs(coef))[:K]]
    return int(np.isin(f.support.astype(np.int64), np.r_[0, largest]).sum()), taken
