"""A real daemon process dies at every call that changes the disk or the wire; the next one keeps the promises."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from itertools import starmap
from operator import add
from pathlib import Path
from typing import NamedTuple

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.audit import Audit, File, audit
from tests.support.client import connect
from tests.support.daemon import DaemonProcess, eventually
from tests.support.deaths import Death, chosen, traced
from tests.support.jetstream import refuse_large_files
from tests.support.matrix import Matrix
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("ROUNDS", "1"))
DEATHS_A_ROUND = 16  # so many of all that there are; a long run tries them all
AT_ONCE = 4
LARGE = b"x" * (9 << 19)  # 4.5 MiB: it fills a batch, so that there are two, and several sends
TOO_LARGE = b"l" * (6 << 20)
REFUSED = [(b"too large", TOO_LARGE)]
FILES = [
    (b"plain", b"plain"),
    (b"copy of plain", b"plain"),
    (b"empty", b""),
    (b"sub/folder/\xff\n", b"in a folder"),
    (b"batch", LARGE),
    (b"late", b"late"),
    *REFUSED,
]
# What a run has to come by, or the sweep misses a state of the table: each as it stands in a trace.
STATIONS = (
    r"openat\t.*/evidence-.*",
    r"write\t.*/evidence-.*",
    r"fdatasync\t.*/evidence-.*",
    r"sendto\t'tcp'",
)
ASIDE = (r"write\t.*/quarantine/.*reason\.json\.tmp'", r"renameat\t.*/too large .*/quarantine/.*")
HOLD = (r"renameat\t.*/plain .*/held/.*", r"fsync\t.*/held/.*", r"unlinkat\t.*/held/.*")
ARCHIVE = (r"renameat\t.*/plain .*/archive/.*", r"mkdirat\t.*/archive/.*", r"fsync\t.*/archive/.*")


class Way(NamedTuple):
    """What becomes of files, and how they are published. `plain`: a subject for all of them, on a stream that
    forgets their ids after 0.1 s, before the next process can be there. `objects`: what is too large for a message is
    an object; else there is a bucket that takes nothing, and it is refused."""

    settings: dict[str, str]
    stations: tuple[str, ...]
    plain: bool = False
    objects: bool = False

    def files(self, site: str) -> list[tuple[bytes, bytes]]:
        """Equal contents are stored as often as they come, on a plain subject after the window.

        Objects are shared, so each site has a content of its own: or only the first would upload anything.
        """
        if self.objects:
            own = site.encode() + TOO_LARGE
            return [(b"plain", b"plain"), (b"too large", own), (b"copy of it", own), (b"late", b"late")]
        return [file for file in FILES if not (self.plain and file[0].startswith(b"copy"))]

    @property
    def refused(self) -> list[tuple[bytes, bytes]]:
        """Those of them that end in quarantine."""
        return [] if self.objects else REFUSED


WAYS = {
    "deleted": Way({"SYNC_HOLD_SECONDS": "0"}, (*HOLD, *ASIDE)),
    "archived": Way({"SYNC_AFTER": "archive"}, (*ARCHIVE, *ASIDE)),
    "on a plain subject": Way({"SYNC_HOLD_SECONDS": "0"}, (*HOLD, *ASIDE), plain=True),
    "as objects": Way({"SYNC_HOLD_SECONDS": "0"}, (*HOLD, r"renameat\t.*/too large .*/held/.*"), objects=True),
}


class Site:
    """A new site with its files and a stream of its own; two lives of its daemon."""

    def __init__(self, folder: Path, server: NatsServer, way: Way) -> None:
        folder.mkdir()
        self.server, self.stream, self.way = server, folder.name, way
        subject = f"{self.stream}.{{site}}.plain" if way.plain else f"{self.stream}.{{site}}.{{sha256}}"
        self.daemon = DaemonProcess(folder, server.url, SYNC_STREAM=self.stream, SYNC_SUBJECT=subject, **way.settings)
        self.trace = folder / "trace"
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        self.daemon.env |= {"PYTHONPATH": ":".join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
        if way.plain:
            asyncio.run(self._make_stream())
        self.files = way.files(self.stream)
        for name, data in self.files:
            self.daemon.drop(name, data)

    async def _make_stream(self) -> None:
        client = await connect(self.server.url)
        await client.jetstream().add_stream(name=self.stream, subjects=[f"{self.stream}.*.plain"], duplicate_window=0.1)
        await client.close()

    def first_life(self, death: Death) -> bool:
        """The daemon runs until it dies, or until all is delivered and it is stopped. Whether it died."""
        folders = f"{self.daemon.replay}:{self.daemon.ledger}"
        tracer = [sys.executable, "-m", "tests.support.tracer", folders, str(self.trace), str(death.at), death.when]
        self.daemon.command[:0] = [*tracer, "--"]
        self.daemon.launch()
        ended = self.daemon.process.poll
        eventually(lambda: ended() is not None or not self.daemon.waiting(), 60, "it dies, or delivers all")
        if ended() is None:
            self.daemon.process.terminate()
        return self.daemon.ended(30) != 0

    def second_life(self) -> float:
        """What it left is delivered; the seconds that this took."""
        began = time.monotonic()
        command = [sys.executable, "-m", "syncdaemon", "drain", "--timeout", "60"]
        ended = subprocess.run(command, env=self.daemon.env, capture_output=True, text=True)
        assert ended.returncode in (0, 1), ended.stderr  # 1: a file was refused, which may be in either life
        return time.monotonic() - began

    def audit(self) -> Audit:
        """Whether the promises were kept."""
        files, refused = starmap(File.of, self.files), starmap(File.of, self.way.refused)
        return audit(self.server.url, self.stream, self.daemon.replay, self.daemon.ledger, files, refused)

    def calls(self) -> list[str]:
        """Name and target of each call that the tracer counted."""
        return traced(self.trace)


@pytest.mark.parametrize("way", WAYS)
def test_a_daemon_killed_at_any_call_keeps_the_promises(
    make_nats_server: MakeNatsServer, tmp_path: Path, matrix: Matrix, way: str
) -> None:
    """Each of them in its turn; where ROUNDS is small, every n-th, from a random one on."""
    server = make_nats_server(config="max_payload: 5MB")
    server.start()
    if not WAYS[way].objects:
        asyncio.run(refuse_large_files(server.url))
    whole = Site(tmp_path / "whole", server, WAYS[way])
    assert not whole.first_life(Death(0, "never"))
    calls = whole.calls()
    for station in (*STATIONS, *WAYS[way].stations):
        assert any(re.fullmatch(station, call) for call in calls), f"no call is {station}"
    assert whole.audit().problems == []

    deaths = chosen(calls, DEATHS_A_ROUND * ROUNDS)

    def die(death: Death) -> tuple[bool, float, Audit]:
        site = Site(tmp_path / f"{death.when}-{death.at}", server, WAYS[way])
        died, recovery, found = site.first_life(death), site.second_life(), site.audit()
        assert found.problems == [], (death, site.calls()[-3:])
        assert died or len(site.calls()) < death.at, "only a run that has fewer calls is spared"
        return died, recovery, found

    with ThreadPoolExecutor(AT_ONCE) as sites:  # each has a stream of its own
        ends = list(sites.map(die, deaths))
    died = sum(end[0] for end in ends)
    total = reduce(add, (found for _, _, found in ends))
    matrix.add(
        f"daemon killed at a call that changes disk or wire, files {way}", died, total, max(end[1] for end in ends)
    )
    assert died >= 0.8 * len(deaths), "how many pieces go over the wire depends on the time; little else does"
