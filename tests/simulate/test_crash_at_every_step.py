"""The process dies at every step of a file's way, and the next one keeps the promises.

The steps are those of the table of states: before and after each of them a file is in another state. One level
below, a process dies at every single call that changes the disk, and in the middle of what it writes.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.simulate.edge import MAX_PAYLOAD, TOO_LONG, Death, Edge

STEPS = ("scan", "read", "large", "objects", "send", "store", "ack", "ledger", "retire", "delete", "quarantine")
WAYS: dict[str, dict[str, Any]] = {
    "let go of": {"SYNC_HOLD_SECONDS": "0"},
    "held": {"SYNC_HOLD_SECONDS": "150"},
    "archived": {"SYNC_AFTER": "archive"},
    "published in batches": {"batches": True, "SYNC_HOLD_SECONDS": "0"},
}
FILES = {
    "plain.bin": b"plain",
    "copy of plain.bin": b"plain",
    "empty": b"",
    "2026/11/ä%20\n.bin": b"in a folder",
    "2026/11/again": b"in a folder",
    "large.bin": b"l" * (MAX_PAYLOAD + 1),
    "2026/large.bin": b"L" * (2 * MAX_PAYLOAD + 1),
    "2026/copy of large.bin": b"L" * (2 * MAX_PAYLOAD + 1),
    "nearly too large": b"n" * (MAX_PAYLOAD - 500),
    TOO_LONG: b"refused",
}


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What becomes of delivered files."""
    return WAYS[request.param]


def dies(folder: Path, way: dict[str, Any], death: Death) -> bool:
    """Files are dropped, a process dies, the next one delivers; whether the first one came to its death at all."""
    with Edge(folder, **way) as edge:
        for name, data in FILES.items():
            edge.drop(name, data)
        died = edge.drain(death)
        assert not edge.drain()
        edge.check()
        return died


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_a_step(tmp_path: Path, way: dict[str, Any], step: str, when: str) -> None:
    """At the first time that the step is taken, at the second, and so on until it is taken no more."""
    for nth in count(1):
        if not dies(tmp_path / str(nth), way, Death(step, when, nth)):
            break
    assert nth > 1 or (step == "delete" and way.get("SYNC_HOLD_SECONDS") != "0"), "it was never taken"


@pytest.mark.parametrize("when", ["before", "within", "after"])
def test_a_crash_at_a_call_that_changes_the_disk(tmp_path: Path, way: dict[str, Any], when: str) -> None:
    """Each rename, each folder, each write of a row: before it, in the middle of it, after it."""
    for nth in count(1):
        if not dies(tmp_path / str(nth), way, Death("disk", when, nth)):
            break
    assert nth > 5
