"""The commands that handle files by hand: put."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from syncdaemon.cli import interrupt
from syncdaemon.cli.options import FOUND, with_settings
from syncdaemon.cli.say import say
from syncdaemon.settings.given import Given

_STDIN = "-"


class _Source(NamedTuple):
    """A file, or the descriptor of standard input; where it goes below the replay directory, empty: its own name."""

    what: Path | int
    name: bytes = b""


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
) -> int:
    """Copy files into the replay directory the right way: each appears there only when it is complete."""
    if name is not None and len(files) > 1:
        raise typer.BadParameter("goes with one FILE only.", param_hint="'--name'")
    if name is None and _STDIN in files:
        raise typer.BadParameter("standard input has no name of its own; give it one.", param_hint="'--name'")
    wrong = [problem for one in files if (problem := _problem(one))]
    if len(wrong) == len(files):
        raise typer.BadParameter(wrong[0], param_hint="'FILE...'")
    for problem in wrong:
        _complain(problem)
    sources = [source for one in files if not _problem(one) for source in _sources(one, os.fsencode(name or ""))]
    put_all = _put_all(sources, given.values["SYNC_REPLAY_DIR"]) if sources else False
    return 0 if put_all and not wrong else FOUND


def _put_all(sources: list[_Source | str], replay_dir: Path) -> bool:
    """Puts them one after another. One that can't be put keeps no other from it; whether there was none."""
    import asyncio

    from syncdaemon.spool import put as spool_put

    async def work() -> bool:
        complete = True
        for source in sources:
            try:
                if isinstance(source, str):
                    raise spool_put.PutError(source)
                say(str(await spool_put.put(source.what, replay_dir, source.name)))
            except spool_put.NoReplayDirectory:
                raise
            except spool_put.PutError as error:
                _complain(str(error))
                complete = False
        return complete

    interrupt.clean_up()
    return asyncio.run(work())


def _complain(problem: str) -> None:
    say(f"syncdaemon: {problem}", err=True)


def _problem(name: str) -> str:
    """Why there is nothing of this name that can be read; empty where there is."""
    if name == _STDIN:
        return ""
    path = Path(name)
    needed = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    wrong = "does not exist" if not path.exists() else "" if os.access(path, needed) else "is not readable"
    return wrong and f"file {name!r} {wrong}."


def _sources(given: str, name: bytes) -> Iterator[_Source | str]:
    """What is to be put of a FILE, or why something can't be."""
    path = Path(given)
    if given == _STDIN:
        yield _Source(0, name)
    elif path.is_dir():
        yield from _in_folder(path, name or os.fsencode(path.resolve().name))
    else:
        yield _Source(path, name)


def _in_folder(folder: Path, name: bytes) -> Iterator[_Source | str]:
    """Every file in a folder and below, in order. What the daemon never takes is left out, with a line of its own."""
    from syncdaemon.spool import settle

    unread: list[OSError] = []
    count = 0
    for above, below, files in os.walk(folder, onerror=unread.append):
        below.sort()
        for one in list(below):
            if one.startswith(".") or Path(above, one).is_symlink():
                below.remove(one)
                _complain(f"{Path(above, one)} is left out: hidden folders and symlinks are never taken")
        for one in sorted(files):
            path = Path(above, one)
            if settle.ignored(os.fsencode(one)):
                _complain(f"{path} is left out: a file of this name is never taken")
            elif path.is_symlink() or (path.exists() and not path.is_file()):
                _complain(f"{path} is left out: it is no regular file")
            else:
                count += 1
                yield _Source(path, os.path.join(name, os.fsencode(path.relative_to(folder))))
    yield from (f"{error.filename}: {error.strerror}" for error in unread)
    if not count and not unread:
        yield f"{folder}: there is no file in it"
