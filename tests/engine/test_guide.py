"""The guide to the engine runs as it stands, on tiny models."""

import re
from pathlib import Path

import pytest
from tests.engine.tiny_models import BERT, random_artifact

from gossamer.engine import save_artifact


def test_the_guide_runs_from_top_to_bottom(tmp_path, monkeypatch, llama, byte_tokenizer):
    page = Path(__file__).parents[2] / "docs" / "guides" / "run-a-model.md"
    if not page.exists():
        pytest.skip("docs/ is not here: an installed package is being tested")
    llama.config["max_position_embeddings"] = 1024
    save_artifact(tmp_path / "small", llama, byte_tokenizer)
    encoder = random_artifact("bert", BERT | {"vocab_size": 260})
    save_artifact(tmp_path / "small-encoder", encoder, byte_tokenizer)
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        exec(compile(block, page.name, "exec"), names)
    assert len(names["answers"]) == 3
    assert names["vectors"].shape == (2, 64)
