"""HTTP on connections of ours: aiohttp speaks the protocol, and every answer is a page."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

from syncdaemon.web.access import Barred
from syncdaemon.web.callers import Caller, Callers
from syncdaemon.web.listener import Listener, descriptors, most_connections
from syncdaemon.web.pages import Page, refusal

_LAST_ANSWERS = 1.0  # seconds for the answers that are under way at the end
_NO_REQUEST = Barred(400, "this is no HTTP request that could be read")
BROKEN_PAGE = Barred(500, "this page could not be made: the log says why")

MakePage = Callable[[web.BaseRequest, Caller], Awaitable[Page]]
"""Makes the answer to a request of this caller."""


class HttpServer:
    """Answers the requests of everybody who connects, until `stop`. It is made while the loop runs.

    `callers`: the class that bounds their connections.
    """

    def __init__(self, make_page: MakePage, callers: type[Callers] = Callers) -> None:
        self._make_page = make_page
        # A page for a peer that has gone is not made: those who ask and leave would fill the memory with their turns.
        self._server = web.Server(self._answer, handler_cancellation=True)
        self._callers = callers(self._protocol, most_connections(descriptors()))
        self._listener = Listener(self._callers)

    async def listen(self, host: str, port: int) -> None:
        """Listens on every address of this host. Raises SettingsError where one can't be had."""
        await self._listener.open(host, port)

    def add(self, listening: socket.socket) -> None:
        """Takes over a Unix socket that listens."""
        self._listener.add(listening)

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
            lingering_time=0.0,  # what a page does not read of a body, nothing waits for
        )

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Sends the answer itself, so that it is known when the peer has taken it."""
        caller = request.transport.get_protocol() if request.transport is not None else None
        if not isinstance(caller, Caller):
            raise ConnectionResetError("the peer has gone")
        with caller.answer():
            response = _response(await self._make_page(request, caller))
            await response.prepare(request)
            await response.write_eof()
        return response


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
        response = _response(refusal(_NO_REQUEST if status == 400 else BROKEN_PAGE))
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
