"""Unmixing (arXiv 1409.0685) on scenes simulated from measured USGS spectra, 10 nm: robustness, guidance, sparsity.

Three sets of four materials; the first of 20 channels of noise, the second half pure and half mixed, the third clean.
"""

from __future__ import annotations

import csv
import functools
import os
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
NOTE = "64 x 64, 5 seeds of 3 sets, 300 iterations"
SHARES = (0.03, 0.1, 0.3, 1.0)
OUTLIERS = {"kind": "smooth", "snr_db": 30.0, "max_abundance": 0.9, "n_outlier": 20}


def spectra() -> dict[str, np.ndarray]:
    """Measured reflectances by name, 206 channels."""
    with open(DATA / "usgs-splib07/full_range_10nm.csv", encoding="utf-8") as handle:
        names, *rows = csv.reader(handle)
    values = np.array(rows, float)
    return {name: values[:, i] for i, name in enumerate(names) if i}


def _scenes(**options: Any) -> Iterator[Any]:
    from gossamer.learn import simulate_scene

    known = spectra()
    for materials in SETS:
        M = np.stack([known[name] for name in materials])
        for seed in range(5):
            yield simulate_scene(M, (64, 64), random_state=seed, **options)


def _fit(scene: Any, **options: Any) -> Any:
    from gossamer.learn import RRLbS

    return RRLbS(4, max_iter=300, random_state=0, **options).fit(scene.X)


def _each(function: Callable[[Any], Any], scenes: list[Any]) -> list[Any]:
    """A scene a core: scenes are too small to share several."""
    from gossamer._core.threads import available_cores, set_threads

    warnings.simplefilter("ignore")
    set_threads(1)
    try:
        with ThreadPoolExecutor(available_cores()) as pool:
            return list(pool.map(function, scenes))
    finally:
        set_threads(None)


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
        models = _each(functools.partial(_fit, **options), scenes)
        found[name] = np.array(
            [_errors(s, m.abundances_, m.endmembers_) for s, m in zip(scenes, models, strict=True)]
        )
    return found


def _mean_error(scenes: list[Any], share: float | None = None, **options: Any) -> float:
    """Mean abundance error, at a share of the sparsity estimate if one is given."""
    from gossamer.learn import sparsity_estimate

    def error(scene: Any) -> float:
        lam = {} if share is None else {"lam": share * sparsity_estimate(scene.X)}
        model = _fit(scene, **lam, **options)
        return _errors(scene, model.abundances_, model.endmembers_)[0]

    return float(np.mean(_each(error, scenes)))


def _half_pure_scenes() -> list[Any]:
    return list(_scenes(kind="half_pure", snr_db=15.0))


def _best(scenes: list[Any], name: str) -> tuple[float, str]:
    rows = {share: _mean_error(scenes, share, **METHODS[name]) for share in SHARES}
    return min(rows.values()), f"{name} " + ", ".join(f"{row:.4f} at {share}" for share, row in rows.items())


def outliers(full: bool) -> Iterator[Claim]:
    """Twenty channels of noise of standard deviation 2."""
    scenes = list(_scenes(**OUTLIERS))
    table = _table(scenes, {name: METHODS[name] for name in ("NMF", "l2,1-NMF", "RRLbS")})
    mean = {name: values.mean(axis=0) for name, values in table.items()}
    corners = float(np.mean(_each(_corners, scenes)))
    note = f"{NOTE}; RMSE / SAD: " + "; ".join(
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
    """Pure pixels on the left, mixed ones on the right, 15 dB: each method at its best strength."""
    scenes = _half_pure_scenes()
    (ours, mine), (peer, theirs) = _best(scenes, "RRLbS"), _best(scenes, "l1/2-NMF")
    yield Claim("Abundance error, half pure at 15 dB, against l1/2-NMF, each at its best strength", "<= 0.97x", ours,
                "RMSE", peer, "l1/2-NMF, same start",
                note=f"{NOTE}; shares of the sparsity estimate: {mine}; {theirs}")  # fmt: skip


def default_strength(full: bool) -> Iterator[Claim]:
    """The same scenes at the default strength."""
    scenes = _half_pure_scenes()
    best, rows = _best(scenes, "RRLbS")
    models = _each(_fit, scenes)
    default = float(
        np.mean([_errors(s, m.abundances_, m.endmembers_)[0] for s, m in zip(scenes, models, strict=True)])
    )
    nmf = _mean_error(scenes, **METHODS["NMF"])
    corr = [float(np.corrcoef(m.guidance_, s.sparseness)[0, 1]) for s, m in zip(scenes, models, strict=True)]
    yield Claim("Abundance error at the default strength against the best", "<= 1.05x", default, "RMSE", best,
                "best strength", note=f"{NOTE}; {rows}")  # fmt: skip
    yield Claim("Abundance error, half pure at 15 dB, against NMF", "<= 0.8x", default, "RMSE", nmf, "NMF, same start",
                note=NOTE)  # fmt: skip
    yield Claim("Correlation of the guidance with the true sparseness", ">= 0.9", float(np.mean(corr)), "correlation",
                spread={"kind": "scenes", "values": corr}, note=NOTE)  # fmt: skip


def measures(full: bool) -> Iterator[Claim]:
    """Guidance by the sparseness of shares instead of by evidence."""
    scenes = _half_pure_scenes()
    ours = _mean_error(scenes)
    hoyer = _mean_error(scenes, guidance="hoyer")
    yield Claim("Abundance error, half pure at 15 dB, evidence against Hoyer's sparseness as guidance", "<= 1x", ours,
                "RMSE", hoyer, "guidance='hoyer'", note=f"{NOTE}; default strengths of each")  # fmt: skip


def libraries(full: bool) -> Iterator[Claim]:
    """scikit-learn's NMF on the same scenes, pixels divided by their sums and shares by theirs."""
    from sklearn.decomposition import NMF

    scenes = _half_pure_scenes()
    ours = _mean_error(scenes)
    for solver in ("cd", "mu"):

        def error(scene: Any, solver: str = solver) -> float:
            nmf = NMF(4, solver=solver, init="nndsvda", max_iter=300, random_state=0)
            shares = nmf.fit_transform(scene.X / scene.X.sum(axis=1, keepdims=True))
            shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
            return _errors(scene, shares, nmf.components_)[0]

        peer = float(np.mean(_each(error, scenes)))
        yield Claim(f"Abundance error, half pure at 15 dB, against scikit-learn's NMF ({solver})", "<= 1x", ours,
                    "RMSE", peer, f"sklearn.decomposition.NMF(solver={solver!r})", note=NOTE)  # fmt: skip


def clean(full: bool) -> Iterator[Claim]:
    """A smooth scene without degraded channels."""
    scenes = list(_scenes(kind="smooth", snr_db=30.0))
    ours, nmf = (_mean_error(scenes, **METHODS[name]) for name in ("RRLbS", "NMF"))
    yield Claim("Abundance error on a clean smooth scene against NMF", "<= 1.15x", ours, "RMSE", nmf, "NMF, same start",
                note=NOTE)  # fmt: skip


def speed(full: bool) -> Iterator[Claim]:
    """An iteration at 100,000 pixels of 206 channels against the formulas as they are written."""
    from gossamer.learn.unmix.blocks import Blocks
    from gossamer.learn.unmix.factors import Factors, Penalty

    rng = np.random.default_rng(0)
    N = 100_000
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

    began = time.perf_counter()
    for _ in range(200):
        factors.step(3)
    seconds = time.perf_counter() - began
    yield Claim("200 iterations", "<= 20", seconds, "s",
                note=f"{N} pixels, 206 channels, 6 endmembers, 3 repeats of each step, float64")  # fmt: skip
    race = compare(lambda: factors.step(3), written, rounds=3)
    yield Claim.from_race("Iteration against the formulas in NumPy", ">= 5x", race, peer_name="NumPy",
                          note=f"{N} pixels, 206 channels, 6 endmembers, 3 repeats of each step, float64")  # fmt: skip


if __name__ == "__main__":
    run(
        "spectral-unmixing",
        {
            "outliers": outliers,
            "half_pure": half_pure,
            "default_strength": default_strength,
            "measures": measures,
            "libraries": libraries,
            "clean": clean,
            "speed": speed,
        },
        packages=["numpy", "scipy", "scikit-learn"],
    )
