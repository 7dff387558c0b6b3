"""Tables for people, on standard output. Nothing in them is cut: what has no room wraps."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from syncdaemon.base.printable import printable
from syncdaemon.cli.streams import is_plain

_ONE_LINE = 10_000  # columns: no row is broken where it goes into a file or a pipe
_NARROW = 80  # columns of a terminal: in fewer, a row of more than two cells stands in lines of its own

_LEAST = 24  # columns: in a terminal of fewer, rich would leave out cells, and the terminal itself breaks long lines


def show(rows: Iterable[Sequence[str]], heads: Sequence[str] = ()) -> None:
    """Prints the rows below their heads, each cell printable.

    As wide as the terminal, or each in one line where there is none.
    """
    terminal = sys.stdout.isatty()
    console = Console(
        width=None if terminal else _ONE_LINE,
        color_system=None if is_plain(sys.stdout) else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )
    console.width = max(console.width, _LEAST)
    if terminal and len(heads) > 2 and console.width < _NARROW:
        console.print(_records(rows, heads))
    else:
        console.print(_table(rows, heads))


def _table(rows: Iterable[Sequence[str]], heads: Sequence[str]) -> Table:
    table = Table(*heads, show_header=bool(heads), box=None)
    for row in rows:
        table.add_row(*(Text(printable(cell), overflow="fold") for cell in row))
    return table


def _records(rows: Iterable[Sequence[str]], heads: Sequence[str]) -> Table:
    """A line for each cell, with its head before it, and an empty one after each row."""
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        for head, cell in zip(heads, row, strict=True):
            table.add_row(head, Text(printable(cell), overflow="fold"))
        table.add_row()
    return table
