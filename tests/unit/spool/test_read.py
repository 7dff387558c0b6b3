"""Reading, on a real file system: complete files only, whole, and with the right digest."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncdaemon.base import disk, leases
from syncdaemon.base.model import Content, Fit, Refusal, Stamp
from syncdaemon.base.packing import Packer, digest
from syncdaemon.publish.objects.source import Changed, Source
from syncdaemon.spool.arrival import first_sight
from syncdaemon.spool.folders import OpenFolders
from syncdaemon.spool.moves import stamp_of
from syncdaemon.spool.read import Gone, Hashing, NotYet, Reader, Reading, TooLarge, Unleased
from syncdaemon.spool.settle import LONGEST_WAIT, Came, next_wait
from syncdaemon.spool.waiting import Candidate

QUIET = 0.25
LARGEST = 1 << 20
FIT = Fit(LARGEST, LARGEST, 0)
NO_ROOM = Fit(0, 0, 0)


def later() -> int:
    """A minute from now, so that every file has been quiet for long enough."""
    return time.time_ns() + 60_000_000_000


def fit(largest: int) -> Fit:
    """A link that takes in one piece whatever a message may be."""
    return Fit(largest, largest, 0)


_open, _OPENED = os.open, list[tuple[int, OpenFolders]]()


def folders(root: Path) -> OpenFolders:
    """A directory and the folders in it, open until the end of the test."""
    fd = _open(root, os.O_PATH | os.O_DIRECTORY)
    _OPENED.append((fd, OpenFolders(fd)))
    return _OPENED[-1][1]


UNSEEN = Unleased()


def reader(root: Path, quiet: float = QUIET, fit: Fit = NO_ROOM, unleased: Unleased = UNSEEN) -> Reader:
    """Reads in this directory."""
    return Reader(folders(root), quiet, fit, unleased=unleased)


def look(root: Path, path: bytes = b"file", largest: int = LARGEST, **fields: Any) -> Reading:
    """One look at one file, after its quiet time."""
    return look_as(root, Candidate(path, **fields), largest)


def renamed(_path: bytes, _ctime_ns: int) -> Came:
    """Every file was renamed into place."""
    return Came.ENDED


def look_as(
    root: Path, candidate: Candidate, largest: int = LARGEST, came: Callable[[bytes, int], Came] = renamed
) -> Reading:
    """One look at a candidate, after its quiet time; a large one is read through. `came`: what was seen of it."""
    reading = reader(root, QUIET, fit(largest), unleased=Unleased(came=came))
    (found,) = reading.read([candidate], later())
    return hashed(reading.begin(candidate, later())) if isinstance(found, TooLarge) else found


def hashed(begun: Hashing | Reading) -> Reading:
    """What comes of it in the end, and how it was found if nothing was begun."""
    if not isinstance(begun, Hashing):
        return begun
    try:
        while (found := begun.step()) is None:
            pass
        return found
    finally:
        begun.close()


def version(path: Path) -> Stamp:
    """The version of a file that is there."""
    stamp = stamp_of(os.fsencode(path))
    assert stamp is not None
    return stamp


def content(found: Reading) -> Content:
    """The content that was found; the test fails where there was none."""
    assert isinstance(found, Content), found
    return found


@pytest.fixture(autouse=True)
def _no_descriptor_is_left_open() -> Iterator[None]:
    """Whatever a look finds, it closes what it opened."""
    before = os.listdir("/proc/self/fd")
    yield
    while _OPENED:
        fd, opened = _OPENED.pop()
        opened.close()
        os.close(fd)
    assert os.listdir("/proc/self/fd") == before


def settled(path: Path, data: bytes = b"evidence") -> Path:
    """A file whose next change shows in its times: before Linux 6.13 these move in steps of some milliseconds."""
    path.write_bytes(data)
    probe = path.with_name(".probe")
    probe.touch()
    while probe.stat().st_ctime_ns <= path.stat().st_ctime_ns:
        probe.touch()
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small complete file."""
    return settled(tmp_path / "file")


@pytest.fixture
def leased(file: Path) -> Path:
    """The same, where the file system can tell whether somebody writes."""
    with file.open("ab") as writer:
        fd = os.open(file, os.O_RDONLY)
        try:
            if not leases.has_writer(fd):
                pytest.skip(f"no leases on {file}")
        finally:
            os.close(fd)
        assert writer.writable()
    return file


def after_opening(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Something happens right before the first byte is read."""
    real = os.read
    done: list[bool] = []

    def read(fd: int, size: int) -> bytes:
        if not done:
            done.append(True)
            act()
        return real(fd, size)

    monkeypatch.setattr(os, "read", read)


def after_reading(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Something happens right after each portion was read."""
    real = os.read

    def read(fd: int, size: int) -> bytes:
        data = real(fd, size)
        act()
        return data

    monkeypatch.setattr(os, "read", read)


def arrival_of(file: Path) -> int:
    """When a file came that nobody has looked at yet."""
    found = os.stat(file)
    return first_sight(found.st_ctime_ns, found.st_ino)


def test_a_complete_file_is_read(tmp_path: Path, file: Path) -> None:
    """Its bytes, its digest, its name and its version."""
    found = content(look(tmp_path))

    above = os.stat(tmp_path)
    digest = sha256(b"evidence").hexdigest()
    folder = above.st_dev, above.st_ino
    came = arrival_of(file)
    assert found == Content(b"file", "file", version(file), b"evidence", digest, 1, folder=folder, arrived_ns=came)


def test_an_empty_file_is_read(tmp_path: Path) -> None:
    """No bytes are a content too, also where not even the name fits into a message."""
    (tmp_path / "file").touch()

    for largest, data in ((LARGEST, b""), (len("file"), b""), (0, None)):
        found = content(look(tmp_path, largest=largest))
        assert (found.data, found.sha256) == (data, sha256(b"").hexdigest())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"a/b c/d.jsonl", "a/b%20c/d.jsonl"),
        (b"\xff\xfe", "%FF%FE"),
        ("ü".encode(), "%C3%BC"),
        (b"100%\r\nNats-Rollup: all", "100%25%0D%0ANats-Rollup%3A%20all"),
        (b"~-._", "~-._"),
    ],
)
def test_a_name_is_percent_encoded_from_its_raw_bytes(tmp_path: Path, path: bytes, name: str) -> None:
    """What headers, ledger and logs carry is plain ASCII, and tells every byte."""
    full = os.path.join(os.fsencode(tmp_path), path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as file:
        file.write(b"x")

    found = content(look(tmp_path, path))
    assert (found.path, found.name) == (path, name)


@settings(max_examples=30)
@given(st.binary(max_size=200), st.integers(0, 200), st.integers(1, 64))
def test_any_content_has_the_right_digest(data: bytes, largest: int, portion: int) -> None:
    """Larger or smaller than what fits into a message, and in whatever portions the kernel hands it out."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        root, real = Path(folder), os.read
        (root / "file").write_bytes(data)
        patch.setattr(os, "read", lambda fd, size: real(fd, min(size, portion)))
        found = content(look(root, largest=largest))

    assert found.sha256 == sha256(data).hexdigest()
    assert found.data == (data if len(data) + len("file") <= largest else None)
    assert found.stamp.size == len(data)


def test_a_file_over_the_limit_is_hashed_and_not_kept(tmp_path: Path) -> None:
    """To the byte, its name counted; several portions long, so that its size never matters for the memory."""
    data = os.urandom((2 << 20) + 17)
    (tmp_path / "file").write_bytes(data)

    fits = len(data) + len("file")
    assert content(look(tmp_path, largest=fits)).data == data
    for largest in (fits - 1, 0):
        found = content(look(tmp_path, largest=largest))
        assert (found.data, found.sha256) == (None, sha256(data).hexdigest())


def test_a_large_file_is_not_read_by_the_first_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others wait for that look. Its name counts as a message carries it, percent-encoded."""
    (tmp_path / "ü").write_bytes(b"x" * 10)
    unreadable(monkeypatch, "read", errno.EIO)
    reading = reader(tmp_path, QUIET, fit(10 + len("%C3%BC") - 1))

    mtime_ns = (tmp_path / "ü").stat().st_mtime_ns
    seen = Candidate("ü".encode(), arrived=arrival_of(tmp_path / "ü"))
    assert list(reading.read([Candidate("ü".encode())], later())) == [TooLarge(seen, mtime_ns, 10)]


def test_a_large_file_is_read_a_piece_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whoever wants to end in the middle of it can."""
    data = os.urandom(200)
    (tmp_path / "file").write_bytes(data)
    real = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: real(fd, 1))
    begun = reader(tmp_path, QUIET).begin(Candidate(b"file"), later())
    assert isinstance(begun, Hashing)
    assert begun.step() is None
    begun.close()


def test_a_file_that_somebody_writes_is_not_complete(tmp_path: Path, leased: Path) -> None:
    """However old it is: while a writer has it open it waits, longer each time, and then it is read."""
    with leased.open("ab"):
        first = look(tmp_path)
        seen = Candidate(
            b"file", 1, os.stat(leased).st_ctime_ns, arrived=arrival_of(leased), why="a writer has it open"
        )
        assert first == NotYet(seen, next_wait(1, QUIET))
        second = look_as(tmp_path, first.candidate)
        assert isinstance(second, NotYet)
        assert second.candidate.tries == 2
        assert second.wait > first.wait

    assert content(look_as(tmp_path, second.candidate)).data == b"evidence"


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR])
def test_a_writer_by_another_name_counts_as_well(tmp_path: Path, leased: Path, flags: int) -> None:
    """A hard link elsewhere leads to the same file."""
    os.link(leased, tmp_path / ".other")
    fd = os.open(tmp_path / ".other", flags)
    try:
        assert isinstance(look(tmp_path), NotYet)
    finally:
        os.close(fd)


def test_readers_do_not_matter(tmp_path: Path, file: Path) -> None:
    """A backup or a virus scanner may have the file open."""
    with file.open("rb"):
        assert content(look(tmp_path)).data == b"evidence"


def seen(came: Came) -> Callable[[bytes, int], Came]:
    """This was seen of every file."""
    return lambda _path, _ctime_ns: came


@pytest.fixture
def _no_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that can't tell whether somebody writes, and holds no writer off."""

    def no_lease(*_: object) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(fcntl, "fcntl", no_lease)


@pytest.mark.usefixtures("_no_leases")
def test_where_writers_cannot_be_told_a_long_quiet_time_decides(tmp_path: Path, file: Path) -> None:
    """Network file systems know no leases; files of another user give none. Two looks have to find the same."""
    with file.open("ab"):
        first = look_as(tmp_path, Candidate(b"file"), came=seen(Came.NOTHING))
        assert isinstance(first, NotYet)
        assert first.wait == LONGEST_WAIT
        assert content(look_as(tmp_path, first.candidate, came=seen(Came.NOTHING))).data == b"evidence"
        append(file, b"more")
        assert isinstance(look_as(tmp_path, first.candidate, came=seen(Came.NOTHING)), NotYet)


@pytest.mark.usefixtures("_no_leases")
def test_where_writers_cannot_be_told_an_unclosed_file_waits(tmp_path: Path, file: Path) -> None:
    """However often it is looked at; one that came to its end is read at the first look."""
    candidate = Candidate(b"file")
    for _ in range(5):
        found = look_as(tmp_path, candidate, came=seen(Came.OPEN))
        assert isinstance(found, NotYet)
        assert found.wait == 30
        candidate = found.candidate
    assert content(look_as(tmp_path, candidate, came=seen(Came.ENDED))).data == b"evidence"


def test_what_was_seen_of_a_file_is_asked_only_where_its_writers_cannot_be_told(leased: Path) -> None:
    """The lease knows better: the file that nobody has open is complete, whatever was seen."""
    assert content(look_as(leased.parent, Candidate(b"file"), came=seen(Came.OPEN))).data == b"evidence"


@pytest.fixture
def _lease_signal_ignored() -> Iterator[None]:
    """The kernel tells the holder of a lease by SIGIO, which is deadly by default; the daemon ignores it."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGIO, before)


def written(path: Path, data: bytes) -> bool:
    """Whether a writer that does not wait gets at the file."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except BlockingIOError:
        return False
    os.write(fd, data)
    os.close(fd)
    return True


@pytest.mark.usefixtures("_lease_signal_ignored")
def test_a_writer_that_comes_while_a_small_file_is_read_waits(
    tmp_path: Path, leased: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is held off for that instant, by the kernel, and gets at the file right after."""
    tried: list[bool] = []
    with monkeypatch.context() as patch:
        after_opening(patch, lambda: tried.append(written(leased, b"EVIDENCE")))
        assert content(look(tmp_path)).data == b"evidence"

    assert tried == [False]
    assert written(leased, b"EVIDENCE")


@pytest.mark.usefixtures("_lease_signal_ignored")
def test_a_writer_that_comes_while_a_large_file_is_read_does_not_wait(
    tmp_path: Path, leased: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading takes a while; a producer must not stand still for that long. The file is read again later."""
    settled(leased, bytes(1 << 19))
    with monkeypatch.context() as patch:
        after_opening(patch, lambda: written(leased, b"EVIDENCE"))
        assert isinstance(look(tmp_path), NotYet)

    data = content(look(tmp_path)).data
    assert data is not None
    assert data.startswith(b"EVIDENCE\x00")


@pytest.mark.usefixtures("_lease_signal_ignored")
@pytest.mark.parametrize("size", [100, 1 << 19])
def test_a_writer_that_comes_while_a_file_is_read_in_pieces_does_not_wait(
    tmp_path: Path, leased: Path, size: int
) -> None:
    """However small it is: on a slow link small files are large ones, and other work comes between the pieces."""
    settled(leased, bytes(size))
    begun = reader(tmp_path, QUIET, FIT).begin(Candidate(b"file"), later())
    assert isinstance(begun, Hashing)
    assert written(leased, b"EVIDENCE")
    assert isinstance(hashed(begun), NotYet)


@pytest.mark.usefixtures("_lease_signal_ignored")
@pytest.mark.parametrize("size", [100, 1 << 19])
def test_a_writer_that_comes_while_a_file_is_uploaded_does_not_wait(leased: Path, size: int) -> None:
    """However small it is: on a slow link it is open for minutes. The upload is begun again."""
    settled(leased, bytes(size))
    source = Source(os.open(leased, disk.READ), version(leased), {})
    assert written(leased, b"EVIDENCE")
    with pytest.raises(Changed):
        source.check()
    source.close()


def test_a_file_that_somebody_writes_is_not_uploaded(leased: Path) -> None:
    """It is told apart before the first byte is read."""
    with leased.open("ab"), pytest.raises(Changed, match="being written to"):
        Source(os.open(leased, disk.READ), version(leased), {})


def test_a_file_waits_out_its_quiet_time(tmp_path: Path, file: Path) -> None:
    """Changed right now: the whole quiet time. Changed a while ago: the rest of it. No look is counted for that."""
    ctime_ns = os.stat(file).st_ctime_ns
    reading = reader(tmp_path, QUIET, FIT)

    (now,) = reading.read([Candidate(b"file", 3)], ctime_ns)
    assert now == NotYet(Candidate(b"file", 3, ctime_ns, arrived=arrival_of(file), why="too young"), QUIET)
    (soon,) = reading.read([Candidate(b"file", 3)], ctime_ns + 100_000_000)
    assert isinstance(soon, NotYet)
    assert soon.wait == pytest.approx(0.15)
    (then,) = reading.read([Candidate(b"file", 3)], ctime_ns + 250_000_000)
    assert content(then).data == b"evidence"


def test_a_file_from_the_future_waits_for_one_quiet_time(tmp_path: Path, file: Path) -> None:
    """The clock was set back: the second look at an untouched file takes it."""
    reading, past = reader(tmp_path, QUIET, FIT), os.stat(file).st_ctime_ns - 10**15

    (first,) = reading.read([Candidate(b"file")], past)
    assert isinstance(first, NotYet)
    assert first.wait == QUIET
    (second,) = reading.read([first.candidate], past + 250_000_000)
    assert content(second).data == b"evidence"


def test_without_a_quiet_time_a_file_is_read_at_once(tmp_path: Path, file: Path) -> None:
    """`SYNC_SETTLE_SECONDS=0` leaves it to the writers' check alone."""
    (found,) = reader(tmp_path, 0.0, FIT).read([Candidate(b"file")], os.stat(file).st_ctime_ns)

    assert content(found).data == b"evidence"


@pytest.mark.usefixtures("_no_leases")
def test_a_file_that_grows_before_it_is_read_is_not_complete(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it held when it was opened is not what it holds now."""
    came = arrival_of(file)
    after_opening(monkeypatch, lambda: append(file, b"more"))

    seen = Candidate(b"file", 1, arrived=came, why="still changing")
    assert look(tmp_path) == NotYet(seen, next_wait(1, QUIET))


@pytest.mark.usefixtures("_no_leases")
@pytest.mark.parametrize("largest", [LARGEST, 1])
def test_a_file_that_changes_while_it_is_read_is_not_complete(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    """Whether it is kept in memory or only hashed."""
    changes: dict[str, Callable[[], object]] = {
        "grown": lambda: append(file, b"more") if file.stat().st_size < 1000 else None,
        "cut": lambda: os.truncate(file, 2),
        "rewritten": lambda: rewrite(file, b"EVIDENCE"),
        "touched": lambda: os.utime(file),
        "removed": lambda: file.unlink(missing_ok=True),
    }
    for name, change in changes.items():
        settled(file)
        with monkeypatch.context() as patch:
            after_reading(patch, change)
            found = look(tmp_path, largest=largest)
        assert isinstance(found, NotYet), name
        assert found.candidate.tries == 1, name


@pytest.mark.usefixtures("_no_leases")
def test_a_change_that_hides_behind_its_old_mtime_is_seen(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same size and the mtime set back: the ctime tells."""
    before = os.stat(file)

    def forge() -> None:
        rewrite(file, b"EVIDENCE")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    after_reading(monkeypatch, forge)
    assert isinstance(look(tmp_path), NotYet)


def test_a_file_that_is_replaced_while_it_is_read_is_not_delivered(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was read has no name any more; the next look finds the other."""
    (tmp_path / ".new").write_bytes(b"another")
    with monkeypatch.context() as patch:
        after_opening(patch, lambda: os.replace(tmp_path / ".new", file))
        found = look(tmp_path)
    assert isinstance(found, NotYet)

    assert content(look_as(tmp_path, found.candidate)).data == b"another"


def test_what_is_no_file_is_gone(tmp_path: Path, file: Path) -> None:
    """Nothing there, a symlink, a folder, a pipe without a writer (which must not block), a socket."""
    os.symlink("file", tmp_path / "link")
    os.symlink("nowhere", tmp_path / "dangling")
    os.symlink("round", tmp_path / "round")
    os.mkdir(tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe")
    os.mknod(tmp_path / "socket", stat.S_IFSOCK | 0o600)

    for path in (b"nothing", b"no/where", b"file/below", b"link", b"dangling", b"round", b"folder", b"pipe", b"socket"):
        assert look(tmp_path, path) == Gone(path)


def unreadable(monkeypatch: pytest.MonkeyPatch, function: str, number: int) -> None:
    """Every call of this function fails."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, function, fail)


@pytest.mark.parametrize(("function", "number"), [("open", errno.EACCES), ("open", errno.EIO), ("read", errno.EIO)])
def test_a_file_that_cannot_be_read_is_refused_after_some_seconds(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int
) -> None:
    """Rights may be set a moment after a file appears; a disk that stays broken is the operator's matter."""
    waited, candidate = 0.0, Candidate(b"file")
    with monkeypatch.context() as patch:
        unreadable(patch, function, number)
        while isinstance(found := look_as(tmp_path, candidate), NotYet):
            waited, candidate = waited + found.wait, found.candidate
            assert candidate.tries < 10

    assert isinstance(found, Refusal)
    assert found.reason == "unreadable"
    assert os.strerror(number) in found.detail
    assert 3.0 < waited < 30.0
    assert (found.content.path, found.content.name) == (b"file", "file")
    assert (found.content.data, found.content.sha256, found.content.stamp.ino) == (None, "", 0)
    assert found.content.attempts == candidate.tries + 1


def test_a_file_that_can_be_read_again_is_delivered(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trouble that passes leaves no trace."""
    with monkeypatch.context() as patch:
        unreadable(patch, "open", errno.EACCES)
        found = look(tmp_path)
    assert isinstance(found, NotYet)

    assert content(look_as(tmp_path, found.candidate)).data == b"evidence"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT])
def test_our_own_want_is_never_the_files_fault(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Out of descriptors or memory, or of a network file system, for however long: the file waits."""
    with monkeypatch.context() as patch:
        unreadable(patch, "open", number)
        found = look(tmp_path, tries=1000)

    assert isinstance(found, NotYet)


@pytest.mark.parametrize("function", ["open", "read"])
@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EBUSY, errno.ETXTBSY])
def test_a_file_that_a_program_keeps_to_itself_waits(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int
) -> None:
    """A lease, a mandatory lock, a Windows share: the file is in use, for however long."""
    candidate = Candidate(b"file")
    with monkeypatch.context() as patch:
        unreadable(patch, function, number)
        for _ in range(50):
            found = look_as(tmp_path, candidate)
            assert isinstance(found, NotYet)
            assert found.wait <= LONGEST_WAIT
            candidate = found.candidate

    assert content(look_as(tmp_path, candidate)).data == b"evidence"


@pytest.mark.usefixtures("_lease_signal_ignored")
def test_the_holder_of_a_write_lease_is_waited_for(tmp_path: Path, leased: Path) -> None:
    """As long as it takes; then its file is read."""
    with leased.open("ab") as holder:
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        found = look(tmp_path, failures=100, tries=100)
        assert isinstance(found, NotYet)
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    assert content(look_as(tmp_path, found.candidate)).data == b"evidence"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        *((number, Gone) for number in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)),
        *((number, Refusal) for number in (errno.EACCES, errno.EPERM, errno.EIO, errno.EOVERFLOW, errno.ENAMETOOLONG)),
        *((number, Refusal) for number in (errno.ENODEV, errno.EDQUOT, errno.EBADMSG, errno.EUCLEAN)),
    ],
)
def test_what_each_error_leads_to(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type
) -> None:
    """Nothing there is no file's end; what a producer or a disk does to its own file refuses that file alone."""
    with monkeypatch.context() as patch:
        unreadable(patch, "open", number)
        assert isinstance(look(tmp_path, failures=5), kind)


def sparse(path: Path, size: int, *data: tuple[int, bytes]) -> bytes:
    """A file of this size, with data at these offsets and holes between; what it reads as."""
    whole = bytearray(size)
    with path.open("wb") as file:
        file.truncate(size)
        for offset, piece in data:
            file.seek(offset)
            file.write(piece)
            whole[offset : offset + len(piece)] = piece
    return bytes(whole)


MIB = 1 << 20


@pytest.mark.parametrize(
    "data",
    [
        (),
        ((0, b"begin"),),
        ((9 * MIB - 3, b"end"),),
        ((4 * MIB, b"middle"), (7 * MIB + 5, b"more" * MIB)),
        ((MIB - 1, b"over the edge"), (6 * MIB, b"x")),
    ],
    ids=["nothing", "begin", "end", "middle", "edge"],
)
@pytest.mark.parametrize("tells", [True, False], ids=["seeks", "does not seek"])
def test_holes_are_hashed_as_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: tuple[tuple[int, bytes], ...], tells: bool
) -> None:
    """Wherever they are, and where the file system can't say so."""
    whole = sparse(tmp_path / "file", 9 * MIB, *data)
    if not tells:
        real = os.lseek

        def lseek(fd: int, offset: int, whence: int) -> int:
            if whence == os.SEEK_DATA:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return real(fd, offset, whence)

        monkeypatch.setattr(os, "lseek", lseek)
    assert content(look(tmp_path, largest=0)).sha256 == sha256(whole).hexdigest()


def test_holes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file does not have costs no reading."""
    sparse(tmp_path / "file", 64 * MIB, (32 * MIB, b"data"))
    real, read = os.read, 0

    def counted(fd: int, size: int) -> bytes:
        nonlocal read
        read += len(found := real(fd, size))
        return found

    monkeypatch.setattr(os, "read", counted)
    begun = reader(tmp_path).begin(Candidate(b"file"), later())
    assert isinstance(begun, Hashing)
    assert begun.step() is None
    assert begun.done == 32 * MIB
    content(hashed(begun))
    assert read <= 2 * MIB


def test_a_hole_that_is_filled_while_it_is_hashed_makes_it_incomplete(tmp_path: Path) -> None:
    """Its zeros were not read, so the change must show in its times."""
    sparse(tmp_path / "file", 64 * MIB)
    begun = reader(tmp_path).begin(Candidate(b"file"), later())
    assert isinstance(begun, Hashing)
    assert begun.step() is None
    time.sleep(0.02)  # the file system's clock moves in steps
    with (tmp_path / "file").open("r+b") as file:
        file.write(b"EVIDENCE")
    assert isinstance(hashed(begun), NotYet)


def test_files_are_opened_one_after_the_other_as_they_are_asked_for(tmp_path: Path) -> None:
    """Who takes only the first files of a batch leaves the others untouched, and the order is kept."""
    for name in (b"c", b"a", b"b"):
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    looks = reader(tmp_path, QUIET, FIT).read(map(Candidate, (b"c", b"a", b"b")), later())

    assert content(next(looks)).data == b"c"
    (tmp_path / "a").unlink()
    assert next(looks) == Gone(b"a")
    assert content(next(looks)).data == b"b"
    assert list(looks) == []


def append(path: Path, data: bytes) -> None:
    """More at the end."""
    with path.open("ab") as file:
        file.write(data)


def rewrite(path: Path, data: bytes) -> None:
    """Other bytes in the same place."""
    with path.open("r+b") as file:
        file.write(data)


def test_a_file_is_packed_after_it_was_hashed(tmp_path: Path) -> None:
    """Where that makes it smaller."""
    for name, data in (("file", b"line\n" * 100), ("noise", os.urandom(500)), ("none", b"")):
        (tmp_path / name).write_bytes(data)
    reading = reader(tmp_path, QUIET, FIT)._replace(pack=Packer().pack)
    names = (b"file", b"noise", b"none")
    found = [content(one) for one in reading.read(map(Candidate, names), later())]

    assert [one.packed for one in found] == [True, False, False]
    assert [one.sha256 for one in found] == [
        sha256((tmp_path / os.fsdecode(name)).read_bytes()).hexdigest() for name in names
    ]
    assert found[0].stamp.size == 500
    assert found[0].data is not None
    assert len(found[0].data) < 100
    assert digest(found[0].data, 500) == found[0].sha256


def test_what_goes_over_a_slow_link_in_one_piece_is_judged_by_what_is_sent(tmp_path: Path) -> None:
    """A file that packing makes small enough is a message; what no message could hold is not read for that."""
    for name, data in (("text", b"line\n" * 1_000), ("noise", os.urandom(5_000)), ("large", bytes(LARGEST + 1))):
        (tmp_path / name).write_bytes(data)
    slow = reader(tmp_path, QUIET, Fit(LARGEST, 2_000, 0))._replace(pack=Packer().pack)
    text, noise, large = slow.read(map(Candidate, (b"text", b"noise", b"large")), later())

    assert content(text).packed
    assert isinstance(noise, TooLarge)
    assert isinstance(large, TooLarge)
    (unpacked,) = slow._replace(pack=None).read([Candidate(b"text")], later())
    assert isinstance(unpacked, TooLarge)
