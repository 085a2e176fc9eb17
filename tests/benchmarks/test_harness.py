"""The harness measures fairly, records everything, and cannot be talked into "reached"."""

import json

import pytest
from benchmarks.harness import (
    Claim,
    Race,
    busy_core,
    compare,
    machine,
    package_versions,
    read_results,
    run,
    validate,
)

from gossamer._core.errors import FormatError


class Clock:
    """Seconds that pass only when somebody works."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def __call__(self):
        return self.now

    def worker(self, name, seconds):
        def work():
            self.calls.append(name)
            self.now += seconds

        return work


def test_rates_are_work_over_time_and_the_order_alternates():
    clock = Clock()
    race = compare(
        clock.worker("a", 0.5),
        clock.worker("b", 2.0),
        work=10,
        unit="tokens/s",
        rounds=4,
        warmup=1,
        clock=clock,
    )
    assert clock.calls == ["a", "b", *"ab", *"ba", *"ab", *"ba"]
    assert race.ours == (20.0,) * 4
    assert race.peer == (5.0,) * 4
    assert race.ratio == 4.0
    assert race.spread() == {
        "kind": "quartiles",
        "rounds": 4,
        "ours": [20, 20],
        "peer": [5, 5],
        "ratio": [4, 4],
    }


def test_the_ratio_is_taken_round_by_round():
    # the machine becomes twice as slow after the first round: both lose, the ratio does not move
    race = Race((8.0, 4.0, 4.0), (4.0, 2.0, 2.0), "calls/s")
    assert race.ratios == (2.0, 2.0, 2.0)


def test_compare_refuses_what_has_no_median_or_no_peer():
    with pytest.raises(ValueError, match="rounds=2"):
        compare(lambda: 1, lambda: 2, rounds=2)
    with pytest.raises(ValueError, match="same callable"):
        compare(print, print, warmup=0)


@pytest.mark.parametrize(
    ("target", "ours", "peer", "reached"),
    [
        (">= 1.2x", 120.0, 100.0, True),
        (">= 1.2x", 119.0, 100.0, False),
        ("< 1x", 100.0, 100.0, False),
        ("<= 3.6", 3.6, None, True),
        ("<= 1e-3", 2e-3, None, False),
        ("> 2", 3.0, 100.0, True),
    ],
)
def test_reached_follows_from_the_figures(target, ours, peer, reached):
    assert Claim("c", target, ours, "u", peer).reached is reached


def test_a_claim_needs_a_bound_and_a_ratio_needs_a_peer():
    with pytest.raises(ValueError, match="target='fast'"):
        Claim("c", "fast", 1.0, "u")
    with pytest.raises(ValueError, match="has no peer"):
        Claim("c", ">= 2x", 1.0, "u")


def parts(value):
    def speed(full):
        race = Race((value,) * 3, (1.0,) * 3, "calls/s")
        yield Claim.from_race("faster than the peer", ">= 1.5x", race, peer_name="peer 1.0")

    def size(full):
        yield Claim("small", "<= 3", 4.0 if full else 2.0, "MB", note="full" if full else "quick")

    return {"speed": speed, "size": size}


def test_run_writes_a_valid_file_and_a_picture_that_repeat(tmp_path):
    run("my-system", parts(2.0), arguments=[], results=tmp_path)
    record = read_results(tmp_path / "my-system.json")
    assert [c["reached"] for c in record["claims"]] == [True, True]
    assert record["claims"][0]["ratio"] == 2.0
    picture = (tmp_path / "my-system.svg").read_bytes()
    run("my-system", parts(2.0), arguments=[], results=tmp_path)
    assert (tmp_path / "my-system.svg").read_bytes() == picture


def test_one_part_replaces_its_own_claims_only_and_a_miss_stays_in_the_file(tmp_path):
    run("s", parts(2.0), arguments=["--full"], results=tmp_path)
    run("s", parts(1.0), arguments=["--part", "speed"], results=tmp_path)
    claims = read_results(tmp_path / "s.json")["claims"]
    assert [(c["name"], c["reached"]) for c in claims] == [("faster than the peer", False), ("small", False)]
    assert claims[1]["note"] == "full"


def test_parts_that_run_at_once_keep_what_the_other_wrote(tmp_path):
    def outer(full):
        yield Claim("before", "< 1", 0.5, "u")
        run("s", both, arguments=["--part", "inner"], results=tmp_path)
        yield Claim("after", "< 1", 0.5, "u")

    both = {"outer": outer, "inner": lambda full: [Claim("meanwhile", "< 1", 0.5, "u")]}
    run("s", both, arguments=["--part", "outer"], results=tmp_path)
    assert [c["name"] for c in read_results(tmp_path / "s.json")["claims"]] == [
        "before",
        "meanwhile",
        "after",
    ]


def test_what_was_measured_before_a_crash_is_kept(tmp_path):
    def crash(full):
        yield Claim("first", "< 1", 0.5, "u")
        raise RuntimeError("the peer died")

    with pytest.raises(RuntimeError, match="the peer died"):
        run("s", {"all": crash}, arguments=[], results=tmp_path)
    assert [c["name"] for c in read_results(tmp_path / "s.json")["claims"]] == ["first"]


def test_the_schema_refuses_other_keys_other_types_and_a_false_reached(tmp_path):
    record = run("s", {"size": parts(1.0)["size"]}, arguments=[], results=tmp_path)
    good = json.dumps(record)
    for change, message in [
        (lambda r: r.pop("date"), "date"),
        (lambda r: r["machine"].update(cores="two"), r"machine\.cores='two'"),
        (lambda r: r["claims"][0].update(extra=1), r"claims\[0\]"),
        (lambda r: r["claims"][0].update(ours=9.0), "the figures say False"),
    ]:
        bad = json.loads(good)
        change(bad)
        with pytest.raises(ValueError, match=message):
            validate(bad)
    (tmp_path / "s.json").write_text(good[:-3])
    with pytest.raises(FormatError, match="damaged JSON"):
        read_results(tmp_path / "s.json")


def test_machine_and_versions_state_the_facts():
    facts = machine()
    assert facts["cores"] >= 1
    assert facts["isa"] in ("portable", "avx2", "avx512")
    assert package_versions(["pytest"])["pytest"] == pytest.__version__


def test_busy_core_ends_what_it_started():
    with busy_core() as process:
        assert process.poll() is None
    assert process.poll() is not None
