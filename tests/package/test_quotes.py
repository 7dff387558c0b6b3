"""What the documents quote of the code stands in the code: pieces of code, files, and names with a dot."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent, indent
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "services" / "syncdaemon"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

ENDINGS = {
    "creds",
    "deb",
    "env",
    "json",
    "md",
    "pem",
    "py",
    "service",
    "sh",
    "yaml",
}  # of a file, where a name with a dot is one
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)


class Quote(NamedTuple):
    """A piece of code on a page, and the paragraph before it, which has to say where it stands."""

    page: str
    code: str
    before: str


def quotes() -> Iterator[Quote]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in _BLOCK.finditer(text):
            before = text[: found.start()].rstrip().rpartition("\n\n")[2]
            yield Quote(page.name, found[1], before)


def named(pattern: str) -> set[tuple[str, str]]:
    """Page and name of all that is set as code in running text and looks like this."""
    found = set()
    for page in PAGES:
        text = _FENCE.sub("", page.read_text(encoding="utf-8"))
        found |= {(page.name, name) for name in re.findall(rf"`({pattern})`", text)}
    return found


def function(path: Path, qualified: str) -> ast.FunctionDef | ast.AsyncFunctionDef:
    """The function or method of that name. Raises LookupError where there is none."""
    body: list[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
    node: ast.stmt | None = None
    for name in qualified.split("."):
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        node = next((one for one in body if isinstance(one, kinds) and one.name == name), None)
        if not isinstance(node, kinds):
            raise LookupError(f"{path.relative_to(ROOT)} has no {qualified}")
        body = node.body
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef), f"{qualified} is no function"
    return node


def stands_in(code: str, where: ast.AST) -> bool:
    """Whether these statements stand there one right after another. Layout and comments do not count."""
    wrapped = ast.parse("async def quoted():\n" + indent(dedent(code), "    ")).body[0]
    assert isinstance(wrapped, ast.AsyncFunctionDef)
    wanted = [ast.dump(statement) for statement in wrapped.body]
    for node in ast.walk(where):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            dumps = [ast.dump(statement) for statement in block] if isinstance(block, list) else []
            if any(dumps[at : at + len(wanted)] == wanted for at in range(len(dumps))):
                return True
    return False


def test_there_is_a_quote_to_hold() -> None:
    assert len(list(quotes())) >= 2


@pytest.mark.parametrize("quote", list(quotes()), ids=lambda quote: f"{quote.page}: {quote.code.splitlines()[0]}")
def test_every_quoted_piece_of_code_stands_where_the_page_says(quote: Quote) -> None:
    """The paragraph before it names the file and the function, both set as code."""
    files = re.findall(r"`([\w/]+\.py)`", quote.before)
    functions = re.findall(r"`((?:\w+\.)?[a-z_]\w*)`", quote.before)
    assert files, f"{quote.page}: which file is this of? {quote.before!r}"
    assert functions, f"{quote.page}: which function is this of? {quote.before!r}"
    assert stands_in(quote.code, function(PACKAGE / files[-1], functions[-1]))


def test_every_file_of_code_that_is_named_is_there() -> None:
    """From the root of the repository, from the package, or from the folder that the sentence speaks of."""
    names = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    missing = {
        (page, name)
        for page, name in named(r"[\w./-]+\.py")
        if not (ROOT / name).exists() and not any(f"/{known}".endswith(f"/{name}") for known in names)
    }
    assert missing == set()


def test_every_attribute_that_is_named_is_there() -> None:
    """`Class.method` and `module.function`."""
    known: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = path.parent.name if path.name == "__init__.py" else path.stem
        known.setdefault(module, set()).update(attributes(tree.body))
        known.setdefault(path.parent.name, set()).add(path.stem)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                known.setdefault(node.name, set()).update(attributes(node.body))
    wrong = set()
    for page, name in named(r"[A-Za-z_]\w*\.[A-Za-z_]\w*"):
        owner, _, attribute = name.partition(".")
        if owner in known and attribute not in ENDINGS and attribute not in known[owner]:
            wrong.add((page, name))
    assert wrong == set()


def attributes(body: list[ast.stmt]) -> Iterator[str]:
    """What a module or a class defines, and what it assigns to `self`."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name))
        elif isinstance(node, ast.ImportFrom | ast.Import):
            yield from (alias.asname or alias.name for alias in node.names)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "self":
                    yield inner.attr


@pytest.mark.parametrize(
    ("code", "stands"),
    [
        ("await self._retire(known + receipts)", True),
        ("await self._retire(known + receipts)  # only now", True),
        ("await self._retire(receipts + known)", False),
        ("known, fresh, refusals = self._sort(batch)\nawait self._retire(known + receipts)", False),
    ],
)
def test_a_quote_is_held_to_the_letter(code: str, stands: bool) -> None:
    """But for layout and comments; and what stands apart in the code may not stand together on the page."""
    assert stands_in(code, function(PACKAGE / "deliver/__init__.py", "Delivery.deliver")) is stands
