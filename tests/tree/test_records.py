"""What the tables say is there is there, and every figure comes from a measurement file."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from benchmarks.harness import read_results

ROOT = Path(__file__).parents[2]
SYSTEMS = tomllib.loads((ROOT / "docs/systems.toml").read_text(encoding="utf-8"))["system"]
RESULTS = sorted((ROOT / "benchmarks/results").glob("*.json"))
PAGES = sorted(
    p for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts and "gallery_out" not in p.parts
)
KEYS = {"slug", "title", "year", "citation", "public", "module", "test", "benchmark", "page", "status"}
PATHS = ("module", "test", "benchmark", "page")


def test_there_are_61_systems_with_names_of_their_own_in_order():
    slugs = [system["slug"] for system in SYSTEMS]
    assert len(slugs) == 61
    assert slugs == sorted(set(slugs))


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system["slug"])
def test_a_row_is_complete_and_names_files_that_exist(system):
    assert set(system) == KEYS
    assert system["status"] in ("planned", "partial", "working")
    assert re.match(r"arXiv \d{4}\.\d{4,5}", system["citation"])
    assert all(name.startswith("gossamer.") for name in system["public"])
    for key in PATHS:
        if system["status"] != "planned":
            assert system[key], f"a system that can be used has a {key}"
        if system[key]:
            assert (ROOT / system[key]).is_file(), system[key]


@pytest.mark.parametrize("system", [s for s in SYSTEMS if s["status"] != "planned"], ids=lambda s: s["slug"])
def test_the_public_names_of_a_system_that_can_be_used_exist(system):
    for path in system["public"]:
        room, name = path.rsplit(".", 1)
        module = __import__(room, fromlist=[name])
        assert hasattr(module, name), path


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_have_the_agreed_schema_and_the_name_of_their_benchmark(path):
    record = read_results(path)
    assert record["slug"] == path.stem
    assert (ROOT / "benchmarks" / f"{path.stem.replace('-', '_')}.py").is_file()
    assert len({claim["name"] for claim in record["claims"]}) == len(record["claims"])


MEASURED = re.compile(
    r"\d[\d.,]*\s*(?:tokens?/s|tokens? (?:a|per) second|GB/s|GFLOPS?)|\d[\d.]*\s*(?:x|times) (?:faster|smaller|as fast)"
    r"|perplexity (?:of |is )?\d|speed-?up of \d",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=lambda path: path.name)
def test_no_page_holds_a_measured_figure_typed_by_hand(path):
    text = re.sub(r"<!-- (\w+):begin -->.*?<!-- \1:end -->", "", path.read_text(encoding="utf-8"), flags=re.S)
    found = MEASURED.search(text)
    assert found is None, f"{found[0]!r}: put it into benchmarks/results and render it"


def test_the_readme_is_what_its_sources_render_to():
    check = [sys.executable, str(ROOT / "docs/render_readme.py"), "--check"]
    result = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_the_api_reference_lists_the_rooms_that_it_writes_pages_for():
    listed = re.findall(r"^generated/(\S+)$", (ROOT / "docs/api/index.md").read_text(), re.MULTILINE)
    tree = ast.parse((ROOT / "docs/_ext/api_pages.py").read_text())
    (rooms,) = (
        node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "ROOMS"
    )
    assert sorted(listed) == sorted(ast.literal_eval(rooms))
