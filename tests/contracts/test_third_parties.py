"""The contracts accept a family that supplies only what it must, and catch each way of breaking a promise."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from gossamer._core.arrays import to_numpy
from gossamer._core.errors import ArgumentError, FormatError
from gossamer.linalg import Plan, Structure, StructuredMatrix, structure_from_config
from gossamer.testing import check_module, check_operator, check_structure


class EqualRowsMatrix(StructuredMatrix):
    """All rows are ``row`` (K,)."""

    factor_names = ("row",)

    def _check(self):
        if tuple(self.factors["row"].shape) != self.shape[1:]:
            raise FormatError("row does not fit")

    def _dense(self):
        row = self.factors["row"]
        return row[None] + (0 * row[:1]).reshape(1, 1) * (
            torch.zeros(self.shape[0], 1) if self.is_torch else np.zeros((self.shape[0], 1), row.dtype)
        )

    def flops(self, n=1):
        return 2 * self.shape[1] * n


@dataclass(frozen=True)
class EqualRows(Structure):
    """Matrices whose rows are all equal: the mean row is nearest in every metric."""

    kind: ClassVar[str] = "test-equal-rows"
    matrix: ClassVar[type[StructuredMatrix]] = EqualRowsMatrix

    @property
    def nearest_in(self):
        return frozenset({"none", "diagonal", "full"})

    def _project(self, W, metric):
        return self.matrix(self, W.shape, {"row": W.mean(axis=0)})

    def bits_per_weight(self, shape):
        return 32 / shape[0]


def member(matrix=EqualRowsMatrix):
    return matrix(
        EqualRows(), (4, 5), {"row": np.random.default_rng(0).standard_normal(5).astype(np.float32)}
    )


def test_a_family_of_four_methods_keeps_both_contracts():
    check_operator(member())
    check_structure(EqualRows(), (4, 5))
    check_operator(EqualRows().T.project(np.ones((5, 4), np.float32)))
    assert structure_from_config({"kind": "test-equal-rows"}) == EqualRows()


def test_two_families_cannot_share_a_kind():
    with pytest.raises(ArgumentError, match="'low-rank' is taken"):

        @dataclass(frozen=True)
        class Other(EqualRows):
            kind: ClassVar[str] = "low-rank"


class WrongProduct(EqualRowsMatrix):
    def _multiply(self, x):
        return to_numpy(self._dense()) @ x + 1e-3


class WrongAdjoint(EqualRowsMatrix):
    def _multiply_transposed(self, y):
        return to_numpy(self._dense()).T @ np.roll(y, 1, axis=0) * 1.01


class WrongDtype(EqualRowsMatrix):
    def _dense(self):
        dense = super()._dense()
        return dense.double() if self.is_torch else dense.astype(np.float64)


class WritesToInput(EqualRowsMatrix):
    def _multiply(self, x):
        y = to_numpy(self._dense()) @ x
        x[:] = 0
        return y


class WrongGradient(EqualRowsMatrix):
    def _multiply_torch(self, x):
        return self._dense().detach().to(x.dtype) @ x


class WrongAccount(EqualRowsMatrix):
    @property
    def nbytes(self):
        return 1


class NoChecks(EqualRowsMatrix):
    def __init__(self, structure, shape, factors):
        super().__init__(structure, shape, {"row": factors.get("row", np.zeros(5, np.float32))})


class FalseTag(EqualRowsMatrix):
    @property
    def implied_tags(self):
        return frozenset({"orthogonal"})


class BlindPlan(EqualRowsMatrix):
    def plan(self, n=1):
        return Plan("fast", "", "", 0, 0)


class NotPickled(EqualRowsMatrix):
    def _check(self):
        self.cache = lambda: None


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (WrongProduct, "A @ x"),
        (WrongAdjoint, "A.T @ y"),
        (WrongDtype, "to_dense"),
        (WritesToInput, "changed x"),
        (WrongGradient, "grad"),
        (WrongAccount, "nbytes"),
        (NoChecks, "wrong set of factors"),
        (FalseTag, "orthogonal"),
        (BlindPlan, "route"),
        (NotPickled, "pickle"),
    ],
)
def test_a_broken_promise_of_a_member_is_caught(broken, message):
    with pytest.raises((AssertionError, ArgumentError, RuntimeError, AttributeError), match=message):
        check_operator(member(broken))


def project_first_row(self, W, metric):
    return self.matrix(self, W.shape, {"row": W[0].copy()})


def project_in_place(self, W, metric):
    W -= W.mean(axis=0)
    return self.matrix(self, W.shape, {"row": W[0].copy()})


def project_at_random(self, W, metric):
    return self.matrix(self, W.shape, {"row": W.mean(axis=0) + np.random.default_rng().normal() * W[0]})


def project_in_float64(self, W, metric):
    return self.matrix(self, W.shape, {"row": W.mean(axis=0, dtype=np.float64)})


@pytest.mark.parametrize(
    ("project", "message"),
    [
        (project_first_row, "nearer"),
        (project_in_place, "changed W"),
        (project_at_random, "different bits"),
        (project_in_float64, "float64"),
    ],
)
def test_a_broken_promise_of_a_projection_is_caught(monkeypatch, project, message):
    monkeypatch.setattr(EqualRows, "_project", project)
    with pytest.raises(AssertionError, match=message):
        check_structure(EqualRows(), (4, 5))


def test_a_false_account_of_bits_is_caught(monkeypatch):
    monkeypatch.setattr(EqualRows, "bits_per_weight", lambda self, shape: 1.0)
    with pytest.raises(AssertionError, match="bits_per_weight"):
        check_structure(EqualRows(), (6, 5))


class Stateful(torch.nn.Linear):
    def forward(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        return super().forward(x) * self.calls


class Detached(torch.nn.Linear):
    def forward(self, x):
        return x @ self.weight.detach().T + self.bias


class Widening(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x).float()


@pytest.mark.parametrize(
    ("broken", "message"), [(Stateful, "second call"), (Detached, "weight"), (Widening, "bfloat16")]
)
def test_a_broken_promise_of_a_module_is_caught(broken, message):
    check_module(torch.nn.Linear(3, 2), torch.randn(4, 3))
    with pytest.raises(AssertionError, match=message):
        check_module(broken(3, 2), torch.randn(4, 3))
