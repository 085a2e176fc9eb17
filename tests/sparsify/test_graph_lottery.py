"""Tickets: what they prune and train is held to definitions; a small graph of two communities is learned."""

import numpy as np
import pytest
import scipy.sparse
import scipy.special
import torch

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.graph import as_adjacency, sparsify_edges
from gossamer.nn import GAT, GCN, GIN
from gossamer.sparsify import TeddyTrainer
from gossamer.sparsify.graph_lottery import (
    UGS,
    WDGLT,
    RandomTicket,
    sweep_levels,
    sweep_sparsities,
    ticket_cost,
)
from gossamer.sparsify.graph_lottery.node_task import NodeTask, Schedule
from gossamer.sparsify.graph_lottery.one_pass import distillation
from gossamer.sparsify.graph_lottery.wd_glt import class_distances, transport_cost

N = 40


def communities(seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], N // 2)
    upper = np.triu(rng.random((N, N)) < np.where(y[:, None] == y, 0.3, 0.03), 1)
    A = scipy.sparse.csr_array((upper | upper.T).astype(np.float32))
    X = (rng.random((N, 12)) < np.where(y[:, None] == (np.arange(12) < 6), 0.4, 0.2)).astype(np.float32)
    return X, A, y, np.array([0, 1, 2, 20, 21, 22]), np.r_[3:10, 23:30]


def small(kind=GCN):
    return lambda: kind(12, 16, 2)


def test_distillation_is_the_mean_relative_entropy():
    torch.manual_seed(0)
    z, teacher = (
        torch.randn(9, 4, dtype=torch.float64, requires_grad=True),
        torch.randn(9, 4, dtype=torch.float64),
    )
    p, q = teacher.softmax(1).numpy(), z.detach().softmax(1).numpy()
    assert float(distillation(z, teacher).detach()) == pytest.approx(scipy.special.rel_entr(p, q).sum() / 9)
    assert abs(float(distillation(teacher, teacher))) < 1e-12
    assert torch.autograd.gradcheck(lambda z: distillation(z, teacher), (z,))


@pytest.mark.parametrize("network", [GCN, GIN, GAT])
def test_a_ticket_has_the_edges_of_the_score_and_the_exact_number_of_weights(network):
    X, A, y, train, val = communities()
    ticket = TeddyTrainer(small(network), 0.4, 0.7, epochs=4).fit(scipy.sparse.csr_array(X), A, y, train, val)
    expected, report = sparsify_edges(A, 0.4)
    assert (ticket.A_pruned != expected).nnz == 0
    assert ticket.edge_sparsity == pytest.approx(1 - report.kept / report.edges)
    total = sum(p.numel() for p in ticket.model.parameters())
    zeros = total - sum(int(p.count_nonzero()) for p in ticket.model.parameters())
    assert zeros >= np.ceil(0.7 * total)
    assert ticket.weight_sparsity == pytest.approx(zeros / total)
    assert torch.allclose(ticket.model(torch.from_numpy(X), ticket.A_pruned), ticket.logits, atol=1e-5)
    assert ticket.val_acc == ticket.accuracy(y, val) == max(ticket.history["val_acc"])
    last = max(i for i, acc in enumerate(ticket.history["val_acc"]) if acc == ticket.val_acc)
    assert ticket.best_epoch == last
    assert set(ticket.to_dict()) >= {"val_acc", "edge_sparsity", "history"}
    assert "model" not in ticket.to_dict()


def test_without_sparsity_it_is_plain_training_bit_by_bit_and_leaves_random_numbers_alone():
    X, A, y, train, val = communities()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ticket = TeddyTrainer(small(), 0.0, 0.0, lambda_dt=0.0, epochs=8, seed=3).fit(X, A, y, train, val)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(3)
    model = GCN(12, 16, 2)
    torch.manual_seed(3)
    optimizer = torch.optim.Adam(model.parameters(), 0.01, weight_decay=5e-4)
    target, states = torch.from_numpy(y), []
    for _ in range(8):
        model.train()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.from_numpy(X), A)[train], target[train]).backward()
        optimizer.step()
        states.append([p.detach().clone() for p in model.parameters()])
    found = ticket.model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(found, states[ticket.best_epoch], strict=True))
    assert ticket.teacher_logits is None


def test_communities_are_learned_from_a_part_of_edges_and_weights():
    X, A, y, train, val = communities()
    rest = np.setdiff1d(np.arange(N), np.r_[train, val])
    ticket = TeddyTrainer(small(), 0.3, 0.6, lambda_dt=5.0, epochs=60).fit(X, A, y, train, val)
    assert ticket.accuracy(y, rest) >= 0.8
    reused = TeddyTrainer(small(), 0.3, 0.6, lambda_dt=5.0, epochs=60)
    again = reused.fit(X, A, y, train, val, teacher_logits=ticket.teacher_logits)
    assert torch.equal(again.logits, ticket.logits)
    assert torch.equal(again.teacher_logits, ticket.teacher_logits)


def test_labels_outside_the_splits_are_never_read():
    X, A, y, train, val = communities()
    hidden = np.full(N, -1)
    hidden[np.r_[train, val]] = y[np.r_[train, val]]
    trainer = TeddyTrainer(small(), 0.3, 0.6, epochs=6)
    assert torch.equal(trainer.fit(X, A, hidden, train, val).logits, trainer.fit(X, A, y, train, val).logits)


def test_a_sweep_trains_the_dense_model_once_and_follows_the_levels():
    X, A, y, train, val = communities()
    made = []

    def make(edges, weights):
        made.append((edges, weights))
        return TeddyTrainer(small(), edges, weights, epochs=3)

    found = sweep_levels(make, X, A, y, train, val, levels=(1, 5))
    assert made == [sweep_sparsities(1), sweep_sparsities(5)]
    assert made[1] == pytest.approx((0.2262190625, 0.40951))
    assert torch.equal(found[1].teacher_logits, found[5].teacher_logits)
    assert found[5].A_pruned.nnz < found[1].A_pruned.nnz


def test_random_tickets_differ_by_seed_and_have_the_same_counts():
    X, A, y, train, val = communities()
    one, two = (RandomTicket(small(), 0.4, 0.5, epochs=2, seed=s).fit(X, A, y, train, val) for s in (0, 1))
    assert one.A_pruned.nnz == two.A_pruned.nnz == sparsify_edges(A, 0.4)[0].nnz
    assert (one.A_pruned != two.A_pruned).nnz > 0
    assert (one.A_pruned != one.A_pruned.T).nnz == 0


@pytest.mark.parametrize("method", [UGS, WDGLT])
def test_rounds_are_nested_with_the_counts_of_the_levels(method):
    X, A, y, train, val = communities()
    edges = A.nnz // 2
    trainer = method(small(), rounds=3, epochs=3)
    found = dict(trainer.tickets(X, A, y, train, val, at=(1, 3)))
    assert sorted(found) == [1, 3]
    for level, ticket in found.items():
        edge_share, weight_share = sweep_sparsities(level)
        total = sum(p.numel() for p in ticket.model.parameters())
        assert ticket.A_pruned.nnz == 2 * (edges - int(edge_share * edges))
        assert sum(int(p.count_nonzero()) for p in ticket.model.parameters()) <= total - np.ceil(
            weight_share * total
        )
        assert (ticket.A_pruned != ticket.A_pruned.T).nnz == 0
    assert (found[3].A_pruned > found[1].A_pruned).nnz == 0
    assert torch.equal(trainer.fit(X, A, y, train, val).logits, found[3].logits)


def test_edges_that_harm_lose_their_masks_first():
    # edges between the communities carry messages of the other class
    X, A, y, _, val = communities()
    everyone = np.setdiff1d(np.arange(N), val)
    X = np.concatenate([X, y[:, None] * 2.0], axis=1).astype(np.float32)
    ticket = UGS(lambda: GCN(13, 16, 2, dropout=0.0), rounds=5, epochs=60, l1_edges=0.0).fit(
        X, A, y, everyone, val
    )

    def across(matrix):
        u, v = matrix.nonzero()
        return float((y[u] != y[v]).mean())

    assert across(ticket.A_pruned) < across(A)


def test_the_transport_term_has_the_gradient_of_the_plan_that_is_held():
    torch.manual_seed(0)
    x, y = torch.rand(5, 3, dtype=torch.float64, requires_grad=True), torch.rand(7, 3, dtype=torch.float64)
    value = transport_cost(x, y, 0.05, 500)
    import ot

    C = torch.cdist(x, y) ** 2
    plan = ot.sinkhorn(np.full(5, 1 / 5), np.full(7, 1 / 7), C.detach().numpy(), 0.05, numItermax=5000)
    assert float(value.detach()) == pytest.approx(
        float((torch.from_numpy(plan) * C.detach()).sum()), rel=1e-4
    )
    (found,) = torch.autograd.grad(value, x, retain_graph=True)
    (expected,) = torch.autograd.grad((torch.from_numpy(plan) * C).sum(), x)
    assert torch.allclose(found, expected, atol=1e-4)
    assert float(class_distances(torch.zeros(6, 3), 0.1, 5)) == 0.0


def test_costs_count_what_does_not_meet_a_zero():
    X, A, _, _, _ = communities()
    model = GCN(12, 16, 2)
    with torch.no_grad():
        model.layers[0].linear.weight[:, :6] = 0
    cost = ticket_cost(model, X, A)
    first = sum(
        int((X[:, k] != 0).sum()) * int((model.layers[0].linear.weight[:, k] != 0).sum()) for k in range(12)
    )
    assert cost.edges == A.nnz // 2
    assert cost.weights == int(sum(p.count_nonzero() for p in model.parameters()))
    assert cost.macs == first + (A.nnz + N) * 16 + N * 16 * 2 + (A.nnz + N) * 2
    assert ticket_cost(model, scipy.sparse.csr_array(X), A) == cost


def test_bad_input_is_refused():
    X, A, y, train, val = communities()
    for name, options in (
        ("edge_sparsity", (1.0, 0.0)), ("edge_sparsity", (float("nan"), 0.0)), ("weight_sparsity", (0.0, 1.0)),
        ("lambda_dt", (0.0, 0.0, -1.0)), ("epochs", (0.0, 0.0, 1.0, 0)), ("lr", (0.0, 0.0, 1.0, 1, 0.0)),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=f"{name}="):
            TeddyTrainer(small(), *options)
    trainer = TeddyTrainer(small(), 0.1, 0.1, epochs=1)
    with pytest.raises(ArgumentError, match="share 1 nodes"):
        trainer.fit(X, A, y, train, np.r_[val, train[:1]])
    unlabelled = y.copy()
    unlabelled[train[0]] = -1
    with pytest.raises(ArgumentError, match="without a label"):
        trainer.fit(X, A, unlabelled, train, val)
    with pytest.raises(ArgumentError, match="not symmetric"):
        trainer.fit(X, scipy.sparse.triu(A).tocsr(), y, train, val)
    with pytest.raises(ShapeError, match="square"):
        trainer.fit(X, A[:, :5], y, train, val)
    with pytest.raises(ShapeError, match="X has"):
        trainer.fit(X[:5], A, y, train, val)
    with pytest.raises(ShapeError, match="y is"):
        trainer.fit(X, A, y[:5], train, val)
    with pytest.raises(ArgumentError, match="train_idx spans"):
        trainer.fit(X, A, y, [99], val)
    with pytest.raises(ShapeError, match="val_idx"):
        trainer.fit(X, A, y, train, [])
    with pytest.raises(ArgumentError, match="NaN"):
        trainer.fit(X * np.nan, A, y, train, val)
    with pytest.raises(UnsupportedError, match="X is a str"):
        trainer.fit("X", A, y, train, val)
    with pytest.raises(ShapeError, match="teacher_logits"):
        trainer.fit(X, A, y, train, val, teacher_logits=torch.zeros(3, 2))
    with pytest.raises(ArgumentError, match="at"):
        next(UGS(small(), rounds=2).tickets(X, A, y, train, val, at=(3,)))
    with pytest.raises(ArgumentError, match="score="):
        TeddyTrainer(small(), 0.1, 0.1, epochs=1, edge_score="best").fit(X, A, y, train, val)


def test_masks_of_nodes_and_graphs_with_self_loops_are_taken():
    X, A, y, train, val = communities()
    looped = as_adjacency((A + scipy.sparse.eye_array(N)).tocsr())
    where = [np.isin(np.arange(N), nodes) for nodes in (train, val)]
    task = NodeTask.of(X, looped, y, *where)
    assert task.train.tolist() == sorted(train)
    ticket = TeddyTrainer(small(), 0.5, 0.0, epochs=2).fit(X, looped, y, *where)
    assert ticket.A_pruned.diagonal().tolist() == [1.0] * N
    empty = scipy.sparse.csr_array((N, N), dtype=np.float32)
    assert TeddyTrainer(small(), 0.5, 0.0, epochs=2).fit(X, empty, y, train, val).edge_sparsity == 0.0
    assert Schedule().epochs == 200
