"""The trade-off curve against the runs that it stands for."""

import pytest
from tests.compress.tiny import recipe_of

from gossamer._core.errors import ArgumentError
from gossamer.compress import compress, load_recipe, tradeoff


def test_every_point_is_what_compress_makes_of_the_recipe_on_the_base_stream(llama, tokens, tmp_path):
    plans = [
        recipe_of({"kind": "group-quant", "bits": 3, "group": 32}).with_calibration(stream="base"),
        recipe_of({"kind": "nm", "n": 2, "m": 4}, metric="diagonal", head="w4").with_calibration(
            stream="base"
        ),
        recipe_of({"kind": "unstructured", "density": 0.5}, metric="none", head="keep"),
    ]
    settings = {"window": 32, "windows": 4}
    points = tradeoff(llama, plans, tokens, tokens, calibrate=(8, 32), **settings)
    for number, (plan, point) in enumerate(zip(plans, points)):
        result = compress(llama, plan, tokens, out=tmp_path / str(number), evaluate=tokens, **settings)
        assert point.nbytes == result.nbytes
        assert point.bits_per_weight == pytest.approx(result.bits_per_weight)
        assert point.perplexity == pytest.approx(result.perplexity, rel=1e-5)
        assert point.relative == pytest.approx(result.relative_perplexity, rel=1e-5)


def test_recipes_without_fixed_rules_are_refused(llama, tokens):
    with pytest.raises(ArgumentError, match="allocated by a budget"):
        tradeoff(llama, [load_recipe("balanced")], tokens, tokens)
