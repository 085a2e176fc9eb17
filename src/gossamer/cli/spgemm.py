"""``gossamer spgemm``: the product of two sparse matrices in Matrix Market files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gossamer._core.errors import FormatError
from gossamer.cli.matrices import read_matrix_market
from gossamer.cli.output import Json, Threads, facts, print_json

NAME = "spgemm"


def run(
    a: Annotated[Path, typer.Argument(metavar="A.mtx", help="Left factor, a Matrix Market file.")],
    b: Annotated[Path, typer.Argument(metavar="B.mtx", help="Right factor.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Where the product goes; written whole or not at all.")
    ],
    semiring: Annotated[
        str, typer.Option("--semiring", help="plus_times, min_plus, max_times, or_and or plus_pair.")
    ] = "plus_times",
    mask: Annotated[
        Path | None, typer.Option("--mask", help="Compute only entries that this file stores.")
    ] = None,
    complement: Annotated[
        bool, typer.Option("--complement", help="Compute only those that the mask lacks.")
    ] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Show products, accumulators and times.")] = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Multiply two sparse matrices, over a semiring and under a mask if wanted."""
    from gossamer.linalg import spgemm

    C, found = spgemm(
        _read(a),
        _read(b),
        semiring=semiring,
        mask=None if mask is None else _read(mask),
        complement=complement,
        threads=threads,
        return_stats=True,
    )
    _write(out, C)
    summary = {"out": str(out), "shape": list(C.shape), "nnz": C.nnz, "dtype": str(C.dtype)}
    if as_json:
        print_json({**summary, **({"stats": vars(found)} if stats else {})})
        return
    shown: dict[str, Any] = {
        "shape": f"{C.shape[0]} × {C.shape[1]}",
        "entries": f"{C.nnz:,}",
        "type": C.dtype,
    }
    if stats:
        shown |= {
            "products": f"{found.flops:,}",
            "products an entry": found.compression,
            "rows": ", ".join(f"{n:,} {kind}" for kind, n in found.rows.items() if n),
            "seconds": ", ".join(f"{name} {took:.3g}" for name, took in found.seconds.items()),
            "method": f"{found.method}, {found.threads} threads, {found.isa}",
        }
    facts(str(out), shown)


def _read(path: Path) -> Any:
    import scipy.sparse

    matrix = read_matrix_market(path)
    if not scipy.sparse.issparse(matrix):
        raise FormatError(f"{path}: holds a dense array: expected the coordinate format")
    return matrix.tocsr()


def _write(path: Path, C: Any) -> None:
    import scipy.io

    from gossamer._core.files import atomic_path

    field = "pattern" if C.dtype == bool else None
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        scipy.io.mmwrite(handle, C, symmetry="general", field=field)
