"""``gossamer cluster``: clusters of the nodes of a graph, by links and by a table of attributes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from gossamer.cli.output import Json, Threads, facts, print_json

NAME = "cluster"


def run(
    graph: Annotated[
        Path, typer.Argument(metavar="GRAPH", help="A list of edges, Matrix Market, .npz or Parquet.")
    ],
    k: Annotated[int, typer.Option("-k", "--clusters", min=2, help="Clusters.")],
    attributes: Annotated[
        Path | None,
        typer.Option(
            "--attributes",
            "-a",
            help="CSV of categories with a line of names; a column node says whose they are, else rows are in order.",
        ),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option("--drop", help="A column of the CSV that does not count, as a label.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write node,cluster as CSV; whole or not at all.")
    ] = None,
    relabel: Annotated[
        bool, typer.Option("--relabel", help="Numbers in a list of edges are names, not row numbers.")
    ] = False,
    weighted: Annotated[bool, typer.Option("--weighted", help="Weights of edges count.")] = False,
    attribute_weight: Annotated[
        float, typer.Option("--attribute-weight", help="Of an attribute against a link.")
    ] = 1.0,
    hierarchies: Annotated[
        int, typer.Option("--hierarchies", min=1, help="Most multigrid hierarchies, one dimension each.")
    ] = 40,
    restarts: Annotated[int, typer.Option("--restarts", min=1, help="Runs of K-means.")] = 100,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Mini-batches in K-means, for very large graphs.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all draws.")] = 0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Cluster the nodes of a graph, with attributes where links alone are ambiguous (bootstrap AMG)."""
    import numpy as np

    from gossamer.graph import AttributedAMGClustering, read_attributes, read_graph

    A, names = read_graph(graph, weighted=weighted, relabel=relabel)
    table = None if attributes is None else read_attributes(attributes, names.tolist(), drop=drop or ())
    began = time.perf_counter()
    model = AttributedAMGClustering(
        k,
        max_hierarchies=hierarchies,
        restarts=restarts,
        batch_size=batch,
        weighted=weighted,
        attribute_weight=attribute_weight,
        random_state=seed,
        n_jobs=threads,
    ).fit(A, table)
    seconds = time.perf_counter() - began
    if out is not None:
        _write(out, names, model.labels_)
    sizes = np.bincount(model.labels_, minlength=k).tolist()
    found: dict[str, Any] = {
        "nodes": A.shape[0],
        "edges": A.nnz // 2,
        "attributes": 0 if table is None else table.shape[1],
        "sizes": sizes,
        "modularity": float(model.modularity_),
        "entropy": None if table is None else float(model.entropy_),
        "hierarchies": model.n_hierarchies_,
        "seconds": seconds,
    }
    if as_json:
        labels = {str(name): int(label) for name, label in zip(names.tolist(), model.labels_)}
        print_json(found | ({"labels": labels} if out is None else {"out": str(out)}))
        return
    shown = {
        "graph": f"{found['nodes']:,} nodes, {found['edges']:,} edges, {found['attributes']} attributes",
        "sizes": ", ".join(f"{count:,}" for count in sorted(sizes, reverse=True)),
        "modularity": found["modularity"],
        "entropy of attributes": None if table is None else f"{found['entropy']:.4g} bits",
        "embedding": f"{found['hierarchies']} hierarchies, {seconds:.3g} s with K-means",
        "written": out,
    }
    facts(f"{k} clusters", shown)


def _write(path: Path, names: Any, labels: Any) -> None:
    import csv

    from gossamer._core.files import atomic_path

    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as handle:
        rows = csv.writer(handle, lineterminator="\n")
        rows.writerow(["node", "cluster"])
        rows.writerows(zip(names.tolist(), labels.tolist(), strict=True))
