"""Vectors of a graph whose rows lie on a cluster of two processes are those in memory."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.graph import fastrp_embedding, store_graph

pytest.importorskip("distributed", reason="needs dask: pip install 'gossamer[distributed]'")
pytestmark = pytest.mark.filterwarnings("ignore:.*have no edges", "ignore:Sending large graph")


def graph(n=300, directed=False):
    rng = np.random.default_rng(0)
    S = np.where(rng.random((n, n)) < 0.05, rng.random((n, n)), 0)
    S = S if directed else S + S.T
    S[:3], S[:, :3] = 0, 0
    return scipy.sparse.csr_array(S)


@pytest.mark.parametrize(
    "options",
    [
        {"d": 40},
        {"d": 150, "blocks": 5, "standardize": True},
        {"d": 16, "normalize": False, "input_matrix": "sym", "weights": (1, 0, -2, 0), "self_weight": 0.5},
        {"d": 16, "self_weight": 0.5, "projection": "gaussian", "weights": (1, 2), "directed": True},
        {"d": 33, "features": np.arange(600.0).reshape(300, 2), "input_matrix": "adjacency", "s": 3},
    ],
    ids=["default", "blocks", "sym", "directed", "features"],
)
def test_blocks_of_rows_make_up_the_embedding(client, options):
    from gossamer.distributed import fastrp

    A = graph(directed=options.get("directed", False))
    ours = fastrp(A, client=client, random_state=7, **options)
    here = fastrp_embedding(A, random_state=7, **{k: v for k, v in options.items() if k != "blocks"})
    assert ours.dtype == np.float32
    assert np.abs(ours - here).max() <= 1e-4 * np.abs(here).max()


def test_a_graph_on_the_disk_is_sent_and_the_result_fills_what_is_given(client, tmp_path):
    from gossamer.distributed import fastrp

    edges = np.array(nx.gnm_random_graph(80, 300, seed=0).edges).T
    stored = store_graph([edges], tmp_path / "g")
    out = np.lib.format.open_memmap(tmp_path / "v.npy", "w+", np.float32, (80, 24))
    assert fastrp(stored, 24, random_state=1, out=out, blocks=200) is out
    np.testing.assert_allclose(out, fastrp_embedding(stored, 24, random_state=1), atol=1e-5)


def test_bad_input_is_refused_before_anything_travels(client):
    from gossamer.distributed import fastrp

    A = graph()
    with pytest.raises(ArgumentError, match="beta=2"):
        fastrp(A, client=client, beta=2)
    with pytest.raises(ArgumentError, match="weights=None"):
        fastrp(A, client=client, weights=None)
    with pytest.raises(ArgumentError, match="blocks=0"):
        fastrp(A, client=client, blocks=0)
    with pytest.raises(ShapeError, match="out is float64"):
        fastrp(A, 8, client=client, out=np.empty((300, 8)))


def test_without_a_cluster_it_says_so(monkeypatch):
    import distributed
    from gossamer.distributed import fastrp

    def none():
        raise ValueError("no client")

    monkeypatch.setattr(distributed, "get_client", none)
    with pytest.raises(ArgumentError, match="none is current"):
        fastrp(graph(), 8)
