"""A JetStream server in memory, behind the real `Link` and `Session`: only the wire and its far end are missing.

What the daemon writes to a session is parsed as the client protocol that it is, goes to the stream that captures its
subject, and is answered as a nats-server would (`fake_stream`), one message a turn of the event loop:

    server = FakeJetStream()
    link = FakeLink(server)
    running = asyncio.create_task(link.run())
    session = await link.wait_up()
    await session.request_json("$JS.API.STREAM.CREATE.jobs", {"name": "jobs", "subjects": ["jobs.*"]})

    await session.request("jobs.1", b"hello")       # (b'{"stream":"jobs","seq":1}', None)
    server.streams["jobs"].history[0].data          # b"hello"

    server.fault = AckLost()                        # from here on something goes wrong, once
    await session.request("jobs.2", b"hello")       # raises LinkDown, and yet:
    len(server.streams["jobs"].history)             # 2
    session = await link.wait_up()                  # the next connection finds a sound server

A fault is one small class, named after what goes wrong, and meets only what is published to a stream: neither the
API nor the rehearsal of `stream.prepare`. Time is the server's `clock`; it stands still until somebody advances it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from syncdaemon.errors import LinkDown
from syncdaemon.link import Link, LinkSettings, Session
from tests.simulate.clock import Clock
from tests.simulate.fake_stream import FakeStream, Refused, completed, header_fields, matches, overlap

Answer = tuple[bytes, bytes | None]
"""The body of an answer, and its header block if it has one."""

_API = "$JS.API."
_NOT_FOUND = Refused(404, 10059, "stream not found")


class Frame(NamedTuple):
    """One message as it came over the wire."""

    subject: str
    reply: bytes
    headers: bytes
    data: bytes

    @property
    def stored_by_a_stream(self) -> bool:
        """Whether a stream could store it: it is no call of the API, and no message that expects an impossible stream."""
        expected = header_fields(self.headers).get("Nats-Expected-Stream", "")
        return not self.subject.startswith("$") and "." not in expected


class Fault:
    """No fault: a message that arrives is handled, and answered. What a subclass does instead, its name says."""

    def meet(self, session: FakeSession, frame: Frame) -> None:
        """The server reads this message."""
        session.answer(frame, session.server.handle(frame))


class CutAfter(Fault):
    """So many messages are stored and answered; then the connection is gone, with all that was on its way."""

    def __init__(self, messages: int = 0) -> None:
        self.left = messages

    def meet(self, session: FakeSession, frame: Frame) -> None:
        """Counts down."""
        if self.left:
            self.left -= 1
            super().meet(session, frame)
        else:
            session.server.fault = Fault()
            self.strike(session, frame)

    def strike(self, session: FakeSession, frame: Frame) -> None:
        """The message that it happens to."""
        session.cut("connection reset by peer")


class LostBeforeStored(CutAfter):
    """A message never arrives, nor does anything after it, and at last the connection is given up."""

    SILENT_SECONDS = 10.0

    def strike(self, session: FakeSession, frame: Frame) -> None:
        """Nothing is read from here on."""
        session.silent = True
        session.loop.call_later(self.SILENT_SECONDS, session.cut, "the server has been silent for 10 seconds")


class AckLost(CutAfter):
    """So many messages are stored, their answers never come, and the connection is gone."""

    def __init__(self, messages: int = 1, after: int = 0) -> None:
        super().__init__(after)
        self.stored_unanswered = messages

    def strike(self, session: FakeSession, frame: Frame) -> None:
        """Stored, and not answered."""
        session.server.handle(frame)
        self.stored_unanswered -= 1
        if self.stored_unanswered:
            session.server.fault = self
        else:
            session.cut("connection reset by peer")


class ArrivesLate(CutAfter):
    """The connection is gone; what was on its way is read by the server all the same, when `read_late` says so."""

    def strike(self, session: FakeSession, frame: Frame) -> None:
        """Kept for later."""
        session.server.late += [frame, *session.arrived]
        session.cut("connection reset by peer")


class Slow(Fault):
    """Every answer takes so many seconds on its way."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def meet(self, session: FakeSession, frame: Frame) -> None:
        """Stored at once, told later."""
        session.loop.call_later(self.seconds, session.answer, frame, session.server.handle(frame))


class StreamFull(Fault):
    """The stream takes nothing more, as one with `discard: new` at the limit of its bytes; until the fault is gone."""

    def meet(self, session: FakeSession, frame: Frame) -> None:
        """Refused, but for a message that the limits do not see: one that is known already."""
        stream = session.server.captor(frame.subject)
        if stream is None:
            return super().meet(session, frame)
        limit, stream.config["max_bytes"] = stream.config["max_bytes"], 1
        discard, stream.config["discard"] = stream.config["discard"], "new"
        super().meet(session, frame)
        stream.config["max_bytes"], stream.config["discard"] = limit, discard


class NoResponders(Fault):
    """No stream takes the subject for now, as while a leader is elected; until the fault is gone."""

    def meet(self, session: FakeSession, frame: Frame) -> None:
        """Answered by the server itself."""
        session.answer(frame, no_responders(frame.subject))


def no_responders(subject: str) -> Answer:
    """What comes back where nobody has subscribed to the subject."""
    return b"", f"NATS/1.0 503\r\nNats-Subject: {subject}\r\n\r\n".encode()


class FakeJetStream:
    """The server: its streams, what goes wrong, and who is connected.

    `denied`: subjects that no client may publish to; `running` False: nobody can connect.
    """

    def __init__(self, clock: Clock | None = None, max_payload: int = 1 << 20, version: str = "2.15.1") -> None:
        self.clock = clock or Clock()
        self.max_payload = max_payload
        self.version = version
        self.streams: dict[str, FakeStream] = {}
        self.fault = Fault()
        self.denied: tuple[str, ...] = ()
        self.running = True
        self.restarts = 0
        self.sessions: set[FakeSession] = set()
        self.late: list[Frame] = []

    def captor(self, subject: str) -> FakeStream | None:
        """The stream that this subject belongs to."""
        for stream in self.streams.values():
            if any(matches(pattern, subject) for pattern in stream.config["subjects"]):
                return stream
        return None

    def handle(self, frame: Frame) -> Answer | None:
        """What the message changes, and its answer if it gets one."""
        if frame.subject.startswith(_API):
            return json.dumps(self._api(frame.subject.removeprefix(_API), frame.data)).encode(), None
        stream = self.captor(frame.subject)
        if stream is None:
            return no_responders(frame.subject)
        answer = stream.take(frame.subject, frame.headers, frame.data, self.clock.now)
        return None if stream.config.get("no_ack") else (answer, None)

    def read_late(self) -> None:
        """Reads what was on its way when its connection broke. Nobody is there to hear the answers."""
        late, self.late = self.late, []
        for frame in late:
            self.handle(frame)

    def cut(self, reason: str = "connection reset by peer") -> None:
        """Ends every connection."""
        for session in list(self.sessions):
            session.cut(reason)

    def restart(self) -> None:
        """A crash and a new start: connections end, and only ids whose message is still there are known."""
        self.restarts += 1
        self.cut("the server closed the connection")
        for stream in self.streams.values():
            stream.restarted(self.clock.now)

    def _api(self, call: str, data: bytes) -> dict[str, Any]:
        verb, _, name = call.rpartition(".")
        ask = json.loads(data or b"{}")
        calls: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
            "STREAM.CREATE": self._create,
            "STREAM.UPDATE": self._update,
            "STREAM.INFO": lambda name, ask: self._stream(name).info(self.clock.now),
            "STREAM.PURGE": self._purge,
            "STREAM.MSG.GET": self._get,
        }
        try:
            return calls[verb](name, ask)
        except Refused as refused:
            return {"error": refused.error}

    def _stream(self, name: str) -> FakeStream:
        if name not in self.streams:
            raise _NOT_FOUND
        return self.streams[name]

    def _create(self, name: str, config: dict[str, Any]) -> dict[str, Any]:
        wanted = completed(config)
        if name in self.streams:
            if self.streams[name].config != wanted:
                raise Refused(400, 10058, "stream name already in use with a different configuration")
            return self.streams[name].info(self.clock.now)
        theirs = [subject for stream in self.streams.values() for subject in stream.config["subjects"]]
        if any(overlap(ours, their) for ours in wanted["subjects"] for their in theirs):
            raise Refused(400, 10065, "subjects overlap with an existing stream")
        self.streams[name] = FakeStream(config, self.clock.now)
        return self.streams[name].info(self.clock.now) | {"did_create": True}

    def _update(self, name: str, config: dict[str, Any]) -> dict[str, Any]:
        stream = self._stream(name)
        stream.config = completed(config)
        return stream.info(self.clock.now)

    def _purge(self, name: str, ask: dict[str, Any]) -> dict[str, Any]:
        return {"success": True, "purged": self._stream(name).remove(ask.get("filter", ">"), self.clock.now)}

    def _get(self, name: str, ask: dict[str, Any]) -> dict[str, Any]:
        stream = self._stream(name)
        found = stream.last(ask["last_by_subj"]) if "last_by_subj" in ask else stream.messages.get(ask["seq"])
        if found is None:
            raise Refused(404, 10037, "no message found")
        return {"message": found.shown()}


class FakeSession(Session):
    """A connection to the server in memory."""

    def __init__(self, server: FakeJetStream) -> None:
        super().__init__("nats://fake:4222")
        self.server_in_memory = server
