"""``gossamer learn-dictionary``: the orthonormal basis in which windows of a recorded stream are sparsest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from gossamer._core.errors import ArgumentError, FormatError
from gossamer._core.files import atomic_path
from gossamer.cli.output import Json, facts, print_json

NAME = "learn-dictionary"
BLOCK = 4096  # windows that are read at a time


def run(
    stream: Annotated[
        Path,
        typer.Argument(metavar="STREAM.npy", help="Samples in rows, or one long signal to cut into windows."),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Where the atoms go (.npy, rows); written whole or not at all."),
    ],
    size: Annotated[
        int | None, typer.Option("--size", min=1, help="Length of a window, for one long signal.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Samples of a step.")] = 16,
    p: Annotated[float, typer.Option("--p", help="Norm of the codes to maximise, above 2.")] = 3.0,
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, help="Codes of a sample to report the energy of; a tenth.")
    ] = None,
    center: Annotated[bool, typer.Option("--center", help="Take the mean off every sample.")] = False,
    whiten: Annotated[
        bool, typer.Option("--whiten", help="Multiply by the inverse root of the running second moment.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Keep steps from vanishing, for streams that change.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the first basis.")] = 0,
    state: Annotated[
        Path | None,
        typer.Option("--state", help="Go on from this file (.npz) if it exists, and leave the state there."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Learn an orthonormal basis from a stream on disk, in one pass that stores none of it."""
    from gossamer.learn import OnlineOrthogonalDictionary, energy_share

    samples = _samples(stream, size)
    if state is not None and state.exists():
        model = OnlineOrthogonalDictionary.load(state)
    else:
        floors: dict[str, Any] = {"rho_min": 0.05, "gamma_min": 0.01} if follow else {}
        model = OnlineOrthogonalDictionary(p=p, batch_size=batch, whiten=whiten, random_state=seed, **floors)
    block = max(BLOCK // batch, 1) * batch
    last = samples[:0]
    for start in range(0, len(samples), block):
        last = _ready(samples[start : start + block], center)
        model.partial_fit(last)
    with atomic_path(out) as temporary, open(temporary, "wb") as file:
        np.save(file, model.components_, allow_pickle=False)
    if state is not None:
        model.save(state)
    n = model.n_features_in_
    kept = min(keep or max(n // 10, 1), n)
    summary = {
        "out": str(out),
        "atoms": n,
        "samples": len(samples),
        "steps": model.n_steps_,
        "skipped": model.n_skipped_,
        "gap": float(model.gap_),
        "kept": kept,
        "energy": energy_share(model.transform(last), kept),
    }
    if as_json:
        print_json(summary)
        return
    shown = {
        "samples": f"{len(samples):,} of {n} numbers",
        "steps": f"{model.n_steps_:,}, {model.n_skipped_:,} empty batches left out",
        "gap": summary["gap"],
        f"energy in {kept} of {n} codes": f"{100 * summary['energy']:.1f} % (of the last {len(last):,} samples)",
    }
    facts(str(out), shown)


def _samples(path: Path, size: int | None) -> np.ndarray:
    """The file as a memory map of samples in rows."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FormatError(f"{path}: not an array in NumPy's format ({error})") from None
    if array.ndim == 1:
        if size is None:
            raise ArgumentError(
                f"{path} holds one signal of {len(array)} numbers: expected --size of a window"
            )
        array = array[: len(array) // size * size].reshape(-1, size)
    if array.ndim != 2 or not len(array) or array.dtype.kind not in "iufc":
        raise ArgumentError(
            f"{path} holds {array.dtype} {array.shape}: expected samples in rows, at least one"
        )
    if size is not None and array.shape[1] != size:
        raise ArgumentError(f"--size={size}: the samples of {path} have {array.shape[1]} numbers")
    return array


def _ready(part: np.ndarray, center: bool) -> np.ndarray:
    block = np.array(part)
    if block.dtype.kind in "iu" or block.dtype == np.float16:
        block = block.astype(np.float32)
    return block - block.mean(axis=1, keepdims=True) if center else block
