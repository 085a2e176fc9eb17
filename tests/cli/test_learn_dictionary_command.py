"""``gossamer learn-dictionary`` leaves the atoms that the estimator finds."""

import json

import numpy as np
from typer.testing import CliRunner

from gossamer.cli.app import app
from gossamer.learn import OnlineOrthogonalDictionary, recovered_atoms


def invoke(*words, code=0):
    result = CliRunner().invoke(app, ["learn-dictionary", *map(str, words)])
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return result


def stream(n=8, count=20_000):
    rng = np.random.default_rng(0)
    B = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return B, (rng.standard_normal((count, n)) * (rng.random((count, n)) < 0.25)) @ B


def test_atoms_are_found_and_described(tmp_path):
    B, Y = stream()
    np.save(tmp_path / "s.npy", Y)
    found = json.loads(invoke(tmp_path / "s.npy", "-o", tmp_path / "d.npy", "--keep", 3, "--json").stdout)
    D = np.load(tmp_path / "d.npy")
    assert recovered_atoms(D, B) == 1
    np.testing.assert_array_equal(D, OnlineOrthogonalDictionary(random_state=0).fit(Y).components_)
    assert found["steps"] == 1250
    assert found["energy"] > 0.9
    assert "energy" in invoke(tmp_path / "s.npy", "-o", tmp_path / "d.npy", "--follow", "--whiten").stdout


def test_a_signal_is_cut_and_a_state_goes_on(tmp_path):
    _, Y = stream(count=4096)
    np.save(tmp_path / "whole.npy", np.round(100 * Y).astype(np.int16).ravel())
    np.save(tmp_path / "a.npy", np.round(100 * Y[:2048]).astype(np.int16).ravel())
    np.save(tmp_path / "b.npy", np.round(100 * Y[2048:]).astype(np.int16).ravel())
    invoke(tmp_path / "whole.npy", "--size", 8, "-o", tmp_path / "w.npy", "--center")
    for part in "ab":
        invoke(
            tmp_path / f"{part}.npy",
            "--size",
            8,
            "-o",
            tmp_path / "p.npy",
            "--center",
            "--state",
            tmp_path / "s.npz",
        )
    np.testing.assert_array_equal(np.load(tmp_path / "w.npy"), np.load(tmp_path / "p.npy"))


def test_bad_input_is_named(tmp_path):
    np.save(tmp_path / "signal.npy", np.zeros(10))
    np.save(tmp_path / "words.npy", np.array([["a"]]))
    (tmp_path / "text.npy").write_text("nothing")
    for words, message in (
        ((tmp_path / "signal.npy",), "--size"),
        ((tmp_path / "words.npy",), "expected samples"),
        ((tmp_path / "text.npy",), "not an array"),
        ((tmp_path / "signal.npy", "--size", 11), "expected samples"),
    ):
        assert message in invoke(*words, "-o", tmp_path / "out.npy", code=2).stderr
    assert not (tmp_path / "out.npy").exists()
