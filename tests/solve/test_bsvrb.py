"""BSVRB and its baselines against closed forms, a table worked by hand, and each other."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.solve import (
    BSVRB,
    RSVRB,
    BlockShard,
    HyperWeighting,
    MultiBlockProblem,
    QuadraticBilevel,
    StocBiO,
    multi_block_bilevel,
    shard_slice,
)


def weighting(m=6, n=60, sparse=True):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n + 20, 4)) * (rng.random((n + 20, 4)) < 0.6)
    y = np.where(X[:, 0] + 0.5 * rng.normal(size=n + 20) > 0, 1.0, -1.0)
    X = sp.csr_array(X) if sparse else X
    return HyperWeighting(X[:n], y[:n], X[n:], y[n:], np.linspace(1, 3, m), lam=0.05)


@pytest.mark.parametrize("method", ["v1", "v2", "soba", "rsvrb", "aid"])
def test_without_noise_and_with_all_blocks_it_reaches_the_minimiser(method):
    P = QuadraticBilevel(6, 4, 3, seed=0)
    result = multi_block_bilevel(P, np.ones(4), method=method, maxiter=1200, blocks_per_step=6, batch_size=1,
                                 lr=0.2, lr_lower=0.2, alpha=0.5, beta=0.5, eval_every=0)  # fmt: skip
    assert result.success
    np.testing.assert_allclose(result.x, P.minimiser(), atol=1e-8)
    np.testing.assert_allclose(result.y, P.solution(result.x), atol=1e-8)


def test_what_is_tracked_is_what_the_formula_asks_for():
    P = QuadraticBilevel(6, 4, 3, seed=0)
    for variant in ("v1", "v2"):
        run = BSVRB(P, np.ones(4), variant=variant, blocks_per_step=6, lr=0.2, lr_lower=0.2)
        run.run(1500, eval_every=0)
        if variant == "v1":
            np.testing.assert_allclose(run.curvature.hessians.value, P.H, atol=1e-8)
        else:
            wanted = np.linalg.solve(P.H, (run.y - P.t)[:, :, None])[:, :, 0]
            np.testing.assert_allclose(run.curvature.rows.all(run.t), wanted, atol=1e-8)


def test_two_steps_by_hand():
    """m = 2, d = 1, no noise, both blocks at each step: scalars."""
    P = QuadraticBilevel(2, 1, 1, mu_x=0.0)
    P.H, P.B = np.array([[[2.0]], [[1.0]]]), np.array([[[1.0]], [[3.0]]])
    P.c, P.t = np.array([[0.0], [1.0]]), np.array([[1.0], [0.0]])
    run = BSVRB(P, [1.0], variant="v1", blocks_per_step=2, lr=0.1, lr_lower=0.5, alpha=0.5, beta=0.5,
                gamma=0.5, smooth=np.float64(10), mu=0.1)  # fmt: skip
    run.inner.tau[:] = 0.5  # the bound on the step is not what is looked at
    # step 0 at x = 1, y = (0, 0): grad_y g = (-1, -4), grad_y f = (-1, 0), p = (-1/2, 0)
    # G = mean(B p) = -1/4 = z, x = 1.025; y = -s / 2 = (0.5, 2)
    run.step()
    assert run.x[0] == pytest.approx(1.025)
    np.testing.assert_allclose(run.y.ravel(), [0.5, 2])
    # step 1 at x = 1.025, y = (0.5, 2): h = (1 - 1.025, 2 - 3.075 - 1) = (-0.025, -2.075)
    # s = s/2 + h/2 + (h - h')/2: (-0.025, -2.075) + 0.5 (s - h') with s = h'
    # grad_y f = (-0.5, 2), p = (-0.25, 2), G = (-0.25 + 6) / 2 = 2.875; z = 0.5 (z - G') + G, G' = -1/4: z = 2.875
    run.step()
    assert run.x[0] == pytest.approx(1.025 - 0.2875)
    np.testing.assert_allclose(run.y.ravel(), [0.5 + 0.0125, 2 + 1.0375])


@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_with_all_blocks_and_no_memory_it_is_plain_simultaneous_sgd(variant):
    P = QuadraticBilevel(5, 4, 3, seed=1, noise=0.5)
    run = BSVRB(P, np.ones(4), variant=variant, blocks_per_step=5, batch_size=3, lr=0.1, lr_lower=0.05,
                alpha=1.0, beta=1.0, gamma=0.0, mu=1e-3, smooth=1e3, random_state=7)  # fmt: skip
    rng = np.random.default_rng(7)
    x, Y, V = np.ones(4), np.zeros((5, 3)), np.zeros((5, 3))
    H_held = None
    for _ in range(20):
        blocks = rng.choice(5, 5, replace=False, shuffle=False)
        batch = P.sample(blocks, 3, rng)
        f, H = P.grad_y_f(x, Y[blocks], blocks, batch), P.hess_yy_g(x, Y[blocks], blocks, batch)
        if variant == "v1":  # the Hessians of the step before, as the method has them
            H_used = H if H_held is None else H_held[blocks]
            p = np.linalg.solve(H_used, f[:, :, None])[:, :, 0]
            H_held = np.empty_like(H)
            H_held[blocks] = H
        else:
            p = V[blocks].copy()
            V[blocks] -= 0.05 * (np.einsum("ide,ie->id", H, p) - f)
        G = (P.grad_x_f(x, Y[blocks], blocks, batch) - P.jtvp_xy_g(x, Y[blocks], p, blocks, batch)) / 5
        Y[blocks] -= 0.05 * P.grad_y_g(x, Y[blocks], blocks, batch)
        x = x - 0.1 * G
        run.step()
        np.testing.assert_allclose(run.x, x, atol=1e-10)
        np.testing.assert_allclose(run.y, Y, atol=1e-10)


@pytest.mark.parametrize("variant", ["v1", "v2"])
@pytest.mark.parametrize("kind", ["quadratic", "weighting"])
def test_lazy_equals_eager(variant, kind):
    P = QuadraticBilevel(12, 4, 3, seed=2, noise=1.0) if kind == "quadratic" else weighting(12)
    runs = [
        BSVRB(P, np.ones(P.dim_x), variant=variant, blocks_per_step=3, batch_size=4, lr=0.01,
              lr_lower=np.linspace(0.02, 0.06, 12), v_radius=0.4, lazy=lazy, random_state=3)
        for lazy in (True, False)
    ]  # fmt: skip
    for k in range(500):
        for run in runs:
            if k == 250:
                run.set_factor(0.1)
            run.step()
    np.testing.assert_allclose(runs[0].x, runs[1].x, atol=1e-10)
    np.testing.assert_allclose(runs[0].y, runs[1].y, atol=1e-10)
    assert runs[0].gradient_norm == pytest.approx(runs[1].gradient_norm, rel=1e-6)
    if variant == "v2":
        norms = np.linalg.norm(runs[0].curvature.rows.all(500), axis=1)
        assert norms.max() <= 0.4 + 1e-12
        assert kind != "quadratic" or norms.max() > 0.39


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    ("cls", "options"),
    [(BSVRB, {"variant": "v1"}), (BSVRB, {"variant": "v2"}), (BSVRB, {"lazy": False, "scaling": "adam"}),
     (RSVRB, {}), (StocBiO, {"terms": 2})],
)  # fmt: skip
def test_a_resumed_run_goes_on_bit_by_bit(tmp_path, cls, options, ending):
    path = tmp_path / f"state{ending}"
    for P in (QuadraticBilevel(8, 4, 3, noise=1.0), weighting()):
        run = cls(
            P, np.ones(P.dim_x), blocks_per_step=3, batch_size=4, lr_lower=0.05, random_state=5, **options
        )
        for _ in range(17):
            run.step()
        run.save(path)
        again = cls.load(path, P)
        for _ in range(13):
            run.step()
            again.step()
        assert np.array_equal(run.x, again.x)
        assert np.array_equal(run.y, again.y)
        assert run.problem.calls == again.problem.calls
        assert run.n_projected == again.n_projected


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path):
    P, path = QuadraticBilevel(8, 4, 3, noise=1.0), tmp_path / "state.npz"
    BSVRB(P, np.ones(4), random_state=0).save(path)
    with pytest.raises(FormatError, match="expected 'rsvrb'"):
        RSVRB.load(path, P)
    with pytest.raises(FormatError, match="does not fit"):
        BSVRB.load(path, QuadraticBilevel(9, 4, 3))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FormatError, match="not a checkpoint"):
        BSVRB.load(path, P)
    with pytest.raises(ArgumentError, match=r"\.npz or \.safetensors"):
        BSVRB(P, np.ones(4)).save(tmp_path / "state.bin")


def test_the_same_seed_gives_the_same_bits_and_counts_are_honest():
    P = QuadraticBilevel(20, 4, 3, noise=1.0)
    a, b = (
        multi_block_bilevel(P, np.ones(4), maxiter=50, batch_size=8, lr_lower=0.05, random_state=1)
        for _ in "ab"
    )
    assert np.array_equal(a.x, b.x)
    assert a.samples == 50 * 2 * 8
    assert a.oracle_calls == {
        "grad_y_g": 200, "hvp_yy_g": 200, "hess_yy_g": 0, "jac_xy_g": 0, "jtvp_xy_g": 200, "grad_x_f": 200,
        "grad_y_f": 200, "samples": 800,
    }  # fmt: skip
    assert len(a.fun_history) == len(a.grad_norm_history) == len(a.eval_iterations) == 2
    assert len(a.history["gradient"]) == 51


@pytest.mark.parametrize("method", ["v1", "v2", "rsvrb", "stocbio", "soba"])
def test_noise_is_averaged_out(method):
    P = QuadraticBilevel(64, 10, 5, seed=0, noise=1.0)
    result = multi_block_bilevel(P, np.full(10, 2.0), method=method, maxiter=600, blocks_per_step=16, batch_size=4,
                                 lr=0.03, lr_lower=0.05, random_state=0)  # fmt: skip
    assert result.grad_norm_history[-1] < 0.12 * result.grad_norm_history[0]
    assert (result.n_projected > 0) == (method in ("v1", "rsvrb"))


def test_adams_scaling_schedules_and_tolerances():
    P = QuadraticBilevel(8, 4, 3, noise=0.3)
    options = {"maxiter": 400, "blocks_per_step": 4, "lr_lower": 0.1, "random_state": 0, "eval_every": 0}
    first = multi_block_bilevel(P, np.ones(4), scaling="adam", lr=0.02, **{**options, "maxiter": 1})
    np.testing.assert_allclose(np.abs(first.x - 1), 0.02, rtol=1e-5)  # z over its own size
    start = np.linalg.norm(P.full_hypergradient(np.ones(4)))
    for schedule in ("stage", lambda progress: (1 - progress) ** 2):
        staged = multi_block_bilevel(P, np.ones(4), schedule=schedule, lr=0.1, **options)
        assert np.linalg.norm(P.full_hypergradient(staged.x)) < 0.1 * start
    short = multi_block_bilevel(P, np.ones(4), tol=0.05, lr=0.1, **options)
    assert short.success
    assert short.nit < 400
    assert short.value <= 0.05
    never = multi_block_bilevel(P, np.ones(4), tol=1e-12, lr=0.1, **options)
    assert not never.success
    assert never.status == 1
    seen = []
    stopped = multi_block_bilevel(
        P, np.ones(4), **options, callback=lambda it: seen.append(it.nit) or it.nit == 3
    )
    assert seen == [0, 1, 2, 3]
    assert stopped.status == 2
    none = multi_block_bilevel(P, np.ones(4), **{**options, "maxiter": 0})
    assert np.array_equal(none.x, np.ones(4))


def test_divergence_ends_with_a_word():
    P = QuadraticBilevel(8, 4, 3, noise=1.0)
    result = multi_block_bilevel(P, np.ones(4), lr_lower=50.0, smooth=1e-3, method="v2", maxiter=500)
    assert not result.success
    assert result.status == 3
    assert "reduce lr_lower" in result.message
    bounded = multi_block_bilevel(P, np.ones(4), lr_lower=50.0, method="v2", maxiter=500)
    assert bounded.success
    assert bounded.lr_lower < 0.5


def test_blocks_that_were_never_sampled_stay_at_their_start():
    P = QuadraticBilevel(1000, 4, 3, noise=1.0)
    run = BSVRB(P, np.ones(4), np.full((1000, 3), 0.5), blocks_per_step=5, random_state=0)
    run.run(50, eval_every=0)
    unseen = ~run.gradients.seen
    assert unseen.sum() >= 750
    assert np.array_equal(run.y[unseen], np.full((unseen.sum(), 3), 0.5))
    assert np.all(run.y[~unseen].std(axis=0) > 0)


def test_a_singular_hessian_is_lifted_and_counted():
    P = QuadraticBilevel(4, 3, 2)
    P.H[:] = 0
    result = multi_block_bilevel(P, np.ones(3), method="v1", maxiter=3, blocks_per_step=4, lr_lower=0.01,
                                 eval_every=0)  # fmt: skip
    assert result.n_projected == 4 * 4  # once when met, once a step
    assert np.all(np.isfinite(result.x))


def test_a_million_weights_are_moved_where_they_are_read():
    n = 10**6
    X = sp.csr_array((np.ones(n), (np.arange(n), np.arange(n) % 3)), shape=(n, 3))
    y = np.where(np.arange(n) % 3 == 0, 1.0, -1.0)
    P = HyperWeighting(X, y, X[:30], y[:30], [1.0, 2.0])
    run = BSVRB(P, np.zeros(n), blocks_per_step=1, batch_size=4, random_state=0)
    run.run(200, eval_every=0)
    assert 0 < np.count_nonzero(run.x) <= 200 * 4


class Bare(MultiBlockProblem):
    """The required oracles alone, with one that can be broken."""

    m, dim_x, dim_y = 3, 2, 1

    def __init__(self, wrong=()):
        self.wrong = wrong

    def sample(self, blocks, size, rng):
        return None

    def grad_y_g(self, x, Y, blocks, batch):
        return np.ones((1, 1)) if "grad_y_g" in self.wrong else Y - x[:1]

    def hvp_yy_g(self, x, Y, V, blocks, batch):
        return V

    def jtvp_xy_g(self, x, Y, V, blocks, batch):
        return np.zeros(3) if "jtvp" in self.wrong else np.array([-V.sum(), 0])

    def grad_x_f(self, x, Y, blocks, batch):
        return len(Y) * x * 0.1

    def grad_y_f(self, x, Y, blocks, batch):
        return Y - 1


def test_an_own_problem_needs_six_oracles():
    result = multi_block_bilevel(Bare(), np.zeros(2), maxiter=400, blocks_per_step=2, lr=0.1)
    np.testing.assert_allclose(result.x, [1 / 1.1, 0], atol=1e-3)
    assert result.fun_history == []


def test_refusals():
    P = QuadraticBilevel(4, 3, 2)
    x = np.ones(3)
    for name, value in (("blocks_per_step", 5), ("blocks_per_step", 0), ("batch_size", 0), ("lr_lower", 0.0),
                        ("alpha", 1.5), ("beta", 0.0), ("gamma", "half"), ("method", "v3"), ("schedule", "cosine"),
                        ("scaling", "rms"), ("v_radius", -1.0), ("eval_every", -1)):  # fmt: skip
        with pytest.raises(ArgumentError, match=name):
            multi_block_bilevel(P, x, **{"maxiter": 1, name: value})
    with pytest.raises(ShapeError, match="x0 has shape"):
        multi_block_bilevel(P, np.ones(4))
    with pytest.raises(ShapeError, match="y0 has shape"):
        multi_block_bilevel(P, x, np.ones((4, 3)))
    with pytest.raises(ShapeError, match=r"grad_y_g returned shape \(1, 1\)"):
        multi_block_bilevel(Bare({"grad_y_g"}), np.ones(2))
    with pytest.raises(ShapeError, match="jtvp_xy_g returned shape"):
        multi_block_bilevel(Bare({"jtvp"}), np.ones(2))
    for method, oracle in (("v1", "hess_yy_g"), ("rsvrb", "hess_yy_g"), ("aid", "full")):
        with pytest.raises(ValueError, match=f"no oracle {oracle}"):
            multi_block_bilevel(Bare(), np.ones(2), method=method)
    with pytest.raises(MemoryError, match="GiB of Hessians"):
        multi_block_bilevel(QuadraticBilevel(1, 1, 2001), np.ones(1), method="v1")
    with pytest.raises(ArgumentError, match="reduce"):
        multi_block_bilevel(P, x, method="aid", reduce=lambda a: a)


WORKER = """
import sys, numpy as np, torch.distributed as dist
from gossamer.solve import BSVRB, BlockShard, QuadraticBilevel, all_reduce_sum, shard_slice
rank, out = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + out + "/meet", rank=rank, world_size=2)
found = {}
for noise, every in ((0.0, True), (1.0, False)):
    P = QuadraticBilevel(7, 4, 3, noise=noise)
    own = BlockShard(P, shard_slice(7, rank, 2))
    run = BSVRB(own, np.ones(4), blocks_per_step=own.m if every else 2, lr=0.05, lr_lower=0.05, random_state=rank,
                alpha=0.5, gamma=0.5, reduce=all_reduce_sum())
    result = run.run(300, eval_every=100)
    found |= {f"x{noise}": run.x, f"y{noise}": run.y, f"f{noise}": result.fun_history}
np.savez(out + f"/{rank}.npz", **found)
dist.destroy_process_group()
"""


def test_two_processes_give_what_one_gives(tmp_path):
    pytest.importorskip("torch")
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, str(r), str(tmp_path)]) for r in (0, 1)]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    parts = [np.load(tmp_path / f"{r}.npz") for r in (0, 1)]
    P = QuadraticBilevel(7, 4, 3)
    alone = BSVRB(P, np.ones(4), blocks_per_step=7, lr=0.05, lr_lower=0.05, alpha=0.5, gamma=0.5)
    result = alone.run(300, eval_every=100)
    for part in parts:
        np.testing.assert_allclose(part["x0.0"], alone.x, atol=1e-12)
        np.testing.assert_allclose(part["f0.0"], result.fun_history, atol=1e-12)
    np.testing.assert_allclose(np.concatenate([part["y0.0"] for part in parts]), alone.y, atol=1e-12)
    assert np.array_equal(parts[0]["x1.0"], parts[1]["x1.0"])  # unequal shards, own samples: one x
    assert np.linalg.norm(P.full_hypergradient(parts[0]["x1.0"])) < 0.1
    assert BlockShard(P, shard_slice(7, 0, 2)).m == 3
