"""Steps of sparse layers, noise, dropout and topology: by NumPy and SciPy, with any threads."""

import numpy as np
import pytest
import scipy.stats

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels.evolve import ACTIVATIONS, Layer, activate, add_noise, derive
from gossamer.nn.linear.evolving_scipy import ScipyLayer

F = {
    "linear": (lambda z: z, lambda z: np.ones_like(z)),
    "sigmoid": (
        lambda z: 1 / (1 + np.exp(-z)),
        lambda z: 1 / (1 + np.exp(-z)) * (1 - 1 / (1 + np.exp(-z))),
    ),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.2 * z), lambda z: np.where(z > 0, 1.0, 0.2)),
}


def pair(n_inputs, n_outputs, density, dtype, seed=0):
    rng = np.random.default_rng(seed)
    there = rng.random((n_outputs, n_inputs)) < density
    start = np.r_[0, there.sum(axis=1).cumsum()]
    value = rng.standard_normal(int(start[-1])).astype(dtype)
    bias = rng.standard_normal(n_outputs).astype(dtype)
    arguments = (start, np.nonzero(there)[1], value, bias, n_inputs)
    return Layer(*arguments), ScipyLayer(*arguments), rng


def assert_same(layer, other, rtol):
    for name in ("start", "inputs", "value", "velocity", "bias", "bias_velocity"):
        np.testing.assert_allclose(getattr(layer, name), getattr(other, name), rtol=rtol, atol=rtol)
    np.testing.assert_array_equal(layer.twin_value, layer.value[layer.source])


SHAPES = [(1, 1, 1.0, 1), (7, 5, 0.5, 3), (40, 30, 0.3, 100), (50, 9, 1.0, 17), (30, 60, 0.0, 8)]


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 2e-5), ("float64", 1e-12)])
@pytest.mark.parametrize(("n_inputs", "n_outputs", "density", "m"), SHAPES)
def test_products_and_steps_are_those_of_scipy(n_inputs, n_outputs, density, m, dtype, rtol):
    layer, other, rng = pair(n_inputs, n_outputs, density, dtype)
    for _ in range(3):
        u, d = (rng.standard_normal((n, m)).astype(dtype) for n in (n_inputs, n_outputs))
        np.testing.assert_allclose(layer.forward(u), other.forward(u), rtol=rtol, atol=10 * rtol)
        np.testing.assert_allclose(layer.backward(d), other.backward(d), rtol=rtol, atol=10 * rtol)
        for one in (layer, other):
            one.update(u, d, 0.1, 0.9, 1e-3)
        assert_same(layer, other, 10 * rtol)


def test_a_step_is_the_dense_gradient_at_stored_entries():
    layer, _, rng = pair(13, 11, 0.4, "float64")
    before = layer.value.copy()
    u, d = rng.standard_normal((13, 20)), rng.standard_normal((11, 20))
    layer.update(u, d, 1.0, 0.0, 0.0)
    outputs = np.repeat(np.arange(11), np.diff(layer.start))
    np.testing.assert_allclose(before - layer.value, (u @ d.T / 20)[layer.inputs, outputs], rtol=1e-12)


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize(("dtype", "tol"), [("float32", 2e-6), ("float64", 1e-14)])
def test_activations_and_their_derivatives(kind, dtype, tol):
    f, slope = F[kind]
    z = np.concatenate([np.linspace(-9, 9, 130), [-700.0, 700.0, 0.0]]).astype(dtype).reshape(7, 19)
    bias = np.linspace(-1, 1, 7).astype(dtype)
    whole = z.astype(float) + bias[:, None]
    with np.errstate(over="ignore"):
        expected, steep = f(whole), slope(whole)
    a = activate(z.copy(), bias, kind, slope=0.2)
    np.testing.assert_allclose(a, expected, atol=tol, rtol=10 * tol)
    np.testing.assert_allclose(derive(np.ones_like(z), a, kind, slope=0.2), steep, atol=10 * tol)


def test_dropout_masks_its_share_and_the_derivative_alike():
    ones, bias = np.ones((400, 250), np.float32), np.zeros(400, np.float32)
    mask = activate(ones.copy(), bias, "linear", drop=0.2, seed=5)
    assert set(np.unique(mask)) == {0, 1}
    assert abs(1 - mask.mean() - 0.2) < 4 * np.sqrt(0.16 / mask.size)
    for axis in (0, 1):  # no unit and no row is preferred
        share = mask.mean(axis=axis)
        assert abs(share.std() / np.sqrt(0.16 / mask.shape[axis]) - 1) < 0.2
    np.testing.assert_array_equal(derive(ones.copy(), mask, "tanh", drop=0.2, seed=5) == 0, True)
    linear = derive(ones.copy(), mask, "linear", drop=0.2, seed=5)
    np.testing.assert_array_equal(linear, mask)
    other = activate(ones.copy(), bias, "linear", drop=0.2, seed=6)
    assert abs(np.mean(other == mask) - 0.68) < 0.01


def test_noise_is_normal_independent_and_a_function_of_its_place():
    ids = np.arange(501) * 2**31
    drawn = add_noise(np.zeros((301, 501)), ids, 3, 1.0)
    assert scipy.stats.kstest(drawn.ravel(), "norm").pvalue > 1e-3
    rows, columns = np.corrcoef(drawn), np.corrcoef(drawn.T)
    for found, m in ((rows, 501), (columns, 301)):
        off = found[np.triu_indices_from(found, 1)]
        assert np.abs(off).max() < 5.5 / np.sqrt(m)
        assert abs(off.std() * np.sqrt(m) - 1) < 0.05
    chosen = np.array([7, 400, 3])
    again = add_noise(np.zeros((301, 3), np.float32), ids[chosen], 3, 1.0)
    np.testing.assert_allclose(again, drawn[:, chosen], rtol=1e-6)
    assert abs(np.corrcoef(add_noise(np.zeros((301, 501)), ids, 4, 1.0).ravel(), drawn.ravel())[0, 1]) < 0.02
    shifted = add_noise(np.full((4, 3), 10.0), ids[:3], 3, 0.5)
    np.testing.assert_allclose(shifted, 10 + 0.5 * drawn[:4, :3], rtol=1e-6)


def test_pruning_takes_the_share_of_each_sign_closest_to_zero():
    value = np.array([3.0, -1, 0, 0.5, 2, -4, 1, -0.2, 5, -3])
    layer = Layer(np.array([0, 10]), np.arange(10), value, np.zeros(1), 10)
    # of 0.5 1 2 3 5 those up to index floor(0.4 * 5) = 2 go; of -4 -3 -1 -0.2 two stay
    np.testing.assert_array_equal(value[layer.prune(0.4) == 1], [3, -4, 5, -3])
    assert layer.prune(0.0).all()
    for seed in range(5):
        layer, other, _ = pair(30, 20, 0.4, "float32", seed)
        np.testing.assert_array_equal(layer.prune(0.3), other.prune(0.3))


@pytest.mark.parametrize("density", [0.05, 0.5, 1.0])
def test_regrowth_moves_entries_with_their_momenta(density):
    layer, other, rng = pair(37, 23, density, "float64")
    for one in (layer, other):
        one.velocity[:] = np.arange(one.nnz) + 1.0
    keep = layer.prune(0.25)
    before = {
        (i, j): (v, p)
        for j in range(23)
        for i, v, p, k in zip(
            *(
                a[layer.start[j] : layer.start[j + 1]]
                for a in (layer.inputs, layer.value, layer.velocity, keep)
            )
        )
        if k
    }
    removed = layer.nnz - int(keep.sum())
    ranks = np.sort(rng.choice(37 * 23 - int(keep.sum()), removed, replace=False))
    values = rng.standard_normal(removed)
    for one in (layer, other):
        one.regrow(keep, ranks, values)
    assert_same(layer, other, 0)
    where = np.repeat(np.arange(23), np.diff(layer.start)) * 37 + layer.inputs
    assert (np.diff(where) > 0).all()
    after = {(w % 37, w // 37): (v, p) for w, v, p in zip(where, layer.value, layer.velocity)}
    assert before.items() <= after.items()
    new = [after[key] for key in sorted(after.keys() - before.keys(), key=lambda k: k[1] * 37 + k[0])]
    np.testing.assert_array_equal([v for v, _ in new], values)
    assert all(p == 0 for _, p in new)
    u = rng.standard_normal((37, 4))
    np.testing.assert_allclose(layer.forward(u), other.forward(u), rtol=1e-12)
    d = rng.standard_normal((23, 4))
    np.testing.assert_allclose(layer.backward(d), other.backward(d), rtol=1e-12)


def test_the_same_bits_for_any_number_of_threads():
    found = []
    for threads in (1, 2, 7):
        layer, _, rng = pair(900, 700, 0.05, "float32")
        u, d = (rng.standard_normal((n, 100)).astype("float32") for n in (900, 700))
        layer.update(u, d, 0.1, 0.9, 1e-3, threads)
        noisy = add_noise(u, np.arange(100), 1, 0.2, threads)
        a = activate(layer.forward(noisy, threads), layer.bias, "sigmoid", drop=0.2, seed=2, threads=threads)
        found.append([layer.value, layer.bias, noisy, a, derive(d, a, "sigmoid", drop=0.2, threads=threads)])
    for other in found[1:]:
        for one, two in zip(found[0], other):
            np.testing.assert_array_equal(one, two)


def test_what_native_code_could_not_walk_is_refused():
    good = (np.array([0, 2]), np.array([0, 3]), np.ones(2), np.zeros(1), 4)
    layer = Layer(*good)
    for position, bad in [
        (0, np.array([0, 3])),
        (1, np.array([0, 4])),
        (1, np.array([3, 0])),
        (2, np.ones(3)),
        (2, np.ones(2, int)),
        (3, np.zeros(2)),
    ]:
        with pytest.raises(ArgumentError):
            Layer(*(bad if i == position else value for i, value in enumerate(good)))
    u, d = np.ones((4, 5)), np.ones((1, 5))
    for call in (
        lambda: layer.forward(np.ones((3, 5))),
        lambda: layer.forward(np.ones((4, 5), np.float32)),
        lambda: layer.backward(np.ones(5)),
        lambda: layer.update(u, np.ones((1, 4)), 0.1, 0, 0),
        lambda: layer.update(u[:, :0], d[:, :0], 0.1, 0, 0),
        lambda: layer.regrow(np.ones(2, np.uint8), np.array([0]), np.ones(1)),
        lambda: layer.regrow(np.zeros(2, np.uint8), np.array([1, 1]), np.ones(2)),
        lambda: layer.regrow(np.zeros(2, np.uint8), np.array([0, 4]), np.ones(2)),
        lambda: activate(u.T, np.zeros(5), "relu"),
        lambda: activate(u, np.zeros(3), "relu"),
        lambda: derive(u, np.ones((4, 4)), "relu"),
        lambda: add_noise(u, np.arange(4), 0, 1.0),
    ):
        with pytest.raises((ArgumentError, ShapeError)):
            call()
    with pytest.raises(ArgumentError, match=r"did you mean 'sigmoid'"):
        activate(u, np.zeros(4), "sigmoids")
