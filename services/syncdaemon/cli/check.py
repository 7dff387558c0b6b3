"""The commands that check: doctor and verify."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from syncdaemon.base.errors import SettingsError
from syncdaemon.check.compare import Problem
from syncdaemon.check.doctor import examine
from syncdaemon.check.ledger import audit
from syncdaemon.check.stream import Books, Stock, Stocktake
from syncdaemon.cli.options import FOUND, NO_CONNECTION, with_settings
from syncdaemon.ledger import sites
from syncdaemon.link import visit
from syncdaemon.settings import Loaded, Settings, parts

_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
_COLOURS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "failure": typer.colors.RED}


@with_settings
def doctor(
    loaded: Loaded,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> int:
    """Check each promise against the actual server, stream, disk and clock. Alters nothing.

    A line for each check: ok, a warning with a remedy, or a failure. Exit 1 if something failed, 3 if the server
    could not be reached.
    """
    loaded.settings.check_files()
    findings = asyncio.run(examine(loaded))
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            level = typer.style(f"{finding.level:8}", fg=_COLOURS[finding.level])
            remedy = f" -> {finding.remedy}" if finding.remedy else ""
            typer.echo(f"{level} {finding.check:17} {finding.said}{remedy}")
    failed = {finding.check for finding in findings if finding.level == "failure"}
    return NO_CONNECTION if "connection" in failed else FOUND if failed else 0


@with_settings
def verify(
    loaded: Loaded,
    allow_missing_start: Annotated[
        bool, typer.Option(help="Older files were moved away: begin with what is here.")
    ] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Also every receipt against the stream, and back.")] = False,
    content: Annotated[bool, typer.Option("--content", help="With --stream: fetch every content, too.")] = False,
) -> int:
    """Check the ledger from its first row to its last: chain, row numbers, form, fields. Exit 1 at the first damage.

    An event that this version does not know is named with its file and line, and the check goes on: exit 1 as well.

    With --stream, every receipt must have its message, and every message of the site its receipt: what is lost,
    altered, doubled or unknown is listed, and the exit code is 1 then.
    """
    if content and not stream:
        raise typer.BadParameter("--content goes with --stream")
    settings = loaded.settings
    folder = settings.sync_ledger_dir
    wanted = [settings.site] if loaded.sources["SITE"] != "default" else sites(folder)
    if not any(site in sites(folder) for site in wanted):
        raise SettingsError(f"SYNC_LEDGER_DIR: there is no ledger in {folder}")
    problems = 0
    for site in wanted:
        books = Books(folder, site, settings.sync_stream, settings.model_copy(update={"site": site}).subject_for("*"))
        problems += _audit(folder, site, allow_missing_start, books.row if stream else None)
        if stream:
            problems += asyncio.run(_take_stock(settings, books, content))
    return FOUND if problems else 0


def _audit(folder: Path, site: str, allow_missing_start: bool, seen: Callable[[dict[str, Any]], None] | None) -> int:
    """How many events are in the ledger that this version does not know, each told in a line. Raises LedgerDamaged."""
    began = time.perf_counter()
    found = audit(folder, site, allow_missing_start, seen=seen)
    rate = found.rows / max(1e-9, time.perf_counter() - began)
    known = {event: count for event, count in sorted(found.events.items()) if event not in found.unknown}
    events = ", ".join(f"{count} {event}" for event, count in known.items())
    verdict = "not ok" if found.unknown else "ok"
    typer.echo(f"{site}: {verdict}, {found.rows} rows in {found.files} files ({events})")
    typer.echo(f"  from {found.first} to {found.last}, last row {found.digest}, {rate:.0f} rows/s")
    if found.note:
        typer.echo(f"  note: {found.note}")
    for said in found.unknown_events():
        typer.echo(f"  {said}")
    return len(found.unknown)


async def _take_stock(settings: Settings, books: Books, content: bool) -> int:
    """How many problems there are, each told in a line."""
    console = Console(stderr=True)
    problems = 0
    async with visit(parts.link(settings)) as session:
        for stream in books.receipts:
            began = time.perf_counter()
            bar = Progress(
                *_COLUMNS, console=console, disable=not console.is_terminal, transient=True, redirect_stdout=False
            )
            with bar:
                task = bar.add_task(stream, total=None)

                def progress(done: int, total: int, bar: Progress = bar, task: TaskID = task) -> None:
                    bar.update(task, completed=done, total=total)
                    if done == total:  # what comes now is told in lines
                        bar.stop()

                stock = await Stocktake(session, books, stream, content=content, tell=_tell, progress=progress).run()
            _sum_up(stock, time.perf_counter() - began)
            problems += stock.problems.total()
    return problems


def _tell(problem: Problem) -> None:
    path = problem.path.encode("utf-8", "backslashreplace").decode()  # any text may stand in a forged row
    typer.echo(f"{problem.what:8} seq {problem.seq} {path}: {problem.said}")


def _sum_up(stock: Stock, seconds: float) -> None:
    found = ", ".join(f"{stock.problems[what]} {what}" for what in ("lost", "altered", "doubled", "unknown"))
    aside = {"older than the stream": stock.expired, "gone by its own rules": stock.left, "void": stock.void}
    told = "".join(f", {count} {what}" for what, count in aside.items() if count)
    verdict = "not ok" if stock.problems else "ok"
    typer.echo(f"stream {stock.stream}: {verdict}, {stock.receipts} receipts{told}, {stock.messages} messages")
    typer.echo(f"  {found}; {stock.receipts / max(1e-9, seconds):.0f} receipts/s")
