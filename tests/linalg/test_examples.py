"""The examples in docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import gossamer.linalg
import gossamer.nn

MODULES = sorted(
    module.name
    for room in (gossamer.linalg, gossamer.nn)
    for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")
    if not module.ispkg
)
NEEDS = {"gossamer.linalg.triton_lscd": "triton"}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0
