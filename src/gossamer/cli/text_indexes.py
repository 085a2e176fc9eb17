"""The indexes that a command line names, with what encodes texts for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gossamer._core.checks import check_choice
from gossamer._core.errors import ArgumentError, MissingDataError
from gossamer._core.lazy import require

METHODS = ("bm25", "sparse", "muvera")


def make_indexes(settings: dict[str, Any], threads: int | None = None) -> dict[str, Any]:
    """Empty indexes for :class:`gossamer.retrieve.Collection`.

    Parameters
    ----------
    settings : dict
        ``methods``, a list of names; ``model`` for token vectors and word pieces: a bundled name, a folder of
        transformers, or one of ours; ``sparse_model``, a folder with a document encoder and its ``idf.json``.
    threads : int, optional
        Of encoding and search.
    """
    from gossamer.engine import Tokenizer
    from gossamer.retrieve import BM25Texts, IDFQueryEncoder, MuveraTexts, SparseDocEncoder, SparseTexts

    methods = check_methods(settings["methods"])
    found: dict[str, Any] = {}
    encoder: Any = _token_encoder(settings["model"], threads) if {"bm25", "muvera"} & set(methods) else None
    for name in methods:
        if name == "bm25":
            found[name] = BM25Texts(encoder.tokenizer)
        elif name == "muvera":
            found[name] = MuveraTexts(encoder, threads=threads)
        else:
            if not settings.get("sparse_model"):
                raise ArgumentError("--sparse-model is needed for the method sparse")
            folder = Path(settings["sparse_model"])
            _hide_progress()
            queries = IDFQueryEncoder.from_json(Tokenizer.load(folder), folder / "idf.json")
            found[name] = SparseTexts(SparseDocEncoder.load(folder), queries)
    return found


def check_methods(methods: Sequence[str]) -> list[str]:
    """Each once, in our order."""
    for name in methods:
        check_choice("--method", name, METHODS)
    return [name for name in METHODS if name in methods]


def _token_encoder(model: str, threads: int | None) -> Any:
    from gossamer.compress.models.bundled import BUNDLED, locate
    from gossamer.engine import Engine
    from gossamer.retrieve import TokenEncoder

    folder = Path(model)
    if model in BUNDLED:
        folder = locate(model)
    elif (folder / "gossamer.json").is_file():
        engine = Engine.load(folder, threads=threads)
        return TokenEncoder(engine.encoder, engine.tokenizer)
    if not folder.is_dir():
        raise MissingDataError(
            f"--model {model}: no such folder, and none of the bundled models: {', '.join(BUNDLED)}"
        )
    _hide_progress()
    return TokenEncoder.from_transformers(folder)


def _hide_progress() -> None:
    """Loading takes less time than reading about it."""
    require("transformers.utils.logging", "models").disable_progress_bar()
