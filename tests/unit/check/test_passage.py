"""What a stream's consumers tell of one message."""

from __future__ import annotations

from typing import Any

import pytest

from syncdaemon.check.passage import judge
from syncdaemon.stream.answers import ConsumerAnswer, consumer_of


def consumer(delivered: int, floor: int, pending: int = 0, asking: int = 1) -> ConsumerAnswer:
    return ConsumerAnswer({}, pending, delivered, floor, asking)


@pytest.mark.parametrize(
    ("takes", "confirmed", "said"),
    [
        ({"a": consumer(7, 7)}, True, "confirmed: all up to message 7 is answered at consumer a"),
        ({"a": consumer(9, 8)}, True, "confirmed: all up to message 8 is answered at consumer a"),
        ({"a": consumer(0, 0, 7), "b": consumer(9, 9)}, True, "at consumer b"),
        ({"a": consumer(7, 6)}, False, "consumer a gave it to a worker; it, or an older message, has no answer yet"),
        (
            {"a": consumer(3, 3, 4)},
            False,
            "consumer a has 4 messages to give, and this is one of them; 1 open requests",
        ),
        ({"a": consumer(3, 3, 4, asking=0)}, False, "no worker asks for messages"),
    ],
)
def test_a_floor_that_has_passed_the_message_is_the_servers_word(
    takes: dict[str, ConsumerAnswer], confirmed: bool, said: str
) -> None:
    """And a message that was given and has no answer is not confirmed."""
    found = judge(takes, 7)
    assert found.confirmed is confirmed
    assert said in found.said


def test_a_consumers_way_is_read_from_the_servers_answer() -> None:
    answer: dict[str, Any] = {
        "name": "w",
        "config": {"ack_policy": "explicit"},
        "num_pending": 3,
        "num_waiting": 2,
        "delivered": {"consumer_seq": 9, "stream_seq": 8},
        "ack_floor": {"consumer_seq": 7, "stream_seq": 6},
    }
    assert consumer_of(answer, "w") == ConsumerAnswer({"ack_policy": "explicit"}, 3, 8, 6, 2)
    assert consumer_of({"name": "w", "num_pending": 3, "config": {}}, "w") == ConsumerAnswer({}, 3)
    with pytest.raises(ValueError, match="whole number"):
        consumer_of({**answer, "ack_floor": {"stream_seq": "x"}}, "w")
