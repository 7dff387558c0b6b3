"""The queue itself: stream and consumer as daemon and workers make them, and messages as the daemon sends them."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import nats
from nats.aio.client import Client
from nats.errors import Error

from scripts.backlog_drain.measure import NotMeasured
from syncdaemon.base.errors import ConnectTimeout
from syncdaemon.base.model import Content, Stamp
from syncdaemon.publish.message import encode
from syncdaemon.receive.pull.consumer import ConsumerSettings
from syncdaemon.settings import parts
from syncdaemon.settings.values import Settings

SITE = "backlog-drain"
"""The site of what is published here. It stays in the stream, on subjects of this site."""

SMALLEST = 64
"""Bytes of the smallest message that has room for what makes it unlike any other."""

_NOT_FOUND = (10014, 10059)  # JetStream API: no such consumer, no such stream
_AT_ONCE = 256
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 30.0


class JetStreamQueue:
    """A stream and the durable consumer on it that the workers share."""

    def __init__(self, settings: Settings, consumer: str) -> None:
        self._settings = settings
        self.stream = settings.sync_stream
        self.consumer = consumer

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        link, last = parts.link(self._settings), Exception(f"nothing answers for {_CONNECT_SECONDS:g} s")

        async def noted(error: Exception) -> None:
            nonlocal last
            last = error

        once: dict[str, Any] = {"allow_reconnect": False, "max_reconnect_attempts": 1, "error_cb": noted}
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                client = await nats.connect(list(link.urls), **once, **link.options())
        except (OSError, TimeoutError, Error):
            raise ConnectTimeout(f"NATS_URL: no connection to {self._settings.nats_url}: {last}") from None
        try:
            yield client
        except Error as error:
            raise NotMeasured(f"stream {self.stream}: {type(error).__name__} {error}") from None
        finally:
            await client.close()

    async def ensure(self) -> None:
        """Makes what is missing of stream and consumer, and alters neither.

        Raises ConnectTimeout where no server lets us in, NotMeasured where one of them can't be had.
        """
        stream = parts.stream(self._settings)
        async with self._connected() as client:
            if await _missing(client, f"STREAM.INFO.{self.stream}"):
                if not stream.create:
                    raise NotMeasured(f"there is no stream {self.stream}, and SYNC_STREAM_CREATE=false")
                await _make(client, f"STREAM.CREATE.{self.stream}", stream.config(str(client.connected_server_version)))
            if await _missing(client, f"CONSUMER.INFO.{self.stream}.{self.consumer}"):
                config = ConsumerSettings(self.stream, self.consumer, filter="").config()
                wanted = {"stream_name": self.stream, "config": config}
                await _make(client, f"CONSUMER.DURABLE.CREATE.{self.stream}.{self.consumer}", wanted)

    async def publish(self, count: int, size: int) -> int:
        """Publishes so many messages of this size, each with content of its own; the last sequence in the stream.

        Raises ConnectTimeout where no server lets us in, NotMeasured where the stream does not take them all.
        """
        run, last = secrets.token_hex(8), 0
        async with self._connected() as client:
            js = client.jetstream()
            for first in range(0, count, _AT_ONCE):
                numbers = range(first, min(first + _AT_ONCE, count))
                messages = [self._message(f"{run}/{number:06}.bin", size) for number in numbers]
                sent = (js.publish(subject, data, _ANSWER_SECONDS, headers=head) for subject, head, data in messages)
                last = max(last, *(ack.seq for ack in await asyncio.gather(*sent)))
        return last

    def _message(self, name: str, size: int) -> tuple[str, dict[str, str], bytes]:
        data = f"{name}\n".encode().ljust(size, b".")
        content = Content(name.encode(), name, Stamp(0, 0, len(data), 0, 0), data, sha256(data).hexdigest(), 1)
        message = encode(content, parts.message(self._settings))
        lines = message.headers.decode().split("\r\n")[1:-2]
        return message.subject, dict(line.split(": ", 1) for line in lines), data


async def _ask(client: Client, subject: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.request(f"$JS.API.{subject}", json.dumps(body).encode(), timeout=_ANSWER_SECONDS)
    found: dict[str, Any] = json.loads(answer.data)
    return found.get("error") or {}


async def _missing(client: Client, subject: str) -> bool:
    refusal = await _ask(client, subject, {})
    if refusal and refusal.get("err_code") not in _NOT_FOUND:
        raise NotMeasured(f"{subject}: {refusal.get('description')} ({refusal.get('err_code')})")
    return bool(refusal)


async def _make(client: Client, subject: str, body: dict[str, Any]) -> None:
    if refusal := await _ask(client, subject, body):
        raise NotMeasured(f"{subject}: {refusal.get('description')} ({refusal.get('err_code')})")
