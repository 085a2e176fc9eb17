"""A tiny vocabulary, its tokenizer, and a random masked language model."""

import pytest

WORDS = [
    "spider",
    "web",
    "thread",
    "morning",
    "evening",
    "wind",
    "river",
    "stone",
    "bread",
    "flour",
    "oven",
    "sugar",
    "ship",
    "sail",
    "harbour",
    "storm",
    "map",
    "star",
    "planet",
    "moon",
    "orbit",
    "rocket",
    "engine",
    "wheel",
    "road",
    "bridge",
    "tower",
    "garden",
    "seed",
    "rain",
    "soil",
    "root",
    "leaf",
    "branch",
    "bird",
    "nest",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="session")
def tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.Lowercase()
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


@pytest.fixture
def bert(tokenizer):
    """A function of a seed: a model of two layers and 32 units."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

    def make(seed=0, **options):
        torch.manual_seed(seed)
        config = transformers.BertConfig(
            vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=64, max_position_embeddings=64, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0, initializer_range=0.3, **options,
        )  # fmt: skip
        return transformers.BertForMaskedLM(config).eval()

    return make
