"""The picture of the README: a screen of the program as it is now, and nothing of the machine that drew it."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

import pytest

from syncdaemon import __version__
from syncdaemon.cli import app

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/pictures/status.svg"
REPORT = ROOT / "services/syncdaemon/daemon/report.py"
DRAIN = ROOT / "services/syncdaemon/cli/work/drain.py"
AGAIN = "the program prints something else by now: make screenshots"


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """What the picture's terminal shows."""
    by_height: defaultdict[str, str] = defaultdict(str)
    for element in ElementTree.parse(PICTURE).iter("{http://www.w3.org/2000/svg}text"):
        by_height[element.get("y", "title")] += (element.text or "").replace("\xa0", " ")
    return [text.rstrip() for text in by_height.values()]


def report_names() -> set[str]:
    """What the status always has, as the table of `status` writes it."""
    (status,) = (
        node
        for node in ast.walk(ast.parse(REPORT.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == "status"
    )
    (shown,) = (node.value for node in ast.walk(status) if isinstance(node, ast.Return))
    assert isinstance(shown, ast.Dict)
    return {str(key.value).replace("_", " ") for key in shown.keys if isinstance(key, ast.Constant)}


def test_the_readme_shows_it() -> None:
    shown = re.findall(r"^!\[[^\]]+\]\((.+)\)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert shown == [PICTURE.relative_to(ROOT).as_posix()]


def test_it_shows_the_present_program(lines: list[str]) -> None:
    """The commands, every name of the status and no other, the version, and the sentence at a drain's end."""
    typed = [line.split()[2] for line in lines if line.startswith("$ syncdaemon ")]
    assert typed == ["put", "status", "drain"]
    assert set(typed) <= {command.callback.__name__ for command in app.registered_commands if command.callback}
    table = lines[lines.index("$ syncdaemon status") + 1 : lines.index("$ syncdaemon drain")]
    rows = dict(re.split(r"\s{2,}", f"{line.strip()}  ", maxsplit=1) for line in table if line[1] != " ")
    assert rows.keys() == report_names(), AGAIN
    assert rows["version"].strip() == __version__, AGAIN
    said = re.fullmatch(r"3 (files delivered \()7200( bytes\) in )\d.\d s", lines[-1])
    assert said, AGAIN
    assert all(words in DRAIN.read_text(encoding="utf-8") for words in said.groups()), AGAIN


def test_it_shows_nothing_of_the_machine_that_drew_it_and_loads_nothing(lines: list[str]) -> None:
    """A page that shows it must not call a third server."""
    text = PICTURE.read_text(encoding="utf-8")
    paths = set(re.findall(r"(?<![\w:/.])/\w[\w./-]*", "\n".join(lines)))
    assert {path for path in paths if not path.startswith("/agentforge/replay")} == set()
    assert re.findall(r"url\((?!#)|@import|<image|<script|href", text) == []
