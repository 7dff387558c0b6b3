"""docs/HANDOVER.md, its examples and docs/openapi.json tell what the code does."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.base import tickets
from syncdaemon.cli import steer
from syncdaemon.client import outbox, receipts
from syncdaemon.web import calls

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "HANDOVER.md").read_text(encoding="utf-8")
OPENAPI: dict[str, Any] = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
SCHEMAS = OPENAPI["components"]["schemas"]
TICKET = f"a/b%20c#{'0' * 64}"


def request_schema(path: str) -> dict[str, Any]:
    """The schema of what is sent to this path."""
    found = OPENAPI["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema: dict[str, Any] = SCHEMAS[found.rpartition("/")[2]]
    return schema


def read(path: str, body: object) -> object:
    """What the server makes of this body."""
    text = json.dumps(body).encode()
    if path == calls.HAND_OVER:
        return calls.file_of(text)
    return calls.question_of(text) if path == calls.ASK else calls.order_of(path.removeprefix(calls.CONTROL), text)


VALUES: dict[str, object] = {
    "ticket": TICKET,
    "tickets": [TICKET],
    "wait_seconds": 1,
    "since": 1_700_000_000,
    "for_seconds": 60,
    "large": True,
    "value": "64k",
}


def test_every_call_is_described_and_no_other() -> None:
    assert sorted(OPENAPI["paths"]) == sorted(calls.PATHS)
    assert all(list(one) == ["post"] for one in OPENAPI["paths"].values())


@pytest.mark.parametrize("path", calls.PATHS)
def test_the_server_takes_what_is_described_and_nothing_else(path: str) -> None:
    """All fields, the required ones alone; one that is missing, one that is unknown."""
    schema = request_schema(path)
    names, required = list(schema["properties"]), schema.get("required", [])
    read(path, {name: VALUES[name] for name in names})
    read(path, {name: VALUES[name] for name in required})
    for name in required:
        with pytest.raises(calls.BadCall):
            read(path, {other: VALUES[other] for other in names if other != name})
    with pytest.raises(calls.BadCall):
        read(path, {**{name: VALUES[name] for name in required}, "unknown": 1})
    assert schema["additionalProperties"] is False


def test_the_bounds_are_those_of_the_server() -> None:
    question = SCHEMAS["Question"]["properties"]
    assert question["tickets"]["maxItems"] == calls.MOST_TICKETS
    assert question["wait_seconds"]["maximum"] == calls.LONGEST_WAIT
    assert SCHEMAS["Ticket"]["maxLength"] == tickets.MOST
    for path, name, bounds in (
        (calls.ASK, "wait_seconds", question["wait_seconds"]),
        (calls.ASK, "since", question["since"]),
        (calls.CONTROL + calls.PAUSE, "for_seconds", SCHEMAS["Seconds"]),
        (calls.CONTROL + calls.LIMIT, "for_seconds", SCHEMAS["Seconds"]),
    ):
        given = {one: VALUES[one] for one in request_schema(path).get("required", [])}
        read(path, {**given, name: bounds["minimum"]})
        read(path, {**given, name: bounds["maximum"]})
        for wrong in (bounds["minimum"] - 1, bounds["maximum"] * 1.01, "1", True):
            with pytest.raises(calls.BadCall):
                read(path, {**given, name: wrong})
    assert f"{calls.MOST_BYTES:,} bytes" in PAGE
    assert f"up to {calls.MOST_TICKETS} tickets" in PAGE


def test_the_pattern_of_a_ticket_is_that_of_the_server() -> None:
    pattern = re.compile(SCHEMAS["Ticket"]["pattern"])
    for text in (TICKET, "a#" + "0" * 63, "ä#" + "0" * 64, "a b#" + "0" * 64, "#" + "0" * 64, "a#" + "G" * 64):
        try:
            tickets.parse(text)
        except tickets.BadTicket:
            assert not pattern.search(text)
        else:
            assert pattern.search(text)


def test_a_receipt_has_the_fields_that_are_described() -> None:
    told = {"state": "delivered", "reason": "", "error": ""} | {
        name: 0 for name in receipts.TicketReceipt._fields if name != "ticket"
    }
    assert SCHEMAS["Receipt"]["properties"].keys() == told.keys()


def test_the_client_calls_what_there_is() -> None:
    assert {receipts.HAND_OVER, receipts.RECEIPTS} == {calls.HAND_OVER, calls.ASK}
    assert f'"{calls.CONTROL}{{call}}"' in inspect.getsource(outbox)
    assert {name for name in calls.ORDERS if callable(getattr(steer, name))} == set(calls.ORDERS)


def test_every_piece_of_code_on_the_page_is_of_an_example() -> None:
    """And the examples run: tests/integration/test_examples.py."""
    examples = [path.read_text(encoding="utf-8") for path in (DOCS / "examples").glob("*.py")]
    pieces = re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL)
    assert len(pieces) == 4
    assert all(any(textwrap.dedent(piece) in example for example in examples) for piece in pieces)
