"""The passes over gradients: by definition, alike on every instruction set, with any threads; bad input is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.arrays import to_bits, widen
from gossamer._core.errors import ArgumentError, ShapeError
from gossamer._kernels import dispatch, fisher


def gradients(rng, m, d, entry):
    """Rows as the kernels take them, and the same numbers in float64."""
    rows = rng.standard_normal((m, d)).astype(np.float32)
    if entry == "uint16":
        rows = to_bits(rows)
        return rows, widen(rows).astype(np.float64)
    rows = rows.astype(entry)
    return rows, rows.astype(np.float64)


def block_inverse(dense, block, damp):
    """Inverse of the damped Fisher matrix without the entries that join two blocks."""
    m, d = dense.shape
    out = np.zeros((d, d))
    for start in range(0, d, block):
        part = dense[:, start : start + block]
        cut = slice(start, start + part.shape[1])
        out[cut, cut] = np.linalg.inv(damp * np.eye(part.shape[1]) + part.T @ part / m)
    return out


@pytest.mark.parametrize("entry", fisher.DTYPES)
@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    m=st.sampled_from([0, 1, 2, 3, 5, 8, 17, 64]),
    d=st.sampled_from([0, 1, 7, 16, 33, 257, 5000]),
)
def test_passes_are_their_definitions(entry, seed, m, d, isa):
    rng = np.random.default_rng(seed)
    rows, dense = gradients(rng, m, d, entry)
    x, c = rng.standard_normal(d), rng.standard_normal(m)
    t = fisher.project(rows, x)
    y = fisher.combine(rows, c, x, 1.5)
    assert t.dtype == y.dtype == np.float64
    assert (np.abs(t - dense @ x) <= 1e-13 * (np.abs(dense) @ np.abs(x)) + 1e-300).all()
    bound = 1.5 * np.abs(x) + np.abs(dense).T @ np.abs(c)
    assert (np.abs(y - (1.5 * x - dense.T @ c)) <= 1e-13 * bound + 1e-300).all()


@pytest.mark.parametrize("entry", fisher.DTYPES[:2])
@pytest.mark.parametrize(("m", "d"), [(0, 3), (1, 1), (3, 0), (5, 7), (9, 5000), (40, 1200), (4, 200_001)])
def test_a_gram_matrix_is_summed_in_float64_alike_in_blocks_and_for_any_threads(entry, m, d, isa):
    rows, dense = gradients(np.random.default_rng(m), m, d, entry)
    K = fisher.gram(rows, 1)
    norms = np.linalg.norm(dense, axis=1)
    assert (np.abs(K - dense @ dense.T) <= 1e-13 * norms[:, None] * norms + 1e-300).all()
    np.testing.assert_array_equal(K, K.T)
    for threads in (2, 7):
        np.testing.assert_array_equal(fisher.gram(rows, threads), K)
    parts = np.zeros((m, m))
    for start in range(0, d, fisher.GRAM_COLUMNS):
        parts += fisher.gram(np.ascontiguousarray(rows[:, start : start + fisher.GRAM_COLUMNS]))
    np.testing.assert_array_equal(parts, K)


@pytest.mark.parametrize("entry", fisher.DTYPES)
@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1), m=st.sampled_from([1, 5, 8, 19]), d=st.sampled_from([1, 33, 300, 5000])
)
def test_float32_vectors_are_rounded_at_the_end_and_in_runs_of_bfloat16(entry, seed, m, d, isa):
    rng = np.random.default_rng(seed)
    rows, dense = gradients(rng, m, d, entry)
    x, c = rng.standard_normal(d).astype(np.float32), rng.standard_normal(m)
    wide = x.astype(np.float64)
    t, y = fisher.project(rows, x), fisher.combine(rows, c, x, 1.5)
    assert (t.dtype, y.dtype) == (np.float64, np.float32)
    if entry == "uint16":  # nine roundings of a run, and one more of c
        run = 10 * 2.0**-24
        assert (np.abs(t - dense @ wide) <= run * (np.abs(dense) @ np.abs(wide))).all()
        bound = 1.5 * np.abs(wide) + np.abs(dense).T @ np.abs(c)
        assert (np.abs(y - (1.5 * wide - dense.T @ c)) <= run * bound).all()
    else:
        np.testing.assert_array_equal(t, fisher.project(rows, wide))
        np.testing.assert_array_equal(y, fisher.combine(rows, c, wide, 1.5).astype(np.float32))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), m=st.sampled_from([1, 2, 7, 8, 40]))
def test_a_factor_solves(seed, m, isa):
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((m, m + 5))
    K = base @ base.T + np.eye(m)
    t = rng.standard_normal(m)
    upper = np.ascontiguousarray(np.linalg.cholesky(K).T)
    np.testing.assert_allclose(K @ fisher.solve(upper, t), t, atol=1e-9)


@pytest.mark.parametrize("entry", ["float32", "uint16"])
@pytest.mark.parametrize("d", [1, 15, 16, 1000])
def test_a_row_is_stored_rounded_to_even_or_not_at_all(entry, d, isa):
    rng = np.random.default_rng(d)
    rows = np.zeros((3, d), entry)
    g = (rng.standard_normal(d) * 10.0 ** rng.integers(-30, 30, d)).astype(np.float32)
    held = fisher.store_row(rows, 1, g)
    expected = to_bits(g) if entry == "uint16" else g
    np.testing.assert_array_equal(rows[1], expected)
    np.testing.assert_array_equal(held, widen(expected) if entry == "uint16" else g)
    before = rows.copy()
    for bad in (np.nan, np.inf, -np.inf):
        g[rng.integers(d)] = bad
        assert fisher.store_row(rows, 2, g) is None
        np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("entry", ["float32", "float64"])
@pytest.mark.parametrize("m", [1, 31, 32, 33, 100])
def test_columns_meet_in_float64(entry, m, isa):
    rows, dense = gradients(np.random.default_rng(m), m, 37, entry)
    for a, b in ((0, 0), (3, 36), (36, 3)):
        assert fisher.columns_dot(rows, a, b) == pytest.approx(
            dense[:, a] @ dense[:, b], rel=1e-12, abs=1e-12
        )


@pytest.mark.parametrize(("entry", "slack"), [("float32", 2e-4), ("float64", 1e-10)])
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    m=st.sampled_from([1, 2, 5, 16, 33]),
    d=st.sampled_from([1, 15, 64, 131]),
    block=st.sampled_from([1, 3, 16, 50, 128, 500]),
)
def test_blocks_are_inverted(entry, slack, seed, m, d, block, isa):
    rng = np.random.default_rng(seed)
    rows, dense = gradients(rng, m, d, entry)
    x = rng.standard_normal(d)
    factor = fisher.blocks_factor(rows, block, 0.5)
    assert factor.dtype == rows.dtype
    y = fisher.blocks_multiply(factor, block, 0.5, x)
    assert np.linalg.norm(y - block_inverse(dense, block, 0.5) @ x) <= slack * (1 + np.linalg.norm(x) / 0.5)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), m=st.sampled_from([1, 2, 3, 8, 31, 70]))
def test_an_exchanged_row_gives_the_new_factor(seed, m, isa):
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((m, m + 5))
    upper = np.ascontiguousarray(np.linalg.cholesky(base @ base.T + np.eye(m)).T)
    r = int(rng.integers(m))
    base[r] = rng.standard_normal(m + 5)
    new = base @ base.T + np.eye(m)
    assert fisher.replace(upper, r, new[r])
    np.testing.assert_allclose(np.triu(upper).T @ np.triu(upper), new, atol=1e-10 * np.abs(new).max())


def test_a_matrix_that_is_not_positive_definite_is_reported(isa):
    upper = np.eye(3)
    assert not fisher.replace(upper, 1, np.array([2.0, 1.0, 2.0]))


@pytest.mark.parametrize("entry", fisher.DTYPES)
def test_any_number_of_threads_gives_the_same_bits(entry, isa):
    rng = np.random.default_rng(1)
    rows, _ = gradients(rng, 37, 70_001, entry)
    x, c = rng.standard_normal(70_001), rng.standard_normal(37)
    calls = [
        lambda threads: fisher.project(rows, x, threads=threads),
        lambda threads: fisher.combine(rows, c, x, 2.0, threads=threads),
        lambda threads: fisher.project(rows, x.astype(np.float32), threads=threads),
        lambda threads: fisher.combine(rows, c, x.astype(np.float32), 2.0, threads=threads),
    ]
    if entry != "uint16":
        factor = fisher.blocks_factor(rows, 100, 0.1, threads=1)
        calls += [
            lambda threads: fisher.blocks_factor(rows, 100, 0.1, threads=threads),
            lambda threads: fisher.blocks_multiply(factor, 100, 0.1, x, threads=threads),
        ]
    for call in calls:
        alone = call(1)
        for threads in (2, 3, 7):
            np.testing.assert_array_equal(call(threads), alone)


@pytest.mark.parametrize("entry", fisher.DTYPES)
def test_instruction_sets_agree(entry, isa):
    rng = np.random.default_rng(2)
    rows, _ = gradients(rng, 19, 3001, entry)
    x, c = rng.standard_normal(3001), rng.standard_normal(19)
    results = {}
    for name in (isa, "portable"):
        dispatch.force_isa(name)
        results[name] = [fisher.project(rows, x), fisher.combine(rows, c, x, 1.0)]
        if entry != "uint16":
            results[name].append(fisher.blocks_factor(rows, 64, 0.2))
    dispatch.force_isa(isa)
    for ours, portable in zip(results[isa], results["portable"]):
        slack = 1e-12 if ours.dtype == np.float64 else 1e-5
        np.testing.assert_allclose(ours, portable, rtol=slack, atol=slack * np.abs(portable).max())


def test_bad_input_is_refused(isa):
    rows, x, c = np.ones((3, 5), np.float32), np.ones(5), np.ones(3)
    for bad in (np.ones(5, np.float32), np.ones((2, 3, 4), np.float32)):
        with pytest.raises(ShapeError, match="gradients have shape"):
            fisher.project(bad, x)
    for dtype in (np.float16, np.int64, np.complex64):
        with pytest.raises(ArgumentError, match="gradients are"):
            fisher.combine(rows.astype(dtype), c, x, 1.0)
    with pytest.raises(ShapeError, match="x has shape"):
        fisher.project(rows, np.ones(4))
    with pytest.raises(ShapeError, match="c has shape"):
        fisher.combine(rows, np.ones(5), x, 1.0)
    with pytest.raises(ShapeError, match="x has shape"):
        fisher.blocks_multiply(rows, 2, 1.0, np.ones((5, 1)))
    with pytest.raises(ArgumentError, match="uint16"):
        fisher.blocks_factor(rows.astype(np.uint16), 2, 1.0)
    with pytest.raises(ArgumentError, match="block"):
        fisher.blocks_factor(rows, 0, 1.0)
    with pytest.raises(ArgumentError, match="singular"):
        fisher.blocks_factor(np.ones((3, 5)), 5, 0.0)


def test_bad_factors_are_refused(isa):
    row = np.ones(3)
    with pytest.raises(ArgumentError, match="upper is"):
        fisher.solve(np.eye(3, dtype=np.float32), row)
    with pytest.raises(ShapeError, match="t has shape"):
        fisher.solve(np.eye(3), np.ones(2))
    with pytest.raises(ArgumentError, match="gradients are"):
        fisher.store_row(np.zeros((2, 3)), 0, row)
    with pytest.raises(ShapeError, match="g has shape"):
        fisher.store_row(np.zeros((2, 3), np.float32), 0, np.ones(4))
    for bad in (np.eye(3, dtype=np.float32), np.ones((3, 4)), np.asfortranarray(np.triu(np.ones((3, 3))))):
        with pytest.raises(ArgumentError, match="upper is"):
            fisher.replace(bad, 0, row)
    for r in (-1, 3):
        with pytest.raises(ArgumentError, match="r="):
            fisher.replace(np.eye(3), r, row)
    with pytest.raises(ShapeError, match="row has shape"):
        fisher.replace(np.eye(3), 0, np.ones(2))
