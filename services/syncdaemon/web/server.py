"""The HTTP server: aiohttp speaks the protocol, on connections of ours, for pages of ours."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path

import structlog
from aiohttp import web

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.web.access import HEADERS, Asked, Barred
from syncdaemon.web.callers import Caller, Callers
from syncdaemon.web.listener import Listener, descriptors, most_connections
from syncdaemon.web.pages import COSTLY, Page, Pages, refusal
from syncdaemon.web.token import TokenFile
from syncdaemon.web.turns import PageTurns
from syncdaemon.web.views import Views

_LAST_ANSWERS = 1.0  # seconds for the answers that are under way at the end
_NO_REQUEST = Barred(400, "this is no HTTP request that could be read")
_BROKEN_PAGE = Barred(500, "this page could not be made: the log says why")

log = structlog.get_logger(__name__)


class Web:
    """The HTTP server, from `start` to `stop`. It is made while the loop runs.

    Where SYNC_HTTP_TOKEN_FILE names no usable token, the constructor raises SettingsError.
    """

    def __init__(
        self, host: str, port: int, views: Views, *, hosts: frozenset[str] = frozenset(), token_file: Path | None = None
    ) -> None:
        self._host, self._port = host, port
        token = TokenFile(token_file)
        token.check()
        self._pages = Pages(views, hosts, token.current)
        self._once_a_minute = OnceAMinute()
        self._turns = PageTurns()
        # A page for a peer that has gone is not made: those who ask and leave would fill the memory with their turns.
        self._server = web.Server(self._answer, handler_cancellation=True)
        self._callers = Callers(self._protocol, most_connections(descriptors()))
        self._listener = Listener(self._callers)

    async def start(self) -> None:
        """Raises SettingsError where the address can't be had."""
        await self._listener.open(self._host, self._port)

    @property
    def port(self) -> int:
        """The port that is listened on; of use where the settings said 0."""
        return self._listener.port

    async def stop(self) -> None:
        """Answers what is under way, and closes."""
        self._listener.close()
        self._callers.close_idle()
        await asyncio.sleep(0)
        await self._server.shutdown(_LAST_ANSWERS)
        self._callers.close()

    def _protocol(self) -> asyncio.Protocol:
        return _Http(
            self._server,
            loop=asyncio.get_running_loop(),
            logger=_SILENT,
            access_log=_SILENT,
            keepalive_timeout=3600.0,  # ours are shorter: `callers` has them
            lingering_time=0.0,  # no page reads a body, so nothing waits for one
        )

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Sends the answer itself, so that it is known when the peer has taken it."""
        caller = request.transport.get_protocol() if request.transport is not None else None
        if not isinstance(caller, Caller):
            raise ConnectionResetError("the peer has gone")
        with caller.answer():
            response = _response(await self._page(request, caller.peer))
            await response.prepare(request)
            await response.write_eof()
        return response

    async def _page(self, request: web.BaseRequest, peer: str) -> Page:
        headers = {name: request.headers.getall(name, []) for name in HEADERS}
        asked = Asked(peer, request.method, request.raw_path, headers)
        make = partial(self._made, asked)
        return await self._turns.take(make) if asked.path in COSTLY else make()

    def _made(self, asked: Asked) -> Page:
        try:
            return self._pages.answer(asked)
        except Exception:
            if self._once_a_minute.due(asyncio.get_running_loop().time()):
                log.exception("http_page_failed", page=asked.path)
            return refusal(_BROKEN_PAGE)


class _Http(web.RequestHandler):
    """aiohttp's side of a connection. What is no request is answered like everything else, and not logged."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has been sent already")
        response = _response(refusal(_NO_REQUEST if status == 400 else _BROKEN_PAGE))
        response.force_close()
        return response


def _response(page: Page) -> web.Response:
    response = web.Response(status=page.status, body=page.body, headers={"Content-Type": page.kind})
    for name, value in page.headers:
        response.headers.add(name, value)
    return response


def _silent() -> logging.Logger:
    """A log for aiohttp. It would write a traceback for each request that is no HTTP."""
    logger = logging.Logger("syncdaemon.web.silent")
    logger.disabled = True
    return logger


_SILENT = _silent()
