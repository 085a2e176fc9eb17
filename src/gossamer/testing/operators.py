"""The contract of a structured matrix."""

from __future__ import annotations

import copy
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse.linalg

from gossamer._core.arrays import is_torch, to_numpy
from gossamer._core.errors import ArgumentError, GossamerError
from gossamer.linalg.operator import StructuredMatrix
from gossamer.linalg.tags import check_tags

TOLERANCE = {"float64": 1e-10, "float32": 2e-5, "bfloat16": 4e-2, "float16": 4e-3}
"""Largest relative error, against the norm of the result, that counts as agreement in a dtype."""


def check_operator(A: StructuredMatrix, *, tolerance: float | None = None, random_state: int = 0) -> None:
    """Check that a structured matrix with NumPy factors keeps every promise of the class.

    Agreement with the dense matrix for 1-D, 2-D, empty, integer, strided and half-precision inputs, in NumPy and in
    torch; adjointness; dtypes kept; gradients in the input and in the factors; sums, products, multiples;
    files to the byte; copies and pickles after use; SciPy's protocol; honest ``nbytes``, ``flops`` and ``plan``.

    Parameters
    ----------
    A : StructuredMatrix, shape (O, K)
        A small one: the dense matrix is formed.
    tolerance : float, optional
        Relative error that counts as agreement, in place of :data:`TOLERANCE`: for kernels that round inputs.
    random_state : int
        Seed of the inputs.

    Raises
    ------
    AssertionError
        Naming the broken clause.
    """
    rng = np.random.default_rng(random_state)
    dense = to_numpy(A.to_dense())
    require(dense.shape == A.shape, f"to_dense() has shape {dense.shape}, the matrix {A.shape}")
    require(dense.dtype == A.dtype, f"to_dense() is {dense.dtype}, the matrix {A.dtype}")
    wide = dense.astype(np.float64)
    for check in (_numpy_products, _transpose, _torch_products, _gradients, _arithmetic, _scipy, _bad_input):
        check(A, wide, rng, tolerance)
    check_tags(A)
    _accounts(A)
    _copies(A)


def require(condition: Any, message: str) -> None:
    """Raise ``AssertionError`` with the message unless the condition holds (``python -O`` keeps it)."""
    if not condition:
        raise AssertionError(message)


def require_close(actual: Any, expected: np.ndarray, what: str, tolerance: float | None = None) -> None:
    """Compare in the norm, relative to the expected, at the tolerance of the actual dtype."""
    name = str(actual.dtype).removeprefix("torch.")
    actual = to_numpy(actual).astype(np.float64)
    require(actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}")
    allowed = max(TOLERANCE[name], tolerance or 0)
    size = np.linalg.norm(expected) + 1e-3 * np.sqrt(max(expected.size, 1))
    error = np.linalg.norm(actual - expected) / size
    require(error <= allowed, f"{what}: relative error {error:.2g} in {name}, allowed {allowed:.2g}")


def _numpy_products(A: StructuredMatrix, wide: np.ndarray, rng: np.random.Generator, tolerance: Any) -> None:
    K = A.shape[1]
    base = rng.standard_normal((K, 6))
    inputs = {
        "1-D float32": base[:, 0].astype(np.float32),
        "2-D float32": base.astype(np.float32),
        "2-D float64": base,
        "one column": base[:, :1].astype(np.float32),
        "no column": np.zeros((K, 0), np.float32),
        "column order": np.asfortranarray(base.astype(np.float32)),
        "strided": base.astype(np.float32)[:, ::2],
        "reversed": base.astype(np.float32)[:, ::-1],
        "integers": rng.integers(-3, 4, (K, 3)),
        "list": base[:, 0].tolist(),
    }
    for name, x in inputs.items():
        array = np.array(x)
        y = A @ x
        require(np.array_equal(np.asarray(x), array), f"A @ x ({name}) changed x")
        own = array.dtype if np.issubdtype(array.dtype, np.floating) else np.dtype(np.float64)
        expected = np.result_type(A.dtype, own)
        require(isinstance(y, np.ndarray), f"A @ x ({name}) is a {type(y).__name__}, expected an array")
        require(y.dtype == expected, f"A @ x ({name}) is {y.dtype}, expected {expected}")
        loose = TOLERANCE["float32"] if A.dtype == np.float32 else None
        require_close(y, wide @ array, f"A @ x ({name})", tolerance or loose)
    require(np.array_equal(A @ base, A @ base), "A @ x gives different bits the second time")


def _transpose(A: StructuredMatrix, wide: np.ndarray, rng: np.random.Generator, tolerance: Any) -> None:
    require(A.T.shape == A.shape[::-1], f"A.T has shape {A.T.shape}")
    require_close(A.T.to_dense(), wide.T, "A.T.to_dense()", tolerance)
    require_close(A.T.T.to_dense(), wide, "A.T.T.to_dense()", tolerance)
    x = rng.standard_normal(A.shape[1]).astype(A.dtype)
    y = rng.standard_normal((A.shape[0], 3)).astype(A.dtype)
    require_close(A.T @ y, wide.T @ y, "A.T @ y", tolerance)
    require_close(y.T @ A, y.T @ wide, "y @ A", tolerance)
    require_close(y[:, 0] @ A, y[:, 0] @ wide, "y @ A (1-D)", tolerance)
    require_close(np.atleast_1d(y[:, 0] @ (A @ x)), np.atleast_1d((A.T @ y[:, 0]) @ x), "<y, A x> = <A^T y, x>",
                  tolerance)  # fmt: skip


def _torch_products(A: StructuredMatrix, wide: np.ndarray, rng: np.random.Generator, tolerance: Any) -> None:
    import torch

    T = A.torch()
    require(T.is_torch and not A.is_torch, "A.torch() must hold tensors and leave A alone")
    require(T.dtype == A.dtype and T.nbytes == A.nbytes, "A.torch() has another dtype or size")
    require_same_factors(T.numpy(), A, "A.torch().numpy()")
    base = rng.standard_normal((A.shape[1], 4))
    loose = max(tolerance or 0, TOLERANCE["float32"] if A.dtype == np.float32 else 0)
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        x = torch.from_numpy(base).to(dtype)
        for name, value in (("2-D", x), ("1-D", x[:, 0]), ("strided", x[:, ::2]), ("empty", x[:, :0])):
            for B in (A, T):
                y = B @ value
                require(
                    is_torch(y) and y.dtype == dtype, f"A @ tensor ({name}, {dtype}) is {type(y)} {y.dtype}"
                )
                require_close(y, wide @ to_numpy(value).astype(np.float64), f"A @ tensor ({name})", loose)
    require_close(T @ base, wide @ base, "torch factors @ array", loose)
    require_close(torch.from_numpy(base).T @ T.T, base.T @ wide.T, "tensor @ A.T", loose)


def _gradients(A: StructuredMatrix, wide: np.ndarray, rng: np.random.Generator, tolerance: Any) -> None:
    import torch

    T = A.torch()
    loose = max(tolerance or 0, TOLERANCE["float32"] if A.dtype == np.float32 else 0)
    x = torch.from_numpy(rng.standard_normal((A.shape[1], 2))).requires_grad_()
    y = torch.from_numpy(rng.standard_normal((A.shape[0], 2)))
    (gradient,) = torch.autograd.grad((T @ x * y).sum(), x)
    require_close(gradient, wide.T @ y.numpy(), "gradient in x", loose)

    names = [name for name, factor in T.factors.items() if factor.is_floating_point()]
    if not names:
        return
    leaves = {k: v.detach().clone().requires_grad_(k in names) for k, v in T.factors.items()}
    x = x.detach().requires_grad_()
    B = T._with(leaves)
    wanted = [x, *(leaves[name] for name in names)]
    gradients = torch.autograd.grad((B @ x * y).sum(), wanted, allow_unused=True)
    for name, actual in zip(["x", *names], gradients, strict=True):
        require(actual is not None, f"no gradient reaches {name}")
    require_close(gradients[0], wide.T @ y.numpy(), "gradient in x when factors are trained", loose)
    reference = torch.autograd.grad((B.to_dense().double() @ x * y).sum(), [leaves[name] for name in names])
    for name, actual, expected in zip(names, gradients[1:], reference, strict=True):
        require_close(actual, to_numpy(expected).astype(np.float64), f"gradient in {name}", loose)

    doubles = {k: v.double() if k in names else v for k, v in T.factors.items()}
    try:
        D = T._with(doubles)
    except GossamerError:
        return  # a format of fixed precision, which finite differences cannot resolve

    def run(*values: Any) -> Any:
        return D._with({**doubles, **dict(zip(names, values[1:], strict=True))}) @ values[0]

    inputs = [
        x.detach().requires_grad_(),
        *(doubles[name].detach().clone().requires_grad_() for name in names),
    ]
    require(torch.autograd.gradcheck(run, inputs, raise_exception=True), "gradcheck")


def _arithmetic(A: StructuredMatrix, wide: np.ndarray, rng: np.random.Generator, tolerance: Any) -> None:
    x = rng.standard_normal((A.shape[1], 3)).astype(A.dtype)
    results = {
        "A + A": (A + A, 2 * wide),
        "A - 3 A": (A - 3 * A, -2 * wide),
        "-A": (-A, -wide),
        "A / 2": (A / 2, wide / 2),
        "A.T @ A": (A.T @ A, wide.T @ wide),
        "A + A.torch()": (A + A.torch(), 2 * wide),
    }
    for name, (B, expected) in results.items():
        require(isinstance(B, StructuredMatrix), f"{name} is a {type(B).__name__}")
        require(B.dtype == A.dtype, f"{name} is {B.dtype}, A is {A.dtype}")
        require_close(B.to_dense(), expected, f"{name}, dense", tolerance)
        require_close(B @ x, expected @ x, f"({name}) @ x", tolerance)
        require_close(B.T @ (B @ x), expected.T @ (expected @ x), f"({name}).T @ y", tolerance)


def _scipy(A: StructuredMatrix, wide: np.ndarray, rng: np.random.Generator, tolerance: Any) -> None:
    operator = scipy.sparse.linalg.aslinearoperator(A)
    require(operator.shape == A.shape and operator.dtype == A.dtype, f"aslinearoperator gave {operator}")
    x, y = (rng.standard_normal((size, 2)).astype(A.dtype) for size in A.shape[::-1])
    require_close(operator.matvec(x[:, 0]), wide @ x[:, 0], "LinearOperator.matvec", tolerance)
    require_close(operator.matvec(x[:, :1]), wide @ x[:, :1], "LinearOperator.matvec (K, 1)", tolerance)
    require_close(operator.rmatvec(y[:, 0]), wide.T @ y[:, 0], "LinearOperator.rmatvec", tolerance)
    require_close(operator @ x, wide @ x, "LinearOperator @ x", tolerance)
    require_close(np.asarray(A), wide, "np.asarray(A)", tolerance)


def _bad_input(A: StructuredMatrix, wide: np.ndarray, rng: np.random.Generator, tolerance: Any) -> None:
    K = A.shape[1]
    wrong = {
        "too long": np.zeros(K + 1),
        "3-D": np.zeros((K, 1, 1)),
        "complex": np.zeros(K, complex),
        "strings": np.array(["a"] * K),
    }
    for name, x in wrong.items():
        require_raises(ArgumentError, lambda x=x: A @ x, f"A @ x ({name})")


def require_raises(expected: type[Exception], call: Any, what: str) -> None:
    """Check that a call raises one kind of exception and none other."""
    try:
        call()
    except expected:
        return
    except Exception as error:
        raise AssertionError(
            f"{what} raised {type(error).__name__}: {error}; expected {expected.__name__}"
        ) from error
    raise AssertionError(f"{what} was accepted; expected {expected.__name__}")


def _accounts(A: StructuredMatrix) -> None:
    total = sum(int(factor.nbytes) for factor in A.factors.values())
    require(A.nbytes == total, f"nbytes is {A.nbytes}, the factors hold {total}")
    require(set(A.factors) == set(A.factor_names), "factor_names and factors differ")
    require(A.flops(4) == 4 * A.flops(1) >= 0, f"flops(4) is {A.flops(4)}, flops(1) {A.flops(1)}")
    plan = A.plan(8)
    require(plan.route in ("native", "structured", "dense"), f"plan().route is {plan.route!r}")
    require(plan.kernel and plan.reason, "plan() must name the kernel and the reason")
    require(type(A).__name__ not in repr(A) or A.structure.kind, "repr must name the family")
    for cls, factors in ((type(A), {}), (type(A), {**A.factors, "surplus": np.zeros(1)})):
        require_raises(
            GossamerError, lambda c=cls, f=factors: c(A.structure, A.shape, f), "wrong set of factors"
        )


def _copies(A: StructuredMatrix) -> None:
    for name, twin in (
        ("pickle", pickle.loads(pickle.dumps(A))),
        ("copy", copy.copy(A)),
        ("deepcopy", copy.deepcopy(A)),
    ):
        require(
            twin.structure == A.structure and twin.tags == A.tags, f"{name} lost the structure or the tags"
        )
        require_same_factors(twin, A, name)
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "first"), Path(folder, "second")
        A.save(first)
        loaded = StructuredMatrix.load(first)
        loaded.save(second)
        require(first.read_bytes() == second.read_bytes(), "save, load, save gives other bytes")
    require(type(loaded) is type(A) and loaded.structure == A.structure, f"load gave {loaded}, saved {A}")
    require(loaded.shape == A.shape and loaded.tags == A.tags, "load changed the shape or the tags")
    require_same_factors(loaded, A, "load")


def require_same_factors(B: StructuredMatrix, A: StructuredMatrix, what: str) -> None:
    """Compare names, dtypes and bits of all factors."""
    require(
        list(B.factors) == list(A.factors), f"{what}: factors {list(B.factors)}, expected {list(A.factors)}"
    )
    for name, factor in A.factors.items():
        mine = B.factors[name]
        same = mine.dtype == factor.dtype and mine.shape == factor.shape
        require(same and mine.tobytes() == factor.tobytes(), f"{what}: factor {name} differs")
