"""The commands that look and change nothing: status and config."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from syncdaemon.base.errors import ConnectTimeout
from syncdaemon.cli.options import with_settings
from syncdaemon.cli.say import say_json
from syncdaemon.settings.addresses import address
from syncdaemon.settings.given import Given


@with_settings
def status(
    given: Given,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> int:
    """Ask the running daemon how it is."""
    found = _ask(given.values["SYNC_HTTP_ADDR"])
    if as_json:
        say_json(json.dumps(found, indent=2, sort_keys=True))
        return 0
    from syncdaemon.cli import tables

    tables.show((name.replace("_", " "), _text(value)) for name, value in found.items())
    return 0


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name}={one}" for name, one in value.items() if one != "")
    return "none yet" if value is None else str(value)


def _ask(listens_at: str) -> dict[str, Any]:
    """What the daemon that listens at this address says of itself. Raises ConnectTimeout where none answers."""
    import urllib.error
    import urllib.request

    host, port = address(listens_at)
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    url = f"http://{host}:{port}/status"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise ConnectTimeout(
            f"SYNC_HTTP_ADDR: no daemon answers at {url} ({getattr(error, 'reason', error)})"
        ) from None
    return found


@with_settings
def config(
    given: Given,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> int:
    """Show every setting, its value and where that comes from."""
    shown = given.shown()
    if as_json:
        rows = {variable: {"value": value, "source": source} for variable, value, source, _ in shown}
        say_json(json.dumps(rows, indent=2))
        return 0
    from syncdaemon.cli import tables

    tables.show(shown, ("setting", "value", "from", "meaning"))
    return 0
