"""Rules that every source file keeps, so that the house stays one in which a newcomer finds things."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "gossamer"
PYTHON = sorted(PACKAGE.rglob("*.py"))
NATIVE = sorted(
    path for ending in ("cpp", "hpp", "inl") for path in (ROOT / "src/kernels").rglob(f"*.{ending}")
)
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))


def name(path):
    return path.relative_to(ROOT).as_posix()


def test_there_is_something_to_hold():
    assert len(PYTHON) > 20
    assert len(NATIVE) > 5


@pytest.mark.parametrize("path", PYTHON + NATIVE + BENCHMARKS, ids=name)
def test_a_file_has_at_most_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", PYTHON + NATIVE + BENCHMARKS, ids=name)
def test_no_file_or_folder_is_named_after_nothing(path):
    vague = {"util", "utils", "helper", "helpers", "common", "misc"}
    assert not vague & {part.split(".")[0].strip("_") for part in path.relative_to(ROOT).parts}


@pytest.mark.parametrize("path", PYTHON + NATIVE + BENCHMARKS, ids=name)
def test_nothing_is_left_for_later(path):
    left = re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b|for now\b", path.read_text(encoding="utf-8"))
    assert left is None, left[0]


@pytest.mark.parametrize("path", [p for p in PYTHON if p.name == "__init__.py"], ids=name)
def test_an_init_file_only_re_exports(path):
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assert ast.get_docstring(ast.Module(body, [])), "the room has no description"
    for statement in body[1:]:
        assert isinstance(statement, (ast.Import, ast.ImportFrom, ast.Assign)), ast.unparse(statement)
        if isinstance(statement, ast.Assign):
            calls = [node for node in ast.walk(statement.value) if isinstance(node, ast.Call)]
            assert [ast.unparse(call.func) for call in calls] in ([], ["attach"]), ast.unparse(statement)


def _calls(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            if call == "pickle.loads" and ast.unparse(node.args[0]).startswith("pickle.dumps("):
                continue  # a copy of an object at hand (the contracts test it), not data from outside
            yield call, {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}


@pytest.mark.parametrize("path", PYTHON + BENCHMARKS, ids=name)
def test_no_file_can_run_code_from_data(path):
    for function, keywords in _calls(path):
        assert function not in ("eval", "exec", "compile", "__import__"), function
        assert not re.match(
            r"(pickle|dill|cloudpickle|joblib|marshal|shelve|yaml)\.(load|loads|open)$", function
        )
        assert keywords.get("allow_pickle", "False") == "False", function
        assert keywords.get("trust_remote_code", "False") == "False", function
        if function == "torch.load":
            assert keywords.get("weights_only") == "True", "torch.load without weights_only=True"


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_an_exception_is_never_swallowed_blindly(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            silent = all(isinstance(statement, (ast.Pass, ast.Continue)) for statement in node.body)
            assert not (broad and silent), f"line {node.lineno}"


def test_every_kernel_family_explains_itself_and_has_all_paths():
    families = re.search(
        r"set\(GOSSAMER_FAMILIES ([^)]*)\)", (ROOT / "src/kernels/kernels.cmake").read_text()
    )[1].split()
    for family in families:
        folder = ROOT / "src/kernels" / family
        missing = {"README.md", "bind.cpp", "portable.cpp", "avx2.cpp", "avx512.cpp", "neon.cpp"} - {
            p.name for p in folder.iterdir()
        }
        assert not missing, f"{family}: {missing}"
