"""A real Prometheus scrapes `syncdaemon hub` alone, and has all forty real daemons; three of them are cut off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from scripts.prometheus import Prometheus
from syncdaemon.dev.server import NatsServer
from tests.support.daemon import DaemonProcess, eventually
from tests.support.fleet import HubProcess
from tests.support.prometheus import need
from tests.support.relay import Relay

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

ALL, CUT, WAVE = 40, 3, 5
RULES = Path(__file__).parents[2] / "k8s/components/monitoring/rules.yaml"


def linked(daemon: DaemonProcess) -> bool:
    """Whether it has had a connection."""
    return "link_up" in daemon.log()


@pytest.fixture
def forty(nats_server: NatsServer, tmp_path: Path) -> Iterator[tuple[list[DaemonProcess], Relay]]:
    """All of them run; the first few reach the server through the relay."""
    relay = Relay(nats_server.port)
    with ExitStack() as ending:
        ending.callback(relay.close)
        daemons = []
        for number in range(ALL):
            folder = tmp_path / f"site-{number}"
            folder.mkdir()
            url = relay.url if number < CUT else nats_server.url
            daemon = DaemonProcess(folder, url, SITE=f"site-{number}", SYNC_STATUS_SECONDS="1")
            ending.callback(daemon.kill)
            daemon.launch()
            daemons.append(daemon)
            if number % WAVE == WAVE - 1:  # not all forty interpreters start at the same time
                eventually(partial(linked, daemon), 120, "the last of these has a link")
        yield daemons, relay


def test_forty_sites_are_seen_and_three_are_cut_off(
    nats_server: NatsServer, forty: tuple[list[DaemonProcess], Relay], tmp_path: Path
) -> None:
    """The gauge of the three is 0 in time, that of all others stays 1, and it is 1 again afterwards."""
    need("prometheus")
    daemons, relay = forty
    for number, daemon in enumerate(daemons):
        daemon.drop("evidence", b"evidence %d" % number)
    hub = HubProcess(tmp_path, nats_server.url)
    targets = {"fleet": [f"127.0.0.1:{hub.port}"]}
    try:
        hub.start(within=180)
        with Prometheus(tmp_path / "prometheus", targets, RULES.read_text(), "1s") as prometheus:

            def up() -> set[str]:
                return {one.labels["site"] for one in prometheus.api.query('edge_link_status{seen_by="hub"} == 1')}

            everybody = {f"site-{number}" for number in range(ALL)}
            eventually(lambda: up() == everybody, 240, "Prometheus has all forty")
            relay.hold()
            eventually(lambda: up() == everybody - {f"site-{number}" for number in range(CUT)}, 180, "three are silent")
            relay.restore()
            eventually(lambda: up() == everybody, 180, "all of them are there again")
    finally:
        hub.kill()
