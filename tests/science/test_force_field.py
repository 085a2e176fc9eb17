"""A force field of Gaunt products: symmetries of the energy, forces as its slope, cutoff, training, and its data."""

import dataclasses

import numpy as np
import pytest
import torch

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.science import (
    GauntMACE,
    Structure,
    atomic_energies,
    batch_structures,
    emt_clusters,
    force_field_errors,
    train_force_field,
)

ELEMENTS = [13, 29]


def molecule(seed=0, n=7):
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid([0, 2.4], [0, 2.4], [0, 2.4]), -1).reshape(-1, 3)[:n]
    numbers = rng.choice(ELEMENTS, n)
    return Structure(
        numbers, grid + rng.normal(size=(n, 3)) * 0.2, float(rng.normal()), rng.normal(size=(n, 3))
    )


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return GauntMACE(
        ELEMENTS, channels=4, max_ell=2, hidden_degree=1, energies=[1.0, -2.0], mean_neighbours=5
    ).double()


def predict(model, structures):
    return model.energy_and_forces(batch_structures(structures, ELEMENTS, model.r_max, torch.float64))


def test_energy_is_invariant_and_forces_turn_along(model):
    s = molecule()
    Q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    energy, forces = predict(model, [s])
    for R in (Q, -Q):  # one of them is a reflection
        turned, moved = predict(model, [dataclasses.replace(s, positions=s.positions @ R.T + 3.0)])
        assert torch.allclose(turned, energy, atol=1e-10)
        assert torch.allclose(moved, forces @ torch.from_numpy(R.T), atol=1e-10)
    order = np.random.default_rng(1).permutation(7)
    swapped, same = predict(model, [Structure(s.numbers[order], s.positions[order])])
    assert torch.allclose(swapped, energy, atol=1e-10)
    assert torch.allclose(same, forces[order], atol=1e-10)
    assert forces.sum(0).abs().max() < 1e-10


def test_forces_are_the_slope_of_the_energy(model):
    s, h = molecule(1), 1e-5
    _, forces = predict(model, [s])
    for atom, axis in ((0, 0), (3, 1), (6, 2)):
        step = np.zeros((7, 3))
        step[atom, axis] = h
        up, down = (
            predict(model, [dataclasses.replace(s, positions=s.positions + d)])[0] for d in (step, -step)
        )
        assert abs(float((down - up)[0]) / (2 * h) - float(forces[atom, axis])) < 1e-7


def test_structures_of_a_batch_do_not_see_each_other_nor_atoms_beyond_the_cutoff(model):
    a, b = molecule(0), molecule(1, 5)
    energy, forces = predict(model, [a, b])
    alone, own = predict(model, [b])
    assert torch.allclose(energy[1:], alone, atol=1e-12)
    assert torch.allclose(forces[7:], own, atol=1e-12)
    far = Structure(np.append(a.numbers, 29), np.append(a.positions, [[50.0, 0, 0]], 0))
    single = Structure(np.array([29]), np.zeros((1, 3)))
    joined, separate = predict(model, [far])[0], predict(model, [a])[0] + predict(model, [single])[0]
    assert torch.allclose(joined, separate, atol=1e-12)


def test_energy_is_smooth_at_the_cutoff(model):
    energies = []
    for gap in (model.r_max - 1e-4, model.r_max + 1e-4):
        pair = Structure(np.array([13, 29]), np.array([[0, 0, 0], [0, gap, 0]]))
        energies.append(float(predict(model, [pair])[0][0]))
    assert abs(energies[0] - energies[1]) < 1e-10


def test_edges_in_chunks_give_the_same(model):
    chunked = GauntMACE(ELEMENTS, 4, 2, 1, edge_chunk=7, mean_neighbours=5, energies=[1.0, -2.0]).double()
    chunked.load_state_dict(model.state_dict())
    for a, b in zip(predict(model, [molecule()]), predict(chunked, [molecule()])):
        assert torch.allclose(a, b, atol=1e-12)


def test_training_fits_a_pair_potential_and_repeats():
    rng = np.random.default_rng(0)
    data = []
    for _ in range(12):  # E = (r - 2.5)^2
        direction = rng.normal(size=3)
        r = rng.uniform(2, 3.5)
        positions = np.array([[0, 0, 0], r * direction / np.linalg.norm(direction)])
        pull = 2 * (r - 2.5) * (positions[1] - positions[0]) / r
        data.append(Structure(np.array([13, 29]), positions, (r - 2.5) ** 2, np.array([pull, -pull])))
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        model = GauntMACE(ELEMENTS, 4, 1, 1, correlation=2, mean_neighbours=1.0)
        before = force_field_errors(model, data)["force"]
        results.append(train_force_field(model, data, epochs=25, batch_size=4))
    assert results[0].success
    assert results[0].force_mae < 0.4 * before
    assert results[0].history["loss"] == results[1].history["loss"]
    assert len(results[0].history["seconds"]) == 25


def test_atomic_energies_explain_sums():
    structures = [
        Structure(np.array(z), np.zeros((len(z), 3)), 2.0 * z.count(13) - z.count(29))
        for z in ([13, 13], [13, 29])
    ]
    assert np.allclose(atomic_energies(structures, ELEMENTS), [2, -1])


def test_clusters_are_reproducible_and_their_forces_are_those_of_the_theory():
    pytest.importorskip("ase")
    a, b = (emt_clusters(2, 300.0, interval=2, atoms=(5, 6), random_state=3) for _ in range(2))
    assert np.array_equal(a[1].positions, b[1].positions)
    assert 5 <= len(a[0].numbers) <= 6
    from ase import Atoms
    from ase.calculators.emt import EMT

    atoms = Atoms(a[0].numbers, a[0].positions, calculator=EMT())
    assert abs(atoms.get_potential_energy() - a[0].energy) < 1e-9
    assert np.allclose(atoms.get_forces(), a[0].forces, atol=1e-9)
    with pytest.raises(ArgumentError, match="elements"):
        emt_clusters(1, elements=("Fe",))


def test_bad_input_is_named():
    s = molecule()
    with pytest.raises(ArgumentError, match=r"\[29\].*expected some of \[13\]"):
        batch_structures([s], [13], 5.0)
    with pytest.raises(ArgumentError, match="empty"):
        batch_structures([], ELEMENTS, 5.0)
    with pytest.raises(ArgumentError, match="atoms 0 and 1"):
        batch_structures([Structure(np.array([13, 13]), np.zeros((2, 3)))], ELEMENTS, 5.0)
    with pytest.raises(ShapeError, match="positions"):
        Structure(np.array([13]), np.zeros((2, 3)))
    with pytest.raises(ArgumentError, match="different"):
        GauntMACE([13, 13])
    with pytest.raises(ArgumentError, match="energies"):
        GauntMACE([13, 29], energies=[1.0])


def test_the_script_trains_reports_and_saves(tmp_path, capsys):
    pytest.importorskip("ase")
    from safetensors.torch import load_file

    from gossamer.science.forcefield.__main__ import main

    settings = (
        "--elements Cu --structures 2 --interval 2 --channels 2 --max-ell 1 --hidden-degree 1 --correlation 2"
    )
    errors = main([*settings.split(), "--epochs", "1", "--save", str(tmp_path / "m.safetensors")])
    assert all(np.isfinite(list(errors.values())))
    assert "900 K: force" in capsys.readouterr().out
    twin = GauntMACE([29], 2, 1, 1, 2)
    twin.load_state_dict(load_file(tmp_path / "m.safetensors"))
