"""The backlog's bookkeeping: order, counting, and a directory that changes while it is looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from syncdaemon.base.sizes import SIZE_CLASSES
from syncdaemon.spool import backlog as module
from syncdaemon.spool.backlog import Backlog, Listing
from syncdaemon.spool.waiting import Candidate

WINDOW = 8
SMALL = 4  # a window so small that it is full nearly all the time
FOREVER = 1e18
LARGE = 1 << 20


def paths(taken: Iterable[Candidate]) -> list[bytes]:
    """The names alone."""
    return [candidate.path for candidate in taken]


def listing(directory: dict[bytes, int], mine: frozenset[bytes], room: int, since: int = 1 << 62) -> Listing:
    """What a scan sees of a directory of path: mtime, where each ctime is its mtime."""
    others = sorted((mtime, path) for path, mtime in directory.items() if path not in mine)
    beyond = others[room:]
    fresh = {path for mtime, path in beyond if mtime >= since}
    arrived = {path: mtime for mtime, path in others[:room]}
    return Listing(others[:room], set(mine - directory.keys()), len(beyond), fresh, 0, arrived=arrived)


def scan(backlog: Backlog, directory: dict[bytes, int]) -> None:
    """A scan with nothing happening meanwhile."""
    assert not backlog.merge(listing(directory, backlog.mine(), backlog.room))


def deliver(backlog: Backlog, taken: Iterable[Candidate], directory: dict[bytes, int]) -> None:
    """All the way: acknowledged, moved away, landed."""
    for path in paths(taken):
        backlog.acknowledged([path])
        del directory[path]
        assert not backlog.landed([path])


def files(count: int) -> dict[bytes, int]:
    """A directory in which the names are in another order than the times."""
    return {b"f%04d" % (number * 7919 % 10007): number for number in range(1, count + 1)}


def test_an_empty_backlog_is_complete_and_idle() -> None:
    """Nothing waits, nothing is due, nothing is wanted."""
    backlog = Backlog()

    assert (backlog.depth, backlog.complete, backlog.idle, backlog.wants_scan) == (0, True, True, False)
    assert (backlog.oldest(FOREVER), backlog.next_due(), backlog.take(10, FOREVER)) == (None, None, [])


def test_a_scan_brings_files_in_order() -> None:
    """The oldest goes first, by its mtime."""
    backlog = Backlog()
    scan(backlog, {b"b": 1, b"a": 3, b"c": 2})

    assert backlog.depth == 3
    assert backlog.oldest(0.0) == 1
    assert paths(backlog.take(2, 0.0)) == [b"b", b"c"]
    assert backlog.oldest(0.0) == 3
    assert paths(backlog.take(2, 0.0)) == [b"a"]


def test_the_newest_goes_first_where_asked() -> None:
    """SYNC_ORDER=newest turns the order round; the oldest is the oldest all the same."""
    backlog = Backlog(newest_first=True)
    times = {b"a": 1, b"b": 3, b"c": 2}
    first = [(backlog.key(mtime), path) for path, mtime in times.items()]
    backlog.mine()
    backlog.merge(Listing(sorted(first), set(), 0, set(), 0, arrived=times))

    assert backlog.oldest(0.0) == 1
    assert paths(backlog.take(9, 0.0)) == [b"b", b"c", b"a"]
    assert backlog.oldest(0.0) is None


@given(st.dictionaries(st.binary(min_size=1, max_size=3), st.integers(0, 5), max_size=30), st.data())
def test_ready_files_are_taken_in_order(directory: dict[bytes, int], data: st.DataObject) -> None:
    """In whatever portions they are taken: by mtime, and by name where that is equal."""
    backlog = Backlog()
    scan(backlog, directory)
    taken: list[bytes] = []
    while len(taken) < len(directory):
        taken += paths(backlog.take(data.draw(st.integers(1, 7)), 0.0))

    assert taken == sorted(directory, key=lambda path: (directory[path], path))


@given(st.dictionaries(st.binary(min_size=1, max_size=3), st.integers(0, 5), min_size=1), st.data())
def test_what_is_put_back_takes_its_old_place(directory: dict[bytes, int], data: st.DataObject) -> None:
    """After a cut the order is what it would have been without it."""
    backlog = Backlog()
    scan(backlog, directory)
    left = sorted((mtime, path) for path, mtime in directory.items())
    while left:
        taken = paths(backlog.take(data.draw(st.integers(1, 5)), 0.0))
        assert taken == [path for _, path in left[: len(taken)]]
        back = data.draw(st.integers(0, len(taken) - 1))
        for path in taken[:back]:
            backlog.put_back(path, directory[path])
        left = left[:back] + left[len(taken) :]
        assert backlog.depth == len(left) + len(taken) - back
        for path in taken[back:]:
            backlog.acknowledged([path])
            backlog.landed([path])
        assert backlog.depth == len(left)


@given(st.integers(0, 60), st.data())
def test_a_backlog_larger_than_the_window_is_taken_in_order(count: int, data: st.DataObject) -> None:
    """Scan after scan, the window is filled up with the next ones: the order is one over all of them."""
    backlog, directory = Backlog(window=WINDOW), files(count)
    order, taken = sorted(directory, key=directory.__getitem__), []
    while directory:
        scan(backlog, directory)
        assert backlog.depth == len(directory)
        assert WINDOW - backlog.room == min(WINDOW, len(directory))
        for _ in range(data.draw(st.integers(1, 3))):
            batch = backlog.take(data.draw(st.integers(1, 5)), 0.0)
            taken += paths(batch)
            deliver(backlog, batch, directory)
            assert backlog.depth == len(directory)

    assert taken == order
    scan(backlog, directory)
    assert (backlog.depth, backlog.complete, backlog.idle) == (0, True, True)


def test_depth_falls_with_the_acknowledgement_not_with_the_landing() -> None:
    """A file counts until the stream has it; where it lies by then does not matter."""
    backlog = Backlog()
    scan(backlog, {b"a": 1, b"b": 2})
    backlog.take(2, 0.0)
    assert backlog.depth == 2
    backlog.acknowledged([b"a"])
    assert backlog.depth == 1
    assert not backlog.landed([b"a"])
    assert backlog.depth == 1
    assert not backlog.idle


def test_a_hinted_file_waits_until_it_is_due() -> None:
    """A new file counts at once and is given out when its quiet time is over."""
    backlog = Backlog()
    backlog.seen(b"a", 1, 10.0, 77)

    assert backlog.depth == 1
    assert backlog.next_due() == 10.0
    assert backlog.take(5, 9.9) == []
    assert backlog.take(5, 10.0) == [Candidate(b"a", 0, 77)]
    assert backlog.next_due() is None


def test_a_second_hint_changes_nothing() -> None:
    """However often a file is named by events, it is one file, and looked at when it was due at first."""
    backlog = Backlog()
    for due in (1.0, 2.0, 3.0):
        backlog.seen(b"a", 1, due, 7)

    assert backlog.depth == 1
    assert paths(backlog.take(9, 9.0)) == [b"a"]
    assert backlog.take(9, 9.0) == []


def test_a_file_that_is_not_complete_keeps_what_was_seen_of_it() -> None:
    """The number of looks and the ctime come back with it."""
    backlog = Backlog()
    backlog.seen(b"a", 1, 0.0, 7)
    (candidate,) = backlog.take(1, 0.0)
    backlog.wait(candidate._replace(tries=1, seen_ctime_ns=8), 5.0)

    assert backlog.depth == 1
    assert backlog.take(1, 4.0) == []
    assert backlog.take(1, 5.0) == [Candidate(b"a", 1, 8)]


def test_what_is_gone_counts_no_more() -> None:
    """A file that was taken away by somebody else is forgotten, wherever it stood."""
    backlog = Backlog(window=2)
    scan(backlog, {b"a": 1})
    backlog.seen(b"b", 2, 0.0, 0)
    backlog.seen(b"c", 3, 0.0, 0)
    assert backlog.depth == 3
    for path in (b"a", b"b", b"c", b"never there"):
        backlog.gone(path)

    assert backlog.depth == 0
    assert backlog.take(9, FOREVER) == []


def test_a_file_that_is_gone_and_comes_back_is_taken_once() -> None:
    """Removed and made anew under the same name while it was ready: still one file."""
    backlog = Backlog()
    scan(backlog, {b"a": 1})
    backlog.gone(b"a")
    backlog.seen(b"a", 2, 1.0, 5)

    assert backlog.depth == 1
    assert paths(backlog.take(9, 1.0)) == [b"a"]
    assert backlog.depth == 1
    assert backlog.take(9, FOREVER) == []


def test_a_file_that_is_gone_and_found_again_is_taken_once() -> None:
    """The same where a scan brings it back."""
    backlog = Backlog()
    scan(backlog, {b"a": 1})
    backlog.gone(b"a")
    scan(backlog, {b"a": 2})

    assert backlog.depth == 1
    assert paths(backlog.take(9, 0.0)) == [b"a"]
    assert backlog.take(9, FOREVER) == []


def test_a_file_that_waits_twice_is_taken_once() -> None:
    """The same where it was waiting, and waits again."""
    backlog = Backlog()
    backlog.seen(b"a", 1, 1.0, 5)
    backlog.gone(b"a")
    backlog.seen(b"a", 2, 2.0, 6)

    assert paths(backlog.take(9, 3.0)) == [b"a"]
    assert backlog.take(9, FOREVER) == []


def test_a_name_that_was_used_again_in_flight_is_looked_at() -> None:
    """An event for a path that is being delivered is kept until it has landed, and told then."""
    backlog = Backlog()
    scan(backlog, {b"a": 1, b"b": 2})
    backlog.take(2, 0.0)
    backlog.seen(b"a", 3, 0.0, 0)

    assert backlog.depth == 2
    assert backlog.landed([b"a"])
    assert not backlog.landed([b"b"])
    assert not backlog.landed([b"a"])


def test_an_event_in_flight_is_settled_by_the_next_look() -> None:
    """A file that goes back to waiting or to its place will be read again anyway."""
    backlog = Backlog()
    scan(backlog, {b"a": 1, b"b": 2})
    backlog.take(2, 0.0)
    backlog.seen(b"a", 3, 0.0, 0)
    backlog.seen(b"b", 3, 0.0, 0)
    backlog.wait(Candidate(b"a", 1), 0.0)
    backlog.put_back(b"b", 2)

    assert paths(backlog.take(9, 0.0)) == [b"a", b"b"]
    assert not backlog.landed([b"a"])
    assert not backlog.landed([b"b"])


def test_an_acknowledged_file_that_could_not_be_moved_counts_again() -> None:
    """It lies in the replay directory and waits for another try, so it is part of the queue."""
    backlog = Backlog()
    scan(backlog, {b"a": 1})
    backlog.take(1, 0.0)
    backlog.acknowledged([b"a"])
    backlog.wait(Candidate(b"a", 1), 5.0)
    assert backlog.depth == 1

    backlog.take(1, 5.0)
    assert backlog.depth == 1
    backlog.acknowledged([b"a"])
    assert backlog.depth == 0
    backlog.landed([b"a"])
    assert backlog.depth == 0


def test_a_file_behind_the_window_is_counted_once() -> None:
    """With more files than names, a new one is only noted; an event that repeats itself adds nothing."""
    backlog, directory = Backlog(window=4), files(6)
    scan(backlog, directory)
    for _ in range(3):
        backlog.seen(b"new", 100, 0.0, 100)

    assert backlog.depth == 7
    assert not backlog.complete
    backlog.gone(b"new")
    assert backlog.depth == 6


def test_a_newcomer_that_belongs_before_the_window_end_is_held_by_name() -> None:
    """A file that is older than those left out must not wait for the next scan, where there is room."""
    backlog, directory = Backlog(window=4), files(6)
    scan(backlog, directory)
    deliver(backlog, backlog.take(2, 0.0), directory)
    backlog.seen(b"old", 0, 0.0, 0)

    assert paths(backlog.take(1, 0.0)) == [b"old"]


def test_a_full_window_notes_newcomers_and_the_next_scan_brings_them() -> None:
    """No file is lost for want of room."""
    backlog = Backlog(window=2)
    for number in range(5):
        backlog.seen(b"%d" % number, number, 0.0, 0)
    assert backlog.depth == 5
    assert not backlog.complete
    directory = {b"%d" % number: number for number in range(5)}
    taken: list[bytes] = []
    while directory:
        batch = backlog.take(9, 0.0)
        taken += paths(batch)
        deliver(backlog, batch, directory)
        scan(backlog, directory)
        assert backlog.depth == len(directory)
    assert taken == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("window", [1, 8, 63, 64, 1000])
def test_a_scan_is_wanted_when_what_is_known_runs_out(window: int) -> None:
    """While more files wait than are known by name, the names must never run out until the regular scan."""
    backlog, directory = Backlog(window=window), files(window + 1)
    assert not backlog.wants_scan
    scan(backlog, directory)
    assert not backlog.wants_scan
    deliver(backlog, backlog.take(window, 0.0), directory)
    assert backlog.wants_scan

    backlog.mine()
    assert not backlog.wants_scan, "one is under way"
    backlog.abandon()
    assert backlog.wants_scan
    scan(backlog, directory)
    assert backlog.complete
    assert not backlog.wants_scan


def test_a_scan_is_wanted_when_too_many_newcomers_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their names take memory too; a scan puts a number in their place."""
    monkeypatch.setattr(module, "MOST_NEWCOMERS", 10)
    backlog, directory = Backlog(window=4), files(6)
    scan(backlog, directory)
    for number in range(11):
        assert not backlog.wants_scan
        backlog.seen(b"n%d" % number, 1000 + number, 0.0, 0)
        directory[b"n%d" % number] = 1000 + number
    assert backlog.wants_scan
    scan(backlog, directory)

    assert not backlog.wants_scan
    assert backlog.depth == 17


def test_large_files_are_taken_by_themselves_and_in_order() -> None:
    """They count as before, and `take` has no part in them."""
    for newest_first in (False, True):
        backlog = Backlog(newest_first)
        scan(backlog, {b"a": 1, b"b": 2, b"c": 3})
        backlog.take(3, 0)
        for path, mtime in ((b"b", 2), (b"c", 3), (b"a", 1)):
            backlog.put_large(Candidate(path, arrived=mtime), mtime, LARGE)

        assert (backlog.depth, backlog.any_large, backlog.any_due(0.0), backlog.oldest(0.0)) == (3, True, False, 1)
        assert backlog.take(3, 0) == []
        taken = [backlog.take_large(0) for _ in range(4)]
        order = [b"c", b"b", b"a"] if newest_first else [b"a", b"b", b"c"]
        assert taken == [*(Candidate(path, arrived=path[0] - b"a"[0] + 1) for path in order), None]
        assert (backlog.depth, backlog.any_large, backlog.idle) == (3, False, False)


def test_what_is_known_of_a_large_file_stays_known() -> None:
    """Else a file whose writers can't be seen is looked at for the first time again and again."""
    backlog = Backlog()
    scan(backlog, {b"a": 1})
    backlog.take(1, 0)
    known = Candidate(b"a", tries=2, seen_ctime_ns=5, version=7)
    backlog.put_large(known, 1, LARGE)
    assert backlog.take_large(0) == known


def test_a_large_file_that_is_delivered_and_stays_is_behind_all_others() -> None:
    """However old it is. Else many of them, each read again and again, would keep the others from their turn."""
    for newest_first in (False, True):
        backlog = Backlog(newest_first)
        scan(backlog, {b"stays": 2, b"old": 1, b"new": 3})
        backlog.take(3, 0)
        backlog.put_large(Candidate(b"stays", delivered=True, arrived=2), 2, LARGE)
        assert backlog.oldest(0.0) is None
        backlog.put_large(Candidate(b"old", arrived=1), 1, LARGE)
        backlog.put_large(Candidate(b"new", arrived=3), 3, LARGE)
        assert backlog.oldest(0.0) == 1
        taken = [found.path for _ in range(3) if (found := backlog.take_large(0))]
        assert taken == ([b"new", b"old", b"stays"] if newest_first else [b"old", b"new", b"stays"])


def test_large_files_of_one_size_class_do_not_stand_before_those_of_another() -> None:
    """However many there are, and however old. Each class keeps the order."""
    backlog = Backlog()
    scan(backlog, {b"huge": 1, b"huger": 2, b"late": 3})
    backlog.take(3, 0)
    for path, mtime, size in ((b"huger", 2, 1 << 44), (b"huge", 1, 1 << 43), (b"late", 3, 20 << 20)):
        backlog.put_large(Candidate(path, arrived=mtime), mtime, size)

    assert [backlog.any_large_of(number) for number in SIZE_CLASSES] == [True, False, False, True]
    assert backlog.oldest(0.0) == 1
    assert backlog.take_large(0) == Candidate(b"late", arrived=3)
    huge, huger = Candidate(b"huge", arrived=1), Candidate(b"huger", arrived=2)
    assert [backlog.take_large(3) for _ in range(3)] == [huge, huger, None]
    assert not backlog.any_large


def test_a_large_file_that_comes_back_larger_is_in_its_new_class_only() -> None:
    """What its old class knows of it counts no more."""
    backlog = Backlog()
    scan(backlog, {b"a": 1})
    backlog.take(1, 0)
    backlog.put_large(Candidate(b"a"), 1, LARGE)
    backlog.gone(b"a")
    backlog.seen(b"a", 2, 0.0, 5)
    backlog.take(1, 0)
    backlog.put_large(Candidate(b"a"), 2, 1 << 44)
    assert [backlog.any_large_of(number) for number in SIZE_CLASSES] == [False, False, False, True]
    assert [backlog.take_large(number) for number in SIZE_CLASSES] == [None, None, None, Candidate(b"a")]


def test_a_large_file_that_is_gone_is_not_taken() -> None:
    """Nor counted; one that comes back is looked at like any other."""
    backlog = Backlog()
    scan(backlog, {b"a": 1})
    backlog.take(1, 0)
    backlog.put_large(Candidate(b"a"), 1, LARGE)
    backlog.gone(b"a")
    assert (backlog.take_large(0), backlog.depth, backlog.idle) == (None, 0, True)

    backlog.seen(b"a", 1, 0.0, 5)
    assert paths(backlog.take(1, 0)) == [b"a"]


@pytest.mark.parametrize(("large", "wanted"), [(0, True), (60, True), (88, True), (89, False), (100, False)])
def test_small_files_behind_many_large_ones_are_looked_for(large: int, wanted: bool) -> None:
    """Unless the large ones leave so little of the window that a scan would bring a handful."""
    backlog, directory = Backlog(window=100), files(200)
    scan(backlog, directory)
    for candidate in backlog.take(100, 0):
        if large:
            backlog.put_large(candidate, directory[candidate.path], LARGE)
            large -= 1
        else:
            backlog.acknowledged([candidate.path])
            backlog.landed([candidate.path])

    assert backlog.wants_scan == wanted


def test_an_event_during_a_scan_is_looked_at_after_it() -> None:
    """Whether the scan saw the file can't be known, so it is looked at by itself."""
    backlog = Backlog()
    mine = backlog.mine()
    backlog.seen(b"a", 1, 0.0, 1)
    assert backlog.depth == 0

    assert list(backlog.merge(listing({}, mine, 10))) == [b"a"]
    backlog.seen(b"a", 1, 0.0, 1)
    assert backlog.depth == 1


def test_an_event_during_a_scan_that_saw_the_file_counts_it_once() -> None:
    """By name, or as one of those beyond the window: in neither case twice."""
    for window in (4, 1):
        backlog = Backlog(window=window)
        directory = {b"a": 1, b"new": 5}
        mine, room = backlog.mine(), backlog.room
        backlog.seen(b"new", 5, 0.0, 5)
        for path in backlog.merge(listing(directory, mine, room, since=5)):
            backlog.seen(path, directory[path], 0.0, directory[path])

        assert backlog.depth == 2


def test_a_file_that_was_taken_during_a_scan_is_not_missed_by_it() -> None:
    """It was delivered while the scan went on: neither gone by mistake nor brought back."""
    backlog, directory = Backlog(), {b"a": 1, b"b": 2}
    scan(backlog, directory)
    mine, room = backlog.mine(), backlog.room
    batch = backlog.take(1, 0.0)
    deliver(backlog, batch, directory)
    backlog.merge(listing(directory, mine, room))

    assert backlog.depth == 1
    assert paths(backlog.take(9, 0.0)) == [b"b"]


def test_a_file_in_flight_is_not_brought_again_by_a_scan() -> None:
    """It is there, and known: it counts once, and nobody else gets it."""
    backlog, directory = Backlog(), {b"a": 1, b"b": 2}
    scan(backlog, directory)
    backlog.take(1, 0.0)
    scan(backlog, directory)

    assert backlog.depth == 2
    assert paths(backlog.take(9, FOREVER)) == [b"b"]


def test_a_file_that_was_taken_during_a_scan_and_waits_again_is_kept() -> None:
    """It was being replaced just when the scan came by, which missed it: what is known since then holds."""
    backlog = Backlog()
    scan(backlog, {b"a": 1})
    mine, room = backlog.mine(), backlog.room
    (candidate,) = backlog.take(1, 0.0)
    backlog.wait(candidate._replace(tries=1), 5.0)
    assert list(backlog.merge(listing({}, mine, room))) == [b"a"]

    assert backlog.depth == 1
    assert paths(backlog.take(9, 5.0)) == [b"a"]


def test_a_file_that_was_put_back_during_a_scan_is_kept() -> None:
    """Taken before the scan or during it, and not delivered: it is there as before."""
    backlog, directory = Backlog(), {b"a": 1, b"b": 2, b"c": 3}
    scan(backlog, directory)
    backlog.take(1, 0.0)
    mine, room = backlog.mine(), backlog.room
    backlog.take(1, 0.0)
    backlog.put_back(b"a", 1)
    backlog.put_back(b"b", 2)
    backlog.merge(listing(directory, mine, room))

    assert backlog.depth == 3
    assert paths(backlog.take(9, 0.0)) == [b"a", b"b", b"c"]


def test_a_file_that_came_back_behind_the_scan_is_not_forgotten() -> None:
    """It was known, went away unseen, and is made anew where the scan has been already: its event must count."""
    backlog, directory = Backlog(), {b"a": 1}
    scan(backlog, directory)
    mine, room = backlog.mine(), backlog.room
    seen: dict[bytes, int] = {}
    backlog.seen(b"a", 2, 0.0, 2)
    for path in backlog.merge(listing(seen, mine, room)):
        backlog.seen(path, 2, 0.0, 2)

    assert backlog.depth == 1
    assert paths(backlog.take(9, 0.0)) == [b"a"]


def test_a_file_in_flight_that_came_back_behind_the_scan_is_not_forgotten() -> None:
    """The same for one in flight that is put back before the scan, which missed it, has ended."""
    backlog = Backlog()
    scan(backlog, {b"a": 1})
    backlog.take(1, 0.0)
    mine, room = backlog.mine(), backlog.room
    seen: dict[bytes, int] = {}
    backlog.seen(b"a", 2, 0.0, 2)
    backlog.put_back(b"a", 1)
    for path in backlog.merge(listing(seen, mine, room)):
        backlog.seen(path, 2, 0.0, 2)

    assert backlog.depth == 1
    assert paths(backlog.take(9, 0.0)) == [b"a"]


def test_a_scan_forgets_what_is_not_there_any_more() -> None:
    """The event was lost; the scan is the truth."""
    backlog = Backlog()
    scan(backlog, {b"a": 1, b"b": 2})
    backlog.seen(b"c", 3, 0.0, 0)
    scan(backlog, {b"b": 2})

    assert backlog.depth == 1
    assert paths(backlog.take(9, FOREVER)) == [b"b"]


def test_a_scan_that_failed_changes_nothing() -> None:
    """What is known stays known, and events are taken as before."""
    backlog = Backlog()
    scan(backlog, {b"a": 1})
    backlog.mine()
    backlog.abandon()
    backlog.seen(b"b", 2, 0.0, 0)

    assert backlog.depth == 2
    assert sorted(paths(backlog.take(9, FOREVER))) == [b"a", b"b"]


class _File(NamedTuple):
    version: int
    mtime: int
    ctime: int


class _Scan(NamedTuple):
    mine: frozenset[bytes]
    room: int
    since: int


fates = st.sampled_from(["at once", "at once", "late", "lost"])
names = st.integers(0, 15).map(lambda number: b"%02d" % number)


class ReplayDirectory(RuleBasedStateMachine):
    """A directory, its producers, a notifier that can't be trusted, and a daemon that does all in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.backlog = Backlog(window=SMALL)
        self.sign = 1
        self.clock = 1
        self.disk: dict[bytes, _File] = {}
        self.late: list[bytes] = []
        self.known: set[bytes] = set()  # files on disk of which an event or a scan has told
        self.flying: dict[bytes, _File | None] = {}
        self.acknowledged: set[bytes] = set()
        self.in_order: dict[bytes, int] = {}  # ready files whose place in the order is certain
        self.unclear: set[bytes] = set()  # names that have been gone; an old place of theirs may be left
        self.scan: _Scan | None = None
        self.history: dict[bytes, list[_File | None]] = {}  # while a scan is under way: what was at each path
        self.told: set[bytes] = set()  # while a scan is under way: by an event, which counts at its end
        self.disturbed = False  # while a scan is under way: something happened that may blur its count

    @initialize(newest_first=st.booleans())
    def begin(self, newest_first: bool) -> None:
        self.sign = -1 if newest_first else 1
        self.backlog = Backlog(newest_first, SMALL)

    # --- producers and the notifier

    def _put(self, path: bytes, file: _File | None) -> None:
        """Only here the directory changes."""
        self.history.setdefault(path, [self.disk.get(path)]).append(file)
        self.disk.pop(path, None)
        if file:
            self.disk[path] = file
        self.known.discard(path)

    def _happened(self, path: bytes, fate: str) -> None:
        if fate == "at once":
            self._look_at(path)
        elif fate == "late":
            self.late.append(path)

    def _look_at(self, path: bytes) -> None:
        """What the daemon does at an event."""
        if file := self.disk.get(path):
            self.backlog.seen(path, file.mtime, self.clock + file.version % 4, file.ctime, ended=file.version % 2 == 0)
            self.known.add(path)
            self.told.add(path)
        else:
            self.backlog.gone(path)
            self._blur(path)

    def _blur(self, path: bytes) -> None:
        if self.in_order.pop(path, None) is not None:
            self.unclear.add(path)

    @rule(written=st.lists(names, min_size=1, max_size=6), age=st.integers(0, 30), fate=fates)
    def a_producer_writes(self, written: list[bytes], age: int, fate: str) -> None:
        for path in written:
            if path in self.disk or path in self.history or fate != "at once":
                self.disturbed = True
            self.clock += 1
            self._put(path, _File(self.clock, max(0, self.clock - age), self.clock))
            self._happened(path, fate)

    @precondition(lambda self: self.disk)
    @rule(data=st.data(), fate=fates)
    def somebody_removes(self, data: st.DataObject, fate: str) -> None:
        self.disturbed = True
        path = data.draw(st.sampled_from(sorted(self.disk)))
        self._put(path, None)
        self._happened(path, fate)

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def a_late_event_comes(self, data: st.DataObject) -> None:
        self.disturbed = True
        self._look_at(self.late.pop(data.draw(st.integers(0, len(self.late) - 1))))

    @rule(steps=st.integers(1, 5))
    def time_passes(self, steps: int) -> None:
        self.clock += steps

    # --- scans

    @precondition(lambda self: self.scan is None)
    @rule()
    def a_scan_begins(self) -> None:
        mine = self.backlog.mine()
        assert len(mine - self.flying.keys()) <= 2 * SMALL
        assert self.flying.keys() <= mine
        self.scan = _Scan(mine, self.backlog.room, self.clock)
        self.history.clear()
        self.told.clear()
        self.disturbed = False

    @precondition(lambda self: self.scan is not None)
    @rule(data=st.data())
    def a_scan_ends(self, data: st.DataObject) -> None:
        """Where something happened meanwhile, the scan saw any of the states that the path went through."""
        seen = dict(self.disk)
        for path, states in sorted(self.history.items()):
            seen.pop(path, None)
            if state := data.draw(st.sampled_from(states)):
                seen[path] = state
        self._merge(seen)
        if not self.disturbed:
            self.depth_is_exact()

    def _merge(self, seen: dict[bytes, _File]) -> None:
        assert self.scan is not None
        scan, self.scan = self.scan, None
        others = sorted((self.sign * file.mtime, path) for path, file in seen.items() if path not in scan.mine)
        first, beyond = others[: scan.room], others[scan.room :]
        fresh = {path for _, path in beyond if seen[path].ctime > scan.since}
        missing = set(scan.mine - seen.keys())
        look_at = self.backlog.merge(Listing(first, missing, len(beyond), fresh, 0))
        self.in_order.update((path, key) for key, path in first)
        self.known.update(path for _, path in others if seen[path] == self.disk.get(path))
        for path in missing:
            self._blur(path)
        for path in look_at:
            self._look_at(path)

    @precondition(lambda self: self.scan is not None)
    @rule()
    def a_scan_fails(self) -> None:
        self.backlog.abandon()
        self.scan = None
        self.known -= self.told  # the next scan brings them

    @precondition(lambda self: self.scan is None)
    @rule()
    def a_scan_in_a_quiet_moment(self) -> None:
        self.a_scan_begins()
        self._merge(dict(self.disk))
        self.depth_is_exact()

    def depth_is_exact(self) -> None:
        """The count is that of the directory; what vanished in flight counts until it is noticed."""
        assert self.backlog.depth == len((self.disk.keys() | self.flying.keys()) - self.acknowledged)

    # --- the daemon's own work

    @precondition(lambda self: len(self.flying) < SMALL)
    @rule(limit=st.integers(1, 4))
    def files_are_taken(self, limit: int) -> None:
        limit = min(limit, SMALL - len(self.flying))
        taken = paths(self.backlog.take(limit, self.clock))
        assert len(taken) <= limit
        assert len(taken) == len(set(taken)), "twice in one batch"
        assert not self.flying.keys() & set(taken), "twice at the same time"
        ordered = [(self.in_order.pop(path), path) for path in taken if path in self.in_order]
        certain = [place for place in ordered if place[1] not in self.unclear]
        assert certain == sorted(certain)
        left = [(key, path) for path, key in self.in_order.items() if path not in self.unclear]
        assert not certain or not left or certain[-1] < min(left)
        for path in taken:
            self.flying[path] = self.disk.get(path)

    def _pick(self, data: st.DataObject, acknowledged: bool) -> bytes:
        choice = sorted(path for path in self.flying if (path in self.acknowledged) == acknowledged)
        return data.draw(st.sampled_from(choice))

    @precondition(lambda self: self.flying.keys() - self.acknowledged)
    @rule(data=st.data(), delay=st.integers(0, 2))
    def a_file_is_read(self, data: st.DataObject, delay: int) -> None:
        """It is complete and acknowledged, or not complete, or not there."""
        path = self._pick(data, acknowledged=False)
        file = self.flying[path] = self.disk.get(path)
        if file is None:
            del self.flying[path]
            if self.backlog.landed([path]):
                self._look_at(path)
        elif delay:
            del self.flying[path]
            self.backlog.wait(Candidate(path, 1, file.ctime), self.clock + delay)
        else:
            self.backlog.acknowledged([path])
            self.acknowledged.add(path)

    @precondition(lambda self: self.flying.keys() - self.acknowledged)
    @rule(data=st.data())
    def a_file_is_put_back(self, data: st.DataObject) -> None:
        path = self._pick(data, acknowledged=False)
        file = self.flying.pop(path)
        mtime = file.mtime if file else 0
        self.backlog.put_back(path, mtime)
        self.in_order[path] = self.sign * mtime

    @precondition(lambda self: self.flying.keys() - self.acknowledged)
    @rule(data=st.data())
    def a_file_is_found_to_be_large(self, data: st.DataObject) -> None:
        path = self._pick(data, acknowledged=False)
        file = self.flying.pop(path)
        self.backlog.put_large(Candidate(path), file.mtime if file else 0, LARGE)

    @precondition(lambda self: self.backlog.any_large and len(self.flying) < SMALL)
    @rule()
    def a_large_file_is_taken(self) -> None:
        candidate = self.backlog.take_large(0)
        assert candidate is not None
        assert candidate.path not in self.flying, "twice at the same time"
        self.flying[candidate.path] = self.disk.get(candidate.path)

    @precondition(lambda self: self.acknowledged)
    @rule(data=st.data(), fate=fates)
    def a_file_is_retired(self, data: st.DataObject, fate: str) -> None:
        """The version that was sent is moved away; another one that has its name by now stays."""
        path = self._pick(data, acknowledged=True)
        self.acknowledged.discard(path)
        moved = self.disk.get(path) == self.flying.pop(path)
        if moved:
            self._put(path, None)
        else:
            self.disturbed = True  # the scan took the new file for the one in flight; the next one sees it
        if self.backlog.landed([path]):
            self._look_at(path)
        if moved:
            self._happened(path, fate)

    @precondition(lambda self: self.acknowledged)
    @rule(data=st.data())
    def a_file_can_not_be_moved(self, data: st.DataObject) -> None:
        path = self._pick(data, acknowledged=True)
        del self.flying[path]
        self.acknowledged.discard(path)
        self.backlog.wait(Candidate(path, 1), self.clock + 2)

    # --- what always holds

    @invariant()
    def what_is_known_is_counted(self) -> None:
        """Each file that an event or a scan told of counts; one told of during a scan does at its end."""
        counted = self.known - (self.told if self.scan else set())
        assert self.backlog.depth >= len((counted | self.flying.keys()) - self.acknowledged)

    @invariant()
    def idle_means_that_nothing_is_in_flight(self) -> None:
        assert not (self.backlog.idle and self.flying)

    def teardown(self) -> None:
        """Whatever came before: from here scans and deliveries alone empty the directory."""
        if self.scan is not None:
            self.a_scan_fails()
        for path in list(self.flying):
            self._finish(path)
        while self.disk:
            waiting = len(self.disk)
            self.a_scan_in_a_quiet_moment()
            if self.backlog.wants_scan:  # names of what had gone took the room until then
                self.a_scan_in_a_quiet_moment()
            self.clock += 10
            while taken := self._take_all():
                assert len(taken) == len(set(taken)), "twice in one batch"
                self.flying.update((path, self.disk.get(path)) for path in taken)
                for path in taken:
                    self._finish(path)
            assert len(self.disk) < waiting, "a scan and a take bring files along"
        self.a_scan_in_a_quiet_moment()
        assert (self.backlog.depth, self.backlog.complete, self.backlog.idle) == (0, True, True)

    def _take_all(self) -> list[bytes]:
        taken = paths(self.backlog.take(4, self.clock))
        large = self.backlog.take_large(0)
        return [*taken, large.path] if large else taken

    def _finish(self, path: bytes) -> None:
        self.backlog.acknowledged([path])
        self.acknowledged.discard(path)
        del self.flying[path]
        if path in self.disk:
            self._put(path, None)
        self.backlog.landed([path])


def test_no_file_is_lost_or_taken_twice_whatever_happens_in_the_directory() -> None:
    """Events lost and late, scans with things happening in between, cuts, and failures: the promises hold."""
    run_state_machine_as_test(
        ReplayDirectory,
        settings=settings(max_examples=250, stateful_step_count=40, deadline=None, report_multiple_bugs=False),
    )
