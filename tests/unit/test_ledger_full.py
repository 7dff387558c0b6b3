"""A ledger whose disk takes no row, though it says that there is room."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from syncdaemon import ledger as module
from syncdaemon.ledger import Ledger


async def test_it_says_so_until_the_row_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at the room that is left, which others take meanwhile, is no proof that a row can be written."""
    monkeypatch.setattr(module, "_ROOM_RETRY", 0.01)
    refused = 0

    def full(fd: int, data: bytearray) -> None:
        nonlocal refused
        refused += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    ledger = Ledger(tmp_path, "here")
    ledger.open()
    with monkeypatch.context() as disk:
        disk.setattr(module, "_write_all", full)
        recording = asyncio.create_task(ledger.record([("link", {"up": True})]))
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
