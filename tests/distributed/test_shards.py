"""Shards built on two workers are one index, the same as one built here."""

import numpy as np
import pytest

from gossamer._core.errors import ArgumentError, FormatError
from gossamer.distributed import index_shards, map_shards
from gossamer.retrieve import FDEConfig, MuveraIndex, ShardedIndex, TokenVectors

CONFIG = FDEConfig(dim=16, reps=6, k_sim=3, d_proj=8)


def documents(seed=0, n=60):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 9, n)
    vectors = rng.standard_normal((lengths.sum(), 16)).astype(np.float32)
    return TokenVectors(vectors, np.concatenate([[0], np.cumsum(lengths)]))


def part(first, last):
    whole = documents()
    return [whole.of(i) for i in range(first, last)]


def reader(first, last):
    """A shard that the worker reads itself; a function within one, as workers do not know this file."""
    held = part(first, last)
    return lambda: held


def test_shards_are_mapped_in_order(client):
    assert map_shards(lambda shard, number: shard * 10 + number, [3, 1, 2]) == [30, 11, 22]


def test_shards_of_workers_are_the_index_built_here(client, tmp_path):
    whole = MuveraIndex(CONFIG).add(documents())
    queries = [documents().of(i)[:2] for i in (3, 25, 59)]
    expected = whole.search(queries, k=5, n_candidates=None)
    for shards in ([part(0, 20), part(20, 25), part(25, 60)], [reader(0, 30), reader(30, 60)]):
        index = index_shards(shards, tmp_path / str(len(shards)), CONFIG)
        assert len(index) == 60
        found = index.search(queries, k=5, n_candidates=None)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.scores, expected.scores)
        assert index.nbytes > whole.memory["tokens"]


def test_candidates_of_shards_are_merged_by_score(tmp_path):
    shards = [MuveraIndex(CONFIG, rerank=False).add(part(i, i + 20)) for i in (0, 20, 40)]
    whole = MuveraIndex(CONFIG, rerank=False).add(documents())
    queries = [documents().of(i)[:2] for i in (3, 25, 59)]
    ShardedIndex(shards).save(tmp_path)
    for index in (ShardedIndex(shards), ShardedIndex.load(tmp_path)):
        found = index.search(queries, k=8)
        np.testing.assert_array_equal(found.ids, whole.search(queries, k=8).ids)
    shards[1].delete([0, 19])
    assert not np.isin(ShardedIndex(shards).search(queries, k=60).ids, [20, 39]).any()


def test_what_does_not_fit_is_refused(tmp_path):
    one = MuveraIndex(CONFIG).add(part(0, 3))
    with pytest.raises(ArgumentError, match="different configurations"):
        ShardedIndex([one, MuveraIndex(FDEConfig(dim=16))])
    with pytest.raises(ArgumentError, match="shards is empty"):
        ShardedIndex([])
    with pytest.raises(ArgumentError, match="the index is empty"):
        ShardedIndex([MuveraIndex(CONFIG)]).search(part(0, 1))
    with pytest.raises(ArgumentError, match="room has 2 entries"):
        ShardedIndex([one], [3, 4])
    with pytest.raises(ArgumentError, match="room=2"):
        ShardedIndex([one], [2])
    with pytest.raises(ArgumentError, match="shards is empty"):
        map_shards(print, [])
    with pytest.raises(ArgumentError, match="f is a int"):
        map_shards(3, [1])
    with pytest.raises(ArgumentError, match="backend='none'"):
        index_shards([part(0, 3)], tmp_path, CONFIG, backend="none")
    ShardedIndex([one]).save(tmp_path)
    (tmp_path / "shards.json").write_text("[2]")
    with pytest.raises(FormatError, match="room=2"):
        ShardedIndex.load(tmp_path)
    (tmp_path / "shards.json").write_text('"x"')
    with pytest.raises(FormatError, match="expected a list"):
        ShardedIndex.load(tmp_path)
