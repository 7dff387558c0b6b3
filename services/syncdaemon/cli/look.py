"""The commands that look and change nothing: status and config."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from syncdaemon.base.errors import ConnectTimeout
from syncdaemon.cli.options import with_settings
from syncdaemon.settings import Loaded


@with_settings
def status(
    loaded: Loaded,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> int:
    """Ask the running daemon how it is."""
    host = loaded.settings.http_host
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}.get(host, host)
    url = f"http://{host}:{loaded.settings.http_port}/status"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            found = json.load(answer)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise ConnectTimeout(
            f"SYNC_HTTP_ADDR: no daemon answers at {url} ({getattr(error, 'reason', error)})"
        ) from None
    if as_json:
        typer.echo(json.dumps(found, indent=2, sort_keys=True))
        return 0
    table = Table(show_header=False, box=None)
    for name, value in found.items():
        shown = "  ".join(f"{k}={v}" for k, v in value.items() if v != "") if isinstance(value, dict) else value
        table.add_row(name.replace("_", " "), Text(str(shown if shown is not None else "none yet")))
    Console().print(table)
    return 0


@with_settings
def config(
    loaded: Loaded,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> int:
    """Show every setting, its value and where that comes from."""
    shown = loaded.settings.shown(loaded)
    if as_json:
        rows = {variable: {"value": value, "source": source} for variable, value, source, _ in shown}
        typer.echo(json.dumps(rows, indent=2))
        return 0
    table = Table("setting", "value", "from", "meaning", box=None)
    for row in shown:
        table.add_row(*map(Text, row))
    Console().print(table)
    return 0
