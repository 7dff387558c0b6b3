"""A site that shares a hub with others, each with an account of its own: every command under just its rights."""

from __future__ import annotations

import json
import os
import time
from hashlib import sha256

import pytest

from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.direct_site import LOGIN, SITE, STREAM, DirectSite
from tests.support.server import MakeNatsServer
from tests.support.shell import Shell

pytestmark = pytest.mark.integration

OWN_BUCKET = {"SYNC_BUCKET": "edge_replay_{site}"}


@pytest.fixture
def site(make_nats_server: MakeNatsServer) -> DirectSite:
    """A hub that runs, and the rights of one site."""
    return DirectSite(make_nats_server)


def started(site: DirectSite, make_daemon: MakeDaemon, **settings: str) -> DaemonProcess:
    """The site's daemon, ready."""
    daemon = make_daemon(site.server.url, **LOGIN, **OWN_BUCKET, **settings)
    daemon.start()
    return daemon


def delivered(daemon: DaemonProcess, count: int) -> None:
    """Waits until so many files have their receipts."""
    eventually(lambda: len(daemon.rows_so_far("published", "duplicate")) == count, 30, f"{count} receipts")


def squat(site: DirectSite, data: bytes) -> None:
    """A neighbour stores garbage under the id of this content."""
    digest = sha256(data).hexdigest()
    site.publish(f"edge.replay.neighbour.{digest}", b"garbage", Nats_Msg_Id=digest, Edge_Sha256=digest)


def test_files_small_and_large_and_again(site: DirectSite, make_daemon: MakeDaemon, shell: Shell) -> None:
    """Delivered, told again as duplicates, and proved; and nothing waits for what the site may not see."""
    daemon = started(site, make_daemon, SYNC_HOLD_SECONDS="0")
    large = os.urandom(3 << 20)
    for number in range(50):
        daemon.drop(f"{number}.bin", b"%d" % number)
    daemon.drop("large.bin", large)
    delivered(daemon, 51)
    daemon.drop("again.bin", b"7")
    daemon.drop("large-again.bin", large)
    delivered(daemon, 53)

    assert {row["path"] for row in daemon.rows("duplicate")} == {"again.bin", "large-again.bin"}
    assert site.state()["messages"] == 51
    health = json.loads(daemon.page("/healthz")[1])
    assert health["ok"], health
    assert "not seen" in health["checks"]["settings"]["detail"]
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0
    verified = shell("verify", "--stream", NATS_URL=site.server.url, SYNC_LEDGER_DIR=str(daemon.ledger), **LOGIN)
    assert verified.code == 0, verified
    assert "51 messages" in verified.out
    found = shell("doctor", "--json", NATS_URL=site.server.url, **LOGIN, **OWN_BUCKET)
    levels = {one["check"]: (one["level"], one["said"]) for one in json.loads(found.out)}
    assert levels["stream"][0] == "warning"
    assert "are not seen" in levels["stream"][1]
    assert levels["may_publish"][0] == levels["may_read"][0] == levels["bucket"][0] == "ok"


def test_a_missing_right_costs_no_connection_and_makes_nothing_else_wait(
    site: DirectSite, make_daemon: MakeDaemon
) -> None:
    """A neighbour has our id; longer than a message may be unanswered, all else is delivered over one connection."""
    daemon = started(site, make_daemon, SYNC_HOLD_SECONDS="0")
    squat(site, b"evidence")
    daemon.drop("evidence", b"evidence")
    delivered(daemon, 1)
    ends = time.monotonic() + 12
    while time.monotonic() < ends:
        daemon.drop(f"{time.monotonic_ns()}", b"%d" % time.monotonic_ns())
        time.sleep(0.5)
    eventually(lambda: not daemon.waiting(), 10, "all is delivered")

    (row,) = [row for row in daemon.rows("published") if row["path"] == "evidence"]
    assert row["subject"] == f"edge.replay.{SITE}.{sha256(b'evidence').hexdigest()}"
    assert str(row["msg_id"]).startswith(sha256(b"evidence").hexdigest() + ".")
    stored = site.ask(f"STREAM.MSG.GET.{STREAM}", seq=row["stream_seq"])["message"]
    assert stored["subject"] == row["subject"]
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0


@pytest.mark.parametrize("call", [pytest.param("INFO", marks=pytest.mark.lengthy), "MSG.GET"])
def test_doctor_names_the_right_that_large_files_lack(
    make_nats_server: MakeNatsServer, shell: Shell, call: str
) -> None:
    """Without it they would wait, and `doctor` would know of nothing."""
    right = f"$JS.API.STREAM.{call}.OBJ_edge_replay_{SITE}"
    site = DirectSite(make_nats_server, hidden=right)
    found = shell("doctor", "--json", NATS_URL=site.server.url, **LOGIN, **OWN_BUCKET)
    (bucket,) = (one for one in json.loads(found.out) if one["check"] == "bucket")
    assert bucket["level"] == "warning"
    assert f"no server answers {right}: " in bucket["said"]


def test_a_kill_and_an_outage_store_nothing_twice(site: DirectSite, make_daemon: MakeDaemon) -> None:
    """The daemon is killed in the middle, and the hub restarted; what is in doubt is found on its own subject."""
    daemon = started(site, make_daemon)
    for number in range(2_000):
        daemon.drop(f"{number}.bin", b"%d" % number)
    eventually(lambda: site.state()["messages"] > 200, 30, "some are stored")
    daemon.kill()
    site.server.kill()
    site.server.start()
    daemon.start()
    eventually(lambda: not daemon.waiting(), 60, "all is delivered")

    assert site.state()["messages"] == site.state()["last_seq"] == 2_000
    delivered(daemon, 2_000)
    assert not daemon.rows("held_lost")


def test_what_the_hub_lost_is_sent_again_and_nothing_else(site: DirectSite, make_daemon: MakeDaemon) -> None:
    """After a restart every held file is looked for on its own subject: one is gone, and the leader says so."""
    daemon = started(site, make_daemon)
    for name in "abc":
        daemon.drop(name, name.encode())
    delivered(daemon, 3)
    gone = sha256(b"b").hexdigest()
    site.ask(f"STREAM.PURGE.{STREAM}", filter=f"edge.replay.{SITE}.{gone}")
    site.server.kill()
    site.server.start()

    eventually(lambda: len(daemon.rows_so_far("published")) == 4, 30, "the lost one is published once more")
    assert [row["sha256"] for row in daemon.rows("held_lost")] == [gone]
    assert site.state()["messages"] == 3
