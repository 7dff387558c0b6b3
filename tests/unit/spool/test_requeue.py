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
from tests.support.replay import content_of, full, meanwhile, tree, waiting, write

FIRST, LAST = "2026-03-04T05:06:07.000001Z", "2026-03-04T05:06:09.000002Z"


def refuse(home: ReplayDirectory, path: bytes, data: bytes = b"evidence", reason: str = "too_large") -> None:
    """A file was dropped, and refused."""
    write(home, path, data)
    Quarantine(home).set_aside(Refusal(content_of(home, path), reason, "no"), FIRST, LAST)


def ordered(home: ReplayDirectory) -> list[Order]:
    """All that is in quarantine is to go back."""
    return ask(home, entries(home))


def places(home: ReplayDirectory) -> list[bytes]:
    """Everything is carried out; where each file is now."""
    done = carry_out(home)
    assert [problem for _, problem in done if problem] == []
    return [order.to for order, _ in done]


@pytest.mark.parametrize("path", [b"file", b"sub/deep/file", b"\xff\n\t%25", b"x" * 255, b"x.reason.json"])
def test_a_file_goes_back_to_where_it_came_from(home: ReplayDirectory, path: bytes) -> None:
    """Whatever it is called, with its folders made anew, and its sidecar gone."""
    refuse(home, path)
    if b"/" in path:
        os.removedirs(os.path.dirname(full(home, path)))
    (order,) = ordered(home)

    assert places(home) == [path]
    assert waiting(home) == {path: b"evidence"}
    assert tree(home.quarantine) == {}
    assert requeued(order) == (
        "requeued",
        {"path": quote_from_bytes(path), "size": 8, "sha256": order.sha256, "reason": "too_large"},
    )


def test_an_order_stands_until_it_is_forgotten(home: ReplayDirectory) -> None:
    """The row is written in between; carried out twice, it changes nothing."""
    refuse(home, b"a")
    refuse(home, b"b")
    ordered(home)
    assert places(home) == places(home) == [order.to for order in pending(home)]
    assert len(pending(home)) == 2

    forget(home, pending(home))
    assert (pending(home), tree(home.requeue), places(home)) == ([], {}, [])


def test_a_file_that_took_the_place_meanwhile_is_not_overwritten(home: ReplayDirectory) -> None:
    """Ours gets a name beside it, and the row says so."""
    refuse(home, b"sub/file")
    write(home, b"sub/file", b"another")
    ordered(home)

    assert places(home) == [b"sub/file~2"]
    assert waiting(home) == {b"sub/file": b"another", b"sub/file~2": b"evidence"}
    assert requeued(pending(home)[0])[1]["to"] == "sub/file~2"
    assert requeued(pending(home)[0])[1]["path"] == "sub/file"


def test_nor_is_one_that_comes_at_the_last_instant(home: ReplayDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the move. The order names the new place before the file goes there."""
    refuse(home, b"file")
    ordered(home)
    meanwhile(monkeypatch, "_renameat2", lambda: write(home, b"file", b"another"), of=disk)

    assert places(home) == [b"file~2"]
    assert waiting(home) == {b"file": b"another", b"file~2": b"evidence"}
    assert pending(home)[0].to == b"file~2"


def test_two_versions_of_one_file_both_go_back(home: ReplayDirectory) -> None:
    """Refused one after the other, from the same place."""
    refuse(home, b"file", b"first")
    refuse(home, b"file", b"second")
    ordered(home)

    assert sorted(places(home)) == [b"file", b"file~2"]
    assert sorted(waiting(home).values()) == [b"first", b"second"]


@pytest.mark.parametrize("now", [b"sub", b"sub/deep"])
def test_a_folder_that_is_a_file_by_now_is_no_obstacle(home: ReplayDirectory, now: bytes) -> None:
    """It goes into the replay directory itself then."""
    refuse(home, b"sub/deep/file")
    os.removedirs(full(home, b"sub/deep"))
    ordered(home)
    write(home, now, b"another")

    assert places(home) == [b"file"]
    assert waiting(home) == {now: b"another", b"file": b"evidence"}


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
def test_a_sidecar_cannot_send_a_file_anywhere_else(home: ReplayDirectory, path: str) -> None:
    """Outside of the replay directory, onto our own folder, or where it would never be taken from."""
    os.symlink(b"..", full(home, b"link"))
    refuse(home, b"file")
    place = os.path.join(home.quarantine, b"file" + SIDECAR)
    with open(place, "rb") as file:
        told = json.load(file)
    write_durably(place, json.dumps(told | {"path": path}).encode())
    ordered(home)

    assert places(home) == [b"file"]
    assert waiting(home) == {b"file": b"evidence"}


@pytest.mark.parametrize("sidecar", [None, b"", b"[]", b"{}", b"\xff", b'{"path": 1}', b"[" * 100_000])
def test_without_a_good_sidecar_a_file_goes_back_by_its_name(home: ReplayDirectory, sidecar: bytes | None) -> None:
    """It is shown with what is wrong, and can be sent on its way all the same."""
    refuse(home, b"sub/file")
    place = os.path.join(home.quarantine, b"file" + SIDECAR)
    os.unlink(place)
    if sidecar is not None:
        write_durably(place, sidecar)
    (entry,) = entries(home)
    assert "sidecar" in entry.problem
    assert entry == Entry(b"file", 8, b"", "", "", 0, "", "", "", entry.problem)
    ordered(home)

    assert places(home) == [b"file"]
    assert (waiting(home), tree(home.quarantine)) == ({b"file": b"evidence"}, {})


@pytest.mark.parametrize("name", [b".hidden", b"work.tmp", b"." + b"x" * 254])
def test_a_name_that_would_never_be_taken_is_changed(home: ReplayDirectory, name: bytes) -> None:
    """Somebody put a file there by hand."""
    write(home, b".syncdaemon/quarantine/" + name)
    ordered(home)
    (place,) = places(home)

    assert place.startswith(b"requeued-")
    assert place.endswith(b"~")


def test_a_file_that_cannot_be_moved_stays_with_its_reason(
    home: ReplayDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go."""
    refuse(home, b"a")
    refuse(home, b"b")
    ordered(home)
    real = disk._renameat2

    def rename(source: bytes, target: bytes) -> None:
        if source.endswith(b"/a"):
            raise PermissionError(13, "Permission denied")
        real(source, target)

    monkeypatch.setattr(disk, "_renameat2", rename)
    done = {order.name: problem for order, problem in carry_out(home)}
    assert done == {b"a": "Permission denied", b"b": ""}
    assert waiting(home) == {b"b": b"evidence"}
    assert sorted(tree(home.quarantine)) == [b"a", b"a.reason.json"]


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
def test_a_crash_at_every_call_loses_nothing(home: ReplayDirectory, after: bool) -> None:
    """Between the command and the row: each file is in quarantine or back in its place, and never at two."""
    for nth in count(1):
        refuse(home, b"sub/file", b"one")
        refuse(home, b"other", b"two")
        write(home, b"other", b"in the way")
        os.rmdir(full(home, b"sub"))
        with pytest.MonkeyPatch.context() as patch:
            died = dying(patch, nth, after)
            try:
                ordered(home)
                forget(home, [order for order, _ in carry_out(home)])
            except Died:
                pass
        files = [*waiting(home).values(), *(d for n, d in tree(home.quarantine).items() if not n.endswith(SIDECAR))]
        assert sorted(files) == [b"in the way", b"one", b"two"]

        ordered(home)
        forget(home, [order for order, _ in carry_out(home)])
        assert waiting(home) == {b"sub/file": b"one", b"other": b"in the way", b"other~2": b"two"}
        assert (tree(home.quarantine), tree(home.requeue)) == ({}, {})
        for path in waiting(home):
            os.unlink(full(home, path))
        os.rmdir(full(home, b"sub"))
        if not died():
            break
    assert nth > 8


def test_without_a_daemon_it_is_done_at_once_and_the_row_is_left_to_the_next_start(home: ReplayDirectory) -> None:
    """The order stays: what it says is still to be recorded."""
    refuse(home, b"file")
    home.close()
    ((order, problem),) = send_back(home, entries(home), 0.0)

    assert (order.to, problem) == (b"file", "")
    assert waiting(home) == {b"file": b"evidence"}
    assert pending(home) == [order]


def test_what_a_daemon_does_not_do_in_time_is_still_to_be_done(home: ReplayDirectory) -> None:
    """It may wait for its ledger's disk; the order stands."""
    refuse(home, b"file")
    ((order, problem),) = send_back(home, entries(home), 0.0)

    assert "as soon as its ledger takes rows" in problem
    assert waiting(home) == {}
    assert pending(home) == [order]


def test_what_is_no_order_is_left_alone(home: ReplayDirectory) -> None:
    """Neither rubbish nor a part of an order that a crash left is carried out, nor one that points elsewhere."""
    refuse(home, b"file")
    (order,) = ordered(home)
    forget(home, [order])
    for name, data in {
        b"x.json": b"{}",
        b"y.json": b"rubbish",
        b"z.json.tmp": b"{",
        b"w.json": json.dumps({"name": "..%2Flock", "path": "a", "to": "../a"}).encode(),
    }.items():
        write_durably(os.path.join(home.requeue, name), data)

    assert carry_out(home) == []
    assert sorted(tree(home.quarantine)) == [b"file", b"file.reason.json"]
