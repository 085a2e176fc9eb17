"""fwht against scipy.linalg.hadamard, its orders against counted sign changes, and what it refuses."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, FormatError, ShapeError, UnsupportedError
from gossamer.linalg import Diagonal, Hadamard, HadamardMatrix, explain, fwht

RNG = np.random.default_rng(0)


def sign_changes(rows):
    return (np.diff(np.sign(rows), axis=1) != 0).sum(axis=1)


@pytest.mark.parametrize("n", range(11))
def test_natural_order_is_scipys_matrix(n):
    x = RNG.standard_normal(1 << n)
    np.testing.assert_allclose(fwht(x), scipy.linalg.hadamard(1 << n) @ x, atol=1e-10)


@pytest.mark.parametrize("n", range(9))
def test_sequency_order_counts_sign_changes(n):
    matrix = fwht(np.eye(1 << n), axis=0, order="sequency")
    assert sign_changes(matrix).tolist() == list(range(1 << n))
    assert np.array_equal(matrix, matrix.T)


@pytest.mark.parametrize("n", range(8))
def test_dyadic_order_reverses_the_bits(n):
    matrix = fwht(np.eye(1 << n), axis=0, order="dyadic")
    reverse = [int(f"{k:0{n}b}"[::-1], 2) if n else 0 for k in range(1 << n)]
    assert np.array_equal(matrix, scipy.linalg.hadamard(1 << n)[reverse])


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 12),
    batch=st.integers(1, 4),
    order=st.sampled_from(["natural", "dyadic", "sequency"]),
    norm=st.sampled_from(["none", "forward", "ortho"]),
    axis=st.sampled_from([0, 1]),
    dtype=st.sampled_from(["f4", "f8", "c8", "c16"]),
    seed=st.integers(0, 1000),
)
def test_the_square_is_a_multiple_of_the_identity_and_energy_is_kept(
    n, batch, order, norm, axis, dtype, seed
):
    rng = np.random.default_rng(seed)
    shape = (1 << n, batch) if axis == 0 else (batch, 1 << n)
    x = rng.standard_normal(shape).astype(dtype)
    if dtype[0] == "c":
        x = x + (1j * rng.standard_normal(shape)).astype(dtype)
    y = fwht(x, axis, norm, order)
    assert y.dtype == x.dtype
    tight = 1e-5 if dtype in ("f4", "c8") else 1e-12
    c = {"none": 1, "forward": 0.5**n, "ortho": 0.5 ** (n / 2)}[norm]
    np.testing.assert_allclose(
        fwht(y, axis, norm, order), c * c * (1 << n) * x, atol=tight * c * c * (2 << n)
    )
    energy = c * c * (1 << n) * np.sum(np.abs(x) ** 2)
    assert np.sum(np.abs(y) ** 2) == pytest.approx(energy, rel=100 * tight)


def test_an_impulse_becomes_constant_and_back():
    impulse = np.zeros(64)
    impulse[0] = 1
    assert (fwht(impulse) == 1).all()
    assert np.array_equal(fwht(np.ones(64), norm="forward"), impulse)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int16, np.uint32])
def test_narrow_integers_become_int64_and_are_exact(dtype):
    x = RNG.integers(0, 2, 256).astype(dtype)
    y = fwht(x)
    assert y.dtype == np.int64
    assert np.array_equal(y, scipy.linalg.hadamard(256) @ x.astype(np.int64))
    assert fwht(x, norm="ortho").dtype == np.float64


def test_half_precision_is_computed_in_single():
    x = RNG.standard_normal(512).astype(np.float16)
    y = fwht(x, norm="ortho")
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, fwht(x.astype(np.float64), norm="ortho"), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("view", ["strided", "reversed", "columns", "big-endian", "read-only"])
def test_any_layout_of_memory(view):
    x = RNG.standard_normal((32, 16))
    x = {
        "strided": x[:, ::2],
        "reversed": x[:, ::-1],
        "columns": np.asfortranarray(x),
        "big-endian": x.astype(">f8"),
        "read-only": x,
    }[view]
    if view == "read-only":
        x.flags.writeable = False
    kept = x.copy()
    y = fwht(x, axis=1)
    np.testing.assert_allclose(y, x @ scipy.linalg.hadamard(x.shape[1]), atol=1e-12)
    assert np.array_equal(x, kept)


@pytest.mark.parametrize("order", ["natural", "sequency"])
def test_in_place_writes_into_x(order):
    for x in (
        RNG.standard_normal((4, 32)),
        RNG.standard_normal((4, 64))[:, ::2],
        RNG.integers(0, 9, (4, 32)),
    ):
        expected = fwht(x, order=order)
        assert fwht(x, order=order, inplace=True) is x
        assert np.array_equal(x, expected)


@pytest.mark.parametrize("order", ["natural", "dyadic", "sequency"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradients_to_second_order(order, dtype):
    x = torch.randn(3, 8, dtype=dtype, generator=torch.Generator().manual_seed(0), requires_grad=True)

    def run(x):
        return fwht(x, norm="ortho", order=order)

    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int32, torch.complex64]
)
def test_tensors_keep_their_dtype(dtype):
    x = torch.arange(16).reshape(2, 8).to(dtype)
    y = fwht(x)
    assert y.dtype == dtype
    expected = fwht(np.arange(16.0).reshape(2, 8))
    assert np.allclose(y.to(torch.complex64).real.numpy(), expected, rtol=1e-2)
    z = x.clone()
    assert fwht(z, inplace=True) is z
    assert torch.equal(z, y)


def test_autograd_notices_a_change_in_place():
    x = torch.ones(4, requires_grad=True)
    y = x * 2
    z = y * y
    fwht(y.detach(), inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        z.sum().backward()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fwht(np.zeros(6)), ShapeError, "zero-pad it to 8"),
        (lambda: fwht(np.zeros(0)), ShapeError, "zero-pad it to 1"),
        (lambda: fwht(np.float64(3)), ShapeError, "no axes"),
        (lambda: fwht(np.zeros((2, 3)), axis=1), ShapeError, "along axis 1"),
        (lambda: fwht(np.zeros(4), axis=1), ArgumentError, "axis=1"),
        (lambda: fwht(np.zeros(4), norm="backward"), ArgumentError, "norm='backward'"),
        (lambda: fwht(np.zeros(4), order="walsh"), ArgumentError, "order='walsh'"),
        (lambda: fwht(np.array(["a"])), UnsupportedError, "expected real or complex"),
        (lambda: fwht(np.zeros(4, np.longdouble)), UnsupportedError, "at most 64 bits"),
        (lambda: fwht(np.zeros(4, np.uint64)), UnsupportedError, "uint64"),
        (lambda: fwht([1.0, 2.0], inplace=True), ArgumentError, "x is a list"),
        (lambda: fwht(np.zeros(4, np.int8), inplace=True), ArgumentError, "int8 becomes int64"),
        (lambda: fwht(np.broadcast_to(np.zeros(1), 4), inplace=True), ArgumentError, "read-only"),
        (lambda: fwht(torch.zeros(4, requires_grad=True), inplace=True), ArgumentError, "needs gradients"),
        (lambda: fwht(torch.zeros(4, device="meta")), UnsupportedError, "on meta"),
        (lambda: fwht(np.zeros(4), threads=0), ArgumentError, "threads=0"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_an_empty_batch_stays_empty():
    assert fwht(np.zeros((0, 8))).shape == (0, 8)
    assert fwht(np.zeros((8, 0)), axis=0, order="sequency").shape == (8, 0)


def test_the_operator_is_the_transform():
    for norm in ("none", "forward", "ortho"):
        A = HadamardMatrix.of(5, norm, "sequency")
        x = RNG.standard_normal((32, 3))
        np.testing.assert_allclose(A @ x, fwht(x, 0, norm, "sequency"), atol=1e-12)
        assert A.T is A
    assert HadamardMatrix.of(40).nbytes == 8


def test_the_family_recognises_its_members():
    H = scipy.linalg.hadamard(16) * 0.25
    member = Hadamard().project(H)
    assert member.factors["scale"][0] == pytest.approx(0.25)
    assert np.array_equal(Hadamard().project(H.astype(np.float32)).to_dense(), H.astype(np.float32))


def test_explain_recognises_the_matrix_at_four_bytes():
    fit = explain(scipy.linalg.hadamard(32) / 8.0).best()
    assert fit.family == "Hadamard"
    assert fit.exact
    assert fit.nbytes <= 8


def test_a_randomised_transform_is_a_product_of_families():
    signs = np.sign(RNG.standard_normal(16))
    A = (Hadamard() @ Diagonal()).project(scipy.linalg.hadamard(16) * signs)
    np.testing.assert_allclose(A.to_dense(), scipy.linalg.hadamard(16) * signs, atol=1e-10)


def test_a_matrix_of_another_side_is_refused():
    for shape in ((6, 6), (4, 8)):
        with pytest.raises(ShapeError, match="power of two"):
            Hadamard().project(np.zeros(shape))
    with pytest.raises(ArgumentError, match="0 to 62"):
        HadamardMatrix.of(63)
    with pytest.raises(FormatError, match=r"expected float32 or float64 \(1,\)"):
        HadamardMatrix(Hadamard(), (4, 4), {"scale": np.zeros(2)})
    with pytest.raises(ArgumentError, match="order='gray'"):
        Hadamard("gray")
