"""A hub takes checkpoints of sites that have the printed rights and no others; kills make no fork."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.hub import MakeHub
from tests.support.judges import GoJudge, build
from tests.support.log import at_hub, judged, public, signing
from tests.support.server import MakeNatsServer

pytestmark = [pytest.mark.integration, pytest.mark.lengthy, pytest.mark.timeout(600)]

ROUNDS = int(os.environ.get("ROUNDS", "1"))
KILLS = 12  # of one round: ROUNDS=25 is three hundred


def anchored(daemon: DaemonProcess) -> None:
    daemon.drop("evidence", b"evidence")
    eventually(lambda: not daemon.waiting(), 60, "it is delivered")
    eventually(lambda: daemon.metric("syncdaemon_checkpoint_rows") >= 3, 60, daemon.ailment("checkpoints") or "covered")


@pytest.mark.parametrize("kind", ["direct", "leaf"])
def test_a_site_needs_the_printed_rights_alone(
    make_hub: MakeHub, make_daemon: MakeDaemon, tmp_path: Path, kind: str
) -> None:
    hub = make_hub("west leaf\n" if kind == "leaf" else "west\n")
    hub.start()
    login = {"NATS_HUB_DOMAIN": "hub"} if kind == "leaf" else {"NATS_USER": "site-west", "NATS_PASSWORD": "site-west"}
    url = hub.leaves["west"].url if kind == "leaf" else hub.server.url
    daemon = make_daemon(url, **signing(tmp_path), SITE="west", **login)
    daemon.start()
    anchored(daemon)
    assert daemon.stop() == 0
    records = {"user": "records", "password": hub.password("records")}
    eventually(
        lambda: len(at_hub(hub.server.url, "edge.checkpoint.west", **records)) > 1,
        90,
        "they are where the auditor reads",
    )


def test_what_another_domain_acknowledges_anchors_nothing(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    server = make_nats_server()
    server.start()
    first = make_daemon(server.url, **signing(tmp_path))
    first.start()
    anchored(first)
    assert first.stop() == 0
    daemon = make_daemon(server.url, **signing(tmp_path), NATS_HUB_DOMAIN="hub")
    daemon.start()
    eventually(lambda: "not anchored" in daemon.ailment("checkpoints"), 60, "health says so")
    daemon.drop("more", b"more")
    eventually(lambda: not daemon.waiting(), 60, "it is delivered all the same")


@pytest.mark.slow
def test_kills_at_random_moments_make_no_fork(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    """Every checkpoint at the hub goes on from the one before, by the word of a judge that is not ours."""
    judge = GoJudge(build())
    seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"SEED={seed} KILLS={KILLS * ROUNDS}")
    dice = random.Random(seed)
    server = make_nats_server()
    server.start()
    daemon = make_daemon(server.url, **signing(tmp_path, SYNC_CHECKPOINT_SECONDS="0.05"))
    daemon.start()
    for kill in range(KILLS * ROUNDS):
        for number in range(3):
            daemon.drop(f"{kill}-{number}", os.urandom(16))
        time.sleep(dice.uniform(0.3, 2.0))  # the random instant itself
        daemon.kill()
        if dice.random() < 0.25:
            server.kill()
            server.start()
        daemon.launch()
    eventually(lambda: not daemon.waiting(), 120, "everything is delivered")
    eventually(lambda: daemon.metric("syncdaemon_checkpoint_rows") > 0, 60, "it signs")
    assert daemon.metric("syncdaemon_checkpoint_conflict") == 0
    assert daemon.stop() == 0
    assert judged(judge, at_hub(server.url), public(tmp_path)) >= KILLS * ROUNDS // 4
    judge.close()
