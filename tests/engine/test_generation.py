"""Stop strings, whole characters, callbacks and streams behave the same wherever token borders fall."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, FormatError
from gossamer.engine import evaluate
from gossamer.engine.generation import (
    GenerateResult,
    StopScanner,
    TextBuilder,
    TextStream,
    check_stops,
    room,
)


def until_first_stop(text, stops):
    """The oracle: look at every prefix in turn."""
    for end in range(1, len(text) + 1):
        hit = [stop for stop in stops if text[:end].endswith(stop)]
        if hit:
            return text[: end - max(map(len, hit))], True
    return text, False


@settings(max_examples=200, deadline=None)
@given(
    pieces=st.lists(st.text("abc", max_size=4), max_size=8),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
)
def test_text_ends_before_the_stop_string_that_is_complete_first(pieces, stops):
    scanner, given_ = StopScanner(stops), ""
    expected, stopped = until_first_stop("".join(pieces), stops)
    for piece in pieces:
        given_ += scanner.put(piece)
        assert expected.startswith(given_)
    assert given_ + scanner.finish() == expected
    assert scanner.stopped == stopped


def test_nothing_is_held_back_without_need():
    scanner = StopScanner(["###"])
    assert scanner.put("ab#") == "ab"
    assert scanner.put("c") == "#c"


def test_builder_joins_pieces_and_names_the_reason(byte_tokenizer):
    ids = byte_tokenizer.encode("naïve END and more")
    pieces = []
    builder = TextBuilder(byte_tokenizer, frozenset({0}), ["END"], pieces.append)
    used = next(i for i, token in enumerate(ids, 1) if not builder.put(token))
    assert builder.finish() == "naïve " == "".join(pieces)
    assert builder.reason == "stop"
    assert builder.ids == ids[:used]


def test_builder_ends_at_the_end_of_text_token(byte_tokenizer):
    builder = TextBuilder(byte_tokenizer, frozenset({0}))
    assert builder.put(byte_tokenizer.encode("x")[0])
    assert not builder.put(0)
    assert builder.finish() == "x"
    assert builder.reason == "eos"
    assert len(builder.ids) == 1


def test_callback_that_returns_false_cancels(byte_tokenizer):
    builder = TextBuilder(byte_tokenizer, frozenset(), emit=lambda piece: piece != "b")
    going = [builder.put(token) for token in byte_tokenizer.encode("abc")]
    assert going[:2] == [True, False]
    builder.finish()
    assert builder.reason == "cancelled"


def test_builder_without_tokenizer_collects_ids():
    builder = TextBuilder(None, frozenset({9}))
    assert [builder.put(i) for i in (1, 2, 9)] == [True, True, False]
    assert builder.finish() == ""
    assert builder.ids == [1, 2]
    with pytest.raises(ArgumentError, match="tokenizer"):
        TextBuilder(None, frozenset(), ["x"])


@pytest.mark.parametrize("stops", [[""], [3], [None]])
def test_stop_strings_are_checked(stops):
    with pytest.raises(ArgumentError, match="stop="):
        check_stops(stops)


def test_room():
    assert room(10, None, 100) == 90
    assert room(10, None, 1000) == 256
    assert room(10, 90, 100) == 90
    with pytest.raises(ArgumentError, match="at most 90"):
        room(10, 91, 100)
    with pytest.raises(ArgumentError, match="the prompt has 101 tokens"):
        room(101, 1, 100)


def test_stream_gives_pieces_then_the_result():
    def run(emit):
        for piece in ("a", "b"):
            emit(piece)
        return GenerateResult(text="ab")

    stream = TextStream(run)
    assert list(stream) == ["a", "b"]
    assert stream.result.text == "ab"


def test_closing_a_stream_ends_the_generation():
    asked = []

    def run(emit):
        while emit("x") is not False:
            asked.append(1)
        return GenerateResult(text="ended")

    stream = TextStream(run)
    assert next(stream) == "x"
    stream.close()  # returns only when the thread has ended
    count = len(asked)
    assert list(stream) == []
    assert len(asked) == count


def test_an_error_while_streaming_comes_out_of_the_loop():
    def run(emit):
        emit("x")
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        list(TextStream(run))


def uniform(ids):
    for _ in ids:
        yield np.zeros((1, 16), np.float32)


def test_perplexity_of_a_uniform_model_is_the_vocabulary():
    result = evaluate.perplexity(uniform, list(range(16)) * 4, window=10)
    assert result.perplexity == pytest.approx(16)
    assert (result.window, result.windows, result.predicted) == (10, 6, 54)
    assert "6 windows of 10 tokens" in result.message


def test_token_nll_agrees_with_torch_in_any_pieces():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits, ids = rng.normal(0, 20, (12, 30)).astype(np.float32), rng.integers(0, 30, 12)
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits[:-1]), torch.from_numpy(ids[1:]), reduction="none"
    )
    for cut in ([12], [5, 7], [11, 1], [1] * 12):
        pieces = iter(np.split(logits, np.cumsum(cut)[:-1]))
        np.testing.assert_allclose(evaluate.token_nll(pieces, ids), expected.numpy(), rtol=1e-5, atol=1e-5)


def test_too_short_text_says_how_many_tokens_there_are():
    with pytest.raises(ArgumentError, match="the text has 5 tokens: expected at least one window of 8"):
        evaluate.windows_of(range(5), 8, None)
    with pytest.raises(ArgumentError, match="has 20 tokens, enough for 2 windows of 8"):
        evaluate.windows_of(range(20), 8, 3)


def test_choices_are_scored_by_length():
    table = np.full((16, 16), -50.0)
    # after anything: token 1 with probability 1/2, token 2 with 1/4, token 3 with 1/4
    table[:, 1], table[:, 2], table[:, 3] = math.log(0.5), math.log(0.25), math.log(0.25)

    def logits_of(ids):
        yield table[np.asarray(ids)].astype(np.float32)

    def encode(text):
        return [{"a": 1, "b": 2, " ": 3}[letter] for letter in text]

    raw = evaluate.choice_scores(logits_of, encode, "a", ["b", "aa"], "none")
    np.testing.assert_allclose(raw, [math.log(1 / 16), math.log(1 / 16)], rtol=1e-5)
    np.testing.assert_allclose(
        evaluate.choice_scores(logits_of, encode, "a", ["b", "aa"], "bytes"), raw / [2, 3], rtol=1e-6
    )
    result = evaluate.accuracy(
        logits_of, encode, [evaluate.Question("a", ("b", "aa"), 1), evaluate.Question("a", ("b", "aa"), 0)]
    )
    assert (result.accuracy, result.questions, result.chosen) == (0.5, 2, [1, 1])


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"query": "q", "choices": ["a"], "gold": 0}',
        '{"query": "q", "choices": ["a", "b"], "gold": 2}',
    ],
)
def test_damaged_questions_name_their_line(tmp_path, line):
    good = '{"query": "q", "choices": ["a", "b"], "gold": 1}'
    (tmp_path / "q.jsonl").write_text(f"{good}\n\n{line}\n")
    with pytest.raises(FormatError, match="line 3"):
        evaluate.read_questions(tmp_path / "q.jsonl")
    (question,) = evaluate.read_questions(tmp_path / "q.jsonl", limit=1)
    assert question == evaluate.Question("q\nAnswer:", ("a", "b"), 1)
