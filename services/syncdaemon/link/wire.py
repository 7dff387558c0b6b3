"""The wire of one connection: how bytes leave, what the peer has not taken of them yet, and the first trouble."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from syncdaemon.base.errors import LinkDown
from syncdaemon.link import kernel, pulse
from syncdaemon.link.client import Client, in_words, readable
from syncdaemon.link.frame import PING, Buffer
from syncdaemon.link.gate import Gate
from syncdaemon.link.limit import Limit
from syncdaemon.link.options import CONNECT_SECONDS, TLS_SECONDS, LinkSettings
from syncdaemon.link.parser import Answered

_FULL_SECONDS = 0.01  # between two looks at a buffer that does not say when it has room
_BUFFER = 1 << 20  # bytes that wait in this process for the kernel to take them, beside its own buffer
_SHOWN = 300  # characters of what a server says; it can say 32 KiB


class Wire:
    """A nats-py client, from connect to the first trouble, and what is written to it.

    `lost` is done as soon as there is trouble; its result is the reason. `sent_away` says whether it was the server
    that wanted no more of us.
    """

    def __init__(self, answered: Answered, denied: Callable[[str], bool], limit: Limit) -> None:
        """`answered` gets the token, the body and the header block of each answer.

        `denied` gets each later error of the server, in words; True where it concerned a single request, which knows
        by then. `limit` bounds all that is sent, over this connection and those before it.
        """
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.sent_away = False
        self.client = Client(answered, self._probe_answered, self._greeted)
        self._opening: asyncio.Timeout | None = None
        self._in_handshake = False
        self.gate = Gate(self.lost, self._gap, limit)
        self.pulse = pulse.Pulse()
        self._denied = denied
        self._writer: asyncio.StreamWriter
        self._written = 0

    async def open(self, url: str, settings: LinkSettings) -> bytes:
        """Connects; the prefix of the reply subjects whose answers `answered` gets.

        Raises OSError, TimeoutError or nats.errors.Error with the server's own words; Garbage, which is an OSError,
        where these can't be read.
        """
        window, connecting = self.gate.window, True

        async def error(exception: Exception) -> None:
            if connecting:
                raise exception
            if not self._denied(str(exception)):
                self.fail(str(exception) or type(exception).__name__, in_words(exception))

        async def closed() -> None:
            self._closed()

        async def leaving() -> None:
            self.fail("the server is shutting down (lame duck)")

        async with self._in_time(), readable():
            await self.client.connect(
                url,
                name=settings.name,
                error_cb=error,
                disconnected_cb=closed,
                closed_cb=closed,
                lame_duck_mode_cb=leaving,
                allow_reconnect=False,
                connect_timeout=CONNECT_SECONDS + TLS_SECONDS,  # type: ignore[arg-type]
                ping_interval=86_400,
                pending_size=-1,
                flush_timeout=pulse.SILENT_SECONDS,
                **settings.options(),
            )
            connecting = False
            prefix = await self.client.open_inbox()
            began = time.monotonic()
            await self.client.flush(pulse.SILENT_SECONDS)  # type: ignore[arg-type]
            window.measured(time.monotonic(), time.monotonic() - began)
        writer = self.client.writer
        writer.transport.set_write_buffer_limits(high=_BUFFER)
        self._writer = writer
        self.pulse.started(time.monotonic(), settings.probe_seconds)
        return prefix

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """The body opens the connection. Raises TimeoutError where that takes too long."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS) as self._opening:
                yield
        except TimeoutError:
            if self._in_handshake:
                raise TimeoutError(f"not connected {TLS_SECONDS:g} seconds after the greeting, with TLS") from None
            raise

    def _greeted(self) -> None:
        if self._opening is not None:
            self._in_handshake = True
            self._opening.reschedule(asyncio.get_running_loop().time() + TLS_SECONDS)

    async def write(self, frames: Sequence[Buffer]) -> None:
        """Hands whole protocol frames, in parts, to the connection and waits while it is full.

        Raises LinkDown where the connection is gone; how much of it was sent is not known.
        """
        if self._writer.is_closing():  # nats-py reports the end later
            self._closed()
            raise LinkDown(self.lost.result())
        try:
            self._written += sum(map(len, frames))
            self.client.put(frames)
            await self._writer.drain()
            while not self.lost.done() and self.client.buffered > _BUFFER:  # TLS takes all at once
                await asyncio.wait((self.lost,), timeout=_FULL_SECONDS)
        except (OSError, RuntimeError) as error:
            self.fail(str(error) or type(error).__name__)
            raise LinkDown(self.lost.result()) from None
        if self.lost.done():
            raise LinkDown(self.lost.result())

    def look(self, now: float) -> None:
        """Looks for signs of life, probes a server that gave none recently, and gives up a silent one."""
        self.pulse.look(now, arriving=self.client.arriving, written=self._written, unsent=self.unsent())
        if self.pulse.wants_probe(now):
            self._writer.write(PING)
            self._written += len(PING)
            self.pulse.probed(now)
        if self.pulse.silent(now):
            self.fail(f"the server has been silent for {pulse.SILENT_SECONDS:g} seconds")

    def unsent(self) -> int:
        """Bytes that the peer's kernel has not acknowledged yet, and those in our own buffer."""
        raw = self.client.socket
        return 0 if raw is None or raw.fileno() < 0 else kernel.unacknowledged(raw) + self.client.buffered

    def fail(self, reason: str, sent_away: bool = False) -> None:
        """The connection is of no use any more; `sent_away`: the server itself says so."""
        if not self.lost.done():
            self.sent_away = sent_away
            self.lost.set_result(reason[:_SHOWN])

    async def discard(self) -> None:
        """Ends the connection so that nothing that is still buffered is ever sent."""
        await self.client.discard()

    def _closed(self) -> None:
        error = self.client.last_error
        self.fail(str(error or "the server closed the connection"), in_words(error))

    def _probe_answered(self) -> None:
        self.pulse.probe_answered(time.monotonic())

    def _gap(self) -> kernel.Gap | None:
        raw = self.client.socket
        return None if raw is None or raw.fileno() < 0 else kernel.gap(raw)
