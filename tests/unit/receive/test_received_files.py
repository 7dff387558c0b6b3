"""What the other end does to the disk: whole files, none over another, nothing outside, whatever fails and when."""

from __future__ import annotations

import errno
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncdaemon.base.errors import SettingsError
from syncdaemon.receive import incoming
from syncdaemon.receive.files import draft, room
from syncdaemon.receive.files.home import ReceiveDirectory
from syncdaemon.receive.files.store import Store, trouble
from syncdaemon.receive.incoming import Arrival, Item, Placed, Rejected, Retry, Wanted, beside, retry_seconds
from syncdaemon.stream.pulled import DeliveryInfo

MTIME = 1_700_000_000_123_456_789


def item(path: str | bytes, data: bytes = b"abc", seq: int = 1, site: str = "edge-1", **changes: Any) -> Item:
    """A message as it would come for this file; `changes` are of what its headers say, `body` of what is in it."""
    body = changes.pop("body", data)
    parts = tuple(os.fsencode(path).split(b"/"))
    wanted = Wanted(site, parts, sha256(data).hexdigest(), len(data), MTIME, False, None)._replace(**changes)
    return Item(
        Arrival(b"edge.replay.x", b"", body, b"NATS/1.0\r\nA: b\r\n\r\n"), DeliveryInfo("s", seq, 99, 1), wanted
    )


class Folder:
    """A directory that is received into, and the worker that does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = ReceiveDirectory(os.fsencode(root))
        self.home.open()
        self.store = Store(self.home, 0)

    def take(self, *items: Item) -> list[incoming.Outcome]:
        return self.store.take(items)

    def files(self) -> dict[str, bytes]:
        """All that lies there but for what is the worker's own."""
        own = (".incoming", ".index")
        found = (path for path in self.root.rglob("*") if path.is_file() and not {*own} & {*path.parts})
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}

    def drafts(self) -> list[Path]:
        """What is left of files that were being written."""
        return [path for path in (self.root / ".incoming").rglob("*") if path.is_file() and path.name != "lock"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path / "dir")
    yield made
    made.home.close()


def short(digest_of: bytes) -> str:
    return sha256(digest_of).hexdigest()[:16]


def test_a_file_appears_with_its_name_content_and_time(folder: Folder) -> None:
    """And nothing else does."""
    assert folder.take(item("a/b c/\udcff.bin")) == [Placed("written", 3)]
    assert folder.files() == {"edge-1/a/b c/\udcff.bin": b"abc"}
    assert (folder.root / "edge-1/a/b c/\udcff.bin").stat().st_mtime_ns == MTIME
    assert folder.drafts() == []


def test_an_empty_file_and_one_without_a_time(folder: Folder) -> None:
    before = time.time_ns()
    assert folder.take(item("empty", b"", mtime_ns=None), item("old", mtime_ns=-(2**63))) == [
        Placed("written", 0),
        Placed("written", 3),
    ]
    assert (folder.root / "edge-1/empty").stat().st_mtime_ns >= before - 10**9


def test_the_same_again_changes_nothing(folder: Folder) -> None:
    """Not even the time of the file."""
    folder.take(item("a/b"))
    there = (folder.root / "edge-1/a/b").stat()
    assert folder.take(item("a/b"), item("a/b")) == [Placed("unchanged", 3)] * 2
    after = (folder.root / "edge-1/a/b").stat()
    assert (after.st_ino, after.st_ctime_ns, after.st_mtime_ns) == (there.st_ino, there.st_ctime_ns, there.st_mtime_ns)


def test_twice_in_one_group_is_once_on_disk(folder: Folder) -> None:
    assert folder.take(item("a", seq=1), item("a", seq=2)) == [Placed("written", 3), Placed("unchanged", 3)]
    assert folder.files() == {"edge-1/a": b"abc"}


def test_another_content_of_the_same_name_is_kept_beside(folder: Folder) -> None:
    """And found there again; the first keeps the name."""
    one, two, three = item("d/a", b"one"), item("d/a", b"two"), item("d/a", b"three")
    assert folder.take(one, two, three) == [Placed("written", 3), Placed("beside", 3), Placed("beside", 5)]
    expected = {"edge-1/d/a": b"one", f"edge-1/d/a~{short(b'two')}": b"two", f"edge-1/d/a~{short(b'three')}": b"three"}
    assert folder.files() == expected
    assert folder.take(three, two, one) == [Placed("unchanged", 5), Placed("unchanged", 3), Placed("unchanged", 3)]
    assert folder.files() == expected


def test_a_file_where_a_folder_has_to_be(folder: Folder) -> None:
    """The folder gets the name beside it, for each content its own; and is found there again."""
    below, other = item("a/b", b"below"), item("a/c", b"other")
    assert folder.take(item("a", b"first")) == [Placed("written", 5)]
    assert folder.take(below, other) == [Placed("beside", 5), Placed("beside", 5)]
    expected = {
        "edge-1/a": b"first",
        f"edge-1/a~{short(b'below')}/b": b"below",
        f"edge-1/a~{short(b'other')}/c": b"other",
    }
    assert folder.files() == expected
    assert folder.take(below, other) == [Placed("unchanged", 5)] * 2
    assert folder.files() == expected


def test_a_folder_where_a_file_has_to_be(folder: Folder) -> None:
    assert folder.take(item("a", b"late"), item("a/b")) == [Placed("beside", 4), Placed("written", 3)]
    assert folder.take(item("a", b"late")) == [Placed("unchanged", 4)]
    assert folder.files() == {"edge-1/a/b": b"abc", f"edge-1/a~{short(b'late')}": b"late"}


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "dead link", "fifo"])
def test_what_is_no_file_of_ours_is_neither_followed_nor_replaced(folder: Folder, tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"abc")
    (folder.root / "edge-1").mkdir()
    odd = folder.root / "edge-1/odd"
    if kind == "fifo":
        os.mkfifo(odd)
    else:
        odd.symlink_to({"link to a file": outside / "x", "link to a folder": outside}.get(kind, tmp_path / "nowhere"))
    assert folder.take(item("odd"), item("odd/x")) == [Placed("beside", 3)] * 2
    assert [path.name for path in outside.iterdir()] == ["x"]
    assert odd.is_symlink() or odd.is_fifo()


def test_the_folder_of_a_site_is_never_replaced_by_another(folder: Folder) -> None:
    """Nothing is written beside it: that would be no site's. It is an operator's to put right, and passes then."""
    (folder.root / "edge-1").write_bytes(b"a file")
    assert folder.take(item("a"), item("a", site="edge-2")) == [Retry("write_error", ANY), Placed("written", 3)]
    (folder.root / "edge-1").unlink()
    assert folder.take(item("a")) == [Placed("written", 3)]


def test_a_name_whose_neighbours_are_taken_too_is_set_aside(folder: Folder) -> None:
    name, items = b"a", []
    for number in range(4):
        items.append(item(name, b"%d" % number))
        name = beside(name, sha256(b"abc").hexdigest())
    assert folder.take(*items) == [Placed("written", 1)] * 4
    assert folder.take(item("a")) == [Rejected("path_taken", ANY)]
    assert folder.take(item("a/b")) == [Rejected("path_taken", ANY)]


def test_a_name_that_has_no_room_for_a_neighbour_is_set_aside(folder: Folder) -> None:
    longest = "x" * 255
    assert folder.take(item(longest, b"one"), item(longest, b"two")) == [
        Placed("written", 3),
        Rejected("name_refused", ANY),
    ]
    assert folder.files()["edge-1/" + longest] == b"one"
    assert folder.files()[".rejected/1-99"] == b"two"


# What is not what it was announced to be.


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"body": b"abd"}, "digest_wrong"),
        ({"body": b"ab"}, "too_short"),
        ({"body": b"abcd"}, "too_long"),
        ({"body": b"not zstd", "zstd": True}, "undecodable"),
        ({"body": zstandard.compress(b"abc")[:-2], "zstd": True}, "too_short"),
        ({"body": zstandard.compress(b"abd"), "zstd": True}, "digest_wrong"),
        ({"body": None, "zstd": True}, "too_long"),
    ],
)
def test_a_bad_message_is_kept_aside_with_the_reason(folder: Folder, changes: dict[str, Any], reason: str) -> None:
    """Its body as it came, and all that is known of it; a second delivery leaves the same."""
    if changes["body"] is None:  # made here: not by every process that collects the tests
        changes = {**changes, "body": zstandard.compress(bytes(1 << 30))}
    bad = item("a/b", seq=7, **changes)
    assert folder.take(item("ok"), bad) == [Placed("written", 3), Rejected(reason, ANY)]
    assert folder.take(bad) == [Rejected(reason, ANY)]
    files = folder.files()
    assert sorted(files) == [".rejected/7-99", ".rejected/7-99.reason.json", "edge-1/ok"]
    assert files[".rejected/7-99"] == changes["body"]
    told = json.loads(files[".rejected/7-99.reason.json"])
    assert told["reason"] == reason
    assert (told["stream"], told["stream_seq"], told["subject"]) == ("s", 7, "edge.replay.x")
    assert told["headers"] == {"A": "b"}
    assert told["sha256"] == sha256(changes["body"]).hexdigest()
    assert folder.drafts() == []


def test_a_bomb_costs_neither_memory_nor_disk(folder: Folder) -> None:
    """A few bytes that say that they are an exbibyte: they can't be, so nothing is begun."""
    bomb = item("bomb", body=zstandard.compress(b"\0" * (1 << 20)), zstd=True, size=1 << 60)
    assert folder.take(bomb) == [Rejected("too_short", ANY)]
    assert folder.drafts() == []


@pytest.mark.parametrize("kind", ["too_long", "disk_full"])
def test_what_is_refused_while_it_is_decoded_costs_no_memory(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A hundred bytes that become a mebibyte: anybody at the stream can send such messages for ever."""
    body = zstandard.compress(bytes(1 << 20))
    if kind == "disk_full":

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(draft, "write_all", full)
    wanted = item("a", body=body, zstd=True, size=3 if kind == "too_long" else 1 << 20).wanted
    assert isinstance(wanted, Wanted)

    def take(count: int) -> None:
        for _ in range(count):
            found = draft.Draft(folder.home.draft_name(), wanted)
            with pytest.raises(draft.Unfit if kind == "too_long" else OSError):
                found.write(body)
            found.close()

    take(20)
    before = resident()
    take(500)
    assert resident() - before < 16 << 20
    assert folder.drafts() == []


def resident() -> int:
    """Bytes of memory that this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_an_endless_message_ends_where_it_is_too_long(folder: Folder) -> None:
    """And not only when all of it is decoded: a mebibyte can become 30 GiB."""
    body = zstandard.ZstdCompressor(level=3).compress(bytes(64 << 20))
    began = time.perf_counter()
    assert folder.take(item("a", body=body * 600, zstd=True)) == [Rejected("too_long", ANY)]
    assert time.perf_counter() - began < 5.0


def test_a_frame_that_asks_for_much_memory_is_refused(folder: Folder) -> None:
    """RFC 8878: 8 MiB is what a decoder has to offer."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = frame.compress(b"abc") + frame.flush()
    assert folder.take(item("a", body=body, zstd=True)) == [Rejected("undecodable", ANY)]


def test_a_compressed_file_is_stored_as_it_was(folder: Folder) -> None:
    data = os.urandom(1000) * 300
    assert folder.take(item("a", data, body=zstandard.compress(data), zstd=True)) == [Placed("written", len(data))]
    assert folder.files() == {"edge-1/a": data}


def test_headers_that_are_wrong_set_the_message_aside(folder: Folder) -> None:
    bad = item("a")._replace(wanted=Rejected("header_missing", "no Edge-Site"))
    assert folder.take(bad) == [Rejected("header_missing", "no Edge-Site")]
    assert folder.files()[".rejected/1-99"] == b"abc"


# A sender of messages that are no files can send any number of them.


def bad(seq: int, site: str | None = "edge-1", size: int = 3) -> Item:
    """A message with a wrong digest, of so many bytes."""
    data = b"x" * size
    headers = b"NATS/1.0\r\n" + (f"Edge-Site: {site}\r\n".encode() if site is not None else b"") + b"\r\n"
    one = item("a", data, seq, sha256="0" * 64)
    return one._replace(arrival=one.arrival._replace(headers=headers))


def kept(folder: Folder) -> list[int]:
    """The sequences of the messages that were set aside."""
    names = [path.name for path in (folder.root / ".rejected").glob("[0-9]*") if path.suffix != ".json"]
    return sorted(int(name.partition("-")[0]) for name in names)


@pytest.fixture
def _little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SITE_MESSAGES", 5)
    monkeypatch.setattr(room, "SITE_BYTES", 20_000)
    monkeypatch.setattr(room, "ALL_MESSAGES", 12)


@pytest.mark.usefixtures("_little_room")
def test_rejected_messages_of_a_site_are_kept_up_to_a_number(folder: Folder) -> None:
    """Beyond it they are rejected all the same, and not kept. Other sites have room of their own, but for the sum."""
    outcomes = folder.take(*(bad(seq) for seq in range(1, 9)))
    assert [outcome.kept for outcome in outcomes if isinstance(outcome, Rejected)] == [True] * 5 + [False] * 3
    assert kept(folder) == [1, 2, 3, 4, 5]
    assert folder.take(bad(2)) == [Rejected("digest_wrong", ANY, kept=True)], "what is kept may come again"
    folder.take(*(bad(seq, "edge-2") for seq in range(11, 20)))
    assert kept(folder) == [1, 2, 3, 4, 5, 11, 12, 13, 14, 15]
    folder.take(*(bad(seq, f"made-up-{seq}") for seq in range(21, 40)))
    assert kept(folder) == [1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 21, 22], "a name for each message is of no use"
    assert folder.drafts() == []


@pytest.mark.usefixtures("_little_room")
@pytest.mark.parametrize("site", [None, "", "UPPER", "a b", "../..", "x" * 64, "a\x1b[2J"])
def test_messages_of_no_site_have_one_place_together(folder: Folder, site: str | None) -> None:
    """Whatever stands in the header."""
    folder.take(*(bad(seq, None) for seq in range(1, 4)), *(bad(seq, site) for seq in range(4, 9)))
    assert kept(folder) == [1, 2, 3, 4, 5]
    assert {line.split()[0] for line in (folder.root / ".rejected/.index").read_text().splitlines()} == {"?"}


@pytest.mark.usefixtures("_little_room")
def test_rejected_messages_of_a_site_are_kept_up_to_a_size(folder: Folder) -> None:
    """The bodies count, and the sidecars."""
    folder.take(bad(1, size=25_000), bad(2, size=15_000), bad(3, size=4_600), bad(4, size=10))
    assert kept(folder) == [2, 4]


@pytest.mark.usefixtures("_little_room")
def test_restarts_and_other_workers_count_on(folder: Folder) -> None:
    """However often they look, each message is read from the index once."""
    other = Folder(folder.root)
    folder.take(bad(1), bad(2))
    other.take(bad(3), bad(4))
    folder.take(bad(5), bad(6))
    other.take(bad(7))
    assert kept(folder) == [1, 2, 3, 4, 5]
    other.home.close()
    again = Folder(folder.root)
    again.take(bad(8))
    assert kept(folder) == [1, 2, 3, 4, 5]
    folder.take(bad(9))
    assert kept(folder) == [1, 2, 3, 4, 5]
    again.home.close()


@pytest.mark.usefixtures("_little_room")
def test_what_an_operator_takes_away_makes_room_within_a_minute(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no file is counted for every message: that would cost more with each one."""
    folder.take(*(bad(seq) for seq in range(1, 6)))
    for path in (folder.root / ".rejected").glob("1-*"):
        path.unlink()
    counted = []
    real = os.scandir

    def scandir(path: Any) -> Any:
        counted.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert folder.take(bad(6)) == [Rejected("digest_wrong", ANY, kept=False)]
    assert counted == []
    monkeypatch.setattr(room, "_COUNT_SECONDS", 0.0)
    assert folder.take(bad(7)) == [Rejected("digest_wrong", ANY, kept=True)]
    assert len(counted) == 1
    assert kept(folder) == [2, 3, 4, 5, 7]


@pytest.mark.usefixtures("_little_room")
def test_messages_that_an_earlier_version_kept_count_too(folder: Folder) -> None:
    """There is no index of them; the sidecars say whose they are. So it is after an index was taken away."""
    for seq in range(1, 5):
        (folder.root / f".rejected/{seq}-99").write_bytes(b"abc")
        (folder.root / f".rejected/{seq}-99.reason.json").write_text('{"headers": {"Edge-Site": "edge-1"}}')
    (folder.root / ".rejected/odd name").write_bytes(b"by hand")
    folder.take(bad(5), bad(6))
    assert kept(folder) == [1, 2, 3, 4, 5]
    (folder.root / ".rejected/.index").unlink()
    folder.take(bad(7))
    assert kept(folder) == [1, 2, 3, 4, 5]


def test_a_line_that_was_left_half_written_harms_nothing(folder: Folder) -> None:
    """A worker died, or the disk was full."""
    folder.take(bad(1))
    with (folder.root / ".rejected/.index").open("ab") as index:
        index.write(b"edge-1 2-99 \xff")
    assert folder.take(bad(3), bad(4)) == [Rejected("digest_wrong", ANY)] * 2
    assert kept(folder) == [1, 3, 4]


def test_a_flood_of_headers_is_no_flood_in_the_sidecar(folder: Folder) -> None:
    """Nor in the log."""
    headers = b"NATS/1.0\r\n" + b"".join(b"H%d: \x01\x01\x01\r\n" % at for at in range(80_000)) + b"\r\n"
    one = bad(1)
    folder.take(one._replace(arrival=one.arrival._replace(headers=headers)))
    sidecar = (folder.root / ".rejected/1-99.reason.json").read_bytes()
    assert len(sidecar) < 1 << 19
    assert json.loads(sidecar)["headers_size"] == len(headers)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"size": 2**63 - 1}, Rejected("too_short", ANY)),
        ({"size": 2**63 - 1, "body": b""}, Rejected("too_short", ANY)),
        ({"size": 2**63 - 1, "zstd": True, "body": b""}, Rejected("too_short", ANY)),
        ({"size": 2**63 - 1, "zstd": True, "body": bytes(1 << 20)}, Rejected("too_short", ANY)),
        ({"size": 0}, Rejected("too_long", ANY)),
        ({"size": 2}, Rejected("too_long", ANY)),
        ({"size": 4}, Rejected("too_short", ANY)),
        ({"mtime_ns": 2**63 - 1}, Placed("written", 3)),
        ({"mtime_ns": -(2**63) + 1}, Placed("written", 3)),
    ],
)
def test_a_size_that_can_not_be_is_never_a_full_disk(
    folder: Folder, changes: dict[str, Any], outcome: incoming.Outcome
) -> None:
    """The message is rejected before the disk is looked at: a full disk would keep all others waiting."""
    assert folder.take(item("a", **changes), item("b", seq=2)) == [outcome, Placed("written", 3)]
    assert folder.drafts() == []


def test_a_file_that_is_larger_than_the_disk_keeps_no_other_waiting(folder: Folder) -> None:
    """It can be: its object says so. It is tried again; `disk` would stop the pulling."""
    wanted = item("a", size=1 << 60).wanted
    assert isinstance(wanted, Wanted)
    with pytest.raises(OSError, match="no room") as raised:
        folder.store.draft(wanted)
    outcome = trouble(raised.value)
    assert (outcome.reason, outcome.disk) == ("no_room", False)
    assert retry_seconds(outcome, 50) == 600

    full = Store(folder.home, folder.home.free_bytes() + (1 << 30))
    with pytest.raises(OSError, match="no room") as raised:
        full.draft(wanted)
    assert trouble(raised.value).disk, "nothing fits"


# Several workers.


def test_workers_at_the_same_files_leave_each_once(tmp_path: Path) -> None:
    """The same messages, and other contents of the same names, in several workers at once."""
    folders = [Folder(tmp_path / "dir") for _ in range(4)]
    items = [item(f"d{at % 4}/f{at % 40}", b"%d" % (at % 80), seq=at) for at in range(400)]
    threads = [threading.Thread(target=folder.take, args=items[at:] + items[:at]) for at, folder in enumerate(folders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = folders[0].files()
    assert len(found) == 80
    for at in range(80):
        name = f"edge-1/d{at % 4}/f{at % 40}"
        assert b"%d" % at in (found.get(name), found.get(f"{name}~{short(b'%d' % at)}"))
    assert all(not folder.drafts() for folder in folders)
    for folder in folders:
        folder.home.close()
    assert os.listdir(tmp_path / "dir/.incoming") == ["lock"]


def test_what_a_dead_worker_was_writing_goes_and_what_a_living_one_is_writing_stays(tmp_path: Path) -> None:
    living, dying = Folder(tmp_path / "dir"), Folder(tmp_path / "dir")
    wanted = item("a").wanted
    assert isinstance(wanted, Wanted)
    draft = living.store.draft(wanted)
    dying.store.draft(wanted)
    assert len(living.drafts()) == 2
    living.home.sweep()
    assert len(living.drafts()) == 2
    os.close(dying.home._lock)  # as the kernel does when it is killed
    living.home.sweep()
    assert living.drafts() == [Path(os.fsdecode(draft.path))]
    draft.close()
    living.home.close()


def test_a_directory_that_takes_no_files_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"^DIR: can't write to .*file.* \(.+\); name a directory"):
        Folder(tmp_path / "file")


def test_a_file_system_without_hard_links_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(SettingsError, match="no hard links here"):
        Folder(tmp_path / "dir")
    assert os.listdir(tmp_path / "dir/.incoming") == ["lock"]


def test_no_more_is_open_than_a_process_may_have(folder: Folder) -> None:
    """Each file in folders of its own, as deep as they may be."""
    items = [item("/".join([f"f{at}", *["d"] * (incoming.MOST_FOLDERS - 1), "x"]), seq=at) for at in range(20)]
    most = 0

    def watch() -> None:
        nonlocal most
        while not done.is_set():
            most = max(most, len(os.listdir("/proc/self/fd")))

    done, before = threading.Event(), len(os.listdir("/proc/self/fd"))
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert folder.take(*items) == [Placed("written", 3)] * 20
    finally:
        done.set()
        watcher.join()
    assert most - before < 200
    assert len(os.listdir("/proc/self/fd")) == before


# Whatever fails, and whenever.

CHANGING = ("open", "write", "fsync", "link", "unlink", "mkdir", "rename", "posix_fadvise", "utime")


class Crash(BaseException):
    """The process is gone at this instant."""


class Faults:
    """Every call that changes the disk, counted; at call `at` something happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, act: Callable[[], None]) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._at, self._act = at, act
        for name in CHANGING:
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **more: Any) -> Any:
            self.calls.append((name, given))
            if len(self.calls) >= self._at:
                self._act()
            return real(*given, **more)

        return call


ITEMS = (
    item("a/b/one", b"one", seq=1),
    item("a/b/two", b"two", seq=2),
    item("a/b/one", b"other", seq=3),
    item("c/bad", seq=4, body=b"bad"),
    item("c/one", b"one", seq=5),
)
EXPECTED = {
    "edge-1/a/b/one": b"one",
    "edge-1/a/b/two": b"two",
    f"edge-1/a/b/one~{short(b'other')}": b"other",
    "edge-1/c/one": b"one",
    ".rejected/4-99": b"bad",
}


def own_name(name: str) -> str:
    """Without what was added since the name was taken."""
    return re.sub(r"~[0-9a-f]{16}", "", name)


def contents(files: dict[str, bytes]) -> list[tuple[str, bytes]]:
    """Every file under its own name, whoever of two of one name came first; without sidecars."""
    return sorted((own_name(name), data) for name, data in files.items() if not name.endswith(".json"))


def calls_in_all(tmp_path: Path) -> int:
    with pytest.MonkeyPatch.context() as patch:
        folder = Folder(tmp_path / "count")
        faults = Faults(patch, 10**9, lambda: None)
        folder.take(*ITEMS)
        return len(faults.calls)


def test_a_crash_at_every_call_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """The messages come again, to another worker, which also clears up."""
    total = calls_in_all(tmp_path)
    assert total > 40

    def crash() -> None:
        raise Crash

    for at in range(1, total + 1):
        root = tmp_path / str(at)
        folder = Folder(root)
        with pytest.MonkeyPatch.context() as patch:
            Faults(patch, at, crash)
            with pytest.raises(Crash):
                folder.take(*ITEMS)
        for name, data in folder.files().items():
            assert name.endswith(".json") or EXPECTED[name] == data, f"crash at call {at}"
        os.close(folder.home._lock)
        again = Folder(root)
        again.take(*ITEMS)
        assert contents(again.files()) == contents(EXPECTED), f"crash at call {at}"
        assert not again.drafts()
        again.home.close()


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_an_error_at_every_call_never_counts_as_kept(tmp_path: Path, code: int, lasting: bool) -> None:
    """What is said to be kept is there; the rest is put back, and comes right when the disk does."""
    total = calls_in_all(tmp_path)
    for at in range(1, total + 1):
        folder = Folder(tmp_path / str(at))
        left = [1 if not lasting else 10**9]

        def fail(left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] >= 0:
                raise OSError(code, os.strerror(code))

        with pytest.MonkeyPatch.context() as patch:
            Faults(patch, at, fail)
            outcomes = folder.take(*ITEMS)
        reasons = {outcome.reason for outcome in outcomes if isinstance(outcome, Retry)}
        assert reasons <= {"disk_full" if code == errno.ENOSPC else "write_error"}
        files = folder.files()
        for taken, outcome in zip(ITEMS, outcomes, strict=True):
            if isinstance(outcome, Placed):
                assert taken.arrival.data in files.values(), f"error at call {at}"
        folder.take(*ITEMS)
        folder.home.sweep()
        assert contents(folder.files()) == contents(EXPECTED), f"error at call {at}"
        folder.home.close()


def test_every_name_is_durable_before_it_is_said_to_be_kept(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file before it gets its name; its folder, and all folders above, after."""
    happened: list[tuple[str, int]] = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(fd: int) -> None:
        real_fsync(fd)
        happened.append(("fsync", os.fstat(fd).st_ino))

    def link(source: bytes, target: bytes, *, dst_dir_fd: int) -> None:
        real_link(source, target, dst_dir_fd=dst_dir_fd)
        happened.append(("link", os.stat(source).st_ino))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    folder.take(item("a/b/one"), item("two"))
    monkeypatch.undo()

    for name in ("edge-1/a/b/one", "edge-1/two"):
        file = folder.root / name
        placed = happened.index(("link", file.stat().st_ino))
        assert ("fsync", file.stat().st_ino) in happened[:placed]
        for above in file.relative_to(folder.root).parents:
            assert ("fsync", (folder.root / above).stat().st_ino) in happened[placed:], above
    happened.clear()
    monkeypatch.setattr(os, "fsync", fsync)
    folder.take(item("a/b/one"))  # recognised: another worker may have put it there just now, and not synced yet
    for above in Path("edge-1/a/b/one").parents:
        assert ("fsync", (folder.root / above).stat().st_ino) in happened
    assert ("fsync", (folder.root / "edge-1/a/b/one").stat().st_ino) in happened


# Any messages in any order.

NAMES = st.sampled_from([b"a", b"b", b"a~" + sha256(b"1").hexdigest()[:16].encode()])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(PATHS, st.sampled_from([b"1", b"2", b"3"])), max_size=12), st.randoms())
def test_whatever_the_names_all_are_kept_once_and_inside(
    tmp_path: Path, messages: list[tuple[bytes, bytes]], dice: Any
) -> None:
    """Also in another order, and again: each path and content is one file, below its site, or set aside."""
    folder = Folder(tmp_path / str(time.monotonic_ns()))
    items = [item(path, data, seq=at) for at, (path, data) in enumerate(messages)]
    outcomes = folder.take(*items)
    assert all(isinstance(outcome, Placed | Rejected) for outcome in outcomes)
    before = folder.files()
    assert all(name.split("/")[0] in ("edge-1", ".rejected") for name in before)
    kept = {
        ("edge-1/" + path.decode(), data)
        for (path, data), outcome in zip(messages, outcomes, strict=True)
        if isinstance(outcome, Placed)
    }
    found = contents({name: data for name, data in before.items() if name.startswith("edge-1/")})
    assert set(found) == {(own_name(name), data) for name, data in kept}
    assert len(found) <= len(kept)
    dice.shuffle(items)
    assert all(not isinstance(outcome, Placed) or outcome.how == "unchanged" for outcome in folder.take(*items))
    assert folder.files() == before
    folder.home.close()
