"""A tokenizer of words and an encoder with one fixed vector a word: texts are near if they share words."""

import numpy as np
import pytest

WORDS = (
    *(
        "bread",
        "is",
        "baked",
        "in",
        "an",
        "oven",
        "by",
        "the",
        "baker",
        "ships",
        "sail",
        "over",
        "sea",
        "with",
        "wind",
    ),
    *(
        "cats",
        "sleep",
        "on",
        "warm",
        "stones",
        "all",
        "day",
        "and",
        "night",
        "rivers",
        "flow",
        "to",
        "old",
        "towns",
    ),
    *("hold", "markets", "where", "people", "buy", "fish"),
)


def word_tokenizer():
    pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(WORDS)]
    plain = tokenizers.Tokenizer(WordLevel({w: i for i, w in enumerate(names)}, unk_token="[UNK]"))
    plain.normalizer, plain.pre_tokenizer = Lowercase(), Whitespace()
    plain.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )


def word_vectors(batch):
    table = np.random.default_rng(0).standard_normal((200, 16))
    return [table[ids] for ids in batch]
