"""`syncdaemon verify`: the ledger by itself, and against the stream, with a bar on a terminal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from syncdaemon.base.errors import SettingsError
from syncdaemon.base.printable import printable
from syncdaemon.check.compare import Problem
from syncdaemon.check.ledger import audit
from syncdaemon.check.stock import Stock
from syncdaemon.check.stream import Books, Stocktake
from syncdaemon.cli import interrupt
from syncdaemon.cli.say import say
from syncdaemon.cli.work.bar import bar
from syncdaemon.ledger import sites
from syncdaemon.link import visit
from syncdaemon.settings import parts
from syncdaemon.settings.values import Loaded, Settings
from syncdaemon.stream.api import Api
from syncdaemon.stream.buckets import ReadableBuckets

_COLUMNS = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())


class Depth(NamedTuple):
    """How far is checked: a ledger without its start too, its receipts against the stream, and every content there.

    `buckets`: patterns of the buckets whose objects are read.
    """

    allow_missing_start: bool
    stream: bool
    content: bool
    buckets: Sequence[str] = ()


def verify(loaded: Loaded, depth: Depth) -> int:
    """How many problems there are, each said in a line.

    Raises LedgerDamaged at the first damage, SettingsError where there is no ledger.
    """
    interrupt.clean_up()
    settings, buckets = loaded.settings, parts.buckets(depth.buckets)
    folder = settings.sync_ledger_dir
    wanted = [settings.site] if loaded.sources["SITE"] != "default" else sites(folder)
    if not any(site in sites(folder) for site in wanted):
        raise SettingsError(f"SYNC_LEDGER_DIR: there is no ledger in {folder}")
    problems = 0
    for site in wanted:
        books = Books(folder, site, settings.sync_stream, settings.model_copy(update={"site": site}).subject_for("*"))
        problems += _audit(folder, site, depth.allow_missing_start, books.row if depth.stream else None)
        if depth.stream:
            problems += asyncio.run(_take_stock(settings, books, depth.content, buckets))
    return problems


def _audit(folder: Path, site: str, allow_missing_start: bool, seen: Callable[[dict[str, Any]], None] | None) -> int:
    """How many events are in the ledger that this version does not know, each said in a line. Raises LedgerDamaged."""
    began = time.perf_counter()
    found = audit(folder, site, allow_missing_start, seen=seen)
    rate = found.rows / max(1e-9, time.perf_counter() - began)
    known = {event: count for event, count in sorted(found.events.items()) if event not in found.unknown}
    events = ", ".join(f"{count} {event}" for event, count in known.items())
    verdict = "not ok" if found.unknown else "ok"
    say(f"{site}: {verdict}, {found.rows} rows in {found.files} files ({events})")
    say(f"  from {found.first} to {found.last}, last row {found.digest}, {rate:.0f} rows/s")
    if found.note:
        say(f"  note: {found.note}")
    for said in found.unknown_events():
        say(f"  {said}")
    return len(found.unknown)


async def _take_stock(settings: Settings, books: Books, content: bool, buckets: ReadableBuckets) -> int:
    """How many problems there are, each said in a line."""
    problems = 0
    async with visit(parts.link(settings)) as session:
        for stream in books.receipts:
            began = time.perf_counter()
            with bar(*_COLUMNS, transient=True) as shown:
                task = shown.add_task(printable(stream), total=None)

                def progress(done: int, total: int, shown: Progress = shown, task: TaskID = task) -> None:
                    shown.update(task, completed=done, total=total)
                    if done == total:  # what comes now is said in lines
                        shown.stop()

                api = Api.over(session)
                stocktake = Stocktake(
                    api, books, stream, content=content, buckets=buckets, tell=_say, progress=progress
                )
                stock = await stocktake.run()
            _sum_up(stock, time.perf_counter() - began)
            problems += stock.problems.total()
    return problems


def _say(problem: Problem) -> None:
    say(f"{problem.what:8} seq {problem.seq} {problem.path}: {problem.said}")  # a forged row may hold any text


def _sum_up(stock: Stock, seconds: float) -> None:
    found = ", ".join(f"{stock.problems[what]} {what}" for what in ("lost", "altered", "doubled", "unknown"))
    aside = {"older than the stream": stock.expired, "gone by its own rules": stock.left, "void": stock.void}
    aside |= {"not here yet": stock.waiting, "received and freed": stock.freed}
    before = f", {stock.before} of them from before this ledger" if stock.before else ""
    apart = "".join(f", {count} {what}" for what, count in aside.items() if count)
    verdict = "not ok" if stock.problems else "ok"
    say(f"stream {stock.stream}: {verdict}, {stock.receipts} receipts{apart}, {stock.messages} messages{before}")
    if stock.by_receipts:
        say("  its settings are not seen: each receipt was looked for, and no message without a receipt")
    say(f"  {found}; {stock.receipts / max(1e-9, seconds):.0f} receipts/s")
