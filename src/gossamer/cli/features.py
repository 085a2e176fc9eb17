"""``gossamer features``: learn the features of a layer of a language model, and write a page that shows them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer.cli.output import Json, Threads, facts, print_json
from gossamer.cli.progress import progress_bar

NAME = "features"


def run(
    model: Annotated[str, typer.Argument(help="A language model, as for compress.")],
    layer: Annotated[
        int, typer.Option("--layer", "-l", min=1, help="The block whose output is looked at, from 1.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Directory for the page, the autoencoder, activations.")
    ],
    text: Annotated[
        str | None, typer.Option("--text", "-t", help="Text to read, as --calib of compress.")
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", min=1024, help="Tokens to read.")] = 32_768,
    window: Annotated[int, typer.Option("--window", min=8, help="Tokens of a sequence.")] = 128,
    size: Annotated[int | None, typer.Option("--features", min=1, help="Size; 4 times the width.")] = None,
    active: Annotated[int, typer.Option("--active", "-k", min=1, help="Active features a token.")] = 32,
    choice: Annotated[
        str, typer.Option("--choice", help="feature, mutual, token, or gradient (by effect on the loss).")
    ] = "feature",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of training, 1,024 tokens each.")] = 600,
    shown: Annotated[int, typer.Option("--texts", min=1, help="Texts of a feature on the page.")] = 6,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same bytes.")] = 0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Learn the features of a layer with a sparse autoencoder; write features.html with their strongest texts.

    The activations stay in OUT/activations: a run that was stopped goes on, and another size or choice reads them
    again.
    """
    import numpy as np
    import torch

    from gossamer._core.threads import set_threads
    from gossamer.cli.texts import calibration_text
    from gossamer.compress import load_model
    from gossamer.compress.calibrate import calibration_windows
    from gossamer.plots import write_feature_page

    set_threads(threads)
    if threads is not None:
        torch.set_num_threads(threads)
    source = load_model(model)
    if source.kind != "llama" or source.tokenizer is None:
        raise UnsupportedError(f"{model} is no decoder with a tokenizer: expected a language model")
    if layer > len(source.blocks):
        raise ArgumentError(f"--layer {layer}: {source.name} has {len(source.blocks)} blocks")
    words, name = calibration_text(text)
    if words is None:
        raise ArgumentError("no text to read: expected --text with a file")
    count = max(tokens // window, 1)
    windows = calibration_windows(words, source.tokenizer, window, count)
    kind = "gradients" if choice == "gradient" else "activations"
    with progress_bar() as progress:
        batches = np.array_split(windows, -(-count // 8))
        hook = source.blocks[layer - 1]
        cache = _collect(
            source.module, hook, batches, out / f"{kind}-{layer}", kind, _told(progress, "read", len(batches))
        )
        sae, figures = _train(cache, size, active, choice, steps, seed, _told(progress, "train", steps))
    sae.save(out / "autoencoder.safetensors")
    report = _report(source, layer, name, cache, windows, sae, figures, choice, shown)
    write_feature_page(report, out / "features.html")
    if as_json:
        print_json({"page": str(out / "features.html"), "tokens": len(cache), **figures})
    else:
        facts(report.title, report.facts)
        typer.echo(f"\nThe page: {out / 'features.html'}")


def _told(progress: Any, stage: str, total: int) -> Any:
    from gossamer.compress import Progress

    begun = time.perf_counter()
    return lambda done: progress(Progress(stage, done, total, time.perf_counter() - begun))


def _collect(module: Any, hook: str, batches: Any, out: Path, kind: str, progress: Any) -> Any:
    from gossamer.nn import collect_activations_and_gradients, load_activations

    collect = collect_activations_and_gradients if kind == "gradients" else load_activations
    return collect(module, hook, batches, out=out, progress=progress)


def _train(
    cache: Any, size: int | None, active: int, choice: str, steps: int, seed: int, progress: Any
) -> tuple[Any, dict[str, Any]]:
    import warnings

    from gossamer._core.errors import unknown_choice
    from gossamer.nn import (
        FeatureChoice,
        GradientTopK,
        MutualChoice,
        SAETrainer,
        SparseAutoencoder,
        TokenChoice,
        sae_metrics,
    )

    kinds = {"feature": FeatureChoice, "mutual": MutualChoice, "token": TokenChoice, "gradient": GradientTopK}
    if choice not in kinds:
        raise unknown_choice("--choice", choice, kinds)
    held_out = max(1, len(cache) // 10)
    train, width = len(cache) - held_out, cache.x.shape[1]
    sae = SparseAutoencoder(width, size or 4 * width, kinds[choice](active), seed=seed)
    trainer = SAETrainer(
        sae,
        batch_size=min(1024, train),
        steps=steps,
        refresh=max(1, steps // 12),
        seed=seed,
        progress=progress,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # rare features are matched in some batches only
        trainer.fit(cache.x[:train], None if cache.g is None else cache.g[:train])
    found = sae_metrics.evaluate(sae, cache.x[train:])
    figures = {key: found[key] for key in ("normalised_mse", "explained_variance", "l0", "zipf_r2")}
    seen = sae_metrics.evaluate(sae, cache.x)
    return sae, figures | {"dead": seen["dead"], "features": sae.n_features}


def _report(
    source: Any,
    layer: int,
    name: str,
    cache: Any,
    windows: Any,
    sae: Any,
    figures: Any,
    choice: str,
    shown: int,
) -> Any:
    from gossamer.nn import ZipfSchedule, describe_features, output_directions
    from gossamer.plots import FeatureReport

    features = describe_features(
        sae, cache, windows, lambda token: source.tokenizer.decode([token], skip_special=False), texts=shown,
        unembedding=output_directions(source.module),
    )  # fmt: skip
    density = [feature.density for feature in features]
    law = ZipfSchedule.fit(density) if len(density) >= 3 else None
    return FeatureReport(
        title=f"{source.name}, block {layer}",
        headline=f"{len(features)} features in use, found by {choice} choice in {len(cache):,} tokens of {name}.",
        facts={
            "variance explained": f"{100 * figures['explained_variance']:.1f} %",
            "active a token": f"{figures['l0']:.1f}",
            "features": f"{figures['features']:,}",
            "dead": f"{100 * figures['dead']:.1f} %",
        },
        features=tuple(features),
        density=tuple(density),
        law=() if law is None else tuple(law.density.tolist()),
        notes=(
            "Marked tokens are those on which a feature is active, the stronger the darker; each text is from another "
            "sequence. What a feature raises and lowers is its product with the output layer: what it does directly, "
            "not through later blocks. Variance explained and active features are of held-out tokens.",
        ),
    )
