"""Rules: what one linear layer becomes, and the tables of a recipe file that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gossamer._core.checks import check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError, unknown_choice
from gossamer.linalg import LowRank, Structure, Sum, parse_structure, structure_from_config

METRICS = ("none", "diagonal", "hessian")


@dataclass(frozen=True)
class Rule:
    """What a linear layer becomes, and how the fit is weighed.

    Parameters
    ----------
    structure : Structure or None
        The family; None keeps the layer as it is (float32).
    metric : {"none", "diagonal", "hessian"}
        The error that the fit minimises: of the weights (magnitude, round-to-nearest), of the outputs with
        independent inputs (Wanda), or of the outputs (SparseGPT, GPTQ).
    compensate : int
        Rank of a low-rank term added for what the fit left (0: none); in recipes also ``+ LowRank(r)`` at the end
        of a structure that is written as text.
    method : {"eora", "act", "svd"}
        How that term is fitted; all but ``"svd"`` need a calibration text, whatever the metric.
    pad : bool
        Whether a group that does not divide the layer's width may end in a padded group.
    name : str
        How allocations and reports call it.
    """

    structure: Structure | None
    metric: str = "hessian"
    compensate: int = 0
    pad: bool = False
    name: str = ""
    method: str = "eora"

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, METRICS)
        check_int("compensate rank", self.compensate, low=0)
        check_choice("compensate method", self.method, ("eora", "act", "svd"))

    @property
    def keep(self) -> bool:
        """Whether the layer stays as it is."""
        return self.structure is None

    @property
    def needs_statistics(self) -> bool:
        """Whether the fit is weighed by the inputs."""
        return not self.keep and (self.metric != "none" or (self.compensate > 0 and self.method != "svd"))

    def check_fit(self, module: str, shape: tuple[int, int]) -> None:
        """Refuse a group that does not divide the width of ``module``, unless padding is allowed."""
        group = self._group()
        if group and shape[1] % group and not self.pad:
            divisors = [g for g in range(1, shape[1] + 1) if shape[1] % g == 0]
            near = min(divisors, key=lambda g: abs(g - group))
            raise ShapeError(
                f"{module}: a group of {group} does not divide its {shape[1]} columns; "
                f"nearest that does: {near}; or set pad = true in the recipe to end rows in a padded group"
            )
        if self.compensate > min(shape):
            raise ShapeError(f"{module}: compensate rank {self.compensate}: expected at most {min(shape)}")

    def _group(self) -> int:
        kind = getattr(self.structure, "kind", "")
        if kind in ("group-quant", "group-sparse-quant"):
            return int(getattr(self.structure, "group", 0))
        if kind == "nm":
            return int(getattr(self.structure, "m", 0))
        if kind == "nm-quant":
            n, m, group = (int(getattr(self.structure, key)) for key in ("n", "m", "group"))
            return group * m // n if group % n == 0 else m
        if kind == "block":
            return int(getattr(self.structure, "shape")[1])  # noqa: B009 (the field is the family's own)
        return 0

    def to_config(self) -> dict[str, Any]:
        """The rule as plain values, as in a recipe's table."""
        if self.structure is None:
            config: dict[str, Any] = {"keep": True}
        else:
            config = {"structure": self.structure.to_config(), "metric": self.metric}
            if self.compensate:
                config["compensate"] = {"kind": "low-rank", "rank": self.compensate, "method": self.method}
            if self.pad:
                config["pad"] = True
        return {"name": self.name, **config} if self.name else config


@dataclass(frozen=True)
class Override:
    """A rule for the layers whose path matches a shell pattern; later overrides win."""

    match: str
    rule: Rule


def read_rule(table: Any) -> Rule:
    check_keys("rule key", table, ["name", "structure", "keep", "metric", "compensate", "pad"])
    keep = table.get("keep", False)
    if not isinstance(keep, bool) or not isinstance(table.get("pad", False), bool):
        raise ArgumentError("keep and pad: expected true or false")
    if keep == ("structure" in table):
        raise ArgumentError("rule: expected a structure or keep = true, one of both")
    compensate = table.get("compensate", {})
    check_keys("compensate key", compensate, ["kind", "rank", "method"])
    if compensate:
        check_choice("compensate kind", compensate.get("kind"), ["low-rank"])
    structure, rank = (None, 0) if keep else _structure(table["structure"])
    if rank and compensate:
        raise ArgumentError("rule: expected a low-rank term in the structure or in compensate, one of both")
    return Rule(
        structure=structure,
        metric=table.get("metric", "hessian"),
        compensate=compensate.get("rank", rank),
        method=compensate.get("method", "eora"),
        pad=table.get("pad", False),
        name=str(table.get("name", "")),
    )


def _structure(value: Any) -> tuple[Structure, int]:
    """A family from a table or from text, and the rank of a low-rank term at its end."""
    family = parse_structure(value) if isinstance(value, str) else structure_from_config(value)
    if isinstance(family, Sum) and isinstance(family.terms[-1], LowRank):
        rest = family.terms[:-1]
        return (rest[0] if len(rest) == 1 else Sum(rest, family.sweeps)), family.terms[-1].rank
    return family, 0


def read_override(table: Any) -> Override:
    if not isinstance(table, Mapping) or not isinstance(table.get("match"), str):
        raise ArgumentError('override: expected a table with match = "pattern"')
    return Override(table["match"], read_rule({key: value for key, value in table.items() if key != "match"}))


def check_keys(what: str, table: Any, known: Sequence[str]) -> None:
    """Refuse a table with a key that is not in ``known``, naming the nearest that is."""
    if not isinstance(table, Mapping):
        raise ArgumentError(f"{what}s: expected a table, got {table!r}")
    for key in table:
        if key not in known:
            raise unknown_choice(what, key, known)
