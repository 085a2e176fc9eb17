"""Fine-tuned copies of the small generator, one a method and seed, measured once and remembered."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gossamer._core.files import read_json, sha256, write_json
from gossamer.datasets import factor_images
from gossamer.nn import (
    factor_changes,
    finetune_directions,
    frechet_distance,
    load_shapes32,
    pipl,
    ppl,
    random_directions,
    sefa_directions,
    vp_score,
)
from gossamer.nn.generative.shapes32 import FILE, TRAINING

CACHE = Path(__file__).parents[1] / ".cache" / "householder-projector"
SHARE, LONGER = 0.01, 0.1
"""Of the steps of the base, for which every method is fine-tuned: the paper's share, and nearer to its count."""


def measured(method: str, seed: int, share: float = SHARE) -> dict[str, Any]:
    """What one method reaches with one seed; ``base`` and ``random`` are not fine-tuned.

    Methods are those of :func:`gossamer.nn.finetune_directions`, and ``projector-one`` without a fitted scale.
    """
    tuned = method not in ("base", "random")
    path = CACHE / f"{method}-{seed}{f'-{share:g}' if tuned else ''}-{sha256(FILE)[:12]}.json"
    if not path.exists():
        write_json(path, _measure(method, seed, share))
    return read_json(path)


def _measure(method: str, seed: int, share: float) -> dict[str, Any]:
    shapes = load_shapes32()
    begin, worked = time.perf_counter(), time.process_time()
    G, directions = shapes.generator, sefa_directions(shapes.generator)
    steps = 0
    if method == "random":
        directions = random_directions(directions, seed)
    elif method != "base":
        images = torch.from_numpy(factor_images(20_000, 0).images[: 16 * 400])
        steps = round(share * shapes.steps)
        done = finetune_directions(
            G,
            shapes.discriminator,
            images,
            method=method.removesuffix("-one"),
            steps=steps,
            scale="one" if method.endswith("-one") else "fit",
            settings=dataclasses.replace(TRAINING),
            seed=seed,
        )
        G, directions = done.generator, done.directions
    seconds, worked = time.perf_counter() - begin, time.process_time() - worked
    mapping, reader = G.mapping, shapes.reader
    changes = factor_changes(G, mapping, directions, reader, n=64, step=3.0, seed=seed)
    fresh = torch.from_numpy(factor_images(2000, 1).images)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        fake = torch.cat([G(mapping(torch.randn(100, 64, generator=rng))) for _ in range(20)])
        features = [torch.cat([reader.features(p) for p in x.split(500)]).numpy() for x in (fresh, fake)]
    # all singular values of a projector are equal; how unequal SeFa's are tells what the metrics may owe to scale
    return {
        "seconds": seconds,
        "processor_seconds": worked,
        "steps": steps,
        "means": changes.means,
        "one_factorness": max(changes.means.values()),
        "coverage": changes.coverage,
        "changes": {name: np.asarray(M).round(4).tolist() for name, M in changes.changes.items()},
        "pipl": pipl(G, mapping, directions, distance=reader.distance, n=1500, seed=seed).value,
        "ppl": ppl(G, mapping, distance=reader.distance, n=1000, seed=seed).value,
        "fid": frechet_distance(*features),
        "vp": vp_score(G, mapping, directions, n=2500, step=5.0, epochs=6, seed=seed).value,
    }
