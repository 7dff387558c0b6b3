"""Setting files aside on a real file system, and what an operator sees of them."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from syncdaemon.base.model import Content, Refusal, Stamp
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.quarantine import SIDECAR, Entry, Quarantine, clean, entries
from tests.support.replay import content_of, full, own, read, tree, waiting, write

FIRST, LAST = "2026-03-04T05:06:07.000001Z", "2026-03-04T05:06:09.000002Z"


def refused(
    directory: ReplayDirectory, path: bytes = b"file", data: bytes = b"evidence", reason: str = "too_large"
) -> Refusal:
    """A new file, refused; an old one by its mtime."""
    os.utime(write(directory, path, data), ns=(0, 1_000_000_000))
    return Refusal(content_of(directory, path), reason, "it is too large for the stream")


def aside(directory: ReplayDirectory) -> dict[bytes, bytes]:
    """All files in the quarantine but the sidecars."""
    files = tree(own(directory, b"quarantine"))
    return {name: data for name, data in files.items() if name[: -len(SIDECAR)] not in files}


def sidecar(directory: ReplayDirectory, name: bytes) -> dict[str, Any]:
    """What is said of a file in the quarantine."""
    told: dict[str, Any] = json.loads(read(os.path.join(own(directory, b"quarantine"), name + b".reason.json")))
    return told


def test_a_refused_file_is_set_aside_with_its_reason(directory: ReplayDirectory) -> None:
    """The file as it was, and beside it all that an operator has to know."""
    refusal = refused(directory, b"sub/a b")
    Quarantine(directory).set_aside(refusal, FIRST, LAST)

    assert waiting(directory) == {}
    assert aside(directory) == {b"a b": b"evidence"}
    assert sidecar(directory, b"a b") == {
        "reason": "too_large",
        "error": "it is too large for the stream",
        "attempts": 1,
        "first": FIRST,
        "last": LAST,
        "sha256": sha256(b"evidence").hexdigest(),
        "path": "sub/a%20b",
        "size": 8,
    }


def test_files_of_one_name_do_not_meet_in_the_quarantine(directory: ReplayDirectory) -> None:
    """From different folders, or one after the other: each with its own sidecar."""
    for path, data in ((b"a/x", b"one"), (b"b/x", b"two"), (b"a/x", b"three")):
        Quarantine(directory).set_aside(refused(directory, path, data), FIRST, LAST)

    assert aside(directory) == {b"x": b"one", b"x~2": b"two", b"x~3": b"three"}
    assert [sidecar(directory, name)["path"] for name in (b"x", b"x~2", b"x~3")] == ["a/x", "b/x", "a/x"]
    assert sidecar(directory, b"x~2")["sha256"] == sha256(b"two").hexdigest()


@pytest.mark.parametrize("paths", [(b"x.reason.json", b"x"), (b"x", b"x.reason.json")])
def test_a_file_that_is_called_like_a_sidecar_is_not_overwritten(
    directory: ReplayDirectory, paths: tuple[bytes, bytes]
) -> None:
    """The reason for one file must not cost another."""
    for path in paths:
        Quarantine(directory).set_aside(refused(directory, path, b"evidence of " + path), FIRST, LAST)

    files = tree(own(directory, b"quarantine"))
    assert len(files) == 4
    for path in paths:
        assert b"evidence of " + path in files.values()


@pytest.mark.parametrize("name", [b"\xff\xfe\n", b"x" * 255, ("ü" * 127).encode(), b"y" * 240])
def test_any_name_can_be_set_aside(directory: ReplayDirectory, name: bytes) -> None:
    """Long ones are cut, the whole path is in the sidecar; twice the same is no trouble either."""
    for data in (b"one", b"two"):
        Quarantine(directory).set_aside(refused(directory, b"sub/" + name, data), FIRST, LAST)

    assert waiting(directory) == {}
    assert sorted(aside(directory).values()) == [b"one", b"two"]
    for found in aside(directory):
        assert sidecar(directory, found)["path"] == quote_from_bytes(b"sub/" + name)


@pytest.mark.parametrize("name", [b"x.reason.json", b"x" * 219 + b".reason.json.tmp, cut off here"])
def test_a_refused_file_is_never_taken_for_the_rest_of_a_crash(directory: ReplayDirectory, name: bytes) -> None:
    """Called like a sidecar, or like one that was not finished: the next start leaves it where it is."""
    Quarantine(directory).set_aside(refused(directory, name), FIRST, LAST)
    before = tree(own(directory, b"quarantine"))

    clean(directory)
    assert tree(own(directory, b"quarantine")) == before


def test_what_a_crash_left_is_removed_at_the_next_start(directory: ReplayDirectory) -> None:
    """A reason whose file was not moved any more, and a reason that was not written to its end."""
    Quarantine(directory).set_aside(refused(directory, b"gone"), FIRST, LAST)
    Quarantine(directory).set_aside(refused(directory), FIRST, LAST)
    os.unlink(os.path.join(own(directory, b"quarantine"), b"gone"))
    with open(os.path.join(own(directory, b"quarantine"), b"half.reason.json.tmp"), "wb") as file:
        file.write(b"{")

    clean(directory)
    assert sorted(tree(own(directory, b"quarantine"))) == [b"file", b"file.reason.json"]


def test_a_file_that_could_not_be_read_is_set_aside_as_it_is(directory: ReplayDirectory) -> None:
    """Its version is not known, so it is the one that is there."""
    write(directory, b"file")
    unread = Content(b"file", "file", Stamp(0, 0, 0, 0, 0), None, "", 6)
    Quarantine(directory).set_aside(Refusal(unread, "unreadable", "can't be read: Input/output error"), FIRST, LAST)

    assert waiting(directory) == {}
    assert aside(directory) == {b"file": b"evidence"}
    assert (sidecar(directory, b"file")["sha256"], sidecar(directory, b"file")["attempts"]) == ("", 6)


def test_a_refused_file_that_changed_stays(directory: ReplayDirectory) -> None:
    """What it holds now may be good; no sidecar is left for what is not there."""
    refusal = refused(directory)
    write(directory, b"file", b"much smaller")
    Quarantine(directory).set_aside(refusal, FIRST, LAST)

    assert waiting(directory) == {b"file": b"much smaller"}
    assert tree(own(directory, b"quarantine")) == {}


@pytest.mark.parametrize("known", [True, False])
def test_a_refused_file_that_is_gone_needs_nothing(directory: ReplayDirectory, known: bool) -> None:
    """Whether it had been read or not."""
    refusal = refused(directory)
    if not known:
        refusal = refusal._replace(content=refusal.content._replace(stamp=Stamp(0, 0, 0, 0, 0)))
    os.unlink(full(directory, b"file"))
    Quarantine(directory).set_aside(refusal, FIRST, LAST)

    assert (waiting(directory), tree(own(directory, b"quarantine"))) == ({}, {})


@pytest.mark.parametrize("known", [True, False])
def test_a_refused_file_that_is_gone_with_its_folder_needs_nothing(directory: ReplayDirectory, known: bool) -> None:
    """A producer may tidy up at any time; that is no reason to stop."""
    refusal = refused(directory, b"sub/file")
    if not known:
        refusal = refusal._replace(content=refusal.content._replace(stamp=Stamp(0, 0, 0, 0, 0)))
    os.unlink(full(directory, b"sub/file"))
    os.rmdir(full(directory, b"sub"))
    Quarantine(directory).set_aside(refusal, FIRST, LAST)

    assert (waiting(directory), tree(own(directory, b"quarantine"))) == ({}, {})


def test_a_file_never_lies_in_quarantine_without_its_reason(
    directory: ReplayDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the instant of the move the sidecar is there already, and whole."""
    refusal, seen = refused(directory), []
    real = os.rename

    def rename(source: bytes, target: bytes, **folders: int) -> None:
        if source == b"file":
            seen.append(sidecar(directory, b"file")["reason"])
        real(source, target, **folders)

    monkeypatch.setattr(os, "rename", rename)
    Quarantine(directory).set_aside(refusal, FIRST, LAST)
    assert seen == ["too_large"]


def test_the_sidecar_is_plain_ascii(directory: ReplayDirectory) -> None:
    """Any tool can read it, whatever the error's text holds."""
    refusal = refused(directory)._replace(detail="größer als \udcff erlaubt\n")
    Quarantine(directory).set_aside(refusal, FIRST, LAST)

    assert read(os.path.join(own(directory, b"quarantine"), b"file.reason.json")).isascii()
    assert sidecar(directory, b"file")["error"] == "größer als \udcff erlaubt\n"


# --- what an operator sees


def test_the_files_are_listed_with_their_reasons(directory: ReplayDirectory) -> None:
    """By name; sidecars are no files, and what is just being moved here is not there yet."""
    Quarantine(directory).set_aside(refused(directory, b"sub/a b", b"more evidence"), FIRST, LAST)
    Quarantine(directory).set_aside(refused(directory, b"x.reason.json"), FIRST, LAST)
    Quarantine(directory).set_aside(refused(directory, b"moving"), FIRST, LAST)
    os.unlink(os.path.join(own(directory, b"quarantine"), b"moving"))
    os.mkdir(os.path.join(own(directory, b"quarantine"), b"folder"))

    told = ("too_large", "it is too large for the stream", 1, FIRST, LAST)
    assert entries(directory) == [
        Entry(b"a b", 13, b"sub/a b", *told, sha256(b"more evidence").hexdigest(), ""),
        Entry(b"x.reason.json", 8, b"x.reason.json", *told, sha256(b"evidence").hexdigest(), ""),
    ]


def test_where_nothing_was_ever_refused_there_is_nothing_to_list(directory: ReplayDirectory) -> None:
    """Not even the folder."""
    os.rmdir(own(directory, b"quarantine"))
    assert entries(directory) == []


def test_the_count_follows_whoever_adds_or_removes(directory: ReplayDirectory) -> None:
    """The daemon, a requeue, or an operator's rm."""
    quarantine = Quarantine(directory)
    quarantine.load()
    counts = [quarantine.count]
    for name in (b"a", b"b"):
        quarantine.set_aside(refused(directory, name), FIRST, LAST)
        counts.append(quarantine.count)
        quarantine.count_again()
        counts.append(quarantine.count)
    os.unlink(os.path.join(own(directory, b"quarantine"), b"a"))
    quarantine.count_again()
    counts.append(quarantine.count)

    assert counts == [0, 1, 1, 2, 2, 1]


def test_an_old_count_is_not_made_again(directory: ReplayDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody touched the folder since: one look at it is all."""
    quarantine = Quarantine(directory)
    quarantine.set_aside(refused(directory), FIRST, LAST)
    os.utime(own(directory, b"quarantine"), ns=(0, 1))
    quarantine.count_again()
    monkeypatch.setattr(os, "listdir", None)
    quarantine.count_again()

    assert quarantine.count == 1


@pytest.mark.parametrize("path", ["\ud800", "\u202e", "\u00e9"])
def test_a_path_that_is_not_percent_encoded_is_damage(directory: ReplayDirectory, path: str) -> None:
    """It is none of ours. Half a character could not even be made into bytes, and would end the daemon."""
    Quarantine(directory).set_aside(refused(directory), FIRST, LAST)
    told = sidecar(directory, b"file") | {"path": path}
    place = os.path.join(own(directory, b"quarantine"), b"file.reason.json")
    with open(place, "w") as file:
        json.dump(told, file)

    (entry,) = entries(directory)
    assert (entry.path, entry.problem) == (b"", "the sidecar is damaged: no path")
