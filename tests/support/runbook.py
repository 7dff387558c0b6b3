"""A page of the operator, docs/OPERATIONS.md above all, as its tests see it: sections, and the commands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/OPERATIONS.md").read_text(encoding="utf-8")
MAINTENANCE = (ROOT / "docs/MAINTENANCE.md").read_text(encoding="utf-8")

_BLOCK = re.compile(r"^ *```(\w+)( run)?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"^(#+) (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language, whether it is marked `run`, its lines, and the section that it stands in."""

    language: str
    runs: bool
    text: str
    section: str


def titles(page: str = PAGE) -> list[str]:
    """Every title of the page."""
    return [title for _, title in _TITLE.findall(_BLOCK.sub("", page))]


def anchor(title: str) -> str:
    """What a link to this title is called, the way GitHub makes it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def blocks(page: str = PAGE) -> Iterator[Block]:
    """All of them, in their order."""
    for part in re.split(r"^(?=## )", page, flags=re.MULTILINE):
        section = part.partition("\n")[0].lstrip("# ")
        for language, run, text in _BLOCK.findall(part):
            yield Block(language, bool(run), dedent(text), section)


def commands(page: str = PAGE) -> Iterator[str]:
    """Every line of every block; one that is continued is one."""
    for block in blocks(page):
        yield from (line for line in re.sub(r"[|\\]\n\s*", "| ", block.text).splitlines() if line.strip())
