"""Every family, its factors damaged in every simple way: refused in words, or harmless to run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core import tensorfile
from gossamer._core.errors import FormatError, GossamerError
from gossamer.engine import Artifact, load_artifact, save_artifact
from gossamer.linalg import (
    NM,
    Block,
    BlockDiagonal,
    Dense,
    Diagonal,
    GroupQuant,
    GroupSparseQuant,
    Kronecker,
    LowRank,
    NMQuant,
    Permutation,
    Unstructured,
    UnstructuredQuant,
)

SIZE = 48
MARKET = {
    "dense": Dense(),
    "dense float16": Dense("float16"),
    "unstructured": Unstructured(0.4),
    "2:4": NM(2, 4),
    "3:16": NM(3, 16),
    "block": Block((4, 8), density=0.5),
    "W4": GroupQuant(4, 32),
    "W3 real zeros": GroupQuant(3, 16, zero="float"),
    "W2 symmetric": GroupQuant(2, 0, symmetric=True),
    "W8": GroupQuant(8, 16),
    "group-sparse W4": GroupSparseQuant(4, 16, 0.5),
    "group-sparse W8 symmetric": GroupSparseQuant(8, 16, 0.5, symmetric=True),
    "2:4 W4": NMQuant(2, 4, 4, 16),
    "unstructured W4": UnstructuredQuant(0.5, 4, 16),
    "low-rank": LowRank(3),
    "diagonal": Diagonal(),
    "permutation": Permutation(),
    "block-diagonal": BlockDiagonal(4),
    "Kronecker": Kronecker((6, 6), (8, 8)),
    "sum": GroupQuant(4, 16) + LowRank(2),
    "product": LowRank(4) @ Dense(),
}


def member(structure):
    weight = np.random.default_rng(1).normal(size=(SIZE, SIZE)).astype(np.float32)
    return structure.project(weight)


def damages(array):
    """Named versions of a factor that a hostile file could hold."""
    yield "another dtype", array.astype(np.float64 if array.dtype != np.float64 else np.int8)
    yield "an unknown dtype", array.astype(bool)
    yield "scalar", np.zeros((), array.dtype)
    yield "empty", np.zeros((0,) * max(array.ndim, 1), array.dtype)
    yield "too short", array[:-1]
    yield "too long", np.concatenate([array, array[-1:]])
    yield "an axis more", array[..., None]
    yield "flat", array.reshape(-1) if array.ndim > 1 else array.reshape(1, -1)
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        for name, value in ("lowest", limits.min), ("highest", limits.max), ("size", min(SIZE, limits.max)):
            for where in (0, -1, array.size // 2):
                changed = array.copy()
                changed.flat[where] = value
                yield f"{name} at {where}", changed
        yield "reversed", np.ascontiguousarray(array[::-1])
        yield "all highest", np.full_like(array, limits.max)
    else:
        changed = array.copy()
        changed.flat[0] = np.nan
        yield "NaN", changed


@pytest.mark.parametrize("structure", MARKET.values(), ids=MARKET)
def test_damaged_factors_are_refused_or_harmless(structure):
    good = member(structure)
    x = np.ones((SIZE, 2), np.float32)
    for name, factor in good.factors.items():
        for damage, bad in damages(factor):
            try:
                matrix = type(good)(structure, good.shape, {**good.factors, name: bad})
            except (GossamerError, ValueError, TypeError, IndexError):
                continue
            with np.errstate(all="ignore"):
                assert matrix.to_dense().shape == good.shape, (name, damage)
                assert (matrix @ x).shape == (SIZE, 2), (name, damage)


@pytest.mark.parametrize("structure", MARKET.values(), ids=MARKET)
def test_every_family_survives_the_disk_and_damage_on_it(structure, tmp_path):
    good = member(structure)
    artifact = Artifact("module", {}, {"layer": good}, {"layer.bias": np.zeros(3)})
    save_artifact(tmp_path / "m", artifact)
    loaded = load_artifact(tmp_path / "m").matrices["layer"]
    assert loaded.structure == good.structure
    np.testing.assert_array_equal(loaded.to_dense(), good.to_dense())
    file = tmp_path / "m" / "model.safetensors"
    tensors = tensorfile.read_tensors(file)
    for name in good.factors:
        for bad in (np.zeros((), np.float32), tensors[f"layer.{name}"].astype(np.complex64).view(np.uint64)):
            tensorfile.write_tensors(file, {**tensors, f"layer.{name}": bad})
            with pytest.raises(FormatError):
                load_artifact(tmp_path / "m", verify=False)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(MARKET)))
def test_random_bytes_in_factors_are_refused_or_harmless(data, name):
    structure = MARKET[name]
    good = member(structure)
    factors = {key: np.array(value) for key, value in good.factors.items()}
    target = factors[data.draw(st.sampled_from(sorted(factors)))]
    raw = target.reshape(-1).view(np.uint8)
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        matrix = type(good)(structure, good.shape, factors)
    except (GossamerError, ValueError, TypeError, IndexError):
        return
    with np.errstate(all="ignore"):
        assert (matrix @ np.ones(SIZE, np.float32)).shape == (SIZE,)
