"""The runbook's commands, run as they are written: against a daemon, a server, workers and a Prometheus."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scripts.backlog_drain import local
from scripts.prometheus import UNPACKED
from syncdaemon.dev.server import HOST
from tests.support import runbook
from tests.support.daemon import DaemonProcess, eventually
from tests.support.ports import own_port
from tests.support.prometheus import need
from tests.support.shell import run_script

pytestmark = [pytest.mark.integration, pytest.mark.lengthy, pytest.mark.timeout(300)]

SECTIONS = list(dict.fromkeys(block.section for block in runbook.blocks() if block.runs))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the page tells its reader to have: a site that has delivered, and everything within reach."""
    need("prometheus")
    need("promtool")
    daemon = DaemonProcess(tmp_path_factory.mktemp("edge"), "nats://chosen-below:4222", SITE="harbour-3")
    with ExitStack() as ending:
        rig = ending.enter_context(local.rig(1, others={"syncdaemon": [f"{HOST}:{daemon.port}"]}))
        assert rig.nats.monitor_port
        daemon.env |= {"NATS_URL": rig.nats.url, "NATS_MONITOR_URL": rig.nats.monitor_url}
        ending.callback(daemon.kill)
        daemon.start()
        for number in range(20):
            daemon.drop(f"{number}.txt", b"evidence %d" % number)
        api = rig.prometheus.api
        eventually(lambda: api.value("sum(nats_worker_processed_total)") == 20, 60, "everything is received")
        eventually(lambda: api.value('jetstream_backlog{stream="swarm_jobs"}') == 0, 60, "the queue is recorded")
        path = [str(Path(sys.executable).parent), str(UNPACKED), os.environ["PATH"]]
        yield {
            **daemon.env,
            "PATH": os.pathsep.join(path),
            "PROMETHEUS_URL": api.url,
            "EDGE_TRY_PORT": str(own_port()),
        }


@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of_a_section_work_as_written(section: str, environment: dict[str, str], tmp_path: Path) -> None:
    """All of its blocks in one shell that ends at the first command that fails."""
    script = "\n".join(block.text for block in runbook.blocks() if block.section == section and block.runs)
    run_script(script, tmp_path, environment)
