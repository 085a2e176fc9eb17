"""Contrastive losses of graphs are their double loops, and meta-nodes approximate all pairs as the theory says."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.nn import (
    PamCLoss,
    SparseTensor,
    full_contrastive_loss,
    pamc_gap,
    pamc_loss,
    sampled_contrastive_loss,
)
from gossamer.nn.contrast.strengths import NeighbourStrengths, gathered_sums, neighbour_sums
from gossamer.nn.contrast.unit_rows import unit_rows

N, K, TAU, EPS = 40, 4, 0.7, 1e-10


def problem(n=N, d=5, k=K, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    gamma = scipy.sparse.random_array((n, n), density=0.15, rng=rng, format="csr")
    gamma = scipy.sparse.csr_array(gamma + scipy.sparse.diags_array(rng.random(n)))
    z = torch.from_numpy(rng.standard_normal((n, d))).to(dtype)
    labels = np.concatenate([np.arange(k), rng.integers(k, size=n - k)])
    return z, gamma, labels


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def positive_by_loops(z, gamma, tau):
    total = 0.0
    for i in range(len(z)):
        inner = sum(
            gamma[i, j] * np.exp(tau * (cosine(z[i], z[j]) if i != j else 0.0)) for j in range(len(z))
        )
        total += np.log(inner + EPS)
    return total / len(z)


def negative_by_loops(C, tau, sizes=None):
    k = len(C)
    counts = np.ones(k) if sizes is None else sizes
    total = 0.0
    for a in range(k):
        inner = sum(counts[b] * np.exp(tau * (cosine(C[a], C[b]) if a != b else 0.0)) for b in range(k))
        total += counts[a] * np.log(inner + EPS)
    return total / counts.sum()


def sums_by_loops(z, labels, k):
    return np.array([sum(z[i] for i in range(len(z)) if labels[i] == a) for a in range(k)])


@pytest.mark.parametrize("weighting", ["equal", "size"])
def test_the_loss_is_its_double_loop(weighting):
    z, gamma, labels = problem()
    C = sums_by_loops(z.numpy(), labels, K)
    sizes = np.bincount(labels) if weighting == "size" else None
    exact = negative_by_loops(C, TAU, sizes) - positive_by_loops(z.numpy(), gamma.toarray(), TAU)
    found = pamc_loss(z, gamma, labels, tau=TAU, weighting=weighting)
    assert found.dtype == torch.float64
    assert abs(float(found) - exact) <= 1e-10


def test_soft_meta_nodes_are_weighted_sums():
    z, gamma, labels = problem()
    q = torch.softmax(torch.randn(N, K, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), 1)
    C = q.numpy().T @ z.numpy()
    exact = negative_by_loops(C, TAU) - positive_by_loops(z.numpy(), gamma.toarray(), TAU)
    assert abs(float(pamc_loss(z, gamma, q, tau=TAU, assignment="soft")) - exact) <= 1e-10
    one_hot = torch.eye(K, dtype=torch.float64)[labels]
    hard = pamc_loss(z, gamma, labels, tau=TAU)
    for assignment in ("soft", "hard"):
        assert torch.isclose(pamc_loss(z, gamma, one_hot, tau=TAU, assignment=assignment), hard, rtol=1e-12)
    assert torch.equal(pamc_loss(z, gamma, q, tau=TAU), pamc_loss(z, gamma, q.argmax(1), tau=TAU))


@pytest.mark.parametrize("include_self", [False, True])
@pytest.mark.parametrize("block", [1, 7, 64])
def test_the_full_loss_is_its_double_loop(include_self, block):
    z, gamma, _ = problem()
    total = 0.0
    for i in range(N):
        others = (np.exp(TAU * cosine(z[i].numpy(), z[j].numpy())) for j in range(N) if j != i)
        total += np.log(sum(others) + include_self + EPS)
    exact = total / N - positive_by_loops(z.numpy(), gamma.toarray(), TAU)
    found = full_contrastive_loss(z, gamma, tau=TAU, include_self=include_self, block=block)
    assert abs(float(found) - exact) <= 1e-10


@pytest.mark.parametrize(
    "loss",
    [
        lambda z, gamma, q: pamc_loss(z, gamma, q),
        lambda z, gamma, q: pamc_loss(z, gamma, q, weighting="size"),
        lambda z, gamma, q: pamc_loss(z, gamma, q, assignment="soft"),
        lambda z, gamma, q: sampled_contrastive_loss(z, gamma, 5, random_state=0),
    ],
    ids=["hard", "size", "soft", "sampled"],
)
def test_first_and_second_derivatives_are_those_of_differences(loss):
    z, gamma, labels = problem(n=8, d=3, k=3)
    q = torch.eye(3, dtype=torch.float64)[labels] * 0.6 + 0.1
    z.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, gamma, q), z)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, gamma, q), z)


def test_the_gradient_of_the_full_loss_is_that_of_differences():
    z, gamma, _ = problem(n=9, d=3)
    for include_self in (False, True):
        loss = lambda z: full_contrastive_loss(z, gamma, include_self=include_self, block=4)  # noqa: B023, E731
        assert torch.autograd.gradcheck(loss, z.requires_grad_())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_kernel_and_torch_agree(dtype, tolerance):
    z, gamma, _ = problem(n=300, d=10, dtype=dtype)
    strengths, slope = NeighbourStrengths.of(gamma), torch.linspace(-1, 1, 300, dtype=dtype)
    found = []
    for native in (True, False):
        u = unit_rows(z).requires_grad_()
        sums = neighbour_sums(u, strengths, 2.0, native=native)
        found.append((sums.detach(), torch.autograd.grad(sums, u, slope)[0]))
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == dtype
        assert float((ours - theirs).abs().max() / theirs.abs().max()) <= tolerance


def test_memberships_get_no_gradient():
    z, gamma, labels = problem()
    q = torch.eye(K, dtype=torch.float64)[labels].requires_grad_()
    pamc_loss(z.requires_grad_(), gamma, q, assignment="soft").backward()
    assert q.grad is None
    assert float(z.grad.abs().max()) > 0


def test_with_each_node_a_cluster_it_is_the_full_loss_with_similarity_zero_to_itself():
    z, gamma, _ = problem()
    exact = full_contrastive_loss(z, gamma, tau=TAU, include_self=True)
    assert abs(float(pamc_loss(z, gamma, np.arange(N), tau=TAU) - exact)) <= 1e-12


def test_clusters_of_equal_vectors_and_size_give_the_full_sums_exactly():
    # with n nodes in each cluster, the sum over j != i is n (sum_b exp(tau S_ab) - 1) + (n - 1) exp(tau), S_aa = 0
    n, k, tau = 6, 5, 1.3
    centres = torch.randn(k, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    z, labels = centres.repeat_interleave(n, dim=0), np.repeat(np.arange(k), n)
    gamma = scipy.sparse.eye_array(n * k, format="csr")
    u = unit_rows(centres)
    S = u @ u.T
    sums = torch.exp(tau * S.fill_diagonal_(0)).sum(1)
    exact = torch.log(n * (sums - 1) + (n - 1) * np.exp(tau)).mean()
    assert torch.isclose(full_contrastive_loss(z, gamma, tau=tau), exact, rtol=1e-9)
    assert torch.isclose(pamc_loss(z, gamma, labels, tau=tau), sums.log().mean(), rtol=1e-9)
    sized = torch.log(n * sums).mean()
    assert torch.isclose(pamc_loss(z, gamma, labels, tau=tau, weighting="size"), sized, rtol=1e-9)


def test_the_gap_closes_with_the_square_of_the_spread():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((5, 10))
    labels = np.repeat(np.arange(5), 60)
    noise = rng.standard_normal((300, 10))
    spreads = np.array([0.1, 0.05, 0.02, 0.01])
    points = [torch.from_numpy(centres[labels] + spread * noise) for spread in spreads]
    gaps = [pamc_gap(z, labels, 1.0, block=70).gap for z in points]
    assert min(gaps) > 0
    slope = np.polyfit(np.log(spreads), np.log(gaps), 1)[0]
    assert 1.8 <= slope <= 2.2
    tight = pamc_gap(centres[labels], labels, 1.0)
    assert tight.exact == pytest.approx(tight.approximate, abs=1e-12) == pytest.approx(tight.loss, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.floats(0.01, 20))
def test_the_exact_negatives_are_never_below_the_approximate_ones(seed, k, tau):
    z, _, labels = problem(k=k, seed=seed)
    found = pamc_gap(z, labels, tau)
    assert found.exact >= found.approximate - 1e-12


def test_the_gap_is_that_of_a_loop_over_pairs_of_clusters():
    z, _, labels = problem()
    u = unit_rows(z).numpy()
    exact = approximate = 0.0
    for a in range(K):
        inner = [u[labels == a] @ u[labels == b].T for b in range(K) if b != a]
        exact += np.log(1 + sum(np.exp(TAU * s).mean() for s in inner)) / K
        approximate += np.log(1 + sum(np.exp(TAU * s.mean()) for s in inner)) / K
    found = pamc_gap(z, labels, TAU, block=11)
    assert found.exact == pytest.approx(exact, abs=1e-12)
    assert found.approximate == pytest.approx(approximate, abs=1e-12)
    assert found.loss == pytest.approx(negative_by_loops(sums_by_loops(z.numpy(), labels, K), TAU))
    assert found.gap == pytest.approx(exact - approximate)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3), st.integers(2, 8))
def test_scale_rotation_and_names_of_clusters_do_not_matter(seed, scale, k):
    z, gamma, labels = problem(k=k, seed=seed)
    rotation = torch.linalg.qr(problem(n=8, d=5, seed=seed)[0][:5])[0]
    renamed = np.random.default_rng(seed).permutation(k)[labels]
    base = pamc_loss(z, gamma, labels)
    for other in (
        pamc_loss(scale * z, gamma, labels),
        pamc_loss(z @ rotation, gamma, labels),
        pamc_loss(z, gamma, renamed),
        pamc_loss(z, gamma, labels, n_clusters=k + 3),
    ):
        assert torch.isclose(other, base, rtol=1e-9)


def test_sampled_sums_are_right_on_average():
    z, gamma, _ = problem(n=30)
    exact = full_contrastive_loss(z, gamma)
    many = sampled_contrastive_loss(z, gamma, 20_000, random_state=0)
    assert float(many - exact) == pytest.approx(0, abs=2e-3)
    few = [float(sampled_contrastive_loss(z, gamma, 2, tau=3.0, random_state=i)) for i in range(200)]
    assert np.mean(few) < float(
        full_contrastive_loss(z, gamma, tau=3.0)
    )  # the logarithm of a mean is too low
    assert torch.equal(*(sampled_contrastive_loss(z, gamma, 3, random_state=7) for _ in range(2)))


def test_any_sparse_form_of_the_strengths_will_do():
    z, gamma, labels = problem()
    base = pamc_loss(z, gamma, labels)
    coo = torch.sparse_coo_tensor(
        np.stack(gamma.tocoo().coords), torch.from_numpy(gamma.tocoo().data), gamma.shape
    )
    twice = scipy.sparse.coo_array(
        (np.tile(gamma.tocoo().data / 2, 2), tuple(np.tile(i, 2) for i in gamma.tocoo().coords)), gamma.shape
    )
    for form in (coo, coo.coalesce().to_sparse_csr(), gamma.tocsc(), SparseTensor.of(gamma), twice):
        assert torch.isclose(pamc_loss(z, form, labels), base, rtol=1e-12)
    loss = PamCLoss()
    for _ in range(2):
        assert torch.equal(loss(z, gamma, labels), base)


def test_empty_clusters_isolated_nodes_and_zero_vectors_stay_finite():
    z, gamma, labels = problem()
    z[3] = 0
    isolated = gamma.toarray()
    isolated[5], isolated[:, 5], isolated[5, 5] = 0, 0, 0.4
    isolated[6] = 0
    gamma = scipy.sparse.csr_array(isolated)
    for chosen in (labels, np.zeros(N, int), np.where(labels == 1, 2, labels)):
        z = z.detach().requires_grad_()
        value = pamc_loss(z, gamma, chosen, n_clusters=K)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(z.grad).all()
    full = torch.autograd.grad(full_contrastive_loss(z, gamma), z)[0]
    assert torch.isfinite(full).all()
    assert float(full[3].abs().max()) == 0  # a vector without a direction
    soft = torch.zeros(N, K, dtype=torch.float64)
    soft[:, 0] = 1
    assert torch.isfinite(pamc_loss(z, gamma, soft, assignment="soft"))


def test_half_precision_is_widened():
    z, gamma, labels = problem(dtype=torch.float32)
    base = pamc_loss(z.bfloat16().float(), gamma, labels)
    assert torch.equal(pamc_loss(z.bfloat16(), gamma, labels), base)
    z = z.bfloat16().requires_grad_()
    pamc_loss(z, gamma, labels).backward()
    assert z.grad.dtype == torch.bfloat16


def test_batches_see_their_rows_and_remember_clusters():
    z, gamma, labels = problem()
    whole = PamCLoss(TAU, n_clusters=K, momentum=0.9).eval()
    assert torch.equal(whole(z, gamma, labels), pamc_loss(z, gamma, labels, tau=TAU))
    m = 15
    part = PamCLoss(TAU, n_clusters=K, momentum=0.5)
    strengths = scipy.sparse.csr_array(gamma[:m])
    first = part(z, strengths, labels[:m])
    positive = torch.log(gathered_sums(unit_rows(z), NeighbourStrengths.of(gamma), TAU)[:m] + EPS).mean()
    C = sums_by_loops(z.numpy()[:m], labels[:m], K)
    assert float(first) == pytest.approx(negative_by_loops(C, TAU) - float(positive))
    moved = z.flip(1).contiguous()
    second = part(moved, strengths, labels[:m])
    C = (C + sums_by_loops(moved.numpy()[:m], labels[:m], K)) / 2
    positive = torch.log(gathered_sums(unit_rows(moved), NeighbourStrengths.of(gamma), TAU)[:m] + EPS).mean()
    assert float(second) == pytest.approx(negative_by_loops(C, TAU) - float(positive))


def test_bad_input_is_named():
    z, gamma, labels = problem()
    bad = gamma.copy()
    bad.data[0] = -1
    nan = gamma.copy()
    nan.data[0] = np.nan
    q = torch.ones(N, K)
    for error, word, call in [
        (UnsupportedError, "z is", lambda: pamc_loss(z.numpy(), gamma, labels)),
        (UnsupportedError, "z is", lambda: pamc_loss(z.long(), gamma, labels)),
        (ShapeError, "z has shape", lambda: pamc_loss(z[0], gamma, labels)),
        (ShapeError, "gamma has 40 columns", lambda: pamc_loss(z[:-1], gamma, labels)),
        (UnsupportedError, "gamma is", lambda: pamc_loss(z, gamma.toarray(), labels)),
        (ShapeError, "gamma has shape", lambda: pamc_loss(z, gamma[:, :3], labels)),
        (ArgumentError, "negative entry", lambda: pamc_loss(z, bad, labels)),
        (ArgumentError, "NaN", lambda: pamc_loss(z, nan, labels)),
        (ShapeError, "labels has shape", lambda: pamc_loss(z, gamma, labels[:-1])),
        (ArgumentError, "labels spans", lambda: pamc_loss(z, gamma, labels, n_clusters=K - 1)),
        (ArgumentError, "labels spans", lambda: pamc_loss(z, gamma, labels - 1)),
        (UnsupportedError, "labels holds", lambda: pamc_loss(z, gamma, labels * 1.0)),
        (UnsupportedError, "labels holds", lambda: pamc_loss(z, gamma, q.long())),
        (ArgumentError, "labels has negative", lambda: pamc_loss(z, gamma, q - 2)),
        (ShapeError, "columns", lambda: pamc_loss(z, gamma, q, n_clusters=3)),
        (ShapeError, "soft assignment", lambda: pamc_loss(z, gamma, labels, assignment="soft")),
        (ArgumentError, "assignment", lambda: pamc_loss(z, gamma, labels, assignment="sof")),
        (ArgumentError, "weighting", lambda: pamc_loss(z, gamma, labels, weighting="sizes")),
        (ArgumentError, "tau", lambda: pamc_loss(z, gamma, labels, tau=0)),
        (ArgumentError, "tau", lambda: pamc_loss(z, gamma, labels, tau=100)),
        (ArgumentError, "eps", lambda: pamc_loss(z, gamma, labels, eps=-1)),
        (ArgumentError, "momentum", lambda: PamCLoss(momentum=0.5)),
        (ArgumentError, "momentum", lambda: PamCLoss(momentum=1, n_clusters=2)),
        (ArgumentError, "block", lambda: full_contrastive_loss(z, gamma, block=0)),
        (ArgumentError, "n_samples", lambda: sampled_contrastive_loss(z, gamma, 0)),
        (ArgumentError, "labels spans", lambda: pamc_gap(z, labels - 1)),
    ]:
        with pytest.raises(error, match=word):
            call()


MEMORY = """
    import resource, numpy as np, scipy.sparse, torch
    from gossamer.nn import pamc_loss
    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    def loss(n, edges):
        rng = np.random.default_rng(0)
        ends = rng.integers(n, size=(2, edges))
        gamma = scipy.sparse.coo_array((np.ones(edges, np.float32), tuple(ends)), (n, n)).tocsr()
        z = torch.from_numpy(rng.standard_normal((n, 10), np.float32)).requires_grad_()
        pamc_loss(z, gamma, torch.from_numpy(rng.integers(10, size=n))).backward()
    loss(50, 200)
    before = peak()
    loss(20_000, 100_000)
    print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in kB on Linux")
def test_twenty_thousand_nodes_take_less_than_100_mb():
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEMORY)], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) <= 100_000
