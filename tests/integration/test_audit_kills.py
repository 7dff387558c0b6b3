"""An auditor that is killed at any moment never signs a second history, and goes on where it was."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from tests.integration.test_auditor import Desk, publish, rows_cosigned
from tests.support.hub import MakeHub
from tests.support.sites import Site

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = 20


def test_killed_at_any_moment(make_hub: MakeHub, tmp_path: Path) -> None:
    """Each life is offered the next checkpoint, and a fork of the log."""
    hub, a = make_hub("a\n"), Site("a")
    hub.start()
    desk = Desk(hub, tmp_path, [a])
    publish(hub, a, 0, 12)
    desk.begin()
    forked, chance, size = Site("a", fork=" another"), random.Random(7), 12
    for _ in range(KILLS):
        publish(hub, a, size, size + 3)
        publish(hub, forked, size, size + 4)
        size += 3
        with subprocess.Popen(desk.command("--once"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as life:
            try:
                life.wait(chance.uniform(0.3, 2.5))
            except subprocess.TimeoutExpired:
                life.kill()
        rows_cosigned(hub, desk, a)  # it is of the one history
    desk.once(code=1)
    assert rows_cosigned(hub, desk, a) == size
