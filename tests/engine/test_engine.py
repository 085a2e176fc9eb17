"""The engine against transformers on tiny random models: logits, greedy answers, perplexity, and what is refused."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.engine.tiny_models import LLAMA, as_transformers, dense, random_artifact

from gossamer._core.errors import ArgumentError, FormatError, UnsupportedError
from gossamer.engine import Engine, Sampling, save_artifact
from gossamer.engine.profile import profile
from gossamer.linalg import GroupQuant

EXACT = {"act": "fp32", "kv": "float32"}


@pytest.fixture
def artifact(llama, byte_tokenizer):
    llama.tokenizer = byte_tokenizer
    return llama


@pytest.fixture
def engine(artifact):
    return Engine(artifact, threads=2, **EXACT)


def reference_logits(artifact, ids):
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        return as_transformers(artifact)(torch.tensor([list(ids)])).logits[0].numpy()


def ids_of(length, seed=0):
    return np.random.default_rng(seed).integers(4, 260, length).tolist()


def test_logits_agree_with_transformers(engine, artifact):
    for length in (1, 7, 150):
        found = engine.logits(ids_of(length))
        assert found.shape == (length, LLAMA["vocab_size"])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, reference_logits(artifact, ids_of(length)), atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [{"tie_word_embeddings": False}, {"num_key_value_heads": 4}, {"head_dim": 32}, {"rope_theta": 1e6}],
    ids=str,
)
def test_logits_of_other_configurations(change):
    artifact = random_artifact("llama", LLAMA | change)
    found = Engine(artifact, **EXACT).logits(ids_of(40))
    np.testing.assert_allclose(found, reference_logits(artifact, ids_of(40)), atol=1e-4)


def test_quantised_model_agrees_with_its_dense_matrices():
    artifact = random_artifact("llama", LLAMA, structure=GroupQuant(4, 32))
    embedding = artifact.arrays.pop("model.embed_tokens.weight")
    artifact.matrices["model.embed_tokens"] = GroupQuant(8, 32).project(embedding)
    plain = random_artifact("llama", LLAMA)
    plain.matrices = {path: dense(artifact.weight(path).astype(np.float32)) for path in plain.matrices}
    plain.arrays = artifact.arrays | {"model.embed_tokens.weight": artifact.weight("model.embed_tokens")}
    expected = reference_logits(plain, ids_of(30))
    np.testing.assert_allclose(Engine(artifact, **EXACT).logits(ids_of(30)), expected, atol=1e-3)
    rough = Engine(artifact).logits(ids_of(30))
    assert np.abs(rough - expected).mean() < 0.05 * np.abs(expected).mean()


def test_greedy_answer_is_that_of_transformers(engine, artifact):
    torch = pytest.importorskip("torch")
    model = as_transformers(artifact)
    for seed in range(4):
        prompt = ids_of(9, seed)
        with torch.no_grad():
            full = model.generate(
                torch.tensor([prompt]), max_new_tokens=24, do_sample=False, eos_token_id=0, pad_token_id=0
            )[0].tolist()
        answer = engine.generate(prompt, max_new_tokens=24)
        expected = full[len(prompt) :]
        assert answer.ids == [i for i in expected if i != 0]
        assert answer.finish_reason == ("eos" if 0 in expected else "length")
        assert answer.prompt_tokens == 9
        assert answer.prefill_speed > 0
        assert answer.decode_speed > 0


def test_several_prompts_answer_as_each_alone(engine):
    prompts = ["one", "the second", ids_of(33), "a", "é"]
    for options in ({}, {"temperature": 0.9, "top_k": 40, "top_p": 0.9, "repetition_penalty": 1.2}):
        together = engine.generate(prompts, max_new_tokens=12, seed=3, **options)
        for i, (prompt, answer) in enumerate(zip(prompts, together, strict=True)):
            alone = engine.generate(prompt, max_new_tokens=12, seed=3 + i, **options)
            assert (alone.ids, alone.text, alone.finish_reason) == (
                answer.ids,
                answer.text,
                answer.finish_reason,
            )


def test_more_prompts_than_run_at_once(engine):
    answers = engine.generate([[5 + i] for i in range(40)], max_new_tokens=3)
    assert [a.ids for a in answers[::13]] == [
        engine.generate([5 + i], max_new_tokens=3).ids for i in range(0, 40, 13)
    ]


def test_same_seed_same_answer_and_the_seed_is_reported(engine):
    first = engine.generate("abc", max_new_tokens=30, temperature=1.5)
    again = engine.generate("abc", max_new_tokens=30, temperature=1.5, seed=first.sampling.seed)
    assert first.ids == again.ids
    assert any(
        engine.generate("abc", max_new_tokens=30, temperature=1.5, seed=s).ids != first.ids for s in range(3)
    )


def test_threads_do_not_change_an_answer(artifact):
    answers = {
        tuple(Engine(artifact, threads=t).generate("threads", max_new_tokens=20, temperature=1, seed=1).ids)
        for t in (1, 2, 5)
    }
    assert len(answers) == 1


def test_stop_string_ends_the_answer_before_itself(engine):
    free = engine.generate("stop here", max_new_tokens=40)
    text = free.text
    stop = text[7:9]
    answer = engine.generate("stop here", max_new_tokens=40, stop=[stop, "never to be seen"])
    assert answer.text == text[: text.index(stop)]
    assert answer.finish_reason == "stop"
    assert len(answer.ids) < len(free.ids)


def test_stream_gives_the_same_text_in_pieces(engine):
    whole = engine.generate("stream me", max_new_tokens=30, temperature=1, seed=4)
    pieces = []
    called = engine.generate("stream me", max_new_tokens=30, temperature=1, seed=4, stream=pieces.append)
    stream = engine.stream("stream me", max_new_tokens=30, temperature=1, seed=4)
    assert "".join(stream) == "".join(pieces) == called.text == whole.text
    assert stream.result.ids == whole.ids
    assert len(pieces) > 3


def test_stream_left_early_leaves_the_engine_usable(engine):
    stream = engine.stream("forever", max_new_tokens=200)
    next(stream)
    stream.close()
    assert engine.generate("again", max_new_tokens=3).ids


def test_chat_puts_the_prompt_into_the_template(engine, byte_tokenizer):
    prompt = byte_tokenizer.encode("<|user|>Hi<|end|><|assistant|>")
    expected = engine.generate(prompt, max_new_tokens=10)
    assert engine.generate("Hi", chat=True, max_new_tokens=10).ids == expected.ids
    conversation = [{"role": "user", "content": "Hi"}]
    assert engine.generate(conversation, chat=True, max_new_tokens=10).ids == expected.ids
    assert engine.generate(["Hi", conversation], chat=True, max_new_tokens=10)[1].ids == expected.ids


def test_perplexity_agrees_with_transformers(engine, artifact):
    torch = pytest.importorskip("torch")
    ids = ids_of(330)
    result = engine.perplexity(ids, window=150)
    losses = []
    for start in (0, 150):
        window = torch.tensor(ids[start : start + 150])
        logits = torch.from_numpy(reference_logits(artifact, ids[start : start + 150]))
        losses.append(torch.nn.functional.cross_entropy(logits[:-1], window[1:]).item())
    assert result.perplexity == pytest.approx(np.exp(np.mean(losses)), rel=1e-4)
    assert (result.window, result.windows, result.predicted) == (150, 2, 298)


def test_perplexity_of_a_short_text_says_how_many_tokens_it_has(engine):
    with pytest.raises(ArgumentError, match="has 5 tokens: expected at least one window of 64"):
        engine.perplexity("hello", window=64)
    with pytest.raises(ArgumentError, match="window=512"):
        engine.perplexity("hello", window=512)


def test_choose_takes_the_likeliest_continuation(engine, artifact):
    def score(query, choice):
        ids = engine.tokenizer.encode(query + " " + choice)
        logits = reference_logits(artifact, ids)
        top = logits.max(axis=1, keepdims=True)
        likelihood = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
        start = len(engine.tokenizer.encode(query))
        return sum(likelihood[i - 1, ids[i]] for i in range(start, len(ids))) / (len(choice.encode()) + 1)

    choices = ["yes", "no way", "perhaps"]
    scores = [score("Question?", choice) for choice in choices]
    assert engine.choose("Question?", choices) == int(np.argmax(scores))


def test_accuracy_reads_a_file(engine, tmp_path):
    (tmp_path / "q.jsonl").write_text('{"query": "Q", "choices": ["a", "bb"], "gold": 0}\n' * 3)
    result = engine.accuracy(tmp_path / "q.jsonl", limit=2)
    assert result.questions == 2
    assert result.accuracy in (0, 1)


def test_engines_of_one_process_are_independent(artifact):
    other = random_artifact("llama", LLAMA, seed=9, tokenizer=artifact.tokenizer)
    engines = [Engine(artifact, threads=2), Engine(other, threads=1)]
    alone = [engine.generate("work", max_new_tokens=40).ids for engine in engines]
    assert alone[0] != alone[1]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda i: engines[i % 2].generate("work", max_new_tokens=40).ids, range(12)))
    assert found == alone * 6


def test_engine_does_not_need_the_artifact_any_more(artifact):
    engine = Engine(artifact, **EXACT)
    before = engine.logits(ids_of(5))
    for array in artifact.arrays.values():
        array[:] = 0
    for matrix in artifact.matrices.values():
        matrix.factors["weight"][:] = 0
    np.testing.assert_array_equal(engine.logits(ids_of(5)), before)


def test_profile_tells_where_a_token_goes(engine):
    result = profile(engine, prefill=16, decode=6)
    rows = {row["stage"]: row for row in result.rows}
    assert sum(row["share"] for row in result.rows) == pytest.approx(1, abs=0.02)
    kept = {row["path"]: row for row in engine.decoder.describe()}
    assert rows["head"]["bytes"] == list(kept.values())[-1]["bytes"]
    assert rows["down"]["bytes"] == sum(r["bytes"] for p, r in kept.items() if p.endswith("down_proj"))
    weights = sum(
        rows[s]["bytes"] for s in ("query, key, value", "attention output", "gate, up", "down", "head")
    )
    assert weights == engine.decoder.bytes_per_token
    assert result.flops == sum(row["flops"] for row in result.rows) > 2 * weights / 4


def test_benchmark_and_description(engine):
    result = engine.benchmark(prefill=16, decode=4, repeats=2)
    assert result.prefill_speed > 0
    assert result.decode_speed > 0
    assert len(result.decode_speeds) == 2
    facts = engine.describe()
    assert facts["kind"] == "llama"
    assert facts["parameters"] == sum(a.size for a in engine_arrays(facts, engine))
    assert facts["memory"]["weights"] > 0
    assert sum(facts["kernels"].values()) == 7 * LLAMA["num_hidden_layers"] + 1


def engine_arrays(facts, engine):
    artifact = random_artifact("llama", LLAMA)
    return [*artifact.arrays.values(), *(m.factors["weight"] for m in artifact.matrices.values())]


def test_load_from_disk(artifact, tmp_path):
    save_artifact(tmp_path / "m", artifact)
    loaded = Engine.load(tmp_path / "m", threads=1, **EXACT)
    assert (
        loaded.generate("hi", max_new_tokens=5).ids
        == Engine(artifact, **EXACT).generate("hi", max_new_tokens=5).ids
    )
    (tmp_path / "m" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(FormatError, match="truncated"):
        Engine.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": ""}, "empty"),
        ({"prompt": []}, "expected a text"),
        ({"prompt": [[]]}, "empty"),
        ({"prompt": 7}, "expected a text"),
        ({"prompt": [1.5]}, "token id=1.5"),
        ({"prompt": [288]}, "token id=288"),
        ({"prompt": [-1]}, "token id=-1"),
        ({"prompt": [5] * 257}, "the prompt has 257 tokens"),
        ({"max_new_tokens": 300}, "at most 25"),
        ({"max_new_tokens": -1}, "max_new_tokens=-1"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"stop": [""]}, "stop="),
        ({"seed": -1}, "seed"),
        ({"prompt": ["a", "b"], "stream": print}, "expected one prompt"),
        ({"prompt": [{"role": "user"}], "chat": True}, "message"),
    ],
    ids=str,
)
def test_bad_input_is_refused_in_words(engine, options, message):
    with pytest.raises(ArgumentError, match=message):
        engine.generate(**{"prompt": "abc", "max_new_tokens": 3, **options})


def test_no_new_tokens_is_an_empty_answer(engine):
    answer = engine.generate("abc", max_new_tokens=0)
    assert (answer.text, answer.ids, answer.finish_reason) == ("", [], "length")
    assert [a.text for a in engine.generate(["abc", "d"], max_new_tokens=0)] == ["", ""]


def test_without_a_tokenizer_ids_still_work(llama):
    engine = Engine(llama)
    answer = engine.generate([5, 6], max_new_tokens=3)
    assert len(answer.ids) == 3
    assert answer.text == ""
    with pytest.raises(ArgumentError, match="no tokenizer"):
        engine.generate("text")


def test_kinds_say_what_they_cannot_do(engine, bert, llama):
    with pytest.raises(UnsupportedError, match="use generate"):
        engine.embed(["x"])
    encoder = Engine(bert)
    for call in (encoder.generate, encoder.stream, encoder.logits, encoder.perplexity):
        with pytest.raises(UnsupportedError, match="use "):
            call("x")
    assert encoder.benchmark(prefill=8, repeats=1).prefill_speed > 0
    assert encoder.hidden([3, 4]).shape == (2, 64)
    llama.kind = "module"
    with pytest.raises(UnsupportedError, match="not run"):
        Engine(llama)


def test_options_are_checked(llama):
    for options in ({"threads": 0}, {"act": "int3"}, {"kv": "float8"}, {"max_context": -1}):
        with pytest.raises(ArgumentError, match=next(iter(options))):
            Engine(llama, **options)


def test_native_sampler_follows_the_reference(engine):
    """Frequencies of the first token against the reference distribution of the same logits."""
    from gossamer.engine.sampling import distribution

    prompt = ids_of(6)
    settings = Sampling(temperature=2.0, top_k=12, top_p=0.9, repetition_penalty=1.3)
    expected = distribution(engine.logits(prompt)[-1], prompt, settings)
    answers = [
        engine.generate(
            prompt, max_new_tokens=1, temperature=2.0, top_k=12, top_p=0.9, repetition_penalty=1.3, seed=i
        )
        for i in range(1500)
    ]
    drawn = [a.ids[0] if a.ids else 0 for a in answers]
    counts = np.bincount(drawn, minlength=len(expected)) / len(drawn)
    assert set(np.flatnonzero(counts)) <= set(np.flatnonzero(expected))
    np.testing.assert_allclose(counts, expected, atol=0.05)
