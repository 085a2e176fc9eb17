"""``gossamer select``: the columns of a table that carry its information, without labels."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from gossamer._core.errors import FormatError, bad_argument
from gossamer.cli.output import Json, Threads, facts, print_json, size

NAME = "select"


def run(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A CSV file with a line of names, or a .npy array.")
    ],
    k: Annotated[int, typer.Option("-k", "--columns", min=1, help="Columns to keep.")] = 50,
    drop: Annotated[
        list[str] | None, typer.Option("--drop", help="A column of the CSV that is no feature, as a label.")
    ] = None,
    epochs: Annotated[
        str, typer.Option("--epochs", help='Passes over the rows; "auto" follows from how many there are.')
    ] = "auto",
    n_hidden: Annotated[int, typer.Option("--hidden", min=1, help="Hidden units.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all draws.")] = 0,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the columns that were kept as CSV.")
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Select columns of a table of numbers by a sparse autoencoder (QuickSelection)."""
    from gossamer.learn import QuickSelection

    if epochs != "auto" and not epochs.isdigit():
        raise bad_argument("--epochs", epochs, "a number, or auto")
    names, X = _read(data, drop or [])
    began = time.perf_counter()
    selector = QuickSelection(
        k,
        n_hidden=n_hidden,
        epochs=epochs if epochs == "auto" else int(epochs),
        n_threads=threads,
        random_state=seed,
    ).fit(X)
    seconds = time.perf_counter() - began
    chosen = sorted(selector.get_support(indices=True).tolist(), key=lambda i: selector.ranking_[i])
    if out is not None:
        _write(out, [names[i] for i in sorted(chosen)], selector.transform(X))
    model = selector.autoencoder_
    columns = [{"name": names[i], "index": i, "score": float(selector.scores_[i])} for i in chosen]
    if as_json:
        print_json(
            {
                "columns": columns,
                "epochs": selector.n_iter_,
                "seconds": seconds,
                "model_bytes": model.nbytes,
                "peak_bytes": _peak(),
            }
        )
        return
    shown: dict[str, Any] = {
        "table": f"{X.shape[0]:,} × {X.shape[1]:,}",
        "columns": ", ".join(column["name"] for column in columns),
        "epochs": f"{selector.n_iter_}, {seconds:.3g} s",
        "autoencoder": f"{model.nnz:,} weights, {size(model.nbytes)}",
        "peak memory": None if _peak() is None else size(_peak() or 0),
        "written": out,
    }
    facts(f"{k} of {X.shape[1]} columns", shown)


def _read(path: Path, drop: list[str]) -> tuple[list[str], Any]:
    import numpy as np

    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    if path.suffix == ".npy":
        try:
            X = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise FormatError(f"{path}: not an array of numbers ({error})") from None
        if X.ndim != 2 or drop:
            raise FormatError(
                f"{path}: an array of shape {X.shape} without names: expected 2-D and no --drop"
            )
        return [str(i) for i in range(X.shape[1])], X
    with open(path, encoding="utf-8-sig", newline="") as handle:
        try:
            names = [name.strip().strip('"') for name in handle.readline().rstrip("\r\n").split(",")]
            unknown = set(drop) - set(names)
            if unknown:
                raise bad_argument("--drop", ", ".join(sorted(unknown)), f"a column of {path}")
            kept = [i for i, name in enumerate(names) if name not in drop]
            X = np.loadtxt(handle, delimiter=",", dtype=np.float32, usecols=kept, ndmin=2)
        except (UnicodeDecodeError, ValueError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{path}: not a table of numbers with a line of names ({error})") from None
    return [names[i] for i in kept], X


def _write(path: Path, names: list[str], X: Any) -> None:
    import numpy as np

    from gossamer._core.files import atomic_path

    with atomic_path(path) as temporary:
        np.savetxt(temporary, X, fmt="%.9g", delimiter=",", header=",".join(names), comments="")


def _peak() -> int | None:
    """Largest resident size of this process in bytes, where the system tells."""
    try:
        import resource
        import sys
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
