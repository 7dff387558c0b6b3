"""What was seen of a file, out of the kernel's events in their order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.spool.inotify import (
    ATTRIB,
    CLOSE_WRITE,
    CREATE,
    DELETE,
    IGNORED,
    IS_FOLDER,
    MODIFY,
    MOVED_FROM,
    MOVED_TO,
    Event,
)
from syncdaemon.spool.settle import Came
from syncdaemon.spool.sightings import NewFolder, Sighting, Sightings

ROOT, A, B = 1, 2, 3
NOW = 1_000


def sightings(most: int = 100) -> Sightings:
    """With the top, a/ and a/b/ watched."""
    made = Sightings(most)
    for watch, path in ((ROOT, b""), (A, b"a/"), (B, b"a/b/")):
        made.watched(path, watch)
    return made


def came(seen: Sightings, path: bytes) -> Came:
    """What was seen last of this file."""
    found = seen.of(path)
    return found.came if found else Came.NOTHING


@pytest.mark.parametrize(
    ("masks", "last"),
    [
        ([], Came.NOTHING),
        ([CREATE], Came.MADE),
        ([CREATE, MODIFY], Came.OPEN),
        ([CREATE, CLOSE_WRITE], Came.ENDED),
        ([CREATE, MODIFY, CLOSE_WRITE], Came.ENDED),
        ([CREATE, MODIFY, CLOSE_WRITE, MODIFY], Came.OPEN),
        ([MODIFY, ATTRIB], Came.OPEN),
        ([CLOSE_WRITE, ATTRIB], Came.ENDED),
        ([ATTRIB], Came.NOTHING),
        ([MOVED_TO], Came.ENDED),
        ([MOVED_TO, MODIFY], Came.OPEN),
        ([CLOSE_WRITE, DELETE], Came.NOTHING),
        ([CLOSE_WRITE, MOVED_FROM], Came.NOTHING),
        ([MODIFY, DELETE, CREATE], Came.MADE),
    ],
)
def test_the_last_event_counts(masks: list[int], last: Came) -> None:
    seen = sightings()
    seen.apply([Event(A, mask, 0, b"f") for mask in masks], NOW)
    assert came(seen, b"a/f") is last
    assert came(seen, b"f") is Came.NOTHING


def test_a_sighting_knows_by_when_it_was() -> None:
    """A change of the attributes is later than the close, and keeps it valid."""
    seen = sightings()
    seen.apply([Event(ROOT, CLOSE_WRITE, 0, b"f")], 5)
    assert seen.of(b"f") == Sighting(Came.ENDED, 5)
    seen.apply([Event(ROOT, ATTRIB, 0, b"f")], 9)
    assert seen.of(b"f") == Sighting(Came.ENDED, 9)


@pytest.mark.parametrize("name", [b".f", b"f.tmp", b"f.part", b"f.partial"])
def test_names_that_say_not_yet_are_not_remembered(name: bytes) -> None:
    """A rename from such a name ends the file, whatever was written to it before."""
    seen = sightings()
    touched, _ = seen.apply([Event(ROOT, CREATE, 0, name), Event(ROOT, MODIFY, 0, name)], NOW)
    assert touched == {}
    touched, _ = seen.apply([Event(ROOT, MOVED_FROM, 7, name), Event(ROOT, MOVED_TO, 7, b"f")], NOW)
    assert touched == {b"f": True}
    assert came(seen, b"f") is Came.ENDED


def test_an_open_file_stays_open_under_its_new_name() -> None:
    """In another folder too; what was there before is forgotten."""
    seen = sightings()
    seen.apply([Event(ROOT, CLOSE_WRITE, 0, b"old"), Event(A, MODIFY, 0, b"f")], NOW)
    touched, _ = seen.apply([Event(A, MOVED_FROM, 7, b"f"), Event(ROOT, MOVED_TO, 7, b"old")], NOW)
    assert touched == {b"a/f": True, b"old": False}
    assert came(seen, b"old") is Came.OPEN
    assert came(seen, b"a/f") is Came.NOTHING


def test_a_folder_that_is_renamed_takes_along_what_was_seen_below_it() -> None:
    """Events between the two halves count too; nothing is left at the old path, nor for a new folder there."""
    seen = sightings()
    seen.apply([Event(B, MODIFY, 0, b"open"), Event(B, CLOSE_WRITE, 0, b"closed")], NOW)
    _, new = seen.apply([Event(ROOT, MOVED_FROM | IS_FOLDER, 7, b"a"), Event(B, CLOSE_WRITE, 0, b"late")], NOW)
    assert new == []
    assert came(seen, b"a/b/closed") is Came.NOTHING
    _, new = seen.apply([Event(ROOT, MOVED_TO | IS_FOLDER, 7, b"z"), Event(ROOT, CREATE | IS_FOLDER, 0, b"a")], NOW)
    assert new == [NewFolder(b"z/", whole=False), NewFolder(b"a/", whole=False)]
    seen.watched(b"a/", 9)
    assert [came(seen, b"z/b/" + name) for name in (b"open", b"closed", b"late")] == [
        Came.OPEN,
        Came.ENDED,
        Came.ENDED,
    ]
    assert came(seen, b"a/b/closed") is Came.NOTHING
    assert seen.take_forgotten() == []


def test_a_folder_that_leaves_is_watched_no_more() -> None:
    """It was renamed to somewhere else, or to a hidden name."""
    seen = sightings()
    seen.apply([Event(A, MOVED_FROM | IS_FOLDER, 7, b"b")], NOW)
    assert seen.on_their_way
    seen.lose_sight()
    assert seen.take_forgotten() == [B]
    assert not seen.on_their_way
    seen.apply([Event(ROOT, MOVED_FROM | IS_FOLDER, 8, b"a"), Event(ROOT, MOVED_TO | IS_FOLDER, 8, b".a")], NOW)
    assert seen.take_forgotten() == [A]
    assert seen.folders == 1


def test_a_folder_from_elsewhere_is_whole_and_a_new_one_is_not() -> None:
    """A hidden one is none of ours; one that came from a hidden name is whole; one of a taken name is not."""
    seen = sightings()
    events = [
        Event(ROOT, MOVED_TO | IS_FOLDER, 5, b"from elsewhere"),
        Event(ROOT, CREATE | IS_FOLDER, 0, b"new"),
        Event(ROOT, CREATE | IS_FOLDER, 0, b".hidden"),
        Event(ROOT, MOVED_FROM | IS_FOLDER, 6, b".hidden"),
        Event(ROOT, MOVED_TO | IS_FOLDER, 6, b"shown"),
        Event(ROOT, MOVED_FROM | IS_FOLDER, 7, b"too quick for its watch"),
        Event(ROOT, MOVED_TO | IS_FOLDER, 7, b"quick"),
    ]
    touched, new = seen.apply(events, NOW)
    assert new == [
        NewFolder(b"from elsewhere/", True),
        NewFolder(b"new/", False),
        NewFolder(b"shown/", True),
        NewFolder(b"quick/", False),
    ]
    assert touched == {b"too quick for its watch": True}


def test_what_came_with_its_folder_does_not_outweigh_what_was_seen() -> None:
    seen = sightings()
    seen.apply([Event(A, MODIFY, 0, b"f")], NOW)
    for path in (b"a/f", b"a/g", b"a/.h", b"nowhere/f"):
        seen.came_whole(path, 3)
    assert came(seen, b"a/f") is Came.OPEN
    assert seen.of(b"a/g") == Sighting(Came.ENDED, 3)
    assert came(seen, b"a/.h") is Came.NOTHING


def test_a_watch_that_has_ended_takes_its_files_along() -> None:
    """Late events of it are nobody's."""
    seen = sightings(most=1)
    seen.apply([Event(B, CLOSE_WRITE, 0, b"f"), Event(B, IGNORED, 0, b""), Event(B, CLOSE_WRITE, 0, b"f")], NOW)
    assert came(seen, b"a/b/f") is Came.NOTHING
    seen.apply([Event(A, CLOSE_WRITE, 0, b"f")], NOW)
    assert came(seen, b"a/f") is Came.ENDED, "its place is free again"


events = st.builds(
    Event,
    st.sampled_from([ROOT, A, B, 99]),
    st.sampled_from([CREATE, MODIFY, CLOSE_WRITE, MOVED_FROM, MOVED_TO, DELETE, ATTRIB, IGNORED])
    | st.sampled_from([CREATE | IS_FOLDER, MOVED_FROM | IS_FOLDER, MOVED_TO | IS_FOLDER, DELETE | IS_FOLDER]),
    st.integers(0, 3),
    st.sampled_from([b"a", b"b", b"f", b".h", b"\xff"]),
)


@given(st.lists(events, max_size=60), st.integers(0, 4))
def test_memory_is_bounded_whatever_happens(happened: list[Event], most: int) -> None:
    """And what is counted is what is remembered."""
    seen = sightings(most)
    for event in happened:
        seen.apply([event], NOW)
        remembered = sum(map(len, seen._seen.values()))
        assert seen._count == remembered <= most
