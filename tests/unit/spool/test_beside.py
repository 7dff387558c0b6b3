"""What lies beside a file: read with it, only where it is its owner's word, and moved with it, whatever happens."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from syncdaemon.base import disk
from syncdaemon.base.metadata import said, write_sidecar
from syncdaemon.base.model import Content, Fit, Receipt, Refusal
from syncdaemon.client import Outbox
from syncdaemon.spool import moves, requeue
from syncdaemon.spool.archive import Archive
from syncdaemon.spool.hold import Hold
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.order import FileOrder
from syncdaemon.spool.passage import Passage
from syncdaemon.spool.quarantine import Quarantine, entries
from syncdaemon.spool.read import Hashing, NotYet, Reader, Reading, TooLarge
from syncdaemon.spool.scan import scan
from syncdaemon.spool.waiting import Candidate
from tests.support import needs

FIT = Fit(1 << 20, 1 << 20, 1 << 20)
SIDECAR = ".a.meta.json"
META = b'{"run": "7"}'
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def replay(tmp_path: Path) -> Path:
    (tmp_path / "replay").mkdir()
    return tmp_path / "replay"


@pytest.fixture
def directory(replay: Path) -> Iterator[ReplayDirectory]:
    opened = ReplayDirectory(os.fsencode(replay))
    opened.open()
    yield opened
    opened.close()


def read(directory: ReplayDirectory, fit: Fit = FIT, name: bytes = b"a") -> Reading:
    """As it is found a minute from now, when all has been quiet for long enough."""
    reader = Reader(directory.folders, 0.25, fit)
    return next(reader.read([Candidate(name)], time.time_ns() + 60_000_000_000))


def content_of(directory: ReplayDirectory) -> Content:
    found = read(directory)
    assert isinstance(found, Content)
    return found


def meta(found: Reading) -> str | None:
    """What was said of a file that was read; None: nothing."""
    assert isinstance(found, Content)
    return None if found.beside is None else found.beside.said.meta


def receipt(content: Content) -> Receipt:
    return Receipt(content, content.sha256, "edge.replay.s.x", "swarm_jobs", 7, False)


def put(replay: Path, data: bytes = b"abc", said: bytes = META) -> None:
    (replay / SIDECAR).write_bytes(said)
    (replay / "a").write_bytes(data)


def everything(replay: Path) -> dict[str, bytes]:
    """All files of the directory but the lock, with their contents, by the ends of their paths."""
    return {str(path.relative_to(replay)): path.read_bytes() for path in replay.rglob("*") if path.is_file()}


def test_a_sidecar_is_read_with_its_file(replay: Path, directory: ReplayDirectory) -> None:
    put(replay)
    assert meta(read(directory)) == "run=7"
    (replay / SIDECAR).unlink()
    assert meta(read(directory)) is None


def test_a_large_file_has_one_too(replay: Path, directory: ReplayDirectory) -> None:
    put(replay)
    reader = Reader(directory.folders, 0.25)
    hashing = reader.begin(Candidate(b"a"), time.time_ns() + 60_000_000_000)
    assert isinstance(hashing, Hashing)
    found = hashing.step()
    hashing.close()
    assert found is not None
    assert meta(found) == "run=7"


def test_what_is_said_counts_for_the_size_of_the_message(replay: Path, directory: ReplayDirectory) -> None:
    put(replay, b"x" * 100)
    assert isinstance(read(directory, Fit(105, 105, 0)), TooLarge)
    (replay / SIDECAR).unlink()
    assert isinstance(read(directory, Fit(105, 105, 0)), Content)


def test_one_about_another_content_stays_and_says_nothing(replay: Path, directory: ReplayDirectory) -> None:
    """It came for the next file of that name, whose rename is still to come."""
    put(replay, b"old", write_sidecar(said({"run": "8"}), sha256(b"new").hexdigest()))
    content = content_of(directory)
    assert content.beside is None
    Archive(directory).retire([receipt(content)])
    assert (replay / SIDECAR).exists()


@pytest.mark.parametrize("bad", [b"{", b'{"a": "x\\r\\ny"}', b'{"a": 1}', b"x" * 20_000])
def test_the_owners_own_that_can_not_be_taken_sets_the_file_aside_with_it(
    bad: bytes, replay: Path, directory: ReplayDirectory
) -> None:
    """Nothing is lost: both lie in the quarantine, and a requeue brings both back."""
    put(replay, said=bad)
    found = read(directory)
    assert isinstance(found, Refusal)
    assert (found.reason, found.content.sha256) == ("bad_metadata", sha256(b"abc").hexdigest())
    quarantine = Quarantine(directory)
    quarantine.set_aside(found, "x", "y")
    assert not (replay / "a").exists()
    assert not (replay / SIDECAR).exists()
    quarantine.load()
    assert quarantine.count == 1
    (entry,) = entries(directory)
    (replay / ".syncdaemon/quarantine" / SIDECAR).write_bytes(META)
    requeue.ask(directory, [entry])
    assert [done.problem for done in requeue.carry_out(directory)] == [""]
    assert meta(read(directory)) == "run=7"


def test_a_requeue_takes_a_place_that_is_free_for_both(replay: Path, directory: ReplayDirectory) -> None:
    put(replay, said=b"{")
    found = read(directory)
    assert isinstance(found, Refusal)
    Quarantine(directory).set_aside(found, "x", "y")
    (replay / SIDECAR).write_bytes(b'{"run": "next"}')
    orders = requeue.ask(directory, entries(directory))
    requeue.carry_out(directory)
    assert (replay / SIDECAR).read_bytes() == b'{"run": "next"}'
    assert orders[0].to != b"a"
    assert (replay / os.fsdecode(orders[0].to)).read_bytes() == b"abc"
    assert (replay / f".{os.fsdecode(orders[0].to)}.meta.json").read_bytes() == b"{"


def test_a_young_one_that_can_not_be_read_yet_is_waited_for(replay: Path, directory: ReplayDirectory) -> None:
    """A shell that writes it in place may be in the middle of it."""
    (replay / "a").write_bytes(b"abc")
    (replay / SIDECAR).write_bytes(b'{"run": ')
    now = time.time_ns()
    os.utime(replay / "a")
    (found,) = Reader(directory.folders, 0.0, FIT).read([Candidate(b"a")], now)
    assert isinstance(found, NotYet)


def test_a_link_a_folder_or_a_second_name_is_nobodys_word(replay: Path, directory: ReplayDirectory) -> None:
    put(replay)
    os.link(replay / SIDECAR, replay / ".other")
    assert meta(read(directory)) is None
    (replay / SIDECAR).unlink()
    (replay / SIDECAR).symlink_to(".other")
    assert meta(read(directory)) is None
    (replay / SIDECAR).unlink()
    (replay / SIDECAR).mkdir()
    assert meta(read(directory)) is None
    (replay / SIDECAR).rmdir()
    os.mkfifo(replay / SIDECAR)
    assert meta(read(directory)) is None


def test_another_users_sidecar_says_nothing_and_stops_nothing(replay: Path, directory: ReplayDirectory) -> None:
    """Not even where it is no sidecar at all: else everybody could keep a file of another from its delivery."""
    needs.root()
    for data in (META, b"{"):
        put(replay, said=data)
        os.chown(replay / SIDECAR, 12345, -1)
        assert meta(read(directory)) is None
    Archive(directory).retire([receipt(content_of(directory))])
    assert (replay / SIDECAR).exists()


def test_the_trace_may_be_an_attribute(replay: Path, directory: ReplayDirectory) -> None:
    (replay / "a").write_bytes(b"abc")
    try:
        os.setxattr(replay / "a", "user.traceparent", TRACE.encode())
    except (OSError, AttributeError):
        pytest.skip("this file system has no attributes")
    found = content_of(directory)
    assert found.beside is not None
    assert found.beside.said.traceparent == TRACE
    os.setxattr(replay / "a", "user.traceparent", b"x\r\ny")
    assert content_of(directory).beside is None
    os.setxattr(replay / "a", "user.traceparent", TRACE.encode())
    (replay / SIDECAR).write_bytes(META)
    both = content_of(directory)
    assert both.beside is not None
    assert (both.beside.said.meta, both.beside.said.traceparent) == ("run=7", TRACE)


def test_it_goes_to_the_archive_with_its_file(replay: Path, directory: ReplayDirectory) -> None:
    put(replay)
    assert Archive(directory).retire([receipt(content_of(directory))]).moved == 1
    day = time.strftime("%Y%m%d", time.gmtime())
    kept = {name: data for name, data in everything(replay).items() if "archive" in name}
    assert kept == {f".syncdaemon/archive/{day}/a": b"abc", f".syncdaemon/archive/{day}/{SIDECAR}": META}


def test_it_is_held_deleted_and_sent_again_with_its_file(replay: Path, directory: ReplayDirectory) -> None:
    hold = Hold(directory, 10.0)
    put(replay)
    hold.retire([receipt(content_of(directory))], 0.0)
    assert (hold.count, sorted(path.name for path in replay.iterdir())) == (1, [".syncdaemon"])
    again = Hold(directory, 10.0)
    again.load(0.0)
    assert again.count == 1
    (held,) = again.held(again.buckets()[0])
    assert again.send_again(held, b"a") == b"a"
    assert meta(read(directory)) == "run=7"
    hold = Hold(directory, 10.0)
    hold.load(0.0)
    hold.retire([receipt(content_of(directory))], 0.0)
    assert hold.expire(1000.0) == []
    assert hold.count == 0
    assert not [name for name in everything(replay) if "held" in name]


def test_where_nothing_is_held_it_is_deleted_behind_its_file(replay: Path, directory: ReplayDirectory) -> None:
    passage = Passage(directory, Hold(directory, 0.0))
    put(replay)
    _, passing = passage.enter([receipt(content_of(directory))])
    assert passage.leave(passing, 0.0).gone == 1
    passage.close()
    assert [name for name in everything(replay) if "lock" not in name] == []


def test_a_changed_file_comes_back_with_it(replay: Path, directory: ReplayDirectory) -> None:
    passage = Passage(directory, Hold(directory, 0.0))
    put(replay)
    content = content_of(directory)
    _, passing = passage.enter([receipt(content)])
    (inside,) = [path for path in (replay / ".syncdaemon/held").rglob("*") if path.is_file() and path.name[0] != "."]
    inside.write_bytes(b"longer than before")
    assert passage.leave(passing, 0.0).back == [b"a"]
    assert ((replay / "a").read_bytes(), (replay / SIDECAR).read_bytes()) == (b"longer than before", META)


def test_the_next_files_sidecar_stays_where_it_is(replay: Path, directory: ReplayDirectory) -> None:
    """It was renamed into place after ours was read: ours is gone by that, and the file alone is retired."""
    put(replay)
    content = content_of(directory)
    (replay / ".new").write_bytes(b'{"run": "8"}')
    (replay / ".new").rename(replay / SIDECAR)
    assert Archive(directory).retire([receipt(content)]).moved == 1
    assert (replay / SIDECAR).read_bytes() == b'{"run": "8"}'
    assert not (replay / "a").exists()


def test_where_the_file_was_replaced_its_sidecar_stays_too(replay: Path, directory: ReplayDirectory) -> None:
    put(replay)
    content = content_of(directory)
    (replay / ".new").write_bytes(b"another content")
    (replay / ".new").rename(replay / "a")
    assert Archive(directory).retire([receipt(content)]).moved == 0
    assert ((replay / "a").read_bytes(), (replay / SIDECAR).read_bytes()) == (b"another content", META)


@pytest.mark.parametrize("place", ["archive", "hold", "passage", "quarantine"])
def test_a_crash_between_any_two_moves_loses_no_file_and_leaves_no_stale_word(
    place: str, replay: Path, directory: ReplayDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies at the n-th rename, for every n: the file is there or retired, whole; and a sidecar that is
    left in the directory has its file beside it."""
    rename, most = os.rename, 0
    for crash_at in range(1, 6):
        for old in (replay / "a", replay / SIDECAR):
            old.unlink(missing_ok=True)
        put(replay, b"abc%d" % crash_at)
        content = content_of(directory)
        calls = 0

        def dying(*args: object, crash_at: int = crash_at, **more: object) -> None:
            nonlocal calls
            calls += 1
            if calls >= crash_at:
                raise _Died
            rename(*args, **more)  # type: ignore[arg-type]

        hold = Hold(directory, 10.0)
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", dying)
            patch.setattr(moves, "rename_new", _dies)
            try:
                if place == "archive":
                    Archive(directory).retire([receipt(content)])
                elif place == "hold":
                    hold.retire([receipt(content)], 0.0)
                elif place == "passage":
                    Passage(directory, hold).enter([receipt(content)])
                else:
                    Quarantine(directory).set_aside(Refusal(content, "x", "y"), "x", "y")
            except _Died:
                most = crash_at
        Quarantine(directory).load()
        found = [name for name, data in everything(replay).items() if data == b"abc%d" % crash_at]
        assert len(found) == 1, found
        assert not (replay / SIDECAR).exists() or (replay / "a").exists()
    assert most >= 2


class _Died(BaseException):
    """The process is gone."""


def _dies(*_: object) -> None:
    raise _Died


def test_a_sidecar_without_a_file_for_a_day_is_counted(
    replay: Path, directory: ReplayDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(replay)
    (replay / ".lone.meta.json").write_bytes(META)
    (replay / ".hidden").write_bytes(b"")
    assert scan(directory.root, frozenset(), 10, FileOrder().key, 0).lone_sidecars == 0
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 90_000)
    assert scan(directory.root, frozenset(), 10, FileOrder().key, 0).lone_sidecars == 1


def test_a_put_has_its_sidecar_in_place_first_and_names_the_content(replay: Path, directory: ReplayDirectory) -> None:
    Outbox(replay).put(b"abc", name="a", metadata={"Run": "7"}, traceparent=TRACE)
    assert json.loads((replay / SIDECAR).read_text()) == {
        "run": "7",
        "traceparent": TRACE,
        "sha256": sha256(b"abc").hexdigest(),
    }
    assert meta(read(directory)) == "run=7"
    assert (replay / SIDECAR).stat().st_uid == (replay / "a").stat().st_uid


def test_a_put_onto_a_file_that_waits_changes_neither_it_nor_its_sidecar(replay: Path) -> None:
    outbox = Outbox(replay)
    outbox.put(b"abc", name="a")
    with pytest.raises(FileExistsError):
        outbox.put(b"def", name="a", metadata={"run": "8"})
    assert sorted(path.name for path in replay.iterdir()) == ["a"]
    outbox.put(b"abc", name="b", metadata={"run": "7"})
    before = (replay / ".b.meta.json").read_bytes()
    with pytest.raises(FileExistsError):
        outbox.put(b"def", name="b", metadata={"run": "8"})
    assert (replay / ".b.meta.json").read_bytes() == before


def test_what_a_put_left_that_was_killed_is_out_of_the_way(replay: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sidecar had its name, and its file had not."""
    (replay / SIDECAR).write_bytes(META)
    with pytest.raises(FileExistsError):
        Outbox(replay).put(b"abc", name="a", metadata={"run": "8"})
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    Outbox(replay).put(b"abc", name="a", metadata={"run": "8"})
    assert json.loads((replay / SIDECAR).read_text())["run"] == "8"


def test_the_call_that_makes_it_durable_comes_between_the_two_names(
    replay: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut leaves the sidecar alone at the worst, never the file without it."""
    done: list[str] = []
    rename_new, sync = disk.rename_new, disk.sync

    def synced(fd: int) -> None:
        done.append("sync")
        sync(fd)

    def renamed(source: bytes, target: bytes, *folders: int) -> None:
        done.append(target.decode())
        rename_new(source, target, *folders)

    monkeypatch.setattr("syncdaemon.client.place.sync", synced)
    monkeypatch.setattr("syncdaemon.client.place.rename_new", renamed)
    Outbox(replay).put(b"abc", name="a", metadata={"run": "7"})
    assert done == ["sync", "sync", SIDECAR, "sync", "a", "sync"]
