"""Message passing against dense formulas, and against PyTorch Geometric where it is installed."""

import numpy as np
import pytest
import scipy.sparse
import torch

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.nn import GAT, GCN, GIN, GATConv, GCNConv, GINConv, GINEConv, SparseTensor, skip_zeros
from gossamer.nn.graph.skip_zeros import ZeroSkippingLinear
from gossamer.sparsify import L0Projection
from gossamer.testing import check_module

N = 14


def graph(seed=0, isolated=True):
    upper = np.triu(np.random.default_rng(seed).random((N, N)) < 0.3, 1)
    if isolated:
        upper[0] = upper[:, 0] = False
    return scipy.sparse.csr_array((upper | upper.T).astype(np.float64))


def features(columns=5, seed=0):
    return torch.randn(N, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class OnGraph(torch.nn.Module):
    """A network and its graph: a function of features alone."""

    def __init__(self, net, adj):
        super().__init__()
        self.net, self.adj = net, adj

    def forward(self, x):
        return self.net(x, self.adj)


def test_products_sums_and_shapes_are_those_of_the_dense_matrix():
    A = graph()
    T = SparseTensor.of(A)
    x = features()
    assert torch.allclose(T @ x, torch.from_numpy(A.toarray()) @ x)
    assert torch.allclose(T @ x[:, 0], torch.from_numpy(A @ x[:, 0].numpy()))
    assert torch.allclose(T.T.to_dense(), T.to_dense().T)
    assert torch.allclose(T.sum_rows(), torch.from_numpy(A.sum(axis=1)))
    wide = SparseTensor.of(scipy.sparse.random(3, 7, 0.5, format="coo", random_state=0))
    assert torch.allclose(wide.T @ torch.eye(3, dtype=torch.float64), wide.to_dense().T)
    empty = SparseTensor.of(scipy.sparse.csr_array((4, 4)))
    assert (empty @ torch.ones(4, 2)).abs().sum() == 0
    assert np.array_equal(SparseTensor.of(A).to_scipy().toarray(), A.toarray())


def test_every_sparse_form_makes_the_same_tensor_and_gradients_reach_its_values():
    A = graph()
    dense = torch.from_numpy(A.toarray())
    for form in (A, A.tocoo(), A.tocsc(), dense.to_sparse(), dense.to_sparse_csr()):
        assert torch.equal(SparseTensor.of(form).to_dense(), dense)
    u, v = A.nonzero()
    order = np.random.default_rng(0).permutation(len(u))
    weight = torch.rand(len(u), dtype=torch.float64, requires_grad=True)
    T, place = SparseTensor.from_edge_index(np.stack([u, v])[:, order], N, weight)
    expected = torch.zeros(N, N, dtype=torch.float64).index_put(
        (torch.from_numpy(v[order].copy()).long(), torch.from_numpy(u[order].copy()).long()), weight
    )
    assert torch.equal(T.to_dense(), expected)
    assert torch.equal(weight[place], T.values)
    T.to_dense().sum().backward()
    assert torch.equal(weight.grad, torch.ones_like(weight))


def test_gradients_are_right_to_second_order():
    T, x = SparseTensor.of(graph()), features(3).requires_grad_()
    v = (T.values + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda v, x: T.with_values(v) @ x, (v, x))
    assert torch.autograd.gradgradcheck(lambda v, x: T.with_values(v) @ x, (v, x))
    assert torch.autograd.gradcheck(lambda v: T.with_values(v).normalized().values, (v,))
    scores = torch.randn(T.nnz, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v, s: T.with_values(v).softmax(s), (v, scores))


def test_the_propagation_matrix_is_the_dense_formula():
    A = graph()
    looped = A.toarray() + np.eye(N)
    root = looped.sum(1) ** -0.5
    P = SparseTensor.of(A).normalized()
    assert np.allclose(P.to_dense(), root[:, None] * looped * root)
    assert P.to_dense()[0].tolist() == [1.0] + [0.0] * (N - 1)  # an isolated node keeps itself
    W = A * 0.3 + scipy.sparse.eye_array(N) * 2
    looped = W.toarray()
    root = looped.sum(1) ** -0.5
    assert np.allclose(SparseTensor.of(W).normalized().to_dense(), root[:, None] * looped * root)


def test_softmax_rows_are_shares_and_weight_zero_is_no_edge():
    A = graph()
    T = SparseTensor.of(A)
    weight = torch.ones(T.nnz, dtype=torch.float64)
    weight[::3] = 0
    scores = 50 * torch.randn(T.nnz, 3, dtype=torch.float64)
    scores[0] = 1e6  # of an edge that is not there
    shares = T.with_values(weight).softmax(scores)
    alive = weight > 0
    kept = torch.zeros(N, N, 3, dtype=torch.float64)
    kept[T.pattern.rows[alive], T.pattern.columns[alive]] = scores[alive]
    there = torch.zeros(N, N, dtype=torch.bool)
    there[T.pattern.rows[alive], T.pattern.columns[alive]] = True
    expected = kept.masked_fill(~there[..., None], -torch.inf).softmax(dim=1)
    assert torch.allclose(shares[alive], expected[T.pattern.rows[alive], T.pattern.columns[alive]])
    assert shares[~alive].abs().max() == 0


def test_convolutions_are_their_dense_formulas():
    torch.manual_seed(0)
    A, x = graph(), features()
    dense = torch.from_numpy(A.toarray())
    P = SparseTensor.of(A).normalized().to_dense()
    gcn = GCNConv(5, 3).double()
    assert torch.allclose(gcn(x, A), P @ x @ gcn.linear.weight.T + gcn.bias)
    for sizes in ((5, 3), (5, 8)):
        net = torch.nn.Sequential(
            torch.nn.Linear(*sizes), torch.nn.ReLU(), torch.nn.Linear(sizes[1], 2)
        ).double()
        gin = GINConv(net, eps=0.5).double()
        assert torch.allclose(gin(x, A), net(1.5 * x + dense @ x))
    assert torch.allclose(GINConv(torch.nn.Tanh())(x, A), torch.tanh(x + dense @ x))
    T = SparseTensor.of(A)
    e = torch.randn(T.nnz, 4, dtype=torch.float64)
    gine = GINEConv(torch.nn.Identity(), 5, edge_features=4, eps=0.25, train_eps=True).double()
    table = torch.zeros(N, N, 5, dtype=torch.float64)
    table[T.pattern.rows, T.pattern.columns] = (x[T.pattern.columns] + gine.edges(e)).relu()
    assert torch.allclose(gine(x, T, e), 1.25 * x + table.sum(1))
    gat = GATConv(5, 3, heads=2).double()
    z = gat.linear(x).reshape(N, 2, 3)
    s = (z * gat.attend_receiver).sum(2)[:, None] + (z * gat.attend_sender).sum(2)[None]
    s = torch.nn.functional.leaky_relu(s, 0.2)
    there = (dense + torch.eye(N)) > 0
    alpha = s.masked_fill(~there[..., None], -torch.inf).softmax(dim=1)
    assert torch.allclose(gat(x, A), torch.einsum("ijh,jhd->ihd", alpha, z).reshape(N, 6) + gat.bias)


@pytest.mark.parametrize("network", [GCN, GIN, GAT])
def test_an_edge_of_weight_zero_is_an_edge_that_was_deleted(network):
    torch.manual_seed(0)
    A, x = graph(), features().float()
    T = SparseTensor.of(A, torch.float32)
    gone = torch.zeros(T.nnz)
    gone[[0, 5, 9]] = 1
    model = network(5, 16, 3).eval()
    masked = model(x, T.with_values(T.values * (1 - gone)))
    deleted = A.copy()
    deleted.data = deleted.data * (1 - gone.numpy())
    deleted.eliminate_zeros()
    assert (masked - model(x, deleted)).abs().max() <= 1e-6


@pytest.mark.parametrize("network", [GCN, GIN, GAT])
def test_networks_keep_the_contract_of_modules_and_take_sparse_features(network):
    torch.manual_seed(0)
    A = SparseTensor.of(graph(), torch.float32)
    check_module(OnGraph(network(5, 16, 3, dropout=0.0), A), features().float())
    model, x = network(5, 16, 3).eval(), features().float().relu()
    for form in (x.to_sparse(), x.to_sparse_csr(), scipy.sparse.csr_array(x.numpy())):
        assert torch.allclose(model(form, A), model(x, A), atol=1e-5)
    model.train()
    assert model(SparseTensor.of(scipy.sparse.csr_array(x.numpy())), A).isfinite().all()


@pytest.mark.parametrize("network", [GCN, GIN, GAT])
def test_skipping_zeros_changes_nothing_but_the_work(network):
    torch.manual_seed(0)
    A, x = SparseTensor.of(graph(), torch.float32), features(9).float().relu()
    model = network(9, 16, 3).eval()
    L0Projection(model, 0.8).step()
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2 and p.shape[1] == 9:
                p[:, 2:5] = 0  # features that no weight waits for
    fast = skip_zeros(model)
    assert any(isinstance(m, ZeroSkippingLinear) for m in fast.modules())
    assert not any(isinstance(m, ZeroSkippingLinear) for m in model.modules())
    table = SparseTensor.of(scipy.sparse.csr_array(x.numpy()))
    for form in (x, table, table, x.to_sparse()):
        assert torch.allclose(fast(form, A), model(x, A), atol=1e-5)
    dense = skip_zeros(model, density=0.0)
    assert not any(isinstance(m, ZeroSkippingLinear) for m in dense.modules())
    with pytest.raises(ArgumentError, match="density="):
        skip_zeros(model, density=1.5)


def test_columns_move_and_go_with_gradients():
    x = scipy.sparse.random(6, 5, 0.5, format="csr", random_state=0)
    T = SparseTensor.of(x)
    values = T.values.clone().requires_grad_()
    moved = T.with_values(values).with_columns(torch.tensor([-1, 0, -1, 2, 3]), 4)
    expected = np.zeros((6, 4))
    expected[:, [0, 2, 3]] = x.toarray()[:, [1, 3, 4]]
    assert np.array_equal(moved.to_dense().detach().numpy(), expected)
    moved.values.sum().backward()
    assert int(values.grad.sum()) == moved.nnz


def test_layers_agree_with_pytorch_geometric():
    pyg = pytest.importorskip("torch_geometric.nn")
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    edges = torch.from_numpy(np.stack([rng.integers(0, N, 40), rng.integers(0, N, 40)]))
    edges = torch.unique(edges[:, edges[0] != edges[1]], dim=1)
    adjacency, order = SparseTensor.from_edge_index(edges, N)
    x = features().float()
    theirs, ours = pyg.GCNConv(5, 3), GCNConv(5, 3)
    ours.linear.weight.data = theirs.lin.weight.data
    assert torch.allclose(ours(x, adjacency), theirs(x, edges), atol=1e-5)
    net = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    theirs, ours = pyg.GINConv(net, 0.3), GINConv(net, 0.3)  # theirs draws the weights of the network anew
    assert torch.allclose(ours(x, adjacency), theirs(x, edges), atol=1e-5)
    e = torch.randn(edges.shape[1], 6)
    theirs, ours = pyg.GINEConv(net, 0.1, edge_dim=6), GINEConv(net, 5, 6, 0.1)
    ours.edges.load_state_dict(theirs.lin.state_dict())
    assert torch.allclose(ours(x, adjacency, e[order]), theirs(x, edges, e), atol=1e-5)
    theirs, ours = pyg.GATConv(5, 3, heads=2), GATConv(5, 3, heads=2)
    ours.linear.weight.data = theirs.lin.weight.data
    ours.attend_sender.data, ours.attend_receiver.data = theirs.att_src.data[0], theirs.att_dst.data[0]
    assert torch.allclose(ours(x, adjacency), theirs(x, edges), atol=1e-5)


def test_bad_input_is_refused():
    T = SparseTensor.of(graph())
    with pytest.raises(ShapeError, match="x has shape"):
        T @ torch.ones(3, 2)
    with pytest.raises(ShapeError, match="values"):
        T.with_values(torch.ones(2))
    with pytest.raises(UnsupportedError, match="sparse"):
        SparseTensor.of(np.eye(3))
    with pytest.raises(ArgumentError, match="edge_index"):
        SparseTensor.from_edge_index(np.array([[0], [9]]), 4)
    with pytest.raises(ShapeError, match="square"):
        SparseTensor.of(scipy.sparse.csr_array(np.ones((2, 3)))).normalized()
    with pytest.raises(ArgumentError, match="heads"):
        GAT(4, 10, 2, heads=4)
    with pytest.raises(ShapeError, match="edge_attr"):
        GINEConv(torch.nn.Identity(), 5)(features(), T, torch.ones(2, 5))
    with pytest.raises(ArgumentError, match=r"begins with torch\.nn\.Linear"):
        GINConv(torch.nn.Tanh())(features().relu().to_sparse(), T)
