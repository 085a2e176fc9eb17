"""Recipes: small TOML files that say which layer becomes what. Data, no code.

A recipe has either a ``[default]`` rule (with ``[[override]]`` exceptions) that says what each linear layer
becomes, or ``[[option]]`` rules among which an allocation chooses per layer to meet a ``[budget]``.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, FormatError, unknown_choice
from gossamer.compress.finetune.settings import Training, check_stages
from gossamer.compress.rule import Override, Rule, check_keys, read_override, read_rule

HEADS = ("keep", "w8", "w4", "auto")


@dataclass(frozen=True)
class Calibration:
    """How much text calibrates, and on which stream.

    ``stream = "compressed"`` measures each block's inputs behind those already compressed, one pass a run;
    ``"base"`` measures them on the base model, once, so that several recipes share the pass. ``held_out``
    further windows of the same text are set aside, on which budgets are checked.
    """

    windows: int = 64
    length: int = 256
    stream: str = "compressed"
    held_out: int = 0

    def __post_init__(self) -> None:
        check_int("calibration windows", self.windows, low=1)
        check_int("calibration held_out", self.held_out, low=0)
        check_int("calibration length", self.length, low=2)
        check_choice("calibration stream", self.stream, ("compressed", "base"))


@dataclass(frozen=True)
class Budget:
    """What an allocation has to meet: a relative loss, or a number of bytes."""

    max_loss: float | None = None
    target_size: int | None = None

    def __post_init__(self) -> None:
        if (self.max_loss is None) == (self.target_size is None):
            raise ArgumentError("budget: give exactly one of max_loss and target_size")
        if self.max_loss is not None:
            check_float("max_loss", self.max_loss, low=0, closed="neither")
        if self.target_size is not None:
            check_int("target_size", self.target_size, low=1)


@dataclass(frozen=True)
class Recipe:
    """Which layer becomes what.

    Parameters
    ----------
    name, summary : str
    default : Rule or None
        For layers that no override matches; None in recipes whose layers are allocated.
    head : {"keep", "w8", "w4", "auto"}
        The output matrix and the embedding (often one): float32, or 8 or 4 bits a weight; ``"auto"``, in recipes
        with options, lets the allocation choose between 8 and 4 bits.
    overrides : tuple of Override
    calibration : Calibration
    options : tuple of Rule
        What an allocation may choose from, per layer.
    budget : Budget or None
        The budget used where the caller gives none.
    stages : tuple of {"bqpo", "e2e-oqp"}
        Training after the fit: of each block, and of all scales and zeros end to end.
    training : Training
        Settings of the stages.
    """

    name: str
    summary: str = ""
    default: Rule | None = None
    head: str = "w8"
    overrides: tuple[Override, ...] = ()
    calibration: Calibration = field(default_factory=Calibration)
    options: tuple[Rule, ...] = ()
    budget: Budget | None = None
    stages: tuple[str, ...] = ()
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_choice("head", self.head, HEADS)
        object.__setattr__(self, "stages", check_stages(self.stages))
        if self.stages and self.options:
            raise ArgumentError(f"recipe {self.name!r}: stages train a [default] rule, not [[option]] rules")
        if self.stages and self.calibration.stream != "compressed":
            raise ArgumentError(f"recipe {self.name!r}: stages need calibration stream = 'compressed'")
        if "bqpo" in self.stages and not self.calibration.held_out:
            raise ArgumentError(f"recipe {self.name!r}: stage 'bqpo' needs calibration held_out >= 1")
        if (self.default is None) == (not self.options):
            raise ArgumentError(
                f"recipe {self.name!r}: expected a [default] rule or [[option]] rules, one of both"
            )
        if self.head == "auto" and not self.options:
            raise ArgumentError(f"recipe {self.name!r}: head='auto' needs [[option]] rules")
        if self.options and not self.calibration.held_out:
            raise ArgumentError(f"recipe {self.name!r}: [[option]] rules need calibration held_out >= 1")
        names = [option.name for option in self.options]
        if len(set(names)) != len(names) or (names and not all(names)):
            raise ArgumentError(f"recipe {self.name!r}: expected every option to have a name of its own")

    def rule(self, module: str) -> Rule:
        """The rule for the layer at path ``module``."""
        found = self.override(module)
        if found is not None:
            return found
        if self.default is None:
            raise ArgumentError(f"recipe {self.name!r} is allocated by a budget: it has no rule for {module}")
        return self.default

    def override(self, module: str) -> Rule | None:
        """The last override that matches ``module``, if any."""
        return next((o.rule for o in reversed(self.overrides) if fnmatchcase(module, o.match)), None)

    def to_config(self) -> dict[str, Any]:
        """The recipe as plain values; :meth:`from_config` reads them back."""
        config: dict[str, Any] = {"name": self.name, "summary": self.summary, "head": self.head}
        if self.stages:
            config["stages"] = list(self.stages)
        config["calibration"] = {f.name: getattr(self.calibration, f.name) for f in fields(Calibration)}
        if self.budget is not None:
            config["budget"] = {
                f.name: getattr(self.budget, f.name)
                for f in fields(Budget)
                if getattr(self.budget, f.name) is not None
            }
        if self.stages or self.training != Training():
            config["training"] = {f.name: getattr(self.training, f.name) for f in fields(Training)}
        if self.default is not None:
            config["default"] = self.default.to_config()
        if self.overrides:
            config["override"] = [{"match": o.match, **o.rule.to_config()} for o in self.overrides]
        if self.options:
            config["option"] = [option.to_config() for option in self.options]
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any], name: str = "") -> Recipe:
        """Build a recipe from the tables of its TOML file.

        Raises
        ------
        ArgumentError
            For unknown keys (naming the nearest known one) and values outside their range.
        """
        known = ["name", "summary", "default", "head", "override", "calibration", "option", "budget"]
        check_keys("recipe key", config, [*known, "stages", "training"])
        title = str(config.get("name", name))
        try:
            return cls(
                name=title,
                summary=str(config.get("summary", "")),
                default=read_rule(config["default"]) if "default" in config else None,
                head=config.get("head", "w8"),
                overrides=tuple(read_override(table) for table in _tables(config, "override")),
                calibration=Calibration(**_table(config, "calibration", Calibration)),
                options=tuple(read_rule(table) for table in _tables(config, "option")),
                budget=_budget(config) if "budget" in config else None,
                stages=config.get("stages", ()),
                training=Training(**_table(config, "training", Training)),
            )
        except ArgumentError as error:
            raise type(error)(f"recipe {title!r}: {error}") from None

    @property
    def calibration_windows(self) -> int:
        """Windows of calibration text that a run takes, those that it sets aside included."""
        plan, further = self.calibration, self.training.tune_windows if "e2e-oqp" in self.stages else 0
        return max(plan.windows, further) + plan.held_out

    @property
    def calibration_tokens(self) -> int:
        """Tokens in them."""
        return self.calibration_windows * self.calibration.length

    @property
    def hash(self) -> str:
        """SHA-256 of what the recipe does (its name and summary do not count)."""
        config = {key: value for key, value in self.to_config().items() if key not in ("name", "summary")}
        return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()

    def to_toml(self) -> str:
        """The recipe as the text of a TOML file that :func:`load_recipe` reads."""
        lines = []
        for key, value in self.to_config().items():
            if isinstance(value, list) and isinstance(value[0], dict):
                for table in value:
                    lines += ["", f"[[{key}]]", *(f"{k} = {_toml(v)}" for k, v in table.items())]
            elif isinstance(value, dict):
                lines += ["", f"[{key}]", *(f"{k} = {_toml(v)}" for k, v in value.items())]
            else:
                lines.append(f"{key} = {_toml(value)}")
        return "\n".join(lines) + "\n"

    def with_compensation(self, rank: int, method: str = "eora") -> Recipe:
        """The same recipe with a low-rank term of ``rank`` beside every matrix that is not kept."""

        def with_term(rule: Rule) -> Rule:
            return rule if rule.keep else replace(rule, compensate=rank, method=method)

        return replace(
            self,
            default=None if self.default is None else with_term(self.default),
            overrides=tuple(replace(o, rule=with_term(o.rule)) for o in self.overrides),
            options=tuple(with_term(option) for option in self.options),
        )

    def with_calibration(self, **changes: Any) -> Recipe:
        """The same recipe with another amount of calibration text."""
        return replace(self, calibration=replace(self.calibration, **changes))


def list_recipes() -> list[Recipe]:
    """The shipped recipes, sorted by name."""
    return [load_recipe(name) for name in _shipped()]


def load_recipe(recipe: str | os.PathLike[str] | Recipe) -> Recipe:
    """Return a shipped recipe by name, or one of the user's by the path of its TOML file.

    Raises
    ------
    ArgumentError
        If there is no such recipe, or it holds an unknown key or a value out of range.
    FormatError
        If the file is not TOML.
    """
    if isinstance(recipe, Recipe):
        return recipe
    name = os.fspath(recipe)
    path = Path(name)
    if name in _shipped():
        text = (importlib.resources.files("gossamer.compress") / "recipes" / f"{name}.toml").read_text()
    elif path.suffix == ".toml" and path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        raise unknown_choice("recipe", name, [*_shipped(), "a path of a .toml file"])
    try:
        config = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"{name}: not a TOML file ({error})") from None
    return Recipe.from_config(config, path.stem)


def parse_size(size: str | int | float) -> int:
    """Bytes from ``"45MB"`` (decimal), ``"45MiB"`` or a number."""
    if isinstance(size, str):
        text = size.strip().lower().replace(" ", "")
        units = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9, "b": 1}
        unit = next((u for u in units if text.endswith(u)), "")
        try:
            return check_int("target_size", round(float(text.removesuffix(unit)) * units.get(unit, 1)), low=1)
        except ValueError:
            raise ArgumentError(f"target_size={size!r}: expected bytes, such as '45MB' or 45000000") from None
    return check_int("target_size", round(size), low=1)


def parse_loss(loss: str | float) -> float:
    """A fraction from ``"5%"`` or ``0.05``."""
    try:
        value = (
            float(loss.strip().removesuffix("%")) / 100
            if isinstance(loss, str) and "%" in loss
            else float(loss)
        )
    except ValueError:
        raise ArgumentError(f"max_loss={loss!r}: expected a fraction, such as '5%' or 0.05") from None
    return check_float("max_loss", value, low=0, closed="neither")


def _shipped() -> list[str]:
    folder = importlib.resources.files("gossamer.compress") / "recipes"
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def _table(config: Mapping[str, Any], key: str, settings: Any) -> dict[str, Any]:
    table = config.get(key, {})
    check_keys(f"{key} key", table, [f.name for f in fields(settings)])
    return dict(table)


def _tables(config: Mapping[str, Any], key: str) -> list[Any]:
    tables = config.get(key, [])
    if not isinstance(tables, list):
        raise ArgumentError(f"{key}: expected an array of tables, written [[{key}]]")
    return tables


def _budget(config: Mapping[str, Any]) -> Budget:
    table = _table(config, "budget", Budget)
    return Budget(
        max_loss=parse_loss(table["max_loss"]) if "max_loss" in table else None,
        target_size=parse_size(table["target_size"]) if "target_size" in table else None,
    )


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        given = {key: item for key, item in value.items() if item is not None}  # TOML has no null: left out
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in given.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
