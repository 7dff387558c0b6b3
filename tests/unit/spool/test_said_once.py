"""What goes wrong in the replay directory again and again is said once a minute, and ends nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from syncdaemon.base.model import Content, Receipt, Refusal, Stamp
from syncdaemon.spool import requeue, retired
from syncdaemon.spool.backlog import Listing
from syncdaemon.spool.lookout import Unseen
from syncdaemon.spool.requeue import Done, Order
from syncdaemon.spool.spool import Spool, SpoolSettings


def broken(*_: object, **__: object) -> None:
    """A disk that fails."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    (tmp_path / "replay").mkdir()
    settings = SpoolSettings(os.fsencode(tmp_path / "replay"), 0.0, 3600.0, 3600.0, archive=False, newest_first=False)
    made = Spool(settings)
    made.open()
    yield made
    made.close()


def delivered(replay: Path, number: int) -> Receipt:
    """A file that is there, and its receipt."""
    path = replay / f"f{number}"
    path.write_bytes(b"evidence")
    found = path.stat()
    stamp = Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    content = Content(os.fsencode(path.name), path.name, stamp, b"evidence", f"{number:064x}", 1)
    return Receipt(content, content.sha256, "edge.x", "s", number + 1, False)


def test_what_a_scan_could_not_take_is_said_once(tmp_path: Path) -> None:
    """Entries come and go between scans."""
    unseen = Unseen()
    with capture_logs() as logs:
        for odd in (1, 0, 1, 0, 1):
            unseen.note(Listing([], set(), 0, set(), odd))
    assert [line["event"] for line in logs] == ["odd_entries"]
    assert unseen.odd == 1


async def test_a_quarantine_that_can_not_be_seen_is_said_once(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon looks once a second."""
    monkeypatch.setattr(requeue, "carry_out", broken)
    with capture_logs() as logs:
        for _ in range(5):
            assert await spool.put_back_asked() == []
    assert [line["event"] for line in logs] == ["quarantine_unseen"]


async def test_an_order_that_can_not_be_removed_is_recorded_once(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found again at each look."""
    order = Order(b"f", b"f", b"f", 1, "0" * 64, "why")
    monkeypatch.setattr(requeue, "carry_out", lambda *_: [Done(order, "")])
    monkeypatch.setattr(requeue, "forget", broken)
    with capture_logs() as logs:
        assert await spool.put_back_asked() == [order]
        await spool.forget([order])
        for _ in range(3):
            assert await spool.put_back_asked() == []
    assert [line["event"] for line in logs] == ["requeued", "orders_not_removed"]


async def test_a_disk_that_fails_is_said_once(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are moved and perhaps not durable, refused files that stay, and a hold that is not emptied."""
    monkeypatch.setattr(retired, "fsync_dir", broken)
    with capture_logs() as logs:
        for number in range(3):
            assert await spool.retire([delivered(tmp_path / "replay", number)]) == []
    assert [line["event"] for line in logs] == ["not_synced"]

    monkeypatch.setattr(spool.quarantine, "set_aside", broken)
    monkeypatch.setattr(spool.hold, "expire", broken)
    with capture_logs() as logs:
        for number in range(3):
            await spool.set_aside(Refusal(delivered(tmp_path / "replay", number).content, "why", ""), "", "")
            await spool.expire()
    assert [line["event"] for line in logs] == ["not_set_aside", "hold_not_emptied"]
