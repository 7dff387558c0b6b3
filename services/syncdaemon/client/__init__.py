"""For programs that hand evidence over: an outbox that puts files on this machine's disk, and tickets that wait for
their receipts.

    outbox = Outbox("/agentforge/replay")
    ticket = outbox.put(b"...", name="run-7/result.json")   # on disk: it survives what the daemon survives
    receipt = ticket.receipt(timeout=30)                    # in the stream, and in the ledger

`put` needs no daemon. Everything here needs the standard library alone; `register` also needs the program's own
prometheus_client. docs/HANDOVER.md has examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from syncdaemon.client.errors import (
    DaemonAway,
    HandOverError,
    NoReplayDirectory,
    NotBelieved,
    NotProved,
    NotPut,
    ReceiptTimeout,
    Refused,
)
from syncdaemon.client.outbox import Outbox, Ticket
from syncdaemon.client.receipts import TicketReceipt

if TYPE_CHECKING:
    from syncdaemon.client.asynchronous import AsyncOutbox, AsyncTicket

__all__ = [
    "AsyncOutbox",
    "AsyncTicket",
    "DaemonAway",
    "HandOverError",
    "NoReplayDirectory",
    "NotBelieved",
    "NotProved",
    "NotPut",
    "Outbox",
    "ReceiptTimeout",
    "Refused",
    "Ticket",
    "TicketReceipt",
]


def __getattr__(name: str) -> Any:
    """What needs asyncio is imported when it is first used: a program with threads alone starts faster."""
    if name not in ("AsyncOutbox", "AsyncTicket"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from syncdaemon.client import asynchronous

    return getattr(asynchronous, name)
