"""``gossamer index``: make a folder of documents searchable, or bring its index up to date."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from gossamer.cli.output import Json, Threads, facts, print_json, size

NAME = "index"


def run(
    documents: Annotated[
        Path,
        typer.Argument(
            metavar="DOCS", help="A folder of .txt, .md and .rst files, or a .jsonl file with texts."
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the index; one that is there is updated.")
    ],
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", help="bm25, sparse or muvera; may be repeated. Both bm25 and muvera by default."
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option("--model", help="Encoder: a bundled name, a transformers folder, or a compressed one."),
    ] = "all-minilm-l6-v2",
    sparse_model: Annotated[
        Path | None, typer.Option("--sparse-model", help="Folder of a sparse document encoder with idf.json.")
    ] = None,
    words: Annotated[int, typer.Option("--words", min=1, help="Longest passage.")] = 80,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Index documents for ``gossamer search``; again after they changed, only what changed is encoded."""
    from gossamer.cli.text_indexes import check_methods, make_indexes
    from gossamer.retrieve import Collection, collection_settings, read_passages

    began = time.perf_counter()
    if (out / "manifest.json").exists():
        settings = collection_settings(out)[1]
        collection = Collection.load(out, make_indexes(settings, threads))
    else:
        settings = {
            "methods": check_methods(method or ["bm25", "muvera"]),
            "model": str(Path(model).resolve()) if Path(model).is_dir() else model,
            "sparse_model": None if sparse_model is None else str(sparse_model.resolve()),
            "words": words,
        }
        collection = Collection(make_indexes(settings, threads))
    passages = read_passages(documents, settings["words"])
    gone = sorted(set(collection.keys()) - passages.keys())
    changed = sum(key not in collection or collection.get(key) != text for key, text in passages.items())
    if gone:
        collection.delete(gone)
    collection.put(passages)
    generation = collection.save(out, settings)
    summary = {
        "passages": len(collection),
        "encoded": changed,
        "removed": len(gone),
        "methods": list(collection.indexes),
        "bytes": collection.memory,
        "generation": generation,
        "seconds": time.perf_counter() - began,
    }
    if as_json:
        print_json(summary)
        return
    facts(
        str(out),
        {
            "passages": f"{len(collection):,}, {changed:,} new or changed, {len(gone):,} removed",
            **{name: size(held) for name, held in collection.memory.items()},
            "took": f"{summary['seconds']:.3g} s",
        },
    )
