"""Arrays, lazy imports, results, randomness, threads."""

import json
import sys
from dataclasses import FrozenInstanceError, dataclass, field

import numpy as np
import pytest
import torch

import gossamer
from gossamer._core import threads
from gossamer._core.arrays import is_torch, like, nbytes, to_numpy, to_torch
from gossamer._core.errors import ArgumentError, MissingDependencyError
from gossamer._core.lazy import attach, require
from gossamer._core.random import check_random_state
from gossamer._core.results import Result


def test_arrays_and_tensors_share_memory():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = to_torch(array)
    assert np.shares_memory(to_numpy(tensor), array)
    assert not is_torch(array)
    assert is_torch(tensor)
    assert to_torch(tensor) is tensor


def test_a_read_only_array_is_copied_rather_than_exposed_to_writes():
    array = np.zeros(3)
    array.flags.writeable = False
    to_torch(array)[0] = 1
    assert array[0] == 0


def test_like_follows_its_reference_and_nbytes_counts():
    assert is_torch(like(np.ones(2), torch.ones(1)))
    assert isinstance(like(torch.ones(2), np.ones(1)), np.ndarray)
    assert nbytes(np.ones(3, dtype=np.float32)) == nbytes(torch.ones(3)) == 12


def test_a_tensor_that_needs_gradients_can_be_viewed():
    assert to_numpy(torch.ones(2, requires_grad=True)).tolist() == [1, 1]


def test_lazy_attributes_load_on_first_use_and_unknown_ones_are_refused(tmp_path, monkeypatch):
    package = tmp_path / "lazy_example"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from gossamer._core.lazy import attach\n"
        "__getattr__, __dir__, __all__ = attach(__name__, submodules=['part'], attributes={'part': ['answer']})\n"
    )
    (package / "part.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import lazy_example

    assert "lazy_example.part" not in sys.modules
    assert lazy_example.answer == 42
    assert lazy_example.part.answer == 42
    assert dir(lazy_example) == lazy_example.__all__ == ["answer", "part"]
    with pytest.raises(AttributeError, match="'lazy_example' has no attribute 'question'"):
        _ = lazy_example.question


def test_attach_lists_its_names_in_order():
    assert attach("x", submodules=["b"], attributes={"m": ["c", "a"]})[2] == ["a", "b", "c"]


def test_require_says_which_extra_brings_a_package():
    assert require("numpy", "test") is np
    with pytest.raises(MissingDependencyError, match=r"pip install 'gossamer\[learn\]'"):
        require("a_package_that_does_not_exist", "learn")
    with pytest.raises(ImportError):
        require("a_package_that_does_not_exist.part", "learn")


def test_require_does_not_hide_an_error_inside_the_package(tmp_path, monkeypatch):
    (tmp_path / "broken_example.py").write_text("import another_missing_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="another_missing_package"):
        require("broken_example", "learn")


@dataclass(frozen=True, kw_only=True, repr=False)
class Fit(Result):
    """A result with an array."""

    error: float
    weights: np.ndarray = field(default_factory=lambda: np.ones(2, dtype=np.float32))


def test_a_result_is_frozen_prints_short_and_becomes_json():
    fit = Fit(error=np.float32(0.5), history={"loss": [np.float64(1), 2]})
    with pytest.raises(FrozenInstanceError):
        fit.error = 1.0
    assert repr(Fit(error=0.5)) == "Fit(success=True, message='', error=0.5)"
    assert json.loads(json.dumps(fit.to_dict()))["weights"] == [1, 1]
    assert fit.to_dict()["history"] == {"loss": [1, 2]}


def test_the_same_seed_gives_the_same_bits_and_a_generator_passes_through():
    assert check_random_state(3).random(4).tolist() == check_random_state(3).random(4).tolist()
    rng = np.random.default_rng(0)
    assert check_random_state(rng) is rng
    legacy = [check_random_state(np.random.RandomState(1)).random() for _ in range(2)]
    assert legacy[0] == legacy[1]


@pytest.mark.parametrize("bad", [-1, 1.5, "seed"])
def test_a_bad_seed_is_refused(bad):
    with pytest.raises(ArgumentError, match="random_state="):
        check_random_state(bad)


def test_threads_argument_beats_setting_beats_environment(monkeypatch):
    monkeypatch.setattr(threads, "_threads", None)
    monkeypatch.delenv("GOSSAMER_THREADS", raising=False)
    assert threads.get_threads() == threads.available_cores() >= 1
    monkeypatch.setenv("GOSSAMER_THREADS", "3")
    assert threads.get_threads() == 3
    gossamer.set_threads(2)
    assert threads.get_threads() == 2
    assert threads.get_threads(5) == 5
    gossamer.set_threads(None)
    assert threads.get_threads() == 3


@pytest.mark.parametrize("value", ["0", "two", "-1"])
def test_a_bad_thread_count_in_the_environment_is_named(monkeypatch, value):
    monkeypatch.setattr(threads, "_threads", None)
    monkeypatch.setenv("GOSSAMER_THREADS", value)
    with pytest.raises(ArgumentError, match="GOSSAMER_THREADS"):
        threads.get_threads()


def test_blas_is_held_and_let_go():
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def counts():
        return [p["num_threads"] for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"]

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = counts()
        with threads.hold_blas():
            assert set(counts()) == {1}
        assert counts() == before
