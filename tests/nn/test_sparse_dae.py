"""Sparse training against a dense network with masks in torch; evolution against its definition."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse
import scipy.stats
import torch

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels.evolve import activate, add_noise
from gossamer.nn import EvolvingWeight, SparseDAE

ACT = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": lambda x: torch.nn.functional.leaky_relu(x, 0.1),
    "linear": lambda x: x,
}


class MaskedTorch:
    """The same network with dense weights and masks; autograd, and the steps as they are published."""

    def __init__(self, model):
        self.model = model
        dtype = getattr(torch, model.dtype.name)
        self.weights = [torch.tensor(w.toarray(), dtype=dtype, requires_grad=True) for w in model.weights]
        self.masks = [w.detach() != 0 for w in self.weights]
        self.biases = [torch.tensor(layer.bias, requires_grad=True) for layer in model.layers]
        self.speeds = [torch.zeros_like(p) for p in self.weights + self.biases]

    def step(self, X, ids):
        model, m = self.model, len(X)
        clean = torch.from_numpy(X)
        noise = add_noise(np.zeros_like(X.T, order="C"), ids, model._noise_seed, model.noise)
        a = clean + torch.from_numpy(noise.T.copy())
        for i, (w, mask, b) in enumerate(zip(self.weights, self.masks, self.biases)):
            z = a @ (w * mask) + b
            hidden = i < len(model.hidden)
            a = ACT[model.activation if hidden else model.output](z)
            if hidden and model.dropout:
                seed = model._kind(i)["seed"]
                ones = np.ones((z.shape[1], m), model.dtype)
                kept = activate(
                    ones, np.zeros(z.shape[1], model.dtype), "linear", drop=model.dropout, seed=seed
                )
                a = a * torch.from_numpy(kept.T.copy())
        loss = ((a - clean) ** 2).sum() / (2 * m)
        loss.backward()
        with torch.no_grad():
            for p, v in zip(self.weights + self.biases, self.speeds):
                v.mul_(model.momentum).sub_(p.grad, alpha=model.learning_rate)
                p += v - model.weight_decay * p
                p.grad = None
            for w, mask in zip(self.weights, self.masks):
                w *= mask
        return loss.item() * 2 / clean.shape[1]


def table(rows, columns, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, 4)) @ rng.standard_normal((4, columns)) / 2).astype(dtype)


NETWORKS = [
    {"hidden": 17},
    {"hidden": 17, "output": "tanh"},
    {"hidden": (13, 9), "activation": "tanh"},
    {"hidden": (13, 9, 13), "activation": "leaky_relu", "slope": 0.1, "output": "sigmoid"},
    {"hidden": 20, "activation": "relu", "epsilon": 1000.0},
]


@pytest.mark.parametrize("options", NETWORKS)
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 1e-4)])
def test_twenty_steps_are_those_of_a_masked_dense_network(options, dtype, rtol):
    options = {"epsilon": 2.0, "learning_rate": 0.05, "weight_decay": 1e-3, **options}
    model = SparseDAE(23, dtype=dtype, random_state=0, **options)
    other, X = MaskedTorch(model), table(20 * 12, 23, dtype).reshape(20, 12, 23)
    for batch, rows in enumerate(X):
        ids = np.arange(12) + 12 * batch
        expected = other.step(rows, ids)
        assert model.train_batch(rows, ids) == pytest.approx(expected, rel=10 * rtol)
    for weight, layer, dense, bias in zip(model.weights, model.layers, other.weights, other.biases):
        scale = float(dense.detach().abs().max())
        np.testing.assert_allclose(weight.toarray(), dense.detach().numpy(), atol=rtol * scale)
        np.testing.assert_allclose(layer.bias, bias.detach().numpy(), atol=rtol * scale)


def test_gradients_are_differences_of_the_loss():
    options = {"momentum": 0.0, "weight_decay": 0.0, "dropout": 0.3, "epsilon": 2.0, "dtype": "float64"}
    X, ids = table(15, 12), np.arange(15)

    def build():
        return SparseDAE(12, (9, 7), output="tanh", learning_rate=1.0, random_state=3, **options)

    model = build()
    before = [layer._layer.value.copy() for layer in model.layers]
    model.train_batch(X, ids)
    rng = np.random.default_rng(0)
    for _ in range(50):
        i = rng.integers(3)
        e = rng.integers(len(before[i]))
        losses = []
        for step in (1e-5, -1e-5):
            moved = build()
            moved.layers[i]._layer.value[e] += step
            losses.append(moved.train_batch(X, ids) * 12 / 2)
        slope = (losses[0] - losses[1]) / 2e-5
        found = before[i][e] - model.layers[i]._layer.value[e]
        assert found == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_the_start_is_an_erdos_renyi_graph():
    degrees = []
    for seed in range(30):
        W = EvolvingWeight(200, 120, epsilon=4.0, random_state=seed)
        assert W.nnz == 1280
        csr = W.to_csr()
        assert csr.has_canonical_format or len(set(zip(*csr.nonzero()))) == 1280
        degrees.append(np.diff(csr.indptr))
        assert abs(csr.data.std() - 0.1) < 0.01
    law = scipy.stats.hypergeom(200 * 120, 120, 1280)
    degrees = np.concatenate(degrees)
    assert degrees.mean() == pytest.approx(law.mean(), rel=1e-12)
    assert degrees.var() == pytest.approx(law.var(), rel=0.05)


def test_evolution_keeps_the_strong_and_puts_the_rest_anywhere():
    W = EvolvingWeight(60, 50, epsilon=3.0, dtype="float64", random_state=0)
    before = W.to_csr()
    W._layer.velocity[:] = 1.0
    survivors = W.evolve(0.2)
    after = W.to_csr()
    assert W.nnz == before.nnz == 330
    for sign, removed in ((1, lambda n: int(0.2 * n) + 1), (-1, lambda n: n - int(0.8 * n))):
        values = np.sort(np.abs(before.data[np.sign(before.data) == sign]))
        kept = np.sort(np.abs(survivors.data[np.sign(survivors.data) == sign]))
        np.testing.assert_array_equal(kept, values[removed(len(values)) :])
    where = survivors.nonzero()
    np.testing.assert_array_equal(after[where], before[where])
    assert int((W._layer.velocity == 1).sum()) == survivors.nnz
    assert int((W._layer.velocity == 0).sum()) == 330 - survivors.nnz
    fixed = EvolvingWeight(60, 50, epsilon=3.0, random_state=0)
    start = fixed.to_csr()
    assert abs(fixed.evolve(0.0) - start).nnz == abs(fixed.to_csr() - start).nnz == 0


def test_new_places_are_uniform_over_what_is_empty():
    W = EvolvingWeight(25, 20, epsilon=3.0, random_state=0)
    new, drawn = np.zeros((25, 20)), 0
    expected = np.zeros((25, 20))
    while drawn < 100_000:
        survivors = W.evolve(0.6)
        there = np.zeros((25, 20), bool)
        there[survivors.nonzero()] = True
        grown = (W.to_csr().toarray() != 0) & ~there
        new += grown
        expected += ~there * (grown.sum() / (~there).sum())
        drawn += int(grown.sum())
    # draws without replacement vary less than the statistic supposes: too small is no fault
    statistic = float(((new - expected) ** 2 / expected).sum())
    assert scipy.stats.chi2(499).sf(statistic) > 1e-3


def test_full_density_evolves_within_what_was_removed():
    W = EvolvingWeight(8, 6, epsilon=100.0, random_state=0)
    assert W.nnz == 48
    survivors = W.evolve(0.3)
    assert W.nnz == 48
    assert survivors.nnz < 48
    assert np.count_nonzero(W.to_csr().toarray()) == 48


def test_native_and_scipy_give_the_same_numbers_and_places():
    X = table(250, 40)
    models = [
        SparseDAE(40, 30, epsilon=3.0, batch_size=50, dtype="float64", backend=backend, random_state=1)
        for backend in ("native", "scipy")
    ]
    for _ in range(4):
        losses = [model.partial_fit(X) for model in models]
        assert losses[0] == pytest.approx(losses[1], rel=1e-10)
        for a, b in zip(*(model.evolve() for model in models)):
            assert abs(a - b).max() < 1e-12
            assert a.nnz == b.nnz
    for a, b in zip(*(model.weights for model in models)):
        np.testing.assert_array_equal(a.indices, b.indices)
        np.testing.assert_allclose(a.data, b.data, atol=1e-12)
    np.testing.assert_allclose(models[0].reconstruct(X), models[1].reconstruct(X), atol=1e-12)


def test_threads_and_sparse_rows_do_not_change_a_bit():
    rng = np.random.default_rng(0)
    X = (table(300, 400, "float32") * (rng.random((300, 400)) < 0.1)).astype("float32")
    X[0, :3] = 0
    stored = scipy.sparse.csr_array(X)
    stored.data[:5] = 0.0  # explicit zeros
    X = stored.toarray()
    found = []
    for rows, threads in ((X, 1), (X, 2), (X, 4), (stored, 2), (np.asfortranarray(X), 1)):
        model = SparseDAE(400, 300, n_threads=threads, random_state=0)
        for _ in range(2):
            model.partial_fit(rows)
            model.evolve()
        found.append([*(layer._layer.value for layer in model.layers), model.reconstruct(rows)])
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_array_equal(a, b)


def test_reconstruction_scales_hidden_values_by_what_dropout_leaves():
    X = table(30, 10)
    model = SparseDAE(10, 8, dropout=0.25, dtype="float64", random_state=0)
    W1, W2 = (w.toarray() for w in model.weights)
    for layer in model.layers:
        layer.bias[:] = np.linspace(-1, 1, layer.n_outputs)
    hidden = 0.75 / (1 + np.exp(-(X @ W1 + model.layers[0].bias)))
    np.testing.assert_allclose(model.encode(X), hidden, rtol=1e-12)
    np.testing.assert_allclose(model.reconstruct(X), hidden @ W2 + model.layers[1].bias, rtol=1e-10)


def test_it_learns_and_counts():
    X = table(1000, 60, "float32")
    model = SparseDAE(60, 80, epsilon=5.0, random_state=0)
    assert model.nnz == 2 * 5 * 140
    assert model.flops_per_sample == 2 * model.nnz + 2 * model.nnz // 2 + 2 * model.nnz
    losses = []
    for _ in range(30):
        losses.append(model.partial_fit(X))
        model.evolve()
    assert losses[-1] < 0.6 * losses[0]
    assert model.n_samples_seen == 30_000
    assert model.n_steps == 300
    assert len(model.batches(99)) == 1
    assert [len(b) for b in model.batches(250)] == [100, 100]


def test_nothing_dense_is_made():
    X = np.random.default_rng(0).standard_normal((100, 20_000), np.float32)
    tracemalloc.start()
    model = SparseDAE(20_000, 1000, random_state=0)
    model.partial_fit(X)
    model.evolve()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60e6
    assert model.nbytes < 20e6


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: SparseDAE(0), "n_features=0"),
        (lambda: SparseDAE(3, ()), "hidden"),
        (lambda: SparseDAE(3, (4, 0)), "hidden=0"),
        (lambda: SparseDAE(3, epsilon=0), "epsilon=0"),
        (lambda: SparseDAE(3, zeta=1.0), r"zeta=1\.0"),
        (lambda: SparseDAE(3, dropout=1), "dropout=1"),
        (lambda: SparseDAE(3, activation="sigmoidal"), "did you mean 'sigmoid'"),
        (lambda: SparseDAE(3, dtype="float16"), "dtype='float16'"),
        (lambda: SparseDAE(3, backend="numpy"), "backend='numpy'"),
        (lambda: SparseDAE(3, 4).train_batch(np.ones((2, 4))), r"X has shape \(2, 4\)"),
        (lambda: SparseDAE(3, 4).train_batch(np.ones((0, 3))), "no rows"),
        (lambda: SparseDAE(3, 4).train_batch(np.full((2, 3), np.nan)), "NaN"),
        (lambda: SparseDAE(3, 4).reconstruct(np.ones(3)), r"shape \(3,\)"),
        (lambda: EvolvingWeight(3, 4).evolve(-0.1), "zeta=-0.1"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises((ArgumentError, ShapeError), match=words):
        call()
