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
    deliver: Annotated[
        bool, typer.Option("--deliver", help="In place of the checks, send a marked file and follow it to a worker.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1.0, help="With --deliver: seconds for all its steps.")] = 60.0,
    consumer: Annotated[
        str, typer.Option(metavar="NAME", help="With --deliver: of the workers. Default: any that takes the message.")
    ] = "",
) -> int:
    """Check each promise against the actual server, stream, disk and clock. Alters nothing.

    A line for each failure and each warning, with what to do; then a line that counts the checks. Exit 1 if something
    failed, 3 if the server could not be reached.

    With --deliver, the running daemon delivers a file `syncdaemon-doctor-….txt`, and there is a line for each step with
    the ms since the file was written. Exit 1 if a step fails or the time is over, 3 if no daemon answers.
    """
    from syncdaemon.cli.work.begin import begin

    if deliver:
        from syncdaemon.cli.work.deliver import deliver as send

        return send(begin(given).settings, timeout=timeout, consumer=consumer, as_json=as_json)
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
    hub: Annotated[
        bool, typer.Option("--hub", help="Also every row against the signed checkpoints at the hub.")
    ] = False,
    pins: Annotated[
        str | None,
        typer.Option("--pins", metavar="FILE", help="With --hub: the pins that you keep (key pin), one a line."),
    ] = None,
    bucket: Annotated[
        list[str] | None,
        typer.Option(
            help="With --content: read objects of such buckets only, as `receive` does. "
            "Default: edge_replay and edge_replay_*."
        ),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(metavar="N:DIGEST", help="A last row that an earlier run printed: it must still be there."),
    ] = None,
) -> int:
    """Check the ledger from its first row to its last: chain, numbers, form, fields, site. Exit 1 at the first damage.

    An event that this version does not know is named with its file and line, and the check goes on: exit 1 as well.

    With --stream, every receipt must have its message, and every message of the site its receipt: what is lost,
    altered, doubled or unknown is listed, and the exit code is 1 then.

    With --hub, the rows must be those that every checkpoint at the hub and beside the ledger was signed for. Without
    --pins the site's own key is believed, so that proves nothing to anybody else.
    """
    if pins is not None and not hub:
        raise typer.BadParameter("--pins goes with --hub")
    if content and not stream:
        raise typer.BadParameter("--content goes with --stream")
    if bucket and not content:
        raise typer.BadParameter("--bucket goes with --content")
    from syncdaemon.cli.work.begin import begin
    from syncdaemon.cli.work.verify import Depth, parse_head, verify

    expected = parse_head(expect) if expect is not None else None
    depth = Depth(allow_missing_start, stream, content, tuple(bucket or ()), hub, pins, expected)
    return FOUND if verify(begin(given), depth) else 0
