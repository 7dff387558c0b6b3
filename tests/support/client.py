"""Connections of tests and benchmarks that leave no socket behind: nats-py's client, and a bare one.

nats-py 2.16 raises in `connect` without closing its transport where the login is refused or the server goes away, and
a client whose server went away may not have closed it when the loop ends. A test that comes later would fail on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from nats.aio.client import Client
from nats.aio.transport import TcpTransport

from syncdaemon.dev.server import HOST

_MOMENT = 0.2  # seconds


async def connect(servers: str | list[str], **options: Any) -> Client:
    """A client that is connected; it does not connect again unless `allow_reconnect` asks for it.

    Takes the options of nats-py's `connect` and raises what that raises.
    """
    client = _Client()
    await client.connect(servers, **{"allow_reconnect": False} | options)
    return client


class _Client(Client):
    """Its socket is closed when `connect` has failed and when `close` has ended."""

    async def connect(self, *servers: Any, **options: Any) -> None:
        try:
            await super().connect(*servers, **options)
        except BaseException:
            await self._leave()
            raise

    async def close(self) -> None:
        try:
            await super().close()
        finally:
            await self._leave()

    async def _leave(self) -> None:
        transport = self._transport
        if isinstance(transport, TcpTransport) and transport._io_writer is not None:
            await hang_up(transport._io_writer)


@asynccontextmanager
async def opened(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection to a port of this machine, closed at the end."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        yield reader, writer
    finally:
        await hang_up(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Closes a connection at once, and waits until its socket is closed.

    A stream whose TLS handshake failed never hears of its end (Python 3.11): it is waited for a moment only.
    """
    writer.close()
    writer.transport.abort()
    closing = asyncio.ensure_future(writer.wait_closed())
    await asyncio.wait((closing,), timeout=_MOMENT)
    closing.cancel()
    with suppress(Exception, asyncio.CancelledError):  # why the connection ended is known by now
        await closing
