"""The daemon is one user and the producers are another, as it is deployed: no file is taken before its end.

The kernel does not show the daemon who has a file of another user open. So the daemon goes by what it saw of the file:
renamed into place, closed after writing, or nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import eventually
from tests.support.jetstream import messages
from tests.support.users import STRANGER, MakeSite, Site

pytestmark = pytest.mark.integration

ROUNDS = int(os.environ.get("ROUNDS", "1"))
HALVES = """
pause, kind, count = float(sys.argv[1]), sys.argv[2], int(sys.argv[3])
files = [open(f"{kind}{number}", "wb", buffering=0) for number in range(count)]
for file in files:
    file.write(b"%-4000d" % int(file.name[len(kind):]))
time.sleep(pause)
for file in files:
    file.write(b"%5000s" % file.name.encode())
    file.close()
"""


def halves(kind: str, count: int) -> list[bytes]:
    """The files that HALVES writes."""
    return [b"%-4000d%5000s" % (number, b"%s%d" % (kind.encode(), number)) for number in range(count)]


def stored(server: NatsServer) -> Counter[bytes]:
    """The bodies that the stream holds, each with how often."""
    return Counter(message.data for message in asyncio.run(messages(server.url, "swarm_jobs")))


def arrives(site: Site, server: NatsServer, *files: bytes, within: float = 20) -> None:
    """Exactly these files are in the stream, each once, and nothing is left."""
    eventually(lambda: len(site.daemon.rows_so_far("published")) >= len(files), within, "all have a receipt")
    eventually(lambda: not site.daemon.waiting(), 10, "nothing is left")
    assert stored(server) == Counter(files)


def started(site: Site) -> Site:
    """Returns when its watch is on."""
    site.daemon.start()
    eventually(lambda: checks(site)["others"] == "close", 5, "its watch is on")
    return site


def tell(producer: subprocess.Popen[bytes]) -> None:
    """The producer goes on."""
    assert producer.stdin is not None
    producer.stdin.write(b"!")
    producer.stdin.flush()


def checks(site: Site) -> dict[str, str]:
    """What the daemon's status says of how it finds out that a file is complete."""
    found: dict[str, str] = json.loads(site.daemon.get("/status"))["complete_by"]
    return found


def counted(site: Site, count: int = 1) -> None:
    """Waits until so many files wait."""
    eventually(lambda: site.daemon.metric("replay_queue_depth") == count, 10, f"{count} files wait")


def test_status_says_which_check_holds_for_whose_files(nats_server: NatsServer, make_site: MakeSite) -> None:
    """A lease for the daemon's own files, what was seen for those of others; without a watch a long quiet time."""
    site = started(make_site(nats_server.url))
    assert checks(site) == {"own": "lease", "others": "close"}
    site.daemon.kill()
    site.daemon.env["WATCHFILES_FORCE_POLLING"] = "1"
    site.daemon.start()
    assert checks(site) == {"own": "lease", "others": "quiet"}


@pytest.mark.parametrize("pause", [0.5, 1.2])
def test_a_file_that_is_written_with_a_pause_arrives_whole(
    nats_server: NatsServer, make_site: MakeSite, pause: float
) -> None:
    """20 files, of which 4,000 of 9,000 bytes are written before the pause."""
    site = started(make_site(nats_server.url))
    site.produced(HALVES, str(pause), "f", "20")
    arrives(site, nats_server, *halves("f", 20), within=5)


def test_a_recorder_that_keeps_its_file_open_is_waited_for(nats_server: NatsServer, make_site: MakeSite) -> None:
    """However long its pauses are; other files pass meanwhile, also one that is renamed over nothing."""
    site = started(make_site(nats_server.url, SYNC_SETTLE_IN_PLACE_SECONDS="1"))
    recorder = site.produce(
        "file = open('record', 'wb', buffering=0)\n"
        "for line in range(3): time.sleep(2.5); file.write(b'line %d;' % line)\n"
        "time.sleep(2.5)"
    )
    for number in range(3):
        began = time.monotonic()
        site.produced(f"append('.{number}', b'{number}'); os.rename('.{number}', 'other{number}')")
        eventually(lambda: not list(site.replay.glob("other*")), 3, "the other file passes")
        assert time.monotonic() - began < 4
    assert recorder.wait(20) == 0
    arrives(site, nats_server, b"line 0;line 1;line 2;", b"0", b"1", b"2", within=5)


def test_a_writer_that_dies_without_closing_has_ended_its_file(nats_server: NatsServer, make_site: MakeSite) -> None:
    """The kernel closes it."""
    site = started(make_site(nats_server.url))
    writer = site.produce("file = open('cut', 'wb', buffering=0); file.write(b'part'); time.sleep(60)")
    counted(site)
    time.sleep(1)
    assert not site.daemon.rows_so_far("published")
    writer.send_signal(signal.SIGKILL)
    arrives(site, nats_server, b"part", within=3)


def test_of_two_writers_the_first_close_after_the_last_change_counts(
    nats_server: NatsServer, make_site: MakeSite
) -> None:
    """The second one that writes again makes it unfinished again."""
    site = started(make_site(nats_server.url))
    site.produced(
        "one, two = open('f', 'ab', buffering=0), open('f', 'ab', buffering=0)\n"
        "one.write(b'1'); two.write(b'2'); one.close(); two.write(b'3'); time.sleep(1); two.write(b'4'); two.close()"
    )
    arrives(site, nats_server, b"1234", within=5)


def test_all_usual_ways_to_write_a_file_are_soon_over(nats_server: NatsServer, make_site: MakeSite) -> None:
    """Within a few seconds of their end, not after the long quiet time."""
    site = started(make_site(nats_server.url))
    site.produced(
        "import mmap, shutil, subprocess\n"
        "append('.src', b'copied')\n"
        "subprocess.run(['cp', '.src', 'cp'], check=True)\n"
        "subprocess.run(['cp', '-p', '.src', 'cp-p'], check=True)\n"
        "subprocess.run('for i in 1 2 3 4 5; do echo $i >> loop; sleep 0.05; done', shell=True, check=True)\n"
        "append('.rsync.Xa1', b'rsync'); os.rename('.rsync.Xa1', 'rsync')\n"
        "append('mode', b'chmod'); time.sleep(0.2); os.chmod('mode', 0o644); os.utime('mode', (1, 1))\n"
        "append('later.part', b'first;'); os.rename('later.part', 'later'); append('later', b'second')\n"
        "append('visible', b'turned over'); os.rename('visible', 'visible.1')\n"
        "open('empty', 'wb').close()\n"
        "file = open('mapped', 'w+b'); file.truncate(4096); map = mmap.mmap(file.fileno(), 4096); file.close()\n"
        "map[:5] = b'first'; time.sleep(1); map[4091:] = b'last.'; map.close()\n"
        "append(b'no-utf8-\\xff\\xfe', b'raw name')\n"
        "os.mkdir('new'); time.sleep(0.1); append('new/a', b'in a new folder'); os.unlink('.src')\n"
    )
    ended = time.monotonic()
    mapped = b"first" + bytes(4086) + b"last."
    files = [b"copied", b"1\n2\n3\n4\n5\n", b"rsync", b"chmod", b"first;second", b"turned over", b"", mapped]
    files += [b"raw name", b"in a new folder"]
    eventually(lambda: not site.daemon.waiting(), 10, "all are let go of")
    assert time.monotonic() - ended < 8
    assert stored(nats_server) == Counter(files), "and the second copy is a duplicate"
    assert not site.daemon.logged("watch_failed")


def test_what_was_not_seen_waits_longer(nats_server: NatsServer, make_site: MakeSite) -> None:
    """A hard link brings a file without a close, and what lay there before the daemon was never seen at all."""
    site = make_site(nats_server.url, SYNC_SETTLE_IN_PLACE_SECONDS="4")
    site.produced("append('old', b'was there before')")
    began = time.monotonic()
    started(site)
    site.produced("append('.linked', b'linked'); os.link('.linked', 'linked'); os.unlink('.linked')")
    eventually(lambda: len(site.daemon.rows_so_far("published")) == 1, 8, "the old one is delivered")
    assert time.monotonic() - began > 2
    arrives(site, nats_server, b"was there before", b"linked", within=10)
    assert time.monotonic() - began > 4


def test_a_log_that_is_turned_over_while_it_is_open_is_waited_for(nats_server: NatsServer, make_site: MakeSite) -> None:
    """A rename to another name does not end what is known to be open; nor does a rename of its folder."""
    site = started(make_site(nats_server.url, SYNC_SETTLE_IN_PLACE_SECONDS="1"))
    site.produced(
        "os.mkdir('a'); time.sleep(0.3)\n"
        "log, deep = open('log', 'wb', buffering=0), open('a/deep', 'wb', buffering=0)\n"
        "log.write(b'one;'); deep.write(b'ONE;')\n"
        "os.rename('log', 'log.1'); os.rename('a', 'b'); time.sleep(3)\n"
        "log.write(b'two'); deep.write(b'TWO'); time.sleep(2)\n"
    )
    arrives(site, nats_server, b"one;two", b"ONE;TWO", within=5)


def test_a_name_that_is_used_again_while_the_old_file_is_open(nats_server: NatsServer, make_site: MakeSite) -> None:
    """The close of the file that has lost its name does not end the new one."""
    site = started(make_site(nats_server.url, SYNC_SETTLE_IN_PLACE_SECONDS="1"))
    site.produced(
        "old = open('f', 'wb', buffering=0); old.write(b'old'); os.unlink('f')\n"
        "new = open('f', 'wb', buffering=0); new.write(b'new;'); old.close(); time.sleep(2.5); new.write(b'end')\n"
    )
    arrives(site, nats_server, b"new;end", within=5)


def test_a_restart_in_the_middle_costs_only_time(nats_server: NatsServer, make_site: MakeSite) -> None:
    """A file whose writing goes on is waited for; one that ended meanwhile comes after the long quiet time."""
    site = started(make_site(nats_server.url, SYNC_SETTLE_IN_PLACE_SECONDS="8"))
    writer = site.produce(
        "going, ended = open('going', 'wb', buffering=0), open('ended', 'wb', buffering=0)\n"
        "going.write(b'one;'); ended.write(b'whole'); sys.stdin.read(1); ended.close()\n"
        "sys.stdin.read(1); going.write(b'two;'); time.sleep(11); going.write(b'end')"
    )
    counted(site, 2)
    site.daemon.kill()
    tell(writer)
    started(site)
    tell(writer)
    assert writer.wait(30) == 0
    arrives(site, nats_server, b"one;two;end", b"whole")


def test_a_large_file_of_which_nothing_was_seen_costs_only_time(nats_server: NatsServer, make_site: MakeSite) -> None:
    """It came while no daemon ran, and it is stored as an object."""
    site = make_site(nats_server.url, SYNC_SETTLE_IN_PLACE_SECONDS="1")
    site.produced("append('large', bytes(3 << 20)); append('small', b'whole')")
    started(site)
    eventually(lambda: len(site.daemon.rows_so_far("published")) == 2, 15, "both are delivered")


@pytest.mark.lengthy
def test_an_overflow_of_the_kernels_queue_costs_only_time(nats_server: NatsServer, make_site: MakeSite) -> None:
    """While the daemon stands still, more happens than the kernel keeps. What it knew then is forgotten."""
    site = started(make_site(nats_server.url, SYNC_SETTLE_IN_PLACE_SECONDS="8"))
    os.kill(site.daemon.pid, signal.SIGSTOP)
    writer = site.produce(
        "file = open('f', 'wb', buffering=0); file.write(b'begin;')\n"
        "for number in range(10_000): open('.x', 'wb').close(); os.unlink('.x')\n"
        "append('g', b'unseen'); print('full', flush=True)\n"
        "sys.stdin.read(1); file.write(b'middle;'); time.sleep(11); file.write(b'end')\n"
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"full\n"
    os.kill(site.daemon.pid, signal.SIGCONT)
    eventually(lambda: site.daemon.logged("watch_failed"), what="the watch is broken")
    eventually(lambda: checks(site)["others"] == "close", 5, "its watch is on again")
    tell(writer)
    assert writer.wait(60) == 0
    arrives(site, nats_server, b"begin;middle;end", b"unseen")
    assert "max_queued_events" in site.daemon.logged("watch_failed")[0]["error"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("by", ["one by one", "as a folder"])
def test_many_files_that_are_moved_in_at_once(nats_server: NatsServer, make_site: MakeSite, by: str) -> None:
    """100,000 of them, in a short torture 30,000: inotify queues half of that. Another file is written meanwhile."""
    count = 100_000 if ROUNDS > 1 else 30_000
    site = started(make_site(nats_server.url))
    slow = site.produce("file = open('open', 'wb', buffering=0); file.write(b'a;'); time.sleep(20); file.write(b'b')")
    one_by_one = f"for number in range({count}): os.rename(f'.in/{{number}}', f'{{number}}')"
    site.produced(
        f"os.mkdir('.in')\nfor number in range({count}): append(f'.in/{{number}}', b'%d' % number)\ntime.sleep(0.1)\n"
        + (one_by_one if by == "one by one" else "os.rename('.in', 'd')")
    )
    moved = time.monotonic()
    eventually(lambda: len(site.daemon.rows_so_far("published")) >= 1000, 10, "the first are delivered soon")
    assert slow.wait(120) == 0
    eventually(lambda: site.daemon.metric("syncdaemon_published_files_total") == count + 1, 200, "all are delivered")
    print(f"{time.monotonic() - moved:.1f} s; {site.daemon.logged('watch_failed')}")
    assert stored(nats_server) == Counter([b"%d" % number for number in range(count)] + [b"a;b"])


def test_a_folder_that_can_not_be_watched_is_left_out_and_the_rest_goes_on(
    nats_server: NatsServer, make_site: MakeSite
) -> None:
    """Only its owner may look into it. That is said once, and what it costs."""
    site = make_site(nats_server.url)
    site.produced("os.mkdir('own', 0o700); append('own/secret', b'not ours')", uid=STRANGER)
    site.produced("os.mkdir('a'); os.mkdir('z')")
    started(site)
    site.produced("append('a/f', b'one'); append('z/f', b'two'); append('f', b'three')")
    eventually(lambda: len(site.daemon.rows_so_far("published")) == 3, 5, "the others are delivered")
    (said,) = site.daemon.logged("folder_not_watched", at_least=1)
    assert "Permission denied" in said["error"]
    assert Path(site.replay / "own" / "secret").read_bytes() == b"not ours"
