"""Closed days of the ledger at a real server: compressed, shipped, read back, taken away, fetched, verified."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.client import connect
from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.jetstream import messages
from tests.support.ledger_days import DAYS, write_days
from tests.support.process import clean_environment

pytestmark = pytest.mark.integration

SITE = "test-site"
UNPROVED = {"SYNC_LEDGER_KEEP_DAYS": "2", "SYNC_LEDGER_PRUNE": "unproved"}


def days_here(ledger: Path) -> list[str]:
    return sorted(name[19:] for name in os.listdir(ledger) if name.startswith("evidence-"))


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def run(daemon: DaemonProcess, url: str, *arguments: str, **settings: str) -> Ended:
    own = {"NATS_URL": url, "SITE": SITE, "SYNC_LEDGER_DIR": str(daemon.ledger)}
    done = subprocess.run(
        [sys.executable, "-m", "syncdaemon", *arguments],
        env=clean_environment() | own | UNPROVED | settings,
        cwd=daemon.ledger.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def test_a_daemon_ships_and_takes_away_by_itself_and_delivers_meanwhile(
    nats_server: NatsServer, make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    daemon = make_daemon(nats_server.url, **UNPROVED)
    daemon.ledger.mkdir()
    write_days(daemon.ledger, SITE)
    daemon.start()
    daemon.drop("file", b"content")
    eventually(lambda: daemon.metric("syncdaemon_published_files_total") == 1, 30, "it is delivered")
    eventually(lambda: len(days_here(daemon.ledger)) == 3, 60, "the oldest days are taken away")
    assert daemon.stop() == 0
    assert days_here(daemon.ledger)[:2] == ["20260104.jsonl.zst", "20260105.jsonl.zst"]

    kept = asyncio.run(messages(nats_server.url, "edge_ledger"))
    assert sorted(one.subject.split(".")[-2] for one in kept) == [day.replace("-", "") for day in DAYS]
    verified = run(daemon, nats_server.url, "verify")
    assert verified.code == 0, verified
    assert "rows 1 to 120 were shipped to the hub and taken away" in verified.out

    fetched = run(daemon, nats_server.url, "ledger", "fetch", str(tmp_path / "fetched"))
    assert fetched.code == 0, fetched
    assert days_here(tmp_path / "fetched") == ["20260101.jsonl.zst", "20260102.jsonl.zst", "20260103.jsonl.zst"]
    for name in os.listdir(daemon.ledger):  # the days that are here, and those that were fetched, are the whole ledger
        if name.startswith("evidence-"):
            os.link(daemon.ledger / name, tmp_path / "fetched" / name)
    daemon.ledger = tmp_path / "fetched"
    whole = run(daemon, nats_server.url, "verify")
    assert whole.code == 0, whole
    assert "taken away" not in whole.out


def test_the_stream_takes_a_day_once_and_gives_none_away(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(nats_server.url, **UNPROVED)
    daemon.ledger.mkdir()
    write_days(daemon.ledger, SITE)
    write_days(daemon.ledger, SITE, ("2026-01-06",))
    assert run(daemon, nats_server.url, "ledger", "ship").code == 0

    async def ask(subject: str, body: dict[str, object], headers: dict[str, str] | None = None) -> dict[str, object]:
        client = await connect(nats_server.url)
        answer = await client.request(subject, json.dumps(body).encode(), headers=headers)
        await client.close()
        return dict(json.loads(answer.data))

    (first, *_) = asyncio.run(messages(nats_server.url, "edge_ledger"))
    calls = "$JS.API.STREAM"
    assert "error" in asyncio.run(ask(first.subject, {}))
    assert "error" in asyncio.run(ask(first.subject, {}, {"Nats-Rollup": "sub"}))
    assert "error" in asyncio.run(ask(f"{calls}.PURGE.edge_ledger", {}))
    assert "error" in asyncio.run(ask(f"{calls}.MSG.DELETE.edge_ledger", {"seq": 1}))


def test_a_stream_that_may_lose_days_gets_none(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(nats_server.url, **UNPROVED)
    daemon.ledger.mkdir()
    write_days(daemon.ledger, SITE)

    async def make() -> None:
        client = await connect(nats_server.url)
        await client.jetstream().add_stream(name="edge_ledger", subjects=["edge.ledger.>"], max_age=3600)
        await client.close()

    asyncio.run(make())
    ended = run(daemon, nats_server.url, "ledger", "ship")
    assert ended.code == 1
    assert "max_age" in ended.err
    assert asyncio.run(messages(nats_server.url, "edge_ledger")) == []


@pytest.mark.parametrize("bwlimit", ["off", "20k"])
def test_by_hand_it_is_the_same(nats_server: NatsServer, make_daemon: MakeDaemon, tmp_path: Path, bwlimit: str) -> None:
    daemon = make_daemon(nats_server.url)
    daemon.ledger.mkdir()
    write_days(daemon.ledger, SITE, rows=400)
    shipped = run(daemon, nats_server.url, "ledger", "ship", SYNC_BWLIMIT=bwlimit)
    assert shipped.code == 0, shipped
    assert "4 days were shipped to edge_ledger" in shipped.out or "5 days were shipped" in shipped.out
    pruned = run(daemon, nats_server.url, "ledger", "prune")
    assert pruned.code == 0, pruned
    assert "2 days were taken away" in pruned.out or "3 days were taken away" in pruned.out
    assert run(daemon, nats_server.url, "verify").code == 0
    assert run(daemon, nats_server.url, "ledger", "fetch", str(daemon.ledger)).code == 2


def test_a_daemon_that_has_the_ledger_is_not_interfered_with(nats_server: NatsServer, make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(nats_server.url)
    daemon.start()
    ended = run(daemon, nats_server.url, "ledger", "prune")
    assert ended.code == 2
    assert "another process writes the ledger" in ended.err


def test_a_changed_day_at_the_hub_is_not_taken_for_the_ledger(
    nats_server: NatsServer, make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    """Whoever owns the hub can make the stream anew: what it has then is held to the row."""
    daemon = make_daemon(nats_server.url, **UNPROVED)
    daemon.ledger.mkdir()
    write_days(daemon.ledger, SITE)
    assert run(daemon, nats_server.url, "ledger", "ship").code == 0
    assert run(daemon, nats_server.url, "ledger", "prune").code == 0

    async def falsify() -> None:
        kept = await messages(nats_server.url, "edge_ledger")
        client = await connect(nats_server.url)
        js = client.jetstream()
        await js.delete_stream("edge_ledger")
        await js.add_stream(name="edge_ledger", subjects=["edge.ledger.>"], allow_direct=True)
        for one in kept:
            await js.publish(one.subject, one.data[:-1] + b"\0")
        await client.close()

    asyncio.run(falsify())
    ended = run(daemon, nats_server.url, "ledger", "fetch", str(tmp_path / "fetched"))
    assert ended.code == 1
    assert "is not what row" in ended.err
