"""The order of the steps, with steps that only note that they were called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import pytest

from syncdaemon.base.errors import LedgerFull
from syncdaemon.base.model import AsObject, Content, Outcome, Receipt, Refusal, Stamp
from syncdaemon.deliver import Delivery
from syncdaemon.ledger.rows import Entry


def content(name: str) -> Content:
    """A small file."""
    return Content(name.encode(), name, Stamp(1, 1, 4, 1, 1), b"data", f"sha256 of {name}", 1)


def published(one: Content) -> Receipt:
    """The stream has stored it."""
    return Receipt(one, one.sha256, "subject", "stream", 7, duplicate=False)


class Steps:
    """Stands for the replay directory, the publisher and the ledger at once."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.outcomes: list[Outcome] = []
        self.full = False
        self.sticks = False
        self.attempts: list[int] = []

    def note(self, step: str, names: Iterable[str]) -> None:
        """This step was called with these files."""
        if found := list(names):
            self.calls.append((step, found))

    async def publish(self, batch: Sequence[Content], session: object) -> list[Outcome]:
        self.note("publish", (one.name for one in batch))
        self.attempts += [one.attempts for one in batch]
        return self.outcomes

    async def record(self, entries: Sequence[Entry]) -> None:
        self.note("record", (f"{event} {fields['path']}" for event, fields in entries))
        if self.full:
            raise LedgerFull("no room")

    def receipts_written(self, receipts: Sequence[Receipt]) -> None:
        self.note("receipts_written", (receipt.content.name for receipt in receipts))

    async def retire(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        self.note("retire", (receipt.content.name for receipt in receipts))
        return list(receipts) if self.sticks else []

    async def set_aside(self, refusal: Refusal, first: str, last: str) -> None:
        self.note("set_aside", [refusal.content.name])

    def put_back(self, contents: Iterable[Content]) -> None:
        self.note("put_back", (one.name for one in contents))

    def put_back_large(self, contents: Sequence[Content]) -> None:
        self.note("put_back_large", (one.name for one in contents))

    def acknowledged(self, paths: Iterable[bytes]) -> None:
        """The depth of the queue is not looked at here."""


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def delivery(steps: Steps) -> Delivery:
    all_of_them = cast(Any, steps)
    return Delivery(
        all_of_them,
        all_of_them,
        all_of_them,
        all_of_them,
        on_outcomes=lambda receipts, refusals: None,
        now_text=lambda: "now",
    )


async def test_a_file_is_published_then_recorded_then_retired(delivery: Delivery, steps: Steps) -> None:
    """The guarantee: each step is over before the next one begins."""
    steps.outcomes = [published(content("a"))]
    await delivery.deliver(None, [content("a")])
    assert steps.calls == [
        ("publish", ["a"]),
        ("record", ["published a"]),
        ("receipts_written", ["a"]),
        ("retire", ["a"]),
    ]


async def test_what_is_not_recorded_is_not_retired(delivery: Delivery, steps: Steps) -> None:
    """And its attempt stays open."""
    steps.outcomes, steps.full = [published(content("a"))], True
    with pytest.raises(LedgerFull):
        await delivery.deliver(None, [content("a")])
    assert steps.calls == [("publish", ["a"]), ("record", ["published a"])]


async def test_a_refused_file_is_recorded_before_it_is_set_aside(delivery: Delivery, steps: Steps) -> None:
    """Whether it was refused on reading or by the server."""
    steps.outcomes = [Refusal(content("b"), "too_large", "")]
    await delivery.deliver(None, [Refusal(content("a"), "unreadable", ""), content("b")])
    assert steps.calls == [
        ("publish", ["b"]),
        ("record", ["refused a", "refused b"]),
        ("set_aside", ["a"]),
        ("set_aside", ["b"]),
    ]


async def test_a_file_without_an_outcome_is_taken_again_as_the_next_attempt(delivery: Delivery, steps: Steps) -> None:
    """It gets no row, and it is not retired."""
    await delivery.deliver(None, [content("a")])
    assert steps.calls == [("publish", ["a"]), ("put_back", ["a"])]
    await delivery.deliver(None, [content("a")])
    assert steps.attempts == [1, 2]


async def test_a_file_that_the_stream_has_as_an_object_is_taken_again_as_a_large_one(
    delivery: Delivery, steps: Steps
) -> None:
    """Its bytes must not go as a message."""
    steps.outcomes = [AsObject(content("a"))]
    await delivery.deliver(None, [content("a")])
    assert steps.calls == [("publish", ["a"]), ("put_back_large", ["a"])]


async def test_a_recorded_file_that_could_not_be_moved_is_only_retired_the_next_time(
    delivery: Delivery, steps: Steps
) -> None:
    """It is neither published nor recorded once more."""
    steps.outcomes, steps.sticks = [published(content("a"))], True
    await delivery.deliver(None, [content("a")])
    steps.calls.clear()
    steps.outcomes, steps.sticks = [], False
    await delivery.deliver(None, [content("a")])
    assert steps.calls == [("retire", ["a"])]
    assert delivery.unretired.held() == []
