"""Encodings of graphs: what they must not depend on, closed forms, and how they move when a spectrum moves."""

import itertools

import networkx as nx
import numpy as np
import pytest
import torch

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.graph import laplacian_batch, laplacian_eigs
from gossamer.graph.encode.eigenpairs import smallest_eigenpairs
from gossamer.nn import SPE, BasisNetPE, SignNetPE
from gossamer.testing import check_module

PHI = ("mlp", "deepsets", "bspline", "power", "ones", "indicator")
RHO = ("gin", "mlp", "gin_deepsets", "ign", "ppgn")
SYMMETRIC = {
    "ring": nx.cycle_graph(7),
    "bipartite": nx.complete_bipartite_graph(3, 3),
    "petersen": nx.petersen_graph(),
    "star": nx.star_graph(5),
    "parts": nx.disjoint_union(nx.cycle_graph(4), nx.path_graph(3)),
}
FIVE = [
    nx.path_graph(3),
    nx.cycle_graph(7),
    nx.gnp_random_graph(7, 0.5, seed=1),
    nx.random_regular_graph(3, 12, seed=0),
    nx.gnp_random_graph(20, 0.2, seed=2),
]


def make(phi="mlp", rho="gin", d=20, m=20, **options):
    torch.manual_seed(0)
    options = {"rho_hidden": 8, "rho_layers": 2, "phi_init": "random", **options}
    return SPE(d, 5, m=m, phi=phi, rho=rho, **options).double()


def rotated(V, lam, rng):
    """Another basis of every eigenspace."""
    V = V.clone()
    groups = np.split(np.arange(len(lam)), np.flatnonzero(np.diff(lam) > 1e-8) + 1)
    for group in groups:
        Q, _ = np.linalg.qr(rng.normal(size=(len(group), len(group))))
        V[:, group] = V[:, group] @ torch.from_numpy(Q * rng.choice([-1, 1], len(group)))
    return V


def change_under_rotation(pe, graph, d, rng):
    batch = laplacian_batch([graph], d)
    n = len(graph)
    other = rotated(batch.V[:, :n], batch.lam[0, :n].numpy(), rng)
    other = torch.nn.functional.pad(other, (0, d - n))
    with torch.no_grad():
        return float((pe(*batch.args) - pe(batch.lam, other, batch.edge_index, batch.batch)).abs().max())


class Raw(torch.nn.Module):
    def forward(self, lam, V, edge_index, batch):
        return V


@pytest.mark.parametrize(("phi", "rho"), list(itertools.product(PHI, RHO)))
def test_no_basis_of_an_eigenspace_is_preferred(phi, rho):
    pe, rng = make(phi, rho, d=10, m=10), np.random.default_rng(0)
    for graph in SYMMETRIC.values():
        assert change_under_rotation(pe, graph, 10, rng) <= 1e-10


def test_raw_vectors_and_sign_invariant_networks_do_prefer_one():
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    basis = BasisNetPE(10, 5, hidden=8).double()
    for graph in SYMMETRIC.values():
        assert change_under_rotation(basis, graph, 10, rng) <= 1e-10
    for variant in ("sum", "concat"):
        sign = SignNetPE(10, 5, variant=variant, hidden=8).double()
        batch = laplacian_batch([nx.petersen_graph()])
        flipped = batch.V * torch.tensor([1, -1] * 5)
        same = sign(batch.lam, flipped, batch.edge_index, batch.batch)
        torch.testing.assert_close(same, sign(*batch.args), rtol=0, atol=1e-10)
        # to second order what it makes of an eigenspace is the diagonal of its projector, which does not change
        assert change_under_rotation(sign, nx.petersen_graph(), 10, rng) > 1e-7
    assert change_under_rotation(Raw(), nx.petersen_graph(), 10, rng) > 1e-3


BASELINES = {
    "signnet": lambda: SignNetPE(20, 5, hidden=8).double(),
    "signnet-concat": lambda: SignNetPE(20, 5, variant="concat", hidden=8).double(),
    "basisnet": lambda: BasisNetPE(20, 5, hidden=8, layers=2).double(),
}
EVERY = {
    **{f"{phi}-{rho}": (lambda phi=phi, rho=rho: make(phi, rho)) for phi, rho in itertools.product(PHI, RHO)},
    **BASELINES,
}


@pytest.mark.parametrize("name", list(EVERY))
def test_graphs_of_a_batch_do_not_see_each_other_and_nodes_have_no_order(name):
    torch.manual_seed(0)
    pe, batch = EVERY[name](), laplacian_batch(FIVE)
    with torch.no_grad():
        together = pe(*batch.args)
        apart = torch.cat([pe(*batch.take([i]).args) for i in range(5)])
        torch.testing.assert_close(together, apart, rtol=0, atol=1e-10)
        single = batch.take([4])
        order = torch.randperm(20)
        place = torch.argsort(order)
        moved = pe(single.lam, single.V[order], place[single.edge_index], single.batch)
        torch.testing.assert_close(moved, pe(*single.args)[order], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", list(EVERY))
def test_a_node_alone_and_graphs_without_edges_are_graphs(name):
    torch.manual_seed(0)
    pe, batch = EVERY[name](), laplacian_batch([nx.empty_graph(1), nx.empty_graph(3)], 20)
    assert batch.lam.eq(0).all()
    out = pe(*batch.args)
    assert out.isfinite().all()
    torch.testing.assert_close(out[:1], pe(*batch.take([0]).args), rtol=0, atol=1e-10)
    if name in ("signnet", "signnet-concat"):  # it sees the vectors, of which each node has another one
        return
    torch.testing.assert_close(out[1:], out[1:2].expand(3, 5), rtol=0, atol=1e-10)


def test_powers_of_the_normalised_adjacency_come_out():
    graph = nx.gnp_random_graph(9, 0.4, seed=3)
    A = nx.to_numpy_array(graph)
    degree = A.sum(1)
    half = np.divide(1, np.sqrt(degree), out=np.zeros(9), where=degree > 0)
    normal = half[:, None] * A * half + np.diag((degree == 0).astype(float))
    W, mask = make("power", d=9, m=6).channels(*laplacian_batch([graph]).args)
    assert mask.all()
    for power in range(6):
        np.testing.assert_allclose(W[:, :, power], np.linalg.matrix_power(normal, power), atol=1e-10)


def test_other_functions_have_their_closed_forms():
    batch = laplacian_batch([nx.petersen_graph()])
    W, _ = make("ones", d=10, m=2).channels(*batch.args)
    np.testing.assert_allclose(W[:, :, 1], np.eye(10), atol=1e-10)
    W, _ = make("indicator", d=10, m=10).channels(*batch.args)
    np.testing.assert_allclose(W[:, :, 0], np.full((10, 10), 0.1), atol=1e-10)
    np.testing.assert_allclose(W[:, :, 3:], 0, atol=1e-10)
    np.testing.assert_allclose(W.sum(2), np.eye(10), atol=1e-10)
    W, _ = make("mlp", d=10, m=3, phi_init="power").channels(*batch.args)
    A = nx.to_numpy_array(nx.petersen_graph()) / 3
    for power in range(3):
        np.testing.assert_allclose(W[:, :, power].detach(), np.linalg.matrix_power(A, power + 1), atol=1e-10)
    W, _ = make("deepsets", d=10, m=3, phi_init="power").channels(*batch.args)
    np.testing.assert_allclose(W[:, :, 1].detach(), A @ A, atol=1e-10)


def test_cycles_of_a_regular_graph_are_read_off_the_powers():
    for r, n in ((3, 12), (4, 11)):
        graph = nx.random_regular_graph(r, n, seed=n)
        W, _ = make("power", d=n, m=6).channels(*laplacian_batch([graph]).args)
        trace = {k: float(W[:, :, k].diagonal().sum()) * r**k for k in (3, 4, 5)}
        found = (
            trace[3] / 6,
            (trace[4] - 2 * r**2 * n + r * n) / 8,
            (trace[5] - 5 * (r - 1) * trace[3]) / 10,
        )
        lengths = [len(cycle) for cycle in nx.simple_cycles(graph, length_bound=6)]
        np.testing.assert_allclose(found, [lengths.count(k) for k in (3, 4, 5)], atol=1e-8)


def test_all_nodes_of_a_ring_are_alike():
    lam, V = laplacian_eigs(nx.cycle_graph(6), d=6)
    edges = torch.tensor(list(nx.cycle_graph(6).to_directed().edges)).T
    pe = SPE(6, 8, phi="power", m=4, rho="mlp").double()
    out = pe(torch.tensor(lam)[None], torch.tensor(V), edges, torch.zeros(6, dtype=torch.long))
    assert torch.allclose(out, out[:1].expand(6, 8))


def crossing(t, n=8, seed=0):
    """A symmetric matrix two of whose eigenvalues meet at t = 0."""
    U, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))
    lam = np.array([0, 0.5, 1 - t, 1 + t, 1.5, 1.7, 1.9, 2.0])
    return (U * lam) @ U.T


def encode(pe, L):
    lam, V = smallest_eigenpairs(L, len(L))
    ring = torch.tensor([list(range(8)), [*range(1, 8), 0]])
    edges = torch.cat([ring, ring.flip(0)], dim=1)
    with torch.no_grad():
        return pe(torch.from_numpy(lam)[None], torch.from_numpy(V), edges, torch.zeros(8, dtype=torch.long))


class Signed(torch.nn.Module):
    """Eigenvectors whose largest entry is made positive."""

    def forward(self, lam, V, edge_index, batch):
        top = V.gather(0, V.abs().argmax(0, keepdim=True))
        return V * top.sign()


STEPS = 10.0 ** -np.arange(1, 9)


def moves(pe):
    """Distance and change of the matrix across the crossing, from t to -t."""
    distance = [float((encode(pe, crossing(t)) - encode(pe, crossing(-t))).norm()) for t in STEPS]
    return np.array(distance), np.array([np.linalg.norm(crossing(t) - crossing(-t)) for t in STEPS])


@pytest.mark.parametrize("phi", ["mlp", "deepsets", "bspline", "power", "ones"])
@pytest.mark.parametrize("rho", ["gin", "mlp"])
def test_the_encoding_is_continuous_where_eigenvalues_cross(phi, rho):
    for init in ("random", "power"):
        distance, eps = moves(make(phi, rho, d=8, m=8, phi_init=init))
        assert (distance <= 1e3 * np.sqrt(eps)).all()
        if distance[0] < 1e-12:  # "ones": nothing changes at all
            continue
        assert np.polyfit(np.log(eps), np.log(distance), 1)[0] >= 0.45


def test_the_encoding_is_continuous_up_to_the_crossing_on_both_sides():
    pe = make("mlp", d=8, m=8)
    at = encode(pe, crossing(0.0))
    for side in (1, -1):
        distance = [float((encode(pe, crossing(side * t)) - at).norm()) for t in STEPS]
        assert np.polyfit(np.log(STEPS), np.log(distance), 1)[0] >= 0.45


def test_vectors_jump_where_eigenvalues_cross():
    for pe in (Raw(), Signed()):
        distance, _ = moves(pe)
        assert distance[-1] >= 0.1


def test_hard_partitions_jump_where_the_rounded_eigenvalues_part():
    for pe in (make("indicator", d=8, m=8), BasisNetPE(8, 5, hidden=8, layers=2).double()):
        for away in (1e-2, 1e-3):
            near, far = (crossing(5e-6 * (1 + side * away)) for side in (-1, 1))
            assert np.linalg.norm(near - far) < 2e-7
            assert float((encode(pe, near) - encode(pe, far)).norm()) >= 0.1
    smooth = make("mlp", d=8, m=8)
    assert float((encode(smooth, near) - encode(smooth, far)).norm()) < 1e-4


class Diagonal(torch.nn.Module):
    """A rho of Lipschitz constant 1."""

    additive = False

    def forward(self, W, mask, edge_index, batch):
        return W.diagonal(dim1=0, dim2=1).T


def test_the_change_is_bounded_by_the_slopes_of_phi():
    """Of a full spectrum: a function of a symmetric matrix moves, in Frobenius norm, at most by its slope."""
    torch.manual_seed(0)
    pe = SPE(8, 6, m=6, phi="bspline", rho=Diagonal(), channel_scale=None).double()
    bound = float(pe.phi.lipschitz().square().sum().sqrt().detach())
    rng = np.random.default_rng(0)
    for scale in 10.0 ** -np.arange(1, 7):
        for t in (0.1, 1e-3, 0.0):
            noise = rng.normal(size=(8, 8)) * scale
            L = crossing(t)
            L2 = L + noise + noise.T
            lam, U = np.linalg.eigh(L2)
            L2 = (U * lam.clip(0, 2)) @ U.T
            assert float((encode(pe, L) - encode(pe, L2)).norm()) <= bound * np.linalg.norm(L - L2) * (
                1 + 1e-6
            )


@pytest.mark.parametrize(("phi", "rho"), [("mlp", "gin"), ("deepsets", "ign"), ("bspline", "ppgn")])
def test_gradients_are_right(phi, rho):
    pe = make(phi, rho, d=4, m=3, rho_hidden=3, detach=False).eval()
    batch = laplacian_batch([nx.path_graph(4)])
    # away from the ends of the splines' range, where they have a kink
    inputs = ((0.05 + 0.9 * batch.lam).requires_grad_(), batch.V.requires_grad_())
    assert torch.autograd.gradcheck(lambda lam, V: pe(lam, V, batch.edge_index, batch.batch), inputs)
    names, values = zip(*((k, v.detach().requires_grad_()) for k, v in pe.named_parameters()))

    def called(*values):
        state = dict(zip(names, values))
        return torch.func.functional_call(pe, state, tuple(x.detach() for x in batch.args))

    assert torch.autograd.gradcheck(called, values, fast_mode=True)


def test_gradients_stop_at_the_spectrum_unless_asked_for():
    batch = laplacian_batch([nx.path_graph(4)])
    V = batch.V.requires_grad_()
    make(d=4)(*batch.args).sum().backward()
    assert V.grad is None
    make(d=4, detach=False)(*batch.args).sum().backward()
    assert V.grad.abs().sum() > 0


def test_blocks_of_columns_give_the_same_result_and_gradients():
    batch = laplacian_batch(FIVE)
    results = []
    for block in (None, 6, 1):
        for rho in ("gin", "mlp"):
            pe = make(rho=rho, block=block)
            y = pe(*batch.args)
            y.square().sum().backward()
            results.append((rho, y.detach(), torch.cat([p.grad.flatten() for p in pe.parameters()])))
    for rho, y, gradient in results:
        first = next(r for r in results if r[0] == rho)
        torch.testing.assert_close(y, first[1], rtol=0, atol=1e-10)
        torch.testing.assert_close(gradient, first[2], rtol=1e-8, atol=1e-10)


def test_channels_are_scaled_by_their_size_in_the_first_training_batch():
    batch = laplacian_batch(FIVE)
    pe = make(m=4)
    pe.eval()(*batch.args)
    assert not pe.calibrated
    pe.train()(*batch.take([1, 2]).args)
    assert pe.calibrated
    W, mask = pe.channels(*batch.take([1, 2]).args)
    rms = (W[mask] / pe.channel_rms).square().mean(0).sqrt()
    torch.testing.assert_close(rms, torch.ones(4).double())
    kept = pe.channel_rms.clone()
    pe(*batch.args)
    assert torch.equal(pe.channel_rms, kept)
    twin = make(m=4)
    twin.load_state_dict(pe.state_dict())
    assert torch.equal(twin(*batch.args), pe(*batch.args))
    assert pe.calibrate(*batch.args).channel_rms.ne(kept).all()
    blocks = make(m=4, block=5).calibrate(*batch.args)
    torch.testing.assert_close(blocks.channel_rms, pe.channel_rms)
    with pytest.raises(UnsupportedError, match="channel_scale=None"):
        make(channel_scale=None).calibrate(*batch.args)


def test_sparse_powers_give_what_the_whole_spectrum_gives():
    batch = laplacian_batch([*FIVE, nx.disjoint_union(nx.path_graph(3), nx.empty_graph(2))])
    for block in (256, 5, None):
        pe = make("power", "mlp", m=6, block=block)
        sparse = pe.from_adjacency(batch.edge_index, batch.batch)
        scale = pe.channel_rms.clone()
        pe.calibrated.fill_(False)
        pe.channel_rms.fill_(1)
        torch.testing.assert_close(pe(*batch.args), sparse, rtol=0, atol=1e-10)
        torch.testing.assert_close(pe.channel_rms, scale)
        (gradient,) = torch.autograd.grad(sparse.square().sum(), pe.rho.net[0].weight)
        (expected,) = torch.autograd.grad(pe(*batch.args).square().sum(), pe.rho.net[0].weight)
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-9)
    with pytest.raises(UnsupportedError, match="GINRho"):
        make("power", "gin").from_adjacency(batch.edge_index, batch.batch)


class OwnPhi(torch.nn.Module):
    def forward(self, lam, mask):
        assert lam.shape[:2] == mask.shape
        return torch.cat([lam, lam**2], dim=2)


def test_modules_may_take_the_place_of_names():
    batch = laplacian_batch([nx.petersen_graph()])
    pe = SPE(10, 2, m=2, phi=OwnPhi(), rho=Diagonal(), channel_scale=None).double()
    L = np.eye(10) - nx.to_numpy_array(nx.petersen_graph()) / 3
    expected = np.stack([np.diag(L), np.diag(L @ L)], axis=1)
    np.testing.assert_allclose(pe(*batch.args), expected, atol=1e-10)
    with pytest.raises(ShapeError, match="phi gave shape"):
        SPE(10, 2, m=3, phi=OwnPhi())(*batch.args)
    with pytest.raises(ShapeError, match="rho gave shape"):
        SPE(10, 3, m=2, phi=OwnPhi(), rho=Diagonal())(*batch.args)


class OnEdges(torch.nn.Module):
    """An encoding with its graph: a function of eigenpairs alone."""

    def __init__(self, pe, batch):
        super().__init__()
        self.pe, self.batch = pe, batch

    def forward(self, lam, V):
        return self.pe(lam, V, self.batch.edge_index, self.batch.batch)


@pytest.mark.parametrize("rho", ["gin", "mlp", "gin_deepsets", "ign"])
def test_it_keeps_the_contract_of_modules(rho):
    torch.manual_seed(0)
    batch = laplacian_batch([nx.petersen_graph(), nx.path_graph(4)])
    pe = SPE(10, 4, m=4, rho=rho, rho_hidden=8, rho_layers=2, detach=False, phi_init="random")
    check_module(OnEdges(pe, batch), batch.lam.float(), batch.V.float(), half=False, learning_rate=1e-6)


def test_the_dtype_is_that_of_the_module():
    batch = laplacian_batch([nx.petersen_graph()])
    torch.manual_seed(0)
    pe = SPE(10, 4)
    assert pe(*batch.args).dtype == torch.float32
    torch.testing.assert_close(pe(*batch.args).double(), pe.double()(*batch.args), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d": 0}, "d=0"),
        ({"out_dim": 0}, "out_dim=0"),
        ({"m": 0}, "m=0"),
        ({"phi": "mpl"}, "did you mean 'mlp'"),
        ({"rho": "gim"}, "did you mean 'gin'"),
        ({"phi_init": "zero"}, "phi_init"),
        ({"channel_scale": "std"}, "channel_scale"),
        ({"rho_layers": 0}, "rho_layers=0"),
        ({"phi": "indicator", "m": 3}, "m=3: expected at least d=4"),
        ({"phi": "bspline", "spline_pieces": 0}, "spline_pieces=0"),
        ({"block": 0}, "block=0"),
    ],
)
def test_bad_settings_are_refused_by_name(options, message):
    with pytest.raises(ArgumentError, match=message):
        SPE(**{"d": 4, "out_dim": 2, **options})


def without(position, value):
    arguments = list(laplacian_batch([nx.path_graph(4), nx.path_graph(3)]).args)
    arguments[position] = value
    return arguments


@pytest.mark.parametrize("module", [SPE, SignNetPE, BasisNetPE], ids=lambda module: module.__name__)
@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, torch.zeros(2, 3), "lam has shape"),
        (0, torch.full((2, 4), torch.nan), "lam has NaN"),
        (0, torch.zeros(3, 4), "expected 3, one a row of lam"),
        (1, torch.full((7, 4), torch.inf), "V has NaN"),
        (1, torch.zeros(7, 5), "V has shape"),
        (2, torch.tensor([[0], [7]]), r"edge_index spans 0\.\.7"),
        (2, torch.tensor([[0], [4]]), "different graphs"),
        (2, torch.tensor([[0.0], [1.0]]), "edge_index is torch.float32"),
        (3, torch.tensor([0, 0, 0, 1, 0, 1, 1]), "batch is not sorted"),
        (3, torch.tensor([0, 0, 0, 0, 2, 2, 2]), "batch numbers 3 graphs"),
        (3, torch.zeros(6, dtype=torch.int64), "batch is torch.int64 of shape"),
    ],
)
def test_bad_batches_are_refused_by_name(module, position, value, message):
    with pytest.raises(ValueError, match=message):
        module(4, 2)(*without(position, value))


def test_bad_settings_of_the_baselines():
    with pytest.raises(ArgumentError, match="variant"):
        SignNetPE(4, 2, variant="mean")
    with pytest.raises(ArgumentError, match="multiplicities=0"):
        BasisNetPE(4, 2, multiplicities=0)
