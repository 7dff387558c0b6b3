"""`syncdaemon doctor`: every finding in a line, what is not well first."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

import typer

from syncdaemon.check.diagnosis import Finding
from syncdaemon.check.doctor import examine
from syncdaemon.cli import interrupt
from syncdaemon.cli.options import FOUND, NO_CONNECTION
from syncdaemon.cli.say import say, say_json
from syncdaemon.cli.streams import is_plain
from syncdaemon.settings.values import Loaded

_COLOURS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "failure": typer.colors.RED}


def doctor(loaded: Loaded, *, as_json: bool, verbose: bool) -> int:
    """Prints the findings; the exit code."""
    loaded.settings.check_files()
    interrupt.clean_up()
    findings = asyncio.run(examine(loaded))
    if as_json:
        say_json(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        _say_all(findings, verbose)
    failed = {finding.check for finding in findings if finding.level == "failure"}
    return NO_CONNECTION if "connection" in failed else FOUND if failed else 0


def _say_all(findings: Sequence[Finding], verbose: bool) -> None:
    """What is not well, the worst first; then how many checks there were; then what is well, if that is wanted."""
    by_level = {level: [one for one in findings if one.level == level] for level in _COLOURS}
    for finding in by_level["failure"] + by_level["warning"]:
        _say(finding)
    failures, warnings, well = (len(by_level[level]) for level in ("failure", "warning", "ok"))
    more = "" if verbose or not well else "; --verbose shows them"
    say(f"{len(findings)} checks: {_count(failures, 'failure')}, {_count(warnings, 'warning')}, {well} ok{more}")
    for finding in by_level["ok"] if verbose else ():
        _say(finding)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _say(finding: Finding) -> None:
    level = f"{finding.level:8}"
    if not is_plain(sys.stdout):
        level = typer.style(level, fg=_COLOURS[finding.level])
    remedy = f" -> {finding.remedy}" if finding.remedy else ""
    say(f" {finding.check:17} {finding.said}{remedy}", first=level)
