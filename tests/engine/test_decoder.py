"""The native decoder computes what transformers computes, in any order of calls, on any number of threads."""

import numpy as np
import pytest
from tests.engine.tiny_models import LLAMA, as_transformers, random_artifact
from tests.engine.tiny_models import dense as dense_matrix

from gossamer._core.errors import ArgumentError, FormatError
from gossamer._kernels.dispatch import available_isas, force_isa
from gossamer.engine.decoder import Decoder
from gossamer.engine.sampling import Sampling
from gossamer.linalg import Block, GroupQuant, GroupSparseQuant, Kronecker, LowRank, Unstructured

rng = np.random.default_rng(0)
IDS = rng.integers(0, LLAMA["vocab_size"], 100).tolist()


def exact(artifact, **options):
    return Decoder.from_artifact(artifact, **{"act": "fp32", "kv": "float32", "threads": 2, **options})


def reference(artifact, ids):
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        return as_transformers(artifact)(torch.tensor([list(ids)])).logits[0].numpy()


@pytest.fixture
def isa(request):
    force_isa(request.param)
    yield request.param
    force_isa("auto")


@pytest.mark.parametrize("isa", available_isas(), indirect=True)
@pytest.mark.parametrize("heads", [(4, 2, 16), (4, 1, 8), (2, 2, 24), (8, 1, 80)])
def test_logits_agree_with_transformers(isa, heads):
    config = LLAMA | dict(zip(("num_attention_heads", "num_key_value_heads", "head_dim"), heads, strict=True))
    artifact = random_artifact("llama", config)
    logits = exact(artifact).new_session().logits(IDS)
    np.testing.assert_allclose(logits, reference(artifact, IDS), atol=2e-4, rtol=0)


def test_untied_head_and_long_context_agree_with_transformers():
    config = LLAMA | {"tie_word_embeddings": False, "max_position_embeddings": 1024, "rope_theta": 500.0}
    artifact = random_artifact("llama", config)
    ids = rng.integers(0, LLAMA["vocab_size"], 600).tolist()
    wanted = reference(artifact, ids)
    session = exact(artifact).new_session()
    logits = session.logits(ids[:550])
    np.testing.assert_allclose(logits, wanted[:550], atol=5e-4, rtol=0)
    for at in range(550, 600):  # one token at a time: attention is split over pages
        np.testing.assert_allclose(session.decode(ids[at]), wanted[at], atol=5e-4, rtol=0)
    assert len(session) == 600
    assert session.ids == ids


@pytest.mark.parametrize(("kv", "tolerance"), [("float32", 1e-4), ("float16", 2e-2), ("int8", 0.3)])
def test_cache_types_differ_by_their_rounding_only(llama, kv, tolerance):
    wanted = exact(llama).new_session().logits(IDS)
    session = exact(llama, kv=kv).new_session()
    logits = np.vstack([session.logits(IDS[:70]), [session.decode(i) for i in IDS[70:]]])
    assert np.abs(logits - wanted).max() <= tolerance * wanted.std()


def test_prefill_returns_the_last_row_of_logits(llama):
    decoder = exact(llama)
    logits = decoder.new_session().logits(IDS)
    np.testing.assert_allclose(decoder.new_session().prefill(IDS), logits[-1], atol=1e-4)
    session = decoder.new_session()
    session.prefill(IDS[:1])
    np.testing.assert_allclose(session.prefill(IDS[1:]), logits[-1], atol=1e-4)


def test_batched_sessions_of_different_lengths_agree_with_single_ones(llama):
    decoder = exact(llama)
    prompts = [IDS[: 5 + 7 * i] for i in range(9)]
    alone, together = ([decoder.new_session() for _ in prompts] for _ in range(2))
    for group in (alone, together):
        for session, ids in zip(group, prompts, strict=True):
            session.prefill(ids)
    for token in (3, 200):
        tokens = [token + i for i in range(9)]
        wanted = [s.decode(t) for s, t in zip(alone, tokens, strict=True)]
        np.testing.assert_allclose(decoder.decode_batch(together, tokens), wanted, atol=1e-4)
    twice = [together[0], together[0]]
    with pytest.raises(ArgumentError, match="in use"):
        decoder.decode_batch(twice, [1, 2])


FAMILIES = {
    "dense": None,
    "w8": GroupQuant(bits=8, group=0),
    "w4": GroupQuant(bits=4, group=32),
    "w3": GroupQuant(bits=3, group=16, symmetric=True),
    "group-sparse": GroupSparseQuant(bits=4, group=16, density=0.5),
    "unstructured": Unstructured(density=0.3),
    "block": Block((1, 16), density=0.5),
    "low-rank": LowRank(8),
    "w4 + low-rank": GroupQuant(bits=4, group=32) + LowRank(4),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("act", ["fp32", "int8"])
def test_every_family_agrees_with_its_dense_model(family, act):
    artifact = random_artifact("llama", LLAMA, structure=FAMILIES[family])
    dense = random_artifact("llama", LLAMA)
    dense.matrices.clear()
    dense.arrays.update(artifact.dense())
    for path in artifact.matrices:
        weight = dense.arrays.pop(f"{path}.weight")
        dense.matrices[path] = dense_matrix(weight)
    wanted = exact(dense).new_session().logits(IDS)
    session = exact(artifact, act=act).new_session()
    logits = np.vstack([session.logits(IDS[:80]), [session.decode(i) for i in IDS[80:]]])
    # rounding activations to 8 bits costs some percent of a random model's logits, exact ones nothing
    assert np.sqrt(np.mean((logits - wanted) ** 2)) <= (1e-5 if act == "fp32" else 0.05) * wanted.std()
    runs = [exact(artifact, act=act, threads=n).new_session().logits(IDS[:40]) for n in (1, 2, 3)]
    assert all(np.array_equal(runs[0], run) for run in runs)


def test_profile_adds_up_and_changes_no_bit(llama):
    decoder = exact(llama)
    wanted = decoder.new_session().logits(IDS[:5])
    session, rows = decoder.new_session(), []
    passes, parts = decoder.timed(lambda: rows.extend(session.decode(token) for token in IDS[:5]))
    assert passes == 5
    np.testing.assert_allclose(rows, wanted, atol=1e-4)
    names = [name for name, *_ in parts]
    assert names[0] == "embedding"
    assert names[-1] == "head"
    assert all(min(seconds) >= 0 for _, *seconds in parts)
    assert all(opened > 0 for name, _, opened, _ in parts if name in ("down", "head", "attention"))


def test_describe_tells_what_runs():
    artifact = random_artifact("llama", LLAMA, structure=GroupQuant(bits=4, group=32))
    path = "model.layers.1.mlp.down_proj"
    weight = rng.standard_normal((64, 96)).astype(np.float32)
    artifact.matrices[path] = Kronecker((8, 12), (8, 8)).project(weight)
    rows = {row["path"]: row for row in exact(artifact).describe()}
    assert len(rows) == 15
    assert rows["model.layers.0.mlp.down_proj"]["kernel"] == "packed-int4"
    assert rows["model.layers.0.mlp.down_proj"]["note"] == ""
    assert "dense" in rows[path]["note"]
    assert rows["model.embed_tokens"]["kernel"] == "dense-float32"


def test_generate_draws_what_decoding_by_hand_draws(llama):
    decoder = exact(llama)
    session, tokens = decoder.new_session(), []
    logits = session.prefill(IDS[:9])
    for _ in range(20):
        tokens.append(int(np.argmax(logits)))
        logits = session.decode(tokens[-1])

    session, given = decoder.new_session(), []
    session.prefill(IDS[:9])
    assert session.generate(12, callback=given.append) == tokens[:12] == given
    assert session.generate(8) == tokens[12:]
    assert session.ids == IDS[:9] + tokens
    np.testing.assert_allclose(
        session.decode(5), decoder.new_session().prefill([*IDS[:9], *tokens, 5]), atol=1e-4
    )


def test_generation_ends_at_stop_ids_and_when_the_callback_says_so(llama):
    decoder = exact(llama)

    def run(*arguments):
        session = decoder.new_session()
        session.prefill(IDS[:9])
        return session.generate(20, Sampling(temperature=1.5, seed=3), *arguments)

    tokens = run()
    assert len(tokens) == 20
    assert run() == tokens
    assert run([tokens[4]]) == tokens[: tokens.index(tokens[4]) + 1]
    seen = []
    assert run([], lambda token: seen.append(token) or len(seen) < 3) == tokens[:3]


def test_callback_errors_come_out_and_leave_the_session_usable(llama):
    session = exact(llama).new_session()
    session.prefill(IDS[:9])

    def fail(token):
        raise KeyError(token)

    with pytest.raises(KeyError):
        session.generate(5, callback=fail)
    with pytest.raises(ArgumentError, match="in use"):
        session.generate(5, callback=lambda token: session.decode(1))
    assert len(session.generate(3)) == 3


def test_bad_input_is_refused_and_changes_nothing(llama):
    decoder = exact(llama, max_context=32)
    session = decoder.new_session()
    with pytest.raises(ArgumentError, match="prefill"):
        session.generate(1)
    session.prefill(IDS[:8])
    with pytest.raises(ArgumentError, match="288"):
        session.prefill([1, 288])
    with pytest.raises(ArgumentError, match="-1"):
        session.decode(-1)
    with pytest.raises(ArgumentError, match="at most 32"):
        session.prefill(IDS[:25])
    with pytest.raises(ArgumentError, match="at most 32"):
        session.generate(25)
    with pytest.raises(ArgumentError):
        session.prefill([])
    with pytest.raises(ArgumentError):
        session.generate(1, stop_ids=[288])
    assert session.ids == IDS[:8]
    assert session.logits([]).shape == (0, 288)
    with pytest.raises(ArgumentError, match="another decoder"):
        decoder.decode_batch([exact(llama).new_session()], [1])
    with pytest.raises(ArgumentError):
        decoder.decode_batch([session], [1, 2])
    assert len(session.generate(24)) == 24


def test_models_that_do_not_fit_are_refused(llama):
    with pytest.raises(ArgumentError, match="kv"):
        exact(llama, kv="float8")
    broken = random_artifact("llama", LLAMA)
    del broken.arrays["model.norm.weight"]
    with pytest.raises(FormatError, match="missing"):
        exact(broken)
    broken = random_artifact("llama", LLAMA)
    broken.matrices["model.layers.1.self_attn.q_proj"] = dense_matrix(np.ones((64, 32), np.float32))
    with pytest.raises(FormatError, match="q_proj"):
        exact(broken)
    with pytest.raises(FormatError, match="rope_type"):
        exact(random_artifact("llama", LLAMA | {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}))


def test_decoders_are_independent_across_python_threads():
    from concurrent.futures import ThreadPoolExecutor

    decoders = [exact(random_artifact("llama", LLAMA, seed=i)) for i in range(2)]

    def run(i):
        session = decoders[i % 2].new_session()
        session.prefill(IDS[:9])
        return session.generate(30)

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(run, range(8)))
    assert answers == [run(i) for i in range(8)]
    assert answers[0] != answers[1]
