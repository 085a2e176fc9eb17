"""The online orthogonal dictionary: its steps by definition, recovery, drift, resumption; batch methods beside it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.learn import (
    OnlineOrthogonalDictionary,
    dictionary_error,
    energy_share,
    frank_wolfe_gap,
    orthogonal_dictionary_alternating,
    orthogonal_dictionary_gpm,
    orthogonal_dictionary_msp,
    recovered_atoms,
)
from gossamer.learn.coding.orthogonal_codes import largest, random_orthogonal, stretched
from gossamer.learn.coding.orthogonal_state import FrankWolfe


@parametrize_with_checks(
    [
        OnlineOrthogonalDictionary(random_state=0),
        OnlineOrthogonalDictionary(whiten=True, n_nonzero=1, clip=3.0),
    ],
    expected_failed_checks=lambda _: {"check_complex_data": "complex samples are supported"},
)
def test_the_contract_of_scikit_learn_is_kept(estimator, check):
    check(estimator)


def basis(n, seed=0, dtype=np.float64):
    return random_orthogonal(n, dtype, np.random.default_rng(seed))


def samples(B, count, theta=0.3, seed=1):
    rng = np.random.default_rng(seed)
    codes = rng.standard_normal((count, len(B)))
    if B.dtype.kind == "c":
        codes = (codes + 1j * rng.standard_normal(codes.shape)) / np.sqrt(2)
    return (codes * (rng.random(codes.shape) < theta)) @ B


def machine(D, p=3.0, **options):
    return FrankWolfe(
        D,
        p,
        options.get("exponents", (0.5, 0.75)),
        options.get("floors", (0.0, 0.0)),
        "svd",
        options.get("every", 1),
    )


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    p=st.sampled_from([3.0, 4.0, 2.5]),
    dtype=st.sampled_from([np.float64, np.complex128]),
)
def test_the_gradient_and_the_oracle_are_their_definitions(seed, p, dtype):
    rng = np.random.default_rng(seed)
    D, Y = random_orthogonal(5, dtype, rng), samples(basis(5, seed, dtype), 7, 0.9, seed)
    state = machine(D, p, every=2)  # which keeps the vertex
    assert state.step(Y)
    G = state.G

    def f(D):
        return -np.mean((np.abs(Y @ D.conj()) ** p).sum(axis=1))

    E = rng.standard_normal((5, 5)) + (1j * rng.standard_normal((5, 5)) if dtype == np.complex128 else 0)
    slope = (f(D + 1e-6 * E) - f(D - 1e-6 * E)) / 2e-6
    assert slope == pytest.approx(np.real(np.vdot(E, G)), rel=1e-5, abs=1e-7)
    least = np.real(np.vdot(state.S, G))
    assert least == pytest.approx(-np.linalg.svd(G, compute_uv=False).sum())
    for _ in range(100):
        Q = rng.standard_normal((5, 5))
        assert least <= np.real(np.vdot(Q / np.linalg.norm(Q, 2), G)) + 1e-9
    np.testing.assert_allclose(state.D, state.S)  # the first step goes all the way
    assert state.gap == pytest.approx(frank_wolfe_gap(D.T, Y, p=p))


def test_the_iterate_stays_in_the_ball_and_the_gap_above_zero():
    B = basis(8)
    model = OnlineOrthogonalDictionary(random_state=0, batch_size=4)
    for i in range(60):
        model.partial_fit(samples(B, 4, seed=i))
        assert np.linalg.norm(model.raw_, 2) <= 1 + 1e-12
        assert model.gap_ >= -1e-12
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(8), atol=1e-12)


def test_the_gap_vanishes_at_the_truth():
    B = basis(6)
    Y = samples(B, 400_000)
    scale = np.linalg.svd(stretched(Y @ B.T, 3.0).T @ Y * 3 / len(Y), compute_uv=False).sum()
    assert frank_wolfe_gap(B, Y) < 2e-2 * scale
    assert frank_wolfe_gap(B, Y) < 0.01 * frank_wolfe_gap(basis(6, 9), Y)


@pytest.mark.parametrize("p", [3, 4])
def test_a_full_step_on_all_data_is_one_power_step(p):
    B, C = basis(7), basis(7, 5)
    Y = samples(B, 300)
    full = OnlineOrthogonalDictionary(p=p, rho_min=1, gamma_min=1, batch_size=300, init=C).fit(Y)
    power = orthogonal_dictionary_msp(Y, p=p, init=C, max_iter=1)
    np.testing.assert_allclose(full.components_, power.components, atol=1e-12)
    for _ in range(3):
        full.partial_fit(Y)
    np.testing.assert_allclose(
        full.components_, orthogonal_dictionary_gpm(Y, p=p, init=C, max_iter=4).components, atol=1e-10
    )


def test_msp_is_its_three_lines_and_agrees_with_the_stream():
    B = basis(8)
    Y = samples(B, 20_000)
    A = basis(8, 3)
    textbook = A.copy()
    for _ in range(30):
        U, _, Vh = np.linalg.svd((textbook @ Y.T) ** 3 @ Y)
        textbook = U @ Vh
    result = orthogonal_dictionary_msp(Y, init=A, max_iter=30, tol=0)
    np.testing.assert_allclose(result.components, textbook, atol=1e-8)
    stood = orthogonal_dictionary_msp(Y, init=A)
    assert stood.success
    online = OnlineOrthogonalDictionary(batch_size=20, random_state=0).fit(Y)
    assert dictionary_error(online.components_, stood.components) < 5e-3
    alternating = orthogonal_dictionary_alternating(samples(B, 4000, 0.15), 2, init=stood.components)
    assert dictionary_error(alternating.components, B) < 0.02
    assert orthogonal_dictionary_msp(Y, random_state=1).objective > 0


def test_the_basis_is_recovered_and_averaging_is_why():
    hits, errors = 0, []
    for seed in range(6):
        B = basis(16, seed)
        model = OnlineOrthogonalDictionary(random_state=seed).fit(samples(B, 48_000, seed=seed + 50))
        errors.append(dictionary_error(model.components_, B))
        hits += recovered_atoms(model.components_, B) == 1
    assert hits >= 5
    assert np.median(errors) <= 2e-3
    B = basis(32, 0)
    Y = samples(B, 48_000, seed=50)
    averaged, plain = (OnlineOrthogonalDictionary(random_state=0, rho_min=rho).fit(Y) for rho in (0.0, 1.0))
    assert dictionary_error(plain.components_, B) > 20 * dictionary_error(averaged.components_, B)


def test_the_gap_falls_at_the_rate_of_the_theorem():
    marks, gaps = [100, 1000, 5000], []
    for seed in range(6):
        B = basis(8, seed)
        fresh = samples(B, 40_000, seed=seed + 100)
        state, best, own, rng = machine(basis(8, seed + 7)), np.inf, [], np.random.default_rng(seed)
        for t in range(1, marks[-1] + 1):
            codes = rng.standard_normal((4, 8)) * (rng.random((4, 8)) < 0.3)
            state.step(codes @ B)
            if t % 50 == 0:
                best = min(best, frank_wolfe_gap(state.D.T, fresh[:8000]))
            if t in marks:
                own.append(best)
        gaps.append(own)
    slope = np.polyfit(np.log(marks), np.log(np.mean(gaps, axis=0)), 1)[0]
    assert slope <= -0.25


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_rotations_scales_and_orders_within_a_batch(seed):
    rng = np.random.default_rng(seed)
    B, Q, C = basis(6, seed), random_orthogonal(6, np.float64, rng), basis(6, seed + 1)
    Y = samples(B, 160, 0.5, seed)
    options = {"batch_size": 16}
    plain = OnlineOrthogonalDictionary(init=C, **options).fit(Y)
    turned = OnlineOrthogonalDictionary(init=C @ Q, **options).fit(Y @ Q)
    np.testing.assert_allclose(turned.raw_, plain.raw_ @ Q, atol=1e-8)
    scaled = OnlineOrthogonalDictionary(init=C, **options).fit(1e3 * Y)
    np.testing.assert_allclose(scaled.raw_, plain.raw_, atol=1e-8)
    order = np.concatenate([rng.permutation(16) + start for start in range(0, 160, 16)])
    np.testing.assert_allclose(
        OnlineOrthogonalDictionary(init=C, **options).fit(Y[order]).raw_, plain.raw_, atol=1e-10
    )


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
@pytest.mark.parametrize("options", [{}, {"whiten": True, "clip": 2.0}, {"lmo_every": 3, "drift": "restart"}])
def test_a_saved_state_goes_on_bit_by_bit(tmp_path, ending, options):
    Y = samples(basis(10), 640)
    whole = OnlineOrthogonalDictionary(random_state=0, **options).fit(Y)
    parts = OnlineOrthogonalDictionary(random_state=0, **options).partial_fit(Y[:320])
    parts.save(tmp_path / f"state{ending}")
    back = OnlineOrthogonalDictionary.load(tmp_path / f"state{ending}")
    np.testing.assert_array_equal(back.components_, parts.components_)
    back.partial_fit(Y[320:])
    np.testing.assert_array_equal(back.raw_, whole.raw_)
    np.testing.assert_array_equal(back.gap_history_, whole.gap_history_)
    assert back.n_steps_ == whole.n_steps_ == 40
    assert back.get_params()["lmo_every"] == whole.lmo_every
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(FormatError):
        OnlineOrthogonalDictionary.load(tmp_path / "bad.npz")


@pytest.mark.parametrize("dtype", [np.float32, np.complex128, np.complex64])
def test_other_numbers(dtype):
    B = basis(8, dtype=np.complex128 if np.dtype(dtype).kind == "c" else np.float64)
    Y = samples(B, 16_000).astype(dtype)
    model = OnlineOrthogonalDictionary(random_state=0).fit(Y)
    assert model.components_.dtype == dtype
    assert dictionary_error(model.components_, B.astype(dtype)) < 0.01
    codes = model.transform(Y[:50])
    assert codes.dtype == dtype
    np.testing.assert_allclose(model.inverse_transform(codes), Y[:50], atol=1e-4)
    assert energy_share(codes, 4) > 0.9
    assert orthogonal_dictionary_msp(Y[:4000], random_state=0).components.dtype == dtype


def test_codes_are_kept_by_number_or_size():
    B = basis(9)
    Y = samples(B, 4000)
    model = OnlineOrthogonalDictionary(random_state=0).fit(Y)
    full = model.transform(Y)
    few = model.set_params(n_nonzero=2).transform(Y)
    assert ((few != 0).sum(axis=1) <= 2).all()
    np.testing.assert_array_equal(few, largest(full, 2))
    large = model.set_params(n_nonzero=None, threshold=0.5).transform(Y)
    np.testing.assert_array_equal(large, np.where(np.abs(full) > 0.5, full, 0))
    assert model.score(Y) > OnlineOrthogonalDictionary(init="identity").fit(Y[:16]).score(Y)
    assert model.get_feature_names_out()[0] == "onlineorthogonaldictionary0"


def test_a_dictionary_that_is_not_orthogonal_is_whitened():
    rng = np.random.default_rng(0)
    mixing = basis(8) @ (np.geomspace(1, 20, 8)[:, None] * basis(8, 4))
    codes = rng.standard_normal((60_000, 8)) * (rng.random((60_000, 8)) < 0.2)
    model = OnlineOrthogonalDictionary(whiten=True, random_state=0).fit(codes @ mixing)
    assert recovered_atoms(model.components_, mixing, 0.98) == 1
    Y = codes[:100] @ mixing
    np.testing.assert_allclose(model.inverse_transform(model.transform(Y)), Y, atol=1e-6)
    plain = OnlineOrthogonalDictionary(random_state=0).fit(codes @ mixing)
    assert recovered_atoms(plain.components_, mixing, 0.98) < 1


def test_a_stream_that_changes_is_followed_when_asked():
    one, two = basis(8, 0), basis(8, 1)
    before, after = samples(one, 16_000), samples(two, 16_000, seed=2)
    errors = {}
    for name, options in (
        ("plain", {}),
        ("floors", {"gamma_min": 0.01, "rho_min": 0.05}),
        ("restart", {"drift": "restart"}),
    ):
        model = OnlineOrthogonalDictionary(batch_size=8, random_state=0, **options).partial_fit(before)
        assert dictionary_error(model.components_, one) < 0.02
        errors[name] = dictionary_error(model.partial_fit(after).components_, two)
        if name == "restart":
            assert model.n_restarts_ >= 1
    assert errors["floors"] < 0.05
    assert errors["restart"] < 0.05
    assert errors["plain"] > errors["floors"]


def test_processes_add_up_to_the_union_of_their_batches():
    Y = samples(basis(6), 320)
    whole = OnlineOrthogonalDictionary(batch_size=32, random_state=0).fit(Y)
    state = machine(random_orthogonal(6, np.float64, np.random.default_rng(0)))
    for start in range(0, 320, 32):
        mine, other = Y[start : start + 12], Y[start + 12 : start + 32]
        W = stretched(other @ state.D.conj(), 3.0)
        theirs = np.concatenate([(other.T @ W).ravel(), [20.0]])
        state.step(mine, lambda packed, theirs=theirs: packed + theirs)
    np.testing.assert_allclose(state.D.T, whole.raw_, atol=1e-10)


def test_streams_that_say_little():
    rng = np.random.default_rng(0)
    dense = OnlineOrthogonalDictionary(random_state=0).fit(rng.standard_normal((4000, 6)))
    np.testing.assert_allclose(dense.components_ @ dense.components_.T, np.eye(6), atol=1e-8)
    assert dense.gap_ >= 0
    Y = samples(basis(6), 2000)
    Y[:, 2] = 0  # a dimension that is always zero
    codes = OnlineOrthogonalDictionary(random_state=0, whiten=True).fit(Y).transform(Y)
    moments = np.linalg.eigvalsh(
        codes.T @ codes / len(codes)
    )  # white in five directions, nothing in the sixth
    np.testing.assert_allclose(moments, [0, 1, 1, 1, 1, 1], atol=0.05)
    silent = OnlineOrthogonalDictionary(random_state=0).fit(np.zeros((32, 4)))
    assert silent.n_skipped_ == 2
    assert silent.n_steps_ == 0
    single = OnlineOrthogonalDictionary(random_state=0).fit(np.array([[2.0], [3.0]]))
    assert single.components_.tolist() == [[1.0]]
    one = OnlineOrthogonalDictionary(random_state=0).partial_fit(Y[:1])
    assert one.n_steps_ == 1
    assert len(one.restart().gap_history_) == 1


def test_an_outlier_is_cut():
    B = basis(8)
    Y = samples(B, 16_000)
    Y[8000] = 1e6
    plain = OnlineOrthogonalDictionary(random_state=0).fit(Y)
    cut = OnlineOrthogonalDictionary(random_state=0, clip=5.0).fit(Y)
    assert dictionary_error(cut.components_, B) < 0.01 < dictionary_error(plain.components_, B)


def test_the_history_is_short():
    model = OnlineOrthogonalDictionary(batch_size=1, random_state=0).fit(samples(basis(4), 5000, 0.9))
    steps = model.gap_history_[:, 0]
    assert 50 < len(steps) < 120
    assert (np.diff(steps) > 0).all()


def test_metrics_know_order_and_sign():
    B = basis(7)
    moved = -B[::-1]
    assert dictionary_error(moved, B) == pytest.approx(0, abs=1e-12)
    assert recovered_atoms(moved, B) == 1
    assert recovered_atoms(2 * moved[:3], B) == pytest.approx(3 / 7)
    assert dictionary_error(basis(7, 1), B) > 0.3
    assert energy_share(np.array([[3.0, 4.0]]), 1) == pytest.approx(16 / 25)


def test_bad_input_is_named():
    Y = samples(basis(5), 60)
    for options, word in (
        ({"p": 2}, "p=2"),
        ({"batch_size": 0}, "batch_size"),
        ({"step_exponents": (0.5, 1.5)}, "step_exponents"),
        ({"step_exponents": (0.5,)}, "step_exponents"),
        ({"rho_min": 2.0}, "rho_min"),
        ({"init": "eye"}, "init"),
        ({"init": np.eye(4)}, "init has shape"),
        ({"init": 2 * np.eye(5)}, "spectral norm"),
        ({"n_nonzero": 6}, "n_nonzero"),
        ({"polar": "qr"}, "polar"),
        ({"lmo_every": 0}, "lmo_every"),
        ({"drift": "stop"}, "drift"),
        ({"clip": 0.0}, "clip"),
        ({"max_epochs": 0}, "max_epochs"),
    ):
        with pytest.raises(ArgumentError, match=word):
            OnlineOrthogonalDictionary(**options).fit(Y)
    model = OnlineOrthogonalDictionary(random_state=0).fit(Y)
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(Y[:, :4])
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(np.full((2, 5), np.nan))
    with pytest.raises(ArgumentError, match="complex"):
        model.partial_fit(Y.astype(complex))
    with pytest.raises(ShapeError, match="C has shape"):
        model.inverse_transform(Y[:, :3])
    for call in (
        lambda: orthogonal_dictionary_msp(Y, p=2),
        lambda: orthogonal_dictionary_msp(Y, init=np.eye(4)),
        lambda: orthogonal_dictionary_msp(np.full((3, 3), np.nan)),
        lambda: orthogonal_dictionary_alternating(Y, 6),
        lambda: frank_wolfe_gap(np.eye(4), Y),
        lambda: recovered_atoms(np.eye(5), np.eye(5), 2.0),
    ):
        with pytest.raises((ArgumentError, ShapeError)):
            call()
