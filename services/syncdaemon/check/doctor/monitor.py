"""What the server's monitoring port says, and what an answer says of the server's clock."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from syncdaemon.base.pages import open_page
from syncdaemon.check.diagnosis import SyncFacts
from syncdaemon.stream import fields

SECONDS = 5.0  # for each answer

Found = TypeVar("Found")


class Probed(NamedTuple, Generic[Found]):
    """What was found, and when it was asked and answered (ns of our wall clock); `problem`: why nothing was."""

    found: Found | None
    problem: str = ""
    denied: bool = False
    asked_ns: int = 0
    answered_ns: int = 0


class Clock(NamedTuple):
    """How far the server's clock is ahead of ours, and by how much that may be wrong, in seconds."""

    ahead: float
    error: float


def clock(answer: Probed[Any], server: datetime | None) -> Clock | None:
    """The server's clock against the middle of asking and answering."""
    if server is None:
        return None
    asked, answered = answer.asked_ns / 1e9, answer.answered_ns / 1e9
    return Clock(server.timestamp() - (asked + answered) / 2, (answered - asked) / 2)


def page_time(page: Mapping[str, Any] | None) -> datetime | None:
    """The server's time on a page of its monitoring port; None where it is not there."""
    try:
        return fields.moment((page or {}).get("now"))
    except ValueError:
        return None


def fetch(url: str) -> Probed[dict[str, Any]]:
    """A page of the monitoring port, as JSON; nothing without a URL."""
    if not url:
        return Probed(None)
    asked = time.time_ns()
    try:
        with open_page(url, SECONDS) as page:
            body = fields.document(page.read())
    except (OSError, ValueError) as error:
        return Probed(None, f"{url} can't be read: {getattr(error, 'reason', error)}")
    if "server_id" not in body:
        return Probed(None, f"{url} is no page of a nats-server")
    return Probed(body, "", False, asked, time.time_ns())


def sync(seen: Probed[dict[str, Any]]) -> SyncFacts:
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
