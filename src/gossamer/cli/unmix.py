"""``gossamer unmix``: what is where in an image cube, and how much."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from gossamer._core.errors import bad_argument
from gossamer.cli.output import Json, Threads, facts, print_json, stderr

NAME = "unmix"


def run(
    cube: Annotated[
        Path, typer.Argument(metavar="CUBE", help="An ENVI header (.hdr), or a .mat file with V or Y.")
    ],
    k: Annotated[int, typer.Option("-k", "--endmembers", min=2, help="Materials to look for.")],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="A folder for endmembers, abundances, guidance, and a picture."),
    ],
    truth: Annotated[
        Path | None, typer.Option("--truth", help="A .mat file with M and A to compare with; for .mat cubes.")
    ] = None,
    robust: Annotated[
        bool, typer.Option("--robust/--squares", help="Norms of channels, or squares as in NMF.")
    ] = True,
    smooth: Annotated[
        bool, typer.Option("--smooth", help="Take the median of neighbours in the guidance map.")
    ] = False,
    clip: Annotated[bool, typer.Option("--clip-negative", help="Take negative values as zero.")] = False,
    single: Annotated[bool, typer.Option("--single", help="Compute on pixels in single precision.")] = False,
    max_iter: Annotated[int, typer.Option("--max-iter", min=1, help="Most iterations.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the search for corners.")] = 0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Find the spectra in an image cube and the share of each in every pixel (RRLbS)."""
    from gossamer._core.threads import set_threads
    from gossamer.learn import RRLbS

    if threads is not None:
        set_threads(threads)
    image, known, waves, ignored = _read(cube, truth)
    began = time.perf_counter()
    model = RRLbS(
        k, robust=robust, smooth_map=smooth, clip_negative=clip, dtype="float32" if single else None,
        max_iter=max_iter, random_state=seed,
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(image)
    for warning in caught:
        stderr().print(f"warning: {warning.message}", style="yellow", markup=False)
    summary: dict[str, Any] = {
        "pixels": list(image.shape[:2]),
        "channels": int(image.shape[2]),
        "pixels_ignored": ignored,
        "trusted_channels": int(model.trusted_.sum()),
        "iterations": model.n_iter_,
        "objective": float(model.objective_),
        "lam": float(model.lam_),
        "mean_shares": [float(share) for share in model.abundances_.mean(axis=0)],
        "seconds": time.perf_counter() - began,
    }
    if known is not None:
        summary |= _compared(known, model)
    _write(out, model, image.shape[:2], waves, summary)
    if as_json:
        print_json({"out": str(out), **summary})
    else:
        facts(f"{k} endmembers in {image.shape[0]} x {image.shape[1]} pixels, written to {out}", summary)


def _read(path: Path, truth: Path | None) -> tuple[Any, Any, np.ndarray | None, int]:
    """The cube, the image with its truth, wavelengths, and how many pixels hold nothing."""
    from gossamer.datasets import load_envi, load_spectral_mat

    if path.suffix.lower() == ".mat":
        image = load_spectral_mat(path, truth)
        return image.X.reshape(*image.shape, -1), None if truth is None else image, None, 0
    if truth is not None:
        raise bad_argument("--truth", str(truth), "a .mat cube")
    cube = load_envi(path)
    if cube.ignore is None:
        return cube.data, None, cube.wavelengths, 0
    nothing = (cube.data == cube.ignore).all(axis=2)
    if not nothing.any():
        return cube.data, None, cube.wavelengths, 0
    values = np.array(cube.data)  # pixels that hold nothing become zeros, which are left out
    values[nothing] = 0
    return values, None, cube.wavelengths, int(nothing.sum())


def _compared(known: Any, model: Any) -> dict[str, Any]:
    from gossamer.learn import abundance_rmse, sad

    if known.M.shape != model.endmembers_.shape:
        raise bad_argument("-k", len(model.endmembers_), f"{len(known.M)}, as many as --truth has")
    return {
        "spectral_angles": [float(angle) for angle in sad(known.M, model.endmembers_)],
        "abundance_errors": [float(error) for error in abundance_rmse(known.A, model.abundances_)],
    }


def _write(
    folder: Path, model: Any, shape: tuple[int, int], waves: np.ndarray | None, summary: dict[str, Any]
) -> None:
    from gossamer._core.files import atomic_path, write_json
    from gossamer.datasets import save_envi

    folder.mkdir(parents=True, exist_ok=True)
    M = model.endmembers_
    names = [f"endmember {i + 1}" for i in range(len(M))]
    shares = model.abundances_.reshape(*shape, -1)
    guidance = model.guidance_.reshape(*shape)
    save_envi(folder / "abundances.hdr", shares.astype(np.float32), bands=names, description="abundances")
    save_envi(
        folder / "guidance.hdr",
        guidance[:, :, None].astype(np.float32),
        bands=["guidance"],
        description="guidance",
    )
    channels = np.arange(1, M.shape[1] + 1) if waves is None else waves
    with atomic_path(folder / "endmembers.csv") as temporary:
        np.savetxt(
            temporary,
            np.column_stack([channels, model.channel_weights_, M.T]),
            fmt="%.9g",
            delimiter=",",
            header=",".join(["channel" if waves is None else "wavelength", "weight", *names]),
            comments="",
        )
    write_json(folder / "summary.json", summary)
    try:
        from gossamer.plots import draw_unmixing

        figure = draw_unmixing(
            shares, M, guidance=guidance, wavelengths=waves, weights=model.channel_weights_
        )
    except ImportError:  # the picture is for those who have matplotlib
        stderr().print("no maps.png: pip install 'gossamer[plot]'", markup=False)
        return
    with atomic_path(folder / "maps.png") as temporary:
        figure.savefig(temporary, format="png", dpi=150)
