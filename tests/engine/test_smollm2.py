"""The real model: SmolLM2-135M in the engine is SmolLM2-135M in transformers, token for token."""

import os
from pathlib import Path

import numpy as np
import pytest
from tests.engine.tiny_models import dense

from gossamer._core.arrays import to_numpy
from gossamer._core.errors import MissingDependencyError
from gossamer.engine import Artifact, Engine

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a small village by the sea,",
    "Water boils at",
    "def fibonacci(n):",
    "The three primary colours are",
    "In 1969, the first humans",
    "A good way to learn a new language is to",
    "The mitochondria is",
    "My favourite recipe for bread starts with",
    "To be or not to be,",
    "The difference between weather and climate",
    "If x + 3 = 7, then x",
    "Dear Sir or Madam,",
    "The largest planet in the solar system",
    "Photosynthesis is the process by which",
    "import numpy as np\n",
    "The meeting was called to order at",
    "Roses are red,",
    "Economists define inflation as",
    "The quick brown fox",
]
PASSAGE = (
    "The Amazon rainforest covers much of the Amazon basin of South America. The basin spans about 7,000,000 "
    "square kilometres, of which 5,500,000 are covered by the forest; it includes territory of nine nations."
)


@pytest.fixture(scope="module")
def source():
    from gossamer.compress.models import load_model

    try:
        return load_model("smollm2-135m")
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def engine(source):
    arrays = {name: to_numpy(tensor) for name, tensor in source.module.state_dict().items()}
    arrays.pop("lm_head.weight", None)
    artifact = Artifact("llama", source.config, {}, arrays, tokenizer=source.tokenizer)
    artifact.matrices = {path: dense(arrays.pop(f"{path}.weight")) for path in artifact.layout.linear}
    return Engine(artifact, act="fp32", kv="float32")


def logits_of(source, ids):
    with torch.no_grad():
        return source.module(torch.tensor([list(ids)])).logits[0].numpy()


def test_logits_agree_with_transformers_in_float32(engine, source):
    ids = source.tokenizer.encode(PASSAGE)
    np.testing.assert_allclose(engine.logits(ids), logits_of(source, ids), atol=1e-3)


def argmaxes(source, texts):
    """transformers' most likely next token after every position of every text; padding stands behind, unseen."""
    found = []
    for some in (texts[at : at + 10] for at in range(0, len(texts), 10)):
        longest = max(map(len, some))
        padded = torch.tensor([list(ids) + [0] * (longest - len(ids)) for ids in some])
        with torch.no_grad():
            best = source.module(padded).logits.argmax(dim=-1)
        found += [row[: len(ids)].tolist() for row, ids in zip(best, some, strict=True)]
    return found


def test_sixty_four_greedy_tokens_of_twenty_prompts_are_the_same(engine, source):
    """Every token drawn is transformers' argmax after what precedes it; so, by induction, are the texts."""
    answers = engine.generate(PROMPTS, max_new_tokens=64)
    prompts = [source.tokenizer.encode(prompt) for prompt in PROMPTS]
    best = argmaxes(source, [ids + answer.ids for ids, answer in zip(prompts, answers, strict=True)])
    for ids, answer, following in zip(prompts, answers, best, strict=True):
        expected = following[len(ids) - 1 :]
        assert answer.ids == expected[: len(answer.ids)], answer.text
        if answer.finish_reason == "eos":
            assert expected[len(answer.ids)] in engine.eos_ids
        else:
            assert len(answer.ids) == 64


def test_it_knows_the_capital_of_france(engine):
    answer = engine.generate("What is the capital of France?", chat=True, max_new_tokens=32)
    assert answer.text == "The capital of France is Paris."
    assert answer.finish_reason == "eos"
    alone = engine.generate("What is the capital of France?", chat=True, max_new_tokens=32, stop=["Paris"])
    assert alone.text == "The capital of France is "


def test_perplexity_agrees_with_transformers(engine, source):
    data = os.environ.get("GOSSAMER_DATA")
    if not data:
        pytest.skip("GOSSAMER_DATA is not set: no WikiText-2")
    text = (Path(data) / "wikitext-2" / "test.txt").read_text(encoding="utf-8")[:20_000]
    ids = source.tokenizer.encode(text)
    result = engine.perplexity(text, window=256, windows=2)
    losses = []
    for start in (0, 256):
        logits = torch.from_numpy(logits_of(source, ids[start : start + 256]))
        target = torch.tensor(ids[start + 1 : start + 256])
        losses.append(torch.nn.functional.cross_entropy(logits[:-1], target).item())
    assert result.perplexity == pytest.approx(np.exp(np.mean(losses)), rel=1e-4)
