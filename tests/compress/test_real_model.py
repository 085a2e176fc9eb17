"""The bundled model: that it is read right, and that the usual order of methods holds on it."""

import os
from pathlib import Path

import pytest
from tests.compress.tiny import torch

from gossamer.compress import load_model, perplexity, tradeoff
from gossamer.compress.calibrate import evaluation_windows
from gossamer.compress.models.bundled import BUNDLED, locate
from gossamer.compress.recipe import load_recipe

DATA = Path(os.environ.get("GOSSAMER_DATA", "missing")) / "wikitext-2"


@pytest.fixture(scope="module")
def source():
    try:
        locate("smollm2-135m")
    except ImportError as error:
        pytest.skip(str(error))
    pytest.importorskip("gguf")
    return load_model("smollm2-135m")


@pytest.mark.model
def test_the_bundled_model_answers(source):
    assert source.parameters == 134_515_008
    assert source.licence == BUNDLED["smollm2-135m"].licence == "Apache-2.0"
    prompt = torch.tensor([source.tokenizer.encode(source.tokenizer.chat("What is the capital of France?"))])
    answer = source.module.generate(prompt, max_new_tokens=8, do_sample=False)[0, prompt.shape[1] :]
    assert "The capital of France is Paris." in source.tokenizer.decode(answer.tolist())


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="GOSSAMER_DATA has no wikitext-2")
def test_gptq_beats_rounding_at_equal_bits(source):
    plans = [load_recipe("gptq-w3"), load_recipe("rtn-w3")]
    settings = {"window": 128, "windows": 4, "calibrate": (16, 128)}
    gptq, rounding = tradeoff(source, plans, DATA / "valid.txt", DATA / "test.txt", **settings)
    assert 1 < gptq.relative < rounding.relative
    ids = evaluation_windows(DATA / "test.txt", source.tokenizer, 128, 4)
    assert gptq.perplexity / gptq.relative == pytest.approx(perplexity(source, ids, 128, 4), rel=1e-4)
