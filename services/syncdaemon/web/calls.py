"""What may be called at the local door: the bodies of the calls, read and checked. Pure.

Every body is a JSON object. A field that a call does not know is an error, so that a misspelt one is never ignored.
`docs/openapi.json` describes the same.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from math import isfinite
from typing import Any, NamedTuple

from syncdaemon.base.tickets import BadTicket, TicketKey, parse

MOST_BYTES = 262_144
"""Of a body."""

MOST_TICKETS = 256
"""In one question."""

LONGEST_WAIT = 20.0
"""Seconds that a question may wait for an answer; less than the time that an answer may take."""

_LONGEST_ORDER = 366 * 86_400.0  # seconds
_LONGEST_VALUE = 4_096

HAND_OVER, ASK = "/v1/files", "/v1/receipts"
CONTROL = "/v1/control/"
PAUSE, RESUME, LIMIT, RESCAN, RELOAD = "pause", "resume", "limit", "rescan", "reload"
ORDERS = (PAUSE, RESUME, LIMIT, RESCAN, RELOAD)
PATHS = (HAND_OVER, ASK, *(CONTROL + name for name in ORDERS))
"""Of all calls."""


class BadCall(ValueError):
    """The body is not what this call takes; the text says why."""


class Question(NamedTuple):
    """Which files are asked about. `wait`: seconds until the answer may say nothing.

    `since`: when the oldest of them was handed over, in seconds since 1970; None where that is not known.
    """

    keys: tuple[TicketKey, ...]
    wait: float
    since: float | None = None


class SteeringOrder(NamedTuple):
    """What an operator wants. `seconds`: for how long; None: until the process ends, or the next order of this kind.

    `large`: it means large files alone. `value`: what the limit is to be.
    """

    call: str
    seconds: float | None = None
    large: bool = False
    value: str = ""


def file_of(body: bytes) -> TicketKey:
    """The file that is handed over. Raises BadCall."""
    return _ticket(_fields(body, {"ticket"}).get("ticket"))


def question_of(body: bytes) -> Question:
    """The files that are asked about. Raises BadCall."""
    fields = _fields(body, {"tickets", "wait_seconds", "since"})
    tickets = fields.get("tickets")
    if not isinstance(tickets, list) or not 1 <= len(tickets) <= MOST_TICKETS:
        raise BadCall(f"tickets: a list of 1 to {MOST_TICKETS} tickets")
    wait = _number(fields, "wait_seconds", LONGEST_WAIT) or 0.0
    return Question(tuple(dict.fromkeys(map(_ticket, tickets))), wait, _number(fields, "since", 1e11))


def order_of(call: str, body: bytes) -> SteeringOrder:
    """What is to be done. Raises BadCall."""
    allowed = {PAUSE: {"for_seconds", "large"}, LIMIT: {"for_seconds", "value"}}.get(call, set())
    fields = _fields(body, allowed)
    large, value = fields.get("large", False), fields.get("value", "")
    if not isinstance(large, bool):
        raise BadCall("large: true or false")
    if not isinstance(value, str) or len(value) > _LONGEST_VALUE or (call == LIMIT and not value):
        raise BadCall("value: a bandwidth such as 64k, a timetable, off, or timetable for that of the settings")
    return SteeringOrder(call, _number(fields, "for_seconds", _LONGEST_ORDER), large, value)


def _fields(body: bytes, known: Collection[str]) -> dict[str, Any]:
    try:
        fields = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise BadCall("the body is no JSON") from None
    if not isinstance(fields, dict):
        raise BadCall("the body is no JSON object")
    if unknown := sorted(fields.keys() - known):
        raise BadCall(f"no field {unknown[0]!r} here; there are: {', '.join(sorted(known)) or 'none'}")
    return fields


def _ticket(text: object) -> TicketKey:
    try:
        return parse(text)
    except BadTicket as error:
        raise BadCall(str(error)) from None


def _number(fields: dict[str, Any], name: str, most: float) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or not 0 <= value <= most:
        raise BadCall(f"{name}: a number from 0 to {most:g}")
    return float(value)
