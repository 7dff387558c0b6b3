"""`syncdaemon doctor`: every finding in a line."""

from __future__ import annotations

import asyncio
import json
import sys

import typer

from syncdaemon.check.doctor import examine
from syncdaemon.cli import interrupt
from syncdaemon.cli.options import FOUND, NO_CONNECTION
from syncdaemon.cli.say import say, say_json
from syncdaemon.cli.streams import is_plain
from syncdaemon.settings.values import Loaded

_COLOURS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "failure": typer.colors.RED}


def doctor(loaded: Loaded, as_json: bool) -> int:
    """Prints the findings; the exit code."""
    loaded.settings.check_files()
    interrupt.clean_up()
    findings = asyncio.run(examine(loaded))
    if as_json:
        say_json(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        colours = not is_plain(sys.stdout)
        for finding in findings:
            level = f"{finding.level:8}"
            if colours:
                level = typer.style(level, fg=_COLOURS[finding.level])
            remedy = f" -> {finding.remedy}" if finding.remedy else ""
            say(f" {finding.check:17} {finding.said}{remedy}", first=level)
    failed = {finding.check for finding in findings if finding.level == "failure"}
    return NO_CONNECTION if "connection" in failed else FOUND if failed else 0
