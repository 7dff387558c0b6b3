"""A file that is handed over is taken at once, if the file that is opened is the one that its owner spoke of."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncdaemon.base.beneath import TOP
from syncdaemon.base.model import Content, Fit
from syncdaemon.spool.backlog import Backlog
from syncdaemon.spool.folders import OpenFolders
from syncdaemon.spool.read import NotYet, Reader, Reading
from syncdaemon.spool.waiting import Candidate, Handed

QUIET = 1000.0
DATA = b"evidence"
DIGEST = hashlib.sha256(DATA).hexdigest()
ME = os.geteuid()


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[OpenFolders]:
    root = os.open(tmp_path, TOP)
    opened = OpenFolders(root)
    yield opened
    opened.close()
    os.close(root)


def read(folders: OpenFolders, handed: Handed | None) -> Reading:
    reader = Reader(folders, QUIET, Fit(1 << 20, 1 << 20, 1 << 20))
    (found,) = reader.read([Candidate(b"a", handed=handed)], time.time_ns())
    return found


def test_its_owners_word_stands_for_the_quiet_time(tmp_path: Path, folders: OpenFolders) -> None:
    (tmp_path / "a").write_bytes(DATA)
    assert isinstance(read(folders, None), NotYet)
    found = read(folders, Handed(ME, DIGEST))
    assert isinstance(found, Content)
    assert found.data == DATA


def test_a_word_of_another_user_counts_for_nothing_and_is_forgotten(tmp_path: Path, folders: OpenFolders) -> None:
    (tmp_path / "a").write_bytes(DATA)
    found = read(folders, Handed(ME + 1, DIGEST))
    assert isinstance(found, NotYet)
    assert found.candidate.handed is None
    assert found.wait > QUIET - 60


def test_a_second_name_makes_the_word_worthless(tmp_path: Path, folders: OpenFolders) -> None:
    (tmp_path / "a").write_bytes(DATA)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert isinstance(read(folders, Handed(ME, DIGEST)), NotYet)


def test_other_bytes_than_those_that_were_handed_over_settle(tmp_path: Path, folders: OpenFolders) -> None:
    (tmp_path / "a").write_bytes(DATA[:4])
    found = read(folders, Handed(ME, DIGEST))
    assert isinstance(found, NotYet)
    assert found.candidate.handed is None


def test_a_writer_that_the_kernel_shows_is_waited_for(tmp_path: Path, folders: OpenFolders) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.write(DATA)
        file.flush()
        assert isinstance(read(folders, Handed(ME, DIGEST)), NotYet)
    assert isinstance(read(folders, Handed(ME, DIGEST)), Content)


def test_the_queue_gives_the_word_to_the_reader_once() -> None:
    """And to no other file that comes to that path later."""
    backlog = Backlog()
    handed = Handed(ME, DIGEST)
    backlog.hand_over(b"a", handed)
    backlog.seen(b"a", 1, 0.0, 1, ended=True)
    (taken,) = backlog.take(9, 1.0)
    assert taken.handed == handed
    backlog.landed([b"a"])
    backlog.seen(b"a", 1, 2.0, 1)
    (taken,) = backlog.take(9, 3.0)
    assert taken.handed is None


def test_a_file_that_waits_is_hastened_and_one_that_has_gone_is_forgotten() -> None:
    backlog = Backlog()
    backlog.seen(b"a", 1, 100.0, 1)
    assert backlog.take(9, 1.0) == []
    backlog.hand_over(b"a", Handed(ME, DIGEST))
    backlog.seen(b"a", 1, 1.0, 1, ended=True)
    assert len(backlog.take(9, 1.0)) == 1
    backlog.landed([b"a"])
    backlog.hand_over(b"a", Handed(ME, DIGEST))
    backlog.gone(b"a")
    assert not backlog.is_handed_over(b"a")


def test_a_file_in_flight_is_not_marked_for_its_successor() -> None:
    backlog = Backlog()
    backlog.seen(b"a", 1, 0.0, 1)
    backlog.take(9, 1.0)
    backlog.hand_over(b"a", Handed(ME, DIGEST))
    assert not backlog.is_handed_over(b"a")
    assert backlog.flies(b"a")
