"""The commands that handle files by hand: put."""

from __future__ import annotations

import os
import stat
from typing import Annotated

import typer

from syncdaemon.cli.options import FOUND, with_settings
from syncdaemon.settings.given import Given

_STDIN = "-"


@with_settings
def put(
    given: Given,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="What to deliver: files, folders with all below, - for standard input."),
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="PATH", help="Where it goes below the replay directory. For one FILE only."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the receipt of each.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, a line for each file.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Wait for so many seconds at most.", min=0.0)] = None,
) -> int:
    """Copy files into the replay directory the right way: each appears there only when it is complete.

    With --wait, exit 0 only if each has its receipt; 1 if one was refused or time ran out; 3 if no daemon answers.
    """
    from syncdaemon.cli.work.put import Wishes, complain, put_all
    from syncdaemon.cli.work.sources import sources_of

    if name is not None and len(files) > 1:
        raise typer.BadParameter("goes with one FILE only.", param_hint="'--name'")
    if name is None and _STDIN in files:
        raise typer.BadParameter("standard input has no name of its own; give it one.", param_hint="'--name'")
    wrong = [problem for one in files if (problem := _problem(one))]
    if len(wrong) == len(files):
        raise typer.BadParameter(wrong[0], param_hint="'FILE...'")
    for problem in wrong:
        complain(problem)
    sources = [source for one in files if not _problem(one) for source in sources_of(one, os.fsencode(name or ""))]
    put = put_all(sources, given.values["SYNC_REPLAY_DIR"], Wishes(wait, as_json, timeout))
    return 0 if put and not wrong else FOUND


def _problem(name: str) -> str:
    """Why there is nothing of this name that can be read; empty where there is."""
    if name == _STDIN:
        return ""
    try:
        is_folder = stat.S_ISDIR(os.stat(name).st_mode)
    except FileNotFoundError:
        return f"file {name!r} does not exist."
    except OSError as error:
        return f"file {name!r} can't be looked at: {error.strerror}."
    needed = os.R_OK | os.X_OK if is_folder else os.R_OK
    return "" if os.access(name, needed) else f"file {name!r} is not readable."
