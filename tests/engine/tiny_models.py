"""Tiny random models, built by transformers and kept as artifacts of dense matrices."""

import numpy as np
import pytest

from gossamer.engine import Artifact
from gossamer.linalg import Dense

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 288,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "hidden_act": "silu",
}
BERT = {
    "model_type": "bert",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "type_vocab_size": 2,
    "max_position_embeddings": 64,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
}


def dense(weight):
    """The weight as a member of the dense family."""
    structure = Dense(str(weight.dtype))
    return structure.matrix(structure, weight.shape, {"weight": weight})


def random_artifact(kind, config, seed=0, structure=None, **extra):
    """A model with random weights, of the right names and shapes; ``structure`` projects linear layers."""
    artifact = Artifact(kind, dict(config), {}, {}, **extra)
    layout, rng = artifact.layout, np.random.default_rng(seed)
    for path, shape in (layout.linear | layout.either).items():
        weight = rng.normal(0, 1.5 / np.sqrt(shape[1]), shape).astype(np.float32)
        if path in layout.either:
            artifact.arrays[f"{path}.weight"] = weight
        else:
            artifact.matrices[path] = structure.project(weight) if structure else dense(weight)
    for name, shape in layout.arrays.items():
        artifact.arrays[name] = (rng.normal(0, 0.2, shape) + name.endswith("norm.weight")).astype(np.float32)
    return artifact


@pytest.fixture
def llama():
    return random_artifact("llama", LLAMA)


@pytest.fixture
def bert():
    return random_artifact("bert", BERT)


def as_transformers(artifact):
    """The same model in transformers, float32, evaluation mode."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    if artifact.kind == "llama":
        config = transformers.LlamaConfig(**artifact.config)
        model = transformers.LlamaForCausalLM(config)
    else:
        config = transformers.BertConfig(**artifact.config)
        model = transformers.BertModel(config, add_pooling_layer=False)
    state = {name: torch.from_numpy(np.array(array)) for name, array in artifact.dense().items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    return model.float().eval()


@pytest.fixture
def byte_tokenizer():
    """A byte-level tokenizer over 256 bytes and four special tokens: any text round-trips."""
    tokenizers = pytest.importorskip("tokenizers")
    from gossamer.engine import Tokenizer

    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    special = ["<|end|>", "<|user|>", "<|assistant|>", "<|pad|>"]
    vocabulary = {token: i for i, token in enumerate(special + alphabet)}
    raw = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = tokenizers.decoders.ByteLevel()
    raw.add_special_tokens(special)
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    template += "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    return Tokenizer.wrap(raw, {"eos_token": "<|end|>", "pad_token": "<|pad|>", "chat_template": template})
