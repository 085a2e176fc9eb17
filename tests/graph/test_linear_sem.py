"""Simulated tables have the graph, the weights and the noise that they say they have."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError
from gossamer.graph import simulate_dag, simulate_linear_sem
from gossamer.solve import is_dag


@pytest.mark.parametrize("graph", ["er", "sf"])
def test_graphs_are_acyclic_with_about_k_edges_a_variable(graph):
    counts = []
    for seed in range(10):
        edges = simulate_dag(50, 3, graph=graph, random_state=seed)
        assert is_dag(edges)
        counts.append(edges.sum())
    expected = 150 if graph == "er" else 3 * (50 - 3)
    assert np.mean(counts) == pytest.approx(expected, rel=0.08 if graph == "er" else 1e-9)
    if graph == "sf":
        assert edges.sum(axis=0).max() > 10 or edges.sum(axis=1).max() > 10  # hubs


@pytest.mark.parametrize("noise", ["normal", "exponential", "laplace", "gumbel"])
@pytest.mark.parametrize("var", ["ev", "nv"])
def test_what_the_true_graph_leaves_is_noise_of_the_stated_size(noise, var):
    data = simulate_linear_sem(6, 60_000, k=1, noise=noise, var=var, sigma2=4.0, random_state=1)
    z = data.X - data.X @ data.W
    np.testing.assert_allclose(z.std(axis=0), data.sigma, rtol=0.03)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=0.03 * data.sigma.max())
    np.testing.assert_allclose(np.corrcoef(z.T), np.eye(6), atol=0.02)
    if var == "ev":
        np.testing.assert_array_equal(data.sigma, 2.0)
    else:
        assert ((data.sigma**2 >= 0.5) & (data.sigma**2 <= 10)).all()
    kurtosis = ((z / z.std(axis=0)) ** 4).mean()
    assert kurtosis == pytest.approx(
        {"normal": 3, "exponential": 9, "laplace": 6, "gumbel": 5.4}[noise], rel=0.12
    )
    sizes = np.abs(data.W[data.W != 0])
    assert ((sizes >= 0.5) & (sizes <= 2)).all()


def test_standardised_columns_come_with_their_own_weights():
    data = simulate_linear_sem(8, 20_000, k=2, standardize=True, random_state=3)
    np.testing.assert_allclose(data.X.std(axis=0), 1)
    np.testing.assert_allclose((data.X - data.X @ data.W).std(axis=0), data.sigma, rtol=0.03)
    raw = simulate_linear_sem(8, 20_000, k=2, random_state=3)
    np.testing.assert_array_equal(raw.W != 0, data.W != 0)
    assert raw.varsortability > 0.8
    assert data.varsortability == 0.5


def test_a_seed_fixes_everything_and_bad_values_are_named():
    a, b = (simulate_linear_sem(5, 10, random_state=7) for _ in range(2))
    np.testing.assert_array_equal(a.X, b.X)
    for options, message in (
        ({"d": 1}, "d=1"),
        ({"n": 1}, "n=1"),
        ({"noise": "cauchy"}, "noise='cauchy'"),
        ({"var": "ve"}, "var='ve'.*ev, nv"),
        ({"sigma2": 0}, "sigma2=0"),
        ({"w_range": (2, 1)}, r"w_range\[1\]=1"),
        ({"graph": "sf", "k": 5}, "k=5"),
        ({"k": 0}, "k=0"),
    ):
        arguments = {"d": 5, "n": 10, "random_state": 0, **options}
        with pytest.raises(ArgumentError, match=message):
            simulate_linear_sem(arguments.pop("d"), arguments.pop("n"), **arguments)
