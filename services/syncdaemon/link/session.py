"""One connection: what waits for which answer, and what all of them get at its end.

The module has more than 250 lines because its one class is the door through which all others use a connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from syncdaemon.base.errors import LinkDown, NotAnswered
from syncdaemon.base.timetable import OFF
from syncdaemon.link import pace
from syncdaemon.link.conversation import Conversation, Reply, Requests, Sink
from syncdaemon.link.frame import FRAME_BYTES, Buffer, frame, guard, subscribe
from syncdaemon.link.inbound import most_of
from syncdaemon.link.limit import Limit
from syncdaemon.link.options import LinkSettings
from syncdaemon.link.parser import Answered
from syncdaemon.link.pulse import PROBE_SECONDS, RESTING_SECONDS
from syncdaemon.link.wire import Wire

STOPPED = "stopped"  # the reason of a loss that is our own doing

MakeWire = Callable[[Answered, Callable[[str], bool], Limit], Wire]


def always() -> bool:
    """Whoever visits a server for a while is never idle."""
    return True


class Session:
    """One connection, from connect to the first trouble.

    The class has more than 150 lines because it is the one door through which all other folders use a connection. Its
    methods are short: bytes are the matter of `Wire`, speed that of `Gate`, and what is asked that of `Requests`.
    """

    def __init__(
        self, url: str, limit: Limit | None = None, step: pace.Step | None = None, *, wire: MakeWire = Wire
    ) -> None:
        """`limit`: what bounds all that is sent, over this connection and those before it; `step`: the last one's."""
        self.url = url
        self._requests = Requests()
        self._wire = wire(self._answered, self._requests.denied, limit or Limit(OFF))
        self.lost = self._wire.lost
        self._client = self._wire.client
        self._pulse = self._wire.pulse
        self._gate = self._wire.gate
        self.window = self._gate.window  # what is in flight, and what is known of the link
        self._step = step or pace.Step()
        self._waiting: dict[int, tuple[Sink, int, float, int]] = {}
        self._token = 0
        self._piece = (0, 0)  # messages and bytes that are expected to leave with the next `send`
        self._prefix = b""
        self.js_domain = ""  # of the JetStream whose API is asked; empty: the server's own

    async def open(self, settings: LinkSettings) -> None:
        """Connects. Raises OSError, TimeoutError or nats.errors.Error with the server's own words."""
        self.js_domain = settings.js_domain
        self._prefix = await self._wire.open(self.url, settings)

    @property
    def max_payload(self) -> int:
        """The most bytes, headers included, that the server takes in one message now."""
        return self._client.max_payload

    @property
    def largest(self) -> int:
        """The most bytes, headers included, of a message that may come from the server now."""
        return most_of(self.max_payload)

    @property
    def server(self) -> dict[str, str]:
        """The server's own words on who it is: `server_name`, `server_id`, `version`."""
        return self._client.server

    @property
    def domain(self) -> str | None:
        """The domain of the server's JetStream, as its greeting tells it; None where it tells none."""
        return self._client.domain

    @property
    def cluster(self) -> str:
        """The name of the server's cluster; empty where it stands alone."""
        return self._client.cluster

    @property
    def tls(self) -> tuple[str, str] | None:
        """TLS's version, and until when the server's certificate is valid, as `ssl` writes that; None without TLS."""
        return self._client.tls

    @property
    def sent_away(self) -> bool:
        """Whether it was the server that ended the connection, in words of its own."""
        return self._wire.sent_away

    @property
    def proved_at(self) -> float:
        """When the server last gave a sign of life, by `time.monotonic`."""
        return self._pulse.proved_at

    def proved(self) -> bool:
        """Whether the server has given a sign of life lately. `Pulse` says what that means on an idle connection."""
        return self._pulse.proved(time.monotonic())

    @property
    def arriving(self) -> int:
        """Bytes of a message that has not come to its end yet."""
        return self._client.arriving

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
        """How large the parts of a large file are best made now, in bytes."""
        return self._gate.chunk(self.step)

    async def room(self, bulk: bool = False) -> int:
        """Waits until the link takes more; how many bytes of messages are best sent now, at once.

        Whoever sends more than a request or two calls `room`, then `expect` for each message, then `send`, and awaits
        nothing in between. A single message may be larger. `bulk`: for a part of a large file, which leaves half of the
        link to messages. Raises LinkDown.
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
        """`sink` waits no longer; an answer that comes for it is dropped."""
        self._waiting = {token: waiting for token, waiting in self._waiting.items() if waiting[0] is not sink}

    async def send(self, frames: Sequence[Buffer]) -> None:
        """Hands the parts of whole protocol frames to the connection and waits while it is full.

        Raises LinkDown where the connection is gone; how much of it was sent is not known.
        """
        if self.lost.done():
            raise LinkDown(self.lost.result())
        if self._pulse.rests:  # the silence of the server counts from here on
            self._pulse.want(time.monotonic(), True)
        (messages, size), self._piece = self._piece, (0, 0)
        if messages:
            self._gate.sent(time.monotonic(), size, messages)
        await self._wire.write(frames)

    async def request(
        self, subject: str, payload: bytes = b"", headers: bytes = b"", counted: bool = False
    ) -> tuple[bytes, bytes | None]:
        """Sends a request; the answer's body, and its header block if it has one.

        `counted`: it counts as in flight, and so for what is known of the link.
        Without headers it is a question, else a message that may be stored. A message that is not answered in time
        ends the connection, and is in doubt. A question that is not answered ends nothing but itself.
        Raises LinkDown, Unsendable, or PermissionError where the server does not permit the request; NotAnswered, which
        is one, where it answers others and not this question.
        """
        guard(subject.encode(), headers)  # before anything waits for an answer
        reply = Reply(subject, asks=not headers)
        with self._requests.under_way(subject, reply):
            size = len(subject) + len(headers) + len(payload) + FRAME_BYTES if counted else 0
            expected = self.expect(reply, 0, size)
            token = self._token
            try:
                await self.send(frame(subject.encode(), expected, headers, payload))
                return await reply.future
            finally:
                self._waiting.pop(token, None)  # a request that was denied, or given up, is waited for no longer

    @asynccontextmanager
    async def converse(self, subject: str) -> AsyncIterator[Conversation]:
        """For requests to `subject` whose answers are many messages each. Raises LinkDown, Unsendable."""
        guard(subject.encode())
        conversation = Conversation(self, subject)
        with self._requests.under_way(subject, conversation):
            conversation.sid, conversation.inbox = self._client.listen(conversation.hear)
            try:
                await self.send(subscribe(conversation.inbox + b".*", conversation.sid))
                yield conversation
            finally:
                self._client.unlisten(conversation.sid)
                with suppress(LinkDown):
                    await conversation.hang_up()

    def fail(self, reason: str) -> None:
        """The connection is of no use any more."""
        self._wire.fail(reason)

    def goes_on(self) -> None:
        """The server is at work for us, even if it has not answered yet."""
        self._pulse.goes_on(time.monotonic())

    async def watch(self, something_waits: Callable[[], bool] = always) -> str:
        """Probes the connection until it fails; the reason.

        `something_waits`: whether there is something to send. Where there is, or a request is unanswered, the server
        is probed often; else seldom, as `LinkSettings.probe_seconds` says.
        """
        while not self.lost.done():
            await asyncio.wait((self.lost,), timeout=RESTING_SECONDS if self._pulse.rests else PROBE_SECONDS)
            self._sweep(time.monotonic(), something_waits)
        return self.lost.result()

    async def abort(self) -> None:
        """Ends the connection so that nothing that is still buffered is ever sent, and informs all that waits."""
        self._wire.fail(STOPPED)
        waiting, self._waiting = self._waiting, {}
        for sink in {id(sink): sink for sink, _, _, _ in waiting.values()}.values():
            sink.lost(self.lost.result())
        await self._wire.discard()

    def _answered(self, token: int, data: bytes, headers: bytes | None) -> None:
        now = time.monotonic()
        waiting = self._waiting.pop(token, None)
        if waiting is None:
            self._pulse.answered(now)
            return
        sink, key, sent, size = waiting
        self._pulse.answered(now, sent)
        if size:
            self._gate.answered(now, size)
        else:
            self.window.measured(now, now - sent)
        sink.answered(key, data, headers, now - sent)

    def _sweep(self, now: float, something_waits: Callable[[], bool]) -> None:
        if not self.lost.done():
            self._pulse.want(now, bool(self._waiting or self._requests.unanswered) or something_waits())
            self._wire.look(now)
            self._look_for_overdue(now)

    def _look_for_overdue(self, now: float) -> None:
        while self._waiting:
            token, (sink, _, sent, _) = next(iter(self._waiting.items()))
            if not self._pulse.overdue(now, sent):
                return
            within = f"within {pace.ANSWER_SECONDS:g} seconds"
            if not isinstance(sink, Reply) or not sink.asks:
                self.fail(f"a message was not answered {within}")
                return
            del self._waiting[token]
            sink.unanswered(NotAnswered(f"no answer to {sink.subject} {within}"))
