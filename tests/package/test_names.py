"""A name means one thing."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "services" / "syncdaemon"


def test_a_class_name_stands_once_in_the_package() -> None:
    """So that a reader who meets it need not ask which one is meant."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(PACKAGE)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_module_beside_a_script_hides_one_of_the_standard_library() -> None:
    """A script that is run by its path finds what lies beside it first, and so does all that it imports."""
    beside = [path for folder in ("tests/support", "scripts", "benchmarks") for path in (ROOT / folder).glob("*.py")]
    assert beside
    assert [path for path in beside if path.stem in sys.stdlib_module_names] == []
