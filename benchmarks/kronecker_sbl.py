"""Kronecker-structured sparse Bayesian learning (arXiv 2307.14719): recovery, a radio channel, cost of an iteration.

Data are drawn as in the paper, from fixed seeds; errors do not depend on the machine.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.harness import Claim, compare, run

PAPER_A = (
    "N_i = 15, M = (8, 12, 15), K = 3: SVD- and AM-KroSBL have the lowest NMSE and highest support recovery"
)
PAPER_B = (
    "mean NMSE at 12 and 20 dB: SBL .46 and .14, SVD .19 and .11, AM .20 and .070, PC(0.8) .049 and .0029"
)
PAPER_SER = "SER at 12 dB: SBL .11, SVD .092, AM .027, PC(0.8) 4.9e-4"
PAPER_C = "O(I m^3 + I n m^I) an iteration against O(m^(2I) n^I)"


def _draw(seed: int, n: int, rows: tuple[int, ...], snr_db: float) -> tuple[Any, ...]:
    """Factors, x, y, support and noise variance of one trial."""
    from gossamer.solve.bayes.modes import mode_products, outer

    rng = np.random.default_rng(seed)
    factors = [rng.standard_normal((m, n)) for m in rows]
    support = [np.sort(rng.choice(n, 3, replace=False)) for _ in rows]
    parts = []
    for chosen in support:
        part = np.zeros(n)
        part[chosen] = rng.standard_normal(3)
        parts.append(part)
    x = outer(parts)
    signal = mode_products(x[:, None], factors)[0]
    noise = float(np.square(signal).mean() / 10 ** (snr_db / 10))
    return factors, x, signal + noise**0.5 * rng.standard_normal(len(signal)), support, noise


def _nmse(found: np.ndarray, x: np.ndarray) -> float:
    return float(np.square(np.abs(found - x)).sum() / np.square(np.abs(x)).sum())


def _trials(n: int, rows: tuple[int, ...], snr_db: float, trials: int, methods: Any) -> dict[str, np.ndarray]:
    """(NMSE, support rate, seconds) of every method and trial: (trials, 3)."""
    from gossamer.solve import kron_support_rate

    rows_of: dict[str, list[tuple[float, float, float]]] = {name: [] for name in methods}
    for seed in range(trials):
        factors, x, y, support, _ = _draw(seed, n, rows, snr_db)
        for name, solve in methods.items():
            began = time.perf_counter()
            found = solve(factors, y, support)
            taken = time.perf_counter() - began
            rows_of[name].append((_nmse(found, x), kron_support_rate(x, found), taken))
    return {name: np.array(values) for name, values in rows_of.items()}


def _told(measured: dict[str, np.ndarray], *, timed: bool) -> str:
    return "; ".join(
        f"{name} {np.median(v[:, 0]):.2g} ({v[:, 0].mean():.2g}), support {np.median(v[:, 1]):.2f} "
        f"({v[:, 1].mean():.2f})" + (f", {1e3 * np.median(v[:, 2]):.0f} ms" if timed else "")
        for name, v in measured.items()
    )


def recovery(full: bool) -> Iterator[Claim]:
    """N_i = 15, M = (8, 12, 15), three nonzeros a mode, unknown noise."""
    from gossamer.solve import kro_omp, kro_sbl, oracle_ls

    methods = {
        "SVD": lambda A, y, s: kro_sbl(A, y).x,
        "AM": lambda A, y, s: kro_sbl(A, y, method="am").x,
        "KSBL": lambda A, y, s: kro_sbl(A, y, method="ksbl").x,
        "KOMP": lambda A, y, s: kro_omp(A, y, (10, 10, 10)),
        "oracle": lambda A, y, s: oracle_ls(A, y, s),
    }
    trials = 40 if full else 20
    for snr in (25, 15):
        measured = _trials(15, (8, 12, 15), snr, trials, methods)
        note = f"{trials} trials, noise learnt, medians (means): {_told(measured, timed=False)}"
        svd, oracle = (float(np.median(measured[name][:, 0])) for name in ("SVD", "oracle"))
        yield Claim(f"Median NMSE of SVD-KroSBL against least squares on the true support, {snr} dB", "<= 1.5x", svd,
                    "NMSE", oracle, "our oracle_ls", paper=PAPER_A, note=note)  # fmt: skip
        if snr == 25:
            yield Claim("Median NMSE of SVD-KroSBL, 25 dB", "<= 3e-4", svd, "NMSE", paper=PAPER_A)


def plain(full: bool) -> Iterator[Claim]:
    """N_i = 10, M = (6, 7, 8), 20 dB: against SBL that does not know the structure, ours and scikit-learn's."""
    from sklearn.linear_model import ARDRegression, orthogonal_mp

    from gossamer.solve import kro_sbl, oracle_ls, sbl

    def explicit(A: Any) -> np.ndarray:
        return np.kron(np.kron(A[0], A[1]), A[2])

    methods = {
        "SVD": lambda A, y, s: kro_sbl(A, y).x,
        "AM": lambda A, y, s: kro_sbl(A, y, method="am").x,
        "oracle": lambda A, y, s: oracle_ls(A, y, s),
        "SBL": lambda A, y, s: sbl(explicit(A), y).x,
        "ARDRegression": lambda A, y, s: (
            ARDRegression(fit_intercept=False, max_iter=50).fit(explicit(A), y).coef_
        ),
        "orthogonal_mp": lambda A, y, s: orthogonal_mp(explicit(A), y, n_nonzero_coefs=27),
    }
    trials = 40 if full else 8
    measured = _trials(10, (6, 7, 8), 20, trials, methods)
    median = {name: float(np.median(v[:, 0])) for name, v in measured.items()}
    seconds = {name: float(np.median(v[:, 2])) for name, v in measured.items()}
    note = f"N = 1000, M = 336, {trials} trials, medians (means): {_told(measured, timed=True)}"
    version = importlib.metadata.version("scikit-learn")
    for name, target in (("SVD", "<= 0.1x"), ("AM", "<= 0.25x")):
        yield Claim(f"Median NMSE of {name}-KroSBL against plain SBL, 20 dB", target, median[name], "NMSE",
                    median["SBL"], "our sbl", paper=PAPER_A, note=note)  # fmt: skip
    for peer in ("ARDRegression", "orthogonal_mp"):
        name = f"scikit-learn {version} {peer} on the explicit matrix"
        yield Claim(f"Median NMSE of SVD-KroSBL against {peer}, 20 dB", "<= 0.2x", median["SVD"], "NMSE",
                    median[peer], name, note=note)  # fmt: skip
        yield Claim(f"Time of SVD-KroSBL against {peer}", "<= 0.1x", seconds["SVD"], "s", seconds[peer], name,
                    note="forming the explicit matrix is in the peer's time" + (
                        "; at most 50 iterations" if peer == "ARDRegression" else "; told of 27"))  # fmt: skip


def channel(full: bool) -> Iterator[Claim]:
    """The channel over a reflecting surface, known noise."""
    from gossamer.science import channel_nmse, simulate_channel, symbol_error_rate
    from gossamer.solve import kro_sbl, sbl

    studied = {"prune_abs": 1e-4, "inner_tol": 1e-4}
    am = {"method": "am", "prune_rel": (1e-2, 1e-1, 1e-3), **studied}
    pc = {"method": "am", "prune_rel": (1e-2, 1e-1, 1e-2), **studied}
    trials = 50 if full else 10
    for snr in (12, 20):
        nmse: dict[str, list[float]] = {}
        ser: dict[str, list[float]] = {}
        for seed in range(trials):
            p = simulate_channel(snr, random_state=seed)
            H = np.kron(np.kron(p.factors[0], p.factors[1]), p.factors[2])
            known: dict[str, Any] = {"noise_var": p.noise_var}
            for name, x in (
                ("SVD", kro_sbl(p.factors, p.y, prune_rel=0.0, **studied, **known).x),
                ("AM", kro_sbl(p.factors, p.y, **am, **known).x),
                ("PC(0.8)", kro_sbl(p.factors, p.y, coupling=(0.8, None, 0.8), **pc, **known).x),
                (
                    "SBL",
                    sbl(H, p.y, max_iter=40, prune_abs=1e-4, **known).x if snr == 12 and seed < 6 else None,
                ),
            ):
                if x is not None:
                    nmse.setdefault(name, []).append(channel_nmse(p, x))
                    ser.setdefault(name, []).append(
                        symbol_error_rate(p, x, symbols=20_000, random_state=seed)
                    )
        mean = {name: float(np.mean(values)) for name, values in nmse.items()}
        errors = {name: float(np.mean(values)) for name, values in ser.items()}
        note = (
            f"{trials} trials, known noise; SBL: the first 6 at 12 dB, 40 iterations; mean (median) NMSE and SER: "
            + "; ".join(
                f"{name} {mean[name]:.2g} ({np.median(nmse[name]):.2g}), {errors[name]:.2g}" for name in mean
            )
        )
        yield Claim(f"Channel at {snr} dB: mean NMSE of PC-KroSBL", f"<= {0.07 if snr == 12 else 0.006}",
                    mean["PC(0.8)"], "NMSE", paper=PAPER_B, note=note)  # fmt: skip
        if snr == 12:
            for name in ("SVD", "AM"):
                yield Claim(f"Channel at 12 dB: mean NMSE of {name}-KroSBL against plain SBL, 6 trials", "< 1.0x",
                            float(np.mean(nmse[name][:6])), "NMSE", mean["SBL"], "our sbl, the same trials",
                            paper=PAPER_B, note=note)  # fmt: skip
            yield Claim("Channel at 12 dB: symbol errors of PC-KroSBL against AM-KroSBL", "< 1.0x", errors["PC(0.8)"],
                        "of symbols", errors["AM"], "our AM-KroSBL", paper=PAPER_SER, note=note)  # fmt: skip
            yield Claim("Channel at 12 dB: symbol errors of AM-KroSBL against plain SBL, 6 trials", "< 1.0x",
                        float(np.mean(ser["AM"][:6])), "of symbols", errors["SBL"], "our sbl, the same trials",
                        paper=PAPER_SER, note=note)  # fmt: skip


def _dense_iteration(factors: list[np.ndarray], y: np.ndarray, noise: float) -> np.ndarray:
    """Second moments by the explicit matrix and the N x N covariance, as written in the textbook."""
    H = np.kron(np.kron(factors[0], factors[1]), factors[2])
    gamma = np.ones(H.shape[1])
    precision = H.T @ H / noise
    precision.reshape(-1)[:: len(gamma) + 1] += 1 / gamma
    covariance = np.linalg.inv(precision)
    return np.diag(covariance) + np.square(covariance @ (H.T @ y) / noise)


def iteration(full: bool) -> Iterator[Claim]:
    """Time of an iteration against the dense form, and a size that the dense form cannot hold."""
    from gossamer.solve import kro_sbl, kron_support_rate
    from gossamer.solve.bayes.posterior import KroneckerModel
    from gossamer.solve.bayes.variances import rank_one

    factors, _, y, _, noise = _draw(0, 15, (8, 12, 15), 25)
    gammas, Y = [np.ones(15)] * 3, y[:, None]

    def ours() -> None:
        for _ in range(20):
            moments = KroneckerModel(factors, gammas).posterior(Y, noise)
            rank_one(moments.var + np.square(moments.mean[0]), gammas, [])

    race = compare(ours, lambda: [_dense_iteration(factors, y, noise)] * 20, rounds=3, warmup=0)
    ratios = tuple(20 * r for r in race.ratios)  # ours does 20 iterations a call
    dense = float(np.median(1 / np.array(race.peer)))
    mine = float(np.median(1 / np.array(race.ours))) / 20
    yield Claim("Time of an iteration against the dense form, N = 3375, M = 1440", "<= 0.02x", mine, "s", dense,
                "NumPy with the N x N covariance", ratio=mine / dense, paper=PAPER_C,
                note=f"speed-ups round by round: {', '.join(f'{r:.0f}' for r in ratios)}; nothing pruned")  # fmt: skip
    factors, x, y, _, _ = _draw(0, 30, (20, 20, 20), 25)
    began = time.perf_counter()
    found = kro_sbl(factors, y)
    taken = time.perf_counter() - began
    yield Claim("27,000 unknowns from 8,000 measurements", "<= 60", taken, "s", paper=PAPER_C,
                note=f"NMSE {_nmse(found.x, x):.2g}, support {kron_support_rate(x, found.x):.2f}, {found.nit} "
                     "iterations; the dense covariance alone would be 5.8 GB")  # fmt: skip


if __name__ == "__main__":
    run(
        "kronecker-sbl",
        {"recovery": recovery, "plain": plain, "channel": channel, "iteration": iteration},
        packages=["scipy", "scikit-learn"],
    )
