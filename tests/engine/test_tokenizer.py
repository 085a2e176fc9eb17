"""Text survives the round trip, streaming never splits a character, templates cannot reach the program."""

import pickle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gossamer._core.errors import ArgumentError, FormatError
from gossamer.engine import Tokenizer

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(text=TEXT)
def test_round_trip(byte_tokenizer, text):
    assert byte_tokenizer.decode(byte_tokenizer.encode(text)) == text


@quick
@given(text=TEXT)
def test_stream_gives_whole_characters_that_join_to_the_text(byte_tokenizer, text):
    stream, pieces = byte_tokenizer.stream(), []
    for token in byte_tokenizer.encode(text):
        pieces.append(stream.put(token))
        assert text.startswith("".join(pieces))
    pieces.append(stream.finish())
    assert "".join(pieces) == text


@quick
@given(ids=st.lists(st.integers(0, 259), max_size=30))
def test_stream_of_any_ids_joins_to_their_decoding(byte_tokenizer, ids):
    stream = byte_tokenizer.stream()
    text = "".join(stream.put(i) for i in ids) + stream.finish()
    assert text == byte_tokenizer.decode(ids)


def test_an_unfinished_character_is_held_back_until_the_end(byte_tokenizer):
    stream = byte_tokenizer.stream()
    first, second, third = byte_tokenizer.encode("€")
    assert stream.put(first) == ""
    assert stream.put(second) == ""
    assert stream.put(third) == "€"
    assert stream.put(first) == ""
    assert stream.finish() == "\ufffd"


def test_special_tokens(byte_tokenizer):
    assert byte_tokenizer.special("eos_token") == 0
    assert byte_tokenizer.special("bos_token") is None
    assert byte_tokenizer.encode("a<|end|>b")[1] == 0
    ids = byte_tokenizer.encode("a<|end|>b")
    assert byte_tokenizer.decode(ids) == "ab"
    assert byte_tokenizer.decode(ids, skip_special=False) == "a<|end|>b"


def test_max_length_keeps_the_closing_token():
    tokenizers = pytest.importorskip("tokenizers")
    raw = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, "a": 3}, unk_token="[UNK]")
    )
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    raw.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    raw.enable_padding(length=9)  # what a file may ask for; batches here are never padded
    tokenizer = Tokenizer.wrap(raw)
    assert tokenizer.encode("a a a a a", max_length=4) == [0, 3, 3, 1]
    assert tokenizer.encode("a a a a a") == [0, 3, 3, 3, 3, 3, 1]
    assert tokenizer.encode("a x", special=False) == [3, 2]


def test_chat_template(byte_tokenizer):
    assert byte_tokenizer.chat("Hi") == "<|user|>Hi<|end|><|assistant|>"
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert byte_tokenizer.chat(messages, generation_prompt=False) == "<|user|>a<|end|><|assistant|>b<|end|>"


@pytest.mark.parametrize("messages", [[], [{"role": "user"}], [{"role": "user", "content": 3}], ["hello"]])
def test_messages_of_another_form_are_refused(byte_tokenizer, messages):
    with pytest.raises(ArgumentError, match="message"):
        byte_tokenizer.chat(messages)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ undefined.attribute }}",
        "{% for x in range(10**9) %}{% endfor %}",
        "{% if %}",
        "{{ 1 / 0 }}",
        "{{ 'x' * 10**10 }}",
        "{{ 9 ** 9 ** 9 }}",
    ],
)
def test_hostile_template_is_refused(byte_tokenizer, template):
    pytest.importorskip("jinja2")
    hostile = Tokenizer(byte_tokenizer.definition, {"chat_template": template})
    with pytest.raises(FormatError, match="chat template"):
        hostile.chat("hi")


def test_template_may_refuse_messages(byte_tokenizer):
    strict = Tokenizer(
        byte_tokenizer.definition, {"chat_template": "{{ raise_exception('no system role') }}"}
    )
    with pytest.raises(ArgumentError, match="no system role"):
        strict.chat("hi")


def test_model_without_template_says_so(byte_tokenizer):
    with pytest.raises(ArgumentError, match="no chat template"):
        Tokenizer(byte_tokenizer.definition).chat("hi")


@pytest.mark.parametrize(
    "definition", ["", "{}", "[]", '{"model": 3}', '{"version": "1.0", "model": {"type": "BPE"}}']
)
def test_damaged_definition_is_a_format_error(definition):
    with pytest.raises(FormatError):
        Tokenizer(definition).encode("x")


def test_load_from_a_directory_without_or_with_damaged_files(tmp_path, byte_tokenizer):
    with pytest.raises(FormatError, match="no such file"):
        Tokenizer.load(tmp_path)
    byte_tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path).encode("é") == byte_tokenizer.encode("é")
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(FormatError, match="table"):
        Tokenizer.load(tmp_path)


def test_ids_out_of_range_and_texts_that_are_none(byte_tokenizer):
    assert byte_tokenizer.decode([260, 100_000]) == ""
    with pytest.raises(ArgumentError, match="id=-1"):
        byte_tokenizer.decode([-1])
    with pytest.raises(ArgumentError, match="expected str"):
        byte_tokenizer.encode(None)
    with pytest.raises(ArgumentError, match="Unicode"):
        byte_tokenizer.encode("\ud800")


def test_pickle_after_use(byte_tokenizer):
    byte_tokenizer.encode("warm")
    assert pickle.loads(pickle.dumps(byte_tokenizer)).decode(byte_tokenizer.encode("ok")) == "ok"
