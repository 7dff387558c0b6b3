"""The running daemon on a real server: what it takes, what it leaves alone, and what becomes of a file afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
import stat
import time
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.client import connect
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import Stored, held, messages, read_object
from tests.support.server import MakeNatsServer

pytestmark = pytest.mark.integration

BROKEN_WATCH = """
import sys
from syncdaemon.spool import inotify

def broken(self):
    raise {error}

inotify.Inotify.{part} = broken
sys.argv = ["syncdaemon", "run"]
from syncdaemon.cli import main
main()
"""


def stored(server: NatsServer) -> list[Stored]:
    """What the stream holds."""
    return asyncio.run(messages(server.url, "swarm_jobs"))


def delivered(daemon: DaemonProcess, count: int, within: float = 20.0) -> None:
    """Waits until so many files have a receipt and all are out of the way."""
    eventually(
        lambda: len(daemon.rows_so_far("published") + daemon.rows_so_far("duplicate")) == count,
        within,
        f"{count} files have a receipt",
    )
    eventually(lambda: daemon.metric("replay_queue_depth") == 0, what="the queue is empty")


def below(folder: Path) -> list[Path]:
    """Every file below a folder, which may be changing: what vanishes meanwhile is left out."""
    return sorted(Path(where, name) for where, _, names in os.walk(folder) for name in names)


def own(daemon: DaemonProcess, name: str) -> Path:
    """One of the daemon's own folders."""
    return daemon.replay / ".syncdaemon" / name


def status(daemon: DaemonProcess) -> dict[str, object]:
    found: dict[str, object] = json.loads(daemon.get("/status"))
    return found


# Modes and their words.


def test_standing_by_counts_and_publishes_nothing(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """EDGE_MODE=false: the link is up and the files are counted; no stream is made, no file is touched."""
    daemon = make_daemon(nats_server.url, EDGE_MODE="false")
    daemon.start()
    for number in range(3):
        daemon.drop(f"sub/f{number}", b"%d" % number)
    eventually(lambda: daemon.metric("replay_queue_depth") == 3, what="the files are counted")
    eventually(lambda: daemon.metric("edge_link_status") == 1, what="the link is up")
    assert status(daemon)["edge_mode"] is False
    assert daemon.page("/readyz")[0] == 200
    assert daemon.stop() == 0
    assert len(daemon.waiting()) == 3
    assert len(daemon.logged("standing_by")) == 1
    assert [row["event"] for row in daemon.rows("open", "published", "close")] == ["open", "close"]
    assert asyncio.run(streams(nats_server)) == []


async def streams(server: NatsServer) -> list[str | None]:
    client = await connect(server.url)
    try:
        return [info.config.name for info in await client.jetstream().streams_info()]
    finally:
        await client.close()


def test_an_absent_server_is_told_by_health_and_link_and_not_by_liveness(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """A restart or another pod would not bring it back: /livez and /readyz stay at 200, /healthz names the link."""
    server = make_nats_server()
    daemon = make_daemon(server.url)
    daemon.start()
    assert daemon.page("/livez") == (200, "ok\n")
    assert daemon.page("/readyz") == (200, "ok\n")
    code, text = daemon.page("/healthz")
    health = json.loads(text)
    assert (code, health["ok"]) == (503, False)
    assert [name for name, check in health["checks"].items() if not check["ok"]] == ["link"]
    assert str(server.port) in health["checks"]["link"]["detail"]
    assert daemon.metric("edge_link_status") == 0

    server.start()
    eventually(lambda: daemon.page("/healthz")[0] == 200, 5, "all is well")
    assert daemon.metric("edge_link_status") == 1


UNSPEAKABLE = "/".join(["ä" * 100] * 8)
"""A name that is longer than 4,096 bytes as a message carries it: percent-encoded."""


def test_a_file_in_quarantine_is_told_by_health(make_nats_server: MakeNatsServer, make_daemon: MakeDaemon) -> None:
    """By a restarted daemon too: the operator has to look at it."""
    server = make_nats_server(config="max_payload: 4096")
    server.start()
    daemon = make_daemon(server.url)
    daemon.drop(UNSPEAKABLE, b"evidence")
    daemon.start()
    eventually(lambda: daemon.metric("syncdaemon_quarantined_files") == 1, what="the file is set aside")
    assert daemon.metric('syncdaemon_refused_total{reason="too_large"}') == 1
    assert daemon.stop() == 0
    daemon.start()
    eventually(lambda: daemon.metric("edge_link_status") == 1, what="the link is up")
    code, text = daemon.page("/healthz")
    assert (code, json.loads(text)["checks"]["quarantine"]) == (503, {"ok": False, "detail": "1 refused files"})
    assert daemon.metric("syncdaemon_quarantined_files") == 1


@pytest.mark.parametrize(
    ("settings", "horizon", "meaning"),
    [
        ({}, float("inf"), None),
        ({"SYNC_SUBJECT": "plain.subject"}, float("inf"), "over 120 s apart"),
        ({"SYNC_STREAM_MAX_AGE": "1h"}, 3_600.0, "an outage of over 3600 s"),
    ],
    ids=["subject per digest", "plain subject", "max_age"],
)
def test_the_promise_is_told_as_a_number_and_a_weaker_one_in_words(
    nats_server: NatsServer, make_daemon: MakeDaemon, settings: dict[str, str], horizon: float, meaning: str | None
) -> None:
    """Any outage on a stream that keeps its messages, else their age; what is weaker is a warning at the start."""
    daemon = make_daemon(nats_server.url, **settings)
    daemon.start()
    daemon.drop("a.txt", b"one")
    daemon.drop("b.txt", b"one")
    delivered(daemon, 2)
    assert daemon.metric("syncdaemon_dedupe_horizon_seconds") == horizon
    assert daemon.stop() == 0
    warned = daemon.logged("weaker_promise")
    assert len(warned) == (meaning is not None)
    assert all(
        line["level"] == "warning" and str(meaning) in str(line["meaning"]) and line["remedy"] for line in warned
    )

    digest = hashlib.sha256(b"one").hexdigest()
    (message,) = stored(nats_server)
    assert message.subject == settings.get("SYNC_SUBJECT", f"edge.replay.test-site.{digest}")
    assert len(daemon.rows("published")) == len(daemon.rows("duplicate")) == 1


# What becomes of a delivered file.


def test_delivered_files_can_be_archived(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Under the day and their own path; they stay there, and nothing is held."""
    daemon = make_daemon(nats_server.url, SYNC_AFTER="archive")
    daemon.start()
    daemon.drop("b.txt", b"b")
    daemon.drop("sub/deep/a.txt", b"a")
    delivered(daemon, 2)
    eventually(lambda: len(below(own(daemon, "archive"))) == 2, what="both are archived")
    days = {str(row["ts"])[:10].replace("-", "") for row in daemon.rows("published")}
    (day,) = own(daemon, "archive").iterdir()
    assert day.name in days
    assert (day / "b.txt").read_bytes() == b"b"
    assert (day / "sub" / "deep" / "a.txt").read_bytes() == b"a"
    assert below(own(daemon, "held")) == []
    assert daemon.stop() == 0
    daemon.start()
    assert daemon.metric("replay_queue_depth") == 0
    assert daemon.waiting() == []


def test_an_archive_keeps_every_file_of_a_name(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """The same name twice on a day, as long as a name can be, and a folder where a file was: nothing is replaced."""
    daemon = make_daemon(nats_server.url, SYNC_AFTER="archive")
    daemon.start()
    long = "n" * 255
    for count, (name, data) in enumerate([(long, b"1"), (long, b"2"), ("x", b"3"), ("x/y", b"4")], 1):
        daemon.drop(name, data)
        delivered(daemon, count)
        eventually(lambda: not daemon.waiting(), what=f"{name[:9]} is archived")
    assert sorted(path.read_bytes() for path in below(own(daemon, "archive"))) == [b"1", b"2", b"3", b"4"]
    assert all(path.name.startswith(("n" * 250, "x", "y")) for path in below(own(daemon, "archive")))
    assert daemon.logged("not_moved") == []


def test_a_delivered_file_is_held_and_then_deleted(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """With its content as it was, for as long as SYNC_HOLD_SECONDS says."""
    daemon = make_daemon(nats_server.url, SYNC_HOLD_SECONDS="1")
    daemon.start()
    daemon.drop("a.txt", b"evidence")
    delivered(daemon, 1)
    eventually(lambda: below(own(daemon, "held")), what="the file is held")
    (held,) = below(own(daemon, "held"))
    since = time.monotonic()
    assert held.read_bytes() == b"evidence"
    eventually(lambda: daemon.metric("syncdaemon_held_files") == 1, what="it is counted")
    eventually(lambda: not held.exists(), 10, "the file is deleted")
    assert time.monotonic() - since > 0.8
    eventually(lambda: daemon.metric("syncdaemon_held_files") == 0, what="it counts no more")
    assert daemon.waiting() == []


def test_files_that_an_earlier_daemon_held_are_deleted_too(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Counted from the start on, and deleted after the hold."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    for number in range(5):
        daemon.drop(f"f{number}", b"%d" % number)
    delivered(daemon, 5)
    eventually(lambda: len(below(own(daemon, "held"))) == 5, what="five files are held")
    daemon.kill()
    daemon.env["SYNC_HOLD_SECONDS"] = "1"
    daemon.start()
    eventually(lambda: not below(own(daemon, "held")), 10, "all are deleted")
    eventually(lambda: daemon.metric("syncdaemon_held_files") == 0, what="they count no more")


def test_without_a_hold_a_delivered_file_is_gone_at_once(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """SYNC_HOLD_SECONDS=0."""
    daemon = make_daemon(nats_server.url, SYNC_HOLD_SECONDS="0")
    daemon.start()
    for number in range(300):
        daemon.drop(f"f{number}", b"%d" % number)
    delivered(daemon, 300)
    eventually(lambda: not daemon.waiting() and not below(own(daemon, "held")), 3, "every file is gone")


def test_what_is_written_to_a_held_file_is_delivered_as_a_new_one(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """A writer that had the file open sees nothing of the move; its bytes are not deleted with it."""
    daemon = make_daemon(nats_server.url, SYNC_HOLD_SECONDS="1")
    daemon.start()
    daemon.drop("a.txt", b"evidence")
    delivered(daemon, 1)
    eventually(lambda: below(own(daemon, "held")), what="the file is held")
    with below(own(daemon, "held"))[0].open("ab") as writer:
        writer.write(b", and more")
    delivered(daemon, 2)
    assert [message.data for message in stored(nats_server)] == [b"evidence", b"evidence, and more"]
    eventually(lambda: not below(own(daemon, "held")) and not daemon.waiting(), 10, "both are deleted")


# Ends, good and bad.


def drop_many(daemon: DaemonProcess, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        daemon.drop(f"{number % 10}/f{number}", b"evidence %d " % number * 50)


def everything_once(daemon: DaemonProcess, server: NatsServer, count: int) -> None:
    """Each file in the stream once, each with one receipt, and none of them left."""
    eventually(lambda: not daemon.waiting(), 30, "all is delivered")
    assert daemon.stop() == 0
    found = stored(server)
    assert len(found) == len({message.subject for message in found}) == count
    receipts = daemon.rows("published", "duplicate")
    assert len(receipts) == len({row["path"] for row in receipts}) == count
    assert {row["stream_seq"] for row in receipts} == {message.seq for message in found}
    assert daemon.rows("open", "link", "published", "duplicate", "close")[-1]["event"] == "close"


def goes_on(daemon: DaemonProcess) -> None:
    """Waits until one more file is recorded, or none is left."""
    before = len(daemon.rows_so_far("published"))
    eventually(
        lambda: len(daemon.rows_so_far("published")) > before or not daemon.waiting(), what="the delivery goes on"
    )


@pytest.fixture
def slow_server(make_nats_server: MakeNatsServer) -> NatsServer:
    """It syncs every message to disk, so that there is a middle to end something in."""
    server = make_nats_server(jetstream="sync_interval: always")
    server.start()
    return server


def test_sigterm_in_the_middle_of_a_delivery_ends_it_in_good_order(
    slow_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """Exit 0 within 12 s, the `close` row last; the next daemon goes on, and nothing is delivered twice."""
    daemon = make_daemon(slow_server.url)
    drop_many(daemon, 2_000)
    daemon.launch()
    eventually(lambda: daemon.rows_so_far("published"), what="the delivery is under way")
    assert daemon.stop(12) == 0
    rows = daemon.rows("open", "link", "published", "duplicate", "close")
    assert rows[-1]["event"] == "close"
    assert rows[-2] == {**rows[-2], "event": "link", "up": False}

    daemon.start()
    everything_once(daemon, slow_server, 2_000)
    assert daemon.rows("duplicate") == []


def test_sigterm_ends_a_daemon_without_a_server(make_nats_server: MakeNatsServer, make_daemon: MakeDaemon) -> None:
    """At any time of its attempts to connect; exit 0, soon, and the file stays."""
    daemon = make_daemon(make_nats_server().url)
    daemon.drop("a.txt", b"evidence")
    for _ in range(2):
        daemon.start()
        assert daemon.stop(5) == 0
    assert len(daemon.waiting()) == 1
    assert [row["event"] for row in daemon.rows("open", "close")] == ["open", "close"] * 2


def test_sigterm_with_a_frozen_server_does_not_wait_for_ever(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """What is in flight is awaited for a while, then it is in doubt: exit 0, and stored once after the restart."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    daemon.drop("first", b"first")
    delivered(daemon, 1)
    nats_server.freeze()
    drop_many(daemon, 100)
    eventually(lambda: daemon.metric("replay_queue_depth") == 100, what="the files are counted")
    newest = max(path.stat().st_ctime for path in daemon.waiting())
    eventually(lambda: time.time() - newest > 0.8, what="they were quiet for long enough to be sent")
    assert daemon.stop(12) == 0
    assert len(daemon.waiting()) == 100
    nats_server.thaw()
    daemon.start()
    everything_once(daemon, nats_server, 101)


def test_killed_three_times_in_the_middle_everything_is_delivered_once(
    slow_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """SIGKILL; a file that was stored and not yet recorded gets its receipt from the stream."""
    daemon = make_daemon(slow_server.url, SYNC_BWLIMIT="300k")
    left = []
    for start in (0, 700, 1_400):
        drop_many(daemon, 700, start)
        daemon.launch()
        goes_on(daemon)
        daemon.kill()
        left.append(len(daemon.waiting()))
    assert any(left)

    del daemon.env["SYNC_BWLIMIT"]
    daemon.start()
    everything_once(daemon, slow_server, 2_100)


def test_without_the_ledgers_folder_nothing_is_sent_until_it_is_back(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """A volume that went away is no reason to end: the daemon pauses and says so, and goes on by itself."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    daemon.drop("first", b"first")
    delivered(daemon, 1)
    away = daemon.ledger.with_name("away")
    daemon.ledger.rename(away)
    daemon.drop("second", b"second")
    eventually(lambda: "is not there any more" in daemon.get("/status"), what="the daemon says that it has paused")
    assert len(stored(nats_server)) == 1
    away.rename(daemon.ledger)
    everything_once(daemon, nats_server, 2)


# What says that there is a file.


@pytest.mark.parametrize("error", ["OSError(28, 'no space left on device')", "RuntimeError('error in the watch')"])
@pytest.mark.parametrize("part", ["__init__", "read"])
def test_a_watch_that_breaks_costs_only_time(
    nats_server: NatsServer, make_daemon: MakeDaemon, tmp_path: Path, error: str, part: str
) -> None:
    """As when inotify is at its limit: the regular scan finds every file, and the daemon says so once in a while."""
    program = tmp_path / "broken_watch.py"
    program.write_text(BROKEN_WATCH.format(error=error, part=part))
    daemon = make_daemon(nats_server.url, SYNC_RESCAN_SECONDS="1")
    daemon.command[1:] = [str(program)]
    daemon.start()
    for number in range(10):
        daemon.drop(f"sub/f{number}", b"%d" % number)
    eventually(lambda: daemon.logged("watch_failed"), what="the broken watch is told")
    delivered(daemon, 10)
    assert daemon.stop() == 0


def test_polling_instead_of_events_works(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """WATCHFILES_FORCE_POLLING, as on network file systems."""
    daemon = make_daemon(nats_server.url, WATCHFILES_FORCE_POLLING="1")
    daemon.start()
    for number in range(10):
        daemon.drop(f"sub{number}/f{number}", b"%d" % number)
        daemon.drop(f"f{number}", b"top %d" % number)
    delivered(daemon, 20)


def test_new_folders_that_are_filled_at_once_are_found_without_a_scan(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """Nested ones, and a whole tree that is moved in."""
    daemon = make_daemon(nats_server.url, SYNC_RESCAN_SECONDS="600")
    daemon.start()
    for number in range(20):
        daemon.drop(f"{number}/a/b/c/f", b"%d" % number)
    tree = daemon.replay.parent / "tree"
    for number in range(20):
        (tree / str(number) / "deep").mkdir(parents=True)
        (tree / str(number) / "deep" / "f").write_bytes(b"tree %d" % number)
    tree.rename(daemon.replay / "tree")
    delivered(daemon, 40)


def test_what_appears_while_the_daemon_starts_is_found_without_a_scan(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """Between its first scan and its watch there is no gap."""
    daemon = make_daemon(nats_server.url, SYNC_RESCAN_SECONDS="600")
    daemon.launch()
    count = 0

    def one_more() -> bool:
        nonlocal count
        daemon.drop(f"f{count}", b"%d" % count)
        count += 1
        return len(daemon.rows_so_far("published")) >= 5

    eventually(one_more, what="the first files are delivered")
    delivered(daemon, count)


# When a file is complete.


def test_a_file_that_is_still_written_to_is_not_read_early(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """However long its writer pauses: as long as it is open for writing, it counts as settling."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    path = daemon.replay / "slow.bin"
    with path.open("wb") as writer:
        writer.write(b"first half, ")
        writer.flush()
        eventually(lambda: daemon.metric("replay_queue_depth") == 1, what="it is counted")
        eventually(lambda: time.time() - path.stat().st_ctime > 1.5, what="it was quiet for long enough")
        daemon.drop("other", b"another file passes meanwhile")
        eventually(lambda: daemon.rows_so_far("published"), what="the other file is delivered")
        assert daemon.metric("replay_queue_depth") == 1
        writer.write(b"second half")
    delivered(daemon, 2)
    assert [message.data for message in stored(nats_server)] == [
        b"another file passes meanwhile",
        b"first half, second half",
    ]


def test_a_file_that_grows_by_appending_is_read_when_it_is_quiet(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """A writer that opens and closes it for every line, more often than the quiet time."""
    daemon = make_daemon(nats_server.url, SYNC_SETTLE_SECONDS="1")
    daemon.start()
    path = daemon.replay / "log.txt"
    lines = 0

    def one_more_line() -> bool:
        nonlocal lines
        with path.open("ab") as writer:
            writer.write(b"line %d\n" % lines)
        lines += 1
        return lines == 100

    eventually(one_more_line, what="a hundred lines are written")
    delivered(daemon, 1)
    (message,) = stored(nats_server)
    assert message.data == b"".join(b"line %d\n" % number for number in range(100))


def test_a_file_that_is_written_anew_after_its_delivery_is_delivered_anew(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """In place and under the same name, as soon as the receipt of the version before is there."""
    daemon = make_daemon(nats_server.url, SYNC_SETTLE_SECONDS="0.05")
    daemon.start()
    path = daemon.replay / "report.txt"
    versions = [b"version %d" % number for number in range(15)]
    for count, version in enumerate(versions, 1):
        path.write_bytes(version)
        eventually(lambda so_far=count: len(daemon.rows_so_far("published")) >= so_far, what="it is delivered")  # type: ignore[misc]
        assert len(daemon.rows_so_far("published")) == count
    delivered(daemon, len(versions))
    assert [message.data for message in stored(nats_server)] == versions
    assert {row["path"] for row in daemon.rows("published")} == {"report.txt"}


# Names and kinds.

NAMES = [
    b"with blanks  ",
    b"  with blanks before",
    b"module.pyc",
    b"backup~",
    b"dots..",
    b"a..b",
    b"new\nline",
    b"carriage\r\nreturn: x",
    b"tab\t",
    b"'quotes\"",
    b"%2F%00 100%",
    b"star * and > and $",
    b"\\backslash\\",
    "emoji \N{FIRE} \N{LATIN SMALL LETTER E WITH ACUTE}".encode(),
    b"not utf-8 \xff\xfe",
    b"n" * 255,
    b"\xc3\xa9" * 127,
    b"-rf",
    b"~",
    b"sub folder\n/\xfe/\xff",
    b"replacement \xef\xbf\xbd",
    b"a.tmp.txt",
    b"tmp",
]


def test_every_legal_name_is_delivered(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """By an event as well as by a scan; the header carries the raw bytes, percent-encoded."""
    daemon = make_daemon(nats_server.url, SYNC_RESCAN_SECONDS="600")
    half = len(NAMES) // 2
    for name in NAMES[:half]:
        daemon.drop(name, b"content of " + name)
    daemon.start()
    for name in NAMES[half:]:
        daemon.drop(name, b"content of " + name)
    delivered(daemon, len(NAMES))
    found = {unquote_to_bytes(message.headers["Edge-Path"]): message.data for message in stored(nats_server)}
    assert found == {name: b"content of " + name for name in NAMES}
    assert all(message.headers["Edge-Path"].isascii() for message in stored(nats_server))
    assert {unquote_to_bytes(str(row["path"])) for row in daemon.rows("published")} == set(NAMES)
    eventually(lambda: not daemon.waiting(), what="all are let go of")


def test_names_that_say_not_yet_are_left_alone(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Hidden ones, all below hidden folders, and the three endings; renamed, they are taken."""
    daemon = make_daemon(nats_server.url, SYNC_RESCAN_SECONDS="1")
    names = [".hidden", ".git/config", "sub/.cache/deep/file", "a.tmp", "a.part", "sub/a.partial"]
    for name in names:
        path = daemon.replay / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    daemon.start()
    (daemon.replay / "late.tmp").write_text("late")
    daemon.drop("seen", b"seen")
    delivered(daemon, 1)
    rescanned(daemon)
    left = [path for path in daemon.waiting() if not path.is_symlink()]
    assert len(left) == len(names) + 1
    assert daemon.metric("replay_queue_depth") == 0

    (daemon.replay / "a.tmp").rename(daemon.replay / "a")
    delivered(daemon, 2)
    assert [message.data for message in stored(nats_server)] == [b"seen", b"a.tmp"]


def rescanned(daemon: DaemonProcess) -> None:
    """Waits for a whole scan that began after now: one more symlink is counted."""
    before = status(daemon)["ignored_entries"]
    assert isinstance(before, int)
    (daemon.replay / f"link to nowhere {before}").symlink_to("nowhere")
    eventually(lambda: status(daemon)["ignored_entries"] == before + 1, what="a scan has counted one entry more")


def test_what_is_no_regular_file_is_left_alone_and_counted(
    nats_server: NatsServer, make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    """Links to files and folders, pipes and sockets: never opened, never followed, and nothing waits for them."""
    daemon = make_daemon(nats_server.url, SYNC_RESCAN_SECONDS="1")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")

    def make_odd_ones(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "link").symlink_to(outside / "secret")
        (folder / "folder link").symlink_to(outside)
        (folder / "loop").symlink_to(".")
        os.mkfifo(folder / "pipe")
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(f"/proc/self/fd/{os.open(folder, os.O_PATH)}/socket")

    make_odd_ones(daemon.replay)
    daemon.start()
    make_odd_ones(daemon.replay / "sub")
    daemon.drop("sub/seen", b"seen")
    delivered(daemon, 1, within=5)
    eventually(lambda: status(daemon)["ignored_entries"] == 10, what="all are counted")
    rescanned(daemon)
    assert daemon.stop() == 0
    kinds = [stat.S_IFMT(path.lstat().st_mode) for path in daemon.replay.rglob("*") if not path.is_dir()]
    assert kinds.count(stat.S_IFIFO) == kinds.count(stat.S_IFSOCK) == 2
    assert [message.data for message in stored(nats_server)] == [b"seen"]
    assert (outside / "secret").read_text() == "secret"


# Contents.


def test_two_empty_files_are_one_message_and_a_duplicate(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    """Nothing is no less a content than any other."""
    daemon = make_daemon(nats_server.url)
    daemon.start()
    daemon.drop("a", b"")
    delivered(daemon, 1)
    daemon.drop("b", b"")
    delivered(daemon, 2)
    (message,) = stored(nats_server)
    assert (message.data, message.headers["Edge-Size"]) == (b"", "0")
    (published,), (duplicate,) = daemon.rows("published"), daemon.rows("duplicate")
    assert (published["path"], duplicate["path"]) == ("a", "b")
    assert published["stream_seq"] == duplicate["stream_seq"] == message.seq


@pytest.mark.parametrize(("identity", "copies"), [("content", 1), ("path", 200)])
def test_many_files_of_the_same_content(
    nats_server: NatsServer, make_daemon: MakeDaemon, identity: str, copies: int
) -> None:
    """In one go: one message and a row for each; with SYNC_MSG_ID=path each of them is a message."""
    daemon = make_daemon(nats_server.url, SYNC_MSG_ID=identity)
    for number in range(200):
        daemon.drop(f"copy{number}", b"the same")
    daemon.start()
    delivered(daemon, 200)
    assert len(stored(nats_server)) == copies
    assert len(daemon.rows("published")) == copies
    assert len({row["path"] for row in daemon.rows("published", "duplicate")}) == 200
    assert daemon.metric("syncdaemon_published_files_total") == copies
    assert daemon.metric("syncdaemon_duplicates_total") == 200 - copies


MAX_PAYLOAD = 16_384


def header_size(message: Stored) -> int:
    """The bytes of a message's header block: a version line, a line for each header, a blank line."""
    return len("NATS/1.0\r\n\r\n") + sum(len(f"{name}: {value}\r\n") for name, value in message.headers.items())


def test_the_largest_file_that_fits_is_a_message_and_one_byte_more_is_an_object(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """Headers count, and so does the name; what no message can carry even without its content waits in quarantine."""
    server = make_nats_server(config=f"max_payload: {MAX_PAYLOAD}")
    server.start()
    daemon = make_daemon(server.url)
    daemon.start()
    daemon.drop("a", b"x" * 10_000)
    delivered(daemon, 1)
    largest = MAX_PAYLOAD - header_size(stored(server)[0])  # sizes of five digits, names of one letter
    spare = 32  # the limit reckons with sizes and times of more digits

    daemon.drop("b", b"y" * (largest - spare))
    daemon.drop("c", b"z" * (largest + 1))
    daemon.drop("d", b"w" * (MAX_PAYLOAD + 1))
    delivered(daemon, 4)
    found = {message.headers["Edge-Path"]: message for message in stored(server)}
    assert {path: len(message.data) for path, message in found.items()} == {
        "a": 10_000,
        "b": largest - spare,
        "c": 0,
        "d": 0,
    }
    for path, data in (("c", b"z" * (largest + 1)), ("d", b"w" * (MAX_PAYLOAD + 1))):
        name = hashlib.sha256(data).hexdigest()
        assert found[path].headers["Edge-Object"] == f"edge_replay_test-site/{name}"
        assert asyncio.run(read_object(server.url, "edge_replay_test-site", name)) == name
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0
    assert daemon.waiting() == []


def test_a_name_that_no_message_can_carry_is_refused(make_nats_server: MakeNatsServer, make_daemon: MakeDaemon) -> None:
    """Before anything of the file is sent; the connection is kept."""
    server = make_nats_server(config="max_payload: 4096")
    server.start()
    daemon = make_daemon(server.url)
    daemon.start()
    daemon.drop(UNSPEAKABLE, b"z" * 10_000)
    eventually(lambda: daemon.rows_so_far("refused"), what="the file is refused")
    eventually(lambda: len(below(own(daemon, "quarantine"))) == 2, what="it is set aside, with its reason")
    (reason,) = [path for path in below(own(daemon, "quarantine")) if path.suffix == ".json"]
    sidecar = json.loads(reason.read_text())
    assert sidecar["reason"] == "too_large"
    assert "bytes of headers alone, the server takes 4096" in sidecar["error"]
    assert sidecar["sha256"] == hashlib.sha256(b"z" * 10_000).hexdigest()
    assert asyncio.run(held(server.url, "OBJ_edge_replay_test-site")).messages == 0
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0


def test_a_limit_that_shrinks_under_a_running_daemon_costs_one_connection_and_no_file(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """The server tells its new limit to new connections only; a file beyond it goes as an object then."""
    server = make_nats_server(config=f"max_payload: {MAX_PAYLOAD}")
    server.start()
    daemon = make_daemon(server.url)
    daemon.start()
    daemon.drop("a", b"x" * 10_000)
    delivered(daemon, 1)
    config = server.folder / "nats-server.conf"
    config.write_text(config.read_text().replace(str(MAX_PAYLOAD), "4096"))
    os.kill(server.pid, signal.SIGHUP)
    eventually(lambda: "Reloaded: max_payload" in server.log_path.read_text(), what="the server has the new limit")

    daemon.drop("large", b"y" * 10_000)
    for number in range(20):
        daemon.drop(f"small{number}", b"%d" % number)
    delivered(daemon, 22)
    assert [row["path"] for row in daemon.rows("published") if "object" in row] == ["large"]
    assert daemon.rows("refused") == []
    assert daemon.metric("syncdaemon_link_reconnects_total") >= 1
