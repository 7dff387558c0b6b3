"""The commands that check: doctor and verify."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated

import typer

from syncdaemon.cli.options import FOUND, NO_CONNECTION, with_settings
from syncdaemon.doctor import examine
from syncdaemon.errors import SettingsError
from syncdaemon.ledger import sites
from syncdaemon.settings import Loaded
from syncdaemon.verify import audit

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
) -> int:
    """Check the ledger from its first row to its last: chain, row numbers, form. Exit 1 at the first damage."""
    folder = loaded.settings.sync_ledger_dir
    wanted = [loaded.settings.site] if loaded.sources["SITE"] != "default" else sites(folder)
    if not any(site in sites(folder) for site in wanted):
        raise SettingsError(f"SYNC_LEDGER_DIR: there is no ledger in {folder}")
    for site in wanted:
        began = time.perf_counter()
        found = audit(folder, site, allow_missing_start)
        rate = found.rows / max(1e-9, time.perf_counter() - began)
        events = ", ".join(f"{count} {event}" for event, count in sorted(found.events.items()))
        typer.echo(f"{site}: ok, {found.rows} rows in {found.files} files ({events})")
        typer.echo(f"  from {found.first} to {found.last}, last row {found.digest}, {rate:.0f} rows/s")
        if found.note:
            typer.echo(f"  note: {found.note}")
    return 0
