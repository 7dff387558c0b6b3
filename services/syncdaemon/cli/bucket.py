"""`syncdaemon bucket`: what lies in the site's bucket for large files, and is of no use there."""

from __future__ import annotations

from typing import Annotated

import typer

from syncdaemon.base.errors import SettingsError
from syncdaemon.base.keep import duration
from syncdaemon.base.units import Wrong
from syncdaemon.cli.options import FOUND, Command, Group, with_settings
from syncdaemon.settings.given import Given

app = typer.Typer(cls=Group, no_args_is_help=True, help="Look at the bucket for large files, and tidy it up.")


@app.callback()
def _group() -> None:
    """A group, though it has one command only."""


@app.command("orphans", cls=Command)
@with_settings
def orphans(
    given: Given,
    delete: Annotated[bool, typer.Option("--delete", help="Take out those that are forgotten.")] = False,
    older: Annotated[
        str, typer.Option("--older-than", metavar="TIME", help="How long an object waits for its message.")
    ] = "28d",
) -> int:
    """List the objects of the site's bucket that no message of the stream names.

    The message of a finished upload may still come. So --delete takes out only objects of which nothing was stored for
    28 days (--older-than), and those whose message was received and freed. Exit 1 if one of these could not be taken
    out.
    """
    try:
        older_than = duration(older)
    except Wrong as wrong:
        raise SettingsError(f"--older-than: {wrong.what} ({older!r}), {wrong.remedy}") from None
    from syncdaemon.cli.work.begin import begin
    from syncdaemon.cli.work.bucket import orphans as work

    return FOUND if work(begin(given), delete=delete, older_than=older_than) else 0
