"""Section: what a daemon costs that is connected and has nothing to do.

Bytes on the wire as the daemon's interface counts them (`wire.py`), of a first contact with nothing to send and of a
month of idleness, projected from the time that was measured. CPU of its process over that time, in percent of one core,
from /proc/<pid>/stat; resident memory from /proc/<pid>/status at the end of it. Nothing asks its web side meanwhile.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.measure import BenchmarkFailed, Memory, cpu_seconds
from benchmarks.plan import Plan
from benchmarks.process import DaemonProcess, say
from benchmarks.report import megabytes, table
from benchmarks.wire import Bytes, laid

_CALM_SECONDS = 10.0  # after it has connected: all that the start asks has been answered by then
_MONTH_SECONDS = 30 * 86_400
_OURS = (sys.executable, "-m", "syncdaemon")


class Idle(NamedTuple):
    """What was measured. `contact`: the first contact, the TLS handshake apart; `percent`: of one core."""

    contact: Bytes
    month: Bytes
    percent: float
    memory: Memory


def measure(seconds: float, program: Sequence[str] = _OURS, *, tls: bool) -> Idle:
    """A daemon for so many seconds, after its start."""
    with laid(tls=tls) as (wire, folder):
        handshake = wire.handshake() if tls else Bytes(0, 0)
        start = wire.counted()
        with wire.edge, DaemonProcess(folder, wire.url, program, **wire.login) as daemon:
            time.sleep(_CALM_SECONDS)
            calm, cpu, began = wire.counted(), cpu_seconds(daemon.pid), time.monotonic()
            time.sleep(seconds)
            spent = time.monotonic() - began
            idle = wire.counted().since(calm)
            percent = (cpu_seconds(daemon.pid) - cpu) / spent * 100
            memory = Memory.of(daemon.pid)
            if not daemon.status()["link"]["up"]:
                raise BenchmarkFailed("the idle daemon lost its connection")
    month = Bytes(*(round(count / spent * _MONTH_SECONDS) for count in idle))
    found = Idle(calm.since(start).since(handshake), month, percent, memory)
    say(f"idle, {'TLS' if tls else 'plain'}: {found}")
    return found


def section(plan: Plan) -> str:
    """The section in Markdown."""
    programs = {"ours": _OURS} | ({} if plan.against is None else {"other": (str(plan.against),)})
    rows = []
    for name, program in programs.items():
        for tls in (False, True):
            found = measure(plan.idle_seconds, program, tls=tls)
            rows.append(
                [
                    f"{name}, {'TLS' if tls else 'plain'}",
                    f"{found.contact.up / 1e3:.1f}",
                    f"{found.contact.down / 1e3:.1f}",
                    megabytes(found.month.up),
                    megabytes(found.month.down),
                    megabytes(found.month.total),
                    f"{found.percent:.2f}",
                    megabytes(found.memory.now),
                    megabytes(found.memory.peak),
                ]
            )
    heads = ["daemon", "first contact kB up", "kB down", "MB a month up", "MB down", "MB together"]
    return "\n\n".join(
        [
            "## Idle",
            f"A running daemon, connected, its folder empty, for {plan.idle_seconds:g} s, projected to 30 days. Bytes "
            "as its network interface counts them, with all headers and acknowledgements. The first contact: until "
            f"{_CALM_SECONDS:g} s after the daemon was connected; with TLS without what a handshake takes. Goals: at "
            "most 10 kB for a first contact, 30 MB a month, 0.2 % of a core and 80 MB of memory.",
            table([*heads, "CPU % of one core", "RSS MB", "peak RSS MB"], rows),
        ]
    )
