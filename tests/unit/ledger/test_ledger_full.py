"""A ledger whose disk takes no row, or a part of one, though it says that there is room."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from syncdaemon import ledger as module
from syncdaemon.base.errors import LedgerFull
from syncdaemon.check.ledger import audit
from syncdaemon.ledger import Entry, Ledger, files, writer
from tests.support.limit import FILE_BYTES, OPEN_FILES, limit

SITE = "here"


def link(detail: str = "") -> list[Entry]:
    """A row to write."""
    return [("link", {"up": True, "detail": detail})]


async def write(folder: Path, *details: str) -> None:
    """A run that writes these rows and ends."""
    ledger = Ledger(folder, SITE)
    ledger.open()
    for detail in details:
        await ledger.append(link(detail))
    await ledger.close()


def rows(folder: Path) -> list[dict[str, Any]]:
    """The whole ledger, as `verify` reads it. Raises LedgerDamaged."""
    found: list[dict[str, Any]] = []

    def collect(lines: list[bytes]) -> None:
        found.extend(json.loads(line) for line in lines)

    audit(folder, SITE, lines=collect)
    return found


async def test_it_says_so_until_the_row_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at the room that is left, which others take meanwhile, is no proof that a row can be written."""
    monkeypatch.setattr(module, "_ROOM_RETRY", 0.01)
    refused = 0

    def full(fd: int, data: bytearray) -> None:
        nonlocal refused
        refused += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    ledger = Ledger(tmp_path, SITE)
    ledger.open()
    with monkeypatch.context() as disk:
        disk.setattr(writer, "write_all", full)
        recording = asyncio.create_task(ledger.record(link()))
        async with asyncio.timeout(10):
            while refused < 3:
                await ledger.ready()
                await asyncio.sleep(0)
        await ledger.ready()
        assert "No space left on device" in ledger.problem
        assert not recording.done()
    await recording
    assert ledger.problem == ""
    assert ledger.rows == 1
    await ledger.close()


@pytest.mark.parametrize("room", [-1, 0, 1, 20, 150], ids="{} bytes of room".format)
async def test_a_part_of_a_row_is_taken_back(tmp_path: Path, room: int) -> None:
    """Then the next row stands where it would have stood."""
    await write(tmp_path, "a")
    (path,) = files(tmp_path, SITE)
    whole = path.read_bytes()
    ledger = Ledger(tmp_path, SITE)
    ledger.open()
    with limit(FILE_BYTES, len(whole) + room), pytest.raises(LedgerFull):
        await ledger.append(link("b"))
    assert path.read_bytes() == whole
    await ledger.append(link("c"))
    await ledger.close()
    assert [row["detail"] for row in rows(tmp_path)] == ["a", "c"]


@pytest.mark.parametrize("room", [-1, 0, 1, 20, 150], ids="{} bytes of room".format)
@pytest.mark.parametrize("before", ["a", ""], ids=["after a row", "in the first row"])
async def test_a_torn_end_that_the_disk_has_no_room_to_repair(tmp_path: Path, room: int, before: str) -> None:
    """It stays one: for the next try, and for the next start if there is none."""
    await write(tmp_path, "a")
    (path,) = files(tmp_path, SITE)
    whole = path.read_bytes() if before else b""
    torn = whole + b'{"n":2,"ts":"20'
    path.write_bytes(torn)
    for ending in ("killed", "goes on"):
        left = path.read_bytes().removeprefix(whole)
        ledger = Ledger(tmp_path, SITE)
        ledger.open()
        with limit(FILE_BYTES, len(torn) + room):
            for _ in range(3):
                with pytest.raises(LedgerFull):
                    await ledger.append(link("b"))
        assert path.read_bytes().startswith(whole)
        assert b"\n" not in path.read_bytes().removeprefix(whole)
        if ending == "goes on":
            await ledger.append(link("c"))
        await ledger.close()
    *first, recovered, last = rows(tmp_path)
    assert [row["detail"] for row in first] == ([before] if before else [])
    assert (recovered["event"], recovered["bytes"]) == ("recovered", len(left))
    assert recovered["sha256"] == sha256(left).hexdigest()
    assert last["detail"] == "c"


async def test_a_day_whose_file_can_not_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk without an inode left: the day begins when there is one, and no descriptor is closed twice."""
    monkeypatch.setattr(writer, "now_text", lambda: "2026-11-24T23:59:59.000000Z")
    ledger = Ledger(tmp_path, SITE)
    ledger.open()
    await ledger.append(link("a"))
    monkeypatch.setattr(writer, "now_text", lambda: "2026-11-25T00:00:00.000000Z")
    with limit(OPEN_FILES, 3):
        for _ in range(2):
            with pytest.raises(LedgerFull, match="Too many open files"):
                await ledger.append(link("b"))
    await ledger.append(link("c"))
    await ledger.close()
    assert [row["detail"] for row in rows(tmp_path)] == ["a", "c"]
    assert len(files(tmp_path, SITE)) == 2


async def test_what_can_not_even_be_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes a part of a row and then nothing at all: the part goes before anything else is written."""
    ledger = Ledger(tmp_path, SITE)
    ledger.open()
    await ledger.append(link("a"))
    (path,) = files(tmp_path, SITE)
    size = path.stat().st_size

    def broken(fd: int, length: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as disk, limit(FILE_BYTES, size + 20):
        disk.setattr(os, "ftruncate", broken)
        with pytest.raises(LedgerFull, match="Input/output error"):
            await ledger.append(link("b"))
    assert path.stat().st_size == size + 20
    await ledger.append(link("c"))
    await ledger.close()
    assert [row["detail"] for row in rows(tmp_path)] == ["a", "c"]
