"""The report is one safe, self-contained file that shows what it was given."""

import math
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from gossamer.compress.report.data import Answer, Bar, Figure, Layer, ReportData
from gossamer.compress.report.gather import report_data
from gossamer.compress.report.page import render_report, write_page
from gossamer.compress.report.speed import Runner, Speed, race
from gossamer.compress.result import CompressResult, CurvePoint, LayerRow, Sample
from gossamer.plots.tradeoff import TradeoffPoint
from gossamer.testing.pages import Outline


def invented_report(blocks=30):
    names = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
    names += ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    layers = tuple(
        Layer(
            f"model.layers.{b}.{name}",
            "group-sparse-quant 4 bits, group 16, density 0.75"
            if (b * 3 + i) % 5
            else "group-quant 4 bits, group 32",
            (576, 576),
            bits=4.5 - 0.9 * ((b * 3 + i) % 5 > 0),
            sparsity=0.25 * ((b * 3 + i) % 5 > 0),
            error=0.004 * (1 + i) * math.exp(0.05 * b + 0.4 * math.sin(b * i)),
        )
        for b in range(blocks)
        for i, name in enumerate(names)
    )
    how = "16 windows of 1024 tokens of the test text, from its start, mean over predicted tokens."
    return ReportData(
        model="Invented-135M",
        headline="98.4 MB becomes 61.2 MB; it decodes 1.4 times as fast; its perplexity grows to 1.08 times.",
        figures=(
            Figure(
                "file size",
                "MB",
                "less",
                (Bar("original file", 98.4),),
                Bar("compressed", 61.2),
                "Bytes on disk.",
            ),
            Figure(
                "decode",
                "tokens/s",
                "more",
                (Bar("original GGUF in llama.cpp", 82.0), Bar("base, float32", 31.0)),
                Bar("compressed", 118.0),
                "Median of 5 runs of 64 tokens, 2 threads.",
            ),
            Figure("perplexity", "", "less", (Bar("base model", 19.89),), Bar("compressed", 21.48), how),
        ),
        curve=(
            TradeoffPoint("8 bits", 118, 1.0004, series="quantised"),
            TradeoffPoint("4 bits, group 32", 68, 1.05, series="quantised"),
            TradeoffPoint("3 bits, group 32", 55, 2.3, series="quantised"),
            TradeoffPoint("within the budget", 61.2, 1.08, chosen=True),
            TradeoffPoint("1 × 16 groups, 50 %, 4 bits", 48, 30000.0),
        ),
        budget=1.1,
        curve_how=how,
        layers=layers,
        answers=(
            Answer(
                "What is the capital of France?",
                "The capital of France is Paris.",
                "The capital of France is Lyon.",
            ),
            Answer(
                "Say <script>alert(1)</script>",
                "<script>alert(1)</script>",
                '</p></main><b>bold</b> & "quoted"',
            ),
        ),
        answers_how="Greedy, 64 tokens, chat template.",
        machine={"processor": "an invented one", "instruction set": "avx2", "threads": "2"},
        recipe='name = "invented"\n[default]\nstructure = "group-quant"',
        command="gossamer compress invented --recipe invented --max-loss 10% --out out",
        notes=("The base model is itself quantised.",),
    )


@pytest.fixture(scope="module")
def page():
    return render_report(invented_report())


def test_tags_nest_and_close(page):
    assert Outline(page).open == []


def test_every_part_is_shown(page):
    text = " ".join(Outline(page).words)
    for words in (
        "Invented-135M",
        "decode",
        "118",
        "The trade-off",
        "Layer by layer",
        "answered twice",
        "Do it again",
        "avx2",
        "--max-loss 10%",
        "The base model is itself quantised.",
        "Median of 5 runs",
    ):
        assert words in text, words


def test_text_of_the_model_is_text_not_markup(page):
    outline = Outline(page)
    assert "script" not in outline.tags
    assert "b" in outline.tags, "the ratios are set in bold by the page itself"
    assert '<b>bold</b> & "quoted"' in " ".join(outline.words)
    assert "<script>alert(1)</script>" in " ".join(outline.words)


@pytest.mark.parametrize(
    "field", ["model", "headline", "recipe", "command", "curve_how", "answers_how", "layers_how"]
)
def test_every_text_field_is_escaped(field):
    hostile = '"><script>x</script><img src=x onerror=y>'
    outline = Outline(render_report(replace(invented_report(blocks=1), **{field: hostile})))
    assert "script" not in outline.tags
    assert "img" not in outline.tags
    assert hostile in " ".join(outline.words)


def test_nested_texts_are_escaped():
    hostile = '"><script>x</script>'
    data = replace(
        invented_report(blocks=1),
        figures=(Figure(hostile, hostile, "less", (Bar(hostile, 2.0),), Bar(hostile, 1.0), hostile),),
        curve=(TradeoffPoint(hostile, 3.0, 1.2, series=hostile),),
        layers=(Layer("a.0." + hostile, hostile, (2, 2), 4.0, 0.5, 0.1),),
        machine={hostile: hostile},
        notes=(hostile,),
    )
    assert "script" not in Outline(render_report(data)).tags


def test_nothing_is_loaded_from_anywhere(page):
    outline = Outline(page)
    assert not {"link", "img", "iframe", "script", "object", "embed"} & set(outline.tags)
    assert not [a for a in outline.attributes if a[1] in ("src", "href", "xlink:href", "srcset")]
    assert not re.search(r"url\(|@import|https?://", page)


def test_file_stays_below_one_megabyte(tmp_path):
    write_page(invented_report(blocks=48), tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_pictures_have_titles_and_tables_have_headers(page):
    outline = Outline(page)
    drawings = [a for a in outline.attributes if a[0] == "svg" and a[1] == "aria-label"]
    assert len(drawings) == outline.tags.count("svg") > 5
    assert ("th", "scope", "col") in outline.attributes
    assert ("th", "scope", "row") in outline.attributes
    assert ("html", "lang", "en") in outline.attributes


def test_a_loss_that_is_not_finite_is_named():
    points = (
        *invented_report().curve,
        TradeoffPoint("broken", 40, math.inf),
        TradeoffPoint("lost", 41, math.nan),
    )
    page = render_report(replace(invented_report(blocks=1), curve=points))
    assert "not finite: broken, lost" in page
    assert 'cx="nan"' not in page


def test_empty_parts_are_left_out():
    page = render_report(ReportData(model="m", headline="h"))
    assert Outline(page).open == []
    assert "<section" not in page


def test_agreement_of_answers_is_counted():
    page = render_report(
        ReportData(
            model="m",
            headline="h",
            answers=(Answer("p", "a b c", "a b d"), Answer("p", "a", "a"), Answer("p", "x", "y")),
        )
    )
    assert "the same for the first 2 words" in page
    assert "word for word the same" in page
    assert "different from the first word" in page


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="headless Chromium is not installed")
def test_chromium_opens_it_and_finds_the_content(tmp_path):
    target = tmp_path / "report.html"
    write_page(invented_report(), target)
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", target.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    shown = Outline(done.stdout)
    text = " ".join(shown.words)
    assert "Invented-135M" in text
    assert "The trade-off" in text
    assert "<script>alert(1)</script>" in text
    assert "script" not in shown.tags
    assert shown.tags.count("svg") > 5
    assert shown.tags.count("circle") == 10


def finished(**changes):
    rows = tuple(
        LayerRow(
            f"model.layers.{i}.mlp.up_proj",
            "group-quant",
            "group-quant",
            (8, 8),
            40,
            5.0,
            0.01 * (i + 1),
            0.0,
        )
        for i in range(3)
    )
    values = {
        "path": "out",
        "model": "invented",
        "recipe": "balanced",
        "layers": rows,
        "base_perplexity": 20.0,
        "perplexity": 21.0,
        "window": 64,
        "windows": 4,
        "evaluated_on": "a text",
        "base_nbytes": 4_000_000,
        "source_nbytes": 1_000_000,
        "nbytes": 500_000,
        "bits_per_weight": 4.5,
        "curve": (CurvePoint("gqsa-w4s50", 300_000, 2.5, 9e4, 4500.0),),
        "samples": (Sample("hello", "a", "b"),),
        "allocation": {"max_loss": 0.1},
    }
    return CompressResult(**{**values, **changes})


def speed(label, decode, memory=0):
    return Speed(
        label, prefill=10 * decode, decode=decode, decode_spread=0.02, memory=memory, how="Median of 3 runs."
    )


def test_a_result_becomes_a_report(tmp_path):
    result = finished()
    result.report(tmp_path / "a.html")
    assert "invented" in (tmp_path / "a.html").read_text()
    data = report_data(
        result, speeds=[speed("original GGUF in llama.cpp", 50.0), speed("compressed", 100.0, 10**6)]
    )
    assert data.headline == (
        "1.00 MB become 0.500 MB. It writes 2.00 times as fast as the original GGUF in llama.cpp. "
        "Its perplexity is 1.05 times the base model's."
    )
    assert data.budget == pytest.approx(1.1)
    chosen = [p for p in data.curve if p.chosen]
    assert [(p.label, p.loss) for p in chosen] == [("balanced", 1.05)]
    assert [p.label for p in data.curve if not p.chosen] == ["gqsa-w4s50"], (
        "the destroyed point is on the curve"
    )
    assert "4 windows of 64 tokens of a text" in next(f for f in data.figures if f.name == "perplexity").how
    assert all(figure.how for figure in data.figures)


def test_a_disturbed_reference_is_marked_and_not_compared_with():
    shaken = replace(speed("original file in llama.cpp", 3.0), decode_spread=1.9)
    data = report_data(finished(), speeds=[shaken, speed("base model", 50.0), speed("compressed", 100.0)])
    decode = next(f for f in data.figures if f.name == "writing (decode)")
    assert [bar.label for bar in decode.before] == ["base model", "original file in llama.cpp (unsteady)"]
    assert "says little: original file in llama.cpp" in decode.how
    assert "2.00 times as fast as the base model" in data.headline
    assert "as fast" not in report_data(finished(), speeds=[shaken, speed("compressed", 9.0)]).headline


def test_what_was_not_measured_is_left_out():
    data = report_data(finished(perplexity=None, base_perplexity=None, windows=0, curve=(), samples=()))
    assert [figure.name for figure in data.figures] == ["size", "linear layers"]
    assert Outline(render_report(data)).open == []


def test_an_original_that_is_itself_compressed_is_said_to_be_so():
    notes = report_data(finished(source_nbytes=98_362_432, parameters=134_515_008)).notes
    assert len(notes) == 1
    assert "5.8 bits a weight" in notes[0]
    assert not report_data(finished(source_nbytes=538_000_000, parameters=134_515_008)).notes


def test_a_long_recipe_is_folded():
    page = render_report(ReportData(model="m", headline="h", recipe="a = 1\n" * 200))
    assert "200 lines of TOML" in page


def test_a_missed_budget_is_said_at_the_top():
    data = report_data(finished(success=False, message="12 % instead of 10 %"))
    assert "12 % instead of 10 %" in data.notes[0]


def test_result_plots_its_curve_and_its_layers():
    pytest.importorskip("matplotlib")
    figure = finished().plot()
    assert "perplexity" in figure.axes[0].get_ylabel()
    assert figure.axes[1].get_xlabel() == "block"


def test_race_takes_turns_and_reports_medians():
    order = []
    seconds = iter([2.0, 1.0, 4.0, 1.0, 8.0, 1.0])

    def runner(name):
        return Runner(name, 100, 8, 2, 0, lambda: (order.append(name), (1.0, next(seconds)))[1])

    slow, fast = race([runner("slow"), runner("fast")], repeats=3)
    assert order == ["slow", "fast"] * 3
    assert (slow.decode, fast.decode) == (2.0, 8.0)
    assert (slow.prefill, fast.decode_spread) == (100.0, 0.0)
    assert "Median of 3 warm runs" in slow.how
