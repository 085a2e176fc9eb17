"""Cubes spread over a cluster by their pixels are unmixed as on one machine."""

import warnings

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.distributed import fit_unmixing
from gossamer.learn import RRLbS, SparseNMF, simulate_scene

da = pytest.importorskip("dask.array", reason="needs dask: pip install 'gossamer[distributed]'")
warnings.filterwarnings("ignore", message="objective still fell")

WAVES = np.linspace(0.4, 2.5, 40)
SPECTRA = np.stack(
    [0.7 - 0.5 * np.exp(-(((WAVES - c) / 0.2) ** 2)) + 0.1 * i * WAVES for i, c in enumerate((0.7, 1.3, 2.0))]
)


def scene(**options):
    return simulate_scene(
        SPECTRA, (20, 24), block=5, kind="half_pure", snr_db=25, n_outlier=3, random_state=0, **options
    )


@pytest.mark.parametrize(
    "estimator",
    [
        RRLbS(3, max_iter=60, random_state=0),
        RRLbS(3, max_iter=40, smooth_map=True, init="random", n_init=2, random_state=0),
        SparseNMF(3, max_iter=30, random_state=0),
    ],
)
def test_it_is_the_serial_fit(client, estimator):
    s = scene()
    X = s.X.copy()
    X[[7, 400]] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        serial = estimator.__class__(**estimator.get_params()).fit(X, shape=s.shape)
        # channels are split as well, and joined again
        spread = fit_unmixing(estimator, da.from_array(X, chunks=(130, 17)), client=client, shape=s.shape)
    for name in ("endmembers_", "abundances_", "guidance_", "channel_weights_"):
        np.testing.assert_allclose(getattr(spread, name), getattr(serial, name), atol=1e-8)
    np.testing.assert_array_equal(spread.trusted_, serial.trusted_)
    assert spread.n_iter_ == serial.n_iter_
    np.testing.assert_allclose(spread.transform(X), serial.transform(X), atol=1e-7)


def test_workers_open_their_own_pixels(client, tmp_path):
    """A cube of 16-bit integers in files, one a worker's chunk, with a given start."""
    import dask

    s = scene()
    cube = np.round(s.X * 1000).astype(np.uint16).reshape(20, 24, 40)
    parts = []
    for i, rows in enumerate(np.split(cube, 4)):
        file = np.memmap(tmp_path / str(i), dtype=np.uint16, mode="w+", shape=rows.shape)
        file[:] = rows
        file.flush()
        parts.append((str(tmp_path / str(i)), rows.shape))

    def load(path, shape):
        return np.memmap(path, dtype=np.uint16, mode="r", shape=shape)

    X = da.concatenate([da.from_delayed(dask.delayed(load)(*part), part[1], np.uint16) for part in parts])
    start = (SPECTRA * 1000, np.full((480, 3), 1 / 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spread = fit_unmixing(RRLbS(3, init=start, max_iter=40, lam=0.1), X, client=client)
        serial = RRLbS(3, init=start, max_iter=40, lam=0.1).fit(cube)
    assert spread.abundances_.dtype == np.float64
    np.testing.assert_allclose(spread.abundances_, serial.abundances_, atol=1e-8)


def test_bad_input_is_named(client):
    X = da.ones((30, 6), chunks=(10, 6))
    values = np.ones((30, 6))
    values[23, 2] = np.nan
    negative = np.ones((30, 6))
    negative[25, 1] = -1
    for call, error, words in (
        (lambda: fit_unmixing(object(), X, client=client), UnsupportedError, "expected RRLbS or SparseNMF"),
        (
            lambda: fit_unmixing(RRLbS(2), np.ones((3, 3)), client=client),
            UnsupportedError,
            "expected a Dask array",
        ),
        (lambda: fit_unmixing(RRLbS(2), X[:, 0], client=client), ShapeError, r"shape \(30,\)"),
        (lambda: fit_unmixing(RRLbS(2), X[X[:, 0] > 0], client=client), ShapeError, "known sizes"),
        (lambda: fit_unmixing(RRLbS(2), X > 0, client=client), ArgumentError, "X is bool"),
        (lambda: fit_unmixing(RRLbS(7), X, client=client), ArgumentError, "n_endmembers=7"),
        (lambda: fit_unmixing(RRLbS(2), X, client=client, shape=(2, 3)), ShapeError, "X has 30 pixels"),
        (
            lambda: fit_unmixing(RRLbS(2), da.from_array(values, chunks=(10, 6)), client=client),
            ArgumentError,
            r"first at \(23, 2\)",
        ),
        (
            lambda: fit_unmixing(RRLbS(2), da.from_array(negative, chunks=(10, 6)), client=client),
            ArgumentError,
            r"X is -1 at \(25, 1\)",
        ),
    ):
        with pytest.raises(error, match=words):
            call()
