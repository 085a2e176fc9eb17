"""``gossamer unmix`` writes what the estimator finds, as files that other programs read."""

import json

import numpy as np
import pytest
import scipy.io
from typer.testing import CliRunner

from gossamer.cli.app import app
from gossamer.datasets import load_envi, save_envi
from gossamer.learn import RRLbS, simulate_scene

WAVES = np.linspace(0.4, 2.5, 30)
SPECTRA = np.stack([0.7 - 0.5 * np.exp(-(((WAVES - c) / 0.2) ** 2)) for c in (0.7, 1.3, 2.0)])


def invoke(*words, code=0):
    result = CliRunner().invoke(app, ["unmix", *map(str, words)])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


@pytest.fixture
def scene():
    return simulate_scene(SPECTRA, (12, 16), block=4, kind="half_pure", snr_db=30, random_state=0)


@pytest.mark.filterwarnings("ignore")
def test_a_cube_is_unmixed_into_a_folder(scene, tmp_path):
    cube = scene.X.reshape(12, 16, 30)
    path = save_envi(tmp_path / "cube.hdr", cube)
    path.write_text(path.read_text() + "wavelength = {" + ", ".join(map(repr, WAVES.tolist())) + "}\n")
    out = tmp_path / "out"
    found = json.loads(invoke(path, "-k", 3, "-o", out, "--max-iter", 30, "--json").stdout)
    model = RRLbS(3, max_iter=30, random_state=0).fit(cube)
    assert found["iterations"] == 30
    assert found["pixels"] == [12, 16]
    shares = load_envi(out / "abundances.hdr")
    assert shares.bands == ("endmember 1", "endmember 2", "endmember 3")
    np.testing.assert_allclose(shares.data.reshape(-1, 3), model.abundances_, atol=1e-6)
    np.testing.assert_allclose(load_envi(out / "guidance.hdr").data.ravel(), model.guidance_, atol=1e-6)
    table = np.loadtxt((out / "endmembers.csv").read_text().splitlines()[1:], delimiter=",")
    np.testing.assert_allclose(table[:, 0], WAVES, rtol=1e-8)
    np.testing.assert_allclose(table[:, 2:].T, model.endmembers_, rtol=1e-6)
    assert json.loads((out / "summary.json").read_text())["lam"] == found["lam"]
    assert (out / "maps.png").read_bytes().startswith(b"\x89PNG")
    assert "3 endmembers in 12 x 16" in invoke(path, "-k", 3, "-o", out, "--max-iter", 5, "--single").stdout


@pytest.mark.filterwarnings("ignore")
def test_pixels_that_hold_nothing_are_left_out(scene, tmp_path):
    cube = np.round(scene.X * 1000).astype(np.int16).reshape(12, 16, 30)
    cube[0, :3] = -9999
    path = save_envi(tmp_path / "cube.hdr", cube)
    assert "Negative values" in invoke(path, "-k", 3, "-o", tmp_path / "out", code=2).stderr
    path.write_text(path.read_text() + "data ignore value = -9999\n")
    result = invoke(path, "-k", 3, "-o", tmp_path / "out", "--max-iter", 20, "--json")
    assert json.loads(result.stdout)["pixels_ignored"] == 3
    assert "3 pixels are zero and left out" in result.stderr
    np.testing.assert_allclose(load_envi(tmp_path / "out" / "abundances.hdr").data[0, :3], 1 / 3, rtol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_a_known_unmixing_is_compared(scene, tmp_path):
    pixels = scene.X.reshape(12, 16, 30).transpose(2, 1, 0).reshape(30, -1)
    shares = scene.A.reshape(12, 16, 3).transpose(2, 1, 0).reshape(3, -1)
    scipy.io.savemat(tmp_path / "cube.mat", {"V": pixels, "nRow": 12, "nCol": 16})
    scipy.io.savemat(tmp_path / "end.mat", {"M": scene.M.T, "A": shares})
    words = (
        tmp_path / "cube.mat",
        "-o",
        tmp_path / "out",
        "--truth",
        tmp_path / "end.mat",
        "--max-iter",
        100,
    )
    found = json.loads(invoke(*words, "-k", 3, "--json").stdout)
    assert max(found["spectral_angles"]) < 0.1
    assert max(found["abundance_errors"]) < 0.1
    assert "-k=2: expected 3" in invoke(*words, "-k", 2, code=2).stderr
    assert "no such header" in invoke(tmp_path / "a.hdr", "-k", 2, "-o", tmp_path, code=2).stderr
    assert (
        "--truth" in invoke(tmp_path / "a.hdr", "-k", 2, "-o", tmp_path, "--truth", tmp_path, code=2).stderr
    )
