"""The commands that check: doctor and verify."""

from __future__ import annotations

from typing import Annotated

import typer

from syncdaemon.cli.options import FOUND, with_settings
from syncdaemon.settings.given import Given


@with_settings
def doctor(
    given: Given,
    as_json: Annotated[bool, typer.Option("--json", help="Every check as JSON, for programs.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Also every check that is well.")] = False,
) -> int:
    """Check each promise against the actual server, stream, disk and clock. Alters nothing.

    A line for each failure and each warning, with what to do; then a line that counts the checks. Exit 1 if something
    failed, 3 if the server could not be reached.
    """
    from syncdaemon.cli.work.begin import begin
    from syncdaemon.cli.work.doctor import doctor

    return doctor(begin(given), as_json=as_json, verbose=verbose)


@with_settings
def verify(
    given: Given,
    allow_missing_start: Annotated[
        bool, typer.Option(help="Older files were moved away: begin with what is here.")
    ] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Also every receipt against the stream, and back.")] = False,
    content: Annotated[bool, typer.Option("--content", help="With --stream: fetch every content, too.")] = False,
    bucket: Annotated[
        list[str] | None,
        typer.Option(
            help="With --content: read objects of such buckets only, as `receive` does. "
            "Default: edge_replay and edge_replay_*."
        ),
    ] = None,
) -> int:
    """Check the ledger from its first row to its last: chain, row numbers, form, fields. Exit 1 at the first damage.

    An event that this version does not know is named with its file and line, and the check goes on: exit 1 as well.

    With --stream, every receipt must have its message, and every message of the site its receipt: what is lost,
    altered, doubled or unknown is listed, and the exit code is 1 then.
    """
    if content and not stream:
        raise typer.BadParameter("--content goes with --stream")
    if bucket and not content:
        raise typer.BadParameter("--bucket goes with --content")
    from syncdaemon.cli.work.begin import begin
    from syncdaemon.cli.work.verify import Depth, verify

    depth = Depth(allow_missing_start, stream, content, tuple(bucket or ()))
    return FOUND if verify(begin(given), depth) else 0
