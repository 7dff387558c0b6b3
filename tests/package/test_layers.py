"""Who may import whom: the table, and every module held to it.

A part is a module of the package, or a folder of modules that stands for one. It imports nothing from its own
layer, from the others what the table says; and each outside thing has its home.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "services" / "syncdaemon"

LAYERS = {
    "values": {"errors", "model", "packing", "units"},
    "decisions": {
        "appetite",
        "backlog",
        "batching",
        "chain",
        "chunks",
        "diagnosis",
        "doubt",
        "incoming",
        "message",
        "pace",
        "reconcile",
        "settings",
        "settle",
        "timetable",
        "verdict",
    },
    "ground": {"disk", "lease"},
    "edges": {
        "fetch",
        "history",
        "ledger",
        "link",
        "metrics",
        "objects",
        "presence",
        "publish",
        "put",
        "spool",
        "stream",
        "verify",
        "web",
    },
    "order": {"deliver", "recheck"},
    "wiring": {
        "daemon",
        "dev",
        "devserver",
        "doctor",
        "parts",
        "receive",
        "report",
        "stocktake",
        "tasks",
    },
    "door": {"__main__", "cli"},
}
MAY_IMPORT: dict[str, set[str]] = {
    "values": set(),
    "decisions": LAYERS["values"],
    "ground": set(),
    "edges": LAYERS["values"] | LAYERS["decisions"] | LAYERS["ground"],
    "order": LAYERS["values"] | LAYERS["decisions"],  # the edges are handed in
    "wiring": LAYERS["values"] | LAYERS["decisions"] | LAYERS["ground"] | LAYERS["edges"] | LAYERS["order"],
    "door": LAYERS["values"] | LAYERS["decisions"] | LAYERS["edges"] | LAYERS["order"] | LAYERS["wiring"],
}
MAY_IMPORT_TOO = {
    "__main__": {"cli"},
    "daemon": {"parts", "report", "tasks"},
    "doctor": {"parts"},
    "dev": {"daemon", "devserver"},  # the daemon and a server, for one another
    "fetch": {"history", "link"},
    "history": {"link"},
    "incoming": {"message"},  # which writes the headers that this reads
    "objects": {"link"},
    "presence": {"history", "link", "stream"},
    "publish": {"history", "link", "stream"},  # the lane opens when the stream is prepared
    "receive": {"disk", "parts", "tasks"},
    "settings": {"timetable"},  # one value that is a small language
    "stream": {"link"},
    "verify": {"ledger"},  # reads what it wrote
}

HOMES = {
    "aiohttp": {"web", "cli"},
    "nats": {"link"},
    "prometheus_client": {"metrics", "receive"},
    "signal": {"daemon", "devserver"},
    "watchfiles": {"spool"},
    "zstandard": {"packing", "receive"},
}
# Time and the outside come to a decision as arguments: so it can be tested with neither sleep nor mock.
NOT_IN_DECISIONS = {"asyncio", "os", "socket", "time"}


def part_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if part_of(path) != "__init__")


def parts() -> set[str]:
    return {part_of(path) for path in modules()}


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported anywhere in a module, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for name in node.names:
                yield node.lineno, f"{base}.{name.name}"


def breaches(part: str, source: str, all_parts: set[str]) -> Iterator[str]:
    layer = next(name for name, members in LAYERS.items() if part in members)
    allowed = MAY_IMPORT[layer] | MAY_IMPORT_TOO.get(part, set()) | {part}
    for line, name in imports(source):
        top, _, below = name.partition(".")
        if not top:
            yield f"line {line}: {name}: imports are absolute here"
        elif top == "services":
            yield f"line {line}: {name}: say syncdaemon: this would make a second copy of the package"
        elif top == "syncdaemon":
            ours = below.partition(".")[0]
            if ours in all_parts | set().union(*LAYERS.values()) and ours not in allowed:
                yield f"line {line}: {part} ({layer}) may not import {ours}"
        elif part not in HOMES.get(top, {part}):
            yield f"line {line}: {top} has its home in {' and '.join(sorted(HOMES[top]))}, not in {part}"
        elif layer == "decisions" and top in NOT_IN_DECISIONS:
            yield f"line {line}: {part} decides, so it may not import {top}"


def test_every_module_has_its_place_in_the_table() -> None:
    unknown = parts() - set().union(*LAYERS.values())
    assert not unknown, f"add {sorted(unknown)} to LAYERS in {Path(__file__).name}, each where it belongs"


def test_no_part_is_in_two_layers() -> None:
    assert sum(map(len, LAYERS.values())) == len(set().union(*LAYERS.values()))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_table(path: Path) -> None:
    part = part_of(path)
    if not any(part in members for members in LAYERS.values()):
        pytest.fail(f"{part} is not in LAYERS yet")
    found = dict.fromkeys(breaches(part, path.read_text(encoding="utf-8"), parts()))  # a line says it once
    assert list(found) == []


def test_the_package_itself_imports_nothing() -> None:
    assert list(imports((PACKAGE / "__init__.py").read_text(encoding="utf-8"))) == []


def test_services_is_a_folder_and_no_package() -> None:
    assert not (PACKAGE.parent / "__init__.py").exists()


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("errors", "from syncdaemon import model"),
        ("chain", "import os"),
        ("chain", "from os import path"),
        ("settle", "def now():\n    from time import time"),
        ("settle", "from syncdaemon import pace"),
        ("ledger", "from syncdaemon import publish"),
        ("ledger", "from syncdaemon.publish import Publisher"),
        ("ledger", "import syncdaemon.publish"),
        ("ledger", "from . import chain"),
        ("ledger", "from services.syncdaemon import chain"),
        ("publish", "import nats.js"),
        ("link", "from syncdaemon import publish"),
        ("deliver", "from syncdaemon import spool"),
        ("daemon", "from syncdaemon import cli"),
        ("daemon", "from watchfiles import awatch"),
        ("cli", "import signal"),
    ],
)
def test_a_planted_breach_is_found(part: str, source: str) -> None:
    assert len(list(breaches(part, source, parts()))) == 1


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("chain", "import json\nfrom syncdaemon.base.errors import SyncError"),
        ("publish", "import asyncio\nfrom syncdaemon import link, model"),
        ("spool", "from syncdaemon.spool import watch\nfrom syncdaemon import __version__"),
        ("link", "from nats.aio.client import Client"),
        ("__main__", "from syncdaemon.cli import main"),
    ],
)
def test_what_the_table_allows_is_let_through(part: str, source: str) -> None:
    assert list(breaches(part, source, parts())) == []
