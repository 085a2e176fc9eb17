"""BSVRB (arXiv 2305.18730): steps against blocks and batches in closed form, weighted training data of a8a.

Closed form: QuadraticBilevel of 64 blocks, noise 1 on gradients and 0.3 on matrices, start 2 * ones; steps until the
mean of the exact gradient's norm over the 50 steps that follow is below the target, the best of six outer rates.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.harness import Claim, run
from benchmarks.mbbo_problems import (
    GRID,
    GRID_ONE,
    RSVRB_BEST,
    STEPS_PER_EPOCH,
    TRAIN,
    fewest_steps,
    parts,
    ranking,
    shifted,
    train,
    tuned,
    weighting,
)
from benchmarks.mbbo_torchopt import implicit
from benchmarks.mbbo_wide import measured
from gossamer.solve import ExactAID, QuadraticBilevel

PAPER = "iterations O(m eps^-3 / (I sqrt I)): a speed-up with blocks and with samples (Theorem; Figure 1)"
SHORT, LONG = round(2 * STEPS_PER_EPOCH), round(20 * STEPS_PER_EPOCH)


def speedup(method: str, full: bool) -> Iterator[Claim]:
    """Steps with 4, 16 and 64 of 64 blocks."""
    problem = QuadraticBilevel(64, 10, 5, seed=0, noise=1.0)
    found = {
        I: fewest_steps(problem, 0.1, method=method, blocks_per_step=I, batch_size=4) for I in (64, 16, 4)
    }
    note = "; ".join(f"I = {I}: {steps} steps at rate {rate}" for I, (steps, rate) in found.items())
    for few, many, bound in ((4, 16, 0.25), (16, 64, 0.333)):
        yield Claim(f"Steps to a gradient of 0.1 with {many} blocks a step, against {few}, {method}", f"<= {bound}x",
                    found[many][0], "steps", found[few][0], f"{few} blocks a step", paper=PAPER, note=note)  # fmt: skip


def batches(method: str, full: bool) -> Iterator[Claim]:
    """Steps with batches of 1 and 16 at three times the noise."""
    problem = QuadraticBilevel(64, 10, 5, seed=0, noise=3.0)
    found = {B: fewest_steps(problem, 0.05, method=method, blocks_per_step=16, batch_size=B) for B in (16, 1)}
    note = "; ".join(f"B = {B}: {steps} steps at rate {rate}" for B, (steps, rate) in found.items())
    yield Claim(f"Steps to a gradient of 0.05 at noise 3 with batches of 16, against 1, {method}", "<= 0.5x",
                found[16][0], "steps", found[1][0], "batches of 1", paper=PAPER,
                note=note + "; 4000 stands for not within 4000")  # fmt: skip


def correction(full: bool) -> Iterator[Claim]:
    """The correction of MSVR with 4 of 64 blocks."""
    problem = QuadraticBilevel(64, 10, 5, seed=0, noise=1.0)
    for method in ("v1", "v2"):
        with_it, without = (
            fewest_steps(problem, 0.1, method=method, blocks_per_step=4, batch_size=4, gamma=gamma)
            for gamma in ("theory", 0.0)
        )
        yield Claim(f"Steps to a gradient of 0.1 with 4 of 64 blocks and the theory's gamma, {method}", "<= 3999",
                    with_it[0], "steps", without[0], "gamma = 0, same grid",
                    note=f"rates {with_it[1]} and {without[1]}; 4000 stands for not within 4000")  # fmt: skip
        yield Claim(f"Steps with 4 of 64 blocks and gamma = 0, {method}", ">= 4000", without[0], "steps",
                    note="not within 4000 is the claim")  # fmt: skip


def _weighting(method: str) -> dict[str, Any]:
    problem = weighting()
    share = 2 if method == "rsvrb" else 1  # it draws twice a step: equal samples for all
    if (
        method == "rsvrb"
    ):  # what leads after 2 epochs misleads it, so two of the six that were tried to the end
        settings, chosen = RSVRB_BEST, "the better of two of 12, see RSVRB's settings"
    else:
        settings = ranking(problem, method, SHORT)[0][:2]
        chosen = "the better of the two of 12 that lead after 2 epochs"
    finals = [(train(problem, method, setting, LONG // share), setting) for setting in settings]
    result, setting = min(finals, key=lambda final: final[0].fun_history[-1])
    return {
        "loss": result.fun_history[-1],
        "start": result.fun_history[0],
        "ms": 1e3 * result.step_seconds / result.nit,
        "note": f"{setting}, {chosen}; {result.samples} samples",
    }


def loss(method: str, full: bool) -> Iterator[Claim]:
    """Mean validation loss over 100 temperatures on a8a after 20 epochs, against the predecessor."""
    ours, theirs = _weighting(method), _weighting("rsvrb")
    yield Claim(f"Mean validation loss of 100 temperatures on a8a after 20 epochs, {method}", "<= 0.98x", ours["loss"],
                "nats", theirs["loss"], "RSVRB, same grid of 12", paper="BSVRB below RSVRB on a8a and w8a (Figure 2)",
                note=f"{method}: {ours['note']}; RSVRB: {theirs['note']}")  # fmt: skip
    yield _from_start(method, ours)


def _from_start(method: str, ours: dict[str, Any]) -> Claim:
    return Claim(f"Validation loss against that of the start, a8a, {method}", "<= 0.6x", ours["loss"], "nats",
                 ours["start"], "w = 0", note=ours["note"])  # fmt: skip


def others(full: bool) -> Iterator[Claim]:
    """SOBA's rule and logistic regression on the same problem."""
    from sklearn.linear_model import LogisticRegression

    v2, soba = _weighting("v2"), _weighting("soba")
    (X, y), (X_val, y_val), _ = parts()
    logistic = LogisticRegression(C=1e3, max_iter=300).fit(X, y)
    plain = float(np.logaddexp(0, -y_val * logistic.decision_function(X_val)).mean())
    yield Claim("Validation loss on a8a after 20 epochs against SOBA's rule, v2", "<= 1x", v2["loss"], "nats",
                soba["loss"], "SOBA's rule, 10 blocks a step, same grid of 12",
                note=f"plain logistic regression, whose loss is of temperature 1: {plain:.4f}")  # fmt: skip
    yield _from_start("v2", v2)


def generic(full: bool) -> Iterator[Claim]:
    """A generic bilevel library on the same problem and samples."""
    problem, v2 = weighting(), _weighting("v2")
    early = [implicit(problem, setting, SHORT)[0] for setting in GRID]
    runs = [(*implicit(problem, GRID[k], LONG), GRID[k]) for k in np.argsort(early)[:2]]
    theirs, seconds, setting = min(runs, key=lambda run: run[0])
    name = f"torchopt {version('torchopt')}, implicit differentiation"
    note = (
        "one inner step of 10 blocks, and 10 of conjugate gradients on the samples of the step; "
        f"{setting}, the better of the two of 12 that lead after 2 epochs; v2: {v2['note']}"
    )
    yield Claim("Validation loss on a8a after 20 epochs against a generic bilevel library, v2", "<= 1x", v2["loss"],
                "nats", theirs, name, note=note)  # fmt: skip
    yield Claim("Time of 20 epochs on a8a against a generic bilevel library, v2", "<= 1x", v2["ms"] * LONG / 1e3, "s",
                seconds, name, note=note)  # fmt: skip


def predecessor(full: bool) -> Iterator[Claim]:
    """RSVRB at all twelve settings, to the end."""
    problem = weighting()
    losses = [train(problem, "rsvrb", setting, LONG // 2).fun_history[-1] for setting in GRID]
    used = min(loss for loss, setting in zip(losses, GRID) if setting in RSVRB_BEST)
    listed = ", ".join(
        f"{setting['lr_lower']:g}/{setting['lr']:g}: {loss:.4f}" for loss, setting in zip(losses, GRID)
    )
    yield Claim("Loss of RSVRB at the settings that the others are compared with, against the best of its twelve",
                "<= 1x", used, "nats", min(losses), "RSVRB, 12 settings to 20 epochs",
                note=f"inner/outer rate: {listed}")  # fmt: skip


def seeds(full: bool) -> Iterator[Claim]:
    """v2 and RSVRB at their settings, over five draws of blocks and samples."""
    problem = weighting()
    setting = ranking(problem, "v2", SHORT)[0][0]
    best = min(RSVRB_BEST, key=lambda s: train(problem, "rsvrb", s, LONG // 2).fun_history[-1])
    ours, theirs = (
        [train(problem, method, s, steps, seed=seed).fun_history[-1] for seed in range(5)]
        for method, s, steps in (("v2", setting, LONG), ("rsvrb", best, LONG // 2))
    )
    ratios = [a / b for a, b in zip(ours, theirs)]
    listed = ", ".join(f"{a:.4f}/{b:.4f}" for a, b in zip(ours, theirs))
    yield Claim("Mean over five seeds of the validation loss on a8a after 20 epochs, v2", "<= 0.98x",
                float(np.mean(ours)), "nats", float(np.mean(theirs)), "RSVRB",
                spread={"kind": "rounds", "values": ratios},
                note=f"v2 {setting}, RSVRB {best}; by seed {listed}")  # fmt: skip


def equal_time(full: bool) -> Iterator[Claim]:
    """RSVRB for as long as v2 takes for 20 epochs, at the best of all twelve settings."""
    problem, v2 = weighting(), _weighting("v2")
    first = train(problem, "rsvrb", RSVRB_BEST[0], 30)
    count = max(1, round(v2["ms"] * LONG / (1e3 * first.step_seconds / first.nit)))
    runs = [(train(problem, "rsvrb", setting, count), setting) for setting in GRID]
    result, setting = min(runs, key=lambda run: run[0].fun_history[-1])
    yield Claim("Validation loss on a8a in the time of 20 epochs of v2, against RSVRB", "<= 0.98x", v2["loss"], "nats",
                result.fun_history[-1], "RSVRB, best of 12 settings at that time",
                paper="BSVRB below RSVRB on a8a and w8a by time (Figure 2)",
                note=f"{v2['ms'] * LONG / 1e3:.2f} s, without evaluations, for {LONG} steps of v2 and {count} of RSVRB "
                     f"({result.step_seconds:.2f} s); RSVRB {setting}; v2: {v2['note']}")  # fmt: skip


def steps(full: bool) -> Iterator[Claim]:
    """Wall time of a step on a8a."""
    problem = weighting()
    times = []
    for seed in range(5):
        result = train(problem, "v2", GRID[0], 200, seed=seed)
        times.append(1e3 * result.step_seconds / result.nit)
    yield Claim("Time of a v2 step on a8a, 10 of 100 blocks, 32 samples each", "<= 5", float(np.median(times)), "ms",
                spread={"kind": "rounds", "values": times}, note="five runs of 200 steps")  # fmt: skip
    result = train(problem, "v1", GRID[0], 100)
    yield Claim("Time of a v1 step on a8a against v2", "<= 20x", 1e3 * result.step_seconds / result.nit, "ms",
                float(np.median(times)), "v2", note="v1 factors ten Hessians of 124 x 124 a step")  # fmt: skip


def turns(full: bool) -> Iterator[Claim]:
    """Inner problems solved to the end, a few blocks in turn, on as many samples."""
    problem, v2 = weighting(), _weighting("v2")
    steps = round(LONG * 320 / (10 * TRAIN))
    run = ExactAID(problem, np.zeros(problem.dim_x), blocks_per_step=10, lr=30.0, tol=1e-3, random_state=0)
    exact = run.run(steps, eval_every=steps)
    note = (
        f"{steps} steps of 10 blocks read as many samples once as 20 epochs, and a block that is solved for reads them "
        f"{exact.oracle_calls['hvp_yy_g'] // (10 * steps)} times; inner gradients to 1e-3"
    )
    yield Claim("Validation loss on a8a after 20 epochs against exact inner solutions in turns, v2", "<= 1x",
                v2["loss"], "nats", exact.fun_history[-1], "exact AID, 10 blocks in turn", note=note)  # fmt: skip
    yield Claim("Time of 20 epochs on a8a against exact inner solutions in turns, v2", "<= 1x", v2["ms"] * LONG / 1e3,
                "s", exact.step_seconds, "exact AID, 10 blocks in turn", note=note)  # fmt: skip


def wide(full: bool) -> Iterator[Claim]:
    """A hundred thousand blocks of a hundred unknowns."""
    found = measured()
    note = f"1000 blocks a step, {found['ms']:.1f} ms each; x is off by {found['error']:.2f} of its length after 1000"
    yield Claim("Peak memory with 100,000 blocks of 100 unknowns, v2", "<= 1024", found["mib"], "MiB",
                note=note)  # fmt: skip


def flips(shares: tuple[float, ...], full: bool) -> Iterator[Claim]:
    """30 % of the positive rows kept, some labels flipped: 100 temperatures, one, and logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    X_test, y_test = parts()[2]
    for share in shares:
        found = {}
        for m in (100, 1):
            problem = shifted(m, share)
            setting, _ = tuned(problem, "v2", SHORT, GRID_ONE)
            early = train(problem, "v2", setting, LONG).fun_history[-1]
            result = train(problem, "v2", setting, 10 * LONG)
            scores = problem.decision(X_test, result.y)
            accuracy = 100 * balanced_accuracy_score(y_test, np.where(scores > 0, 1, -1))
            found[m] = (result.fun_history[-1], accuracy, setting, early)
        logistic = LogisticRegression(max_iter=300).fit(problem.train.X[:, 1:], problem.y_tr)
        plain = 100 * balanced_accuracy_score(y_test, logistic.predict(X_test))
        name = f"30 % of positive rows, {share:.0%} of labels flipped"
        note = (
            f"200 epochs as in the paper; after 20 epochs {found[100][3]:.4f} and {found[1][3]:.4f}; m = 100: "
            f"{found[100][2]}; m = 1: {found[1][2]}; balanced accuracy with m = 1: {found[1][1]:.2f} %"
        )
        yield Claim(f"Validation loss with 100 temperatures against one, {name}", "<= 1x", found[100][0], "nats",
                    found[1][0], "m = 1", note=note)  # fmt: skip
        yield Claim(f"Balanced test accuracy against logistic regression, {name}", ">= 1x", found[100][1], "%", plain,
                    "LogisticRegression on the same rows", note=note)  # fmt: skip


if __name__ == "__main__":
    run(
        "mbbo",
        {
            "speedup-v1": partial(speedup, "v1"),
            "speedup-v2": partial(speedup, "v2"),
            "batches-v1": partial(batches, "v1"),
            "batches-v2": partial(batches, "v2"),
            "correction": correction,
            "loss-v1": partial(loss, "v1"),
            "loss-v2": partial(loss, "v2"),
            "others": others,
            "generic": generic,
            "rsvrb": predecessor,
            "seeds": seeds,
            "equal-time": equal_time,
            "steps": steps,
            "turns": turns,
            "wide": wide,
            "flips-0": partial(flips, (0.0,)),
            "flips-10": partial(flips, (0.1,)),
            "flips-20": partial(flips, (0.2,)),
            "flips-30": partial(flips, (0.3,)),
            "flips-40": partial(flips, (0.4,)),
        },
        packages=["numpy", "scipy", "scikit-learn", "torchopt"],
    )
