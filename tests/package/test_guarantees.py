"""Every test that the pages of guarantees and of threats name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("GUARANTEES", "THREATS")


def text_of(page: str) -> str:
    """What the page says."""
    return (ROOT / "docs" / f"{page}.md").read_text()


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page: str) -> None:
    """A promise whose test was renamed or removed is no promise."""
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", text_of(page)))
    assert len(named) > 20
    assert {name for name in named if not re.search(rf"def {name}\(", sources)} == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_module_that_is_named_exists(page: str) -> None:
    """The same for whole files."""
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", text_of(page)))
    assert {name for name in named if not (ROOT / name).exists()} == set()
