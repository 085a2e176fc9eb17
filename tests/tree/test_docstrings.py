"""Every public name explains itself: a sentence, and each parameter."""

import ast
import dataclasses
import importlib
import inspect
import itertools
import pkgutil
import re
import textwrap

import pytest

import gossamer


def public_names():
    """What the rooms export; a chapter's own re-exports serve its room."""
    yield from (f"gossamer.{name}" for name in gossamer.__all__)
    for module in pkgutil.iter_modules(gossamer.__path__, "gossamer."):
        if module.ispkg and not module.name.startswith("gossamer._"):
            room = importlib.import_module(module.name)
            yield from (f"{module.name}.{name}" for name in getattr(room, "__all__", ()))


PUBLIC = sorted(public_names())


def resolve(path):
    room, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(room), name)


def fields_with_a_line_of_their_own(cls):
    """Fields that a string right below them describes."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body
    return {
        field.target.id
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


@pytest.mark.parametrize("path", PUBLIC)
def test_the_first_line_is_a_sentence(path):
    thing = resolve(path)
    if not (inspect.isclass(thing) or inspect.isroutine(thing) or inspect.ismodule(thing)):
        return  # a constant or a type alias: its room describes it
    text = inspect.cleandoc(thing.__doc__ or "")
    first = text.split("\n\n")[0]
    assert first, "no docstring"
    assert re.search(r"[.:]$", first), f"the docstring does not start with a sentence: {first!r}"
    assert not re.match(rf"{re.escape(thing.__name__)}\(", first), (
        "a dataclass that describes itself by its signature"
    )


@pytest.mark.parametrize("path", PUBLIC)
def test_a_function_with_several_parameters_documents_each(path):
    function = resolve(path)
    if not inspect.isfunction(function):
        return
    parameters = [p for p in inspect.signature(function).parameters.values() if not p.name.startswith("_")]
    text = inspect.cleandoc(function.__doc__ or "")
    if len(parameters) <= 1:
        return  # its one sentence can do it
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", text, re.M | re.S)
    assert section, "no section Parameters"
    described = set(re.findall(r"[\w]+", " ".join(re.findall(r"^(\S.*?)(?: : .*)?$", section[1], re.M))))
    missing = [p.name for p in parameters if p.name not in described]
    assert not missing, f"not described: {missing}"


@pytest.mark.parametrize("path", PUBLIC)
def test_a_class_documents_its_fields_and_public_methods(path):
    cls = resolve(path)
    if not inspect.isclass(cls):
        return
    if dataclasses.is_dataclass(cls):
        described = set(re.findall(r"\w+", cls.__doc__ or "")) | fields_with_a_line_of_their_own(cls)
        own = inspect.get_annotations(cls)
        missing = [f.name for f in dataclasses.fields(cls) if f.name in own and f.name not in described]
        assert len(own) <= 3 or not missing, f"fields not described: {missing}"
    for name, member in vars(cls).items():
        if name.startswith("_") or not (
            inspect.isfunction(member) or isinstance(member, (property, classmethod))
        ):
            continue
        inherited = any(getattr(base, name, None) is not None for base in cls.__mro__[1:-1])
        documented = inspect.getdoc(getattr(cls, name))
        assert documented or inherited, f"{name} has no docstring"
