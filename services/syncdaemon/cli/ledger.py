"""`syncdaemon ledger ship|prune|fetch`: the life of the ledger's closed days."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from syncdaemon.cli.options import FOUND, Command, with_settings
from syncdaemon.settings.given import Given


@with_settings
def ship(given: Given) -> int:
    """Ship the closed days of the ledger that were not, and read them back. A daemon that runs does that by itself.

    Exit 1 if a day could not be shipped.
    """
    from syncdaemon.cli.work.begin import begin
    from syncdaemon.cli.work.ledger import ship as work

    return FOUND if work(begin(given)) else 0


@with_settings
def prune(given: Given) -> int:
    """Take away the closed days that are more than SYNC_LEDGER_KEEP_DAYS. A daemon that runs does that by itself.

    Exit 1 if a day that is due may not go yet, and why.
    """
    from syncdaemon.cli.work.begin import begin
    from syncdaemon.cli.work.ledger import prune as work

    return FOUND if work(begin(given)) else 0


@with_settings
def fetch(
    given: Given, target: Annotated[str, typer.Argument(metavar="DIR", help="Where they go: not the ledger itself.")]
) -> int:
    """Fetch the days of the ledger that were taken away, and hold each to the row that says what was shipped."""
    from syncdaemon.cli.work.begin import begin
    from syncdaemon.cli.work.ledger import fetch as work

    return FOUND if work(begin(given), Path(target)) else 0


def add_to(group: typer.Typer) -> None:
    """Adds the commands to the group `ledger`."""
    group.command("ship", cls=Command)(ship)
    group.command("prune", cls=Command)(prune)
    group.command("fetch", cls=Command, no_args_is_help=True)(fetch)
