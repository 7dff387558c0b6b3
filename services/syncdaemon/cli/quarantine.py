"""`syncdaemon quarantine`: what was refused, and the way back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote_from_bytes

import typer

from syncdaemon.base.errors import SettingsError
from syncdaemon.cli import interrupt
from syncdaemon.cli.options import FOUND, Command, Group, with_settings
from syncdaemon.cli.say import say, say_json
from syncdaemon.settings.given import Given

if TYPE_CHECKING:
    from syncdaemon.spool.home import ReplayDirectory
    from syncdaemon.spool.quarantine import Entry

_PATIENCE = 30.0  # seconds that a running daemon has for it
_EMPTY = "no file is in quarantine"
_COLUMNS = ("name", "path", "size", "reason", "error", "attempts", "first", "last", "sha256")
_HEADS = ("name", "from", *_COLUMNS[2:])

app = typer.Typer(cls=Group, no_args_is_help=True, help="Look at refused files, and have them delivered after all.")


@app.command("list", cls=Command)
@with_settings
def show(
    given: Given,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> int:
    """Show every refused file, and why it was refused."""
    found = _entries(_home(given))
    if as_json:
        say_json(json.dumps([_shown(entry) for entry in found], indent=2))
        return 0
    if not found:
        say(_EMPTY)
        return 0
    from rich.filesize import decimal

    from syncdaemon.cli import tables

    shown = [_shown(entry) | {"size": decimal(entry.size), "error": entry.problem or entry.error} for entry in found]
    rows = [[str(entry[column] or "?") for column in _COLUMNS] for entry in shown]
    tables.show(rows, _HEADS)
    return 0


@app.command("requeue", cls=Command, no_args_is_help=True)
@with_settings
def requeue(
    given: Given,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="As `list` shows them.")] = None,
    reason: Annotated[str | None, typer.Option(help="All that were refused for this reason.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> int:
    """Put refused files back where they came from, to be delivered. Exit 1 if one could not be put back.

    No file is overwritten: where the place is taken, the name gets a number. A running daemon does it; without
    one it is done at once, and the ledger has its row at the next start.
    """
    if sum((bool(names), reason is not None, every)) != 1:
        raise typer.BadParameter("give names, or --reason, or --all")
    from syncdaemon.spool.requeue import send_back

    home = _home(given)
    found = _entries(home)
    if every and not found:
        say(_EMPTY)
    wanted, problems = _choose(found, names, reason)
    interrupt.clean_up()
    try:
        done = send_back(home, wanted, _PATIENCE)
    except OSError as error:
        raise SettingsError(f"SYNC_REPLAY_DIR: its quarantine can't be changed: {_words(error)}") from None
    for order, problem in done:
        if problem:
            problems.append(f"{quote_from_bytes(order.name)}: still in quarantine: {problem}")
        else:
            say(f"{quote_from_bytes(order.name)} -> {quote_from_bytes(order.to)}")
    for problem in problems:
        say(f"syncdaemon: {problem}", err=True)
    return FOUND if problems else 0


def _choose(found: list[Entry], names: list[str] | None, reason: str | None) -> tuple[list[Entry], list[str]]:
    """The files that are meant, and what can't be meant; all files where neither names nor a reason are given."""
    if names:
        by_name = {os.fsdecode(entry.name): entry for entry in found}
        by_name |= {quote_from_bytes(entry.name): entry for entry in found}  # what `list` shows goes first
        missing = [f"{name}: no such file in quarantine" for name in names if name not in by_name]
        return list({name: by_name[name] for name in names if name in by_name}.values()), missing
    if reason is None:
        return found, []
    wanted = [entry for entry in found if entry.reason == reason]
    return wanted, [] if wanted else [f"no file in quarantine was refused as {reason}"]


def _home(given: Given) -> ReplayDirectory:
    from syncdaemon.spool.home import ReplayDirectory

    replay_dir: Path = given.values["SYNC_REPLAY_DIR"]
    home = ReplayDirectory(os.fsencode(os.path.abspath(replay_dir)))
    try:
        home.reach()
    except (FileNotFoundError, NotADirectoryError):
        raise SettingsError(f"SYNC_REPLAY_DIR: {replay_dir} is not a directory") from None
    except OSError as error:
        raise SettingsError(f"SYNC_REPLAY_DIR: {replay_dir} can't be opened: {error.strerror}") from None
    return home


def _entries(home: ReplayDirectory) -> list[Entry]:
    from syncdaemon.spool.quarantine import entries

    try:
        return entries(home)
    except OSError as error:
        raise SettingsError(f"SYNC_REPLAY_DIR: its quarantine can't be read: {_words(error)}") from None


def _words(error: OSError) -> str:
    """What is the matter, and what to do where only the daemon's user gets at its folders."""
    denied = isinstance(error, PermissionError)
    return f"{error.strerror}{'; run it as the user of the daemon, or as root' if denied else ''}"


def _shown(entry: Entry) -> dict[str, str | int]:
    """The entry as it is shown, names percent-encoded; an empty `problem` is none."""
    return {**entry._asdict(), "name": quote_from_bytes(entry.name), "path": quote_from_bytes(entry.path)}
