"""Prune the linear layers of a model without structure and store them as bitmap tiles."""

from __future__ import annotations

import os
from typing import Any

from gossamer._core.checks import check_choice, check_float
from gossamer.compress.pipeline import compress
from gossamer.compress.recipe import Recipe
from gossamer.compress.result import CompressResult
from gossamer.compress.rule import Rule
from gossamer.linalg import TiledBitmap

METHODS = {"magnitude": ("none", "matrix"), "wanda": ("diagonal", "row"), "sparsegpt": ("hessian", "row")}


def prune_unstructured(
    model: Any,
    sparsity: float,
    method: str = "magnitude",
    calibration: Any = None,
    *,
    out: str | os.PathLike[str],
    dtype: str = "bfloat16",
    head: str = "w8",
    **options: Any,
) -> CompressResult:
    """Set a fraction of every linear layer's weights to zero and write an artifact of bitmap tiles.

    The engine runs the artifact with 1 to 32 answers at once (``Engine.generate`` of a list of prompts); its linear
    layers are loaded as sparse and computed as dense.

    Parameters
    ----------
    model : str, path, torch.nn.Module or SourceModel
        See :func:`load_model`.
    sparsity : float in [0, 1)
        Fraction of weights that become zero.
    method : {"magnitude", "wanda", "sparsegpt"}
        Smallest weights of a layer; smallest ``|w|`` times the norm of the input, row by row; or in OBS order, with
        the error moved to the weights that stay.
    calibration : str, path or array of int
        Text for "wanda" and "sparsegpt"; see :func:`compress`.
    out : path
        The artifact directory.
    dtype : {"bfloat16", "float16", "float32"}
        Type of the weights that stay.
    head : {"keep", "w8", "w4"}
        What becomes of embedding and output matrix, as in a recipe.
    options
        Further arguments of :func:`compress`.

    Returns
    -------
    CompressResult

    Raises
    ------
    ArgumentError
        For a sparsity outside [0, 1), another method or dtype, or missing calibration text.

    References
    ----------
    Xia et al., "Flash-LLM", VLDB 2024; Sun et al., "Wanda", ICLR 2024; Frantar and Alistarh, "SparseGPT", ICML 2023.
    """
    check_float("sparsity", sparsity, low=0, high=1, closed="left")
    metric, scope = METHODS[check_choice("method", method, METHODS)]
    rule = Rule(TiledBitmap(1 - sparsity, scope=scope, dtype=dtype), metric=metric)
    recipe = Recipe(name=f"{method}-{100 * sparsity:g}-lscd", default=rule, head=head)
    return compress(model, recipe, calibration, out=out, **options)
