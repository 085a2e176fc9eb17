"""The page of features is one safe, self-contained file that can be searched."""

import base64
import hashlib
import re
import shutil
import subprocess

import pytest

from gossamer.plots import Feature, FeatureReport, FeatureText, feature_page, write_feature_page
from gossamer.testing.pages import Outline

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="y">'
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def report(**changes):
    texts = (
        FeatureText(("The", " capital", " of", " France"), (0.0, 0.0, 0.5, 2.0)),
        FeatureText((" <unk>", HOSTILE), (0.0, 1.0)),
    )
    features = tuple(
        Feature(number, 0.2 / (number + 1), 2.0 + number, texts, (" Paris", "\n"), ("x",))
        for number in range(40)
    )
    density = tuple(feature.density for feature in features)
    return FeatureReport(
        **{
            "title": "model, block 18",
            "headline": "40 features in use",
            "facts": {"active a token": "32.0"},
            "features": features,
            "density": density,
            "law": density,
            "notes": ("How they were found.",),
            **changes,
        }
    )


def test_tags_nest_and_every_part_is_shown():
    outline = Outline(feature_page(report()))
    assert outline.open == []
    text = " ".join(outline.words)
    for words in (
        "model, block 18",
        "40 features in use",
        "active a token",
        "How they were found.",
        "␣Paris",
        "⏎",
    ):
        assert words in text
    assert outline.tags.count("article") == 40
    assert ("article", "id", "f7") in outline.attributes
    assert outline.tags.count("polyline") == 2


def test_the_strongest_token_is_marked_most():
    page = feature_page(report())
    assert '<mark class="h4 peak" title="2.00"> France</mark>' in page
    assert '<mark class="h2" title="0.500"> of</mark>' in page
    assert "<mark" not in page.split(" France")[0].rsplit("<li>", 1)[1].split(" of")[0].replace(
        '<mark class="h2"', "", 1
    )


def test_text_of_the_model_is_text_and_only_the_pages_own_script_may_run():
    page = feature_page(report(title=HOSTILE, headline=HOSTILE, notes=(HOSTILE,), facts={HOSTILE: HOSTILE}))
    outline = Outline(page)
    assert outline.tags.count("script") == 1
    assert "img" not in outline.tags
    assert HOSTILE in " ".join(outline.words)
    script = re.search(r"<script>(.*?)</script>", page, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#x27;sha256-{digest}&#x27;" in page or f"script-src 'sha256-{digest}'" in page


def test_nothing_is_loaded_from_anywhere():
    page = feature_page(report())
    outline = Outline(page)
    assert not {"link", "img", "iframe", "object", "embed"} & set(outline.tags)
    assert all(value.startswith("#f") for _, key, value in outline.attributes if key in ("src", "href"))
    assert not re.search(r"url\(|@import|https?://|innerHTML", page)


def test_empty_parts_are_left_out():
    page = feature_page(FeatureReport("t", "h", {}, ()))
    assert Outline(page).open == []
    assert "<article" not in page
    assert "<svg" not in page


def test_silent_texts_and_features_without_words():
    page = feature_page(report(features=(Feature(3, 1e-4, 0.0, (FeatureText(("a",), (0.0,)),)),), law=()))
    assert "<mark" not in page
    assert "raises" not in page.split('id="features"')[1].split("</article>")[0]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="headless Chromium is not installed")
def test_chromium_runs_the_search(tmp_path):
    target = tmp_path / "features.html"
    write_feature_page(report(), target)
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    ]
    done = subprocess.run(
        [CHROMIUM, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", target.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "40 of 40 features" in done.stdout, "the script did not run"
    assert Outline(done.stdout).tags.count("article") == 40
