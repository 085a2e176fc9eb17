"""Run a benchmark's parts and keep what they claim in ``benchmarks/results/<slug>.json`` and a picture."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness.claims import Claim
from benchmarks.harness.machine import machine, package_versions
from benchmarks.harness.picture import draw
from gossamer._core.files import read_json, write_json

RESULTS = Path(__file__).parents[1] / "results"
Part = Callable[[bool], Iterable[Claim]]

_TOP = {"slug": str, "date": str, "machine": dict, "versions": dict, "claims": list}
_MACHINE = {"cpu": str, "cores": int, "isa": str, "memory": str}
_CLAIM = {
    "name": str,
    "target": str,
    "ours": (int, float),
    "unit": str,
    "peer": (int, float, type(None)),
    "peer_name": str,
    "ratio": (int, float, type(None)),
    "spread": (dict, type(None)),
    "paper": str,
    "note": str,
    "reached": bool,
}


def run(
    slug: str,
    parts: Mapping[str, Part],
    *,
    packages: Iterable[str] = (),
    arguments: list[str] | None = None,
    results: Path = RESULTS,
) -> dict[str, Any]:
    """Command line of a benchmark: run its parts, print and save every claim as soon as it is measured.

    Parameters
    ----------
    slug : str
        Name of the system, as in ``docs/systems.toml``.
    parts : mapping of str to callable
        Each takes ``full`` (False: minutes; True: what the paper did, as far as the machine allows) and yields
        claims. ``--part`` runs one of them and keeps the other claims of the file.
    packages : iterable of str
        Peers and libraries whose versions the file names.
    arguments : list of str, optional
        Instead of ``sys.argv``.
    results : Path
        Folder of the results.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{slug.replace('-', '_')}")
    parser.add_argument("--part", choices=sorted(parts), help="run one part, keep the other claims")
    parser.add_argument("--full", action="store_true", help="the long version")
    options = parser.parse_args(arguments)

    path = results / f"{slug}.json"
    kept = read_results(path)["claims"] if options.part and path.exists() else []
    record: dict[str, Any] = {
        "slug": slug,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": package_versions(packages),
        "claims": kept,
    }
    for name in [options.part] if options.part else parts:
        for claim in parts[name](options.full):
            if options.part and path.exists():  # another part may have written meanwhile
                record["claims"] = read_results(path)["claims"]
            _put(record["claims"], claim.to_dict())
            write_json(path, validate(record))
            Console().print(
                f"{'reached' if claim.reached else 'missed '}  {claim.name}: {claim.ours:.4g} {claim.unit}"
            )
    draw(record, path.with_suffix(".svg"))
    Console().print(_table(record))
    return record


def read_results(path: Path) -> dict[str, Any]:
    """Read a results file and check it against the schema."""
    return validate(read_json(path))


def validate(record: dict[str, Any]) -> dict[str, Any]:
    """Return ``record`` if it has the agreed schema; else say what is wrong and where."""
    _check(record, _TOP, "results")
    _check(record["machine"], _MACHINE, "machine")
    for position, claim in enumerate(record["claims"]):
        _check(claim, _CLAIM, f"claims[{position}]")
        stated = Claim(**{key: value for key, value in claim.items() if key != "reached"}).reached
        if stated != claim["reached"]:
            raise ValueError(f"claims[{position}]: reached is {claim['reached']}, the figures say {stated}")
    return record


def _check(value: Any, schema: Mapping[str, Any], where: str) -> None:
    if not isinstance(value, dict) or set(value) != set(schema):
        found = sorted(value) if isinstance(value, dict) else value
        raise ValueError(f"{where}: expected the keys {sorted(schema)}, found {found}")
    for key, kind in schema.items():
        if not isinstance(value[key], kind):
            raise ValueError(f"{where}.{key}={value[key]!r}: expected {kind}")


def _put(claims: list[dict[str, Any]], claim: dict[str, Any]) -> None:
    names = [known["name"] for known in claims]
    if claim["name"] in names:
        claims[names.index(claim["name"])] = claim
    else:
        claims.append(claim)


def _table(record: dict[str, Any]) -> Table:
    table = Table("claim", "ours", "peer", "ratio", "target", "", title=record["slug"])
    for claim in record["claims"]:
        table.add_row(
            claim["name"],
            f"{claim['ours']:.4g} {claim['unit']}",
            f"{claim['peer']:.4g} {claim['peer_name']}" if claim["peer"] is not None else "",
            f"{claim['ratio']:.3g}" if claim["ratio"] is not None else "",
            claim["target"],
            "reached" if claim["reached"] else "missed",
        )
    return table
