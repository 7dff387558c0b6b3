"""Whether the work was done: a figure counts only where every file is in the stream, in the ledger, and proved."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from benchmarks.measure import BenchmarkFailed
from benchmarks.process import SITE, STREAM, command, environment
from tests.support.client import connect

_VERIFY_SECONDS = 180.0


def check_stream(url: str, files: int) -> None:
    """Raises BenchmarkFailed unless the stream holds exactly so many messages, as the server says."""

    async def ask() -> int:
        client = await connect(url)
        state = (await client.jetstream().stream_info(STREAM)).state
        await client.close()
        return state.messages

    if (found := asyncio.run(ask())) != files:
        raise BenchmarkFailed(f"{found} messages in the stream, {files} files")


def check_ledger(ledger: Path, files: int, site: str = SITE) -> None:
    """Raises BenchmarkFailed unless so many `published` rows are there, and `syncdaemon verify` finds no damage."""
    rows = 0
    for path in ledger.glob("evidence-*.jsonl"):
        with path.open("rb") as lines:
            rows += sum(b'"event":"published"' in line for line in lines)
    if rows != files:
        raise BenchmarkFailed(f"{rows} published rows in the ledger, {files} files")
    command(ledger, environment(SITE=site, SYNC_LEDGER_DIR=str(ledger)), "verify", within=_VERIFY_SECONDS)


def check_gone(replay: Path) -> None:
    """Raises BenchmarkFailed where a file still waits in the replay directory."""
    for folder, folders, files in os.walk(replay):
        if files:
            raise BenchmarkFailed(f"{Path(folder, files[0])} is still there")
        folders[:] = [name for name in folders if name != ".syncdaemon"]
