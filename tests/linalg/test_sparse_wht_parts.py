"""The parts of the sparse transform, each against its definition."""

import itertools

import numpy as np
import pytest
from tests.linalg.sparse_spectra import characters

from gossamer._core.errors import ShapeError
from gossamer._kernels import sparse_walsh
from gossamer.linalg import fwht
from gossamer.linalg.transforms.sparse_wht.bits import pack_bits, parity, rank, unpack_bits
from gossamer.linalg.transforms.sparse_wht.designs import DESIGNS, make_design
from gossamer.linalg.transforms.sparse_wht.noise import Levels, estimate_variance, uneven
from gossamer.linalg.transforms.sparse_wht.offsets import make_offsets, sign_rows
from gossamer.linalg.transforms.sparse_wht.peeling import Detection, _rules, fold
from gossamer.linalg.transforms.sparse_wht.refine import _dense, _sparse
from gossamer.linalg.transforms.sparse_wht.samples import BudgetExceeded, Samples


def sketch(n, b, method, P, seed=0, design="random", groups=3, max_degree=None):
    rng = np.random.default_rng(seed)
    return make_design(n, b, groups, design, rng), make_offsets(n, groups, P, method, max_degree, rng), rng


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("b", [0, 1, 4])
def test_bins_hold_the_sum_over_the_coefficients_hashed_to_them(design, b):
    n, P = 10, 13
    plan, offsets, rng = sketch(n, b, "coded", P, design=design)
    x = rng.standard_normal(1 << n)
    X, k = fwht(x, norm="forward"), np.arange(1 << n, dtype=np.uint64)
    bins = fold(x[plan.points(offsets.shifts).astype(np.int64)])
    for c in range(3):
        j = np.zeros(1 << n, int)
        for i, column in enumerate(plan.columns[c]):
            j += parity(column & k).astype(int) << i
        assert np.array_equal(plan.bins(k)[c], j)
        terms = X[:, None] * characters(k, offsets.shifts[c])
        expected = np.zeros((1 << b, P))
        np.add.at(expected, j, terms)
        np.testing.assert_allclose(bins[c], expected, atol=1e-12)


@pytest.mark.parametrize("design", DESIGNS)
def test_designs_have_full_rank_and_are_nested(design):
    for n, b in ((8, 8), (20, 6), (62, 12), (5, 1)):
        plan, offsets, _ = sketch(n, b, "identity", n + 1, design=design)
        assert all(rank(columns) == b for columns in plan.columns)
        half = plan.first(b // 2)
        assert np.isin(half.points(offsets.shifts), plan.points(offsets.shifts)).all()


def test_partitions_share_no_coordinate_while_there_are_enough():
    plan, _, _ = sketch(20, 6, "identity", 21, design="partition")
    assert len(np.unique(plan.columns)) == 18


def test_bits_of_words():
    words = np.array([0, 1, 0b101, (1 << 62) - 1], np.uint64)
    rows = unpack_bits(words, 62)
    assert rows[2, :4].tolist() == [1, 0, 1, 0]
    assert np.array_equal(pack_bits(rows), words)
    assert np.array_equal(parity(words), rows.sum(axis=1) % 2)
    assert rank(np.array([3, 5, 6], np.uint64)) == 2


def bins_of(plan, offsets, terms, sigma=0.0, rng=None):
    """Bins of group 0 that all hold the same terms' signature, one bin a set of terms."""
    k, X = (np.array(part) for part in zip(*terms, strict=True))
    return X @ characters(k.astype(np.uint64), offsets.shifts[0]) + (
        sigma * rng.standard_normal(offsets.shifts.shape[1]) if sigma else 0
    )


def detect(plan, offsets, method, cases, nu2, n):
    """Run peeling on one group in which bin j holds ``cases[j]``, and return what it reports."""
    levels = Levels.of(nu2, offsets.shifts.shape[1], len(cases), 1e-20)
    how = Detection(method, 1, True, n, True, True)
    bins = np.ascontiguousarray(np.array(cases)[None])
    support, _, _ = sparse_walsh.peel(n, plan.columns, offsets.shifts, bins, _rules(how, offsets, levels), 1)
    return support


@pytest.mark.parametrize(("method", "P"), [("coded", 40), ("nso", 17 * 10), ("mle", 40)])
def test_detectors_agree_with_trying_every_index(method, P):
    n, b, nu2 = 16, 6, 0.3
    plan, offsets, rng = sketch(n, b, method, P, groups=1)
    every = np.arange(1 << n, dtype=np.uint64)
    place = plan.bins(every)[0]
    truth, cases, best = [], [], []
    for j in range(1 << b):
        k = int(rng.choice(every[place == j]))
        u = bins_of(plan, offsets, [(k, rng.choice([-1.0, 1.0]))], np.sqrt(nu2), rng)
        coset = every[place == j]
        best.append(int(coset[np.abs(characters(coset, offsets.shifts[0]) @ u).argmax()]))
        truth.append(k)
        cases.append(u)
    found = detect(plan, offsets, method, cases, nu2, n)
    assert len(set(found.tolist()) & set(truth)) >= 62
    assert set(found.tolist()) <= set(best) | set(truth)


@pytest.mark.parametrize(
    ("method", "P", "sigma", "allowed"),
    [("identity", 17, 0, 1e-4), ("coded", 40, 0, 1e-4), ("coded", 48, 5, 1e-3)],
)
def test_two_terms_of_equal_size_do_not_pass_for_one(method, P, sigma, allowed):
    n, b, rounds = 16, 12, 25 if sigma == 0 else 3
    plan, offsets, rng = sketch(n, b, method, P, groups=1)
    nu2 = 10 ** (-sigma / 10) if sigma else 0.0
    every = np.arange(1 << n, dtype=np.uint64)
    cosets = every[np.argsort(plan.bins(every)[0], kind="stable")].reshape(1 << b, -1)
    signature = 1.0 - 2.0 * parity(every[:, None] & offsets.shifts[0])
    false = 0
    for _ in range(rounds):
        pair = rng.permuted(cosets, axis=1)[:, :2].astype(int)
        cases = signature[pair[:, 0]] + rng.choice([-1, 1], (1 << b, 1)) * signature[pair[:, 1]]
        cases += np.sqrt(nu2) * rng.standard_normal(cases.shape)
        false += len(detect(plan, offsets, method, cases, nu2, n))
    assert false / (rounds << b) <= allowed


def test_ordered_statistics_of_order_two_correct_more_than_of_order_none():
    n, b, P, nu2 = 24, 6, 34, 0.35
    plan, offsets, rng = sketch(n, b, "coded", P, groups=1)
    base = rng.integers(0, 1 << n, 4000).astype(np.uint64)
    _, first = np.unique(plan.bins(base)[0], return_index=True)
    right = {0: 0, 1: 0, 2: 0}
    for _ in range(6):
        cases = [bins_of(plan, offsets, [(int(base[i]), 1.0)], np.sqrt(nu2), rng) for i in first]
        for order in right:
            levels = Levels.of(nu2, P, len(cases), 1e-20)
            rules = _rules(Detection("coded", order, True, n, True, True), offsets, levels)
            support, _, _ = sparse_walsh.peel(
                n, plan.columns, offsets.shifts, np.array(cases)[None].copy(), rules, 1
            )
            right[order] += len(set(support.tolist()) & set(base[first].tolist()))
    assert right[0] < right[1] <= right[2]


@pytest.mark.parametrize(("n", "t"), [(7, 1), (15, 2), (31, 3), (62, 2), (62, 8), (40, 5)])
def test_checks_of_bch_codes_determine_patterns_of_low_weight(n, t):
    rows, m = sign_rows(n, t)
    if t * n.bit_length() >= n:
        assert m == 0
        return
    assert len(rows) == t * m
    rng = np.random.default_rng(0)
    for weight in range(t + 1):
        for _ in range(40):
            k = sum(1 << int(i) for i in rng.choice(n, weight, replace=False))
            syndrome = sum(int(parity(row & np.uint64(k))) << i for i, row in enumerate(rows))
            assert sparse_walsh.decode_bch(m, t, syndrome, n) == k


def test_no_two_patterns_of_low_weight_have_one_syndrome():
    rows, _ = sign_rows(31, 3)
    patterns = [sum(1 << i for i in ones) for w in range(4) for ones in itertools.combinations(range(31), w)]
    syndromes = parity(rows[None, :] & np.array(patterns, np.uint64)[:, None])
    assert len(np.unique(syndromes, axis=0)) == len(patterns)


def test_patterns_of_too_many_ones_are_not_decoded_to_more_than_allowed():
    rows, m = sign_rows(31, 2)
    rng = np.random.default_rng(0)
    for _ in range(200):
        k = sum(1 << int(i) for i in rng.choice(31, 5, replace=False))
        syndrome = sum(int(parity(row & np.uint64(k))) << i for i, row in enumerate(rows))
        decoded = sparse_walsh.decode_bch(m, 2, syndrome, 31)
        assert decoded is None or bin(decoded).count("1") <= 2


@pytest.mark.parametrize("P", [20, 60, 300])
@pytest.mark.parametrize("occupied", [0.0, 0.5, 0.7])
def test_noise_is_estimated_between_terms(P, occupied):
    rng = np.random.default_rng(0)
    for size in (1.0, 4.0, 1e6):
        energies = np.square(rng.standard_normal((400, P))).mean(axis=1)
        energies[: int(400 * occupied)] += size**2 * 4
        assert estimate_variance(energies, P) == pytest.approx(1, rel=0.1)


def test_uneven_energies_are_noticed():
    rng = np.random.default_rng(0)
    energies = np.square(rng.standard_normal((200, 60))).mean(axis=1)
    assert not uneven(energies, 60)
    assert uneven(energies * rng.uniform(0.3, 1.7, 200), 60)


def test_thresholds_raise_a_false_alarm_once_in_a_thousand_sketches():
    rng = np.random.default_rng(0)
    levels = Levels.of(1.0, 40, 192, 0.0)
    peaks = (rng.chisquare(40, (20_000, 192)) / 40).max(axis=1)
    assert (peaks > levels.empty).mean() == pytest.approx(1e-3, abs=8e-4)


def test_dense_and_sparse_normal_equations_agree():
    plan, offsets, rng = sketch(20, 4, "coded", 40)
    support = np.unique(rng.integers(0, 1 << 20, 60).astype(np.uint64))
    bins = rng.standard_normal((3, 16, 40))
    places = plan.bins(support)
    np.testing.assert_allclose(
        _dense(offsets.shifts, bins, support, places)[0],
        _sparse(offsets.shifts, bins, support, places)[0],
        atol=1e-8,
    )


def test_the_fit_of_bins_is_the_fit_of_all_samples():
    plan, offsets, rng = sketch(16, 4, "coded", 30)
    support = np.unique(rng.integers(0, 1 << 16, 20).astype(np.uint64))
    points = plan.points(offsets.shifts)
    y = rng.standard_normal(points.shape)
    expected = np.linalg.lstsq(characters(points.ravel(), support), y.ravel())[0]
    actual, error = _dense(offsets.shifts, fold(y), support, plan.bins(support))
    np.testing.assert_allclose(actual, expected, atol=1e-10)
    gram = characters(points.ravel(), support).T @ characters(points.ravel(), support)
    # noise of variance 16 a sample is noise of variance 1 in an entry of 16 bins
    np.testing.assert_allclose(error, 4 * np.sqrt(np.diagonal(np.linalg.inv(gram))), rtol=1e-9)


def test_an_input_is_asked_once():
    asked = []

    def f(points):
        asked.append(points)
        return points.astype(float)

    samples = Samples(f, 10, "index", max_queries=6, batch=2)
    first = np.array([[3, 1], [3, 2]], np.uint64)
    assert samples(first).tolist() == [[3, 1], [3, 2]]
    assert samples(np.array([1, 9], np.uint64)).tolist() == [1, 9]
    assert sorted(np.concatenate(asked).tolist()) == [1, 2, 3, 9]
    assert max(len(points) for points in asked) == 2
    with pytest.raises(BudgetExceeded):
        samples(np.arange(8, dtype=np.uint64))
    assert len(samples.keys) == 4


@pytest.mark.parametrize("part", ["columns", "bins", "rows", "brute"])
def test_the_kernel_refuses_what_does_not_fit(part):
    plan, offsets, _ = sketch(20, 3, "coded", 20)
    levels = Levels.of(1.0, 20, 24, 0.0)
    rules = _rules(Detection("coded", 1, True, 20, True, True), offsets, levels)
    bins, columns, n = np.zeros((3, 8, 20)), plan.columns, 20
    if part == "columns":
        columns = columns.astype(np.int64)
    elif part == "bins":
        bins = np.zeros((3, 4, 20))
    elif part == "rows":
        rules = type(rules)(**{**rules.__dict__, "detector": "rows", "rows": 6})
    else:
        rules, n = type(rules)(**{**rules.__dict__, "detector": "brute"}), 62
    with pytest.raises(ShapeError):
        sparse_walsh.peel(n, columns, offsets.shifts, bins, rules)
