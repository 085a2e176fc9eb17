"""The flag family: in the Gram matrix as in R^n, equivariant, monotone, and robust where the mean is not."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.solve import AggregationResult, aggregate, flag_aggregate, flag_mean, flag_median


def gradients(p, n, seed=0):
    return np.random.default_rng(seed).standard_normal((p, n))


def gap(Y1, Y2):
    return np.linalg.norm(Y1 @ Y1.T - Y2 @ Y2.T)


def direct(G, m, lam=0.0, steps=5, eps=1e-7):
    """The method as it is written, in R^n."""
    p = len(G)
    U = (G / np.linalg.norm(G, axis=1, keepdims=True)).T
    pairs = [(U[:, i] - U[:, j]) for i in range(p) for j in range(i)]
    D = np.array([d / np.linalg.norm(d) for d in pairs if np.linalg.norm(d) > 1e-6]).T
    columns, c = (
        (np.hstack([U, D]), np.r_[np.ones(p), np.full(D.shape[1], 2 * lam / (p - 1))])
        if lam
        else (U, np.ones(p))
    )
    Y = np.linalg.svd(U, full_matrices=False)[0][:, :m]

    def rest(Y):
        return np.maximum(1 - ((Y.T @ columns) ** 2).sum(axis=0), 0)

    best = c @ np.sqrt(rest(Y))
    for _ in range(steps):
        w = c / (2 * np.sqrt(rest(Y) + eps))
        trial = np.linalg.svd(columns * np.sqrt(w), full_matrices=False)[0][:, :m]
        value = c @ np.sqrt(rest(trial))
        if best - value < 1e-10:
            break
        Y, best = trial, value
    return Y, np.median(np.linalg.norm(G, axis=1)) / p * (Y @ (Y.T @ U.sum(axis=1)))


def test_the_flag_mean_is_the_truncated_svd_of_unit_columns():
    G = gradients(12, 500)
    U = (G / np.linalg.norm(G, axis=1, keepdims=True)).T
    for m in (1, 4, 11):
        Y = flag_mean(G, m=m)
        assert Y.shape == (500, m)
        np.testing.assert_allclose(Y.T @ Y, np.eye(m), atol=1e-10)
        assert gap(Y, np.linalg.svd(U, full_matrices=False)[0][:, :m]) <= 1e-8


@pytest.mark.parametrize("lam", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("p", "n", "m"), [(10, 60, 3), (9, 5, 2), (7, 30, 6)])
def test_the_gram_form_is_the_direct_form(p, n, m, lam):
    G = gradients(p, n, seed=1) + 0.7
    Y, x = direct(G, m, lam)
    assert np.linalg.norm(flag_aggregate(G, m=m, lam=lam) - x) <= 1e-8 * np.linalg.norm(x)
    if not lam:
        assert gap(flag_median(G, m=m, max_iter=5), Y) <= 1e-8


@pytest.mark.parametrize("lam", [0.0, 0.1, 1.0])
def test_two_equal_gradients_change_nothing_of_that(lam):
    G = gradients(8, 40, seed=2) + 0.5
    G[3] = G[6]
    _, x = direct(G, 4, lam)
    assert np.linalg.norm(flag_aggregate(G, m=4, lam=lam) - x) <= 1e-8 * np.linalg.norm(x)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 999),
    p=st.integers(2, 12),
    n=st.integers(1, 30),
    lam=st.sampled_from([0.0, 0.3]),
    init=st.sampled_from(["svd", "random"]),
)
def test_the_objective_never_rises_and_is_that_of_the_subspace(seed, p, n, lam, init):
    G = gradients(p, n, seed)
    m = 1 + seed % p
    _, info = flag_aggregate(G, m=m, lam=lam, init=init, max_iter=20, return_info=True, random_state=seed)
    assert (np.diff(info.objective) <= 0).all()
    assert ((info.quality >= 0) & (info.quality <= 1)).all()
    if not lam:
        assert info.objective[-1] == pytest.approx(np.sqrt(1 - np.minimum(info.quality, 1)).sum(), abs=1e-6)


def test_no_direction_of_a_fine_grid_is_better():
    rng = np.random.default_rng(3)
    for seed in range(3):
        G = gradients(7, 3, seed)
        U = G / np.linalg.norm(G, axis=1, keepdims=True)
        grid = rng.standard_normal((200_000, 3))
        grid /= np.linalg.norm(grid, axis=1, keepdims=True)
        least = np.sqrt(np.maximum(1 - (grid @ U.T) ** 2, 0)).sum(axis=1).min()
        starts = [("svd", 0), *(("random", s) for s in range(5))]
        ours = min(
            flag_median(G, m=1, init=init, random_state=s, return_info=True)[1].objective[-1]
            for init, s in starts
        )
        assert ours <= least + 1e-4


def test_the_whole_span_gives_the_median_norm_times_the_mean_direction():
    G = gradients(6, 50)
    norms = np.linalg.norm(G, axis=1)
    expected = np.median(norms) * (G / norms[:, None]).mean(axis=0)
    np.testing.assert_allclose(flag_aggregate(G, m=6), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(flag_aggregate(G, m=6, scale="mean_raw"), G.mean(axis=0), atol=1e-12)
    reference = flag_aggregate(G, m=6, scale="reference")
    np.testing.assert_allclose(reference, (G / norms[:, None]).sum(axis=0) / 6, atol=1e-12)


def test_equal_gradients_give_themselves():
    g = gradients(1, 300)[0]
    np.testing.assert_allclose(flag_aggregate(np.tile(g, (7, 1))), g, atol=1e-10)
    np.testing.assert_allclose(flag_aggregate(np.tile(g, (7, 1)), m=1, lam=0.5), g, atol=1e-10)


def test_it_turns_with_the_coordinates_and_ignores_the_order_and_one_workers_length():
    G = gradients(9, 40, seed=4) + 1
    x = flag_aggregate(G, lam=0.1)
    Q = np.linalg.qr(gradients(40, 40))[0]
    np.testing.assert_allclose(flag_aggregate(G @ Q.T, lam=0.1), Q @ x, atol=1e-8)
    np.testing.assert_allclose(flag_aggregate(G[::-1], lam=0.1), x, atol=1e-9)
    longest = np.linalg.norm(G, axis=1).argmax()
    G[longest] *= 50
    np.testing.assert_allclose(flag_aggregate(G, lam=0.1), x, atol=1e-9)


def planted(f=3, p=15, n=1000, seed=0):
    rng = np.random.default_rng(seed)
    mu = rng.standard_normal(n)
    mu /= np.linalg.norm(mu)
    G = mu + 0.3 * rng.standard_normal((p, n)) / math.sqrt(n)
    bad = np.linalg.qr(np.c_[mu, rng.standard_normal((n, f))])[0][:, 1:]
    G[:f] = 100 * bad.T
    return G, mu


def cosine(x, y):
    return x @ y / np.linalg.norm(x) / np.linalg.norm(y)


def test_it_recovers_a_planted_gradient_and_the_mean_does_not():
    G, mu = planted()
    x, info = flag_aggregate(G, return_info=True)
    assert cosine(x, mu) >= 0.95
    assert np.linalg.norm(x - mu) <= 0.35
    assert cosine(G.mean(axis=0), mu) < 0.2
    assert info.rank == 8


def test_a_one_dimensional_subspace_tells_the_bad_workers():
    G, _ = planted()
    _, info = flag_aggregate(G, m=1, return_info=True)
    assert info.quality[:3].max() < 0.1 < 0.8 < info.quality[3:].min()
    assert info.weights[:3].max() < info.weights[3:].min()


def test_bad_workers_that_collude_get_into_the_subspace():
    G, mu = planted(f=5)
    G[:5] = G[0]
    x, info = flag_aggregate(G, return_info=True)
    assert info.quality[:5].min() > 0.99  # a known limit: their direction is one of eight
    assert 0.85 < cosine(x, mu) < 0.95  # yet they count as five unit vectors, whatever their length
    assert cosine(G.mean(axis=0), mu) < 0.1


def test_the_beta_likelihood_is_lowered_and_its_weights_are_its_slopes():
    G = gradients(8, 20, seed=5) + 0.4
    for alpha, beta in ((1.0, 0.5), (2.0, 0.5), (1.5, 0.8)):
        _, info = flag_aggregate(
            G, m=3, loss="beta", beta_params=(alpha, beta), max_iter=50, return_info=True
        )
        v, rest = (
            np.maximum(info.quality, 1e-7),
            np.maximum(1 - info.quality, 1e-7),
        )  # it is unbounded at v = 1
        slope = (alpha - 1) / v - (beta - 1) / rest
        np.testing.assert_allclose(info.weights, np.maximum(slope, 0), rtol=1e-6)
        negative = -((alpha - 1) * np.log(v) + (beta - 1) * np.log(rest)).sum()
        assert info.objective[-1] == pytest.approx(negative, rel=1e-6)
        assert (np.diff(info.objective) <= 0).all()


def test_one_step_of_squares_is_the_flag_mean():
    G = gradients(8, 30)
    x, info = flag_aggregate(G, m=3, loss="sq", return_info=True)
    Y = flag_mean(G, m=3)
    U = G / np.linalg.norm(G, axis=1, keepdims=True)
    expected = np.median(np.linalg.norm(G, axis=1)) * Y @ (Y.T @ U.mean(axis=0))
    np.testing.assert_allclose(x, expected, atol=1e-9)
    assert info.success


def test_kind_and_dtype_stay_and_lists_and_memory_maps_give_the_same_bits(tmp_path):
    torch = pytest.importorskip("torch")
    G = gradients(5, 150_001).astype(np.float32)
    x = flag_aggregate(G, m=2)
    assert x.dtype == np.float32
    for i, g in enumerate(G):
        np.save(tmp_path / f"{i}.npy", g)
    maps = [np.load(tmp_path / f"{i}.npy", mmap_mode="r") for i in range(5)]
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, (150_001,))
    assert aggregate(maps, "flag", m=2, out=out) is out
    np.testing.assert_array_equal(out, x)
    np.testing.assert_array_equal(flag_aggregate(list(G), m=2), x)
    tensor = flag_aggregate(torch.from_numpy(G), m=2)
    assert torch.is_tensor(tensor)
    np.testing.assert_array_equal(tensor.numpy(), x)
    listed = flag_aggregate([torch.from_numpy(g) for g in G], m=2)
    assert torch.equal(listed, tensor)
    half = flag_aggregate(torch.from_numpy(G).bfloat16(), m=2)
    assert half.dtype == torch.bfloat16
    assert cosine(half.float().numpy(), x) > 0.999
    np.testing.assert_allclose(flag_aggregate(G.astype(np.float64), m=2), x, atol=1e-7)
    assert flag_mean(torch.from_numpy(G), m=2).shape == (150_001, 2)


def test_coefficients_combine_the_gradients_to_the_result():
    G = gradients(7, 30)
    x, info = flag_aggregate(G, lam=0.2, return_info=True)
    assert isinstance(info, AggregationResult)
    np.testing.assert_allclose(info.coef @ G, x, atol=1e-12)
    assert info.to_dict()["rank"] == 4


def test_zero_gradients_count_and_have_no_quality():
    G = gradients(6, 40)
    G[2] = 0
    x, info = flag_aggregate(G, m=6, return_info=True)
    norms = np.linalg.norm(G, axis=1)
    U = G / np.where(norms, norms, 1)[:, None]
    np.testing.assert_allclose(x, np.median(norms) * U.mean(axis=0), atol=1e-12)
    assert info.quality[2] == info.weights[2] == info.coef[2] == 0
    np.testing.assert_array_equal(flag_aggregate(np.zeros((4, 9))), np.zeros(9))


def test_gradients_that_are_not_finite_are_left_out_with_a_warning():
    G = gradients(6, 40)
    expected = flag_aggregate(G[[0, 2, 3, 5]])
    G[1, 7], G[4, 0] = np.nan, np.inf
    with pytest.warns(RuntimeWarning, match=r"2 of 6 .*\[1, 4\]"):
        x, info = flag_aggregate(G, return_info=True)
    np.testing.assert_allclose(x, expected, atol=1e-12)
    assert info.quality.shape == (6,)
    assert info.quality[1] == info.coef[4] == 0
    G[:5, 0] = np.nan
    with pytest.raises(ArgumentError, match="at least 2"):
        flag_aggregate(G)


def test_large_and_small_float32_gradients_neither_overflow_nor_vanish():
    G = gradients(5, 60).astype(np.float32)
    x = flag_aggregate(G, m=2).astype(np.float64)
    for scale in (1e30, 1e-30):
        scaled = flag_aggregate((G * np.float32(scale)), m=2)
        np.testing.assert_allclose(scaled / scale, x, rtol=1e-3, atol=1e-6)


def test_a_random_start_is_reproducible():
    G = gradients(9, 30)
    a, b = (flag_aggregate(G, m=3, init="random", max_iter=1, random_state=7) for _ in range(2))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"m": 0}, "m=0"),
        ({"m": 6}, "m=6"),
        ({"lam": -1}, "lam=-1"),
        ({"max_iter": 0}, "max_iter=0"),
        ({"eps": 0}, "eps=0"),
        ({"init": "zeros"}, "init='zeros'"),
        ({"scale": "max"}, "scale='max'"),
        ({"loss": "cube"}, "loss='cube'"),
        ({"beta_params": (2, 0.5)}, "loss='beta'"),
        ({"loss": "beta", "beta_params": (0, 0.5)}, "positive"),
        ({"loss": "beta", "beta_params": 3}, "pair"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        flag_aggregate(gradients(5, 8), **options)


def test_bad_gradients_are_refused():
    with pytest.raises(ShapeError, match="at least 2"):
        flag_aggregate(gradients(1, 8))
    with pytest.raises(ShapeError, match="2-D"):
        flag_aggregate(np.ones(8))
    with pytest.raises(ShapeError, match=r"G\[1\] has 3"):
        flag_aggregate([np.ones(4), np.ones(3)])
    with pytest.raises(ArgumentError, match=r"G\[1\] is numpy float64"):
        flag_aggregate([np.ones(4, np.float32), np.ones(4)])
    with pytest.raises(ShapeError, match="0 gradients"):
        flag_aggregate([])
    with pytest.raises(ArgumentError, match="out has shape"):
        aggregate(gradients(5, 8), out=np.empty(7))
