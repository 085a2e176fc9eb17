"""The trade-off curve: many recipes on one pass of statistics, each with its size and its perplexity."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gossamer._core.errors import ArgumentError
from gossamer.compress.blockwise import needs_statistics
from gossamer.compress.calibrate.statistics import collect
from gossamer.compress.calibrate.stream import open_stream, swapped
from gossamer.compress.calibrate.windows import calibration_windows, evaluation_windows
from gossamer.compress.methods.embedding import fit_embeddings
from gossamer.compress.methods.groups import share_density
from gossamer.compress.methods.layer import fit_layer
from gossamer.compress.models.load import load_model
from gossamer.compress.progress import Reporter
from gossamer.compress.recipe import Recipe, load_recipe
from gossamer.compress.result import CurvePoint, Progress


def tradeoff(
    model: Any,
    recipes: Sequence[str | Recipe],
    calibration: Any = None,
    evaluation: Any = None,
    *,
    window: int = 256,
    windows: int = 16,
    calibrate: tuple[int, int] = (32, 256),
    progress: Callable[[Progress], None] | None = None,
    seed: int = 0,
) -> tuple[CurvePoint, ...]:
    """Measure what each recipe makes of a decoder, without writing artifacts.

    All recipes share one walk through the base model: the inputs of a block are measured once, each recipe fits
    the block's layers, and its own evaluation windows go on through them. Inputs are those of the base model, so a
    recipe that :func:`compress` calibrates behind compressed blocks may do slightly better there.

    Parameters
    ----------
    model : str, path, torch.nn.Module or SourceModel
        A decoder, see :func:`load_model`.
    recipes : sequence of str or Recipe
        Recipes with a fixed rule; give an allocated one by the path of its ``recipe.toml``.
    calibration, evaluation : str, path or array of int
        Texts; calibration is not needed if every recipe looks at weights only.
    window, windows : int
        Tokens and number of the evaluation's windows.
    calibrate : (int, int)
        Number of calibration windows and their tokens; the recipes' own are not used.
    progress : callable, optional
        Called with a :class:`Progress` after every block.
    seed : int
        Nothing here is random: accepted so that the settings of :func:`compress` can be passed on.

    Returns
    -------
    tuple of CurvePoint
        In the order of ``recipes``.
    """
    source = load_model(model)
    plans = [load_recipe(recipe) for recipe in recipes]
    for plan in plans:
        if plan.default is None:
            raise ArgumentError(
                f"recipe {plan.name!r} is allocated by a budget: pass the recipe.toml it was made into"
            )
        if plan.stages:
            raise ArgumentError(
                f"recipe {plan.name!r} trains what it fits, which a curve does not: compress with it, "
                "or pass the same recipe without stages"
            )
    evaluated = evaluation_windows(evaluation, source.tokenizer, window, windows)
    wanted = any(needs_statistics(source, plan) for plan in plans)
    if wanted and calibration is None:
        raise ArgumentError("calibration=None: some recipes weigh errors by inputs and need a text")
    fixed = sum(tensor.numel() * tensor.element_size() for tensor in source.rest().values())
    sizes = [0] * len(plans)
    with source.evaluating(), Reporter(progress).stage("curve", len(source.blocks)) as step:
        inputs = None
        if wanted:
            inputs = open_stream(
                source, calibration_windows(calibration, source.tokenizer, calibrate[1], calibrate[0])
            )
        heads = {head: fit_embeddings(source, head) for head in {plan.head for plan in plans}}
        base = open_stream(source, evaluated)
        streams = [open_stream(source, evaluated, heads[p.head][1].get(source.embeddings[0])) for p in plans]
        for index, block in enumerate(source.blocks):
            module = source.module.get_submodule(block)
            moments = collect(source, block, inputs, advance=True) if inputs is not None else None
            for number, plan in enumerate(plans):
                weights = {}
                originals = {p: layer.weight.detach().numpy() for p, layer in source.linears(block).items()}
                rules = share_density({path: plan.rule(path) for path in originals}, originals, moments)
                for path, original in originals.items():
                    fitted = fit_layer(path, original, rules[path], moments)
                    weights[path] = fitted.matrix.to_dense()
                    sizes[number] += fitted.row.nbytes
                with swapped(source, weights):
                    streams[number].advance(module)
            base.advance(module)
            step(index + 1, block)
        before = base.loss()
        losses = [stream.loss(heads[plan.head][1]) for plan, stream in zip(plans, streams)]
    linear = sum(layer.weight.numel() for layer in source.linears().values())
    points = []
    for plan, size, loss in zip(plans, sizes, losses):
        fitted_heads = heads[plan.head][0]
        head = sum(
            fitted_heads[path].row.nbytes if path in fitted_heads else source.weight(path).nbytes
            for path in source.embeddings
        )
        points.append(
            CurvePoint(
                name=plan.name,
                nbytes=size + head + fixed,
                bits_per_weight=8 * size / linear,
                perplexity=math.exp(min(loss, 700.0)),
                relative=math.exp(min(loss - before, 700.0)),
            )
        )
    return tuple(points)
