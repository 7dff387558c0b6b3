"""Refused files go back on their way, and the process dies at any step of that."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from urllib.parse import quote

import pytest

from syncdaemon.base.model import Content, Refusal
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.moves import stamp_of
from syncdaemon.spool.quarantine import Quarantine, entries
from syncdaemon.spool.requeue import ask, carry_out
from tests.simulate.edge import Death, Edge, digest
from tests.support.replay import own

REFUSED = {"a.bin": b"one", "2026/ä%20\n.bin": b"two", "b.bin": b"three"}
TAKEN = "b.bin"  # the name is used again before its first file comes back


def refuse(edge: Edge) -> ReplayDirectory:
    """These files were dropped and set aside; and one name is taken again."""
    directory = ReplayDirectory(os.fsencode(edge.replay))
    directory.open()
    for name, data in REFUSED.items():
        edge.drop(name, data)
        path = os.fsencode(name)
        stamp = stamp_of(path, directory.root)
        assert stamp is not None
        content = Content(path, quote(name), stamp, None, digest(data), 1)
        Quarantine(directory).set_aside(
            Refusal(content, "subject_taken", "another's"), edge.now_text(), edge.now_text()
        )
    directory.close()
    edge.drop(TAKEN, b"another")
    return directory


def asked(directory: ReplayDirectory) -> None:
    """By the command, beside a running daemon or before its start."""
    directory.reach()
    ask(directory, entries(directory))


def done(directory: ReplayDirectory) -> None:
    """By the command, where no daemon runs: the row is left to the next start."""
    asked(directory)
    carry_out(directory)


def check(edge: Edge, directory: ReplayDirectory) -> None:
    """All is delivered once; every file has its row, before the one of its delivery; nothing is left behind."""
    assert edge.surprises == []
    assert edge.waiting() == []
    assert sorted(message.data for message in edge.history()) == sorted([b"another", *REFUSED.values()])
    directory.reach()
    assert entries(directory) == []
    assert os.listdir(own(directory, b"quarantine")) == os.listdir(own(directory, b"requeue")) == []
    rows = edge.rows("requeued", "published")
    for name, data in REFUSED.items():
        events = [row["event"] for row in rows if row["sha256"] == digest(data)]
        assert events[0] == "requeued"
        assert events.count("published") == 1
        (now,) = {row["path"] for row in rows if row["event"] == "published" and row["sha256"] == digest(data)}
        requeued = [row for row in rows if row["event"] == "requeued" and row["sha256"] == digest(data)]
        assert {row["path"] for row in requeued} == {quote(name)}
        assert {row.get("to", row["path"]) for row in requeued} == {now}
        assert (now == quote(name)) == (name != TAKEN)


@pytest.mark.parametrize("order", [asked, done])
@pytest.mark.parametrize("when", ["before", "within", "after"])
def test_a_crash_at_a_call_that_changes_the_disk(
    tmp_path: Path, when: str, order: Callable[[ReplayDirectory], None]
) -> None:
    """Of the process that finds the orders at its start."""
    for nth in count(1):
        edge = Edge(tmp_path / str(nth))
        directory = refuse(edge)
        order(directory)
        with edge:
            died = edge.drain(Death("disk", when, nth))
            assert not edge.drain()
            check(edge, directory)
        if not died:
            break
    assert nth > 5


def test_a_running_daemon_finds_an_order_in_a_moment(tmp_path: Path) -> None:
    """And its count of refused files follows."""
    edge = Edge(tmp_path)
    directory = refuse(edge)
    with edge:
        edge.do(beside(edge, directory))
        check(edge, directory)


async def beside(edge: Edge, directory: ReplayDirectory) -> None:
    """The command comes while the daemon runs."""
    life = edge.begin()
    await life.daemon.tally.first_receipt.wait()
    assert life.daemon.metrics.value("syncdaemon_quarantined_files") == len(REFUSED)
    asked(directory)
    await asyncio.sleep(60.0)  # of the machine's own time
    assert life.daemon.tally.delivered == 1 + len(REFUSED)
    assert life.daemon.metrics.value("syncdaemon_quarantined_files") == 0
    await edge.end()
