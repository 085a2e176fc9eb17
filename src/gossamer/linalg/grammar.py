"""Families written as text, the way they are written in Python: ``"NM(2, 4).quantized(bits=4) + LowRank(32)"``."""

from __future__ import annotations

import ast
from dataclasses import fields
from typing import Any

import gossamer.linalg as linalg
from gossamer._core.errors import ArgumentError, unknown_choice
from gossamer.linalg.structure import Structure


def parse_structure(text: str) -> Structure:
    """Build a family from an expression of constructors, ``.quantized(...)``, ``+`` and ``@``; nothing else is run.

    Parameters
    ----------
    text : str
        Such as ``"GroupQuant(bits=3) + LowRank(32)"``.

    Raises
    ------
    ArgumentError
        For anything that is not such an expression, and unknown families (naming the nearest).

    Examples
    --------
    >>> from gossamer.linalg import parse_structure
    >>> parse_structure("GroupQuant(bits=3) + LowRank(32)").terms[1].rank
    32
    """
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        raise ArgumentError(
            f"structure={text!r}: expected an expression such as 'NM(2, 4) + LowRank(8)'"
        ) from None
    value = _build(tree.body, text)
    if not isinstance(value, Structure):
        raise ArgumentError(f"structure={text!r}: expected a family, got {value!r}")
    return value


def format_structure(structure: Structure) -> str:
    """The expression that :func:`parse_structure` reads back, without what is the default.

    Parameters
    ----------
    structure : Structure
        A family, or a sum or product of families.

    Examples
    --------
    >>> from gossamer.linalg import GroupQuant, LowRank, format_structure
    >>> format_structure(GroupQuant(bits=3) + LowRank(32))
    'GroupQuant(bits=3) + LowRank(rank=32)'
    """
    if isinstance(structure, linalg.Sum):
        return " + ".join(map(format_structure, structure.terms))
    given = [
        f"{field.name}={value!r}"
        for field in fields(structure)
        if (value := getattr(structure, field.name)) != field.default
    ]
    return f"{type(structure).__name__}({', '.join(given)})"


def _build(node: ast.AST, text: str) -> Any:
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.MatMult)):
        left, right = _build(node.left, text), _build(node.right, text)
        if isinstance(left, Structure) and isinstance(right, Structure):
            return left + right if isinstance(node.op, ast.Add) else left @ right
    if isinstance(node, ast.Call):
        arguments = [_build(argument, text) for argument in node.args]
        options = {str(k.arg): _build(k.value, text) for k in node.keywords}
        try:
            if isinstance(node.func, ast.Name):
                return _family(node.func.id)(*arguments, **options)
            if isinstance(node.func, ast.Attribute) and node.func.attr == "quantized":
                return _build(node.func.value, text).quantized(*arguments, **options)
        except (TypeError, AttributeError) as error:
            raise ArgumentError(f"structure={text!r}: {error}") from None
    if isinstance(node, ast.Tuple):
        return tuple(_build(item, text) for item in node.elts)
    if isinstance(node, ast.Constant):
        return node.value
    raise ArgumentError(f"structure={text!r}: {ast.unparse(node)!r} is no part of a family")


def _family(name: str) -> Any:
    families = [
        n for n in linalg.__all__ if isinstance(c := getattr(linalg, n), type) and issubclass(c, Structure)
    ]
    if name not in families or name == "Structure":
        raise unknown_choice("structure", name, families)
    return getattr(linalg, name)
