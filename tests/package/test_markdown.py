"""The documents read well in any editor: no line of prose is longer than 120 columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WIDTH = 120
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/*.md",
    "docs/decisions/*.md",
    "k8s/**/*.md",
)
FENCES = ("```", "~~~")


def pages() -> list[str]:
    """Every document, below the root of the project."""
    found = {path.relative_to(ROOT).as_posix() for pattern in PAGES for path in ROOT.glob(pattern)}
    return sorted(found)


def prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines with their numbers, without fenced code and tables, which can't be wrapped."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        start = line.lstrip()
        if fence:
            fence = "" if start.startswith(fence) else fence
        elif start.startswith(FENCES):
            fence = start[:3]
        elif not start.startswith("|"):
            yield number, line


@pytest.mark.parametrize("page", pages())
def test_prose_wraps(page: str) -> None:
    """Only a line of one word, such as a long link, may be longer: there is no place to wrap it."""
    lines = prose((ROOT / page).read_text(encoding="utf-8"))
    long = [(number, len(line)) for number, line in lines if len(line) > WIDTH and " " in line.lstrip("- >*").strip()]
    assert long == []


def test_code_and_tables_are_no_prose() -> None:
    """A fence ends with the marks that it began with."""
    text = "one\n```\ncode\n~~~\n```\ntwo\n  ~~~sh\ncode\n~~~\n| a | b |\nthree"
    assert list(prose(text)) == [(1, "one"), (6, "two"), (11, "three")]
