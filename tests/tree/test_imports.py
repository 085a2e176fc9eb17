"""Imports: cheap at the top, downward everywhere."""

import ast
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "gossamer"
HEAVY = {"torch", "transformers", "sklearn", "matplotlib", "tokenizers", "gguf", "pandas"}
# rooms that work without any extra; deeper ones may import torch at the top of a file that is nothing without it
LIGHT = ("_core", "_kernels", "datasets", "plots", "cli")


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_gossamer_takes_less_than_300_ms_and_loads_nothing_heavy():
    code = (
        (
            "import sys, time; start = time.perf_counter(); import gossamer; took = time.perf_counter() - start; "
            f"print(took, *({sorted(HEAVY)!r} & sys.modules.keys()))"
        )
        .replace("[", "{")
        .replace("]", "}")
    )
    runs = [python(code).split() for _ in range(3)]
    assert min(float(took) for took, *_ in runs) < 0.3
    assert all(not loaded for _, *loaded in runs)


def test_linalg_works_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from gossamer.linalg import Unstructured\n"
        "W = np.random.default_rng(0).normal(size=(8, 8)).astype('float32')\n"
        "A = Unstructured(density=0.5).project(W)\n"
        "print(np.allclose(A @ W, A.to_dense() @ W, atol=1e-5), 'sklearn' in sys.modules)"
    )
    assert python(code) == "True False"


def test_a_family_of_matrices_never_imports_another_one_directly():
    for path in sorted((PACKAGE / "linalg" / "structures").glob("[!_]*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            assert not imported.startswith("gossamer.linalg.structures."), f"{path.name} imports {imported}"


def _top_level_imports(path):
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Import):
            yield from (alias.name.split(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and not statement.level:
            yield (statement.module or "").split(".")[0]


@pytest.mark.parametrize("room", LIGHT)
def test_light_rooms_import_heavy_packages_only_inside_functions(room):
    for path in sorted((PACKAGE / room).rglob("*.py")):
        heavy = HEAVY & set(_top_level_imports(path))
        assert not heavy, f"{path.relative_to(ROOT)}: {heavy}"


def test_the_floors_hold():
    linter = shutil.which("lint-imports", path=Path(sys.executable).parent) or shutil.which("lint-imports")
    assert linter is not None, "import-linter is part of the extra 'test'"
    result = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]


def test_every_lazy_name_exists():
    began = time.perf_counter()
    code = (
        "import importlib, pkgutil, gossamer\n"
        "rooms = ['gossamer', *(m.name for m in pkgutil.walk_packages(gossamer.__path__, 'gossamer.') if m.ispkg)]\n"
        "for room in rooms:\n"
        "    module = importlib.import_module(room)\n"
        "    for name in getattr(module, '__all__', ()):\n"
        "        getattr(module, name)\n"
        "print(len(rooms))"
    )
    assert int(python(code)) >= 4
    assert time.perf_counter() - began < 60
