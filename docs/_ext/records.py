"""Rows of the tables that pages and the README show, read from docs/systems.toml and benchmarks/results."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def systems() -> list[dict[str, Any]]:
    """All systems, as docs/systems.toml lists them."""
    return tomllib.loads((ROOT / "docs" / "systems.toml").read_text(encoding="utf-8"))["system"]


def record(slug: str) -> dict[str, Any] | None:
    """The measurements of a benchmark, or None if it has not been run."""
    path = RESULTS / f"{slug}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


CLAIM_HEADER = ("claim", "paper", "ours", "peer", "target", "reached")


def claim_rows(measured: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row a claim under :data:`CLAIM_HEADER`; misses included."""
    return [
        (
            claim["name"],
            claim["paper"],
            f"{_number(claim['ours'])} {claim['unit']}",
            ""
            if claim["peer"] is None
            else f"{_number(claim['peer'])} {claim['unit']} ({claim['peer_name']})",
            claim["target"] + _ratio(claim),
            "yes" if claim["reached"] else "no",
        )
        for claim in measured["claims"]
    ]


def provenance(measured: dict[str, Any]) -> str:
    """One sentence: when, on what, with which versions."""
    machine = measured["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in measured["versions"].items())
    return (
        f"Measured {measured['date']} on {machine['cpu']}, {machine['cores']} cores, {machine['isa']}, "
        f"{machine['memory']} ({versions})."
    )


def notes(measured: dict[str, Any]) -> list[tuple[str, str]]:
    """Claim name and note, for the claims that carry one."""
    return [(claim["name"], claim["note"]) for claim in measured["claims"] if claim["note"]]


def _ratio(claim: dict[str, Any]) -> str:
    if claim["ratio"] is None:
        return ""
    quartiles = (claim["spread"] or {}).get("ratio")
    between = f", quartiles {quartiles[0]:.2f} to {quartiles[1]:.2f}" if quartiles else ""
    return f" (ratio {claim['ratio']:.2f}{between})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
