"""The commands that deliver, and the one that receives: run, dev, drain and receive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from syncdaemon.cli.options import FOUND, with_settings
from syncdaemon.settings.given import Given


@with_settings
def run(given: Given) -> int:
    """Deliver, until SIGTERM. The daemon itself."""
    from syncdaemon.cli.work.run import run

    run(given)
    return 0


@with_settings
def dev(
    given: Given,
    folder: Annotated[Path, typer.Option(help="Where everything is kept.")] = Path(".dev"),
) -> int:
    """Try it here: a real nats-server, a replay folder and the daemon, all of this machine."""
    from syncdaemon.cli.work.begin import begin
    from syncdaemon.cli.work.dev import dev

    dev(begin(given), folder)
    return 0


@with_settings
def drain(
    given: Given,
    timeout: Annotated[float | None, typer.Option(help="Give up after so many seconds.", min=0.0)] = None,
) -> int:
    """Deliver what is in the directory now, and end. Exit 1 if a file was refused or time ran out.

    A file of another user must have been unchanged for SYNC_SETTLE_IN_PLACE_SECONDS: no watch has seen its end.
    """
    from syncdaemon.cli.work.begin import begin
    from syncdaemon.cli.work.drain import drain

    return FOUND if drain(begin(given), timeout) else 0


@with_settings
def receive(
    given: Given,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go: DIR/<site>/<path>.")],
    consumer: Annotated[str, typer.Option(help="Durable consumer of SYNC_STREAM; made if missing.")] = "worker-staging",
    subject: Annotated[str, typer.Option("--filter", help="Only these subjects; default: the whole stream.")] = "",
    batch: Annotated[int, typer.Option(help="Messages that are held at the same time.", min=1, max=100_000)] = 512,
    bucket: Annotated[
        list[str] | None,
        typer.Option(
            help="Read large files from such buckets only; may be repeated. "
            "* is any text, {site} the message's site. Default: edge_replay and edge_replay_*."
        ),
    ] = None,
    site_token: Annotated[
        int | None,
        typer.Option(
            help="Which token of a message's subject is its site, from 1; 0: none. Default: as in SYNC_SUBJECT.",
            min=0,
            max=64,
        ),
    ] = None,
    free: Annotated[
        bool,
        typer.Option(
            "--free",
            help="Take the content of what is received out of the stream, and leave an empty message in its place. "
            "Only for a stream of one site that allows roll-ups, and that has no other reader.",
        ),
    ] = False,
) -> int:
    """Receive, until SIGTERM: the other end. Any number may run at once, on one DIR or several."""
    from syncdaemon.cli.work.begin import begin
    from syncdaemon.cli.work.receive import receive
    from syncdaemon.receive import ReceiveSettings

    receive(begin(given), ReceiveSettings(folder, consumer, subject, batch, tuple(bucket or ()), site_token, free))
    return 0
