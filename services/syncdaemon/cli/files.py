"""The commands that handle files by hand: put."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from syncdaemon.cli import interrupt
from syncdaemon.cli.options import with_settings
from syncdaemon.cli.say import say
from syncdaemon.settings.given import Given


@with_settings
def put(
    given: Given,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="What to deliver.")],
) -> int:
    """Copy files into the replay directory the right way: each appears there only when it is complete."""
    import asyncio

    from syncdaemon.spool.put import put as put_file

    sources = [_readable(name) for name in files]

    async def put_all() -> None:
        for source in sources:
            say(str(await put_file(source, given.values["SYNC_REPLAY_DIR"])))

    interrupt.clean_up()
    asyncio.run(put_all())
    return 0


def _readable(name: str) -> Path:
    """The file of this name. Raises BadParameter, wrong usage, where there is none that can be read."""
    path = Path(name)
    wrong = "does not exist" if not path.exists() else "is a directory" if path.is_dir() else ""
    if wrong or not os.access(path, os.R_OK):
        raise typer.BadParameter(f"file {name!r} {wrong or 'is not readable'}.", param_hint="'FILE...'")
    return path
