"""The shape of the code: sizes, constructors, and how far one part reaches into another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "services" / "syncdaemon"
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}

MODULE_LINES = 250
CLASS_LINES = 150
BY_POSITION = 5  # arguments of a constructor, `self` apart
REASON = "lines because"  # "The class has more than 150 lines because": a docstring says why it may be longer
DOTS = 2  # `part.piece.value` and `self.part.value`: what lies further away is asked of the part


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def too_long(source: str) -> Iterator[str]:
    """The module and its classes that are too long, and do not say why."""
    tree = ast.parse(source)
    lines = len(source.splitlines())
    if lines > MODULE_LINES and not says_why(tree):
        yield f"the module has {lines} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > CLASS_LINES and not says_why(node):
                yield f"{node.name} has {lines} lines"


def says_why(node: ast.Module | ast.ClassDef) -> bool:
    """Whether the docstring has a sentence about the length."""
    return REASON in " ".join((ast.get_docstring(node) or "").split())


def too_many_arguments(source: str) -> Iterator[str]:
    """Constructors that take too much by position."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                    count = len(item.args.posonlyargs) + len(item.args.args) - 1
                    if count > BY_POSITION:
                        yield f"{node.name} takes {count} arguments by position"


def lambda_parts(source: str) -> Iterator[str]:
    """Lambdas that are handed to a constructor, or are the default of a constructor's argument."""
    for node in ast.walk(ast.parse(source)):
        values: list[ast.expr | None] = []
        if isinstance(node, ast.Call) and name_of(node.func)[:1].isupper():
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
        elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
            values = [*node.args.defaults, *node.args.kw_defaults]
        for value in values:
            if isinstance(value, ast.Lambda):
                yield f"line {value.lineno}: a lambda is a part here"


def name_of(called: ast.expr) -> str:
    """The last name of what is called."""
    if isinstance(called, ast.Attribute):
        return called.attr
    return called.id if isinstance(called, ast.Name) else ""


def reaches_through(source: str) -> Iterator[str]:
    """Chains of attributes from one part through others; a module's own name does not count."""
    tree = ast.parse(source)
    modules = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            chain = [node.attr]
            below: ast.expr = node.value
            while isinstance(below, ast.Attribute):
                chain.insert(0, below.attr)
                below = below.value
            if isinstance(below, ast.Name) and below.id not in modules and len(chain) > DOTS:
                yield f"line {node.lineno}: {below.id}.{'.'.join(chain)}"


@pytest.mark.parametrize("module", MODULES)
def test_a_long_module_or_class_says_why(module: str) -> None:
    assert list(too_long(MODULES[module].read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("module", MODULES)
def test_a_constructor_takes_little_by_position_and_no_lambda(module: str) -> None:
    source = MODULES[module].read_text(encoding="utf-8")
    assert [*too_many_arguments(source), *lambda_parts(source)] == []


@pytest.mark.parametrize("module", MODULES)
def test_nothing_reaches_through_three_dots(module: str) -> None:
    assert list(reaches_through(MODULES[module].read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("find", "source"),
    [
        (too_long, '"""Short."""\n' + "x = 1\n" * MODULE_LINES),
        (too_long, "class A:\n" + "    x = 1\n" * CLASS_LINES),
        (too_many_arguments, "class A:\n    def __init__(self, a, b, c, d, e, f): ..."),
        (lambda_parts, "Part(lambda: 1)"),
        (lambda_parts, "module.Part(key=lambda: 1)"),
        (lambda_parts, "class A:\n    def __init__(self, a=lambda: 1): ..."),
        (reaches_through, "self.part.piece.value"),
        (reaches_through, "part.piece.value.more()"),
    ],
)
def test_a_planted_breach_is_found(find: object, source: str) -> None:
    assert callable(find)
    assert len(list(find(source))) == 1


@pytest.mark.parametrize(
    ("find", "source"),
    [
        (too_long, f'"""Long.\n\nMore than 250\n{REASON} it is one table."""\n' + "x = 1\n" * MODULE_LINES),
        (too_many_arguments, "class A:\n    def __init__(self, a, b, c, d, e, *, f): ..."),
        (lambda_parts, "sorted(files, key=lambda one: one.size)"),
        (reaches_through, "import os\nos.path.sep.join([])\nself.part.value\npart.piece.value"),
    ],
)
def test_what_is_allowed_is_let_through(find: object, source: str) -> None:
    assert callable(find)
    assert list(find(source)) == []
