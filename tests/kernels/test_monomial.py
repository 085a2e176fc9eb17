"""Monomials and products with them: by definition, alike on every instruction set, with any threads."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import dispatch
from gossamer._kernels.monomial import Program
from gossamer.linalg import AnisotropicMonomials

SLACK = {"float32": 2e-5, "float64": 1e-13}


def by_definition(x, exponents):
    return np.prod(x[:, :, None, :] ** exponents.astype(np.float64), axis=-1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.sampled_from([0, 1, 3]),
    n=st.sampled_from([0, 1, 5, 64, 129, 700]),
    d=st.sampled_from([1, 2, 5]),
    degree=st.integers(0, 4),
    p=st.sampled_from([1, 3, 8, 9, 17]),
)
def test_products_are_their_definitions(dtype, seed, batch, n, d, degree, p, isa):
    rng = np.random.default_rng(seed)
    monomials = AnisotropicMonomials(np.ones(d), degree)
    program, r = monomials.program, len(monomials)
    assert r == math.comb(d + degree, degree)
    x, v = (rng.uniform(-1, 1, (batch, n, k)).astype(dtype) for k in (d, p))
    w = rng.uniform(-1, 1, (batch, p, r)).astype(dtype)
    F = by_definition(x.astype(np.float64), monomials.exponents)
    slack = SLACK[dtype] * max(n, r)
    np.testing.assert_allclose(program.features(x), F, atol=SLACK[dtype])
    s = program.accumulate(x, v)
    assert s.dtype == dtype
    np.testing.assert_allclose(s, F.swapaxes(1, 2) @ v, atol=slack)
    np.testing.assert_allclose(program.apply(x, w), F @ w.swapaxes(1, 2), atol=slack)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), n=st.sampled_from([1, 33, 200]), d=st.sampled_from([1, 3]))
def test_the_gradient_is_that_of_the_product(seed, n, d, isa):
    rng = np.random.default_rng(seed)
    monomials = AnisotropicMonomials(np.ones(d), 4)
    x, v = rng.uniform(-1, 1, (2, n, d)), rng.standard_normal((2, n, 3))
    s = rng.standard_normal((2, len(monomials), 3))
    slope = np.zeros_like(x)
    for l in range(d):
        lowered = monomials.exponents.astype(np.float64)
        factor = lowered[:, l].copy()
        lowered[:, l] = np.maximum(lowered[:, l] - 1, 0)
        slope[:, :, l] = ((by_definition(x, lowered) * factor) * (v @ s.swapaxes(1, 2))).sum(-1)
    np.testing.assert_allclose(monomials.program.gradient(x, v, s), slope, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 5])
def test_any_number_of_threads_gives_the_same_bits(dtype, batch, isa):
    rng = np.random.default_rng(1)
    monomials = AnisotropicMonomials(np.ones(4), 4)
    program = monomials.program
    x, v = (rng.standard_normal((batch, 4001, k)).astype(dtype) for k in (4, 5))
    w = rng.standard_normal((batch, 5, len(program))).astype(dtype)
    calls = (
        lambda threads: program.accumulate(x, v, threads=threads),
        lambda threads: program.apply(x, w, threads=threads),
        lambda threads: program.gradient(x, v, w.swapaxes(1, 2), threads=threads),
    )
    for call in calls:
        alone = call(1)
        for threads in (2, 3, 7):
            np.testing.assert_array_equal(call(threads), alone)


def test_instruction_sets_agree(isa):
    rng = np.random.default_rng(2)
    program = AnisotropicMonomials(np.ones(5), 3).program
    x, v = rng.standard_normal((2, 301, 5)), rng.standard_normal((2, 301, 7))
    results = {}
    for name in (isa, "portable"):
        dispatch.force_isa(name)
        s = program.accumulate(x, v)
        results[name] = [s, program.apply(x, s.swapaxes(1, 2)), program.gradient(x, v, s)]
    dispatch.force_isa(isa)
    for ours, portable in zip(results[isa], results["portable"]):
        np.testing.assert_allclose(ours, portable, rtol=1e-10, atol=1e-12 * np.abs(portable).max())


def test_bad_input_is_refused(isa):
    program = AnisotropicMonomials(np.ones(2), 2).program
    x = np.zeros((1, 4, 2))
    with pytest.raises(ShapeError, match="x has shape"):
        program.features(x[0])
    with pytest.raises(ShapeError, match="x has shape"):
        program.features(np.zeros((1, 4, 3)))
    with pytest.raises(ArgumentError, match="x is float16"):
        program.features(x.astype(np.float16))
    for v in (np.zeros((1, 3, 2)), np.zeros((2, 4, 2)), np.zeros((4, 2))):
        with pytest.raises(ShapeError, match="v has shape"):
            program.accumulate(x, v)
    with pytest.raises(ShapeError, match="w has shape"):
        program.apply(x, np.zeros((1, 3, 5)))
    with pytest.raises(ShapeError, match="s has shape"):
        program.gradient(x, np.zeros((1, 4, 2)), np.zeros((1, 6, 3)))


def test_programs_that_read_ahead_are_refused(isa):
    for parent, variable in (([0, 1], [0, 0]), ([0, -1], [0, 0])):
        with pytest.raises(ArgumentError, match="earlier"):
            Program(np.array(parent), np.array(variable), 2)
    for wrong in (-1, 2):
        with pytest.raises(ArgumentError, match="variable"):
            Program(np.array([0, 0]), np.array([0, wrong]), 2)
    for parent, variable in itertools.permutations(([0], [0, 1]), 2):
        with pytest.raises(ShapeError, match="parent"):
            Program(np.array(parent), np.array(variable), 2)
