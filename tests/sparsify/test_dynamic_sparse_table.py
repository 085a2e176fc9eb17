"""The table in compressed rows is the masked dense table: rows, gradients, propagation, a hundred moves."""

import numpy as np
import pytest
import scipy.sparse
import torch

from gossamer._core.errors import ArgumentError, FormatError, ShapeError, UnsupportedError
from gossamer.nn import SparseTensor
from gossamer.sparsify import DSLMasker, DynamicSparseTable


def dense_and_sparse(n=50, d=12, density=0.3, seed=0):
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(n, d, generator=g) < density
    mask[3] = False  # a row without live entries
    dense = torch.nn.Parameter(torch.randn(n, d, generator=g) * mask)
    return dense, mask, DynamicSparseTable.from_dense(dense, mask)


def graph(m, n, seed=1):
    return scipy.sparse.random_array(
        (m, n), density=0.15, rng=np.random.default_rng(seed), dtype=np.float32
    ).tocsr()


def live(gradient, mask):
    return gradient[mask]


def test_rows_and_their_gradients_are_those_of_the_dense_table():
    dense, mask, table = dense_and_sparse()
    ids = torch.tensor([[4, 3, 4], [49, 0, 7]])
    weight = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(2))
    assert torch.equal(table(ids), dense[ids])
    (dense[ids] * weight).sum().backward()
    (table.lookup(ids.numpy()) * weight).sum().backward()
    torch.testing.assert_close(table.values.grad, live(dense.grad, mask), atol=1e-6, rtol=1e-6)
    assert torch.equal(table.to_dense(), dense.detach())
    assert torch.equal(table.mask(5, 20), mask[5:20])
    assert (table.to_scipy() != scipy.sparse.csr_array(dense.detach().numpy())).nnz == 0
    assert table(torch.empty(0, dtype=torch.int64)).shape == (0, 12)


@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, SparseTensor.of])
def test_propagation_and_its_gradient_are_those_of_the_dense_table(kind):
    dense, mask, table = dense_and_sparse(300, 16)
    A = graph(70, 300)
    operand, weight = kind(A), torch.randn(70, 16, generator=torch.Generator().manual_seed(2))
    for _ in range(2):  # the second time from what is kept
        dense.grad = table.values.grad = None
        full = torch.from_numpy(A.toarray()) @ dense
        ours = table.propagate(operand)
        torch.testing.assert_close(ours, full, atol=1e-6, rtol=1e-6)
        (full * weight).sum().backward()
        (ours * weight).sum().backward()
        torch.testing.assert_close(table.values.grad, live(dense.grad, mask), atol=1e-6, rtol=1e-5)


def test_products_with_rows_are_those_of_the_dense_table():
    dense, _, table = dense_and_sparse()
    x = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    full = dense.detach().numpy()
    np.testing.assert_allclose(table.dot(x), full @ x, atol=1e-6)
    np.testing.assert_allclose(table.dot(x, 10, 31), full[10:31] @ x, atol=1e-6)
    assert table.dot(x, 5, 5).shape == (0, 5)


def test_after_a_hundred_moves_a_step_is_still_that_of_the_masked_dense_table():
    dense, _, _ = dense_and_sparse(60, 8, 1.0)
    A, target = graph(40, 60), torch.randn(40, 8, generator=torch.Generator().manual_seed(5))
    full = torch.from_numpy(A.toarray())
    optimizer = torch.optim.Adam([dense], lr=0.02)
    masker = DSLMasker([dense], optimizer, density=0.25, delta_t=2, total_steps=400, grad_window=1, seed=1)
    table = DynamicSparseTable.from_dense(dense, masker.masks["0"])
    own = torch.optim.Adam(table.parameters(), lr=0.02)
    for step in range(1, 203):
        optimizer.zero_grad()
        ((full @ dense - target) ** 2).mean().backward()
        gradient = dense.grad.clone()
        masker.step()
        own.zero_grad()
        ((table.propagate(A) - target) ** 2).mean().backward()
        torch.testing.assert_close(table.values.grad, gradient[table.mask()], atol=1e-6, rtol=1e-4)
        own.step()
        if step % 2 == 0:
            moved = table.explore(masker.history[-1].ratio, lambda a, b, g=gradient: g[a:b], own, block=7)
            assert moved == masker.history[-1].moved
            assert torch.equal(table.mask(), masker.masks["0"])
    assert len(masker.history) == 101
    torch.testing.assert_close(table.to_dense(), dense.detach(), atol=1e-4, rtol=1e-4)
    moments = own.state[table.values]
    torch.testing.assert_close(
        moments["exp_avg_sq"], optimizer.state[dense]["exp_avg_sq"][table.mask()], atol=1e-6, rtol=1e-3
    )


def test_rows_become_shorter_and_longer():
    table = DynamicSparseTable.from_dense(torch.tensor([[1.0, 2.0, 0.0], [0.0, 3.0, 4.0]]))
    table.resize_rows(
        prune=[1, 5], grow=[2, 3, 5]
    )  # (0, 1) leaves; (0, 2), (1, 0) enter; (1, 2) starts again
    assert table.to_dense().tolist() == [[1, 0, 0], [0, 3, 0]]
    assert table.mask().tolist() == [[True, False, True], [True, True, True]]
    assert table.indptr.tolist() == [0, 2, 5]
    assert table.columns.tolist() == [0, 2, 0, 1, 2]
    for prune, grow, words in (([1], [], "prune"), ([0, 0], [], "prune"), ([], [0], "grow"), ([], [1, 1], "grow"),
                               ([], [6], "grow"), ([], [-1], "grow")):  # fmt: skip
        with pytest.raises(ArgumentError, match=words):
            table.resize_rows(prune, grow)
    assert table.nnz == 5


def test_bytes_are_four_a_value_two_a_column_eight_a_row():
    table = DynamicSparseTable.random(1000, 64, 0.1, random_state=0)
    assert table.nnz == 6400
    assert table.nbytes == 6400 * 6 + 1001 * 8
    assert table.columns.dtype == torch.uint16
    wide = DynamicSparseTable([0, 1], [65_535], [1.0], 65_536)
    assert wide.nbytes == 8 + 2 * 8
    assert float(wide([0])[0, 65_535].detach()) == 1
    assert float(DynamicSparseTable([0, 1], [65_534], [2.0], 65_535)([0])[0, -1].detach()) == 2


def test_a_file_gives_the_same_table(tmp_path):
    table = DynamicSparseTable.random(30, 9, 0.2, random_state=3)
    table.save(tmp_path / "table.safetensors")
    again = DynamicSparseTable.load(tmp_path / "table.safetensors")
    assert torch.equal(again.to_dense(), table.to_dense())
    assert again.nbytes == table.nbytes
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(FormatError):
        DynamicSparseTable.load(tmp_path / "bad.safetensors")
    with pytest.raises(FormatError, match="not a sparse table"):
        DynamicSparseTable.of_tensors({"values": np.ones(1)}, "here")
    broken = {**table.tensors(), "columns": table.tensors()["columns"] + 9}
    with pytest.raises(FormatError, match="here"):
        DynamicSparseTable.of_tensors(broken, "here")


def test_bad_input_is_refused():
    table = DynamicSparseTable.random(5, 4, 0.5, random_state=0)
    with pytest.raises(ArgumentError, match=r"ids span -1\.\.5"):
        table([-1, 5])
    with pytest.raises(UnsupportedError, match="integers"):
        table([0.5])
    with pytest.raises(ShapeError, match="A has shape"):
        table.propagate(graph(3, 4))
    with pytest.raises(UnsupportedError, match="sparse matrix"):
        table.propagate(np.ones((3, 5)))
    with pytest.raises(ShapeError, match="x has shape"):
        table.dot(np.ones((3, 2)))
    with pytest.raises(ArgumentError, match="gradient"):
        table.explore(0.5, torch.full((5, 4), float("nan")))
    with pytest.raises(ArgumentError, match="ratio"):
        table.explore(1.5, torch.ones(5, 4))
    with pytest.raises(ArgumentError, match="ascending"):
        DynamicSparseTable([0, 2], [1, 1], [1.0, 2.0], 4)
    with pytest.raises(ArgumentError, match="column indices"):
        DynamicSparseTable([0, 1], [4], [1.0], 4)
    with pytest.raises(ArgumentError, match="NaN"):
        DynamicSparseTable([0, 1], [1], [np.nan], 4)
    with pytest.raises(ArgumentError, match="live entry"):
        DynamicSparseTable.random(2, 2, 0.01)
    with pytest.raises(ShapeError, match="mask"):
        DynamicSparseTable.from_dense(np.ones((2, 2)), np.ones((2, 3), bool))
