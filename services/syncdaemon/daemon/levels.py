"""How full the stream and the bucket are: asked for at each connection, and again from time to time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any, NamedTuple

from syncdaemon.base.errors import LanePaused, LinkDown
from syncdaemon.daemon.metrics import Metrics
from syncdaemon.link import Link, Session
from syncdaemon.stream.api import Api
from syncdaemon.stream.info import StreamAnswer

SETTLED_SECONDS = 2.0  # a connection that lives for so long is worth the questions
BUSY_SECONDS = 600.0  # between two looks while something is sent
IDLE_SECONDS = 6 * 3600.0  # and while nothing is: an idle line costs money
_GAUGES = (
    ("syncdaemon_stream_messages", "stream", "messages", "Messages in the stream"),
    ("syncdaemon_stream_bytes", "stream", "bytes", "Bytes in the stream"),
    ("syncdaemon_stream_max_messages", "stream", "most_messages", "Messages that the stream takes; +Inf: no limit"),
    ("syncdaemon_stream_max_bytes", "stream", "most_bytes", "Bytes that the stream takes; +Inf: no limit"),
    ("syncdaemon_bucket_bytes", "bucket", "bytes", "Bytes in the bucket for large files"),
    ("syncdaemon_bucket_max_bytes", "bucket", "most_bytes", "Bytes that the bucket takes; +Inf: no limit"),
)


class Level(NamedTuple):
    """What a stream holds, and the most that it takes; infinite: no limit of its own."""

    messages: float
    bytes: float
    most_messages: float
    most_bytes: float


class Levels:
    """The newest levels that the server told.

    None before it did, where it does not let us ask, and where there is no such stream.

    `sent` counts the bytes that were stored since the start: it moves while the site is busy.
    """

    def __init__(self, link: Link, stream: str, bucket: str, sent: Callable[[], int]) -> None:
        self._link, self._sent = link, sent
        self._names = {"stream": stream, "bucket": bucket}
        self._known: dict[str, Level | None] = {}

    def show_in(self, metrics: Metrics) -> None:
        """Adds the gauges. A limit that is not there is infinite; what is not known has no sample."""
        for name, of, field, help_text in _GAUGES:
            metrics.add_known(name, help_text, partial(self._value, of, field))

    def _value(self, of: str, field: str) -> dict[tuple[str, ...], float]:
        level = self._known.get(of)
        return {} if level is None else {(): getattr(level, field)}

    async def run(self) -> None:
        """For ever: looks, over one connection after another."""
        while True:
            session = await self._link.wait_up()
            if not await _lost_within(session, SETTLED_SECONDS):
                await self._look_over(session)

    async def _look_over(self, session: Session) -> None:
        while not session.lost.done():
            self._known = {of: await _level(Api(session), name) for of, name in self._names.items()}
            looked, sent = time.monotonic(), self._sent()
            while not await _lost_within(session, BUSY_SECONDS):
                if self._sent() != sent or time.monotonic() - looked >= IDLE_SECONDS:
                    break


async def _lost_within(session: Session, seconds: float) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(session.lost), seconds)
    return session.lost.done()


async def _level(api: Api, name: str) -> Level | None:
    try:
        answer = await api.stream(name)
    except (LinkDown, PermissionError, LanePaused):
        return None
    return level_of(answer.config, answer.state) if isinstance(answer, StreamAnswer) else None


def level_of(config: Mapping[str, Any], state: Mapping[str, Any]) -> Level:
    """From STREAM.INFO (JetStream API v1), where a limit of 0 or below is none."""
    most = (config.get(limit, -1) for limit in ("max_msgs", "max_bytes"))
    most_messages, most_bytes = (float(limit) if limit > 0 else inf for limit in most)
    return Level(state.get("messages", 0), state.get("bytes", 0), most_messages, most_bytes)
