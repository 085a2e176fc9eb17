"""``explain`` names the family that a matrix was drawn from, and measures what it says."""

from itertools import pairwise

import matplotlib
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp

from gossamer._core.errors import ArgumentError
from gossamer.linalg import (
    BlockDiagonal,
    Explanation,
    GroupQuant,
    LowRank,
    Monarch,
    explain,
    format_structure,
    parse_structure,
    weighted_error,
)
from gossamer.linalg.candidates import FAMILIES, candidates

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def noise():
    W = np.random.default_rng(1).standard_normal((48, 64)).astype(np.float32)
    return W, explain(W)


MEMBERS = {
    "Kronecker": np.kron(rng.standard_normal((4, 8)), rng.standard_normal((8, 4))),
    "low rank": rng.standard_normal((32, 3)) @ rng.standard_normal((3, 40)),
    "unstructured": sp.random_array((40, 40), density=0.03, rng=rng).toarray(),
    "block-diagonal": BlockDiagonal(4).project(rng.standard_normal((32, 32))).to_dense(),
    "Toeplitz": scipy.linalg.toeplitz(rng.standard_normal(24), rng.standard_normal(32)),
    "circulant": scipy.linalg.circulant(rng.standard_normal(32)),
    "Monarch": Monarch(8, rank=1).project(rng.standard_normal((64, 64))).to_dense(),
    "diagonal": np.diag(rng.standard_normal(32)),
    "permutation": np.eye(32)[rng.permutation(32)],
}


@pytest.mark.parametrize("family", MEMBERS)
def test_a_member_is_named_as_exact(family):
    found = explain(MEMBERS[family])
    assert found.best().exact
    assert found.best().family == family
    assert found.message.startswith("exactly ")
    assert found.best().bits_per_weight <= 32  # float64 entries take 64


@pytest.mark.parametrize("n", [16, 64, 144])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_the_fourier_transform_is_an_exact_monarch_matrix(n, dtype):
    found = explain(np.fft.fft(np.eye(n)).astype(dtype), bits=[64, 32, 16, 8])
    assert found.best().exact
    assert found.best().family == "Monarch, columns dealt"
    assert "columns dealt" in found.message
    assert not any(fit.exact for fit in found.fits if fit.family == "Monarch")


def test_the_rank_is_the_rank_of_the_matrix():
    assert parse_structure(explain(MEMBERS["low rank"]).best().structure) == LowRank(3)


def test_errors_and_sizes_are_those_of_the_members(noise):
    W, found = noise
    for fit in found.fits:
        A = parse_structure(fit.structure).project(W)
        assert A.nbytes == fit.nbytes
        assert fit.error == pytest.approx(np.linalg.norm(W - A.to_dense()) / np.linalg.norm(W), rel=1e-4)


def test_every_member_is_within_a_budget(noise):
    W, found = noise
    assert {fit.family for fit in found.fits} >= {"quantised", "low rank", "unstructured", "Kronecker"}
    for budget in (8.0, 2.0):  # the Kronecker ones too
        for _, structure, _ in candidates(W, [budget]):
            assert structure.bits_per_weight(W.shape) <= budget


def test_the_front_goes_down(noise):
    _, found = noise
    front = found.front()
    assert all(a.nbytes <= b.nbytes and a.error > b.error for a, b in pairwise(front))
    for fit in found.fits:
        assert any(f.nbytes <= fit.nbytes and f.error <= fit.error for f in front)


def test_best_within_a_budget_is_the_least_error(noise):
    _, found = noise
    fit = found.best(4)
    assert fit.error == min(f.error for f in found.fits if f.bits_per_weight <= 4)
    with pytest.raises(ArgumentError, match="smallest member tried"):
        found.best(1e-9)


def test_a_metric_weighs_the_error():
    W = rng.standard_normal((16, 32)).astype(np.float32)
    H = np.diag(rng.gamma(1, size=32)).astype(np.float32)
    found = explain(W, H, families=["quantised"], bits=[4])
    A = GroupQuant(3, 32).project(W, metric=H)
    wanted = weighted_error(W, A.to_dense(), H) / weighted_error(W, 0 * W, H)
    assert found.metric == "full"
    assert found.fits[0].error == pytest.approx(np.sqrt(wanted), rel=1e-4)


@pytest.mark.parametrize("kind", ["tensor", "sparse", "structured"])
def test_other_kinds_of_matrices(kind):
    W = MEMBERS["low rank"]
    if kind == "tensor":
        W = pytest.importorskip("torch").from_numpy(W)
    elif kind == "sparse":
        W = sp.csr_array(W)
    else:
        W = LowRank(3).project(W)
    assert explain(W, families=["low rank"]).best().exact


def test_table_picture_and_progress(noise):
    _, found = noise
    lines = found.to_markdown().splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert any(line.startswith("| low rank |") for line in lines)
    matplotlib.use("Agg")
    figure = found.plot()
    assert len(figure.axes[0].lines) == len({fit.family for fit in found.fits})
    steps = []
    explain(MEMBERS["diagonal"], families=["diagonal"], progress=lambda *step: steps.append(step))
    assert steps[-1][0] == steps[-1][1]
    assert isinstance(found.to_dict()["fits"], list)
    assert isinstance(found, Explanation)


@pytest.mark.parametrize("name", FAMILIES)
def test_expressions_are_read_back(name):
    W = rng.standard_normal((32, 32))
    for family, structure, _ in candidates(W, [16, 4]):
        if family == name:
            assert parse_structure(format_structure(structure)) == structure


def test_bad_input():
    W = np.eye(4)
    with pytest.raises(ArgumentError, match="low rank"):
        explain(W, families=["low-rank"])
    with pytest.raises(ArgumentError, match="bits"):
        explain(W, bits=[0])
    with pytest.raises(ArgumentError, match="W is zero"):
        explain(np.zeros((4, 4)))
    with pytest.raises(ArgumentError, match="W"):
        explain(np.full((4, 4), np.nan))
