"""``gossamer spgemm`` multiplies files as SciPy multiplies what is in them."""

import json

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from typer.testing import CliRunner

from gossamer.cli.app import app


def invoke(*words, code=0):
    result = CliRunner().invoke(app, ["spgemm", *map(str, words)])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    A, B = (sp.random_array(s, density=0.2, rng=rng, format="csr") for s in ((30, 20), (20, 30)))
    for name, X in (("A", A), ("B", B)):
        scipy.io.mmwrite(tmp_path / f"{name}.mtx", X)
    return tmp_path, A, B


def test_the_product_is_written_and_described(files):
    folder, A, B = files
    found = json.loads(
        invoke(
            folder / "A.mtx", folder / "B.mtx", "-o", folder / "C.mtx", "--stats", "--json", "--threads", 1
        ).stdout
    )
    C = scipy.io.mmread(folder / "C.mtx").tocsr()
    np.testing.assert_allclose(C.toarray(), (A @ B).toarray(), rtol=1e-12)
    assert found["nnz"] == C.nnz
    assert found["stats"]["flops"] == int(np.diff(B.indptr)[A.indices].sum())
    assert "products" in invoke(folder / "A.mtx", folder / "B.mtx", "-o", folder / "C.mtx", "--stats").stdout
    assert not list(folder.glob(".*.part"))


def test_semiring_and_mask(files):
    folder, A, B = files
    scipy.io.mmwrite(folder / "M.mtx", sp.eye_array(30, format="csr"))
    words = (folder / "A.mtx", folder / "B.mtx", "-o", folder / "C.mtx", "--mask", folder / "M.mtx")
    invoke(*words, "--semiring", "plus_pair")
    counts = ((A != 0).astype(int) @ (B != 0).astype(int)).toarray()
    np.testing.assert_array_equal(scipy.io.mmread(folder / "C.mtx").toarray(), np.diag(np.diag(counts)))
    invoke(*words, "--semiring", "or_and", "--complement")
    np.testing.assert_array_equal(
        scipy.io.mmread(folder / "C.mtx").toarray() > 0, (counts > 0) & ~np.eye(30, dtype=bool)
    )


def test_bad_files_are_one_line_and_nothing_is_written(files):
    folder, *_ = files
    (folder / "text.mtx").write_text("not a matrix\n")
    (folder / "dense.mtx").write_text("%%MatrixMarket matrix array real general\n1 1\n1.0\n")
    for bad in ("text.mtx", "dense.mtx", "missing.mtx"):
        result = invoke(folder / bad, folder / "B.mtx", "-o", folder / "C.mtx", code=2)
        assert bad in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert "as many rows" in invoke(folder / "A.mtx", folder / "A.mtx", "-o", folder / "C.mtx", code=2).stderr
    assert not (folder / "C.mtx").exists()
