"""Quantised families, dense and sparse: python-loop oracles, storage, gradients, GPTQ against round-to-nearest."""

import numpy as np
import pytest
from tests.linalg.random_layers import error, layer, round_group

from gossamer._core.errors import ArgumentError, GossamerError
from gossamer.linalg import (
    NM,
    Block,
    GroupQuant,
    GroupSparseQuant,
    NMQuant,
    Unstructured,
    UnstructuredQuant,
    structure_from_config,
)
from gossamer.linalg.nearest.selection import block_means, keep_largest, saliency

GRIDS = [
    {"bits": 2, "symmetric": True},
    {"bits": 3},
    {"bits": 4},
    {"bits": 4, "zero": "float"},
    {"bits": 8, "zero": "float"},
    {"bits": 8},
]
FAMILIES = [
    GroupQuant(4, 16),
    GroupQuant(3, 10, symmetric=True),
    GroupQuant(2, 0, clip="mse"),
    GroupSparseQuant(4, 16, 0.5),
    GroupSparseQuant(4, 8, 0.3, scope="row", symmetric=True),
    NMQuant(2, 4, 4, 16),
    NMQuant(3, 7, 3, 0, zero="float"),
    UnstructuredQuant(0.5, 4, 16),
    UnstructuredQuant(0.3, 8, 5, scope="row", zero="float", clip="mse"),
]
SHAPES = [(6, 64), (5, 37), (3, 1), (4, 300)]


def quantised(W, group, options):
    """Every group of the stored values of every row, by the definition; ``W`` is a list of rows."""
    grid = {"symmetric": False, "zero": "int", **options}
    out = []
    for row in W:
        done = []
        for start in range(0, len(row), group):
            part = list(row[start : start + group])
            padded = part + [0.0] * (group - len(part))
            done += round_group(padded, grid["bits"], grid["symmetric"], grid["zero"])[3][: len(part)]
        out.append(done)
    return out


@pytest.mark.parametrize("options", GRIDS, ids=str)
@pytest.mark.parametrize("group", [4, 16, 0])
def test_group_quant_is_the_definition(options, group):
    W, _ = layer(4, 21, dtype=np.float32)
    A = GroupQuant(group=group, **options).project(W)
    np.testing.assert_allclose(A.to_dense(), quantised(W.astype(float), group or 21, options), rtol=1e-6)


@pytest.mark.parametrize("options", GRIDS, ids=str)
@pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("scope", ["matrix", "row"])
def test_group_sparse_quant_is_the_definition(options, density, scope):
    W, _ = layer(5, 37, dtype=np.float32)
    A = GroupSparseQuant(group=8, density=density, scope=scope, **options).project(W)
    keep = np.repeat(keep_largest(block_means(saliency(W), (1, 8)), density, scope), 8, axis=1)[:, :37]
    expected = np.where(keep, quantised(W.astype(float), 8, options), 0)
    np.testing.assert_allclose(A.to_dense(), expected, rtol=1e-6)
    assert A.nnz_groups == len(A.factors["col"]) == A.factors["row_ptr"][-1]
    assert A.density == A.nnz_groups / 25


@pytest.mark.parametrize("options", GRIDS, ids=str)
def test_nm_quant_rounds_what_n_of_m_keeps(options):
    W, _ = layer(4, 24, dtype=np.float32)
    sparse = NM(2, 4).project(W)
    kept = quantised(sparse.factors["values"].astype(float), 8, options)
    A = NM(2, 4).quantized(group=8, **options).project(W).to_dense()
    for i in range(4):
        np.testing.assert_allclose(A[i, sparse.columns()[i]], kept[i], rtol=1e-6)
    assert (A[sparse.to_dense() == 0] == 0).all()


@pytest.mark.parametrize("options", GRIDS, ids=str)
@pytest.mark.parametrize("group", [4, 0])
def test_unstructured_quant_rounds_what_unstructured_keeps(options, group):
    W, _ = layer(5, 24, dtype=np.float32)
    W[2] /= 100  # a row that keeps nothing
    mask = Unstructured(0.4).project(W).to_dense() != 0
    rows = quantised([W[i, mask[i]].astype(float) for i in range(5)], group or 24, options)
    A = Unstructured(0.4).quantized(group=group, **options).project(W)
    assert not mask[2].any()
    for i in range(5):
        np.testing.assert_allclose(A.to_dense()[i, mask[i]], rows[i], rtol=1e-6)
    np.testing.assert_array_equal(A.mask(), mask)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("metric", ["none", "diagonal", "full"])
def test_a_member_multiplies_as_its_dense_form(family, shape, metric):
    W, H = layer(*shape, dtype=np.float32)
    A = family.project(W, {"none": None, "diagonal": np.diag(H).copy(), "full": H}[metric])
    dense, rng = A.to_dense(), np.random.default_rng(1)
    for dtype, tolerance in ((np.float32, 1e-4), (np.float64, 1e-6)):
        x, y = rng.standard_normal((shape[1], 3)).astype(dtype), rng.standard_normal(shape[0]).astype(dtype)
        assert (A @ x).dtype == dtype
        np.testing.assert_allclose(A @ x, dense @ x, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(A.T @ y, dense.T @ y, rtol=tolerance, atol=tolerance)
    assert A.dtype == dense.dtype == np.float32
    np.testing.assert_array_equal(A.torch().to_dense().numpy(), dense)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_family_foretells_the_storage_of_its_members(family, shape):
    W, H = layer(*shape, dtype=np.float32)
    for metric in (None, H):
        A = family.project(W, metric)
        exact = not (isinstance(family, UnstructuredQuant) and family.scope == "matrix")
        tolerance = 1e-9 if exact else 0.25
        assert A.bits_per_weight == pytest.approx(family.bits_per_weight(shape), rel=tolerance)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_error_compensation_beats_rounding_to_nearest_in_the_metric(family):
    gained = []
    for seed in range(4):
        W, H = layer(40, 60, seed, dtype=np.float32)
        compensated, nearest = family.project(W, H), family.project(W, np.diag(H).copy())
        gained.append(error(W, compensated.to_dense(), H) / error(W, nearest.to_dense(), H))
    assert max(gained) <= 1
    assert np.mean(gained) < 1


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_gradients_of_scales_and_float_zeros_are_those_of_the_formula(family):
    torch = pytest.importorskip("torch")
    W, _ = layer(6, 40, dtype=np.float32)
    A = family.project(torch.from_numpy(W))
    names = [n for n, f in A.factors.items() if f.dtype == torch.float16]
    assert names == (["scale", "zero"] if "zero" in A.factors and family.zero == "float" else ["scale"])
    leaves = {n: A.factors[n].clone().requires_grad_() for n in names}
    G = torch.randn(6, 40)
    B = type(A)(A.structure, A.shape, {**A.factors, **leaves})
    (B.to_dense() * G).sum().backward()
    # w is linear in scale and zero: the derivative in one of them is a difference of two members
    zeroed = {n: torch.zeros_like(A.factors[n]) for n in names}
    for name in names:
        index = tuple(0 for _ in leaves[name].shape)
        unit = {**A.factors, **zeroed, name: zeroed[name].clone()}
        unit[name][index] = 1
        slope = (type(A)(A.structure, A.shape, unit).to_dense() * G).sum()
        np.testing.assert_allclose(leaves[name].grad[index], slope, rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("group", [8, 0])
def test_symmetric_projection_is_idempotent(group):
    W, _ = layer(6, 40, dtype=np.float32)
    family = GroupQuant(4, group, symmetric=True)
    A = family.project(W)
    np.testing.assert_array_equal(family.project(A).to_dense(), A.to_dense())


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_a_family_survives_its_config(family):
    assert structure_from_config(family.to_config()) == family


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_eight_bits_are_finer_than_fewer(bits):
    W, H = layer(20, 32, dtype=np.float32)
    if bits < 8:
        fine, coarse = GroupQuant(8, 16).project(W, H), GroupQuant(bits, 16).project(W, H)
        assert error(W, fine.to_dense(), H) < error(W, coarse.to_dense(), H)


def test_group_sparse_quant_from_dense_has_the_cards_storage():
    W, H = layer(64, 256, dtype=np.float32)
    A = GroupSparseQuant.from_dense(W, sparsity=0.5, hessian=H)
    assert A.bits_per_weight == 0.5 * (4 + (16 + 16 + 4) / 16) + 32 * 65 / (64 * 256)
    assert (A.bits, A.group_size, A.density) == (4, 16, 0.5)
    assert isinstance(Block((1, 16), 0.5).quantized(bits=4), GroupSparseQuant)
    x = np.random.default_rng(0).standard_normal(256).astype(np.float32)
    for schedule in ("task", "row"):
        np.testing.assert_allclose(A.matmul(x, schedule=schedule), A.to_dense() @ x, rtol=1e-3, atol=1e-3)
    rough = A.matmul(x, act="int8")
    assert 0 < np.abs(rough - A @ x).max() < 0.05 * np.abs(A @ x).max()


def test_the_start_that_fits_the_metric_or_the_validation_moment_better_is_kept():
    W, H = layer(20, 64, dtype=np.float32)
    tried = {way: GroupSparseQuant(start=way).project(W, H).to_dense() for way in ("mask", "obs", "auto")}
    assert error(W, tried["auto"], H) == min(error(W, tried["mask"], H), error(W, tried["obs"], H))
    assert error(W, tried["obs"], H) < error(W, tried["mask"], H)
    assert error(W, tried["obs"], np.eye(64)) > error(W, tried["mask"], np.eye(64))
    # judged by inputs without correlation, masking is the better start
    A = GroupSparseQuant.from_dense(W, hessian=H, metric="auto", validation=np.eye(64))
    np.testing.assert_array_equal(A.to_dense(), tried["mask"])


def test_dead_inputs_do_not_divide_by_zero():
    W, H = layer(6, 40, dtype=np.float32)
    H[3:20] = 0
    H[:, 3:20] = 0
    for family in FAMILIES:
        for moment in (H, np.zeros_like(H), np.diag(H).copy(), np.zeros(40, np.float32)):
            assert np.isfinite(family.project(W, moment).to_dense()).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GroupQuant(5), "bits=5"),
        (lambda: GroupQuant(4, -1), "group=-1"),
        (lambda: GroupSparseQuant(4, 0), "group=0"),
        (lambda: GroupSparseQuant(start="obd"), "did you mean 'obs'"),
        (lambda: GroupSparseQuant(saliency="wands"), "did you mean 'wanda'"),
        (lambda: NMQuant(2, 4, 7), "bits=7"),
        (lambda: UnstructuredQuant(1.5), "density=1.5"),
        (lambda: GroupSparseQuant.from_dense(np.ones((2, 16)), sparsity=1), "sparsity=1"),
        (lambda: GroupSparseQuant.from_dense(np.ones((2, 20)), pad=False), r"group_size=16.*divisor of K=20"),
        (lambda: GroupSparseQuant(4, 1, 1.0).project(np.ones((1, 70000))), "at most 65536 groups"),
    ],
)
def test_bad_parameters_are_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_factors_that_do_not_fit_are_refused(family):
    A = family.project(layer(6, 40, dtype=np.float32)[0])
    for name, factor in A.factors.items():
        wide = factor.astype(np.float64)
        short = factor[..., :-1]
        for wrong in (wide, short):
            with pytest.raises(GossamerError):
                type(A)(A.structure, A.shape, {**A.factors, name: wrong})
    bad = A.factors["scale"].copy()
    bad.flat[0] = np.nan
    with pytest.raises(ArgumentError, match="scale has 1 NaN"):
        type(A)(A.structure, A.shape, {**A.factors, "scale": bad})


def test_out_of_range_indices_are_refused():
    A = GroupSparseQuant(4, 8, 0.5).project(layer(6, 40, dtype=np.float32)[0])
    col = A.factors["col"].copy()
    col[-1] = 5
    with pytest.raises(ArgumentError, match=r"expected 0\.\.4"):
        type(A)(A.structure, A.shape, {**A.factors, "col": col})
    B = UnstructuredQuant(0.5, 4, 8).project(layer(6, 37, dtype=np.float32)[0])
    bitmap = B.factors["bitmap"].copy()
    bitmap[0, -1] |= 0x80
    with pytest.raises(ArgumentError, match="beyond column 36"):
        type(B)(B.structure, B.shape, {**B.factors, "bitmap": bitmap})
