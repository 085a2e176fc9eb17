"""Matrices for sparse products: synthetic, from multigrid, and from the sources of Python itself."""

from __future__ import annotations

import re
import sysconfig
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp


def rmat(scale: int, factor: int, seed: int = 0) -> Any:
    """R-MAT graph (.57, .19, .19, .05) with ``2**scale`` vertices and ``factor`` edges each; duplicates summed."""
    rng = np.random.default_rng(seed)
    edges = factor << scale
    row, col = np.zeros(edges, np.int64), np.zeros(edges, np.int64)
    for _ in range(scale):
        quadrant = rng.choice(4, size=edges, p=[0.57, 0.19, 0.19, 0.05])
        row, col = 2 * row + quadrant // 2, 2 * col + quadrant % 2
    data = rng.standard_normal(edges)
    return _csr(data, row, col, (1 << scale, 1 << scale))


def uniform(rows: int = 1 << 17, each: int = 8, seed: int = 0) -> Any:
    """``each`` random columns in every row."""
    rng = np.random.default_rng(seed)
    row = np.repeat(np.arange(rows), each)
    return _csr(rng.standard_normal(len(row)), row, rng.integers(0, rows, len(row)), (rows, rows))


def poisson(side: int = 64) -> Any:
    """Seven-point Laplacian of a cube."""
    line = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(side, side))
    eye = sp.eye_array(side)
    kron = sp.kron
    cube = kron(kron(line, eye), eye) + kron(kron(eye, line), eye) + kron(kron(eye, eye), line)
    return _canonical(sp.csr_array(cube))


def band(n: int = 200_000, width: int = 21, seed: int = 0) -> Any:
    """All diagonals within ``width`` of one another."""
    rng = np.random.default_rng(seed)
    half = width // 2
    offsets = range(-half, half + 1)
    return _canonical(
        sp.csr_array(sp.diags_array([rng.standard_normal(n - abs(o)) for o in offsets], offsets=offsets))
    )


def identifiers() -> Any:
    """Counts of identifiers (columns) in the files (rows) of the running Python's standard library."""
    names: dict[str, int] = {}
    row, col, data = [], [], []
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"))
    files = [path for path in files if "site-packages" not in path.parts]
    for i, path in enumerate(files):
        words = Counter(re.findall(r"[A-Za-z_]\w+", path.read_text(encoding="utf-8", errors="replace")))
        for word, count in words.items():
            row.append(i)
            col.append(names.setdefault(word, len(names)))
            data.append(count)
    return _csr(np.array(data, float), np.array(row), np.array(col), (len(files), len(names)))


def rare(X: Any, share: float = 0.05) -> Any:
    """The columns that occur in at most ``share`` of the rows."""
    seen = np.bincount(X.indices, minlength=X.shape[1])
    return _canonical(sp.csr_array(X[:, seen <= share * X.shape[0]]))


def hub(n: int = 200_000, each: int = 16, seed: int = 0) -> Any:
    """A and B such that the last row of A makes half of the products of A B."""
    rng = np.random.default_rng(seed)
    B = uniform(n, each, seed)
    row = np.r_[np.full(n, n - 1), rng.integers(0, n - 1, n)]
    col = np.r_[np.arange(n), rng.integers(0, n, n)]
    return _csr(rng.standard_normal(2 * n), row, col, (n, n)), B


def multigrid(side: int = 48) -> tuple[Any, Any, Any]:
    """R, A and P of the finest level of classical multigrid on a cube."""
    import pyamg

    A = poisson(side)
    level = pyamg.ruge_stuben_solver(sp.csr_matrix(A), max_levels=2).levels[0]
    return tuple(_canonical(sp.csr_array(M)) for M in (level.R, A, level.P))


def _csr(data: np.ndarray, row: np.ndarray, col: np.ndarray, shape: tuple[int, int]) -> Any:
    return _canonical(sp.coo_array((data, (row, col)), shape=shape).tocsr())


def _canonical(A: Any) -> Any:
    A.sum_duplicates()
    A.indptr, A.indices = A.indptr.astype(np.int32), A.indices.astype(np.int32)
    return A
