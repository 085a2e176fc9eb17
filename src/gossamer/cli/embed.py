"""``gossamer embed``: vectors for the nodes of a graph in a file."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from gossamer._core.errors import ArgumentError, bad_argument
from gossamer.cli.output import Json, Threads, facts, print_json, size
from gossamer.cli.progress import progress_bar

NAME = "embed"
_PANEL = 32


def run(
    graph: Annotated[
        Path, typer.Argument(metavar="GRAPH", help="A list of edges, Matrix Market, .npz or Parquet.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="vectors.npy, or vectors.parquet with columns node, vector.")
    ],
    d: Annotated[int, typer.Option("-d", "--dim", min=1, help="Numbers a node.")] = 128,
    weights: Annotated[
        str, typer.Option("--weights", help="Of steps 1, 2, ... of the walk, with commas between.")
    ] = "0,0,1,4",
    beta: Annotated[
        float, typer.Option("--beta", min=-1, max=1, help="-1 cancels the pull of popular nodes, 0 keeps it.")
    ] = -0.5,
    directed: Annotated[bool, typer.Option("--directed", help="Edges have a direction.")] = False,
    unweighted: Annotated[bool, typer.Option("--unweighted", help="Weights do not count.")] = False,
    relabel: Annotated[
        bool, typer.Option("--relabel", help="Numbers are names: only nodes with edges get a vector.")
    ] = False,
    standardize: Annotated[
        bool, typer.Option("--standardize", help="Columns of mean 0 and variance 1.")
    ] = False,
    on_disk: Annotated[
        bool,
        typer.Option(
            "--on-disk", help="The graph stays on the disk, beside OUT, and is read block by block."
        ),
    ] = False,
    panel: Annotated[
        int | None, typer.Option("--panel", min=32, help="Columns in memory at a time; 32 with --on-disk.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random projection.")] = 0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Embed the nodes of a graph by very sparse random projection (FastRP)."""
    import numpy as np

    from gossamer.graph import fastrp_embedding, read_graph, store_graph
    from gossamer.graph.embed.files import open_vectors

    began = time.perf_counter()
    alpha = _numbers(weights)
    with open_vectors(out) as vectors, tempfile.TemporaryDirectory(dir=out.parent, prefix=".graph-") as room:
        if on_disk:
            if relabel:
                raise ArgumentError("--relabel needs the graph in memory: expected no --on-disk")
            A: Any = store_graph(graph, Path(room) / "graph", directed=directed, weighted=not unweighted)
            names, edges = None, A.n_edges
        else:
            A, names = read_graph(graph, directed=directed, weighted=not unweighted, relabel=relabel)
            names, edges = None if np.array_equal(names, np.arange(len(names))) else names, A.nnz
        with progress_bar() as progress:
            X = fastrp_embedding(
                A, d, weights=alpha, beta=beta, directed=directed, standardize=standardize, random_state=seed,
                panel=panel or (_PANEL if on_disk else None), n_threads=threads,
                out=vectors.room((A.shape[0], d)), progress=_told(progress),
            )  # fmt: skip
        written = vectors.finish(X, names)
    found = {"nodes": X.shape[0], "entries": edges, "dimensions": d, "seconds": time.perf_counter() - began}
    if as_json:
        print_json({"vectors": str(out), "names": None if written is None else str(written), **found})
        return
    facts(f"{out}, {size(out.stat().st_size)}", {**found, "names of rows": written})


def _numbers(weights: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in weights.split(","))
    except ValueError:
        raise bad_argument("--weights", weights, "numbers with commas between") from None


def _told(progress: Any) -> Any:
    from gossamer.compress import Progress

    begun = time.perf_counter()
    return lambda done, total: progress(Progress("multiply", done, total, time.perf_counter() - begun))
