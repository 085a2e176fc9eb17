"""Two processes with half a batch each do what one does with the whole."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from gossamer.nn import (
    FeatureChoice,
    MutualChoice,
    SAETrainer,
    SparseAutoencoder,
    top_overall,
    top_per_feature,
)

CODE = """
import sys, warnings
import numpy as np, torch, torch.distributed as dist
from gossamer.nn import FeatureChoice, MutualChoice, SAETrainer, SparseAutoencoder
from gossamer.nn.autoencoders.together import columns_together, largest_together
warnings.simplefilter("ignore")
rank, meeting, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
group = dist.group.WORLD
found = {}
for ties in (0, 1):
    z = torch.from_numpy(np.load(out + f"/z{ties}.npy"))
    half = z[rank * len(z) // 2 : (rank + 1) * len(z) // 2]
    found[f"largest{ties}"] = largest_together(half, 3, group).to_dense().numpy()
    m = np.load(out + "/m.npy")
    found[f"columns{ties}"] = columns_together(half, lambda n: m, group).to_dense().numpy()
x = torch.from_numpy(np.load(out + "/x.npy"))
for name, choice in (("mutual", MutualChoice), ("feature", FeatureChoice)):
    sae = SparseAutoencoder(12, 30, choice(3), dtype=torch.float64)
    SAETrainer(sae, steps=30, batch_size=64, group=group).fit(x)
    found[name] = torch.cat([p.detach().flatten() for p in sae.parameters()]).numpy()
    found[name + "_bound"] = sae.allocation.bound.numpy()
np.savez(out + f"/found{rank}.npz", **found)
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    rng = np.random.default_rng(0)
    np.save(folder / "z0.npy", rng.standard_normal((20, 9)))
    np.save(folder / "z1.npy", rng.integers(-1, 3, (20, 9)).astype(float))
    np.save(folder / "m.npy", rng.integers(0, 15, 9))
    np.save(folder / "x.npy", rng.standard_normal((500, 12)) @ rng.standard_normal((12, 12)))
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, str(rank), str(folder / "meet"), str(folder)], stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    for job in jobs:
        _, errors = job.communicate(timeout=200)
        assert job.returncode == 0, errors.decode()[-2000:]
    return folder, [np.load(folder / f"found{rank}.npz") for rank in range(2)]


@pytest.mark.parametrize("ties", [0, 1])
def test_selections_are_those_of_the_whole_batch(runs, ties):
    folder, found = runs
    z, m = torch.from_numpy(np.load(folder / f"z{ties}.npy")), np.load(folder / "m.npy")
    together = np.concatenate([part[f"largest{ties}"] for part in found])
    assert np.array_equal(together, top_overall(z, 60).to_dense().numpy())
    together = np.concatenate([part[f"columns{ties}"] for part in found])
    assert np.array_equal(together, top_per_feature(z, m).to_dense().numpy())


@pytest.mark.filterwarnings("ignore:batches of")
@pytest.mark.parametrize(("name", "choice"), [("mutual", MutualChoice), ("feature", FeatureChoice)])
def test_training_ends_with_the_same_weights(runs, name, choice):
    folder, found = runs
    sae = SparseAutoencoder(12, 30, choice(3), dtype=torch.float64)
    SAETrainer(sae, steps=30, batch_size=64).fit(torch.from_numpy(np.load(folder / "x.npy")))
    alone = torch.cat([p.detach().flatten() for p in sae.parameters()]).numpy()
    assert np.allclose(found[0][name], alone, atol=1e-5)
    assert np.array_equal(found[0][name], found[1][name])
    assert np.allclose(found[0][name + "_bound"], sae.allocation.bound.numpy(), atol=1e-5)
