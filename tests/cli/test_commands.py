"""Commands print what the library returns; errors are one line and an exit code."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from gossamer import __version__
from gossamer._core.errors import ArgumentError, FormatError, GossamerError
from gossamer.cli.app import app
from gossamer.cli.output import exit_code, plain, print_json, size

run = CliRunner()


def invoke(*words, code=0):
    result = run.invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


def processor_seconds():
    used = os.times()
    return used.children_user + used.children_system


def test_version():
    assert invoke("--version").stdout.strip() == f"gossamer {__version__}"


def test_help_is_fast_and_loads_no_torch():
    code = (
        "import sys\nsys.argv = ['gossamer', '--help']\nfrom gossamer.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'transformers', 'sklearn', 'matplotlib'} & set(sys.modules), 'heavy import'\n"
    )
    best = 9.0
    for _ in range(3):
        # processor time: the clock on the wall also counts whatever else the machine does
        start = processor_seconds()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        best = min(best, processor_seconds() - start)
        assert done.returncode == 0, done.stderr
    assert "compress" in done.stdout
    assert best < 0.5


@pytest.mark.parametrize(
    "command",
    ["compress", "generate", "eval", "info", "bench", "export", "demo", "recipes", "systems", "doctor"],
)
def test_every_command_explains_itself_and_has_json(command):
    assert "--json" in invoke(command, "--help").stdout


def test_doctor_knows_the_kernels():
    found = json.loads(invoke("doctor", "--json").stdout)
    assert found["isa_active"] in found["isa_available"]
    assert found["kernels"]
    assert found["packages"]["torch"]["version"]
    assert "kernels" in invoke("doctor").stdout


def test_recipes_are_listed_and_printed_as_toml():
    import tomllib

    names = [recipe["name"] for recipe in json.loads(invoke("recipes", "--json").stdout)["recipes"]]
    assert "balanced" in names
    assert tomllib.loads(invoke("recipes", "balanced").stdout)["name"] == "balanced"
    assert "balanced" in invoke("recipes").stdout


def test_unknown_recipe_is_bad_input_and_the_nearest_is_named():
    result = invoke("recipes", "balancd", code=2)
    assert "balanced" in result.stderr
    assert result.stdout == ""


def test_systems_are_listed_and_shown():
    systems = json.loads(invoke("systems", "--json").stdout)["systems"]
    assert len(systems) == 61
    assert json.loads(invoke("systems", "gqsa", "--json").stdout)["slug"] == "gqsa"
    assert "gqsa" in invoke("systems").stdout
    assert "did you mean 'gqsa'" in invoke("systems", "gqsaa", code=2).stderr


def test_errors_are_one_line_without_traceback(tmp_path):
    for command in (["info", tmp_path / "nothing"], ["generate", tmp_path, "hello"]):
        result = invoke(*command, code=2)
        assert len(result.stderr.strip().splitlines()) == 1
        assert result.stderr.startswith("error: ")
        assert "expected" in result.stderr or "no such" in result.stderr


def test_debug_shows_the_traceback(tmp_path):
    result = run.invoke(app, ["--debug", "info", str(tmp_path / "nothing")])
    assert isinstance(result.exception, FormatError)


def test_exit_codes_of_the_real_process(tmp_path):
    def code(*words):
        return subprocess.run([sys.executable, "-m", "gossamer", *words], capture_output=True).returncode

    assert code("recipes", "--json") == 0
    assert code("info", str(tmp_path / "nothing")) == 2
    assert code("no-such-command") == 2


def test_bad_input_is_2_and_a_failed_job_is_1():
    assert exit_code(ArgumentError("x")) == 2
    assert exit_code(FormatError("x")) == 2
    assert exit_code(GossamerError("x")) == 1
    assert exit_code(OSError(28, os.strerror(28))) == 1


def test_json_has_no_nan(capsys):
    print_json({"a": float("nan"), "b": [float("inf"), 1.5]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5]}


def test_markup_of_rich_is_taken_literally():
    assert plain("[red]x") == "\\[red]x"


@pytest.mark.parametrize(
    ("nbytes", "text"), [(0, "0 B"), (98_362_432, "98.4 MB"), (2.5e9, "2.5 GB"), (1500, "1.5 kB")]
)
def test_sizes(nbytes, text):
    assert size(nbytes) == text
