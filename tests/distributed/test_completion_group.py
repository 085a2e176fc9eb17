"""Two processes complete what one completes."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from gossamer.solve import complete_matrix, incoherent_low_rank, store_entries

CASES = {
    "exact": {"method": "exact", "maxiter": 8},
    "cg": {"method": "cg", "maxiter": 8, "tol": 1e-12},
    "shared": {"method": "shared", "ridge": 0.1, "maxiter": 5},
    "ratings": {"biases": True, "ridge": 0.01, "weighted_ridge": True, "maxiter": 6},
    "split": {"sample_splitting": True, "maxiter": 1},
}
WORKER = """
import sys, numpy as np, scipy.sparse as sp, torch.distributed as dist
from gossamer.distributed import complete_matrix
from gossamer.solve import StoredEntries
rank, out, cases = int(sys.argv[1]), sys.argv[2], eval(sys.argv[3])
dist.init_process_group("gloo", init_method="file://" + out + "/meet", rank=rank, world_size=2)
M, found = sp.load_npz(out + "/M.npz"), {}
for name, options in cases.items():
    for where in (M, StoredEntries(out + "/files")) if name in ("exact", "ratings") else (M,):
        r = complete_matrix(where, 3, random_state=0, **options)
        key = name + ("" if where is M else "-files")
        found |= {key + "-U": r.U, key + "-V": r.V, key + "-rmse": r.rmse, key + "-n": [r.nit, r.n_deficient]}
np.savez(out + f"/{rank}.npz", **found)
dist.destroy_process_group()
"""


def test_two_processes_complete_what_one_completes(tmp_path):
    pytest.importorskip("torch")
    s = incoherent_low_rank(90, 70, 3, p=0.6, random_state=0)
    keep = (s.rows != 5) | (s.cols < 3)  # a row with fewer entries than unknowns
    keep &= s.cols != 9
    M = sp.coo_array((s.vals[keep], (s.rows[keep], s.cols[keep])), shape=s.shape).tocsr()
    sp.save_npz(tmp_path / "M.npz", M)
    store_entries(tmp_path / "files", [(s.rows[keep], s.cols[keep], s.vals[keep])], s.shape)
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(r), str(tmp_path), repr(CASES)]) for r in (0, 1)
    ]
    here = {name: complete_matrix(M, 3, random_state=0, **options) for name, options in CASES.items()}
    assert [worker.wait(timeout=240) for worker in workers] == [0, 0]
    assert here["exact"].n_deficient > 0
    for part in (np.load(tmp_path / f"{r}.npz") for r in (0, 1)):
        for name, result in here.items():
            for key in (name, name + "-files") if name in ("exact", "ratings") else (name,):
                np.testing.assert_allclose(part[key + "-U"], result.U, atol=1e-10)
                np.testing.assert_allclose(part[key + "-V"], result.V, atol=1e-10)
                assert part[key + "-rmse"] == pytest.approx(result.rmse, rel=1e-6, abs=1e-12)
                assert part[key + "-n"].tolist() == [result.nit, result.n_deficient]
