"""A leaf node that speaks the protocol itself: for a site whose server does what no nats-server would do.

The protocol is that of nats-server 2.15, `server/leafnode.go`: after the hub's INFO comes our CONNECT; then both say
by LS+ what they want to hear, and send it by LMSG, or by HMSG where it has headers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from tests.support.client import opened


class LeafMessage(NamedTuple):
    """A message as it crosses the connection. `headers`: the whole block, or nothing."""

    subject: str
    reply: str
    body: bytes
    headers: bytes = b""


class FakeLeaf:
    """One connection to the leaf node port of a hub. `refused`: what the hub said before it hung up."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nonce: str) -> None:
        self._reader, self._writer = reader, writer
        self.nonce = nonce  # to be signed by who logs in with a key
        self.heard: list[LeafMessage] = []
        self.asked: list[str] = []  # what the hub wants to hear
        self.refused = ""
        self.hung_up = asyncio.Event()
        self.answer: Callable[[LeafMessage], None] = lambda message: None

    def login(self, **who: Any) -> None:
        """Says who we are: fields of CONNECT."""
        said = {"name": "fake", "server_id": "fake", "version": "2.15.1", "headers": True, "jetstream": True}
        said |= {"protocol": 1, **who}
        self._writer.write(f"CONNECT {json.dumps(said)}\r\nPING\r\n".encode())

    def want(self, *subjects: str) -> None:
        """Asks the hub for the messages on these subjects."""
        for subject in subjects:
            self._writer.write(f"LS+ {subject}\r\n".encode())

    def send(self, subject: str, body: bytes = b"", reply: str = "", headers: bytes = b"") -> None:
        """Publishes into the account at the hub that this leaf node is bound to."""
        words = f"{subject} {reply} " if reply else f"{subject} "
        sizes = f"{len(headers)} {len(headers) + len(body)}" if headers else f"{len(body)}"
        verb = "HMSG" if headers else "LMSG"
        self._writer.write(f"{verb} {words}{sizes}\r\n".encode() + headers + body + b"\r\n")

    async def listen(self) -> None:
        """Until the hub hangs up."""
        try:
            await self._listen()
        except ConnectionError as error:  # it has thrown away what we said after the login, and its own last words
            self.refused = self.refused or str(error)
        finally:
            self.hung_up.set()

    async def _listen(self) -> None:
        while line := await self._reader.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            if verb == "PING":
                self._writer.write(b"PONG\r\n")
            elif verb == "LS+":
                self.asked.append(rest.split()[0])
            elif verb == "-ERR":
                self.refused = rest
            elif verb in ("LMSG", "HMSG"):
                await self._take(verb, rest.split())

    async def _take(self, verb: str, words: list[str]) -> None:
        size = int(words.pop())
        cut = int(words.pop()) if verb == "HMSG" else 0
        subject, *more = words
        reply = [word for word in more if word not in "+|"][:1]
        block = (await self._reader.readexactly(size + 2))[:size]
        message = LeafMessage(subject, "".join(reply), block[cut:], block[:cut])
        self.heard.append(message)
        self.answer(message)

    def close(self) -> None:
        """Hangs up."""
        self._writer.close()


@asynccontextmanager
async def fake_leaf(port: int) -> AsyncIterator[FakeLeaf]:
    """Connected to this port of a hub; it has not logged in yet."""
    async with opened(port) as (reader, writer):
        info = json.loads((await reader.readline()).removeprefix(b"INFO "))
        leaf = FakeLeaf(reader, writer, info.get("nonce", ""))
        listening = asyncio.create_task(leaf.listen())
        try:
            yield leaf
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


class FakeSource:
    """The stream of a site that is none: it answers who sources from it, and delivers what the test says.

    `domain`: of the JetStream that it pretends to be. Answers, and deliveries, are of the form of ADR-28.
    """

    def __init__(self, leaf: FakeLeaf, domain: str) -> None:
        self._leaf, self._domain = leaf, domain
        self.consumers: dict[str, dict[str, Any]] = {}  # by stream
        self.alter: dict[str, Any] = {}  # what its answers say of the consumer's configuration, other than was asked
        self._sent = 0
        leaf.answer = self._answer
        leaf.want(f"$JS.{domain}.API.>", "$JS.FC.>")

    def _answer(self, message: LeafMessage) -> None:
        if f"$JS.{self._domain}.API.CONSUMER.CREATE." not in message.subject or not message.reply:
            return
        asked = json.loads(message.body)
        config = asked["config"] | self.alter
        self.consumers[asked["stream_name"]] = config
        self._sent = 0
        at = {"consumer_seq": 0, "stream_seq": 0}
        told = {
            "type": "io.nats.jetstream.api.v1.consumer_create_response",
            **{"stream_name": asked["stream_name"], "name": config["name"], "config": config},
            **{"created": "2026-11-30T00:00:00Z", "delivered": at, "ack_floor": at},
            **{"num_ack_pending": 0, "num_redelivered": 0, "num_waiting": 0, "num_pending": 0, "push_bound": True},
        }
        self._leaf.send(message.reply, json.dumps(told).encode())

    def deliver(self, subject: str, body: bytes = b"", headers: bytes = b"", stream: str = "swarm_jobs") -> None:
        """As if this message lay in the stream on this subject. The hub's server takes the subject from the reply.

        The deliver subject is what the hub listens to; a message of a leaf node arrives there under its own subject.
        """
        config = self.consumers[stream]
        self._sent += 1
        reply = f"$JS.ACK.{stream}.{config['name']}.1.{self._sent}.{self._sent}.{1_790_000_000_000_000_000}.0"
        self._leaf.send(f"{config['deliver_subject']}", body, f"{reply}@{subject}", headers)

    def control(self, header: str, reply: str = "", stream: str = "swarm_jobs") -> None:
        """A message of the consumer itself, such as a request for flow control: empty, with status 100."""
        deliver = self.consumers[stream]["deliver_subject"]
        self._leaf.send(deliver, b"", reply, f"NATS/1.0 100 {header}\r\n\r\n".encode())
