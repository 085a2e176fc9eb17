"""The examples in README and pages run as they stand."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
NEEDS_FILES = {"docs/guides/compress.md", "docs/guides/run-a-model.md"}
PROCESSES = re.compile(r"sys\.argv|query_map|torchrun")  # blocks for several processes


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)


def self_contained():
    pages = ["README.md", "docs/index.md", "docs/concepts.md"]
    pages += [
        page.relative_to(ROOT).as_posix()
        for room in ("systems", "guides")
        for page in sorted((ROOT / "docs" / room).glob("*.md"))
    ]
    return [page for page in pages if page not in NEEDS_FILES and blocks(page, "python")]


@pytest.mark.parametrize("page", self_contained())
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(256, 64)).astype(np.float32)
    # what the first example of the README takes as given
    names = {"W": rng.normal(size=(48, 64)).astype(np.float32), "H": inputs.T @ inputs / 256, "x": inputs[0]}
    for block in blocks(page, "python"):
        if PROCESSES.search(block):
            continue
        exec(compile(block, page, "exec"), names)


def test_the_structure_of_the_guide_keeps_the_contracts():
    names = {}
    exec(blocks("docs/guides/new-structure.md", "python")[0], names)
    W = np.outer(np.arange(1.0, 4), np.arange(1.0, 6))
    A = names["RankOne"]().project(W)
    np.testing.assert_allclose(A.to_dense(), W, atol=1e-12)
    np.testing.assert_allclose(A.T @ np.ones(3), W.T @ np.ones(3), atol=1e-12)
    np.testing.assert_allclose((A + A) @ np.ones(5), 2 * W @ np.ones(5), atol=1e-12)


def test_the_recipes_of_the_guide_are_valid():
    from gossamer.compress import Recipe

    recipes = [
        Recipe.from_config(tomllib.loads(text)) for text in blocks("docs/guides/new-recipe.md", "toml")
    ]
    assert [recipe.name for recipe in recipes] == ["mine", "mine-trained", "my-budget"]
    assert [bool(recipe.stages) for recipe in recipes] == [False, True, False]
    assert recipes[0].rule("model.layers.3.mlp.down_proj").structure.bits == 8
    assert recipes[0].rule("model.layers.3.mlp.up_proj").structure.bits == 4


def test_commands_in_readme_and_guides_exist():
    from typer.main import get_command

    from gossamer.cli.app import app

    commands = get_command(app).commands
    for page in ["README.md", "docs/guides/compress.md", "docs/guides/new-recipe.md", "docs/systems/gqsa.md"]:
        for line in re.findall(r"^gossamer (.*)", "\n".join(blocks(page, "")), re.M):
            words = line.split("#")[0].split()
            command = commands[words[0]]
            options = {option for parameter in command.params for option in parameter.opts}
            unknown = {word for word in words[1:] if word.startswith("-")} - options
            assert not unknown, f"{page}: gossamer {words[0]} has no {unknown}"
