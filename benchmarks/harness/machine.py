"""What a figure depends on besides the code: the machine, the versions, and who else is running."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gossamer import show_kernels


def machine() -> dict[str, Any]:
    """CPU, cores, instruction set and memory of this machine."""
    memory = int(_first(r"MemTotal:\s+(\d+) kB", "/proc/meminfo") or 0) / 2**20
    return {
        "cpu": _first(r"model name\s*: (.+)", "/proc/cpuinfo") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "isa": next(iter(show_kernels().values()), "portable"),
        "memory": f"{memory:.0f} GiB",
    }


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python, gossamer, NumPy and of the packages named; a missing one is an error."""
    names = ["gossamer", "numpy", *packages]
    return {"python": platform.python_version(), **{name: _version(name) for name in names}}


@contextmanager
def busy_core(core: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """Keep one core busy with another process, as a user's machine often is."""
    spin = f"import os\nif hasattr(os, 'sched_setaffinity'): os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", spin])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        module = sys.modules.get(package)
        if module is None:
            raise
        return str(module.__version__)


def _first(pattern: str, file: str) -> str | None:
    path = Path(file)
    match = re.search(pattern, path.read_text()) if path.exists() else None
    return match[1].strip() if match else None
