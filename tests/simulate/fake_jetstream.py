"""A JetStream server in memory, behind the real `Link` and `Session`: only the wire and its far end are missing.

What the daemon writes to a session is parsed as the client protocol that it is, goes to the stream that captures its
subject, and is answered as a nats-server would (`fake_stream`), one message a turn of the event loop:

    server = FakeJetStream()
    link = FakeLink(server)
    running = asyncio.create_task(link.run())
    session = await link.wait_up()
    await ask_api(session, "$JS.API.STREAM.CREATE.jobs", {"name": "jobs", "subjects": ["jobs.*"]})

    await session.request("jobs.1", b"hello")       # (b'{"stream":"jobs","seq":1}', None)
    server.streams["jobs"].history[0].data          # b"hello"

    server.fault = AckLost()                        # from here on something goes wrong, once
    await session.request("jobs.2", b"hello")       # raises LinkDown, and yet:
    len(server.streams["jobs"].history)             # 2
    session = await link.wait_up()                  # the next connection finds a sound server

What can go wrong is in `faults`, one small class each. Time is the server's `clock`; it stands still until somebody
advances it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from syncdaemon.link import Link, LinkSettings, Session, pace
from syncdaemon.link.frame import Buffer
from syncdaemon.link.pulse import PROBE_SECONDS
from syncdaemon.link.session import always
from syncdaemon.link.wire import Wire
from tests.simulate.clock import Clock
from tests.simulate.fake_stream import FakeStream, Message, Refused, completed, header_fields, matches, overlap

Answer = tuple[bytes, bytes | None]
"""The body of an answer, and its header block if it has one."""

_API = "$JS.API."
_DIRECT = "$JS.API.DIRECT.GET."
_NEXT = "$JS.API.CONSUMER.MSG.NEXT."
_NOT_FOUND = Refused(404, 10059, "stream not found")
_NO_JSON = Refused(400, 10025, "invalid JSON")


class Frame(NamedTuple):
    """One message as it came over the wire."""

    subject: str
    reply: bytes
    headers: bytes
    data: bytes

    @property
    def is_for_a_stream(self) -> bool:
        """Whether a stream could store it: no call of the API, nor a message that expects an impossible stream."""
        expected = header_fields(self.headers).get("Nats-Expected-Stream", "")
        return not self.subject.startswith(_API) and "." not in expected


class Fault:
    """No fault: a message that arrives is handled, and answered. What a subclass does instead, its name says.

    Faults meet only what is published to a stream: neither the API nor the rehearsal of `stream.prepare`.
    """

    def meet(self, session: FakeSession, frame: Frame) -> None:
        """The server reads this message."""
        session.answer(frame, session.hub.handle(frame))


def no_responders(subject: str) -> Answer:
    """What comes back where nobody has subscribed to the subject."""
    return b"", f"NATS/1.0 503\r\nNats-Subject: {subject}\r\n\r\n".encode()


class FakeJetStream:
    """The server: its streams, what goes wrong, and who is connected.

    `denied`: subjects that no client may publish to; `running` False: nobody can connect; `lossy`:
    what it acknowledged was lost before.
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
        self.lossy = False
        self.sessions: set[FakeSession] = set()
        self.late: list[tuple[Frame, float]] = []
        self.consumers: dict[str, deque[Message]] = {}
        self.whole: set[str] = set()  # the consumers that give the bodies too

    def captor(self, subject: str) -> FakeStream | None:
        """The stream that this subject belongs to."""
        for stream in self.streams.values():
            if any(matches(pattern, subject) for pattern in stream.config["subjects"]):
                return stream
        return None

    def handle(self, frame: Frame) -> Answer | None:
        """What the message changes, and its answer if it gets one."""
        if frame.subject.startswith(_DIRECT):
            name, _, subject = frame.subject.removeprefix(_DIRECT).partition(".")
            return self._direct(name, subject)
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
        for frame, _ in late:
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

    def lose_power(self, seconds: float, only: str = "") -> None:
        """What was stored in the last seconds is gone; the server comes back without it.

        `only` in one stream: each is brought to disk by itself.
        """
        self.lossy = True
        self.restart()
        for name, stream in self.streams.items():
            if only in ("", name):
                stream.lose(self.clock.now - seconds, self.clock.now)

    def _api(self, call: str, data: bytes) -> dict[str, Any]:
        if call == "STREAM.NAMES":
            return self._names(json.loads(data))
        verb, _, name = call.rpartition(".")
        try:
            ask = json.loads(data or b"{}")
        except json.JSONDecodeError:
            return {"error": _NO_JSON.error}
        if verb.startswith("CONSUMER."):
            verb, _, stream = verb.rpartition(".")
            ask["stream"] = stream
        calls: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
            "STREAM.CREATE": self._create,
            "STREAM.UPDATE": self._update,
            "STREAM.INFO": lambda name, ask: self._stream(name).info(self.clock.now, ask.get("subjects_filter")),
            "STREAM.DELETE": self._delete,
            "STREAM.PURGE": self._purge,
            "STREAM.MSG.GET": self._get,
            "CONSUMER.CREATE": self._create_consumer,
            "CONSUMER.DELETE": lambda name, ask: {"success": self.consumers.pop(name, None) is not None},
            "STREAM.MSG.DELETE": self._delete_message,
        }
        try:
            return calls[verb](name, ask)
        except Refused as refused:
            return {"error": refused.error}

    def _names(self, ask: dict[str, Any]) -> dict[str, Any]:
        """The streams that take some of these subjects."""
        wanted = ask["subject"]
        found = [
            name
            for name, stream in self.streams.items()
            if any(overlap(wanted, subject) for subject in stream.config["subjects"])
        ]
        return {"streams": found}

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

    def _delete(self, name: str, ask: dict[str, Any]) -> dict[str, Any]:
        self._stream(name)
        del self.streams[name]
        return {"success": True}

    def _purge(self, name: str, ask: dict[str, Any]) -> dict[str, Any]:
        stream = self._stream(name)
        if stream.config["deny_purge"]:
            raise Refused(500, 10110, "stream purge not permitted")
        return {"success": True, "purged": stream.remove(ask.get("filter", ">"), self.clock.now, ask.get("seq"))}

    def _delete_message(self, name: str, ask: dict[str, Any]) -> dict[str, Any]:
        stream = self._stream(name)
        if stream.config["deny_delete"]:
            raise Refused(500, 10057, "message delete not permitted")
        if ask["seq"] > stream.last_seq:
            raise Refused(500, 10057, "stream store EOF")
        if stream.messages.pop(ask["seq"], None) is None:
            raise Refused(400, 10043, f"sequence {ask['seq']} not found")
        return {"success": True}

    def _get(self, name: str, ask: dict[str, Any]) -> dict[str, Any]:
        stream = self._stream(name)
        found = stream.last(ask["last_by_subj"]) if "last_by_subj" in ask else stream.messages.get(ask["seq"])
        if found is None:
            raise Refused(404, 10037, "no message found")
        return {"message": found.shown()}

    def _direct(self, name: str, subject: str) -> Answer:
        """The newest message of a subject, as it was stored, with its place in headers behind its own (ADR-31).

        Several in one answer are not given: a call without a subject has no responders, as where it is not permitted.
        """
        stream = self.streams.get(name)
        if stream is None or not subject or not stream.config["allow_direct"]:
            return no_responders(f"{_DIRECT}{name}.{subject}")
        found = stream.last(subject)
        if found is None:
            return b"", b"NATS/1.0 404 Message Not Found\r\n\r\n"
        return found.data, found.placed(name)

    def _create_consumer(self, name: str, ask: dict[str, Any]) -> dict[str, Any]:
        """One that only reads: what it will give is known from the start."""
        config, stream = ask["config"], self._stream(ask["stream"])
        if stream.config["retention"] == "workqueue":
            raise Refused(400, 10084, "consumer must be deliver all on workqueue stream")
        if not config.get("headers_only"):
            self.whole.add(name)
        self.consumers[name] = deque(
            message
            for seq, message in sorted(stream.messages.items())
            if seq >= config["opt_start_seq"] and matches(config["filter_subject"], message.subject)
        )
        return {"name": name, "config": config, "num_pending": len(self.consumers[name])}


class FakeWire(Wire):
    """What is written to it is handed to its session at once, so it is never full. It is never connected."""

    def __init__(self, session: FakeSession, *parts: Any) -> None:
        super().__init__(*parts)
        self._session = session

    async def write(self, frames: Sequence[Buffer]) -> None:
        """Nothing is waited for."""
        self._session.arrive(frames)


class FakeSession(Session):
    """A connection to the server in memory. `arrived`: what is on its way and not read yet; `silent`: never will be."""

    def __init__(self, hub: FakeJetStream) -> None:
        super().__init__("nats://fake:4222", wire=partial(FakeWire, self))
        self.hub = hub
        self.loop = asyncio.get_running_loop()
        self.arrived: deque[Frame] = deque()
        self.silent = False
        self._bytes = b""
        self._prefix = b"_INBOX.fake."
        self._inboxes: dict[bytes, int] = {}

    async def open(self, settings: LinkSettings) -> None:
        """Connects, where the server runs."""
        if not self.hub.running:
            raise ConnectionRefusedError("connection refused")
        self.hub.sessions.add(self)

    @property
    def max_payload(self) -> int:
        """The server's limit now."""
        return self.hub.max_payload

    @property
    def server(self) -> dict[str, str]:
        """The server's own words on who it is."""
        return {"server_name": "fake", "server_id": f"FAKE{self.hub.restarts}", "version": self.hub.version}

    def arrive(self, frames: Sequence[Buffer]) -> None:
        """The parts of protocol frames are on their way to the server."""
        idle = not self.arrived
        self._bytes += b"".join(frames)
        while frame := self._next_frame():
            self.arrived.append(frame)
        if idle and self.arrived:
            self.loop.call_soon(self._read_next)

    def _next_frame(self) -> Frame | None:
        line, end, rest = self._bytes.partition(b"\r\n")
        if not end:
            return None
        verb, *words = line.split(b" ")
        if verb in (b"SUB", b"UNSUB"):
            self._bytes = rest
            self._subscribe(verb, words)
            return self._next_frame()
        subject, *reply, size = words
        before = 0
        if verb == b"HPUB":
            before = int(reply.pop())
        elif verb != b"PUB":
            raise ValueError(f"not a message: {line!r}")
        total = int(size)
        if len(rest) < total + 2:
            return None
        self._bytes = rest[total + 2 :]
        return Frame(subject.decode(), reply[0] if reply else b"", rest[:before], rest[before:total])

    def _subscribe(self, verb: bytes, words: Sequence[bytes]) -> None:
        """The server knows of it at once."""
        if verb == b"SUB":
            self._inboxes[words[0]] = int(words[1])
        else:
            self._inboxes = {subject: sid for subject, sid in self._inboxes.items() if sid != int(words[0])}

    def _read_next(self) -> None:
        if self.arrived and not self.silent:
            try:
                self.read(self.arrived.popleft())
            except Exception as error:
                self.cut(f"the server in memory broke: {error!r}")
                raise
        if self.arrived and not self.silent:
            self.loop.call_soon(self._read_next)

    def read(self, frame: Frame) -> None:
        """The server reads one message."""
        if len(frame.headers) + len(frame.data) > self.hub.max_payload:
            self.cut("Maximum Payload Violation")
        elif any(matches(denied, frame.subject) for denied in self.hub.denied):
            violation = f'nats: permissions violation for publish to "{frame.subject.lower()}"'
            if not self._requests.denied(violation):
                self.fail(violation)
        elif frame.subject.startswith(_NEXT):
            self._give(frame)
        else:
            fault = self.hub.fault if frame.is_for_a_stream else Fault()
            fault.meet(self, frame)

    def _give(self, frame: Frame) -> None:
        """What a consumer has, up to the number asked for, and then that there is no more."""
        stream, name = frame.subject.removeprefix(_NEXT).split(".")
        wanted = json.loads(frame.data)["batch"]
        waiting = self.hub.consumers.get(name, deque())
        for _ in range(min(wanted, len(waiting))):
            message = waiting.popleft()
            wanted -= 1
            block = message.headers[:-2] or b"NATS/1.0\r\n"
            whole = name in self.hub.whole
            block += b"\r\n" if whole else b"Nats-Msg-Size: %d\r\n\r\n" % len(message.data)
            reply = f"$JS.ACK.{stream}.{name}.1.{message.seq}.1.1.{len(waiting)}".encode()
            self._tell(frame.reply, message.subject.encode(), reply, block, message.data if whole else b"")
        if wanted:
            self._tell(frame.reply, frame.reply, b"", b"NATS/1.0 404 No Messages\r\n\r\n")

    def _tell(self, inbox: bytes, subject: bytes, reply: bytes, headers: bytes | None, data: bytes = b"") -> None:
        sids = (sid for pattern, sid in self._inboxes.items() if matches(pattern.decode(), inbox.decode()))
        if listener := self._client._listeners.get(next(sids, -1)):
            self.loop.call_soon(listener, subject, reply, data, headers)

    def answer(self, frame: Frame, answer: Answer | None) -> None:
        """The server answers, if there is an answer and somebody asked for one."""
        if answer is not None and frame.reply:
            self.loop.call_soon(self.hear, frame.reply, answer)

    def hear(self, reply: bytes, answer: Answer) -> None:
        """The answer is there; it goes to the inbox of a conversation, or to the one of all other requests."""
        if self.lost.done():
            return
        data, headers = answer
        if any(matches(inbox.decode(), reply.decode()) for inbox in self._inboxes):
            self._tell(reply, reply, b"", headers, data)
        else:
            self._answered(int(reply.rpartition(b".")[2]), data, headers)

    def cut(self, reason: str) -> None:
        """The connection is gone, and what was on its way with it."""
        self.arrived.clear()
        self.fail(reason)

    async def watch(self, something_waits: Callable[[], bool] = always) -> str:
        """Every probe is answered while the server reads; what it does not answer is given up in time."""
        while not self.lost.done():
            if not self.silent:
                self._pulse.probe_answered(time.monotonic())
            await asyncio.wait((self.lost,), timeout=PROBE_SECONDS)
            self._look_for_overdue(self.loop.time())
        return self.lost.result()

    async def abort(self) -> None:
        """Like the real one; nothing on its way is read any more."""
        self.hub.sessions.discard(self)
        self.arrived.clear()
        await super().abort()


class FakeLink(Link):
    """Keeps a session to the server in memory up. `make` is the kind of session."""

    def __init__(
        self,
        hub: FakeJetStream,
        changed: Callable[[Session | None, str], None] = lambda session, reason: None,
        make: Callable[[FakeJetStream], FakeSession] = FakeSession,
    ) -> None:
        super().__init__(LinkSettings(("nats://fake:4222",), "fake"), changed)
        self._hub = hub
        self._make = make

    async def run(self) -> None:
        """For ever: connect, watch, drop, wait."""
        while True:
            sent_away = await self._live(self._make(self._hub))
            await asyncio.sleep(pace.retry_delay(self._failures, sent_away, roll=0.5))
