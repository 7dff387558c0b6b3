"""Letting go of files on a real file system: nothing that was not delivered is ever lost on the way."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncdaemon.base import disk
from syncdaemon.base.disk import fsync_dir, write_durably
from syncdaemon.base.errors import SettingsError
from syncdaemon.base.model import Receipt
from syncdaemon.spool import hold as module
from syncdaemon.spool import retired
from syncdaemon.spool.archive import Archive
from syncdaemon.spool.hold import Hold
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.moves import stamp_of
from syncdaemon.spool.retired import Retired
from tests.support.limit import FILE_BYTES, limit
from tests.support.replay import content_of, full, meanwhile, own, read, tree, waiting, write

HOLD = 150.0


@pytest.fixture
def hold(directory: ReplayDirectory) -> Hold:
    """A hold of the usual length."""
    return Hold(directory, HOLD)


def receipt(directory: ReplayDirectory, path: bytes = b"file", seq: int = 1) -> Receipt:
    """The file was delivered as it is now."""
    content = content_of(directory, path)
    return Receipt(content, content.sha256, "edge.replay.edge-1.x", "swarm_jobs", seq, False)


def delivered(directory: ReplayDirectory, path: bytes = b"file", data: bytes = b"evidence", seq: int = 1) -> Receipt:
    """A new file, delivered; an old one by its mtime, so that any change to it shows there."""
    os.utime(write(directory, path, data), ns=(0, 1_000_000_000))
    return receipt(directory, path, seq)


def path_of(fd: int) -> bytes:
    """Where the open folder is now."""
    return os.readlink(b"/proc/self/fd/%d" % fd)


def held(directory: ReplayDirectory) -> list[bytes]:
    """What the files in the hold hold, sorted."""
    return sorted(tree(own(directory, b"held")).values())


# --- the hold


def test_a_delivered_file_is_moved_to_the_hold(directory: ReplayDirectory, hold: Hold) -> None:
    """Out of the replay directory, whole, and counted."""
    assert hold.retire([delivered(directory)], 0.0) == Retired(1, [])

    assert waiting(directory) == {}
    assert held(directory) == [b"evidence"]
    assert hold.count == 1


@pytest.mark.parametrize("path", [b"a/b c/d", b"\xff\xfe", b"a\nb", b"x" * 255, ("ü" * 127).encode(), b"100%"])
def test_any_name_can_be_retired(directory: ReplayDirectory, hold: Hold, path: bytes) -> None:
    """Nested, long, or no UTF-8: the hold has names of its own."""
    assert hold.retire([delivered(directory, path)], 0.0) == Retired(1, [])

    assert (waiting(directory), held(directory)) == ({}, [b"evidence"])


def test_files_of_the_same_content_are_all_held(directory: ReplayDirectory, hold: Hold) -> None:
    """A duplicate has the same digest and sequence; it is a file of its own nevertheless."""
    receipts = [delivered(directory, b"%d" % number) for number in range(5)]

    assert hold.retire(receipts, 0.0) == Retired(5, [])
    assert (waiting(directory), len(held(directory)), hold.count) == ({}, 5, 5)


def test_two_names_of_one_file_are_both_retired(directory: ReplayDirectory, hold: Hold) -> None:
    """Hard links: renaming one onto the other does nothing and says that all is well (rename(2))."""
    write(directory, b"a")
    os.link(full(directory, b"a"), full(directory, b"b"))

    assert hold.retire([receipt(directory, b"a"), receipt(directory, b"b")], 0.0) == Retired(2, [])
    assert waiting(directory) == {}
    assert len(held(directory)) == hold.count == 2


def test_the_place_that_files_go_to_is_made_durable_once_for_a_batch(
    directory: ReplayDirectory, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After all of its moves: after a power cut a file is there, or still where it was."""
    synced: list[tuple[bytes, int]] = []
    monkeypatch.setattr(retired, "fsync_dir", lambda fd: synced.append((path_of(fd), len(os.listdir(fd)))))
    hold.retire([delivered(directory, b"a"), delivered(directory, b"b"), delivered(directory, b"sub/c")], 0.0)

    (bucket,) = os.listdir(own(directory, b"held"))
    assert [step for step in synced if step[0] == os.path.join(own(directory, b"held"), bucket)] == [
        (os.path.join(own(directory, b"held"), bucket), 3)
    ]


def test_a_file_that_is_gone_needs_nothing(directory: ReplayDirectory, hold: Hold) -> None:
    """Somebody took it away after it was delivered, or its folder."""
    receipts = [delivered(directory, b"a"), delivered(directory, b"sub/b")]
    os.unlink(full(directory, b"a"))
    os.unlink(full(directory, b"sub/b"))
    os.rmdir(full(directory, b"sub"))

    assert hold.retire(receipts, 0.0) == Retired(0, [])
    assert (waiting(directory), held(directory), hold.count) == ({}, [], 0)


def test_a_folder_that_vanishes_after_the_move_is_no_trouble(
    directory: ReplayDirectory, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer that tidies up removes the folder as soon as its last file is gone."""
    done = delivered(directory, b"sub/file")
    meanwhile(monkeypatch, "rename", lambda: os.rmdir(full(directory, b"sub")), before=False)

    assert hold.retire([done], 0.0) == Retired(1, [])
    assert held(directory) == [b"evidence"]


def test_a_new_file_under_the_same_name_stays(directory: ReplayDirectory, hold: Hold) -> None:
    """The name was used again while the old version was being delivered; this one was never sent."""
    done = delivered(directory)
    write(directory, b".new", b"another")
    os.replace(full(directory, b".new"), full(directory, b"file"))

    assert hold.retire([done], 0.0) == Retired(0, [])
    assert waiting(directory) == {b"file": b"another"}
    assert (held(directory), hold.count) == ([], 0)


def appended(place: bytes) -> None:
    """The file has become longer."""
    with open(place, "ab") as file:
        file.write(b" and more")


def rewritten(place: bytes) -> None:
    """Other bytes in the same place, and as many."""
    with open(place, "r+b") as file:
        file.write(b"EVIDENCE")


def cut(place: bytes) -> None:
    """The file has become shorter."""
    os.truncate(place, 3)


def touched(place: bytes) -> None:
    """Another mtime."""
    os.utime(place, ns=(0, 1))


@pytest.mark.parametrize("change", [appended, rewritten, cut, touched])
def test_a_file_that_changed_since_it_was_read_stays(
    directory: ReplayDirectory, hold: Hold, change: Callable[[bytes], object]
) -> None:
    """What it holds now was not sent."""
    done = delivered(directory)
    change(full(directory, b"file"))
    now = waiting(directory)

    assert hold.retire([done], 0.0) == Retired(0, [])
    assert waiting(directory) == now
    assert (held(directory), hold.count) == ([], 0)


def test_a_change_of_name_or_rights_alone_is_no_change(directory: ReplayDirectory, hold: Hold) -> None:
    """The ctime moves with every chmod and link; the content was delivered all the same."""
    done = delivered(directory)
    os.chmod(full(directory, b"file"), 0o600)
    os.link(full(directory, b"file"), full(directory, b".backup"))

    assert hold.retire([done], 0.0) == Retired(1, [])
    assert waiting(directory) == {b".backup": b"evidence"}


def test_a_folder_in_the_place_of_the_file_stays(directory: ReplayDirectory, hold: Hold) -> None:
    """With all that is in it."""
    done = delivered(directory)
    os.unlink(full(directory, b"file"))
    write(directory, b"file/inside", b"another")

    assert hold.retire([done], 0.0) == Retired(0, [])
    assert waiting(directory) == {b"file/inside": b"another"}
    assert hold.count == 0


def test_a_symlink_in_the_place_of_the_file_stays(directory: ReplayDirectory, hold: Hold) -> None:
    """It is put back as a symlink, and what it points at is not touched."""
    done = delivered(directory)
    os.rename(full(directory, b"file"), full(directory, b".kept"))
    os.symlink(b".kept", full(directory, b"file"))

    assert hold.retire([done], 0.0) == Retired(0, [])
    assert os.readlink(full(directory, b"file")) == b".kept"
    assert read(full(directory, b".kept")) == b"evidence"


def test_what_cannot_go_back_to_its_name_gets_another(
    directory: ReplayDirectory, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the move and the way back a third file came: it is not overwritten, and the second not lost."""
    done = delivered(directory)
    write(directory, b".new", b"second")
    os.replace(full(directory, b".new"), full(directory, b"file"))
    meanwhile(monkeypatch, "_renameat2", lambda: write(directory, b"file", b"third"), of=disk)

    assert hold.retire([done], 0.0) == Retired(0, [])
    assert sorted(waiting(directory).values()) == [b"second", b"third"]
    assert waiting(directory)[b"file"] == b"third"
    assert held(directory) == []


def test_without_hard_links_a_file_goes_back_by_its_name(
    directory: ReplayDirectory, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems have neither them nor a rename that overwrites nothing."""
    done = delivered(directory)
    write(directory, b".new", b"another")
    os.replace(full(directory, b".new"), full(directory, b"file"))

    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(disk, "_LIBC", None)
    monkeypatch.setattr(os, "link", no_links)
    assert hold.retire([done], 0.0) == Retired(0, [])
    assert waiting(directory) == {b"file": b"another"}
    assert held(directory) == []


def test_what_is_held_already_is_not_overwritten(directory: ReplayDirectory, hold: Hold) -> None:
    """A receipt that comes twice finds a new file under the name: neither that nor the held one may be lost."""
    done = delivered(directory)
    hold.retire([done], 0.0)
    write(directory, b"file", b"another")

    assert hold.retire([done], 0.0) == Retired(0, [])
    assert waiting(directory) == {b"file": b"another"}
    assert held(directory) == [b"evidence"]
    assert hold.count == 1


def test_a_file_that_cannot_be_moved_is_told_with_the_cause(
    directory: ReplayDirectory, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others of the batch go on their way."""
    receipts = [delivered(directory, b"a"), delivered(directory, b"b"), delivered(directory, b"c")]
    real = os.rename

    def rename(source: bytes, target: bytes, **folders: int) -> None:
        if source == b"b":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(source, target, **folders)

    monkeypatch.setattr(os, "rename", rename)
    assert hold.retire(receipts, 0.0) == Retired(2, [(receipts[1], os.strerror(errno.EXDEV))])
    assert waiting(directory) == {b"b": b"evidence"}
    assert hold.count == 2


def test_held_files_are_deleted_when_their_time_is_over(directory: ReplayDirectory, hold: Hold) -> None:
    """Not a moment before, and with nothing left behind."""
    hold.retire([delivered(directory)], 1000.0)

    assert hold.expire(1000.0 + HOLD) == []
    assert held(directory) == [b"evidence"]
    expiry = hold.next_expiry()
    assert expiry is not None
    assert 1000.0 + HOLD <= expiry <= 1000.0 + HOLD + 15.0
    assert hold.expire(expiry - 0.001) == []
    assert hold.count == 1
    assert hold.expire(expiry) == []
    assert (held(directory), os.listdir(own(directory, b"held")), hold.count, hold.next_expiry()) == ([], [], 0, None)


def test_nothing_is_made_where_the_directory_is_gone(directory: ReplayDirectory, hold: Hold) -> None:
    """Neither the directory nor anything in another one that is at its path: files go to the hold that was locked."""
    first, second, third = (delivered(directory, name, name) for name in (b"1", b"2", b"3"))
    os.rename(directory.replay_dir, directory.replay_dir + b" moved away")
    assert hold.retire([first], 0.0) == Retired(1, [])
    assert not os.path.exists(directory.replay_dir)

    os.mkdir(directory.replay_dir)
    assert hold.retire([second], 0.0) == Retired(1, [])
    assert Archive(directory).retire([third]) == Retired(1, [])
    assert os.listdir(directory.replay_dir) == []
    os.rmdir(directory.replay_dir)
    os.rename(directory.replay_dir + b" moved away", directory.replay_dir)
    assert (waiting(directory), held(directory)) == ({}, [b"1", b"2"])
    assert list(archived(directory).values()) == [b"3"]


def test_a_disk_that_fails_between_move_and_sync(
    directory: ReplayDirectory, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are moved and counted; that they may not be on the disk yet is told, and ends nothing."""
    done = [delivered(directory)]

    def fail(folder: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(retired, "fsync_dir", fail)
    assert hold.retire(done, 0.0) == Retired(1, [], "Input/output error")
    assert (held(directory), hold.count) == ([b"evidence"], 1)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.booleans()), max_size=12),
    st.sampled_from([0.0, 3.0, 20.0]),
)
def test_every_file_is_held_for_its_time_and_not_much_longer(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]], seconds: float
) -> None:
    """Whenever files come and expiry is run: never deleted early, never kept for more than a bucket's span longer."""
    directory = ReplayDirectory(os.fsencode(tmp_path_factory.mktemp("replay")))
    directory.open()
    hold, now, number = Hold(directory, seconds), 0.0, 0
    born: dict[bytes, float] = {}
    for wait, count, expire in steps:
        now += wait
        names = [b"%d" % (number := number + 1) for _ in range(count)]
        assert hold.retire([delivered(directory, name, name) for name in names], now) == Retired(count, [])
        born.update(dict.fromkeys(names, now))
        if expire:
            hold.expire(now)
            kept = set(held(directory))
            assert {name for name, at in born.items() if now < at + seconds} <= kept
            assert kept <= {name for name, at in born.items() if now < at + seconds + 10}
            assert hold.count == len(kept)
    hold.expire(now + seconds + 10)
    assert (held(directory), hold.count, os.listdir(own(directory, b"held"))) == ([], 0, [])
    directory.close()


def test_no_bucket_holds_more_than_a_folder_takes_well(
    directory: ReplayDirectory, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full one is closed before its time, and expires by itself."""
    monkeypatch.setattr(module, "_BUCKET_FILES", 2)
    for number in range(5):
        hold.retire([delivered(directory, b"%d" % number, b"evidence %d" % number)], now=float(number))
    buckets = sorted(os.listdir(own(directory, b"held")))
    assert [len(os.listdir(os.path.join(own(directory, b"held"), bucket))) for bucket in buckets] == [2, 2, 1]

    hold.expire(now=2.0 + HOLD)
    assert sorted(os.listdir(own(directory, b"held"))) == buckets[1:]
    hold.expire(now=4.0 + HOLD)
    assert sorted(os.listdir(own(directory, b"held"))) == buckets[2:]


def no_folder(*_: object) -> int:
    """In the place of a call that makes one."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_has_one_bucket_left(
    directory: ReplayDirectory, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept in advance and filled in its turn, however often: what is deleted in it is the room that is needed."""
    hold.load(now=0.0)
    monkeypatch.setattr(module, "make_beneath", no_folder)
    for turn in range(3):
        now = turn * 2 * HOLD
        first, second = delivered(directory, b"a%d" % turn), delivered(directory, b"b%d" % turn)
        assert hold.retire([first], now) == Retired(1, [])
        assert hold.retire([second], now + 11.0) == Retired(0, [(second, os.strerror(errno.ENOSPC))])
        assert read(full(directory, b"b%d" % turn)) == b"evidence"
        hold.expire(now + 11.0 + HOLD)
        assert os.listdir(own(directory, b"held")) == []


def test_a_hold_of_nought_lets_go_at_once(directory: ReplayDirectory) -> None:
    """For servers that sync before they acknowledge."""
    hold = Hold(directory, 0.0)
    for now in (5.0, 5.0, 6.0):
        assert hold.retire([delivered(directory, b"a"), delivered(directory, b"b")], now) == Retired(2, [])
        hold.expire(now)
        assert (held(directory), hold.count, waiting(directory)) == ([], 0, {})


def test_what_could_not_be_deleted_is_tried_again(
    directory: ReplayDirectory, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is broken for a while keeps files for longer, and the count stays true."""
    hold.retire([delivered(directory, b"%d" % number) for number in range(3)], 0.0)
    with monkeypatch.context() as patch:

        def fail(*_: object, **__: object) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        patch.setattr(os, "unlink", fail)
        with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
            hold.expire(1000.0)
    assert len(held(directory)) == hold.count == 3

    assert hold.expire(1000.0) == []
    assert (os.listdir(own(directory, b"held")), hold.count, hold.next_expiry()) == ([], 0, None)


def test_a_bucket_that_somebody_removed_does_not_hold_up_the_others(directory: ReplayDirectory, hold: Hold) -> None:
    """An operator short of space empties the oldest by hand: what came after it must still go when it is due."""
    for now in (0.0, 20.0, 40.0):
        hold.retire([delivered(directory, b"%d" % now, b"%d" % now)], now)
    shutil.rmtree(os.path.join(own(directory, b"held"), min(os.listdir(own(directory, b"held")))))

    assert hold.expire(1000.0) == []
    assert (os.listdir(own(directory, b"held")), hold.next_expiry()) == ([], None)


def test_a_held_file_that_somebody_removed_does_not_keep_the_others(
    directory: ReplayDirectory, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where the operator is at it in the very same moment: at the next time at the latest all is gone."""
    hold.retire([delivered(directory, b"%d" % number) for number in range(4)], 0.0)
    order = [
        os.path.join(own(directory, b"held"), bucket, name)
        for bucket in os.listdir(own(directory, b"held"))
        for name in listed(directory, bucket)
    ]
    real = os.unlink
    with monkeypatch.context() as patch:
        meanwhile(patch, "unlink", lambda: real(order[1]))
        hold.expire(1000.0)
    hold.expire(1000.0)

    assert (os.listdir(own(directory, b"held")), hold.next_expiry()) == ([], None)


def listed(directory: ReplayDirectory, bucket: bytes) -> list[bytes]:
    """The names in a bucket, in the order in which the file system tells them."""
    return os.listdir(os.path.join(own(directory, b"held"), bucket))


def test_a_file_that_is_written_to_while_it_is_held_comes_back(directory: ReplayDirectory, hold: Hold) -> None:
    """A producer that kept it open wrote on: that was never sent, and goes on its way under a new name."""
    done = delivered(directory)
    with open(full(directory, b"file"), "ab") as producer:
        hold.retire([done, delivered(directory, b"other")], 0.0)
        producer.write(b" and more")
        producer.flush()
    back = hold.expire(1000.0)

    assert len(back) == 1
    assert back[0].startswith(b"changed-while-held-")
    assert waiting(directory) == {back[0]: b"evidence and more"}
    assert (held(directory), hold.count) == ([], 0)


def test_two_changed_files_do_not_meet_under_one_name(directory: ReplayDirectory, hold: Hold) -> None:
    """What comes back overwrites nothing, not even what came back before."""
    hold.retire([delivered(directory, b"a")], 0.0)
    (bucket,) = os.listdir(own(directory, b"held"))
    (name,) = os.listdir(os.path.join(own(directory, b"held"), bucket))
    write(directory, b"changed-while-held-" + name, b"earlier")
    os.utime(os.path.join(own(directory, b"held"), bucket, name), ns=(0, 7))

    assert hold.expire(1000.0) == [b"changed-while-held-" + name + b"~2"]
    assert sorted(waiting(directory).values()) == [b"earlier", b"evidence"]


@pytest.mark.parametrize(
    ("there", "place"),
    [
        ({}, b"sub/deep/file"),
        ({b"sub/deep/file": b"another"}, b"sub/deep/file~2"),
        ({b"sub/deep": b"another"}, b"file"),
        ({b"sub": b"another", b"file": b"a third"}, b"file~2"),
    ],
)
def test_a_held_file_goes_back_to_its_place_or_beside_it(
    directory: ReplayDirectory, hold: Hold, there: dict[bytes, bytes], place: bytes
) -> None:
    """Whatever is there by now, a file in the place of its folder too; it is held no more."""
    hold.retire([delivered(directory, b"sub/deep/file")], 0.0)
    os.removedirs(full(directory, b"sub/deep"))
    for path, data in there.items():
        write(directory, path, data)
    (bucket,) = hold.buckets()
    (one,) = hold.held(bucket)

    assert hold.send_again(one, b"sub/deep/file") == place
    assert waiting(directory) == {**there, place: b"evidence"}
    assert (held(directory), hold.count) == ([], 0)
    assert hold.send_again(one, b"sub/deep/file") is None


def test_what_an_earlier_process_held_begins_its_time_anew(directory: ReplayDirectory, hold: Hold) -> None:
    """Its clock is not ours; longer is safe. What was changed by then still comes back."""
    hold.retire([delivered(directory, b"a", b"first")], 0.0)
    hold.retire([delivered(directory, b"b", b"second"), delivered(directory, b"c", b"third")], 100.0)
    with open(next(place for place in places(own(directory, b"held")) if read(place) == b"third"), "ab") as file:
        file.write(b"!")

    heir = Hold(directory, HOLD)
    heir.load(7.0)
    assert heir.count == 3
    assert heir.next_expiry() == 7.0 + HOLD
    assert heir.expire(7.0 + HOLD - 1) == []
    heir.retire([delivered(directory, b"d", b"fourth")], 7.0 + HOLD - 1)
    (back,) = heir.expire(7.0 + HOLD)
    assert waiting(directory) == {back: b"third!"}
    assert (held(directory), heir.count) == ([b"fourth"], 1)


def test_an_empty_hold_is_loaded(directory: ReplayDirectory, hold: Hold) -> None:
    """The first start, and one after a crash between making a bucket and filling it."""
    hold.load(0.0)
    assert (hold.count, hold.next_expiry()) == (0, None)

    os.mkdir(os.path.join(own(directory, b"held"), b"123"))
    heir = Hold(directory, HOLD)
    heir.load(0.0)
    assert heir.expire(HOLD) == []
    assert os.listdir(own(directory, b"held")) == []


def places(root: bytes) -> list[bytes]:
    """The full paths of all files below a folder."""
    return [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]


# --- the archive


def archived(directory: ReplayDirectory) -> dict[bytes, bytes]:
    """All archived files by their path without the day."""
    return {path.split(b"/", 1)[1]: data for path, data in tree(own(directory, b"archive")).items()}


def test_an_archived_file_keeps_its_path(directory: ReplayDirectory) -> None:
    """Below the day of its delivery, in UTC; nested, and with whatever bytes its name has."""
    paths = [b"a", b"sub/b", b"sub/deep/\xff\xfe c"]
    earliest = time.strftime("%Y%m%d", time.gmtime()).encode()
    assert Archive(directory).retire([delivered(directory, path, path) for path in paths]) == Retired(3, [])
    latest = time.strftime("%Y%m%d", time.gmtime()).encode()

    assert waiting(directory) == {}
    assert archived(directory) == {path: path for path in paths}
    assert set(os.listdir(own(directory, b"archive"))) <= {earliest, latest}


def test_an_archived_file_is_never_overwritten(directory: ReplayDirectory) -> None:
    """The same name again on the same day, one after the other and in one batch."""
    archive = Archive(directory)
    for data in (b"one", b"two", b"three"):
        assert archive.retire([delivered(directory, b"sub/a", data)]).moved == 1

    assert archived(directory) == {b"sub/a": b"one", b"sub/a~2": b"two", b"sub/a~3": b"three"}


def test_an_archived_folder_is_no_obstacle(directory: ReplayDirectory) -> None:
    """A file whose name was a folder's before, and the other way round."""
    archive = Archive(directory)
    assert archive.retire([delivered(directory, b"a/b", b"one")]) == Retired(1, [])
    os.rmdir(full(directory, b"a"))
    assert archive.retire([delivered(directory, b"a", b"two")]) == Retired(1, [])
    assert archive.retire([delivered(directory, b"c", b"three")]) == Retired(1, [])
    assert archive.retire([delivered(directory, b"c/d", b"four")]) == Retired(1, [])

    assert waiting(directory) == {}
    assert sorted(archived(directory).values()) == [b"four", b"one", b"three", b"two"]


def test_the_archive_takes_only_what_was_delivered(directory: ReplayDirectory) -> None:
    """Changed, gone, replaced: as with the hold."""
    changed, gone, done = delivered(directory, b"changed"), delivered(directory, b"gone"), delivered(directory, b"done")
    write(directory, b"changed", b"another")
    os.unlink(full(directory, b"gone"))

    assert Archive(directory).retire([changed, gone, done]) == Retired(1, [])
    assert waiting(directory) == {b"changed": b"another"}
    assert archived(directory) == {b"done": b"evidence"}


def test_what_the_archive_cannot_take_is_told_with_the_cause(
    directory: ReplayDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk has no room for a new folder: the file stays, and the daemon goes on."""
    done = delivered(directory, b"sub/file")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "mkdir", fail)
    assert Archive(directory).retire([done]) == Retired(0, [(done, os.strerror(errno.ENOSPC))])
    assert waiting(directory) == {b"sub/file": b"evidence"}


def test_two_names_of_one_file_are_both_archived(directory: ReplayDirectory) -> None:
    """Each under its own name."""
    write(directory, b"a")
    os.link(full(directory, b"a"), full(directory, b"b"))

    assert Archive(directory).retire([receipt(directory, b"a"), receipt(directory, b"b")]) == Retired(2, [])
    assert (waiting(directory), archived(directory)) == ({}, {b"a": b"evidence", b"b": b"evidence"})


# --- the pieces


def test_a_stamp_tells_one_version_from_another(directory: ReplayDirectory) -> None:
    """Any write shows in it; a file that is not there has none."""
    place = write(directory, b"file")
    first = stamp_of(place)
    assert first == stamp_of(place)
    os.utime(place, ns=(0, 5))
    second = stamp_of(place)
    assert second is not None
    assert (second != first, second.mtime_ns, second.size) == (True, 5, 8)
    assert stamp_of(full(directory, b"nothing")) is None


def test_a_file_is_written_whole_or_not_at_all(directory: ReplayDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there before stays until the new one is on disk; no temporary is left."""
    place = write(directory, b"file", b"before")
    with monkeypatch.context() as patch:

        def full_disk(fd: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            write_durably(place, b"after")
    assert read(place) == b"before"
    with limit(FILE_BYTES, 3), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        write_durably(place, b"after")
    assert read(place) == b"before"

    write_durably(place, b"after")
    assert waiting(directory) == {b"file": b"after"}


# --- our own folder


def test_the_folders_are_made_and_a_second_start_finds_them(tmp_path: Path) -> None:
    """Held and quarantined files of an earlier process are still there."""
    directory = ReplayDirectory(os.fsencode(tmp_path))
    directory.open()
    write_durably(os.path.join(own(directory, b"quarantine"), b"kept"), b"evidence")
    directory.close()
    directory.open()
    directory.close()

    assert read(os.path.join(own(directory, b"quarantine"), b"kept")) == b"evidence"
    assert {"held", "quarantine", "lock"} <= set(os.listdir(tmp_path / ".syncdaemon"))


def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    """With the setting, the directory, and what to do."""
    first, second = ReplayDirectory(os.fsencode(tmp_path)), ReplayDirectory(os.fsencode(tmp_path))
    first.open()
    with pytest.raises(SettingsError, match="SYNC_REPLAY_DIR: another syncdaemon works on") as refusal:
        second.open()
    assert str(tmp_path) in str(refusal.value)
    with pytest.raises(SettingsError):
        second.open()

    first.close()
    second.open()
    second.close()


def test_the_lock_is_one_that_other_programs_see(tmp_path: Path) -> None:
    """flock(1) in a script can tell whether the daemon runs."""
    directory = ReplayDirectory(os.fsencode(tmp_path))
    directory.open()
    with (
        (tmp_path / ".syncdaemon" / "lock").open("rb") as lock,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    directory.close()


def test_closing_twice_closes_once(tmp_path: Path) -> None:
    """And never a descriptor that belongs to somebody else by then."""
    directory = ReplayDirectory(os.fsencode(tmp_path))
    directory.close()
    directory.open()
    directory.close()
    with (tmp_path / "other").open("wb") as other:
        directory.close()
        other.write(b"still open")
    assert (tmp_path / "other").read_bytes() == b"still open"


@pytest.mark.parametrize("made", ["nothing", "a file", "a dangling link"])
def test_what_is_no_directory_is_refused(tmp_path: Path, made: str) -> None:
    """One line that names the setting, the path and the remedy; nothing is created."""
    place = tmp_path / "replay"
    if made == "a file":
        place.touch()
    elif made == "a dangling link":
        os.symlink("nowhere", place)
    before = os.listdir(tmp_path)

    with pytest.raises(SettingsError, match="is not a directory; create it or name another") as refusal:
        ReplayDirectory(os.fsencode(place)).open()
    assert str(refusal.value).startswith("SYNC_REPLAY_DIR: ")
    assert str(place) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert os.listdir(tmp_path) == before


def test_a_link_to_a_directory_is_a_directory(tmp_path: Path) -> None:
    """Operators like to put those in front of a mount."""
    (tmp_path / "real").mkdir()
    os.symlink("real", tmp_path / "replay")
    directory = ReplayDirectory(os.fsencode(tmp_path / "replay"))
    directory.open()
    directory.close()

    assert (tmp_path / "real" / ".syncdaemon" / "lock").exists()


def test_a_directory_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files could be sent and never moved away: better not to begin."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_, **__: False)
        with pytest.raises(SettingsError, match=r"is not writable \(Permission denied\)"):
            ReplayDirectory(os.fsencode(tmp_path)).open()

    directory = ReplayDirectory(os.fsencode(tmp_path))
    directory.open()
    directory.close()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_folders_that_cannot_be_made_are_an_error_of_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A read-only or full disk: with the system's own words."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "mkdir", fail)
    with pytest.raises(SettingsError, match=os.strerror(number)):
        ReplayDirectory(os.fsencode(tmp_path)).open()


def test_a_file_in_the_place_of_our_folder_is_an_error_of_the_setting(tmp_path: Path) -> None:
    """Nobody should have put it there, and we don't remove it."""
    (tmp_path / ".syncdaemon").write_bytes(b"mine")

    with pytest.raises(SettingsError, match="SYNC_REPLAY_DIR"):
        ReplayDirectory(os.fsencode(tmp_path)).open()
    assert (tmp_path / ".syncdaemon").read_bytes() == b"mine"


def test_a_local_file_system_has_our_clock(directory: ReplayDirectory) -> None:
    """A tick of the kernel is no difference."""
    assert directory.clock_offset_ns() == 0


@pytest.mark.parametrize("hours", [-5, 5])
def test_another_clock_is_measured(directory: ReplayDirectory, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """A server that stamps files by its own clock is ahead of us, or behind."""
    real, shift = time.time_ns, hours * 3_600_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: real() - shift)

    assert directory.clock_offset_ns() == pytest.approx(shift, abs=2_000_000_000)


def test_a_directory_can_be_synced(tmp_path: Path) -> None:
    """And one that is not there can't; no descriptor is left open."""
    before = os.listdir("/proc/self/fd")
    fsync_dir(os.fsencode(tmp_path))
    with pytest.raises(FileNotFoundError):
        fsync_dir(os.fsencode(tmp_path / "nowhere"))
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        fsync_dir(os.fsencode(tmp_path / "file"))

    assert os.listdir("/proc/self/fd") == before
