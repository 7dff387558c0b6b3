"""A page of the daemon that listens at an address, asked for without anything between that would see the token."""

from __future__ import annotations

import http.client
from pathlib import Path

from syncdaemon.base.errors import ConnectTimeout, SettingsError
from syncdaemon.settings.addresses import address

_CONNECT_SECONDS = 5.0
_PIECE_SECONDS = 20.0  # until the next piece of an answer that goes on


def ask(listens_at: str, token_file: Path | None, page: str) -> http.client.HTTPResponse:
    """The answer, to be read and closed.

    Raises ConnectTimeout where no daemon answers, and SettingsError where it does not tell us.
    """
    host, port = address(listens_at)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}{page}"
    # Neither a proxy nor another host, to which an answer could send us, ever sees the token.
    connection = http.client.HTTPConnection(host, port, timeout=_CONNECT_SECONDS)
    try:
        connection.request("GET", page, headers=_authorization(host, token_file) | {"Connection": "close"})
        connection.sock.settimeout(_PIECE_SECONDS)
        answer = connection.getresponse()
        if answer.status in (401, 403):
            said = answer.read(200).decode("utf-8", "replace").partition("\n")[0]
            raise SettingsError(f"SYNC_HTTP_TOKEN_FILE: {url} says {answer.status}, {said}")
    except (http.client.HTTPException, OSError) as error:
        connection.close()
        raise ConnectTimeout(f"SYNC_HTTP_ADDR: no daemon answers at {url} ({error})") from None
    if page != "/status" and answer.status != 200:
        raise ConnectTimeout(f"SYNC_HTTP_ADDR: {url} says {answer.status}")
    return answer


def _authorization(host: str, token_file: Path | None) -> dict[str, str]:
    """The token for a daemon on another machine. On this one it needs none, and another program might listen."""
    if token_file is None:
        return {}
    from syncdaemon.base.pages import is_here
    from syncdaemon.web.token import token_in

    if is_here(host):
        return {}
    return {"Authorization": f"Bearer {token_in(token_file)}"}
