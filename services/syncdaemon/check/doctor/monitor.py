"""The server's monitoring pages: whether it syncs before it acknowledges, its memory, and what time it is there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from syncdaemon.base.pages import open_page
from syncdaemon.check.diagnosis import MemoryFacts, SyncFacts
from syncdaemon.check.doctor.asked import SECONDS, Reported
from syncdaemon.stream import fields, room

_NO_LIMIT = 1 << 60  # Go says the largest number where GOMEMLIMIT is not set


def time_of(page: Mapping[str, Any] | None) -> datetime | None:
    """What time it is at the server; None where no page tells."""
    try:
        return fields.moment((page or {}).get("now"))
    except ValueError:
        return None


def memory_of(pages: Sequence[Reported[dict[str, Any]]], server_id: str) -> MemoryFacts | None:
    """From /varz and /jsz of this server (nats-server 2.15): GOMEMLIMIT, and the messages of all streams together.

    None where there is no such limit, or where it can't be read: that is no finding of its own.
    """
    bodies = [page.found or {} for page in pages]
    if any(body.get("server_id") != server_id for body in bodies):
        return None
    varz, jsz = bodies
    try:
        limit, messages = fields.whole(varz.get("gomemlimit", 0)), fields.whole(jsz.get("messages", 0))
    except ValueError:
        return None
    return MemoryFacts(room.memory_of(limit), messages) if 0 < limit < _NO_LIMIT else None


def fetch(url: str) -> Reported[dict[str, Any]]:
    """A page of the monitoring port, as JSON; nothing without a URL."""
    if not url:
        return Reported(None)
    asked = time.time_ns()
    try:
        with open_page(url, SECONDS) as page:
            body = fields.document(page.read())
    except (OSError, ValueError) as error:
        return Reported(None, f"{url} can't be read: {getattr(error, 'reason', error)}")
    if "server_id" not in body:
        return Reported(None, f"{url} is no page of a nats-server")
    return Reported(body, "", False, asked, time.time_ns())


def sync_of(seen: Reported[dict[str, Any]]) -> SyncFacts:
    """From /jsz (nats-server 2.15): `sync_always` is there only where it is true, `sync_interval` is in ns."""
    body = seen.found or {}
    try:
        config = fields.checked(body.get("config") or {}, {"sync_interval": fields.whole})
    except ValueError as error:
        return SyncFacts(f"the server there tells of its JetStream what can't be read: {error}")
    if seen.problem or not config:
        return SyncFacts(seen.problem or "the server there has no JetStream")
    return SyncFacts(
        always=config.get("sync_always") is True,
        interval=config.get("sync_interval", 0) / 1e9,
        server=str(body.get("server_name", "")),
        server_id=str(body["server_id"]),
    )
