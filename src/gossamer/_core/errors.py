"""Errors. A message names the argument, its value, what is allowed and the nearest valid choice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class GossamerError(Exception):
    """Base class of every error that gossamer raises on purpose."""


class ArgumentError(GossamerError, ValueError):
    """An argument has a value outside its allowed range."""


class ShapeError(ArgumentError):
    """The shapes of the arguments do not fit together."""


class UnsupportedError(GossamerError, TypeError):
    """The argument's type, or a module in it, is not one that this function handles."""


class FormatError(GossamerError, ValueError):
    """A file is truncated, damaged, of another version, or not what its name says."""


class BoundError(ArgumentError):
    """No approximation within the limits that were set keeps the error that was asked for.

    Attributes
    ----------
    R : float
        Largest magnitude that the argument of the approximated function can take.
    needed : int
        Terms that the error asked for takes at most.
    """

    def __init__(self, message: str, R: float = float("nan"), needed: int = 0) -> None:
        super().__init__(message)
        self.R, self.needed = R, needed


class CostError(ArgumentError, MemoryError):
    """The work asked for would take so long, or so much memory, that it wants to be asked for explicitly."""


class ConflictError(GossamerError, RuntimeError):
    """Somebody else is writing the same thing, or has written it since it was read."""


class MissingDataError(GossamerError, FileNotFoundError):
    """A model or data set that gossamer does not bring is needed and not on this machine."""


class MissingDependencyError(GossamerError, ImportError):
    """An optional package is needed and not installed."""


def bad_argument(name: str, value: Any, expected: str, hint: str = "") -> ArgumentError:
    """Build an :class:`ArgumentError` in the house's wording."""
    return ArgumentError(f"{name}={value!r}: expected {expected}{'; ' + hint if hint else ''}")


def unknown_choice(name: str, value: Any, choices: Iterable[Any]) -> ArgumentError:
    """Build the error for a value outside a closed set, naming the nearest member."""
    options = [str(choice) for choice in choices]
    near = difflib.get_close_matches(str(value), options, n=1)
    return bad_argument(
        name, value, "one of " + ", ".join(options), f"did you mean {near[0]!r}?" if near else ""
    )
