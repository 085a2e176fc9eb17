"""Recipes: what they say, what they refuse, and that they survive being written and read."""

import pytest

from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.compress.recipe import Recipe, list_recipes, load_recipe, parse_loss, parse_size
from gossamer.linalg import GroupQuant

QUANT = {"kind": "group-quant", "bits": 4, "group": 64}


def _config(**changes):
    return {"name": "r", "default": {"structure": QUANT}, **changes}


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_every_shipped_recipe_says_what_it_is_and_survives_its_own_toml(recipe, tmp_path):
    assert recipe.summary
    path = tmp_path / "copy.toml"
    path.write_text(recipe.to_toml())
    assert load_recipe(path) == recipe
    assert load_recipe(path).hash == recipe.hash


def test_the_last_matching_override_wins():
    recipe = Recipe.from_config(
        _config(
            override=[
                {"match": "*.down_proj", "structure": {**QUANT, "bits": 8}},
                {"match": "model.layers.0.*", "keep": True},
            ]
        )
    )
    assert recipe.rule("model.layers.1.self_attn.q_proj").structure == GroupQuant(bits=4, group=64)
    assert recipe.rule("model.layers.1.mlp.down_proj").structure == GroupQuant(bits=8, group=64)
    assert recipe.rule("model.layers.0.mlp.down_proj").keep


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (_config(defualt={}), ["defualt", "did you mean 'default'"]),
        (_config(calibration={"window": 3}), ["window", "did you mean 'windows'"]),
        (_config(head="w5"), ["head='w5'", "w4"]),
        (_config(default={"structure": QUANT, "metrics": "none"}), ["metrics", "did you mean 'metric'"]),
        (_config(default={"structure": {**QUANT, "groups": 3}}), ["groups", "did you mean 'group'"]),
        (
            _config(default={"structure": {"kind": "group-quan"}}),
            ["group-quan", "did you mean 'group-quant'"],
        ),
        (_config(default={"structure": QUANT, "keep": True}), ["keep"]),
        (
            _config(default={"structure": QUANT, "compensate": {"kind": "low-rank", "rang": 2}}),
            ["rang", "rank"],
        ),
        (_config(override=[{"keep": True}]), ["match"]),
        (_config(default={"structure": QUANT, "metric": "fisher"}), ["fisher", "hessian"]),
        ({"name": "r"}, ["default"]),
        (_config(calibration={"windows": 0}), ["windows=0"]),
        (_config(budget={"max_loss": "5%", "target_size": "1MB"}), ["exactly one"]),
    ],
)
def test_a_wrong_recipe_is_refused_and_the_nearest_right_word_named(config, words):
    with pytest.raises(ArgumentError) as caught:
        Recipe.from_config(config)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_an_unknown_recipe_names_the_nearest(tmp_path):
    with pytest.raises(ArgumentError, match="did you mean 'gptq-w4'"):
        load_recipe("gptq-w5")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(FormatError, match="not a TOML file"):
        load_recipe(broken)


def test_a_group_that_does_not_divide_is_refused_unless_padding_is_asked_for():
    rule = Recipe.from_config(_config()).default
    with pytest.raises(ShapeError, match=r"q_proj: a group of 64 does not divide its 100 columns.*50"):
        rule.check_fit("q_proj", (8, 100))
    rule.check_fit("q_proj", (8, 128))
    Recipe.from_config(_config(default={"structure": QUANT, "pad": True})).default.check_fit(
        "q_proj", (8, 100)
    )


@pytest.mark.parametrize(
    ("text", "size"), [("45MB", 45_000_000), ("1.5 KiB", 1536), ("12", 12), (7, 7), ("2gb", 2 * 10**9)]
)
def test_sizes_are_read_with_their_unit(text, size):
    assert parse_size(text) == size


def test_losses_are_fractions_or_percent():
    assert parse_loss("5%") == parse_loss(0.05) == parse_loss("0.05")
    for wrong in ("five", -1, 0, "0%"):
        with pytest.raises(ArgumentError, match="max_loss"):
            parse_loss(wrong)
    with pytest.raises(ArgumentError, match="target_size"):
        parse_size("forty MB")
