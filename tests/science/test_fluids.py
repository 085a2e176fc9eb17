"""Pressure systems against brute force, smoke against its own divergence, solvers side by side."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gossamer._core.errors import ArgumentError, ShapeError
from gossamer.science import Smoke, compare_solvers, fluid_scene, open_box, poisson_system
from gossamer.solve import cg, dcdm, icpcg, lanczos


def by_hand(mask, coefficient=None, scale=1.0, shift=0.0):
    """The matrix, cell by cell and neighbour by neighbour."""
    n, grid = mask.size, mask.shape
    k = np.ones(grid) if coefficient is None else coefficient
    A = np.zeros((n, n))
    for cell in itertools.product(*map(range, grid)):
        if mask[cell] != 1:
            continue
        row = np.ravel_multi_index(cell, grid)
        A[row, row] += shift
        for axis, step in itertools.product(range(mask.ndim), (-1, 1)):
            other = tuple(c + step * (a == axis) for a, c in enumerate(cell))
            if not all(0 <= c < points for c, points in zip(other, grid)) or mask[other] == 0:
                continue
            w = scale * 2 * k[cell] * k[other] / (k[cell] + k[other])
            A[row, row] += w
            if mask[other] == 1:
                A[row, np.ravel_multi_index(other, grid)] -= w
    return A


masks = st.one_of(
    arrays.arrays(np.int8, (6, 6), elements=st.integers(0, 2)),
    arrays.arrays(np.int8, (3, 4, 3), elements=st.integers(0, 2)),
)


@settings(max_examples=60, deadline=None)
@given(mask=masks, seed=st.integers(0, 99), shift=st.sampled_from([0.0, 0.5]))
def test_all_forms_are_the_matrix_that_the_rules_give(mask, seed, shift):
    rng = np.random.default_rng(seed)
    coefficient = rng.uniform(0.1, 3, mask.shape)
    system = poisson_system(mask, coefficient=coefficient, scale=0.7, shift=shift)
    A = by_hand(mask, coefficient, 0.7, shift)
    assert np.abs(system.A.toarray() - A).max() < 1e-14
    x = np.where(system.fluid, rng.standard_normal(mask.size), 0)
    assert np.abs(system @ x - A @ x).max() < 2e-14
    X = rng.standard_normal((mask.size, 3)) * system.fluid[:, None]
    assert np.abs(system @ X - A @ X).max() < 2e-14
    field = torch.from_numpy(X.T.copy()).reshape(3, 1, *mask.shape).requires_grad_()
    product = system.torch_product(field)
    assert np.abs(product.detach().numpy().reshape(3, -1).T - A @ X).max() < 2e-14
    (gradient,) = torch.autograd.grad(product, field, torch.ones_like(product))
    assert np.abs(gradient[0].numpy().ravel() - A @ np.ones(mask.size)).max() < 2e-14
    assert np.abs(A @ system.nullspace.toarray()).max(initial=0) < 1e-13
    assert np.linalg.matrix_rank(A) == system.fluid.sum() - system.nullspace.shape[1]
    small, places = system.compressed()
    assert np.abs(small.toarray() - A[np.ix_(places, places)]).max(initial=0) < 1e-14


def test_row_sums_count_air():
    mask = np.random.default_rng(0).integers(0, 3, (9, 8))
    sums = poisson_system(mask).A.sum(axis=1).reshape(mask.shape)
    air = np.pad(mask == 2, 1).astype(int)
    beside = air[:-2, 1:-1] + air[2:, 1:-1] + air[1:-1, :-2] + air[1:-1, 2:]
    assert (sums == np.where(mask == 1, beside, 0)).all()


@pytest.mark.parametrize("grid", [(7, 5), (4, 3, 5)])
def test_a_closed_box_has_the_eigenvalues_of_cosines(grid):
    system = poisson_system(np.ones(grid, np.int8))
    parts = [2 - 2 * np.cos(np.pi * np.arange(n) / n) for n in grid]
    exact = sum(np.meshgrid(*parts, indexing="ij")).ravel()
    assert np.abs(np.linalg.eigvalsh(system.A.toarray()) - np.sort(exact)).max() < 1e-12
    assert system.nullspace.shape == (system.shape[0], 1)
    start = np.random.default_rng(0).standard_normal(system.shape[0])
    values = lanczos(system, system @ start, 10).ritz()[0]
    assert values.min() > -1e-12
    assert values.max() < exact.max() + 1e-12


def test_masks_that_are_none_are_refused():
    for mask, error, match in (
        (np.zeros((3, 3)), ArgumentError, "mask is float64"),
        (np.full((3, 3), 3), ArgumentError, "values 3..3"),
        (np.ones(4, int), ShapeError, "two or three axes"),
    ):
        with pytest.raises(error, match=match):
            poisson_system(mask)
    with pytest.raises(ArgumentError, match="coefficient is not positive"):
        poisson_system(np.ones((2, 2), int), coefficient=np.zeros((2, 2)))
    with pytest.raises(ShapeError, match="coefficient has shape"):
        poisson_system(np.ones((2, 2), int), coefficient=np.ones((2, 3)))
    with pytest.raises(ArgumentError, match="scale=0"):
        poisson_system(np.ones((2, 2), int), scale=0)


def test_solvers_know_where_the_unknowns_are():
    nothing = poisson_system(np.zeros((4, 4), int))
    assert dcdm(nothing, np.zeros(16), M=lambda r: r).success
    one = poisson_system(np.array([[0, 1, 0], [0, 2, 0]]))
    assert dcdm(one, np.array([0, 3.0, 0, 0, 0, 0]), M=lambda r: r).x[1] == 3
    with pytest.raises(ArgumentError, match="row 0, outside the mask"):
        dcdm(one, np.ones(6), M=lambda r: r)
    halves = np.ones((6, 7), int)
    halves[:, 3] = 0  # two closed parts, each with a null vector
    system = poisson_system(halves)
    b = system @ np.random.default_rng(0).standard_normal(42)
    result = dcdm(system, b, M=lambda r: np.ones(42) + r, rtol=1e-9)
    assert result.success
    assert np.abs(system.nullspace.T @ result.x).max() < 1e-12
    with pytest.raises(ArgumentError, match="column 1 of the null space"):
        dcdm(system, np.where(np.arange(42) % 7 > 3, 1.0, 0.0), M=lambda r: r)


@pytest.mark.parametrize("name", ["plume", "ball", "blob", "moving", "water"])
def test_smoke_flows_without_divergence_around_anything(name):
    grid = (24, 20) if name != "blob" else (12, 10, 11)
    smoke = Smoke(lambda time: fluid_scene(name, grid, time=time / 40), buoyancy=0.05)
    for _ in range(6):
        result = smoke.step(lambda system, b: icpcg(system, b, rtol=1e-10, modified=0.97))
        assert result.success
        assert np.abs(smoke.divergence()).max() < 1e-8
    assert smoke.density.max() <= 1
    assert smoke.density.min() >= 0
    assert np.abs(smoke.velocity).max() > 0
    mask = smoke.system.mask
    for axis, u in enumerate(smoke.velocity):
        assert not u[mask == 0].any()
        edge = [slice(None)] * mask.ndim
        edge[axis] = -1
        assert not u[tuple(edge)].any()


def test_smoke_rises():
    smoke = Smoke(fluid_scene("plume", (32, 32)))
    heights = []
    for _ in range(25):
        smoke.step()
        heights.append((smoke.density.sum(axis=1) * np.arange(32)).sum() / smoke.density.sum())
    assert heights[-1] > heights[0] + 1.5


def test_solvers_side_by_side_agree():
    system = poisson_system(fluid_scene("ball", (24, 24)))
    b = system @ np.random.default_rng(0).standard_normal(576)
    table = compare_solvers(system, b, rtol=1e-6, solvers=["cg", "deflated-cg", "icpcg", "micpcg"])
    assert table.success
    assert "4 of 4" in table.message
    assert "micpcg" in str(table)
    rows = table.rows
    assert rows["micpcg"]["iterations"] <= rows["icpcg"]["iterations"] < rows["cg"]["iterations"]
    assert all(row["residual"] <= 1.1e-6 for row in rows.values())
    inner, places = system.compressed()
    assert rows["cg"]["iterations"] == cg(inner, b[places], rtol=1e-6).nit
    pytest.importorskip("pyamg")
    assert compare_solvers(system, b, solvers=["multigrid"]).rows["multigrid"]["iterations"] < 15


def test_scenes_that_are_none_are_refused():
    with pytest.raises(ArgumentError, match="did you mean 'ball'"):
        fluid_scene("bal", (8, 8))
    with pytest.raises(ShapeError, match="two or three axes"):
        fluid_scene("ball", (8,))
    with pytest.raises(ShapeError, match="source has shape"):
        Smoke(open_box((8, 8)), source=np.ones((3, 3), bool))
    with pytest.raises(ShapeError, match="pressure has shape"):
        Smoke(open_box((8, 8))).project(np.ones(3))


def test_the_command_trains_and_compares(tmp_path, capsys):
    from gossamer.nn import load_conjugate_direction_net
    from gossamer.science.fluids.__main__ import main

    file = str(tmp_path / "net.safetensors")
    lessons = ["--lesson", "plume,16,60,0,4,1", "--lesson", "blob,8,30,0.5,4,0.5", "--steps", "50"]
    main(["train", "2", file, "--folder", str(tmp_path), *lessons])
    load_conjugate_direction_net(2, file)
    assert "step 50 of 50" in capsys.readouterr().out
    tables = main(["eval", "2", "--weights", file, "--edge", "12", "--scene", "ball", "--rtol", "1e-3"])
    assert "dcdm" in capsys.readouterr().out
    assert tables["ball"]["micpcg"]["converged"]
    with pytest.raises(SystemExit):
        main(["train", "2", file, "--lesson", "plume,8"])
