"""`syncdaemon verify`: the ledger by itself, and against the stream, with a bar on a terminal."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from syncdaemon.base.errors import SettingsError
from syncdaemon.base.printable import printable
from syncdaemon.check.compare import Problem
from syncdaemon.check.fetched_days import NotFetched, fetch_missing
from syncdaemon.check.hub_log import read_pins, verify_hub
from syncdaemon.check.ledger import audit, hold_to
from syncdaemon.check.stock import Stock
from syncdaemon.check.stream import Books, Stocktake
from syncdaemon.cli import interrupt
from syncdaemon.cli.say import say
from syncdaemon.cli.work.bar import bar
from syncdaemon.cli.work.side_by_side import side_by_side
from syncdaemon.daemon.ledger_days import day_store
from syncdaemon.daemon.ledger_life import LifeSettings
from syncdaemon.evidence.keyfile import read_key
from syncdaemon.evidence.origins import Pin
from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.ledger import chain, sites
from syncdaemon.ledger.day_files import files
from syncdaemon.ledger.files import first_number
from syncdaemon.link import visit
from syncdaemon.settings import parts
from syncdaemon.settings.values import Loaded, Settings
from syncdaemon.stream.api import Api
from syncdaemon.stream.buckets import ReadableBuckets
from syncdaemon.stream.day_store import DayStore
from syncdaemon.stream.mailbox import Mailbox

_COLUMNS = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())


class Depth(NamedTuple):
    """How far is checked: a ledger without its start too, its receipts against the stream, and every content there.

    `buckets`: patterns of the buckets whose objects are read. `hub`: the rows against the checkpoints at the hub, by
    the file `pins`. `expected`: a row that an earlier run named.
    """

    allow_missing_start: bool
    stream: bool
    content: bool
    buckets: Sequence[str] = ()
    hub: bool = False
    pins: str | None = None
    expected: chain.Head | None = None


def parse_head(text: str) -> chain.Head:
    """A row's number and its SHA-256, as a run of `verify` and the log at the ledger's opening print them.

    Raises SettingsError.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,18}):([0-9a-f]{64})", text)
    if match is None:
        raise SettingsError(f"--expect: {text!r} is not <row>:<its SHA-256>, as verify prints it")
    return chain.Head(int(match[1]), match[2])


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
        problems += _audit(folder, site, depth, books.row if depth.stream else None)
        if depth.stream:
            problems += asyncio.run(_take_stock(settings, books, depth.content, buckets))
        if depth.hub:
            problems += asyncio.run(_ask_hub(settings, site, _pins(settings, site, depth.pins)))
    return problems


def _audit(folder: Path, site: str, depth: Depth, seen: Callable[[dict[str, Any]], None] | None) -> int:
    """How many events are in the ledger that this version does not know, each said in a line. Raises LedgerDamaged."""
    began = time.perf_counter()
    with side_by_side(folder, site) if seen is None else nullcontext(map) as run:
        found = audit(folder, site, depth.allow_missing_start, seen=seen, run=run)
    if depth.expected is not None:
        hold_to(folder, site, depth.expected, found)
    rate = found.rows / max(1e-9, time.perf_counter() - began)
    known = {event: count for event, count in sorted(found.events.items()) if event not in found.unknown}
    events = ", ".join(f"{count} {event}" for event, count in known.items())
    verdict = "not ok" if found.unknown else "ok"
    say(f"{site}: {verdict}, {found.rows} rows in {found.files} files ({events})")
    say(f"  from {found.first} to {found.last}, last row {found.end.n}:{found.end.digest}, {rate:.0f} rows/s")
    if found.frontier:
        say(f"  {found.frontier}")
    if found.note:
        say(f"  note: {found.note}")
    for place, size in found.recovered.items():
        say(f"  {place}: a `recovered` row: {size} bytes of a row that was broken off were replaced there")
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


def _pins(settings: Settings, site: str, file: str | None) -> list[Pin]:
    """The pins of this site in the verifier's own file; without one, that of the site's key. Raises SettingsError."""
    if file is None:
        key, base = settings.sync_checkpoint_key, settings.sync_checkpoint_origin
        if key is None or base is None:
            raise SettingsError("--pins: name the file with the pins that you keep, one a line (syncdaemon key pin)")
        return [Pin(read_key(key, settings.login_files).public, f"{base}/{site}")]
    try:
        found = read_pins(Path(file).read_text(encoding="utf-8"), site)
    except OSError as error:
        raise SettingsError(f"--pins: {file}: {error.strerror}") from None
    except (BadEvidence, UnicodeDecodeError) as error:
        raise SettingsError(f"--pins: {file}: {error}") from None
    if not found:
        raise SettingsError(f"--pins: {file} has no pin of site {site}")
    return found


async def _ask_hub(settings: Settings, site: str, pins: Sequence[Pin]) -> int:
    """How many problems there are, each said in a line."""
    folder = settings.sync_ledger_dir
    with TemporaryDirectory(prefix="syncdaemon-days-") as place:
        async with visit(parts.link(settings)) as session:
            try:
                fetched = await _fetched(day_store(session, LifeSettings.of(settings)), folder, site, Path(place))
            except (NotFetched, OSError) as error:
                say(printable(f"hub: not ok, days that are not here do not come back: {error}"))
                return 1
            mailbox = Mailbox(session, site, settings.nats_hub_domain or "")
            return await verify_hub(mailbox, folder, pins, say, fetched)


async def _fetched(store: DayStore, folder: Path, site: str, place: Path) -> list[Path]:
    """The days before the first row that is here, oldest first, as the hub has them. Raises as `fetch_missing`."""
    here = await asyncio.to_thread(files, folder, site)
    if not here or await asyncio.to_thread(first_number, here[0]) in (None, 1):
        return []
    return [path async for path in fetch_missing(store, folder, site, place)][::-1]


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
