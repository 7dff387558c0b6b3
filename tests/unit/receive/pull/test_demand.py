"""How much is asked for at once, and what the server's words at the end of a pull mean."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.receive.pull.demand import Ask, Demand
from syncdaemon.stream.pulled import status


def ask_of(demand: Demand, held: int = 0, held_bytes: int = 0, objects: int = 0) -> Ask:
    ask = demand.next(held, held_bytes, objects)
    assert ask is not None
    return ask


def full(demand: Demand, seconds: float = 0.1, too_large: bool = False) -> None:
    """A pull that brings all it asks for, so fast."""
    ask = ask_of(demand)
    demand.ended(ask, ask.messages, seconds, too_large)


def test_it_begins_with_little_and_doubles_while_pulls_are_quick() -> None:
    demand = Demand(512)
    asked = []
    for _ in range(7):
        asked.append(ask_of(demand).messages)
        full(demand)
    assert asked == [16, 32, 64, 128, 256, 512, 512]


def test_a_slow_link_is_asked_for_less() -> None:
    """What is on its way for long is delivered to somebody else in the meantime."""
    demand = Demand(512)
    for _ in range(20):
        full(demand, seconds=20)
    assert ask_of(demand) == Ask(1, 64 << 10)


def test_bytes_grow_where_they_were_the_limit() -> None:
    demand = Demand(512)
    before = ask_of(demand).size
    full(demand)
    assert ask_of(demand).size == before
    full(demand, too_large=True)
    assert ask_of(demand).size == 2 * before


def test_a_message_larger_than_what_is_asked_for_is_fetched_alone() -> None:
    """However large: without a limit. Then it goes on as before."""
    demand = Demand(512)
    demand.ended(ask_of(demand), 0, 0.0, too_large=True)
    alone = ask_of(demand, held=5)
    assert alone == Ask(1, 0)
    demand.ended(alone, 1, 0.0, too_large=False)
    assert ask_of(demand).size > 0


def test_a_pull_that_brings_nothing_changes_nothing() -> None:
    demand = Demand(512)
    full(demand)
    before = ask_of(demand)
    demand.ended(before, 0, 0.0, too_large=False)
    assert ask_of(demand) == before


def test_large_objects_are_left_to_others() -> None:
    demand = Demand(512)
    for _ in range(7):
        full(demand)
    assert ask_of(demand, held=1, objects=1).messages == 16
    assert demand.next(16, 0, objects=16) is None


@given(
    st.integers(1, 5_000),
    st.lists(st.tuples(st.floats(0, 30), st.booleans(), st.booleans()), max_size=40),
    st.integers(0, 5_000),
    st.integers(0, 1 << 26),
    st.integers(0, 40),
)
def test_it_never_asks_for_more_than_it_may_hold_and_always_goes_on(
    most: int, past: list[tuple[float, bool, bool]], held: int, held_bytes: int, objects: int
) -> None:
    """Whatever came before; and with empty hands there is always something to ask for."""
    demand = Demand(most)
    for seconds, some, too_large in past:
        ask = ask_of(demand)
        assert 1 <= ask.messages <= most
        demand.ended(ask, ask.messages if some else 0, seconds, too_large)
    found = demand.next(held, held_bytes, objects)
    if found is not None:
        assert 1 <= found.messages <= most - held
        assert held_bytes + found.size <= 16 << 20


def test_the_request_is_what_the_server_reads() -> None:
    assert json.loads(Ask(5, 1000).body(wait=10)) == {"batch": 5, "max_bytes": 1000, "expires": 10_000_000_000}
    assert json.loads(Ask(5, 0).body(wait=0)) == {"batch": 5, "no_wait": True}


@pytest.mark.parametrize(
    ("line", "ends", "usual"),
    [
        ("100 Idle Heartbeat", False, False),
        ("404 No Messages", True, True),
        ("408 Request Timeout", True, True),
        ("409 Message Size Exceeds MaxBytes", True, True),
        ("409 Batch Completed", True, True),
        ("409 Consumer Deleted", True, False),
        ("409 Leadership Change", True, False),
        ("503", True, False),
    ],
)
def test_a_status_is_read_for_what_it_means(line: str, ends: bool, usual: bool) -> None:
    found = status(f"NATS/1.0 {line}\r\nNats-Pending-Messages: 3\r\n\r\n".encode())
    assert (found.ends, found.usual, found.words) == (ends, usual, line)


@given(st.one_of(st.none(), st.binary(max_size=60)))
def test_what_is_no_status_ends_a_pull_as_trouble(headers: bytes | None) -> None:
    """Unless it happens to be one."""
    found = status(headers)
    assert found.code or (found.ends and not found.usual)
