"""What hostile workers send, and what a network loses: reproducible, and in place of nothing else."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.distributed import ATTACKS, attack_gradients, drop_packets


def gradients(p=6, n=400, seed=0):
    return np.random.default_rng(seed).standard_normal((p, n)).astype(np.float32)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_replaces_the_bad_rows_only_and_is_reproducible(attack):
    G = gradients()
    before = G.copy()
    sent = attack_gradients(G, attack, [1, 4], seed=3, step=7)
    assert sent.dtype == np.float32
    np.testing.assert_array_equal(G, before)
    np.testing.assert_array_equal(sent[[0, 2, 3, 5]], G[[0, 2, 3, 5]])
    assert not np.array_equal(sent[[1, 4]], G[[1, 4]])
    np.testing.assert_array_equal(attack_gradients(G, attack, [4, 1], seed=3, step=7), sent)


def test_attacks_are_their_definitions():
    G = gradients().astype(np.float64)
    bad, honest = G[[0, 2]], G[[1, 3, 4, 5]]

    def sent(attack, **options):
        return attack_gradients(G, attack, [0, 2], **options)[[0, 2]]

    np.testing.assert_array_equal(sent("reverse"), -10 * bad)
    np.testing.assert_array_equal(sent("reverse", factor=3), -3 * bad)
    np.testing.assert_array_equal(sent("sign_flip"), -bad)
    np.testing.assert_array_equal(sent("zero"), 0 * bad)
    assert np.isnan(sent("nan")).all()
    assert np.isposinf(sent("inf")).all()
    lie = bad.mean(axis=0) - 1.5 * bad.std(axis=0)
    np.testing.assert_allclose(sent("little_is_enough", z=1.5), [lie, lie])
    np.testing.assert_allclose(sent("fall_of_empires", eps=0.5), [-0.5 * honest.mean(axis=0)] * 2)
    noise = sent("random")
    assert noise.min() >= 0
    assert noise.max() < 1
    assert abs(noise.mean() - 0.5) < 0.06
    assert sent("random", std=100.0).std() == pytest.approx(100, rel=0.1)
    dropped = sent("drop", rate=0.25)
    lost = dropped == 0
    assert lost.mean() == pytest.approx(0.25, abs=0.06)
    np.testing.assert_array_equal(dropped[~lost], bad[~lost])


def test_random_numbers_depend_on_seed_step_and_worker_and_on_nothing_else():
    G = gradients()
    a = attack_gradients(G, "random", [1, 4], seed=3, step=7)
    assert not np.array_equal(a[1], a[4])
    for seed, step in ((3, 8), (4, 7)):
        assert not np.array_equal(attack_gradients(G, "random", [1], seed=seed, step=step)[1], a[1])
    fewer = attack_gradients(G[[0, 4, 5]], "random", [1], seed=3, step=7, workers=[0, 4, 5])
    np.testing.assert_array_equal(fewer[1], a[4])
    whole = drop_packets(G, 0.3, seed=3, step=7)
    np.testing.assert_array_equal(drop_packets(G[2:3], 0.3, seed=3, step=7, workers=[2])[0], whole[2])


def test_lost_packets_are_zeros_or_missing_values_at_the_rate_asked_for():
    G = gradients(n=10_000)
    arrived = drop_packets(G, 0.1)
    assert (arrived == 0).mean() == pytest.approx(0.1, abs=0.01)
    np.testing.assert_array_equal(arrived[arrived != 0], G[arrived != 0])
    assert (arrived == 0).any(axis=1).all()
    frames = np.isnan(drop_packets(G, 0.2, packet=360, fill=np.nan))
    assert frames.mean() == pytest.approx(0.2, abs=0.1)
    for row in frames:
        starts = np.flatnonzero(np.diff(row.astype(int), prepend=0))
        assert (starts % 360 == 0).all()
    np.testing.assert_array_equal(drop_packets(G, 0.0), G)
    assert not drop_packets(G, 1.0).any()


def test_kinds_stay_and_rows_of_a_list_that_are_not_replaced_are_not_copied():
    torch = pytest.importorskip("torch")
    G = torch.from_numpy(gradients())
    sent = attack_gradients(G, "reverse", [2])
    assert torch.equal(sent[2], -10 * G[2])
    listed = attack_gradients(list(G.bfloat16()), "random", [2])
    assert listed[2].dtype == torch.bfloat16
    rows = list(gradients())
    sent = attack_gradients(rows, "zero", [0])
    assert sent[1] is rows[1]
    assert sent[0].dtype == np.float32
    assert drop_packets(G.half(), 0.5).dtype == torch.half


def test_an_attack_may_be_a_function():
    G = gradients()
    sent = attack_gradients(G, lambda true, honest, rngs, k: [k * honest[0]] * len(true), [5], k=2)
    np.testing.assert_array_equal(sent[5], 2 * G[0])
    assert attack_gradients(G, "nan", []).sum() == G.sum()


def test_bad_input_is_refused():
    G = gradients()
    with pytest.raises(ArgumentError, match="did you mean 'reverse'"):
        attack_gradients(G, "revers", [0])
    with pytest.raises(ArgumentError, match="bad=6"):
        attack_gradients(G, "zero", [6])
    with pytest.raises(ArgumentError, match="at least one honest"):
        attack_gradients(G, "fall_of_empires", range(6))
    with pytest.raises(ShapeError, match="workers has 2 entries: expected 6"):
        attack_gradients(G, "zero", [0], workers=[0, 1])
    with pytest.raises(ArgumentError, match=r"rate=1.5"):
        drop_packets(G, 1.5)
    with pytest.raises(ArgumentError, match="packet=0"):
        drop_packets(G, packet=0)
    with pytest.raises(ShapeError, match="2-D"):
        attack_gradients(G[0], "zero", [0])
    with pytest.raises(ArgumentError, match="seed=-1"):
        drop_packets(G, seed=-1)
