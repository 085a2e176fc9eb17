"""The dense family: rounding to the stored type."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, FormatError
from gossamer.linalg import Dense, DenseMatrix, GroupQuant

torch = pytest.importorskip("torch")
DTYPES = ["float32", "float16", "bfloat16", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_entries_are_rounded_as_torch_rounds_them(dtype):
    W = np.random.default_rng(0).standard_normal((40, 30)).astype(np.float32)
    A = Dense(dtype).project(W)
    expected = torch.from_numpy(W).to(getattr(torch, dtype))
    np.testing.assert_array_equal(A.to_dense(), expected.to(torch.float64).numpy())
    assert torch.equal(A.torch().factors["weight"], expected)
    np.testing.assert_array_equal(A.torch().numpy().factors["weight"], A.factors["weight"])
    assert A.bits_per_weight == Dense(dtype).bits_per_weight(W.shape) == 8 * expected.element_size()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_member_multiplies_in_the_dtype_of_its_entries(dtype):
    W = np.random.default_rng(0).standard_normal((5, 4))
    A, x = Dense(dtype).project(W), np.ones((4, 2), np.float32)
    assert (A @ x).dtype == (np.float64 if dtype == "float64" else np.float32)
    np.testing.assert_allclose(A @ x, A.to_dense() @ x, rtol=1e-6)
    assert A.plan().route == "dense"


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_gradients_reach_the_weight(dtype):
    W = torch.randn(3, 4, dtype=torch.float64)
    A = Dense(dtype).project(W)
    leaf = A.factors["weight"].clone().requires_grad_()
    (DenseMatrix(A.structure, A.shape, {"weight": leaf}) @ torch.ones(4)).sum().backward()
    assert torch.equal(leaf.grad, torch.ones_like(leaf))


def test_entries_beyond_the_type_and_unknown_types_are_refused():
    with pytest.raises(ArgumentError, match=r"7e\+04: too large for float16"):
        Dense("float16").project(np.full((1, 1), 7e4))
    with pytest.raises(ArgumentError, match="did you mean 'bfloat16'"):
        Dense("bfloat")
    with pytest.raises(FormatError, match="expected uint16"):
        DenseMatrix(Dense("bfloat16"), (1, 1), {"weight": np.zeros((1, 1), np.float16)})


def test_quantised_it_is_the_family_of_groups():
    assert Dense().quantized(bits=3, group=8, symmetric=True) == GroupQuant(3, 8, True)
