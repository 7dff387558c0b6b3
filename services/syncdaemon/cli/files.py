"""The commands that handle files by hand: put."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from syncdaemon.cli.options import with_settings
from syncdaemon.settings.given import Given


@with_settings
def put(
    given: Given,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="What to deliver.", exists=True, dir_okay=False)
    ],
) -> int:
    """Copy files into the replay directory the right way: each appears there only when it is complete."""
    import asyncio

    from syncdaemon.spool.put import put as put_file

    async def put_all() -> None:
        for file in files:
            typer.echo(await put_file(file, given.values["SYNC_REPLAY_DIR"]))

    asyncio.run(put_all())
    return 0
