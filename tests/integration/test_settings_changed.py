"""SYNC_SUBJECT or SYNC_STREAM is changed while files are held: each held file is looked for where its receipt says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.direct_site import LOGIN, SITE, STREAM, DirectSite
from tests.support.jetstream import messages
from tests.support.owner import call
from tests.support.server import MakeNatsServer
from tests.support.shell import Shell

pytestmark = pytest.mark.integration
lengthy = pytest.mark.lengthy

FILES = [(f"f{number}", b"evidence %d" % number) for number in range(12)]
LARGE = ("large", bytes(2 << 20))
OTHER = {"SYNC_SUBJECT": "evidence.{site}.{sha256}"}
SUBJECTS = ["edge.replay.*.*", "evidence.*.*"]


def captures(url: str, *subjects: str) -> None:
    """The owner of the stream has it take these."""

    async def update() -> None:
        config = (await call(url, f"STREAM.INFO.{STREAM}"))["config"]
        await call(url, f"STREAM.UPDATE.{STREAM}", config | {"subjects": list(subjects)})

    asyncio.run(update())


def delivered(daemon: DaemonProcess, *files: tuple[str, bytes]) -> None:
    """Drops them, waits until each has its receipt, and stops the daemon while they are held."""
    daemon.start()
    for name, data in files:
        daemon.drop(name, data)
    eventually(lambda: len(daemon.rows_so_far("published")) == len(files), 30, "all have their receipts")
    assert daemon.stop() == 0


def checked(daemon: DaemonProcess) -> dict[str, Any]:
    """Starts the daemon with what was set otherwise; what it says of the hold."""
    before = len(daemon.logged("hold_checked"))
    daemon.start()
    found: dict[str, Any] = daemon.logged("hold_checked", at_least=before + 1, within=20)[-1]
    return found


@pytest.mark.parametrize(
    "captured", [SUBJECTS, pytest.param(SUBJECTS[1:], marks=lengthy)], ids=["both", "only-the-new"]
)
def test_held_files_of_the_old_subject_are_there(
    nats_server: NatsServer, make_daemon: MakeDaemon, shell: Shell, captured: list[str]
) -> None:
    """Small ones and a large one: none is lost, none is sent again, and the proof holds."""
    daemon = make_daemon(nats_server.url)
    delivered(daemon, *FILES, LARGE)
    captures(nats_server.url, *captured)
    daemon.env |= OTHER

    found = checked(daemon)
    assert (found["files"], found["lost_by_the_server"]) == (13, 0)
    daemon.drop("later", b"later")
    eventually(lambda: len(daemon.rows_so_far("published")) == 14, 20, "the delivery goes on")
    assert daemon.stop() == 0
    assert daemon.rows("held_lost") == []
    assert len(asyncio.run(messages(nats_server.url, STREAM))) == 14
    verified = shell("verify", "--stream", NATS_URL=nats_server.url, SYNC_LEDGER_DIR=str(daemon.ledger), **OTHER)
    assert verified.code == 0, verified


@lengthy
def test_what_is_lost_on_the_old_subject_is_sent_on_the_new_one(
    nats_server: NatsServer, make_daemon: MakeDaemon
) -> None:
    """Of twelve, one: the receipt's place decides in both ways."""
    daemon = make_daemon(nats_server.url)
    delivered(daemon, *FILES)
    captures(nats_server.url, *SUBJECTS)
    gone = daemon.rows("published")[5]
    asyncio.run(call(nats_server.url, f"STREAM.PURGE.{STREAM}", {"filter": gone["subject"]}))
    daemon.env |= OTHER

    assert checked(daemon)["lost_by_the_server"] == 1
    eventually(lambda: len(daemon.rows_so_far("published")) == 13, 20, "it is published once more")
    assert daemon.stop() == 0
    (again,) = daemon.rows("published")[12:]
    assert (again["sha256"], str(again["subject"]).split(".")[0]) == (gone["sha256"], "evidence")


@lengthy
@pytest.mark.parametrize("removed", [False, True], ids=["beside", "in-its-place"])
def test_the_old_stream_says_what_it_has(nats_server: NatsServer, make_daemon: MakeDaemon, removed: bool) -> None:
    """Another stream, on other subjects: nothing is lost while the old one is there, and all when it is removed."""
    daemon = make_daemon(nats_server.url)
    delivered(daemon, *FILES)
    if removed:
        asyncio.run(call(nats_server.url, f"STREAM.DELETE.{STREAM}"))
    daemon.env |= {**OTHER, "SYNC_STREAM": "evidence"}

    lost = len(FILES) if removed else 0
    assert checked(daemon)["lost_by_the_server"] == lost
    eventually(lambda: len(daemon.rows_so_far("published")) == 12 + lost, 20, "what is gone is sent to the new one")
    assert daemon.stop() == 0
    assert len(daemon.rows("held_lost")) == lost
    assert len(asyncio.run(messages(nats_server.url, "evidence"))) == lost


@pytest.mark.parametrize(
    "identity", ["site", pytest.param("content", marks=lengthy), pytest.param("path", marks=lengthy)]
)
def test_where_the_settings_are_not_seen_the_receipt_knows_the_subject(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, identity: str
) -> None:
    """A hub that shows a site nothing of the stream, and every kind of id: after a restart nothing counts as lost."""
    site = DirectSite(make_nats_server)
    daemon = make_daemon(site.server.url, **LOGIN, SYNC_MSG_ID=identity)
    delivered(daemon, *FILES)
    gone = daemon.rows("published")[3]
    assert str(gone["subject"]).split(".")[2] == SITE
    site.ask(f"STREAM.PURGE.{STREAM}", filter=gone["subject"])

    assert checked(daemon)["lost_by_the_server"] == 1
    eventually(lambda: len(daemon.rows_so_far("published")) == 13, 20, "the lost one is published once more")
    assert daemon.stop() == 0
    assert [row["sha256"] for row in daemon.rows("held_lost")] == [gone["sha256"]]
