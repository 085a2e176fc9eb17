"""``gossamer info``: what is in a compressed model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from gossamer.cli.output import Json, facts, print_json, size, table

NAME = "info"


def run(
    model: Annotated[Path, typer.Argument(help="Directory of a compressed model.")],
    layers: Annotated[bool, typer.Option("--layers", help="List every matrix.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a compressed model consists of; its checksums and factors are checked on the way."""
    from gossamer.engine import load_artifact

    artifact = load_artifact(model)
    rows = [
        {
            "module": path,
            "structure": matrix.structure.to_config(),
            "shape": list(matrix.shape),
            "nbytes": matrix.nbytes,
            "bits_per_weight": 8 * matrix.nbytes / (matrix.shape[0] * matrix.shape[1]),
        }
        for path, matrix in artifact.matrices.items()
    ]
    if as_json:
        print_json(
            {
                "path": str(model),
                "kind": artifact.kind,
                "nbytes": artifact.nbytes,
                "bits_per_weight": artifact.bits_per_weight,
                "matrices": rows,
                "arrays": len(artifact.arrays),
                "metadata": artifact.metadata,
            }
        )
        return
    kinds = Counter(str(row["structure"]["kind"]) for row in rows)
    facts(
        str(model),
        {
            "kind": artifact.kind,
            "size": size(artifact.nbytes),
            "linear layers": f"{artifact.bits_per_weight:.2f} bits a weight",
            "matrices": ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()),
            "other tensors": len(artifact.arrays),
            "tokenizer": "yes" if artifact.tokenizer is not None else "no",
            **{
                k: v
                for k, v in artifact.metadata.items()
                if isinstance(v, (str, int, float)) and len(str(v)) < 120
            },
        },
    )
    if layers:
        table(
            "",
            ("module", "structure", "shape", "bytes", "bits a weight"),
            (
                (
                    r["module"],
                    _words(r["structure"]),
                    "{} × {}".format(*r["shape"]),
                    r["nbytes"],
                    r["bits_per_weight"],
                )
                for r in rows
            ),
            numeric=(2, 3, 4),
        )


def _words(config: dict[str, object]) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in config.items() if key != "kind")
    return f"{config['kind']} ({settings})" if settings else str(config["kind"])
