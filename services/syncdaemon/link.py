"""The connection to the server: one supervisor owns it, and builds a new one for ever.

A nats-py client lives for one connection and is thrown away with it. Its own reconnect is never used: on a
half-open link it hangs in waiting for bytes that nobody will take, and afterwards it sends what the caller has
long given up (nats-py 2.16; issue nats-io/nats.py#671). So this module has its own inbox, its own map of what is
unanswered and its own probe, and on any trouble it aborts the transport, so that nothing is flushed late, and
tells everybody who waits for an answer that it is in doubt.

All that touches nats-py's inside is in this module; `tests/integration/test_link.py` fails where an upgrade moves it.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import random
import re
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from syncdaemon import pace
from syncdaemon.errors import LinkDown

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 0.5
SILENT_SECONDS = 4.0  # neither an answer nor a byte taken by the peer for so long: the link is dead
PROVED_SECONDS = 5.0  # how long a proof of life counts
_BUFFER = 1 << 20  # bytes that the kernel, and we ourselves, keep for a peer that is slow to take them
STABLE_SECONDS = 5.0  # a connection that lived so long ends a row of failures

STOPPED = "stopped"  # the reason of a loss that is our own doing

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LinkSettings:
    """Where to connect to, and as whom."""

    urls: tuple[str, ...]
    name: str
    creds: Path | None = None
    nkey_seed: Path | None = None
    user: str | None = None
    password: str | None = None
    token: str | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def options(self) -> dict[str, Any]:
        """The options of nats-py's connect for these settings. Files are read at each connect."""
        options: dict[str, Any] = {
            "user_credentials": str(self.creds) if self.creds else None,
            "nkeys_seed": str(self.nkey_seed) if self.nkey_seed else None,
            "user": self.user,
            "password": self.password,
            "token": self.token,
        }
        if self.tls_ca or self.tls_cert or any(url.startswith("tls://") for url in self.urls):
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_cert:
                context.load_cert_chain(self.tls_cert, self.tls_key)
            options["tls"] = context
        return options


class Sink(Protocol):
    """Waits for answers. Each message that was sent gets exactly one of the two calls, once."""

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        """The answer to message `key` came, `latency` seconds after it was sent."""

    def lost(self, reason: str) -> None:
        """The connection is gone; what was not answered until now never will be."""


class _Reply:
    """The sink of a single request."""

    def __init__(self) -> None:
        self.future: asyncio.Future[tuple[bytes, bytes | None]] = asyncio.get_running_loop().create_future()

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        if not self.future.done():
            self.future.set_result((data, headers))

    def lost(self, reason: str) -> None:
        if not self.future.done():
            self.future.set_exception(LinkDown(reason))


class _Parser(Parser):
    """nats-py's parser behind a short cut for plain answers to our inbox, which are nearly all that ever comes."""

    answer: re.Pattern[bytes] | None = None
    answered: Callable[[int, bytes, bytes | None], None]

    async def parse(self, data: bytes = b"") -> None:
        if self.answer is not None and self.state == AWAITING_CONTROL_LINE:
            data = self._take_answers(bytes(self.buf) + data if self.buf else data, self.answer)
            self.buf.clear()
        if data:
            await super().parse(data)

    def _take_answers(self, data: bytes, answer: re.Pattern[bytes]) -> bytes:
        """Consumes whole answers from the front of `data`; what is left."""
        at = 0
        while match := answer.match(data, at):
            start = match.end()
            end = start + int(match[2])
            if end + 2 > len(data):
                break
            self.answered(int(match[1]), data[start:end], None)
            at = end + 2
        return data[at:] if at else data


class _Client(Client):
    """nats-py's client, with our inbox taken out of its way: an answer costs one look-up instead of a task."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._inbox_sid = -1
        self._token_at = 0
        self._ps: _Parser = _Parser(self)
        self._ps.answered = session._answered

    async def open_inbox(self) -> bytes:
        """Subscribes to an inbox of our own; the prefix of its reply subjects."""
        inbox = self.new_inbox()
        subscription: Subscription = await self.subscribe(inbox + ".*", cb=_nobody)
        prefix = inbox.encode() + b"."
        self._inbox_sid, self._token_at = subscription._id, len(prefix)
        self._ps.answer = re.compile(rb"MSG %b(\d+) \d+ (\d+)\r\n" % re.escape(prefix))
        return prefix

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        if sid == self._inbox_sid:
            self._session._answered(int(subject[self._token_at :]), data, headers)
        else:
            await super()._process_msg(sid, subject, reply, data, headers)  # type: ignore[arg-type]

    async def _process_pong(self) -> None:
        """Our own probes are no futures in nats-py's list: one that it times out there kills its read loop."""
        self._session.proved_at = time.monotonic()
        if self._pongs:
            await super()._process_pong()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Beside what nats-py does: `tls://` means TLS or nothing, and `max_payload` follows a reload."""
        if initial_connection and self._current_server and self._current_server.uri.scheme == "tls":
            if not (info.get("tls_required") or info.get("tls_available")):
                raise OSError("the URL says tls://, but the server offers no TLS")
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)
        self._max_payload = info.get("max_payload", self._max_payload)


class Session:
    """One connection, from connect to the first trouble."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.proved_at = 0.0
        self._client = _Client(self)
        self._waiting: dict[int, tuple[Sink, int, float]] = {}
        self._requests: dict[str, _Reply] = {}
        self._token = 0
        self._prefix = b""
        self._writer: asyncio.StreamWriter
        self._answered_at = 0.0
        self._newest_answered = 0.0
        self._written = self._taken = 0
        self._progress_at = 0.0

    async def open(self, settings: LinkSettings) -> None:
        """Connects. Raises OSError, TimeoutError or nats.errors.Error with the server's own words."""
        connecting = True

        async def error(exception: Exception) -> None:
            if connecting:
                raise exception
            if not self._denied(str(exception)):
                self.fail(str(exception) or type(exception).__name__)

        async def closed() -> None:
            self.fail(str(self._client.last_error or "the server closed the connection"))

        async def leaving() -> None:
            self.fail("the server is shutting down (lame duck)")

        async with asyncio.timeout(CONNECT_SECONDS):
            await self._client.connect(
                self.url,
                name=settings.name,
                error_cb=error,
                disconnected_cb=closed,
                closed_cb=closed,
                lame_duck_mode_cb=leaving,
                allow_reconnect=False,
                connect_timeout=CONNECT_SECONDS,  # type: ignore[arg-type]
                ping_interval=86_400,
                pending_size=-1,
                flush_timeout=SILENT_SECONDS,
                **settings.options(),
            )
            connecting = False
            self._prefix = await self._client.open_inbox()
            await self._client.flush(SILENT_SECONDS)  # type: ignore[arg-type]
        writer = self._client._transport._io_writer  # type: ignore[union-attr]
        assert writer is not None
        writer.transport.set_write_buffer_limits(high=_BUFFER)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._writer = writer
        self._progress_at = self._answered_at = self.proved_at = time.monotonic()

    @property
    def max_payload(self) -> int:
        """The most bytes, headers included, that the server takes in one message now."""
        return self._client.max_payload

    @property
    def server(self) -> dict[str, str]:
        """The server's own words on who it is: `server_name`, `server_id`, `version`."""
        info = self._client._server_info
        return {key: str(info.get(key, "")) for key in ("server_name", "server_id", "version")}

    def expect(self, sink: Sink, key: int) -> bytes:
        """A reply subject whose answer goes to `sink` as `key`. The message must be sent at once."""
        self._token += 1
        self._waiting[self._token] = (sink, key, time.monotonic())
        return b"%b%d" % (self._prefix, self._token)

    async def send(self, frames: list[bytes]) -> None:
        """Hands whole protocol frames to the connection and waits while it is full.

        Raises LinkDown where the connection is gone; how much of it was sent is not known.
        """
        if self.lost.done():
            raise LinkDown(self.lost.result())
        try:
            self._written += sum(map(len, frames))
            self._writer.writelines(frames)
            await self._writer.drain()
        except (OSError, RuntimeError) as error:
            self.fail(str(error) or type(error).__name__)
            raise LinkDown(self.lost.result()) from None

    async def request(self, subject: str, payload: bytes = b"", headers: bytes = b"") -> tuple[bytes, bytes | None]:
        """Sends a request; the answer's body, and its header block if it has one.

        Raises LinkDown, or PermissionError where the server does not let us.
        """
        reply = self._requests[subject.lower()] = _Reply()
        try:
            await self.send([frame(subject.encode(), self.expect(reply, 0), headers, payload)])
            return await reply.future
        finally:
            self._requests.pop(subject.lower(), None)

    def _denied(self, text: str) -> bool:
        """Whether the server's error is that one request may not be sent: then only that one fails.

        nats-py hands the text on in small letters, with the subject in quotes.
        """
        if "permissions violation for publish to" not in text:
            return False
        reply = self._requests.get(text.partition('"')[2].rpartition('"')[0])
        if reply is None or reply.future.done():
            return False
        reply.future.set_exception(PermissionError(text.removeprefix("nats: ")))
        return True

    async def request_json(self, subject: str, payload: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The same for a JSON API; None where nobody answers to the subject."""
        data, headers = await self.request(subject, json.dumps(payload).encode() if payload else b"")
        if headers is not None and headers.startswith(b"NATS/1.0 503"):
            return None
        answer: dict[str, Any] = json.loads(data)
        return answer

    def fail(self, reason: str) -> None:
        """The connection is of no use any more."""
        if not self.lost.done():
            self.lost.set_result(reason)

    def _answered(self, token: int, data: bytes, headers: bytes | None) -> None:
        now = time.monotonic()
        self.proved_at = self._answered_at = now
        waiting = self._waiting.pop(token, None)
        if waiting is not None:
            sink, key, sent = waiting
            self._newest_answered = sent
            sink.answered(key, data, headers, now - sent)

    async def watch(self) -> str:
        """Probes the connection until it fails; the reason."""
        while not self.lost.done():
            await asyncio.wait((self.lost,), timeout=PROBE_SECONDS)
            self._sweep(time.monotonic())
        return self.lost.result()

    def _sweep(self, now: float) -> None:
        if self.lost.done():
            return
        if now - self.proved_at >= PROBE_SECONDS:
            self._writer.write(b"PING\r\n")
            self._written += 6
        taken = self._written - self._unsent()
        if taken > self._taken:
            self._taken, self._progress_at = taken, now
        if now - max(self.proved_at, self._progress_at) > SILENT_SECONDS:
            self.fail(f"the server has been silent for {SILENT_SECONDS:g} seconds")
        if self._waiting:
            sent = next(iter(self._waiting.values()))[2]
            if pace.overdue(now, sent, self._answered_at, self._newest_answered):
                self.fail(f"a message was not answered within {pace.ANSWER_SECONDS:g} seconds")

    def _unsent(self) -> int:
        """Bytes that the peer's kernel has not acknowledged yet: SIOCOUTQ of tcp(7), plus our own buffer."""
        transport = self._writer.transport
        raw = transport.get_extra_info("socket")
        if raw is None or raw.fileno() < 0:
            return 0
        (queued,) = struct.unpack("i", fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, b"\0" * 4))
        return int(queued) + transport.get_write_buffer_size()

    async def abort(self) -> None:
        """Ends the connection so that nothing that is still buffered is ever sent, and tells all who wait."""
        self.fail(STOPPED)
        waiting, self._waiting = self._waiting, {}
        for sink in {id(sink): sink for sink, _, _ in waiting.values()}.values():
            sink.lost(self.lost.result())
        transport = self._client._transport
        if transport is not None and (writer := getattr(transport, "_io_writer", None)) is not None:
            writer.transport.abort()
        self._client._pending = []
        self._client._pending_data_size = 0
        with suppress(Exception):
            async with asyncio.timeout(1.0):
                await self._client.close()


class Link:
    """Keeps a session up. `changed` is told of every change: the session that came up, or the reason of the loss."""

    def __init__(self, settings: LinkSettings, changed: Callable[[Session | None, str], None]) -> None:
        self._settings = settings
        self._changed = changed
        self._up = asyncio.Event()
        self._failures = 0
        self.session: Session | None = None
        self.connects = 0
        self.problem = "not connected yet"

    @property
    def shown_url(self) -> str:
        """Where we are connected to, or try to; without user and password."""
        return _bare(self.session.url if self.session else self._settings.urls[0])

    def proved(self) -> bool:
        """Whether the server has answered within the last seconds."""
        session = self.session
        return session is not None and time.monotonic() - session.proved_at <= PROVED_SECONDS

    async def wait_up(self) -> Session:
        """The session, as soon as there is one."""
        while self.session is None:
            await self._up.wait()
        return self.session

    async def run(self) -> None:
        """For ever: connect, watch, drop, wait."""
        turn = 0
        while True:
            url = self._settings.urls[turn % len(self._settings.urls)]
            turn += 1
            reached = await self._live(Session(url))
            await asyncio.sleep(pace.retry_delay(self._failures, reached, random.random()))

    async def _live(self, session: Session) -> bool:
        """One session from its first byte to its last; whether the server was reached at all."""
        began = time.monotonic()
        try:
            await session.open(self._settings)
        except Exception as error:
            reason = _explain(error, session.url)
            if reason != self.problem:
                log.warning("no_connection", url=_bare(session.url), reason=reason)
            self.problem = reason
            self._failures += 1
            await session.abort()
            return not isinstance(error, OSError | TimeoutError) or isinstance(error, ssl.SSLError)
        except asyncio.CancelledError:
            await session.abort()
            raise
        self._rise(session)
        try:
            self.problem = await session.watch()
        finally:
            await self._fall(session)
        self._failures = 1 if time.monotonic() - began > STABLE_SECONDS else self._failures + 1
        return True

    def _rise(self, session: Session) -> None:
        self.session, self.problem = session, ""
        self.connects += 1
        self._up.set()
        self._changed(session, "")

    async def _fall(self, session: Session) -> None:
        self.session = None
        self._up.clear()
        await session.abort()
        self._changed(None, session.lost.result())


def frame(subject: bytes, reply: bytes, headers: bytes, payload: bytes) -> bytes:
    """One HPUB (or PUB, without headers) of the client protocol. Subject and headers must be clean."""
    if headers:
        size = len(headers)
        return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject, reply, size, size + len(payload), headers, payload)
    return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(payload), payload)


async def _nobody(_message: object) -> None:
    """The callback that nats-py asks for; our inbox never gets there."""


def _bare(url: str) -> str:
    """The URL without user and password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _explain(error: Exception, url: str) -> str:
    text = (str(error) or type(error).__name__).removeprefix("nats: ").strip("'")
    if isinstance(error, TimeoutError):
        text = f"no answer within {CONNECT_SECONDS:g} seconds"
    if "uthorization" in text or "uthentication" in text:
        text = f"{text}: the server refused the credentials; check NATS_CREDS, NATS_NKEY_SEED, NATS_USER or NATS_TOKEN"
    return f"{_bare(url)}: {text}"
