"""docs/MAINTENANCE.md names only what there is, and each of its procedures is run by a test."""

from __future__ import annotations

import re

from syncdaemon.settings.table import VARIABLES
from tests.support import runbook
from tests.support.runbook import MAINTENANCE

OF_THE_PAGE = {"SYNC_"}
UNRUN = ("kubectl", "start_daemon()", "stop_daemon()")  # what needs a cluster, or systemd


def test_every_procedure_has_commands_that_a_test_runs() -> None:
    """`tests/integration/test_maintenance.py` does. What it can't run is of a kind that needs another machine."""
    blocks = list(runbook.blocks(MAINTENANCE))
    sections = re.findall(r"^## (.+)$", MAINTENANCE, re.MULTILINE)
    assert sections == list(dict.fromkeys(block.section for block in blocks))
    assert {block.section for block in blocks if block.runs} == set(sections)
    unrun = [line for block in blocks if not block.runs for line in block.text.splitlines()]
    assert [line for line in unrun if not line.startswith(UNRUN)] == []


def test_only_root_is_to_stop_and_start_the_unit() -> None:
    """The commands are those of the daemon's user, whom systemd asks for a password that it does not have."""
    lines = [line for block in runbook.blocks(MAINTENANCE) for line in block.text.splitlines() if "systemctl" in line]
    assert len(lines) == 2
    assert [line for line in lines if "read -rp 'In a shell of root: systemctl" not in line] == []


def test_every_setting_is_one() -> None:
    """By its name."""
    named = set(re.findall(r"\b(?:SYNC_[A-Z_]*[A-Z]|NATS_URL|SITE)\b", MAINTENANCE))
    assert named - set(VARIABLES) == set()
