"""Cubes in ENVI and .mat files are read as they were written, and damaged ones refused with the reason."""

import numpy as np
import pytest
import scipy.io

from gossamer._core.errors import ArgumentError, FormatError, ShapeError
from gossamer.datasets import load_envi, load_spectral_mat, save_envi

CUBE = np.arange(2 * 3 * 4).reshape(2, 3, 4)


def write(folder, interleave="bsq", dtype="<i2", code=2, order=0, offset=0, more="", name="cube.img"):
    axes = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}[interleave.lower()]
    (folder / name).write_bytes(b"x" * offset + CUBE.transpose(axes).astype(dtype).tobytes())
    (folder / "cube.hdr").write_text(
        f"ENVI\ndescription = {{two\n lines}}\n; a comment = 3\nsamples = 3\nLines  = 2\nbands = 4\n"
        f"header offset = {offset}\ndata type = {code}\ninterleave = {interleave}\nbyte order = {order}\n{more}"
    )
    return folder / "cube.hdr"


@pytest.mark.parametrize("interleave", ["bsq", "bil", "BIP"])
@pytest.mark.parametrize(
    ("dtype", "code", "order"), [("<i2", 2, 0), (">f4", 4, 1), ("u1", 1, 0), ("<f8", 5, 0), (">u2", 12, 1)]
)
def test_every_order_and_type_is_the_same_cube(tmp_path, interleave, dtype, code, order):
    cube = load_envi(write(tmp_path, interleave, dtype, code, order, offset=5))
    assert isinstance(cube.data, np.memmap)
    assert cube.data.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(cube.data, CUBE)
    np.testing.assert_array_equal(load_envi(tmp_path / "cube.img").data, CUBE)
    with pytest.raises(ValueError, match="read-only"):
        cube.data[0, 0, 0] = 1


def test_the_header_tells_of_channels(tmp_path):
    more = "wavelength = {0.4, 0.5,\n 0.6, 0.7}\nwavelength units = um\nbbl = {1, 0, 1, 1}\ndata ignore value = -9999\n"
    cube = load_envi(write(tmp_path, more=more + "band names = {a, b, c, d}"))
    np.testing.assert_array_equal(cube.wavelengths, [0.4, 0.5, 0.6, 0.7])
    np.testing.assert_array_equal(cube.good, [True, False, True, True])
    assert (cube.ignore, cube.wavelength_units, cube.bands) == (-9999, "um", ("a", "b", "c", "d"))
    assert cube.header["description"] == "two\n lines"
    plain = load_envi(write(tmp_path))
    assert plain.wavelengths is plain.good is plain.ignore is plain.bands is None


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "i8", "f4", "f8"])
def test_what_is_saved_is_loaded(tmp_path, dtype):
    path = save_envi(tmp_path / "a.hdr", CUBE.astype(dtype), bands=["p", "q", "r", "s"], description="shares")
    again = load_envi(path)
    assert again.data.dtype == np.dtype(dtype)
    assert again.bands == ("p", "q", "r", "s")
    np.testing.assert_array_equal(again.data, CUBE)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("ENVI\n", "ENVY\n", "expected ENVI"),
        ("samples = 3\n", "", "samples is None"),
        ("samples = 3", "samples = 3.5", "samples is '3.5'"),
        ("samples = 3", "samples = -3", "samples is -3"),
        ("samples = 3", "samples = 99999999999999", "samples is 99999999999999"),
        ("samples = 3", "samples = 30", "expected 480 for"),
        ("samples = 3\n", "samples = 3\nsamples = 3\n", "samples stands twice"),
        ("data type = 2", "data type = 6", "data type 6"),
        ("byte order = 0", "byte order = 2", "byte order 2"),
        ("header offset = 0", "header offset = -1", "header offset -1"),
        ("interleave = bsq", "interleave = tile", "interleave 'tile'"),
        ("bands = 4", "bands = 4\nwavelength = {1, 2}", "2 values of wavelength: expected 4"),
        ("bands = 4", "bands = 4\nwavelength = {1, 2, x, 3}", "wavelength is 'x'"),
        ("bands = 4", "bands = 4\nband names = {a}", "1 band names: expected 4"),
        ("bands = 4", "bands = 4\nfile compression = 1", "compressed"),
        ("bands = 4", "bands = 4\nbroken {", "expected name = value"),
        ("bands = 4", "bands = 4\nopen = {1, 2", "expected name = value"),
    ],
)
def test_damaged_headers_are_refused(tmp_path, old, new, words):
    path = write(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(FormatError, match=words):
        load_envi(path)


def test_files_must_be_there_and_fit(tmp_path):
    path = write(tmp_path)
    (tmp_path / "cube.img").write_bytes(b"0" * 47)
    with pytest.raises(FormatError, match="47 bytes: expected 48"):
        load_envi(path)
    (tmp_path / "cube.dat").write_bytes(b"0" * 48)
    with pytest.raises(FormatError, match=r"cube.img, cube.dat are there"):
        load_envi(path)
    for file in ("cube.img", "cube.dat"):
        (tmp_path / file).unlink()
    with pytest.raises(FormatError, match="none is there"):
        load_envi(path)
    with pytest.raises(FormatError, match="no such header"):
        load_envi(tmp_path / "other.hdr")
    (tmp_path / "cube.img").write_bytes(b"0" * 48)
    path.write_bytes(b"ENVI\n\xff\xfe")
    with pytest.raises(FormatError, match="UTF-8"):
        load_envi(path)
    for bad, error in (("a.img", ArgumentError), ("a.hdr", ShapeError)):
        with pytest.raises(error):
            save_envi(tmp_path / bad, CUBE[0])
    with pytest.raises(ArgumentError, match="complex"):
        save_envi(tmp_path / "a.hdr", CUBE.astype(complex))
    with pytest.raises(ArgumentError, match="4 names"):
        save_envi(tmp_path / "a.hdr", CUBE, bands=["a", "b", "c", "d,e"])


def pair(folder, **changes):
    rng = np.random.default_rng(0)
    values = {
        "V": rng.random((5, 6)),
        "nRow": 2,
        "nCol": 3,
        "M": rng.random((5, 2)),
        "A": rng.random((2, 6)),
        **changes,
    }
    cube = {k: v for k, v in values.items() if k in ("V", "Y", "nRow", "nCol") and v is not None}
    scipy.io.savemat(folder / "cube.mat", cube)
    scipy.io.savemat(folder / "truth.mat", {k: values[k] for k in ("M", "A") if values[k] is not None})
    return values


def test_mat_pairs_are_pixels_in_order_of_rows(tmp_path):
    values = pair(tmp_path)
    image = load_spectral_mat(tmp_path / "cube.mat", tmp_path / "truth.mat")
    assert image.shape == (2, 3)
    np.testing.assert_array_equal(image.X.reshape(2, 3, 5)[1, 2], values["V"][:, 2 * 2 + 1])
    np.testing.assert_array_equal(image.A.reshape(2, 3, 2)[0, 1], values["A"][:, 2])
    np.testing.assert_array_equal(image.M, values["M"].T)
    pair(tmp_path, V=None, Y=np.arange(30, dtype=np.uint16).reshape(5, 6))
    other = load_spectral_mat(tmp_path / "cube.mat")
    assert other.X.dtype == np.uint16
    assert other.A is other.M is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"V": None}, "expected one of V and Y"),
        ({"Y": np.ones((5, 6))}, "expected one of V and Y"),
        ({"nRow": None}, "expected nRow"),
        ({"nRow": 2.5}, r"nRow is \[\[2.5\]\]"),
        ({"nRow": 4}, "6 pixels: expected 4 x 3"),
        ({"V": np.ones((5, 6, 2))}, "expected a matrix"),
        ({"V": np.array([["a", "b"]], object)}, "expected numbers"),
        ({"V": np.full((5, 6), np.nan)}, "NaN"),
        ({"V": np.ones((5, 6)) * 1j}, "expected real numbers"),
        ({"M": None}, "expected M"),
        ({"M": np.ones((4, 2))}, r"expected \(5, K\)"),
        ({"A": np.ones((3, 6))}, r"expected \(5, K\)"),
        ({"A": -np.ones((2, 6))}, "negative"),
    ],
)
def test_mat_pairs_that_do_not_fit_are_refused(tmp_path, changes, words):
    pair(tmp_path, **changes)
    with pytest.raises(FormatError, match=words):
        load_spectral_mat(tmp_path / "cube.mat", tmp_path / "truth.mat")


def test_what_is_no_mat_file_is_refused(tmp_path):
    pair(tmp_path)
    whole = (tmp_path / "cube.mat").read_bytes()
    for content, words in (
        (b"MATLAB 7.3 MAT-file, Platform" + b" " * 200, "7.3"),
        (b"", "not a .mat"),
        (b"no such thing" * 30, "not a .mat"),
        (whole[:200], "cannot be read|not a .mat|expected"),
    ):
        (tmp_path / "bad.mat").write_bytes(content)
        with pytest.raises(FormatError, match=words):
            load_spectral_mat(tmp_path / "bad.mat")
    with pytest.raises(FormatError, match="no such file"):
        load_spectral_mat(tmp_path / "absent.mat")
