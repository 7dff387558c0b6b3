"""Tables for people, on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, OverflowMethod
from rich.table import Table
from rich.text import Text

from syncdaemon.base.plain import plain


def show(
    rows: Iterable[Sequence[str]],
    heads: Sequence[str] = (),
    *,
    width: int | None = None,
    overflow: OverflowMethod | None = None,
) -> None:
    """Prints the rows below their heads, each cell `plain`. `width` in columns; None: as wide as the terminal."""
    table = Table(*heads, show_header=bool(heads), box=None)
    for row in rows:
        table.add_row(*(Text(plain(cell), overflow=overflow) for cell in row))
    Console(width=width).print(table)
