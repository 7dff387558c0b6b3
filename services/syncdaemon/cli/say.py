"""The one way to standard output and standard error for a line of text; tables are in `tables`."""

from __future__ import annotations

import typer

from syncdaemon.base.printable import printable


def say(text: str, *, err: bool = False, first: str = "") -> None:
    """Prints one line, printable, to standard output or error. `first` goes before it as it is, with its colours."""
    typer.echo(first + printable(text), err=err)


def say_json(text: str) -> None:
    """Prints JSON. What is in it was escaped by `json.dumps`, which also lays it out in lines."""
    typer.echo(text)
