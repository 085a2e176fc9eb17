"""A claim: what was promised, what was measured, and whether it was reached."""

from __future__ import annotations

import operator
import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.harness.race import Race

_TARGET = re.compile(r"(<=|>=|<|>) *([0-9.]+(?:e-?\d+)?) *(x?)")
_COMPARE: dict[str, Any] = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


def parse_target(target: str) -> tuple[str, float, bool]:
    """Take ``">= 1.2x"`` apart: the sign, the bound, and whether it bounds the ratio rather than ours."""
    match = _TARGET.fullmatch(target)
    if match is None:
        raise ValueError(f"target={target!r}: expected a bound such as '>= 1.2x' or '<= 3.6'")
    return match[1], float(match[2]), bool(match[3])


@dataclass(frozen=True)
class Claim:
    """One line of a results table.

    Attributes
    ----------
    name : str
        What is claimed, in words that need no context.
    target : str
        ``">= 1.2x"`` sets a bound on the ratio of ours to the peer's, ``"<= 3.6"`` a bound on ours in ``unit``.
    ours : float
        What we measured.
    unit : str
        Of ``ours`` and ``peer``.
    peer : float, optional
        What the peer measured in the same run.
    peer_name : str
        Name, version and settings of the peer.
    ratio : float, optional
        Ours over the peer's; computed if left out.
    spread : dict, optional
        As :meth:`Race.spread` gives it; None for what has none (a size).
    paper : str
        What the paper reports, quoted.
    note : str
        How it was measured, and why a target was missed.
    """

    name: str
    target: str
    ours: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    ratio: float | None = None
    spread: dict[str, Any] | None = None
    paper: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        _, _, of_ratio = parse_target(self.target)
        if self.ratio is None and self.peer is not None:
            object.__setattr__(self, "ratio", self.ours / self.peer)
        if of_ratio and self.ratio is None:
            raise ValueError(f"target={self.target!r} bounds a ratio: {self.name!r} has no peer")

    @classmethod
    def from_race(cls, name: str, target: str, race: Race, *, peer_name: str, **more: Any) -> Claim:
        """A claim about speed: medians, the median of the ratios, and their spread."""
        return cls(
            name,
            target,
            float(np.median(race.ours)),
            race.unit,
            float(np.median(race.peer)),
            peer_name,
            race.ratio,
            race.spread(),
            **more,
        )

    @property
    def reached(self) -> bool:
        """Whether the target was reached."""
        sign, bound, of_ratio = parse_target(self.target)
        return bool(_COMPARE[sign](self.ratio if of_ratio else self.ours, bound))

    def to_dict(self) -> dict[str, Any]:
        """The claim as it stands in a results file."""
        return {**asdict(self), "reached": self.reached}
