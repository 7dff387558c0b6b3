"""News of a file that waits already: its next look comes forward, once, and nothing is counted twice."""

from __future__ import annotations

from syncdaemon.spool.backlog import Backlog, Candidate


def waiting(due: float) -> Backlog:
    """One file that waits until `due`."""
    backlog = Backlog()
    backlog.wait(Candidate(b"f", 3, 7, version=9), due)
    return backlog


def test_a_file_that_came_to_its_end_is_looked_at_soon() -> None:
    """What the last look saw of it is kept; its number of looks begins anew."""
    backlog = waiting(30)
    backlog.seen(b"f", 1, 2, 1, ended=True)
    assert backlog.take(9, 1.9) == []
    assert backlog.take(9, 2) == [Candidate(b"f", 0, 7, version=9)]
    assert backlog.take(9, 31) == [], "its old place does not bring it a second time"
    assert backlog.depth == 1


def test_it_never_has_to_wait_for_longer() -> None:
    backlog = waiting(2)
    backlog.seen(b"f", 1, 30, 1, ended=True)
    assert backlog.take(9, 2) == [Candidate(b"f", 3, 7, version=9)]


def test_a_file_that_goes_on_is_not_looked_at_sooner() -> None:
    """A recorder that writes a thousand times a second is looked at seldom."""
    backlog = waiting(30)
    backlog.seen(b"f", 1, 2, 1)
    assert backlog.take(9, 29) == []


def test_a_look_that_is_taken_and_put_off_keeps_its_new_time() -> None:
    """Its earlier place, at a later time, is void."""
    backlog = waiting(30)
    backlog.seen(b"f", 1, 2, 1, ended=True)
    (candidate,) = backlog.take(9, 2)
    backlog.wait(candidate, 40)
    assert backlog.take(9, 39) == []
    assert backlog.take(9, 40) == [candidate]


def test_news_costs_no_memory() -> None:
    """However often a file comes to an end and goes on."""
    backlog = waiting(10**9)
    for number in range(100_000):
        backlog.seen(b"f", 1, 10**9 - number, 1, ended=True)
    assert len(backlog._due) < 5_000
    assert backlog.depth == 1


def test_news_during_a_scan_counts_at_once() -> None:
    backlog = waiting(30)
    backlog.mine()
    backlog.seen(b"f", 1, 2, 1, ended=True)
    assert len(backlog.take(9, 2)) == 1
