"""One connection: who waits for which answer, whether the peer still lives, and its end."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, Protocol

from syncdaemon.base.errors import LinkDown
from syncdaemon.base.timetable import OFF
from syncdaemon.link import kernel, pace
from syncdaemon.link.client import Buffer, Client, Listener, in_words
from syncdaemon.link.frame import FRAME_BYTES, frame
from syncdaemon.link.gate import Gate
from syncdaemon.link.limit import Limit
from syncdaemon.link.options import LinkSettings

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 0.5
SILENT_SECONDS = 4.0  # neither an answer nor a byte taken by the peer for so long: the link is dead
STOPPED = "stopped"  # the reason of a loss that is our own doing
_FULL_SECONDS = 0.01  # between two looks at a buffer that nobody tells of
_SOME_PAYLOAD = 1 << 10  # bytes: more than all probes that can wait
_REMEMBERED = 1_000  # subjects of requests
_BUFFER = 1 << 20  # bytes that wait in this process for the kernel to take them, beside its own buffer


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


class Heard(NamedTuple):
    """One of many answers: `subject` is the message's own, `reply` the one that it could be answered at."""

    subject: bytes
    reply: bytes
    data: bytes
    headers: bytes | None


class Conversation:
    """Requests to one subject that are each answered by any number of messages; `Session.converse` makes it."""

    def __init__(self, session: Session, subject: str) -> None:
        self._session = session
        self._subject = subject.encode()
        self._heard: deque[Heard] = deque()
        self._more = asyncio.Event()
        self._asked = 0
        self._reply = b""
        self.inbox = b""
        self.sid = 0
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # only ever gets an error

    def hear(self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        """An answer came. On a slow link those to acknowledgements and probes may well be behind it."""
        if data:
            self._session.goes_on()
        self._heard.append(Heard(subject, reply, data, headers))
        self._more.set()

    async def ask(self, payload: bytes) -> None:
        """Sends one request. Raises LinkDown."""
        self._asked += 1
        self._reply = b"%b.%d" % (self.inbox, self._asked)
        await self._session.send(frame(self._subject, self._reply, b"", payload))

    async def hang_up(self) -> None:
        """Asks the server to send nothing more; what it has sent by then can still be heard. Raises LinkDown."""
        await self._session.send([b"UNSUB %d\r\n" % self.sid])

    def rest(self) -> list[Heard]:
        """What has come and was not taken."""
        heard, self._heard = list(self._heard), deque()
        return heard

    async def next(self, within: float) -> Heard:
        """The next answer; of what the server says itself, on a reply subject, only that of the newest request.

        Raises LinkDown, PermissionError where we may not ask, TimeoutError where none comes for `within` seconds.
        """
        while True:
            while not self._heard:
                await self._some(within)
            heard = self._heard.popleft()
            if heard.reply or heard.subject == self._reply:
                return heard

    async def _some(self, within: float) -> None:
        self._more.clear()
        waiting = asyncio.ensure_future(self._more.wait())
        try:
            ends = (waiting, self.future, self._session.lost)
            done, _ = await asyncio.wait(ends, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self.future in done:
            self.future.result()
        if self._session.lost in done:
            raise LinkDown(self._session.lost.result())
        if not done:
            raise TimeoutError


class Session:
    """One connection, from connect to the first trouble."""

    def __init__(self, url: str, limit: Limit | None = None, step: pace.Step | None = None) -> None:
        """`limit`: what bounds all that is sent, over this connection and those before it; `step`: the last one's."""
        self.url = url
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.sent_away = False
        self.proved_at = 0.0
        self._client = Client(self._answered, self._alive)
        self._gate = Gate(self.lost, self._gap, limit or Limit(OFF))
        self._step = step or pace.Step()
        self._waiting: dict[int, tuple[Sink, int, float, int]] = {}
        self._requests: defaultdict[str, set[_Reply | Conversation]] = defaultdict(set)
        self._token = 0
        self._piece = (0, 0)  # messages and bytes that are expected to leave with the next `send`
        self._prefix = b""
        self._writer: asyncio.StreamWriter
        self._answered_at = 0.0
        self._newest_answered = 0.0
        self._written = self._taken = 0
        self._waited = False
        self._arriving = 0
        self._progress_at = 0.0

    async def open(self, settings: LinkSettings) -> None:
        """Connects. Raises OSError, TimeoutError or nats.errors.Error with the server's own words."""
        connecting = True

        async def error(exception: Exception) -> None:
            if connecting:
                raise exception
            if not self._denied(str(exception)):
                self.fail(str(exception) or type(exception).__name__, in_words(exception))

        async def closed() -> None:
            self._closed()

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
            began = time.monotonic()
            await self._client.flush(SILENT_SECONDS)  # type: ignore[arg-type]
            self.window.measured(time.monotonic(), time.monotonic() - began)
        writer = self._client.writer
        writer.transport.set_write_buffer_limits(high=_BUFFER)
        self._writer = writer
        self._progress_at = self._answered_at = self.proved_at = time.monotonic()

    @property
    def max_payload(self) -> int:
        """The most bytes, headers included, that the server takes in one message now."""
        return self._client.max_payload

    @property
    def server(self) -> dict[str, str]:
        """The server's own words on who it is: `server_name`, `server_id`, `version`."""
        return self._client.server

    @property
    def cluster(self) -> str:
        """The name of the server's cluster; empty where it stands alone."""
        return self._client.cluster

    @property
    def tls(self) -> tuple[str, str] | None:
        """TLS's version, and until when the server's certificate is valid, as `ssl` writes that; None without TLS."""
        return self._client.tls

    @property
    def window(self) -> pace.Window:
        """What is in flight, and what is known of the link."""
        return self._gate.window

    @property
    def rate(self) -> float | None:
        """Bytes a second that may be sent, as far as is known; None where nothing is."""
        return self._gate.rate

    @property
    def step(self) -> pace.Step:
        """How much the link takes in about a second."""
        self._step = self._gate.step(self._step)
        return self._step

    @property
    def chunk(self) -> int:
        """Into how large parts a file is best cut now, in bytes."""
        return self._gate.chunk(self.step)

    async def room(self, bulk: bool = False) -> int:
        """Waits until the link takes more; how many bytes of messages are best sent now, at once.

        For everything that is more than a request or two: `room`, then `expect` for each message, and `send`, with
        nothing awaited in between. A single message may be larger. `bulk`: for a part of a large file, that leaves half
        of the link to messages. Raises LinkDown.
        """
        return await self._gate.room(bulk)

    def expect(self, sink: Sink, key: int, size: int = 0) -> bytes:
        """A reply subject whose answer goes to `sink` as `key`. The message must be sent at once.

        `size`: its bytes on the way; 0 for a request, which is not counted as in flight.
        """
        self._token += 1
        self._waiting[self._token] = (sink, key, time.monotonic(), size)
        if size:
            messages, total = self._piece
            self._piece = (messages + 1, total + size)
        return b"%b%d" % (self._prefix, self._token)

    def release(self, sink: Sink) -> None:
        """Nobody waits for these answers any more; one that comes is dropped."""
        self._waiting = {token: waiting for token, waiting in self._waiting.items() if waiting[0] is not sink}

    async def send(self, frames: Sequence[Buffer]) -> None:
        """Hands the parts of whole protocol frames to the connection and waits while it is full.

        Raises LinkDown where the connection is gone; how much of it was sent is not known.
        """
        if self.lost.done():
            raise LinkDown(self.lost.result())
        (messages, size), self._piece = self._piece, (0, 0)
        if messages:
            self._gate.sent(time.monotonic(), size, messages)
        await self._write(frames)

    async def _write(self, frames: Sequence[Buffer]) -> None:
        if self._writer.is_closing():  # nats-py tells of it later
            self._closed()
            raise LinkDown(self.lost.result())
        try:
            self._written += sum(map(len, frames))
            self._client.put(frames)
            await self._writer.drain()
            while not self.lost.done() and self._client.buffered > _BUFFER:  # TLS takes all at once
                await asyncio.wait((self.lost,), timeout=_FULL_SECONDS)
        except (OSError, RuntimeError) as error:
            self.fail(str(error) or type(error).__name__)
            raise LinkDown(self.lost.result()) from None
        if self.lost.done():
            raise LinkDown(self.lost.result())

    async def request(
        self, subject: str, payload: bytes = b"", headers: bytes = b"", counted: bool = False
    ) -> tuple[bytes, bytes | None]:
        """Sends a request; the answer's body, and its header block if it has one.

        `counted`: as in flight, and so in what is known of the link.
        Raises LinkDown, or PermissionError where the server does not let us.
        """
        reply, alike = _Reply(), self._alike(subject)
        alike.add(reply)
        try:
            size = len(subject) + len(headers) + len(payload) + FRAME_BYTES if counted else 0
            await self.send(frame(subject.encode(), self.expect(reply, 0, size), headers, payload))
            return await reply.future
        finally:
            alike.discard(reply)
            reply.future.cancel()  # nobody waits for it where it could not be sent

    def _alike(self, subject: str) -> set[_Reply | Conversation]:
        """The requests to this subject that are under way. Subjects of the past are remembered, but not for ever."""
        if len(self._requests) > _REMEMBERED:
            self._requests = defaultdict(set, {known: some for known, some in self._requests.items() if some})
        return self._requests[subject.lower()]

    def _denied(self, text: str) -> bool:
        """Whether the server's error is that a request may not be sent: then only that fails, not the connection.

        Of several under way at once the first error fails all, and each of the others is told of once more.
        nats-py hands the text on in small letters, with the subject in quotes.
        """
        if "permissions violation for publish to" not in text:
            return False
        alike = self._requests.get(text.partition('"')[2].rpartition('"')[0])
        for reply in alike or ():
            if not reply.future.done():
                reply.future.set_exception(PermissionError(text.removeprefix("nats: ")))
        return alike is not None

    async def request_json(self, subject: str, payload: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The same for a JSON API; None where nobody answers to the subject."""
        data, headers = await self.request(subject, json.dumps(payload).encode() if payload else b"")
        if headers is not None and headers.startswith(b"NATS/1.0 503"):
            return None
        answer: dict[str, Any] = json.loads(data)
        return answer

    @asynccontextmanager
    async def converse(self, subject: str) -> AsyncIterator[Conversation]:
        """For requests to `subject` whose answers are many messages each. Raises LinkDown."""
        conversation, alike = Conversation(self, subject), self._alike(subject)
        alike.add(conversation)
        try:
            async with self._listening(conversation.hear) as (conversation.sid, conversation.inbox):
                yield conversation
        finally:
            alike.discard(conversation)
            conversation.future.cancel()

    @asynccontextmanager
    async def _listening(self, heard: Listener) -> AsyncIterator[tuple[int, bytes]]:
        """A subscription, and the inbox below which it takes every subject; `heard` gets the messages."""
        sid, inbox = self._client.listen(heard)
        try:
            await self.send([b"SUB %b.* %d\r\n" % (inbox, sid)])
            yield sid, inbox
        finally:
            self._client.unlisten(sid)
            with suppress(LinkDown):
                await self.send([b"UNSUB %d\r\n" % sid])

    def fail(self, reason: str, sent_away: bool = False) -> None:
        """The connection is of no use any more; `sent_away`: the server itself says so."""
        if not self.lost.done():
            self.sent_away = sent_away
            self.lost.set_result(reason)

    def _closed(self) -> None:
        error = self._client.last_error
        self.fail(str(error or "the server closed the connection"), in_words(error))

    def _answered(self, token: int, data: bytes, headers: bytes | None) -> None:
        now = time.monotonic()
        self.proved_at = self._answered_at = now
        waiting = self._waiting.pop(token, None)
        if waiting is not None:
            sink, key, sent, size = waiting
            if size:
                self._gate.answered(now, size)
            else:
                self.window.measured(now, now - sent)
            self._newest_answered = max(sent, self._newest_answered)
            sink.answered(key, data, headers, now - sent)

    def _alive(self) -> None:
        self.proved_at = time.monotonic()

    def goes_on(self) -> None:
        """The server is at work for us, even if it has not answered yet."""
        self.proved_at = self._progress_at = time.monotonic()

    async def watch(self) -> str:
        """Probes the connection until it fails; the reason."""
        while not self.lost.done():
            await asyncio.wait((self.lost,), timeout=PROBE_SECONDS)
            self._sweep(time.monotonic())
        return self.lost.result()

    def _sweep(self, now: float) -> None:
        if self.lost.done():
            return
        self._look_for_progress(now)
        if now - self.proved_at >= PROBE_SECONDS:
            self._writer.write(b"PING\r\n")
            self._written += 6
        if now - max(self.proved_at, self._progress_at) > SILENT_SECONDS:
            self.fail(f"the server has been silent for {SILENT_SECONDS:g} seconds")
        self._look_for_overdue(now)

    def _look_for_overdue(self, now: float) -> None:
        if self._waiting:
            sent = next(iter(self._waiting.values()))[2]
            if pace.overdue(now, sent, max(self._answered_at, self._progress_at), self._newest_answered):
                self.fail(f"a message was not answered within {pace.ANSWER_SECONDS:g} seconds")

    def _look_for_progress(self, now: float) -> None:
        """A peer that goes on to take what waited for it is slow, not dead; so is one whose long answer goes on.

        Only payload that waited counts: the kernel of a frozen peer takes bytes, and our probes, for as long as its
        buffer has room.
        """
        arriving = self._client.arriving
        if arriving > self._arriving:
            self._progress_at = now
        self._arriving = arriving
        unsent = self._unsent()
        taken = self._written - unsent
        if self._waited and taken > self._taken:
            self._progress_at = now
        self._taken, self._waited = taken, unsent > _SOME_PAYLOAD

    def _unsent(self) -> int:
        """Bytes that the peer's kernel has not acknowledged yet, and those in our own buffer."""
        raw = self._client.socket
        return 0 if raw is None or raw.fileno() < 0 else kernel.unacknowledged(raw) + self._client.buffered

    def _gap(self) -> kernel.Gap | None:
        raw = self._client.socket
        return None if raw is None or raw.fileno() < 0 else kernel.gap(raw)

    async def abort(self) -> None:
        """Ends the connection so that nothing that is still buffered is ever sent, and tells all who wait."""
        self.fail(STOPPED)
        waiting, self._waiting = self._waiting, {}
        for sink in {id(sink): sink for sink, _, _, _ in waiting.values()}.values():
            sink.lost(self.lost.result())
        await self._client.discard()
