"""The ports of the tests: no two processes that run at the same time have one in common."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.ports import own_port

ROOT = Path(__file__).parents[2]
COUNT = 50
ASK = f"""
from tests.support.ports import own_port
print(*(own_port() for _ in range({COUNT})), flush=True)
input()
"""


def test_processes_that_live_at_the_same_time_share_no_port() -> None:
    """Without binding any of them, and whether or not something listens there."""
    command = [sys.executable, "-c", ASK]
    pipe = subprocess.PIPE
    others = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    ports = [own_port() for _ in range(COUNT)]
    for other in others:
        assert other.stdout is not None
        ports += map(int, other.stdout.readline().split())
    for other in others:
        other.communicate("\n")
        assert other.returncode == 0
    assert len(ports) == len(set(ports)) == COUNT * (1 + len(others))
