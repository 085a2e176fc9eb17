"""Maps of what is where in an image, with the spectra of what was found."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.errors import ShapeError
from gossamer.plots import canvas

COLOURS = (canvas.ACCENT, canvas.WARM, canvas.INK, "#7c3aed", "#be123c", "#2563eb", "#65a30d", canvas.MUTED)


def draw_unmixing(
    abundances: Any, endmembers: Any, *, guidance: Any = None, wavelengths: Any = None, weights: Any = None
) -> Any:
    """Draw abundance maps, endmembers, and where they are given the guidance map and the weights of channels.

    Parameters
    ----------
    abundances : array, shape (rows, columns, K)
        Shares in [0, 1].
    endmembers : array, shape (K, L)
    guidance : array, shape (rows, columns), optional
        How pure pixels are, in [0, 1].
    wavelengths : array, shape (L,), optional
        Of the channels; their numbers by default.
    weights : array, shape (L,), optional
        Of the channels, not negative; a second axis of the spectra.

    Returns
    -------
    matplotlib.figure.Figure
        Not shown and not saved.

    Raises
    ------
    ShapeError
        For arrays that do not fit.
    MissingDependencyError
        If matplotlib is not installed.
    """
    A, M = np.asarray(abundances), np.asarray(endmembers)
    if A.ndim != 3 or M.ndim != 2 or A.shape[2] != len(M):
        raise ShapeError(
            f"abundances and endmembers have shapes {A.shape}, {M.shape}: expected (rows, columns, K), (K, L)"
        )
    maps = [(A[:, :, k], f"share {k + 1}", "viridis") for k in range(len(M))]
    if guidance is not None:
        if np.shape(guidance) != A.shape[:2]:
            raise ShapeError(f"guidance has shape {np.shape(guidance)}: expected {A.shape[:2]}")
        maps.append((np.asarray(guidance), "guidance", "magma"))
    x = np.arange(M.shape[1]) if wavelengths is None else np.asarray(wavelengths)
    for name, value in (("wavelengths", x), ("weights", x if weights is None else np.asarray(weights))):
        if value.shape != (M.shape[1],):
            raise ShapeError(f"{name} has shape {value.shape}: expected ({M.shape[1]},)")
    columns = min(4, len(maps))
    rows = -(-len(maps) // columns)
    figure, panels = canvas.new_figure(rows + 1, columns, width=2.6 * columns, height=2.4)
    for panel, (values, title, colours) in zip(panels, maps, strict=False):
        panel.imshow(values, cmap=colours, vmin=0, vmax=1)
        panel.set_title(title, fontsize=9)
    for panel in panels:
        panel.set_axis_off()
    spectra = figure.add_subplot(panels[-1].get_gridspec()[rows, :])
    for k, spectrum in enumerate(M):
        spectra.plot(x, spectrum, color=COLOURS[k % len(COLOURS)], linewidth=1.2, label=str(k + 1))
    spectra.set_xlabel("channel" if wavelengths is None else "wavelength")
    spectra.set_ylabel("endmembers")
    spectra.legend(fontsize=7, ncols=2)
    if weights is not None:
        other = spectra.twinx()
        other.plot(x, weights, ".", color=canvas.MUTED, markersize=3)
        other.set_ylabel("weight of a channel", color=canvas.MUTED)
    return figure
