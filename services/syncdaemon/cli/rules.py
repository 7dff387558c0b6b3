"""`syncdaemon rules`: what the rules for folders say of a path, and of everything that waits."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote_from_bytes

import typer

from syncdaemon.cli.options import Command, Group, with_settings
from syncdaemon.cli.say import say, say_json
from syncdaemon.settings.given import Given

if TYPE_CHECKING:
    from syncdaemon.base.rules import Rules

_AsJson = Annotated[bool, typer.Option("--json", help="As JSON, a line for each file.")]

app = typer.Typer(cls=Group, no_args_is_help=True, help="See what the rules for folders (SYNC_RULES) say of files.")


@app.command("test", cls=Command, no_args_is_help=True)
@with_settings
def try_out(
    given: Given,
    names: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files, below the replay directory; they need not be there.")
    ],
    as_json: _AsJson = False,
) -> int:
    """Show which rule takes a path, and why."""
    rules = _rules(given)
    for name in names:
        _say(rules, _below(name, given), as_json)
    return 0


@app.command("dry-run", cls=Command)
@with_settings
def dry_run(given: Given, as_json: _AsJson = False) -> int:
    """Show the same for everything that waits. Nothing is touched."""
    from syncdaemon.base.errors import SettingsError
    from syncdaemon.spool.home import ReplayDirectory
    from syncdaemon.spool.scan import files

    rules = _rules(given)
    replay_dir = given.values["SYNC_REPLAY_DIR"]
    directory = ReplayDirectory(os.fsencode(os.path.abspath(replay_dir)))
    left_alone: Counter[bool] = Counter()
    try:
        directory.reach()
        for path, found in files(directory.root):
            if found is not None:
                _say(rules, path, as_json)
                left_alone[rules.of(path).leave] += 1
    except OSError as error:
        raise SettingsError(f"SYNC_REPLAY_DIR: {replay_dir} can't be looked at: {error.strerror}") from None
    finally:
        directory.close()
    if not as_json:
        say(f"{left_alone[False]} files are delivered, {left_alone[True]} are left alone")
    return 0


def _rules(given: Given) -> Rules:
    """Raises SettingsError."""
    from syncdaemon.settings.folder_rules import read_rules

    return read_rules(given.values["SYNC_RULES"])


def _below(name: str, given: Given) -> bytes:
    """The path below the replay directory of a file that is named so, or by its whole path."""
    if not os.path.isabs(name):
        return os.fsencode(name)
    return os.fsencode(os.path.relpath(name, os.path.abspath(given.values["SYNC_REPLAY_DIR"])))


def _say(rules: Rules, path: bytes, as_json: bool) -> None:
    from syncdaemon.base.rules import is_too_long

    reasons = rules.why(path)
    if as_json:
        found: dict[str, Any] = {
            reason.key: {"value": reason.value, "rule": reason.rule, "match": reason.globs} for reason in reasons
        }
        say_json(json.dumps({"path": quote_from_bytes(path), "rules": found}))
    elif is_too_long(path):
        say(f"{os.fsdecode(path)}: no rule takes a path of this length: the settings hold")
    elif not reasons:
        say(f"{os.fsdecode(path)}: no rule takes it: the settings hold")
    for reason in reasons if not as_json else ():
        said = json.dumps(reason.value)
        say(f"{os.fsdecode(path)}: {reason.key} = {said}, by rule {reason.rule} (match = {json.dumps(reason.globs)})")
