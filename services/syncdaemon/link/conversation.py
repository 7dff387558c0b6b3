"""Requests, and what waits for their answers: one answer each, or any number of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from syncdaemon.base.errors import LinkDown, NotAnswered
from syncdaemon.link.frame import Buffer, frame, unsubscribe

_REMEMBERED = 1_000  # subjects of requests
_MOST_WAITING, _WAITING_BYTES = 1 << 16, 64 << 20  # messages that were heard and not taken, and bytes of them
_AT_ONCE = 17  # of the largest that may come: 32 messages as large as the server's `max_payload`


class Sink(Protocol):
    """Waits for answers. Each message that was sent gets exactly one of the two calls, once."""

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        """The answer to message `key` came, `latency` seconds after it was sent."""

    def lost(self, reason: str) -> None:
        """The connection is gone; what was not answered until now never will be."""


class Connection(Protocol):
    """What a conversation asks of its session. `lost`: done when the connection is gone; its result is the reason."""

    lost: asyncio.Future[str]

    @property
    def largest(self) -> int: ...
    async def send(self, frames: Sequence[Buffer]) -> None: ...
    def fail(self, reason: str) -> None: ...
    def goes_on(self) -> None: ...


class Reply:
    """The sink of a single request to `subject`.

    `asks`: the request asks something, and stores nothing: where no answer comes, that is an answer too.
    """

    def __init__(self, subject: str = "", asks: bool = False) -> None:
        self.subject = subject
        self.asks = asks
        self.future: asyncio.Future[tuple[bytes, bytes | None]] = asyncio.get_running_loop().create_future()

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        """The answer came."""
        if not self.future.done():
            self.future.set_result((data, headers))

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        if not self.future.done():
            self.future.set_exception(LinkDown(reason))

    def unanswered(self, error: NotAnswered) -> None:
        """No answer will come any more, though the connection is sound."""
        if not self.future.done():
            self.future.set_exception(error)


class Heard(NamedTuple):
    """One of many answers: `subject` is the message's own, `reply` the one that it could be answered at."""

    subject: bytes
    reply: bytes
    data: bytes
    headers: bytes | None


class Conversation:
    """Requests to one subject that are each answered by any number of messages; `Session.converse` makes it.

    Its answers come to the subjects below `inbox`, which is the subscription of number `sid`. What waits here has a
    bound, far above what any request asks for: a server that sends more loses the connection.
    """

    def __init__(self, connection: Connection, subject: str) -> None:
        self._connection = connection
        self._subject = subject.encode()
        self._heard: deque[Heard] = deque()
        self._bytes = 0  # of what was heard and not taken
        self._more = asyncio.Event()
        self._asked = 0
        self._reply = b""
        self.inbox = b""
        self.sid = 0
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # only ever gets an error

    def hear(self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        """An answer came. It is a sign of life: on a slow link, answers to probes may have to wait behind it."""
        if data:
            self._connection.goes_on()
        self._bytes += len(data) + len(headers or b"")
        if len(self._heard) >= _MOST_WAITING or self._bytes > max(_WAITING_BYTES, _AT_ONCE * self._connection.largest):
            self._connection.fail("the server sent more than was asked for")
            return
        self._heard.append(Heard(subject, reply, data, headers))
        self._more.set()

    async def ask(self, payload: bytes, headers: bytes = b"") -> None:
        """Sends one request, with a header block or none. Raises LinkDown."""
        self._asked += 1
        self._reply = b"%b.%d" % (self.inbox, self._asked)
        await self._connection.send(frame(self._subject, self._reply, headers, payload))

    async def hang_up(self) -> None:
        """Asks the server to send nothing more; what it has sent by then can still be heard. Raises LinkDown."""
        await self._connection.send(unsubscribe(self.sid))

    def rest(self) -> list[Heard]:
        """What has come and was not taken."""
        heard, self._heard, self._bytes = list(self._heard), deque(), 0
        return heard

    async def next(self, within: float) -> Heard:
        """The next answer. What the server says itself, on a reply subject, counts only for the newest request.

        Raises LinkDown, PermissionError where the server does not permit the request, and TimeoutError where no answer
        comes for `within` seconds.
        """
        while True:
            while not self._heard:
                await self._some(within)
            heard = self._heard.popleft()
            self._bytes -= len(heard.data) + len(heard.headers or b"")
            if heard.reply or heard.subject == self._reply:
                return heard

    async def _some(self, within: float) -> None:
        lost = self._connection.lost
        self._more.clear()
        waiting = asyncio.ensure_future(self._more.wait())
        try:
            ends = (waiting, self.future, lost)
            done, _ = await asyncio.wait(ends, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self.future in done:
            self.future.result()
        if lost in done:
            raise LinkDown(lost.result())
        if not done:
            raise TimeoutError


class Requests:
    """The requests under way, by their subjects: the server's errors name only the subject."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[Reply | Conversation]] = defaultdict(set)
        self.unanswered = 0  # requests and conversations that are not over

    def __len__(self) -> int:
        """How many subjects are remembered."""
        return len(self._waiting)

    @contextmanager
    def under_way(self, subject: str, waiting: Reply | Conversation) -> Iterator[None]:
        """While the body lasts, an error of the server about this subject goes to `waiting`."""
        alike = self._alike(subject)
        alike.add(waiting)
        self.unanswered += 1
        try:
            yield
        finally:
            self.unanswered -= 1
            alike.discard(waiting)
            waiting.future.cancel()  # where the request could not be sent, nothing waits for it

    def denied(self, text: str) -> bool:
        """Whether the server's error is that a request may not be sent: then only that fails, not the connection.

        Of several under way at once the first error fails all. The server repeats the error for each of the others.
        nats-py hands the text on in small letters, with the subject in quotes.
        """
        if "permissions violation for publish to" not in text:
            return False
        alike = self._waiting.get(text.partition('"')[2].rpartition('"')[0])
        for waiting in alike or ():
            if not waiting.future.done():
                waiting.future.set_exception(PermissionError(text.removeprefix("nats: ")))
        return alike is not None

    def _alike(self, subject: str) -> set[Reply | Conversation]:
        """The requests to this subject that are under way. Subjects of the past are remembered, but not for ever."""
        if len(self._waiting) > _REMEMBERED:
            self._waiting = defaultdict(set, {known: some for known, some in self._waiting.items() if some})
        return self._waiting[subject.lower()]
