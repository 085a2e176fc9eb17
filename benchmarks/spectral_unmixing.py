"""Unmixing (arXiv 1409.0685) on scenes simulated from measured USGS spectra, 10 nm: robustness, guidance, sparsity.

Three sets of four materials; the first of 20 channels of noise, the second half pure and half mixed, the third clean.
"""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Claim, compare, run

DATA = Path(os.environ.get("GOSSAMER_DATA", "../shared/data"))
SETS = (
    ("spruce", "dry_grass", "calcite", "chlorite"),
    ("spruce", "melting_snow", "illite_imt1", "topaz"),
    ("lodgepole_needles", "buddingtonite", "chalcedony", "siderite"),
)
METHODS: dict[str, dict[str, Any]] = {
    "NMF": {"robust": False, "sparsity": "none"},
    "l1/2-NMF": {"robust": False, "sparsity": 0.5},
    "l2,1-NMF": {"sparsity": "none"},
    "RRLbS": {},
}
OUTLIERS = {"kind": "smooth", "snr_db": 30.0, "max_abundance": 0.9, "n_outlier": 20}


def spectra() -> dict[str, np.ndarray]:
    """Measured reflectances by name, 206 channels."""
    with open(DATA / "usgs-splib07/full_range_10nm.csv", encoding="utf-8") as handle:
        names, *rows = csv.reader(handle)
    values = np.array(rows, float)
    return {name: values[:, i] for i, name in enumerate(names) if i}


def _scenes(side: int, seeds: int, **options: Any) -> Iterator[Any]:
    from gossamer.learn import simulate_scene

    known = spectra()
    for materials in SETS:
        M = np.stack([known[name] for name in materials])
        for seed in range(seeds):
            yield simulate_scene(M, (side, side), random_state=seed, **options)


def _fit(scene: Any, **options: Any) -> Any:
    from gossamer.learn import RRLbS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RRLbS(4, max_iter=300, random_state=0, **options).fit(scene.X)


def _errors(scene: Any, A: np.ndarray, M: np.ndarray) -> tuple[float, float]:
    from gossamer.learn import abundance_rmse, sad

    good = np.setdiff1d(np.arange(scene.M.shape[1]), scene.outlier_channels)
    return float(abundance_rmse(scene.A, A).mean()), float(sad(scene.M, M, channels=good).mean())


def _corners(scene: Any) -> float:
    from gossamer.learn import abundance_rmse, fcls, trusted_channels, vca

    good = trusted_channels(scene.X).trusted
    endmembers = np.maximum(vca(scene.X[:, good], 4, random_state=0)[1], 1e-6)
    return float(abundance_rmse(scene.A, fcls(scene.X[:, good], endmembers)).mean())


def _table(scenes: list[Any], methods: dict[str, dict[str, Any]]) -> dict[str, np.ndarray]:
    found = {}
    for name, options in methods.items():
        models = [_fit(scene, **options) for scene in scenes]
        found[name] = np.array(
            [_errors(s, m.abundances_, m.endmembers_) for s, m in zip(scenes, models, strict=True)]
        )
    return found


def _size(full: bool) -> tuple[int, int]:
    return (64, 5) if full else (32, 2)


def outliers(full: bool) -> Iterator[Claim]:
    """Twenty channels of noise of standard deviation 2."""
    side, seeds = _size(full)
    scenes = list(_scenes(side, seeds, **OUTLIERS))
    table = _table(scenes, {name: METHODS[name] for name in ("NMF", "l2,1-NMF", "RRLbS")})
    mean = {name: values.mean(axis=0) for name, values in table.items()}
    corners = float(np.mean([_corners(scene) for scene in scenes]))
    note = f"{side} x {side}, {seeds} seeds of 3 sets, 300 iterations; RMSE / SAD: " + "; ".join(
        f"{name} {rmse:.3f} / {angle:.3f}" for name, (rmse, angle) in mean.items()
    )
    ours, nmf = mean["RRLbS"], mean["NMF"]
    yield Claim("Abundance error with 20 outlier channels against NMF", "<= 0.35x", ours[0], "RMSE", nmf[0],
                "NMF, same start", note=note)  # fmt: skip
    yield Claim("Abundance error with 20 outlier channels against VCA and FCLS", "<= 0.8x", ours[0], "RMSE", corners,
                "VCA on trusted channels, FCLS", note=note)  # fmt: skip
    yield Claim("Spectral angle on good channels with 20 outlier channels against NMF", "<= 0.35x", ours[1], "rad",
                nmf[1], "NMF, same start", note=note)  # fmt: skip


def half_pure(full: bool) -> Iterator[Claim]:
    """Pure pixels on the left, mixed ones on the right, 15 dB."""
    from gossamer.learn import sparsity_estimate

    side, seeds = _size(full)
    scenes = list(_scenes(side, seeds, kind="half_pure", snr_db=15.0))
    shares = (0.03, 0.1, 0.3, 1.0) if full else (0.1, 0.3)
    best: dict[str, float] = {}
    for name in ("l1/2-NMF", "RRLbS"):
        rows = [
            [_errors_of(s, lam=share * sparsity_estimate(s.X), **METHODS[name]) for s in scenes]
            for share in shares
        ]
        best[name] = float(np.mean(rows, axis=1).min())
    models = [_fit(scene) for scene in scenes]
    default = float(
        np.mean([_errors(s, m.abundances_, m.endmembers_)[0] for s, m in zip(scenes, models, strict=True)])
    )
    nmf = float(np.mean([_errors_of(s, **METHODS["NMF"]) for s in scenes]))
    corr = [float(np.corrcoef(m.guidance_, s.sparseness)[0, 1]) for s, m in zip(scenes, models, strict=True)]
    note = f"{side} x {side}, {seeds} seeds of 3 sets, 300 iterations; strengths {shares} of the sparsity estimate"
    yield Claim("Abundance error, half pure at 15 dB, against l1/2-NMF, each at its best strength", "<= 0.97x",
                best["RRLbS"], "RMSE", best["l1/2-NMF"], "l1/2-NMF, same start", note=note)  # fmt: skip
    yield Claim("Abundance error at the default strength against the best", "<= 1.05x", default, "RMSE", best["RRLbS"],
                "best strength", note=note)  # fmt: skip
    yield Claim("Abundance error, half pure at 15 dB, against NMF", "<= 0.8x", default, "RMSE", nmf, "NMF, same start",
                note=note)  # fmt: skip
    yield Claim("Correlation of the guidance with the true sparseness", ">= 0.9", float(np.mean(corr)), "correlation",
                spread={"kind": "scenes", "values": corr}, note=note)  # fmt: skip


def _errors_of(scene: Any, **options: Any) -> float:
    model = _fit(scene, **options)
    return _errors(scene, model.abundances_, model.endmembers_)[0]


def clean(full: bool) -> Iterator[Claim]:
    """A smooth scene without degraded channels."""
    side, seeds = _size(full)
    scenes = list(_scenes(side, seeds, kind="smooth", snr_db=30.0))
    ours, nmf = (
        float(np.mean([_errors_of(s, **METHODS[name]) for s in scenes])) for name in ("RRLbS", "NMF")
    )
    yield Claim("Abundance error on a clean smooth scene against NMF", "<= 1.15x", ours, "RMSE", nmf, "NMF, same start",
                note=f"{side} x {side}, {seeds} seeds of 3 sets, 300 iterations")  # fmt: skip


def speed(full: bool) -> Iterator[Claim]:
    """An iteration at 100,000 pixels of 206 channels against the formulas as they are written."""
    from gossamer.learn.unmix.blocks import Blocks
    from gossamer.learn.unmix.factors import Factors, Penalty

    rng = np.random.default_rng(0)
    N = 100_000 if full else 20_000
    M, A = rng.random((6, 206)), rng.dirichlet(np.ones(6), N)
    X = A @ M + 0.01 * rng.random((N, 206))
    h = np.full(N, 0.5)
    blocks = Blocks.of(X, X.dtype)
    blocks.scatter("set_shares", A)
    blocks.scatter("set_map", h)
    factors = Factors(blocks, M, np.ones(206, bool), Penalty(0.1, 1e-3, 15.0, 0.3), N)

    def written() -> None:
        m, a = M, A.T
        u = 1 / np.sqrt(((X - (m.T @ a).T) ** 2).sum(axis=0) + 0.09)
        for _ in range(3):
            m = m * (a @ X) / (a @ a.T @ m)
        for _ in range(3):
            weighted = m * u
            below = weighted @ m.T @ a + 225 * a.sum(axis=0) + 0.05 * (a + 1e-3) ** -0.5
            a = a * (weighted @ X.T + 225) / below

    race = compare(lambda: factors.step(3), written, rounds=3)
    yield Claim.from_race("Iteration against the formulas in NumPy", ">= 5x", race, peer_name="NumPy",
                          note=f"{N} pixels, 206 channels, 6 endmembers, 3 repeats of each step, float64")  # fmt: skip


if __name__ == "__main__":
    run(
        "spectral-unmixing",
        {"outliers": outliers, "half_pure": half_pure, "clean": clean, "speed": speed},
        packages=["numpy", "scipy", "scikit-learn"],
    )
