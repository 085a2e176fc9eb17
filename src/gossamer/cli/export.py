"""``gossamer export``: a compressed model for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gossamer.cli.output import Json, print_json, stdout

NAME = "export"


class Format(StrEnum):
    """Formats that other programs read."""

    TRANSFORMERS = "transformers"
    COMPRESSED_TENSORS = "compressed-tensors"


def run(
    model: Annotated[Path, typer.Argument(help="Directory of a compressed model.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory to write.")],
    format: Annotated[
        Format, typer.Option("--format", "-f", help="Dense for transformers, or packed compressed-tensors.")
    ] = Format.TRANSFORMERS,
    as_json: Json = False,
) -> None:
    """Export to a dense Hugging Face directory, or to compressed-tensors where the format fits."""
    from gossamer.compress import export_compressed_tensors, export_transformers

    write = export_transformers if format is Format.TRANSFORMERS else export_compressed_tensors
    write(model, out)
    if as_json:
        print_json({"model": str(model), "format": format.value, "out": str(out)})
    else:
        stdout().print(f"{model} → {out} ({format.value})", markup=False)
