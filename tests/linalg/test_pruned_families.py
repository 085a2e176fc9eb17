"""Unstructured, N:M and block sparsity: exact projections by enumeration of every mask, OBS order by its oracle."""

import itertools

import numpy as np
import pytest
from tests.linalg.random_layers import error, layer, subsets

from gossamer._core.errors import ArgumentError, FormatError, GossamerError, ShapeError
from gossamer.linalg import (
    NM,
    Block,
    BlockMatrix,
    CSRMatrix,
    NMMatrix,
    Unstructured,
    structure_from_config,
)
from gossamer.linalg.nearest.selection import count_kept

METRICS = ["none", "diagonal"]
FAMILIES = [
    Unstructured(0.5),
    Unstructured(0.3, "row"),
    NM(2, 4),
    NM(1, 3),
    NM(7, 20),
    NM(3, 40),
    Block((1, 4), 0.5),
    Block((2, 3), 0.4),
    Block((3, 5), 0.5, "row"),
]


def metric_of(H, name):
    return {"none": None, "diagonal": np.diag(H).copy(), "full": H}[name]


def least(W, metric, masks):
    return min(error(W, np.where(mask, W, 0), metric) for mask in masks)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("density", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("scope", ["matrix", "row"])
def test_no_mask_of_the_same_count_beats_unstructured(name, density, scope):
    W, H = layer(2, 5)
    metric = metric_of(H, name)
    if scope == "matrix":
        masks = (mask.reshape(2, 5) for mask in subsets(10, count_kept(density, 10)))
    else:
        masks = (np.array(m) for m in itertools.product(subsets(5, count_kept(density, 5)), repeat=2))
    W_hat = Unstructured(density, scope).project(W, metric).to_dense()
    assert error(W, W_hat, metric) == pytest.approx(least(W, metric, masks))


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (3, 4), (2, 3)])
def test_no_mask_beats_n_of_m(name, n, m):
    W, H = layer(3, 2 * m)
    metric = metric_of(H, name)
    W_hat = NM(n, m).project(W, metric).to_dense()
    for i, start in itertools.product(range(3), (0, m)):
        row, part = W[i : i + 1, start : start + m], slice(start, start + m)
        h = None if metric is None else metric[part]
        best = least(row, h, (mask[None] for mask in subsets(m, n)))
        assert error(row, W_hat[i : i + 1, part], h) == pytest.approx(best)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (2, 2)])
def test_no_mask_of_blocks_beats_block(name, shape):
    W, H = layer(4, 4)
    metric = metric_of(H, name)
    grid = (4 // shape[0], 4 // shape[1])
    n = grid[0] * grid[1]
    masks = (np.kron(mask.reshape(grid), np.ones(shape)).astype(bool) for mask in subsets(n, n // 2))
    W_hat = Block(shape, 0.5).project(W, metric).to_dense()
    assert error(W, W_hat, metric) == pytest.approx(least(W, metric, masks))


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("name", ["none", "diagonal", "full"])
@pytest.mark.parametrize("shape", [(6, 30), (5, 17), (1, 1), (7, 260)])
def test_a_member_multiplies_as_its_dense_form_and_keeps_dtype(family, name, shape):
    for dtype in (np.float32, np.float64):
        W, H = layer(*shape, dtype=dtype)
        A = family.project(W, metric_of(H, name))
        dense = A.to_dense()
        x = np.random.default_rng(1).standard_normal((shape[1], 3)).astype(dtype)
        assert A.dtype == dense.dtype == (A @ x).dtype == dtype
        tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}
        np.testing.assert_allclose(A @ x, dense @ x, **tolerance)
        y = np.random.default_rng(2).standard_normal(shape[0]).astype(dtype)
        np.testing.assert_allclose(A.T @ y, dense.T @ y, **tolerance)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("name", ["none", "diagonal"])
def test_projection_is_idempotent(family, name):
    W, H = layer(6, 30)
    A = family.project(W, metric_of(H, name))
    np.testing.assert_array_equal(family.project(A, metric_of(H, name)).to_dense(), A.to_dense())


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_obs_order_beats_the_diagonal_metric_on_correlated_inputs(family):
    W, H = layer(40, 60)
    full, diagonal = family.project(W, H), family.project(W, np.diag(H).copy())
    assert error(W, full.to_dense(), H) < error(W, diagonal.to_dense(), H)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_a_full_metric_never_hurts_even_where_a_sweep_would(family, seed):
    W, H = layer(3, 11, seed, tokens=4)
    full, diagonal = family.project(W, H), family.project(W, np.diag(H).copy())
    assert error(W, full.to_dense(), H) <= error(W, diagonal.to_dense(), H) * (1 + 1e-9)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("name", ["none", "full"])
@pytest.mark.parametrize("shape", [(6, 60), (8, 37)])
def test_the_family_foretells_the_storage_of_its_members(family, name, shape):
    W, H = layer(*shape, dtype=np.float32)
    A = family.project(W, metric_of(H, name))
    assert A.bits_per_weight == pytest.approx(family.bits_per_weight(shape), rel=1e-9)
    assert A.nbytes == sum(factor.nbytes for factor in A.factors.values())


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_gradients_reach_the_stored_values(family):
    torch = pytest.importorskip("torch")
    A = family.project(torch.from_numpy(layer(6, 30)[0]))
    name = {CSRMatrix: "data", NMMatrix: "values", BlockMatrix: "blocks"}[type(A)]
    leaf = A.factors[name].clone().requires_grad_()
    A = type(A)(A.structure, A.shape, {**A.factors, name: leaf})
    x = torch.randn(30, 2, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(
        lambda v, x: type(A)(A.structure, A.shape, {**A.factors, name: v}) @ x, (leaf, x)
    )


def test_a_plan_says_when_a_dense_copy_would_be_faster():
    A = Unstructured(0.5).project(layer(20, 40, dtype=np.float32)[0])
    assert (A.plan(1).route, A.plan(1).kernel) == ("native", "csr.matmat")
    assert "dense matrix multiplies faster" in A.plan(1).reason
    assert "dense" not in A.plan(64).reason
    assert A.plan(3).flops == 3 * A.plan(1).flops == 3 * 2 * 400


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_a_family_survives_its_config(family):
    assert structure_from_config(family.to_config()) == family


def test_a_sparse_family_says_how_it_is_quantised():
    assert NM(2, 4).quantized(bits=3, group=8).to_config()["kind"] == "nm-quant"
    assert Unstructured(0.4, "row").quantized(bits=4, symmetric=True).to_config()["scope"] == "row"
    assert Block((1, 16), 0.3).quantized(bits=4).to_config()["group"] == 16
    with pytest.raises(ArgumentError, match=r"Block\(\(1, 16\)\)"):
        Block((2, 16), 0.3).quantized(bits=4, group=16)
    with pytest.raises(ArgumentError, match="did you mean 'symmetric'"):
        NM(2, 4).quantized(symetric=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Unstructured(0), "density=0"),
        (lambda: Unstructured(0.5, "rows"), "did you mean 'row'"),
        (lambda: NM(5, 4), "n=5.*nearest valid: 4"),
        (lambda: NM(2, 300), "m=300"),
        (lambda: Block((0, 4)), "shape=0"),
        (lambda: Block(4), "shape=4"),
        (lambda: Block((1, 4), 1.5), "density=1.5"),
    ],
)
def test_bad_parameters_are_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_bad_input_to_a_projection_is_refused():
    W, H = layer(3, 8)
    W[1, 2] = np.nan
    with pytest.raises(ArgumentError, match=r"W has 1 NaN.*\(1, 2\)"):
        NM(2, 4).project(W)
    with pytest.raises(ShapeError, match="metric has shape"):
        NM(2, 4).project(layer(3, 8)[0], H[:4, :4])


def replaced(A, **factors):
    return type(A)(A.structure, A.shape, {**A.factors, **factors})


@pytest.mark.parametrize(
    ("family", "change"),
    [
        (NM(2, 4), {"positions": np.full((4, 2), 0b00000000, np.uint8)}),  # not ascending
        (NM(2, 4), {"values": np.zeros((4, 5), np.float32)}),
        (NM(2, 4), {"values": np.zeros((4, 4), np.int32)}),
        (Block((2, 2)), {"indices": np.array([0, 9, 0, 1], np.int32)}),
        (Block((2, 2)), {"indptr": np.array([0, 5, 4], np.int32)}),
        (Block((2, 2)), {"blocks": np.zeros((4, 2, 3), np.float32)}),
        (Unstructured(0.5), {"indices": np.full(16, 8, np.int32)}),
        (Unstructured(0.5), {"data": np.zeros(3, np.float32)}),
    ],
)
def test_factors_that_do_not_fit_are_refused(family, change):
    A = family.project(layer(4, 8, dtype=np.float32)[0])
    with pytest.raises(GossamerError):
        replaced(A, **change)
    with pytest.raises(FormatError, match="has factors"):
        replaced(A, surplus=np.zeros(1))
