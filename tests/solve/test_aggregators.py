"""The other rules against loops over their definitions, and against byzfl where it has the same rule."""

import inspect

import numpy as np
import pytest
from benchmarks.flag_aggregator_peers import byzfl_aggregators
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from gossamer._core.errors import ArgumentError
from gossamer.solve import (
    AGGREGATORS,
    aggregate,
    centered_clipping,
    coordinate_median,
    geometric_median,
    multi_krum,
)


def closest(values, center, count):
    return np.mean(sorted(sorted(values), key=lambda v: abs(v - center))[:count])


def by_column(rule):
    return lambda G, f: np.array([rule(np.sort(column), f) for column in G.T])


def trimmed(values, f):
    return values[f : len(values) - f].mean()


def krum_order(G, f, among):
    scores = []
    for i in among:
        squares = sorted(float(((G[i] - G[j]) ** 2).sum()) for j in among if j != i)
        scores.append(sum(squares[: max(len(among) - f - 2, 1)]))
    return [among[k] for k in np.argsort(scores, kind="stable")]


def slow_bulyan(G, f):
    left, chosen = list(range(len(G))), []
    for _ in range(len(G) - 2 * f):
        best = krum_order(G, f, left)[0] if len(left) > 1 else left[0]
        chosen.append(best)
        left.remove(best)
    H = G[sorted(chosen)]
    return np.array([closest(c, np.median(c), len(H) - 2 * f) for c in H.T])


SLOW = {
    "mean": lambda G, f: G.mean(axis=0),
    "median": lambda G, f: np.median(G, axis=0),
    "trimmed_mean": by_column(trimmed),
    "meamed": by_column(lambda v, f: closest(v, np.median(v), len(v) - f)),
    "phocas": by_column(lambda v, f: closest(v, trimmed(v, f), len(v) - f)),
    "krum": lambda G, f: G[krum_order(G, f, list(range(len(G))))[0]],
    "multi_krum": lambda G, f: G[krum_order(G, f, list(range(len(G))))[: len(G) - f - 2]].mean(axis=0),
    "bulyan": slow_bulyan,
}


@pytest.mark.parametrize("rule", SLOW)
@settings(max_examples=25)
@given(seed=st.integers(0, 9999), p=st.integers(7, 13), f=st.integers(0, 2))
def test_a_rule_is_its_definition(rule, seed, p, f):
    if rule == "bulyan" and p < 4 * f + 3:
        f = 1
    G = np.random.default_rng(seed).standard_normal((p, 17))
    G[0] *= 30
    np.testing.assert_allclose(aggregate(G, rule, f), SLOW[rule](G, f), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rule", AGGREGATORS)
def test_a_rule_keeps_dtype_and_input_and_takes_lists_blocks_and_any_order(rule):
    rng = np.random.default_rng(1)
    G = rng.standard_normal((11, 20_001)).astype(np.float32)
    before = G.copy()
    x = aggregate(G, rule, f=2)
    assert x.dtype == np.float32
    assert x.shape == (20_001,)
    np.testing.assert_array_equal(G, before)
    np.testing.assert_array_equal(aggregate(list(G), rule, f=2), x)
    if rule != "bulyan":  # its last selections have ties: two gradients may be each other's nearest
        np.testing.assert_allclose(aggregate(G[::-1], rule, f=2), x, atol=2e-6)
    np.testing.assert_allclose(aggregate(G.astype(np.float64), rule, f=2), x, atol=2e-6)


@pytest.mark.parametrize("rule", AGGREGATORS)
def test_equal_gradients_give_themselves(rule):
    g = np.linspace(-1, 2, 40)
    np.testing.assert_allclose(aggregate(np.tile(g, (11, 1)), rule, f=2), g, atol=1e-9)


@pytest.mark.parametrize("rule", sorted(set(AGGREGATORS) - {"mean", "flag", "centered_clipping"}))
def test_two_wild_gradients_of_eleven_move_the_result_little(rule):
    rng = np.random.default_rng(2)
    G = 1 + 0.1 * rng.standard_normal((11, 200))
    G[[3, 8]] = 1e4 * rng.standard_normal((2, 200))
    assert np.abs(aggregate(G, rule, f=2) - 1).max() < 0.5


def test_rules_of_byzfl_that_are_the_same():
    try:
        byzfl = byzfl_aggregators()
    except ModuleNotFoundError:
        pytest.skip("needs pip install --no-deps byzfl")
    G = np.random.default_rng(3).standard_normal((11, 50))
    for ours, theirs in (
        (aggregate(G, "mean"), byzfl.Average()(G)),
        (aggregate(G, "median"), byzfl.Median()(G)),
        (aggregate(G, "trimmed_mean", 2), byzfl.TrMean(2)(G)),
        (aggregate(G, "meamed", 2), byzfl.Meamed(2)(G)),
        (aggregate(G, "krum", 1), byzfl.Krum(2)(G)),  # theirs has p - f - 1 neighbours and averages p - f
        (multi_krum(G, 1, m=9), byzfl.MultiKrum(2)(G)),
        (centered_clipping(G, tau=3.0, n_iter=4), byzfl.CenteredClipping(L=4, tau=3.0)(G)),
        (geometric_median(G, tol=0, max_iter=500), byzfl.GeometricMedian(nu=1e-9, T=500)(G)),
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@settings(max_examples=20)
@given(seed=st.integers(0, 9999), p=st.integers(2, 8))
def test_no_point_has_a_smaller_sum_of_distances_than_the_geometric_median(seed, p):
    rng = np.random.default_rng(seed)
    G = rng.standard_normal((p, 3))
    if seed % 3 == 0:
        G[1] = G[0]

    def total(x):
        return np.linalg.norm(G - x, axis=1).sum()

    best = min(
        minimize(
            total, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 2000}
        ).fun
        for start in (G.mean(axis=0), G[0] + 1e-3)
    )
    assert total(geometric_median(G, max_iter=2000)) <= best + 1e-6


def test_the_median_leaves_out_single_missing_values():
    G = np.random.default_rng(4).standard_normal((6, 30))
    G[0, :5] = G[3, 2] = np.nan
    G[2, 9] = np.inf
    np.testing.assert_allclose(coordinate_median(G), np.nanmedian(G, axis=0), atol=1e-12)
    G[:, 1] = np.nan
    with pytest.raises(ArgumentError, match="NaN in all"):
        coordinate_median(G)


@pytest.mark.parametrize("rule", sorted(set(AGGREGATORS) - {"median"}))
def test_a_gradient_that_is_not_finite_is_left_out(rule):
    G = np.random.default_rng(5).standard_normal((12, 30))
    expected = aggregate(np.delete(G, 4, axis=0), rule, f=2)
    G[4, 3] = np.nan
    with pytest.warns(RuntimeWarning, match="1 of 12"):
        np.testing.assert_allclose(aggregate(G, rule, f=2), expected, atol=1e-12)


def test_centered_clipping_starts_where_it_is_told():
    G = np.random.default_rng(6).standard_normal((6, 20))
    start = np.full(20, 0.3)
    v = start.copy()
    for _ in range(3):
        steps = G - v
        v = v + (steps * np.minimum(1, 2.0 / np.linalg.norm(steps, axis=1))[:, None]).mean(axis=0)
    np.testing.assert_allclose(centered_clipping(G, tau=2.0, start=start), v, atol=1e-12)


@pytest.mark.parametrize(
    ("rule", "p", "inequality"),
    [("trimmed_mean", 4, "2 f \\+ 1"), ("meamed", 4, "2 f \\+ 1"), ("phocas", 4, "2 f \\+ 1"), ("krum", 6, "2 f \\+ 3"),
     ("multi_krum", 6, "2 f \\+ 3"), ("bulyan", 10, "4 f \\+ 3")],
)  # fmt: skip
def test_an_f_too_large_is_refused_with_the_inequality(rule, p, inequality):
    G = np.ones((p, 3))
    with pytest.raises(ArgumentError, match=f"{rule} needs p >= {inequality}"):
        aggregate(G, rule, f=2)
    with pytest.raises(ArgumentError, match="number of bad workers"):
        aggregate(G, rule)
    aggregate(G, rule, f=1) if p >= 7 or rule != "bulyan" else None


def test_a_rule_may_be_a_function_and_unknown_names_are_refused():
    G = np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(aggregate(G, lambda G: G[0]), G[0])
    np.testing.assert_array_equal(aggregate(G, lambda G, f: G[f], 2), G[2])
    with pytest.raises(ArgumentError, match="did you mean 'krum'"):
        aggregate(G, "krun", 1)
    with pytest.raises(ArgumentError, match="out or reduce"):
        aggregate(G, lambda G: G[0], out=np.empty(3))
    assert all(next(iter(inspect.signature(rule).parameters)) == "G" for rule in AGGREGATORS.values())
