"""Tiny random models on disk, as Hugging Face writes them."""

import json

import pytest

WORDS = [
    "the",
    "spider",
    "mends",
    "its",
    "web",
    "at",
    "night",
    "and",
    "the",
    "wind",
    "takes",
    "it",
    "down",
    "again",
    "in",
    "the",
    "morning",
    "while",
    "nobody",
    "looks",
    "a",
    "thread",
    "is",
    "thin",
    "but",
    "a",
    "web",
    "of",
    "many",
    "threads",
    "holds",
    "more",
    "than",
    "one",
    "would",
    "think",
    "who",
    "has",
    "not",
    "tried",
    "it",
]
CHAT = "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>{% endfor %}<|im_start|>assistant "


def text_of(words, seed):
    import numpy as np

    rng = np.random.default_rng(seed)
    return "".join(" ".join(rng.choice(WORDS, 9)) + ".\n" for _ in range(words // 9))


def _save_tokenizer(folder, **settings):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([text_of(2000, 0)], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>", **settings}))
    return tokenizer.get_vocab_size()


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tiny-llama")
    size = _save_tokenizer(folder, chat_template=CHAT)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=size, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=512, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_texts(tmp_path_factory):
    """A text to calibrate on and another one to evaluate on."""
    folder = tmp_path_factory.mktemp("texts")
    for name, seed in (("calibrate", 1), ("evaluate", 2)):
        (folder / f"{name}.txt").write_text(text_of(30000, seed))
    return folder / "calibrate.txt", folder / "evaluate.txt"
