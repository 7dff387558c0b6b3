"""The way back out of the quarantine: no file is lost on it, and none is overwritten."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import count
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from syncdaemon.base import disk
from syncdaemon.base.disk import write_durably
from syncdaemon.base.model import Refusal
from syncdaemon.daemon.upkeep import requeued
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.quarantine import SIDECAR, Entry, Quarantine, entries
from syncdaemon.spool.requeue import Order, ask, carry_out, forget, pending, send_back
from tests.support.replay import content_of, full, meanwhile, own, tree, waiting, write

NOT_OURS: list[Any] = [None, 7.5, True, [], {}, "\ud800"]
ODD = [(field, odd) for field in ("name", "to", "size", "sha256") for odd in NOT_OURS]
FIRST, LAST = "2026-03-04T05:06:07.000001Z", "2026-03-04T05:06:09.000002Z"


def refuse(directory: ReplayDirectory, path: bytes, data: bytes = b"evidence", reason: str = "too_large") -> None:
    """A file was dropped, and refused."""
    write(directory, path, data)
    Quarantine(directory).set_aside(Refusal(content_of(directory, path), reason, "no"), FIRST, LAST)


def ordered(directory: ReplayDirectory) -> list[Order]:
    """All that is in quarantine is to go back."""
    return ask(directory, entries(directory))


def places(directory: ReplayDirectory) -> list[bytes]:
    """Everything is carried out; where each file is now."""
    done = carry_out(directory)
    assert [problem for _, problem in done if problem] == []
    return [order.to for order, _ in done]


@pytest.mark.parametrize("path", [b"file", b"sub/deep/file", b"\xff\n\t%25", b"x" * 255, b"x.reason.json"])
def test_a_file_goes_back_to_where_it_came_from(directory: ReplayDirectory, path: bytes) -> None:
    """Whatever it is called, with its folders made anew, and its sidecar gone."""
    refuse(directory, path)
    if b"/" in path:
        os.removedirs(os.path.dirname(full(directory, path)))
    (order,) = ordered(directory)

    assert places(directory) == [path]
    assert waiting(directory) == {path: b"evidence"}
    assert tree(own(directory, b"quarantine")) == {}
    assert requeued(order) == (
        "requeued",
        {"path": quote_from_bytes(path), "size": 8, "sha256": order.sha256, "reason": "too_large"},
    )


def test_an_order_stands_until_it_is_forgotten(directory: ReplayDirectory) -> None:
    """The row is written in between; carried out twice, it changes nothing."""
    refuse(directory, b"a")
    refuse(directory, b"b")
    ordered(directory)
    assert places(directory) == places(directory) == [order.to for order in pending(directory)]
    assert len(pending(directory)) == 2

    forget(directory, pending(directory))
    assert (pending(directory), tree(own(directory, b"requeue")), places(directory)) == ([], {}, [])


def test_a_file_that_took_the_place_meanwhile_is_not_overwritten(directory: ReplayDirectory) -> None:
    """Ours gets a name beside it, and the row says so."""
    refuse(directory, b"sub/file")
    write(directory, b"sub/file", b"another")
    ordered(directory)

    assert places(directory) == [b"sub/file~2"]
    assert waiting(directory) == {b"sub/file": b"another", b"sub/file~2": b"evidence"}
    assert requeued(pending(directory)[0])[1]["to"] == "sub/file~2"
    assert requeued(pending(directory)[0])[1]["path"] == "sub/file"


def test_nor_is_one_that_comes_at_the_last_instant(directory: ReplayDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the move. The order names the new place before the file goes there."""
    refuse(directory, b"file")
    ordered(directory)
    meanwhile(monkeypatch, "_renameat2", lambda: write(directory, b"file", b"another"), of=disk)

    assert places(directory) == [b"file~2"]
    assert waiting(directory) == {b"file": b"another", b"file~2": b"evidence"}
    assert pending(directory)[0].to == b"file~2"


def test_two_versions_of_one_file_both_go_back(directory: ReplayDirectory) -> None:
    """Refused one after the other, from the same place."""
    refuse(directory, b"file", b"first")
    refuse(directory, b"file", b"second")
    ordered(directory)

    assert sorted(places(directory)) == [b"file", b"file~2"]
    assert sorted(waiting(directory).values()) == [b"first", b"second"]


@pytest.mark.parametrize("now", [b"sub", b"sub/deep"])
def test_a_folder_that_is_a_file_by_now_is_no_obstacle(directory: ReplayDirectory, now: bytes) -> None:
    """It goes into the replay directory itself then."""
    refuse(directory, b"sub/deep/file")
    os.removedirs(full(directory, b"sub/deep"))
    ordered(directory)
    write(directory, now, b"another")

    assert places(directory) == [b"file"]
    assert waiting(directory) == {now: b"another", b"file": b"evidence"}


@pytest.mark.parametrize(
    "path",
    [
        "../out",
        "/out",
        "a/../../out",
        "%2E%2E/out",
        "",
        "a//b",
        "a%00b",
        ".a",
        ".syncdaemon/lock",
        "link/out",
        "a.tmp",
        "x" * 256,
    ],
)
def test_a_sidecar_cannot_send_a_file_anywhere_else(directory: ReplayDirectory, path: str) -> None:
    """Outside of the replay directory, onto our own folder, or where it would never be taken from."""
    os.symlink(b"..", full(directory, b"link"))
    refuse(directory, b"file")
    place = os.path.join(own(directory, b"quarantine"), b"file" + SIDECAR)
    with open(place, "rb") as file:
        told = json.load(file)
    write_durably(place, json.dumps(told | {"path": path}).encode())
    ordered(directory)

    assert places(directory) == [b"file"]
    assert waiting(directory) == {b"file": b"evidence"}


@pytest.mark.parametrize("sidecar", [None, b"", b"[]", b"{}", b"\xff", b'{"path": 1}', b"[" * 100_000])
def test_without_a_good_sidecar_a_file_goes_back_by_its_name(directory: ReplayDirectory, sidecar: bytes | None) -> None:
    """It is shown with what is wrong, and can be sent on its way all the same."""
    refuse(directory, b"sub/file")
    place = os.path.join(own(directory, b"quarantine"), b"file" + SIDECAR)
    os.unlink(place)
    if sidecar is not None:
        write_durably(place, sidecar)
    (entry,) = entries(directory)
    assert "sidecar" in entry.problem
    assert entry == Entry(b"file", 8, b"", "", "", 0, "", "", "", entry.problem)
    ordered(directory)

    assert places(directory) == [b"file"]
    assert (waiting(directory), tree(own(directory, b"quarantine"))) == ({b"file": b"evidence"}, {})


@pytest.mark.parametrize("name", [b".hidden", b"work.tmp", b"." + b"x" * 254])
def test_a_name_that_would_never_be_taken_is_changed(directory: ReplayDirectory, name: bytes) -> None:
    """Somebody put a file there by hand."""
    write(directory, b".syncdaemon/quarantine/" + name)
    ordered(directory)
    (place,) = places(directory)

    assert place.startswith(b"requeued-")
    assert place.endswith(b"~")


def test_a_file_that_cannot_be_moved_stays_with_its_reason(
    directory: ReplayDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go."""
    refuse(directory, b"a")
    refuse(directory, b"b")
    ordered(directory)
    real = disk._renameat2

    def rename(source: bytes, target: bytes, source_folder: int, target_folder: int) -> None:
        if source == b"a":
            raise PermissionError(13, "Permission denied")
        real(source, target, source_folder, target_folder)

    monkeypatch.setattr(disk, "_renameat2", rename)
    done = {order.name: problem for order, problem in carry_out(directory)}
    assert done == {b"a": "Permission denied", b"b": ""}
    assert waiting(directory) == {b"b": b"evidence"}
    assert sorted(tree(own(directory, b"quarantine"))) == [b"a", b"a.reason.json"]


class Died(BaseException):
    """The process is gone."""


def dying(patch: pytest.MonkeyPatch, nth: int, after: bool) -> Callable[[], bool]:
    """The process dies at the n-th call that changes the disk, before or after it; whether it came to that."""
    seen = count(1)
    last = [0]

    def mortal(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            last[0] = next(seen)
            if last[0] > nth or (last[0] == nth and not after):
                raise Died
            result = call(*args, **kwargs)
            if last[0] == nth:
                raise Died
            return result

        return step

    for name in ("rename", "unlink", "mkdir", "write"):
        patch.setattr(os, name, mortal(getattr(os, name)))
    patch.setattr(disk, "_renameat2", mortal(disk._renameat2))
    return lambda: last[0] >= nth


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_every_call_loses_nothing(directory: ReplayDirectory, after: bool) -> None:
    """Between the command and the row: each file is in quarantine or back in its place, and never at two."""
    for nth in count(1):
        refuse(directory, b"sub/file", b"one")
        refuse(directory, b"other", b"two")
        write(directory, b"other", b"in the way")
        os.rmdir(full(directory, b"sub"))
        with pytest.MonkeyPatch.context() as patch:
            died = dying(patch, nth, after)
            try:
                ordered(directory)
                forget(directory, [order for order, _ in carry_out(directory)])
            except Died:
                pass
        files = [
            *waiting(directory).values(),
            *(d for n, d in tree(own(directory, b"quarantine")).items() if not n.endswith(SIDECAR)),
        ]
        assert sorted(files) == [b"in the way", b"one", b"two"]

        ordered(directory)
        forget(directory, [order for order, _ in carry_out(directory)])
        assert waiting(directory) == {b"sub/file": b"one", b"other": b"in the way", b"other~2": b"two"}
        assert (tree(own(directory, b"quarantine")), tree(own(directory, b"requeue"))) == ({}, {})
        for path in waiting(directory):
            os.unlink(full(directory, path))
        os.rmdir(full(directory, b"sub"))
        if not died():
            break
    assert nth > 8


def test_without_a_daemon_it_is_done_at_once_and_the_row_is_left_to_the_next_start(directory: ReplayDirectory) -> None:
    """The order stays: what it says is still to be recorded."""
    refuse(directory, b"file")
    directory.close()
    directory.reach()
    ((order, problem),) = send_back(directory, entries(directory), 0.0)

    assert (order.to, problem) == (b"file", "")
    assert waiting(directory) == {b"file": b"evidence"}
    assert pending(directory) == [order]


def test_what_a_daemon_does_not_do_in_time_is_still_to_be_done(directory: ReplayDirectory) -> None:
    """It may wait for its ledger's disk; the order stands."""
    refuse(directory, b"file")
    ((order, problem),) = send_back(directory, entries(directory), 0.0)

    assert "as soon as its ledger takes rows" in problem
    assert waiting(directory) == {}
    assert pending(directory) == [order]


def test_what_is_no_order_is_left_alone(directory: ReplayDirectory) -> None:
    """Neither rubbish nor a part of an order that a crash left is carried out, nor one that points elsewhere."""
    refuse(directory, b"file")
    (order,) = ordered(directory)
    forget(directory, [order])
    good = {"name": "file", "path": "file", "to": "file", "size": 8, "sha256": order.sha256, "reason": "too_large"}
    for name, data in {
        b"x.json": b"{}",
        b"y.json": b"rubbish",
        b"z.json.tmp": b"{",
        b"w.json": json.dumps({"name": "..%2Flock", "path": "a", "to": "../a"}).encode(),
        b"v.json": b"[" * 100_000,
        b"u.json": b"[]",
        **{b"%d.json" % at: json.dumps(good | {field: odd}).encode() for at, (field, odd) in enumerate(ODD)},
        b"t.json": b'{"size":1e400,' + json.dumps(good).encode()[1:],
    }.items():
        write_durably(os.path.join(own(directory, b"requeue"), name), data)

    assert carry_out(directory) == []
    assert sorted(tree(own(directory, b"quarantine"))) == [b"file", b"file.reason.json"]
