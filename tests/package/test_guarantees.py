"""Every test that the page of guarantees names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "GUARANTEES.md").read_text()


def test_every_test_that_is_named_exists() -> None:
    """A promise whose test was renamed or removed is no promise."""
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 20
    assert {name for name in named if not re.search(rf"def {name}\(", sources)} == set()


def test_every_module_that_is_named_exists() -> None:
    """The same for whole files."""
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))
    assert {name for name in named if not (ROOT / name).exists()} == set()
