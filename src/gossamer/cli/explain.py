"""``gossamer explain``: which structure a matrix in a file, or a layer of a model, has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gossamer._core.errors import ArgumentError, FormatError
from gossamer.cli.matrices import read_matrix_market
from gossamer.cli.output import Json, Threads, print_json, stdout, table

NAME = "explain"


def run(
    source: Annotated[
        str,
        typer.Argument(
            help="A .npy, .npz (SciPy sparse), .mtx or .safetensors file, or a model as for compress."
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Tensor of the file, or layer of the model.")
    ] = None,
    metric: Annotated[
        Path | None,
        typer.Option("--metric", help="Second moment of the inputs, or its diagonal: a .npy file."),
    ] = None,
    bits: Annotated[str, typer.Option("--bits", help="Budgets in bits an entry.")] = "16,8,4,2,1,0.5",
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw error against size: .svg, .png or .pdf.")
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Project a matrix onto each family of structured matrices at equal bytes and show what is lost.

    A matrix that is a member of a family is named as exact; for any other one the table shows what its bytes are
    best spent on.
    """
    from gossamer._core.threads import set_threads
    from gossamer.cli.progress import progress_bar
    from gossamer.compress import Progress
    from gossamer.linalg import explain

    set_threads(threads)
    W = _matrix(source, name)
    with progress_bar() as progress:
        found = explain(
            W,
            None if metric is None else _npy(metric),
            bits=_budgets(bits),
            progress=lambda done, total: progress(Progress("project", done, total, 0.0)),
        )
    if picture is not None:
        found.plot().savefig(picture)
    if as_json:
        print_json(found.to_dict())
        return
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in found.to_markdown().splitlines()
    ]
    stdout().print(f"{name or source}, {found.shape[0]} × {found.shape[1]}: {found.message}", markup=False)
    table("", lines[0], lines[2:], range(1, len(lines[0])))
    for family, why in found.skipped.items():
        stdout().print(f"left out: {family} ({why})", markup=False)


def _budgets(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ArgumentError(f"--bits {text!r}: expected numbers, such as 8,4,2") from None


def _matrix(source: str, name: str | None) -> Any:
    path = Path(source)
    readers = {".npy": _npy, ".npz": _npz, ".mtx": read_matrix_market}
    if path.suffix in readers:
        if name is not None:
            raise ArgumentError(f"--name {name!r}: {source} holds one matrix, which has no name")
        return readers[path.suffix](path)
    if path.suffix == ".safetensors":
        return _safetensors(path, name)
    return _layer(source, name)


def _npy(path: Path) -> Any:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FormatError(f"{path}: not an array of numbers ({error})") from None


def _npz(path: Path) -> Any:
    import zipfile

    import scipy.sparse

    try:
        return scipy.sparse.load_npz(path)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path}: not a sparse matrix of scipy.sparse.save_npz ({error})") from None


def _safetensors(path: Path, name: str | None) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = [key for key in file.keys() if len(file.get_slice(key).get_shape()) == 2]  # noqa: SIM118
            return file.get_tensor(_chosen(str(path), name, names))
    except SafetensorError as error:
        raise FormatError(f"{path}: not a safetensors file ({error})") from None


def _layer(source: str, name: str | None) -> Any:
    from gossamer.compress import load_model

    model = load_model(source)
    return model.weight(_chosen(source, name, list(model.linears()))).detach().numpy()


def _chosen(source: str, name: str | None, names: list[str]) -> str:
    from gossamer._core.errors import unknown_choice

    if name is None and len(names) == 1:
        return names[0]
    if name is None:
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        raise ArgumentError(f"{source} has {len(names)} matrices: choose one with --name, of {shown}")
    if name not in names:
        raise unknown_choice("--name", name, names)
    return name
