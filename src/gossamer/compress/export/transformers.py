"""Back to a dense model that transformers loads."""

from __future__ import annotations

import os

from gossamer.compress.export.directory import write_directory
from gossamer.engine.artifact import load_artifact


def export_transformers(artifact: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Write an artifact as a dense float32 Hugging Face directory.

    Every structured matrix becomes the dense matrix that it represents, so that the model computes what the
    compressed one does; the files are as large as before compression.

    Parameters
    ----------
    artifact : path
        A directory written by :func:`gossamer.compress.compress`.
    out : path
        The directory to write; it must not exist or be empty.

    Raises
    ------
    FormatError
        If the artifact is damaged.
    ArgumentError
        If ``out`` exists.
    """
    model = load_artifact(artifact)
    config = {**model.config, "dtype": "float32"} if model.kind != "module" else {}
    write_directory(out, model.dense(), config, model.tokenizer)
