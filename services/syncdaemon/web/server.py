"""The HTTP port: pages of ours, for whoever reaches it and may see them."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import structlog
from aiohttp import web

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.web.access import HEADERS, Asked
from syncdaemon.web.callers import Caller
from syncdaemon.web.pages import COSTLY, Page, Pages, refusal
from syncdaemon.web.protocol import BROKEN_PAGE, HttpServer
from syncdaemon.web.token import TokenFile
from syncdaemon.web.turns import PageTurns
from syncdaemon.web.views import Views

log = structlog.get_logger(__name__)


class Web:
    """The HTTP server, from `start` to `stop`. It is made while the loop runs.

    `turns`: those of all costly pages of this process, where there are others.

    Where SYNC_HTTP_TOKEN_FILE names no usable token, the constructor raises SettingsError.
    """

    def __init__(
        self,
        host: str,
        port: int,
        views: Views,
        *,
        hosts: frozenset[str] = frozenset(),
        token_file: Path | None = None,
        turns: PageTurns | None = None,
    ) -> None:
        self._host, self._port = host, port
        token = TokenFile(token_file)
        token.check()
        self._pages = Pages(views, hosts, token.current)
        self._once_a_minute = OnceAMinute()
        self._turns = turns or PageTurns()
        self._http = HttpServer(self._page)

    async def start(self) -> None:
        """Raises SettingsError where the address can't be had."""
        await self._http.listen(self._host, self._port)

    @property
    def port(self) -> int:
        """The port that is listened on; of use where the settings said 0."""
        return self._http.port

    async def stop(self) -> None:
        """Answers what is under way, and closes."""
        await self._http.stop()

    async def _page(self, request: web.BaseRequest, caller: Caller) -> Page:
        asked = asked_of(request, str(caller.peer))
        make = partial(self._made, asked)
        return await self._turns.take(make) if asked.path in COSTLY else make()

    def _made(self, asked: Asked) -> Page:
        try:
            return self._pages.answer(asked)
        except Exception:
            if self._once_a_minute.due(asyncio.get_running_loop().time()):
                log.exception("http_page_failed", page=asked.path)
            return refusal(BROKEN_PAGE)


def asked_of(request: web.BaseRequest, peer: str) -> Asked:
    """The request, as far as it decides."""
    headers = {name: request.headers.getall(name, []) for name in HEADERS}
    return Asked(peer, request.method, request.raw_path, headers)
