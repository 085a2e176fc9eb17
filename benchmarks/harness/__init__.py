"""The few things that every benchmark needs: a fair race, a claim, and a record of both."""

from benchmarks.harness.claims import Claim
from benchmarks.harness.machine import busy_core, machine, package_versions
from benchmarks.harness.race import Race, compare
from benchmarks.harness.record import read_results, run, validate

__all__ = [
    "Claim",
    "Race",
    "busy_core",
    "compare",
    "machine",
    "package_versions",
    "read_results",
    "run",
    "validate",
]
