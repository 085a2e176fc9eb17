"""A tiny model through every command: compressed, described, evaluated, asked, timed, exported."""

import json

import pytest
from typer.testing import CliRunner

from gossamer.cli.app import app

run = CliRunner()
pytestmark = pytest.mark.filterwarnings("ignore")


def invoke(*words, code=0):
    result = run.invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


RECIPE = """
name = "tiny"
head = "w8"
[calibration]
windows = 8
length = 64
[default]
metric = "hessian"
structure = { kind = "group-quant", bits = 4, group = 16 }
"""
BUDGET = """
name = "tiny-budget"
head = "w8"
[calibration]
windows = 16
length = 64
held_out = 4
stream = "base"
[[option]]
name = "w8"
metric = "none"
structure = { kind = "group-quant", bits = 8, group = 32, symmetric = true }
[[option]]
name = "w4"
structure = { kind = "group-quant", bits = 4, group = 16 }
"""


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "tiny.toml").write_text(RECIPE)
    (folder / "tiny-budget.toml").write_text(BUDGET)
    return folder


@pytest.fixture(scope="module")
def compressed(tmp_path_factory, tiny_llama, tiny_texts, recipes):
    out = tmp_path_factory.mktemp("out") / "model"
    calibrate, evaluate = tiny_texts
    result = invoke(
        "compress", tiny_llama, "--recipe", recipes / "tiny.toml", "--calib", calibrate, "--eval", evaluate,
        "--window", 64, "--windows", 4, "--out", out, "--report", out.parent / "report.html", "--json",
    )  # fmt: skip
    return out, json.loads(result.stdout), result


def test_compress_prints_json_on_stdout_and_progress_on_stderr(compressed):
    out, found, result = compressed
    assert found["success"]
    assert found["windows"] == 4
    assert found["window"] == 64
    assert 4.0 < found["bits_per_weight"] < 7.0
    assert found["perplexity"] > 1
    assert len(found["layers"]) >= 14
    assert "compress" in result.stderr
    assert (out / "gossamer.json").is_file()


def test_compress_writes_the_report(compressed):
    page = (compressed[0].parent / "report.html").read_text()
    assert "4 windows of 64 tokens of evaluate.txt" in page
    assert "calibrate.txt" in page
    assert "group-quant" in page


def test_info_describes_it(compressed):
    found = json.loads(invoke("info", compressed[0], "--json").stdout)
    assert found["kind"] == "llama"
    assert found["bits_per_weight"] == pytest.approx(compressed[1]["bits_per_weight"])
    assert "bits a weight" in invoke("info", compressed[0], "--layers").stdout


def test_eval_agrees_with_compress_and_states_its_windows(compressed, tiny_texts):
    words = ["eval", compressed[0], "--text", tiny_texts[1], "--window", 64, "--windows", 4]
    found = json.loads(invoke(*words, "--json").stdout)["perplexity"]
    assert (found["window"], found["windows"]) == (64, 4)
    assert found["perplexity"] == pytest.approx(compressed[1]["perplexity"], rel=0.02)
    assert "windows" in invoke(*words).stdout


def test_eval_of_choices(compressed, tmp_path):
    file = tmp_path / "questions.jsonl"
    rows = [{"query": "the spider mends", "choices": ["its web", "the wind"], "gold": 0}] * 3
    file.write_text("\n".join(map(json.dumps, rows)))
    found = json.loads(invoke("eval", compressed[0], "--choices", file, "--limit", 2, "--json").stdout)[
        "choices"
    ]
    assert found["questions"] == 2
    file.write_text("{}\n")
    assert "line 1" in invoke("eval", compressed[0], "--choices", file, code=2).stderr


def test_eval_of_nothing_is_bad_usage(compressed):
    invoke("eval", compressed[0], code=2)


def test_generate_streams_the_same_text_that_json_holds(compressed):
    words = ["generate", compressed[0], "the spider", "--max-new-tokens", 8]
    found = json.loads(invoke(*words, "--json").stdout)
    assert len(found["ids"]) <= 8
    assert invoke(*words).stdout.rstrip("\n") == found["text"].rstrip("\n")
    assert invoke(*words, "--no-stream").stdout.rstrip("\n") == found["text"].rstrip("\n")


def test_generate_repeats_with_a_seed_and_takes_the_chat_template(compressed):
    words = [
        "generate",
        compressed[0],
        "hello",
        "-n",
        8,
        "--chat",
        "--temperature",
        1.0,
        "--seed",
        5,
        "--json",
    ]
    first, second = (json.loads(invoke(*words).stdout) for _ in range(2))
    assert first["ids"] == second["ids"]
    assert (
        "temperature=-1.0: expected"
        in invoke("generate", compressed[0], "x", "--temperature", "-1", code=2).stderr
    )


def test_bench_reports_medians(compressed):
    words = ["bench", compressed[0], "--prefill", 16, "--decode", 8, "--repeats", 3]
    speed = json.loads(invoke(*words, "--json").stdout)["speeds"][0]
    assert speed["prefill"] > 0
    assert speed["decode"] > 0
    assert "Median of 3" in speed["how"]
    assert "tokens/s" in invoke(*words).stdout


def test_existing_output_is_refused_and_kept(compressed, tiny_llama, recipes):
    before = (compressed[0] / "gossamer.json").read_bytes()
    result = invoke("compress", tiny_llama, "--recipe", recipes / "tiny.toml", "--out", compressed[0], code=2)
    assert "exists" in result.stderr
    assert (compressed[0] / "gossamer.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no-such-model", "--out", "x"], "smollm2-135m"),
        (["{model}", "--out", "x", "--recipe", "balancd"], "balanced"),
        (["{model}", "--out", "x", "--max-loss", "lots"], "max_loss"),
        (["{model}", "--out", "x", "--target-size", "huge"], "target_size"),
        (["{model}", "--out", "x", "--calib", "no-such-file.txt"], "no such file"),
        (["{model}", "--out", "x", "--recipe", "{recipes}/tiny.toml", "--calib", "{short}"], "tokens"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words, said, tiny_llama, recipes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_text("too short")
    names = {"model": tiny_llama, "recipes": recipes, "short": tmp_path / "short.txt"}
    result = invoke("compress", *(word.format(**names) for word in words), code=2)
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert result.stdout == ""
    assert not (tmp_path / "x").exists()


def test_a_budget_that_cannot_be_met_is_refused_with_what_is_needed(
    tiny_llama, tiny_texts, recipes, tmp_path
):
    words = ["compress", tiny_llama, "--recipe", recipes / "tiny-budget.toml", "--calib", tiny_texts[0]]
    result = invoke(*words, "--target-size", "1kB", "--out", tmp_path / "x", code=2)
    assert "target_size=1000" in result.stderr
    assert "at least" in result.stderr
    assert not (tmp_path / "x").exists()


def test_export_writes_a_transformers_directory(compressed, tmp_path):
    transformers = pytest.importorskip("transformers")
    invoke("export", compressed[0], "--out", tmp_path / "dense")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "dense")
    assert model.config.hidden_size == 64
    invoke("export", compressed[0], "--out", tmp_path / "x", "--format", "no-such-format", code=2)


def test_demo_goes_the_whole_way(tiny_llama, tiny_texts, recipes, tmp_path):
    result = invoke(
        "demo", "--model", tiny_llama, "--recipe", recipes / "tiny-budget.toml", "--max-loss", "20%",
        "--calib", tiny_texts[0], "--eval", tiny_texts[1], "--out", tmp_path / "demo", "--json",
    )  # fmt: skip
    found = json.loads(result.stdout)
    assert 0.5 < found["relative_perplexity"] < 2
    assert [speed["label"] for speed in found["speeds"]] == ["base model, float32", "compressed"]
    assert len(found["curve"]) >= 4
    assert any(point["name"] == "gqsa-w4s50-oneshot" for point in found["curve"])
    assert len(found["samples"]) == 4
    page = (tmp_path / "demo" / "report.html").read_text()
    for words in (
        "The trade-off",
        "Layer by layer",
        "answered twice",
        "base model, float32",
        "gqsa-w4s50-oneshot",
    ):
        assert words in page
