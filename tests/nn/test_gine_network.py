"""The network of messages with attributes against a written-out sum, and the encodings that enter it."""

import networkx as nx
import pytest
import torch

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.graph import laplacian_batch
from gossamer.nn import GINE, SPE, BasisNetPE, PEGDistance, SignNetPE
from gossamer.testing import check_module

GRAPHS = [nx.petersen_graph(), nx.path_graph(4), nx.cycle_graph(5)]


def inputs(seed=0):
    batch = laplacian_batch(GRAPHS)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(batch.V), 3, generator=generator, dtype=torch.float64)
    e = torch.randn(batch.edge_index.shape[1], 2, generator=generator, dtype=torch.float64)
    return batch, x, e


def test_a_layer_is_the_written_out_sum_with_weights_of_edges():
    torch.manual_seed(0)
    batch, x, e = inputs()
    net = GINE(3, 6, 2, layers=1, edge_features=2, pe_dim=10, pool=None, peg=True).double()
    h, layer, weight = net.nodes(x), net.layers[0], net.weights[0](batch.V, batch.edge_index)
    messages = torch.zeros_like(h)
    for k, (u, v) in enumerate(batch.edge_index.T.tolist()):
        messages[v] += weight[k] * (h[u] + layer.edges(e[k])).relu()
    expected = net.out(h + layer.net((1 + layer.eps) * h + messages))
    torch.testing.assert_close(net(x, batch.edge_index, e, batch.batch, batch.V), expected)


def test_pools_are_sums_and_means_over_the_nodes_of_each_graph():
    batch, x, _ = inputs()
    for pool in ("sum", "mean"):
        torch.manual_seed(0)
        net = GINE(3, 6, 2, pool=pool).double()
        apart = torch.cat([net(x[batch.nodes([i])], batch.take([i]).edge_index) for i in range(3)])
        torch.testing.assert_close(net(x, batch.edge_index, batch=batch.batch), apart)
    h = torch.arange(19.0)[:, None].expand(19, 6).double()
    expected = torch.stack([h[batch.batch == i].mean(0) for i in range(3)])
    torch.testing.assert_close(net._pooled(h, batch.batch), expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SPE(10, 4, m=4, rho_hidden=8, rho_layers=2),
        lambda: SignNetPE(10, 4, hidden=8, layers=2),
        lambda: BasisNetPE(10, 4, hidden=8, layers=2),
    ],
    ids=["spe", "signnet", "basisnet"],
)
def test_every_encoding_enters_it_and_learns_with_it(make):
    torch.manual_seed(0)
    batch, x, e = inputs()
    pe, net = make(), GINE(3, 8, 1, layers=2, edge_features=2, pe_dim=4)
    args = x.float(), batch.edge_index, e.float(), batch.batch
    (net(*args, pe(*batch.args)) ** 2).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())
    assert any(float(p.grad.abs().sum()) > 0 for p in pe.parameters())
    without = net(*args, torch.zeros(len(x), 4))
    assert not torch.allclose(without, net(*args, pe(*batch.args)))


def test_distances_do_not_depend_on_signs_or_rotations_of_all_vectors():
    torch.manual_seed(0)
    peg = PEGDistance().double()
    batch, _, _ = inputs()
    Q, _ = torch.linalg.qr(torch.randn(10, 10, dtype=torch.float64))
    expected = peg(batch.V, batch.edge_index)
    assert expected.shape == (batch.edge_index.shape[1], 1)
    torch.testing.assert_close(peg(batch.V @ Q, batch.edge_index), expected)
    u, v = batch.edge_index[:, 3]
    torch.testing.assert_close(expected[3], peg.net((batch.V[u] - batch.V[v]).norm()[None]))
    same = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    peg(same, torch.tensor([[0], [1]])).sum().backward()
    assert torch.equal(same.grad, torch.zeros(2, 3, dtype=torch.float64))


class OnGraphs(torch.nn.Module):
    def __init__(self, net, batch):
        super().__init__()
        self.net, self.batch = net, batch

    def forward(self, x, e, pe):
        return self.net(x, self.batch.edge_index, e, self.batch.batch, pe)


@pytest.mark.parametrize("peg", [False, True])
def test_it_keeps_the_contract_of_modules(peg):
    torch.manual_seed(0)
    batch, x, e = inputs()
    net = GINE(3, 8, 2, layers=2, edge_features=2, pe_dim=10, peg=peg, pool="mean")
    check_module(OnGraphs(net, batch), x.float(), e.float(), batch.V.float(), half=False)


def test_it_computes_what_layers_of_pytorch_geometric_do():
    geometric = pytest.importorskip("torch_geometric.nn")
    torch.manual_seed(0)
    batch, x, e = inputs()
    net = GINE(3, 6, 2, layers=2, edge_features=2, pe_dim=10, pool=None).double()
    h = net.nodes(x) + net.first(batch.V)
    for layer, each in zip(net.layers, net.each):
        peer = geometric.GINEConv(layer.net, eps=float(layer.eps), edge_dim=2).double()
        peer.lin.load_state_dict(layer.edges.state_dict())
        h = h + each(batch.V)
        h = h + peer(h, batch.edge_index, e)
    torch.testing.assert_close(net(x, batch.edge_index, e, batch.batch, batch.V), net.out(h))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_features": 0}, "in_features=0"),
        ({"layers": 0}, "layers=0"),
        ({"pool": "max"}, "pool='max'"),
        ({"peg": True}, "pe_dim=0"),
    ],
)
def test_bad_settings_are_refused_by_name(options, message):
    with pytest.raises(ArgumentError, match=message):
        GINE(**{"in_features": 3, "hidden": 4, "out_features": 1, **options})


def test_bad_input_is_refused_by_name():
    batch, x, e = inputs()
    net = GINE(3, 4, 1, edge_features=2, pe_dim=10).double()
    with pytest.raises(ShapeError, match=r"x has shape \(19, 2\)"):
        net(x[:, :2], batch.edge_index, e, batch.batch, batch.V)
    with pytest.raises(ShapeError, match=r"edge_attr has shape None: expected \(\d+, 2\)"):
        net(x, batch.edge_index, None, batch.batch, batch.V)
    with pytest.raises(ShapeError, match="pe has shape"):
        net(x, batch.edge_index, e, batch.batch)
    with pytest.raises(ShapeError, match=r"pe has shape .*: expected none"):
        GINE(3, 4, 1).double()(x, batch.edge_index, batch=batch.batch, pe=batch.V)
    with pytest.raises(ArgumentError, match="sorted"):
        net(x, batch.edge_index, e, batch.batch.flip(0), batch.V)
    with pytest.raises(ArgumentError, match="edge_index spans"):
        net(x, batch.edge_index + 1, e, batch.batch, batch.V)
    with pytest.raises(ArgumentError, match="edge_index spans"):
        PEGDistance()(batch.V, batch.edge_index + 1)
