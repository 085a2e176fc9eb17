"""Encodings are those of the definition, obey its identities, and never exceed Chamfer similarity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.retrieve import fde_by_definition as definition

from gossamer._core.errors import ArgumentError, CostError, ShapeError, UnsupportedError
from gossamer.retrieve import FDEConfig, FDEncoder, chamfer
from gossamer.retrieve.multivector.fde import final_places, hyperplanes, projections


def unit_sets(rng, lengths, dim):
    sets = [rng.standard_normal((n, dim)) for n in lengths]
    return [x / np.linalg.norm(x, axis=1, keepdims=True) for x in sets]


def by_definition(config, sets, *, document, center=0.0):
    return np.stack(
        [
            definition.encode(
                x, hyperplanes(config), projections(config), final_places(config), config.final_dim,
                document=document, fill=config.fill_empty, center=center,
            )
            for x in sets
        ]
    )  # fmt: skip


@pytest.mark.parametrize("k_sim", [0, 1, 3, 5])
@pytest.mark.parametrize("d_proj", [None, 5])
@pytest.mark.parametrize("projection", ["dense", "countsketch"])
@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("fill", [False, True])
def test_encodings_are_those_of_the_definition(k_sim, d_proj, projection, final, fill):
    rng = np.random.default_rng(k_sim)
    config = FDEConfig(12, 3, k_sim, d_proj, 11 if final else None, fill, projection, seed=4)
    sets = unit_sets(rng, (1, 2, 7, 23), 12)
    for center in (None, rng.standard_normal(12) / 3):
        encoder, shift = FDEncoder(config, center=center), 0.0 if center is None else center
        for encode, document in ((encoder.encode_document, True), (encoder.encode_query, False)):
            found = encode(sets)
            assert found.dtype == np.float32
            assert found.shape == (4, config.fde_dim)
            np.testing.assert_allclose(
                found, by_definition(config, sets, document=document, center=shift), atol=1e-5
            )


def test_long_sets_and_many_cells_are_those_of_the_definition():
    config = FDEConfig(33, 2, 8, 9, seed=2)
    sets = unit_sets(np.random.default_rng(0), (300, 129, 4), 33)
    np.testing.assert_allclose(
        FDEncoder(config).encode_document(sets), by_definition(config, sets, document=True), atol=1e-5
    )


@pytest.mark.parametrize("k_sim", [2, 5])
@pytest.mark.parametrize("final_dim", [None, 50])
def test_encodings_are_those_of_the_port_of_the_reference(monkeypatch, k_sim, final_dim):
    helper = pytest.importorskip("muvera.muvera")
    config = FDEConfig(16, 4, k_sim, 6, final_dim, k_sim == 2, "countsketch", seed=1)
    normals, inner, places = hyperplanes(config), projections(config), final_places(config)
    monkeypatch.setattr(helper, "simhash_matrix_from_seed", lambda d, k, seed: normals[seed].T.copy())
    monkeypatch.setattr(helper, "ams_projection_matrix_from_seed", lambda d, p, seed: inner[seed])

    def count_sketch(vector, dim, seed):
        out = np.zeros(dim, np.float32)
        np.add.at(out, np.where(places < 0, ~places, places), np.where(places < 0, -vector, vector))
        return out

    monkeypatch.setattr(helper, "count_sketch_vector_from_seed", count_sketch)
    # its document side decodes cells wrongly from three hyperplanes on, which shows in what fills empty ones
    peer = helper.Muvera(4, k_sim, 16, "ams_sketch", 6, config.fill_empty, final_dim, seed=0)
    sets = [x.astype(np.float32) for x in unit_sets(np.random.default_rng(3), (5, 12, 40), 16)]
    encoder = FDEncoder(config)
    for ours, theirs in (
        (encoder.encode_document, peer.encode_documents),
        (encoder.encode_query, peer.encode_queries),
    ):
        np.testing.assert_allclose(ours(sets), np.stack([theirs(x) for x in sets]), atol=1e-5)


def test_queries_are_linear_and_documents_are_means():
    rng = np.random.default_rng(0)
    a, b = unit_sets(rng, (5, 8), 24)
    encoder = FDEncoder(FDEConfig(24, 5, 4, 8, final_dim=100))
    union = encoder.encode_query(np.vstack([a, b]))
    np.testing.assert_allclose(union, encoder.encode_query(a) + encoder.encode_query(b), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_query(3.5 * a), 3.5 * encoder.encode_query(a), atol=1e-5)
    twice = encoder.encode_document(np.vstack([b, b]))
    np.testing.assert_allclose(twice, encoder.encode_document(b), atol=1e-6)


def test_a_document_of_one_vector_fills_every_cell_with_it():
    q, p = unit_sets(np.random.default_rng(1), (6, 1), 20)
    encoder = FDEncoder(FDEConfig(20, 4, 5, None))
    document = encoder.encode_document(p)
    np.testing.assert_allclose(document.reshape(-1, 20), np.tile(p, (4 * 32, 1)), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_query(q) @ document[0], 4 * chamfer(q, p), rtol=1e-4, atol=1e-5)


def test_without_hyperplanes_a_document_is_its_mean():
    q, p = unit_sets(np.random.default_rng(2), (6, 9), 20)
    encoder = FDEncoder(FDEConfig(20, 3, 0, None))
    value = encoder.encode_query(q) @ encoder.encode_document(p)[0] / 3
    np.testing.assert_allclose(value, (q @ p.mean(0)).sum(), atol=1e-5)


@pytest.mark.parametrize("kind", ["dense", "countsketch", "final"])
def test_projections_keep_inner_products_in_the_mean(kind):
    p = unit_sets(np.random.default_rng(5), (2,), 16)[0]
    shape = (1, 0, None, 6) if kind == "final" else (1, 0, 6, None)
    values = []
    for seed in range(1000):
        encoder = FDEncoder(FDEConfig(16, *shape, projection=kind if kind != "final" else "dense", seed=seed))
        values.append((encoder.encode_query(p[:1]) @ encoder.encode_document(p[1:]).T).item())
    assert abs(np.mean(values) - p[0] @ p[1]) < 3 * np.std(values) / np.sqrt(1000)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 7), st.integers(1, 12), st.integers(1, 60), st.booleans())
def test_the_estimate_never_exceeds_chamfer(seed, k_sim, m, l, alike):
    rng = np.random.default_rng(seed)
    q, p = unit_sets(rng, (m, l), 10)
    if alike:
        q, p = q + 2, p + 2  # a mean in common: unbalanced cells
    encoder = FDEncoder(FDEConfig(10, 3, k_sim, None, seed=seed % 1000))
    estimate = (encoder.encode_query(q) @ encoder.encode_document(p).T).item() / 3
    exact = float(chamfer(q, p)[0])
    assert estimate <= exact + 1e-5 * max(1, abs(exact))


def test_error_falls_with_hyperplanes_and_repetitions():
    rng = np.random.default_rng(0)
    dim, sets = 64, []
    for _ in range(20):
        (q, p) = unit_sets(rng, (8, 60), dim)
        noise = unit_sets(rng, (8,), dim)[0]
        p[:8] = 0.95 * q + np.sqrt(1 - 0.95**2) * noise
        sets.append((q, p))

    def errors(reps, k_sim):
        encoder = FDEncoder(FDEConfig(dim, reps, k_sim, None))
        exact = np.array([chamfer(q, p)[0] for q, p in sets])
        found = [(encoder.encode_query(q) @ encoder.encode_document(p).T).item() / reps for q, p in sets]
        return np.abs(np.array(found) - exact) / exact

    by_k = [errors(10, k).mean() for k in (2, 4, 6)]
    assert by_k[0] > by_k[1] > by_k[2]
    by_reps = [errors(reps, 4).std() for reps in (1, 5, 40)]
    assert by_reps[0] > by_reps[1] > by_reps[2]


def test_without_filling_a_query_can_miss_a_document_that_holds_its_like():
    rng = np.random.default_rng(0)
    q = unit_sets(rng, (1,), 16)[0]
    near = q + 0.15 * rng.standard_normal((30, 16))
    counts = []
    for fill in (False, True):
        encoder = FDEncoder(FDEConfig(16, 1, 8, None, fill_empty=fill))
        scores = encoder.encode_query(q) @ encoder.encode_document(list(near[:, None])).T
        counts.append(int((np.abs(scores) < 1e-6).sum()))
    assert counts[0] > 0 == counts[1]


def test_the_first_repetitions_of_a_longer_encoding_are_those_of_a_shorter_one():
    x = unit_sets(np.random.default_rng(0), (9,), 12)[0]
    short, long = (FDEncoder(FDEConfig(12, reps, 3, 4)).encode_document(x) for reps in (2, 5))
    np.testing.assert_array_equal(short[0], long[0, : short.shape[1]])
    other = FDEncoder(FDEConfig(12, 2, 3, 4, seed=2)).encode_document(x)
    assert not np.isclose(short, other).all(axis=1).any()


@pytest.mark.parametrize("final_dim", [None, 64])
def test_bits_do_not_depend_on_threads(final_dim):
    sets = unit_sets(np.random.default_rng(0), (40, 1, 300, 7, 90) * 4, 48)
    config = FDEConfig(48, 6, 5, 8, final_dim)
    for method in ("encode_document", "encode_query"):
        one, two, seven = (getattr(FDEncoder(config, threads=t), method)(sets) for t in (1, 2, 7))
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, seven)


def test_half_precision_and_torch_are_taken_as_they_are():
    torch = pytest.importorskip("torch")
    x = np.vstack(unit_sets(np.random.default_rng(0), (31, 12), 40)).astype(np.float32)
    offsets = [0, 31, 43]
    encoder = FDEncoder(FDEConfig(40, 4, 4, 16))
    exact = encoder.encode_document(x, offsets)
    half = x.astype(np.float16)
    np.testing.assert_allclose(
        encoder.encode_document(half, offsets),
        encoder.encode_document(half.astype(np.float32), offsets),
        atol=1e-6,
    )
    close = np.abs(encoder.encode_document(half, offsets) - exact) <= 2e-3
    assert close.mean() > 0.97  # a vector on a hyperplane changes its cell
    bfloat = torch.tensor(x).bfloat16()
    np.testing.assert_allclose(
        encoder.encode_document(bfloat, offsets),
        encoder.encode_document(bfloat.float(), torch.tensor(offsets)),
        atol=1e-6,
    )
    np.testing.assert_array_equal(encoder.encode_query(x.astype(np.float64)), encoder.encode_query([x]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 0}, "dim=0"),
        ({"reps": 0}, "reps=0"),
        ({"k_sim": 21}, "k_sim=21: expected an integer >= 0 and <= 20"),
        ({"k_sim": -1}, "k_sim=-1"),
        ({"d_proj": 0}, "d_proj=0"),
        ({"d_proj": 33}, "d_proj=33: expected an integer >= 1 and <= 32"),
        ({"final_dim": 10240}, "final_dim=10240: expected an integer >= 1 and <= 10239"),
        ({"projection": "sparse"}, "projection='sparse'"),
        ({"fill_empty": 1}, "fill_empty=1"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_a_configuration_out_of_range_is_refused(change, message):
    with pytest.raises(ArgumentError, match=message):
        FDEConfig(**{"dim": 32, **change})


def test_more_cells_than_memory_is_a_matter_of_cost():
    with pytest.raises(CostError, match="268435456"):
        FDEConfig(dim=384, k_sim=20, d_proj=None)


@pytest.mark.parametrize(
    ("X", "offsets", "message"),
    [
        (np.ones((3, 5)), None, "5 dimensions: expected 4"),
        (np.ones((3, 4)), [0, 3, 3], "set 1 is empty"),
        (np.ones((3, 4)), [0, 2], "rise from 0 to 3"),
        (np.full((3, 4), np.nan), None, "NaN or infinite entries, first in row 0"),
        (np.ones(4), None, r"shape \(4,\)"),
        ([], None, "at least one set"),
        (np.ones((3, 4), complex), None, "complex128"),
    ],
)
def test_sets_that_do_not_fit_are_refused(X, offsets, message):
    encoder = FDEncoder(FDEConfig(4, 2, 2, 2))
    for encode in (encoder.encode_document, encoder.encode_query):
        with pytest.raises(ArgumentError, match=message):
            encode(X, offsets)


def test_a_configuration_and_a_center_of_another_kind_are_refused():
    with pytest.raises(UnsupportedError, match="expected FDEConfig"):
        FDEncoder({"dim": 4})
    with pytest.raises(ShapeError, match="center has shape"):
        FDEncoder(FDEConfig(4, d_proj=2), center=np.ones(3))
