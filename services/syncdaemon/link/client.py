"""All that touches nats-py's inside: `tests/integration/test_link.py` fails where an upgrade moves any of it."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import nats.aio.client
import nats.errors
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport

from syncdaemon.link.frame import PONG, Buffer
from syncdaemon.link.inbound import Garbage, payload_of
from syncdaemon.link.parser import Answered, Parser

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of socket(7): on, for no time at all
_CLOSE_SECONDS = 1.0  # nats-py's close can hang on a half-open link
_MOST_FRAMES = os.sysconf("SC_IOV_MAX")  # of one writev(2)
_PONG_BYTES = 64 << 10  # a server that takes no more of what we send than that needs no answers to its probes
_TOKEN = re.compile(rb"[0-9]{1,15}")

Listener = Callable[[bytes, bytes, bytes, bytes | None], None]
"""Gets a message's subject, its reply subject, its body, and its header block."""


def _nothing() -> None:
    """The greeting is of no interest."""


class Client(nats.aio.client.Client):
    """nats-py's client, with our inbox taken out of its way: an answer costs one look-up instead of a task.

    The class has more than 150 lines because no other may touch nats-py's inside.

    `answered` gets the token of an answer, its body and its header block; `alive` is called at every PONG; `greeted`
    when the server's greeting came and a TLS handshake follows.
    """

    def __init__(self, answered: Answered, alive: Callable[[], None], greeted: Callable[[], None] = _nothing) -> None:
        super().__init__()
        self._answered = answered
        self._alive = alive
        self._greeted = greeted
        self._inbox_sid = -1
        self._token_at = 0
        self._listeners: dict[int, Listener] = {}
        self._ps: Parser = Parser(self, answered)  # type: ignore[assignment]

    async def open_inbox(self) -> bytes:
        """Subscribes to an inbox of our own; the prefix of its reply subjects."""
        inbox = self.new_inbox()
        subscription: Subscription = await self.subscribe(inbox + ".*", cb=_never_called)
        prefix = inbox.encode() + b"."
        self._inbox_sid, self._token_at = subscription._id, len(prefix)
        sid = self._inbox_sid
        self._ps.answer = re.compile(rb"MSG %b([0-9]{1,15}) %d ([0-9]{1,10})\r\n" % (re.escape(prefix), sid))
        return prefix

    def listen(self, listener: Listener) -> tuple[int, bytes]:
        """Another inbox of our own, for messages that keep their subjects: its number, and its subject."""
        self._sid += 1
        self._listeners[self._sid] = listener
        return self._sid, self.new_inbox().encode()

    def unlisten(self, sid: int) -> None:
        """Ends that inbox: its messages go to no listener any more."""
        del self._listeners[sid]

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        if sid == self._inbox_sid:
            if _TOKEN.fullmatch(token := subject[self._token_at :]):  # whoever knows the inbox can send to it
                self._answered(int(token), data, headers)
        elif listener := self._listeners.get(sid):
            listener(subject, reply, data, headers)
        else:
            await super()._process_msg(sid, subject, reply, data, headers)  # type: ignore[arg-type]

    async def _process_ping(self) -> None:
        """Not by way of nats-py's list of what is to be sent, which has no bound."""
        if self.buffered <= _PONG_BYTES:
            self.writer.write(PONG)

    async def _process_pong(self) -> None:
        """Our own probes are no futures in nats-py's list: one that it times out there kills its read loop.

        A future that nothing waits for any more, since its flush was cancelled, is dropped here: nats-py 2.16 would set
        its result all the same, and print a traceback.
        """
        self._alive()
        if self._pongs and self._pongs[0].done():
            self._pongs.pop(0)
        elif self._pongs:
            await super()._process_pong()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """As nats-py does; also, who asks for TLS gets it or no connection, and `max_payload` is kept up to date.

        The addresses of other servers are dropped: we connect to those of the settings, and nats-py would keep them
        all. Raises Garbage where there is no `max_payload` that a message fits into.
        """
        server = self._current_server
        tls_asked = "tls" in self.options or (server and server.uri.scheme == "tls")
        if initial_connection and tls_asked:
            if not (info.get("tls_required") or info.get("tls_available")):
                raise OSError("TLS is asked for (tls://, or NATS_TLS_CA), but the server offers no TLS")
            info["tls_required"] = True
            self._greeted()
        if (most := payload_of(info)) is not None:
            self._max_payload = info["max_payload"] = most
        info.pop("connect_urls", None)
        await super()._process_info(info, initial_connection)

    @property
    def writer(self) -> asyncio.StreamWriter:
        """The stream that protocol frames are written to."""
        writer = self._transport._io_writer if isinstance(self._transport, TcpTransport) else None
        if writer is None:
            raise OSError("not connected")
        return writer

    def put(self, frames: Sequence[Buffer]) -> None:
        """Sends frames, in order: what the kernel takes at once from where it is, the rest by way of `writer`.

        There Python 3.11 copies all into one, every byte of a large file once more. Raises OSError.
        """
        layers = self._layers
        if len(layers) == 1 and len(frames) <= _MOST_FRAMES and not layers[0].get_write_buffer_size():
            with suppress(BlockingIOError):
                frames = beyond(frames, os.writev(layers[0].get_extra_info("socket").fileno(), frames))
        if frames:
            self.writer.writelines(frames)

    @property
    def buffered(self) -> int:
        """Bytes that wait in this process: with TLS also those under it, which asyncio does not count (3.11)."""
        size = 0
        for layer in self._layers:
            with suppress(AttributeError):  # a TLS transport that was closed twice has nothing any more (asyncio 3.11)
                size += layer.get_write_buffer_size()
        return size

    @property
    def _layers(self) -> list[asyncio.WriteTransport]:
        """The transport of `writer`, and the one under it where that is TLS."""
        bare = self._transport._bare_io_writer if isinstance(self._transport, TcpTransport) else None
        return list(dict.fromkeys(writer.transport for writer in (self.writer, bare) if writer is not None))

    @property
    def socket(self) -> socket.socket | None:
        """The connection's own, if there is one."""
        with suppress(OSError):
            found: socket.socket | None = self._layers[-1].get_extra_info("socket")
            return found
        return None

    @property
    def arriving(self) -> int:
        """Bytes of a message that has not come to its end yet."""
        return self._ps.arriving

    @property
    def server(self) -> dict[str, str]:
        """The server's own words on who it is: `server_name`, `server_id`, `version`."""
        return {key: str(self._server_info.get(key, "")) for key in ("server_name", "server_id", "version")}

    @property
    def domain(self) -> str | None:
        """The domain of the server's JetStream, as its greeting tells it; None where it tells none."""
        found = self._server_info.get("domain")
        return found if isinstance(found, str) and found else None

    @property
    def cluster(self) -> str:
        """The name of the server's cluster; empty where it stands alone."""
        return str(self._server_info.get("cluster", ""))

    @property
    def tls(self) -> tuple[str, str] | None:
        """TLS's version, and until when the server's certificate is valid, as `ssl` writes that; None without TLS.

        None also where the connection has ended meanwhile.
        """
        try:
            ssl_object = self.writer.get_extra_info("ssl_object")
        except OSError:
            return None
        if ssl_object is None:
            return None
        return str(ssl_object.version()), str(ssl_object.getpeercert().get("notAfter", ""))

    async def discard(self) -> None:
        """Ends the connection by a reset: nothing that is still buffered, here or in the kernel, is ever sent."""
        with suppress(OSError):
            # Without this, close(2) leaves what is in the kernel's send queue to be sent later.
            if (raw := self.socket) is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            for layer in self._layers:
                layer.abort()
        self._pending = []
        self._pending_data_size = 0
        with suppress(Exception):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.close()


def beyond(frames: Sequence[Buffer], taken: int) -> Sequence[Buffer]:
    """What is left of them behind so many bytes."""
    for number, frame in enumerate(frames):
        if taken < len(frame):
            return [memoryview(frame)[taken:], *frames[number + 1 :]]
        taken -= len(frame)
    return []


def in_words(error: Exception | None) -> bool:
    """Whether this is what the server said (-ERR, or what is not the protocol), and no failure of the connection."""
    failures = (nats.errors.StaleConnectionError, nats.errors.TimeoutError)
    return isinstance(error, nats.errors.Error | Garbage) and not isinstance(error, failures)


@asynccontextmanager
async def readable() -> AsyncIterator[None]:
    """For the time of connecting: nats-py takes a greeting for what it should be, and stumbles over any other."""
    try:
        yield
    except (OSError, nats.errors.Error):
        raise
    except Exception as error:
        raise Garbage(f"the server's greeting can't be read: {error!r}") from error


async def _never_called(_message: object) -> None:
    """nats-py asks for a callback. It is not called, because `_process_msg` takes the messages of our inbox."""
