"""The commands that steer a running daemon: pause, resume, limit, rescan and reload."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from syncdaemon.base.errors import ConnectTimeout
from syncdaemon.base.units import Wrong, duration
from syncdaemon.cli.options import with_settings
from syncdaemon.cli.say import say
from syncdaemon.settings.given import Given

_For = Annotated[
    str | None,
    typer.Option("--for", metavar="TIME", help="For so long, such as 2h; default: until the next order, or its end."),
]


@with_settings
def pause(
    given: Given,
    seconds: _For = None,
    large: Annotated[bool, typer.Option("--large", help="Large files alone.")] = False,
) -> int:
    """Have the running daemon keep all files. What is under way ends."""
    return _order(given, "pause", {**_seconds(seconds), "large": large})


@with_settings
def resume(given: Given) -> int:
    """End a pause."""
    return _order(given, "resume", {})


@with_settings
def limit(
    given: Given,
    bandwidth: Annotated[
        str, typer.Argument(metavar="LIMIT", help="64k, off, slots such as 08:00,64k, or timetable: SYNC_BWLIMIT.")
    ],
    seconds: _For = None,
) -> int:
    """Have the running daemon send no more than so many bytes a second."""
    return _order(given, "limit", {**_seconds(seconds), "value": bandwidth})


@with_settings
def rescan(given: Given) -> int:
    """Have the running daemon look at the whole directory now."""
    return _order(given, "rescan", {})


@with_settings
def reload(given: Given) -> int:
    """Have the running daemon read its file of settings and its login once more, as SIGHUP does."""
    return _order(given, "reload", {})


def _seconds(text: str | None) -> dict[str, float]:
    try:
        return {} if text is None else {"for_seconds": duration(text)}
    except Wrong as wrong:
        raise typer.BadParameter(f"{wrong}.", param_hint="'--for'") from None


def _order(given: Given, call: str, fields: Mapping[str, Any]) -> int:
    """Exit 1 where this user may not, or the order can't be carried out; 3 where no daemon answers."""
    from syncdaemon.client.errors import DaemonAway
    from syncdaemon.client.outbox import Outbox

    outbox = Outbox(given.values["SYNC_REPLAY_DIR"], trusted=[os.geteuid()])
    try:
        say(outbox.order(call, fields))
    except DaemonAway as error:
        raise ConnectTimeout(str(error)) from None
    return 0
