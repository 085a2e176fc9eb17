"""Tiny random models, and recipes for them."""

import pytest

from gossamer.compress import Recipe

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def tiny_llama(seed=0, layers=3, hidden=64, inner=128, vocabulary=96, tied=True):
    """A random Llama whose weights are large enough that its predictions depend on its input."""
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=vocabulary,
        max_position_embeddings=128,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.1,
    )
    return transformers.LlamaForCausalLM(config).eval().requires_grad_(False)


def tiny_bert(seed=0, layers=2, pooled=False):
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        vocab_size=96,
        max_position_embeddings=64,
        hidden_act="gelu",
    )
    return transformers.BertModel(config, add_pooling_layer=pooled).eval().requires_grad_(False)


def recipe_of(structure, metric="hessian", head="w8", windows=8, length=32, **table):
    """A recipe with one rule for every layer."""
    return Recipe.from_config(
        {
            "name": "test",
            "head": head,
            "default": {"structure": structure, "metric": metric, **table},
            "calibration": {"windows": windows, "length": length},
        }
    )
