"""The commands that look and change nothing: status and config."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from syncdaemon.base.errors import ConnectTimeout, SettingsError
from syncdaemon.cli.options import FOUND, with_settings
from syncdaemon.cli.say import say_json
from syncdaemon.settings.addresses import address
from syncdaemon.settings.given import Given

_ANSWER_BYTES = 1 << 20  # a status is a few KB


@with_settings
def status(
    given: Given,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> int:
    """Ask the running daemon how it is. Exit 1 if its link is down, 3 if no daemon answers."""
    try:
        found = _ask(given.values["SYNC_HTTP_ADDR"], given.values["SYNC_HTTP_TOKEN_FILE"])
    except ConnectTimeout as error:
        raise ConnectTimeout(f"{error}{_at_work(given.values['SYNC_REPLAY_DIR'])}") from None
    code = 0 if _link_is_up(found) else FOUND
    if as_json:
        say_json(json.dumps(found, indent=2, sort_keys=True))
        return code
    from syncdaemon.cli import tables

    tables.show((name.replace("_", " "), _text(value)) for name, value in found.items())
    return code


def _link_is_up(found: dict[str, Any]) -> bool:
    link = found.get("link")
    return isinstance(link, dict) and link.get("up") is True


def _at_work(replay_dir: Path) -> str:
    """That a process without a web side is at work on the replay directory, in words; empty where none is."""
    from syncdaemon.spool.home import ReplayDirectory

    home = ReplayDirectory(os.fsencode(os.path.abspath(replay_dir)))
    try:
        home.reach()
        busy = home.in_use()
    except OSError:
        return ""
    finally:
        home.close()
    here = f"; but a `drain`, or a daemon with another SYNC_HTTP_ADDR, is at work in {os.path.abspath(replay_dir)}"
    return here if busy else ""


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(map(_text, value)) or "none yet"
    if isinstance(value, dict):
        return "  ".join(f"{name}={one}" for name, one in value.items() if one != "")
    return "none yet" if value is None else str(value)


def _ask(listens_at: str, token_file: Path | None) -> dict[str, Any]:
    """What the daemon that listens at this address says of itself.

    Raises ConnectTimeout where none answers, and SettingsError where it does not tell us.
    """
    import http.client

    host, port = address(listens_at)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/status"
    # Neither a proxy nor another host, to which an answer could send us, ever sees the token.
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/status", headers=_authorization(host, token_file))
        answer = connection.getresponse()
        body = answer.read(_ANSWER_BYTES)
        if answer.status in (401, 403):
            said = body[:200].decode("utf-8", "replace").partition("\n")[0]
            raise SettingsError(f"SYNC_HTTP_TOKEN_FILE: {url} says {answer.status}, {said}")
        found: dict[str, Any] = json.loads(body)
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise ConnectTimeout(f"SYNC_HTTP_ADDR: no daemon answers at {url} ({error})") from None
    finally:
        connection.close()
    return found


def _authorization(host: str, token_file: Path | None) -> dict[str, str]:
    """The token for a daemon on another machine. On this one it needs none, and another program might listen."""
    if token_file is None:
        return {}
    from syncdaemon.base.pages import is_here
    from syncdaemon.web.token import token_in

    if is_here(host):
        return {}
    return {"Authorization": f"Bearer {token_in(token_file)}"}


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
