"""The progress bar of the commands that take long."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import Progress, ProgressColumn

from syncdaemon.cli.streams import is_plain

_LEAST_COLUMNS = 60  # of a terminal: in fewer, the numbers of the bar would be cut


def bar(*columns: ProgressColumn, transient: bool = False) -> Progress:
    """A bar on standard error, not begun yet; one that shows nothing where no terminal is, or too narrow a one.

    Log lines pass above it. `transient`: it vanishes at its end.
    """
    console = Console(stderr=True)
    hidden = is_plain(sys.stderr) or not console.is_terminal or console.width < _LEAST_COLUMNS
    return Progress(*columns, console=console, disable=hidden, transient=transient, expand=True, redirect_stdout=False)
