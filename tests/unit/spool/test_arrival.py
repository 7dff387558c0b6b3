"""When a file came, whatever its mtime says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.spool import arrival
from syncdaemon.spool.backlog import Backlog
from syncdaemon.spool.settle import CHANGING, WRITER, YOUNG, Came, Seen, Times, unleased_why
from syncdaemon.spool.waiting import Candidate

NS = 10**9
times = st.integers(1, 2**62)
inodes = st.integers(1, 2**64 - 1)


@given(times, times, inodes)
def test_the_first_look_counts_as_long_as_it_is_the_same_file(first: int, later: int, ino: int) -> None:
    """A file that is written to for an hour came when it was made."""
    came = arrival.first_sight(first, ino)
    assert abs(came - first) < 2**16
    assert arrival.known_or_new(came, later, ino) == (came or arrival.first_sight(later, ino))


@given(times, times, inodes)
def test_another_file_at_the_same_path_came_later(first: int, later: int, ino: int) -> None:
    """A producer that replaces its file by a rename brings a new one."""
    came = arrival.first_sight(first, ino)
    assert arrival.known_or_new(came, later, ino + 1) == arrival.first_sight(later, ino + 1)


def test_an_age_is_never_negative() -> None:
    """The clock may have been set back."""
    assert arrival.age(5 * NS, 8 * NS) == 3.0
    assert arrival.age(8 * NS, 5 * NS) == 0.0


def test_the_oldest_file_is_the_one_that_came_first() -> None:
    """Not the one with the oldest mtime: that is often last week's."""
    backlog = Backlog()
    backlog.seen(b"last week's", 1, 0.0, 900 << 16, ino=1)
    backlog.seen(b"today's", 800 << 16, 0.0, 800 << 16, ino=2)
    assert backlog.oldest(1.0) == (800 << 16) + 2

    backlog.seen(b"today's", 950 << 16, 0.0, 950 << 16, ino=3)  # replaced
    assert backlog.oldest(1.0) == (900 << 16) + 1


def test_the_arrival_goes_along_with_the_file() -> None:
    """Whatever was tried with it."""
    backlog = Backlog()
    backlog.seen(b"f", 1, 0.0, 7 << 16, ino=1)
    (taken,) = backlog.take(1, 1.0)
    backlog.put_back(b"f", 1, taken.arrived)
    (taken,) = backlog.take(1, 1.0)
    backlog.put_large(taken, 1, 1 << 20)
    large = backlog.take_large(0)
    assert large is not None
    assert large.arrived == (7 << 16) + 1


def test_a_file_settles_until_a_look_finds_it_complete() -> None:
    """One that was not looked at counts as complete when its quiet time is over: nothing looks while the link is down.

    One that was found open or changing does not, however long that look is ago.
    """
    backlog = Backlog()
    backlog.seen(b"young", 1, 5.0, 7 << 16, ino=1)
    assert (backlog.settling(4.9).files, backlog.oldest(4.9)) == (1, None)
    assert (backlog.settling(5.0).files, backlog.oldest(5.0)) == (0, (7 << 16) + 1)

    (taken,) = backlog.take(1, 5.0)
    backlog.wait(taken._replace(tries=1, why=WRITER), 7.0)
    for now in (6.0, 8.0):
        assert backlog.settling(now) == (1, taken._replace(tries=1, why=WRITER))
        assert backlog.oldest(now) is None


def test_a_delivered_file_that_can_not_be_moved_is_not_settling() -> None:
    """It is complete, and waits for its folder."""
    backlog = Backlog()
    backlog.wait(Candidate(b"stuck", 1, arrived=7), 5.0)
    assert backlog.settling(0.0).files == 0
    assert backlog.oldest(0.0) == 7


def test_the_oldest_settling_file_is_the_one_that_came_first() -> None:
    """Of those that are not complete, and of no other."""
    backlog = Backlog()
    backlog.wait(Candidate(b"complete", arrived=1), 0.0)
    for path, arrived in ((b"third", 30), (b"second", 20), (b"fourth", 40)):
        backlog.wait(Candidate(path, 1, arrived=arrived, why=YOUNG), 5.0)
    settling = backlog.settling(1.0)
    assert settling.files == 3
    assert settling.oldest is not None
    assert settling.oldest.path == b"second"


@pytest.mark.parametrize(
    ("came", "size", "before_ns", "why"),
    [
        (Came.OPEN, 9, 5, WRITER),
        (Came.MADE, 0, 5, WRITER),
        (Came.MADE, 9, 5, YOUNG),
        (Came.NOTHING, 9, 0, YOUNG),
        (Came.NOTHING, 9, 5, YOUNG),
        (Came.NOTHING, 9, 4, CHANGING),
    ],
)
def test_why_a_file_whose_writers_can_not_be_seen_is_not_complete(
    came: Came, size: int, before_ns: int, why: str
) -> None:
    """By what was seen of it, and by what the look before saw."""
    assert unleased_why(came, Times(size, 5, 5), Seen(before_ns, True)) == why
