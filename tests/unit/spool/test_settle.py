"""When a file is complete, and which names are never ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.base.taken import ignored, path_ignored
from syncdaemon.spool import settle
from syncdaemon.spool.settle import (
    LONGEST_WAIT,
    Came,
    Seen,
    Times,
    next_wait,
    quiet_wait,
    unleased_wait,
)

NOW = 1_767_225_600_000_000_000
SECOND = 1_000_000_000

moments = st.integers(0, 2**63)
quiets = st.floats(0, 3600)


@given(moments, moments, quiets, moments)
def test_a_wait_is_never_negative_and_never_longer_than_the_quiet_time(
    ctime_ns: int, now_ns: int, quiet: float, seen_ctime_ns: int
) -> None:
    """Whatever the clocks say, nobody sleeps for a negative time, nor for longer than asked."""
    assert 0.0 <= quiet_wait(ctime_ns, now_ns, quiet, seen_ctime_ns) <= quiet


@pytest.mark.parametrize(
    ("age", "quiet", "wait"),
    [(0.0, 0.25, 0.25), (0.1, 0.25, 0.15), (0.25, 0.25, 0.0), (9.0, 0.25, 0.0), (0.0, 0.0, 0.0)],
)
def test_the_rest_of_the_quiet_time_is_waited_for(age: float, quiet: float, wait: float) -> None:
    """A file that changed so long ago has so much left to wait."""
    assert quiet_wait(NOW - int(age * SECOND), NOW, quiet) == pytest.approx(wait)


@given(st.integers(0, 7200 * SECOND), quiets)
def test_after_the_wait_the_file_is_quiet(age_ns: int, quiet: float) -> None:
    """Who waits as long as told, and finds the file untouched, need not wait again (but for rounding)."""
    ctime_ns = NOW - age_ns
    wait = quiet_wait(ctime_ns, NOW, quiet)

    assert quiet_wait(ctime_ns, NOW + int(wait * SECOND), quiet) < 1e-6


@given(st.integers(1, 2**62), quiets)
def test_a_change_in_the_future_ends(ahead_ns: int, quiet: float) -> None:
    """A clock that was set back by years holds a file up for one quiet time only, not for years."""
    ctime_ns = NOW + ahead_ns

    assert quiet_wait(ctime_ns, NOW, quiet) == quiet
    assert quiet_wait(ctime_ns, NOW, quiet, seen_ctime_ns=ctime_ns) == 0.0


@given(st.integers(1, 2**62), st.integers(1, 2**62), quiets)
def test_a_change_in_the_future_begins_anew_when_the_file_changes(ahead_ns: int, then_ns: int, quiet: float) -> None:
    """Another ctime than the one that was seen is a change, also where both lie ahead."""
    ctime_ns, later_ns = NOW + ahead_ns, NOW + ahead_ns + then_ns

    assert quiet_wait(later_ns, NOW, quiet, seen_ctime_ns=ctime_ns) == quiet


@given(st.integers(-(10**12), 10**12), st.floats(0.001, 60))
def test_an_untouched_file_is_complete_after_a_few_looks(ahead_ns: int, quiet: float) -> None:
    """Look, wait as told, look again: that comes to an end wherever the ctime lies."""
    now_ns, seen, looks = NOW, 0, 0
    while (wait := quiet_wait(NOW + ahead_ns, now_ns, quiet, seen)) > 0:
        now_ns += int(wait * SECOND) + 1
        seen = NOW + ahead_ns
        looks += 1
        assert looks < 4


@given(st.integers(0, 3600 * SECOND), st.floats(0.001, 3600))
def test_an_earlier_look_does_not_shorten_a_wait_in_the_past(age_ns: int, quiet: float) -> None:
    """A ctime that lies behind us tells its age by itself; having seen it before changes nothing."""
    ctime_ns = NOW - age_ns

    assert quiet_wait(ctime_ns, NOW, quiet, ctime_ns) == quiet_wait(ctime_ns, NOW, quiet)


@given(st.integers(1, 10**9), st.floats(0, 3600))
def test_a_recheck_is_neither_busy_nor_far_away(tries: int, quiet: float) -> None:
    """A twentieth of a second at the earliest; two seconds, or the quiet time, at the latest."""
    assert 0.05 <= next_wait(tries, quiet) <= max(quiet, settle.LONGEST_WAIT)


@given(st.integers(1, 100), st.floats(0, 3600))
def test_rechecks_become_rarer(tries: int, quiet: float) -> None:
    """A file that somebody keeps open is looked at less and less often."""
    assert next_wait(tries, quiet) <= next_wait(tries + 1, quiet)


def test_rechecks_double() -> None:
    """A quarter of a second first, then twice as long each time, up to two seconds."""
    assert [next_wait(tries, 0.25) for tries in range(1, 6)] == [0.25, 0.5, 1.0, 2.0, 2.0]


@pytest.mark.parametrize(
    "name",
    [b".hidden", b".", b"..", b".tmp", b"a.tmp", b"a.part", b"a.partial", b"a.jsonl.tmp", b"\xff.tmp", b".\xff"],
)
def test_hidden_names_and_work_in_progress_are_ignored(name: bytes) -> None:
    """A producer writes under such a name, and renames."""
    assert ignored(name)
    assert path_ignored(name)
    assert path_ignored(b"folder/" + name)


@pytest.mark.parametrize(
    "name",
    [b"a", b"a.", b"a.tmp.json", b"tmp", b"part", b"a.TMP", b"a.parts", b"a~", b"#a#", b"a.pyc", b"a.swp", b"\xff\xfe",
     b" ", b"-", b"node_modules", b"changed-while-held-1-2-3"],
)  # fmt: skip
def test_every_other_name_is_taken(name: bytes) -> None:
    """Nothing else is left out in silence: not what editors, compilers or version control like to ignore."""
    assert not ignored(name)
    assert not path_ignored(name)
    assert not path_ignored(b"folder/sub/" + name)


@pytest.mark.parametrize("path", [b".git/a", b"a/.git/b", b".syncdaemon/held/1/2", b"a/b/.c/d/e"])
def test_whatever_lies_below_a_hidden_folder_is_ignored(path: bytes) -> None:
    """The daemon's own folder is one of them."""
    assert path_ignored(path)


@pytest.mark.parametrize("path", [b"a.tmp/b", b"a.part/b/c", b"x/a.partial/b"])
def test_a_folder_may_be_called_like_work_in_progress(path: bytes) -> None:
    """The endings speak of files; a folder that bears one is searched like any other."""
    assert not path_ignored(path)


S = 1_000_000_000
NEVER, SAME, OTHER = Seen(0, False), Seen(100 * S, True), Seen(100 * S, False)


@pytest.mark.parametrize(
    ("came", "size", "mtime", "age", "before", "wait"),
    [
        (Came.ENDED, 9, 100, 0, NEVER, 0.0),
        (Came.OPEN, 9, 100, 10_000, SAME, 30.0),
        (Came.MADE, 0, 100, 10_000, SAME, 30.0),  # its writer has not begun
        (Came.MADE, 9, 100, 10, NEVER, 20.0),  # it came by link(2)
        (Came.NOTHING, 9, 100, 10, NEVER, 20.0),
        (Came.NOTHING, 9, 100, 30, NEVER, LONGEST_WAIT),  # a second look
        (Came.NOTHING, 9, 100, 30, OTHER, LONGEST_WAIT),
        (Came.NOTHING, 9, 100, 30, SAME, 0.0),
        (Came.NOTHING, 9, 105, 30, SAME, 5.0),  # the later of mtime and ctime
        (Came.NOTHING, 9, 10**6, 30, SAME, 0.0),  # an mtime that lies ahead says nothing
        (Came.NOTHING, 9, 100, -5, NEVER, 30.0),  # the clock was set back
        (Came.NOTHING, 9, 100, -5, SAME, 0.0),
    ],
)
def test_what_was_seen_decides_where_writers_can_not_be_seen(
    came: Came, size: int, mtime: int, age: int, before: Seen, wait: float
) -> None:
    """The file changed at 100 s, and it is `age` seconds later."""
    assert unleased_wait(came, Times(size, mtime * S, 100 * S), (100 + age) * S, 30.0, before) == wait


@given(st.sampled_from(Came), st.integers(0, 3), st.integers(0, 1 << 62), st.integers(0, 1 << 62), st.floats(0, 1e6))
def test_no_file_waits_for_ever_but_an_open_one(came: Came, size: int, ctime: int, now: int, in_place: float) -> None:
    """After a few more looks, which find the same, it is complete; and the first wait is not so short that we spin."""
    times = Times(size, ctime, ctime)
    wait = unleased_wait(came, times, now, in_place, NEVER)
    assert wait == 0 or wait >= min(0.05, in_place) or wait == quiet_wait(ctime, now, in_place)
    open_one = came is Came.OPEN or (came is Came.MADE and not size)
    for _ in range(3):
        now += int((wait + 1) * S)
        wait = unleased_wait(came, times, now, in_place, Seen(ctime, True))
    assert open_one == (wait > 0)
