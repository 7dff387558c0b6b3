"""How full the stream and the bucket are, as the server told at the newest look.

The bucket is asked about here: at each connection, and again from time to time. The stream is looked at by the lane and
the stream watch, whose answers say how full it is; so it is asked about here only where that is out of date.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any, NamedTuple

from syncdaemon.base.errors import LanePaused, LinkDown
from syncdaemon.daemon.filling import Filling
from syncdaemon.daemon.metrics import Metrics
from syncdaemon.daemon.stream_size import say_size
from syncdaemon.link import Link, Session
from syncdaemon.publish import Lane
from syncdaemon.publish.stream_watch import BUSY_SECONDS, IDLE_SECONDS, StreamWatch
from syncdaemon.stream.api import Api
from syncdaemon.stream.info import StreamAnswer

SETTLED_SECONDS = 2.0  # a connection that lives for so long is worth the questions
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

    `sent` counts the bytes that were stored since the start: it moves while the site is busy. `filling`: how soon the
    stream is full.
    """

    def __init__(self, lane: Lane, watch: StreamWatch, link: Link, bucket: str, sent: Callable[[], int]) -> None:
        self._lane, self._watch = lane, watch
        self._link, self._name, self._sent = link, bucket, sent
        self._bucket: Level | None = None
        self._said = False
        self.filling = Filling()

    def show_in(self, metrics: Metrics) -> None:
        """Adds the gauges. A limit that is not there is infinite; what is not known has no sample."""
        for name, of, field, help_text in _GAUGES:
            metrics.add_known(name, help_text, partial(self._value, of, field))

    def _value(self, of: str, field: str) -> dict[tuple[str, ...], float]:
        level = self._bucket if of == "bucket" else _level(self._answer())
        return {} if level is None else {(): getattr(level, field)}

    def _answer(self) -> StreamAnswer | None:
        info = self._lane.stream
        return None if info is None else info.answer

    async def run(self) -> None:
        """For ever: looks, over one connection after another."""
        while True:
            session = await self._link.wait_up()
            while not await _lost_within(session, SETTLED_SECONDS):
                if self._lane.prepared is session:
                    await self._look_over(session)

    async def _look_over(self, session: Session) -> None:
        while not session.lost.done():
            info = self._lane.stream
            if info is not None and info.last_seq != self._lane.last_seq:  # something was stored since it was seen
                await self._watch.look()
            self._bucket = _level(await _asked(Api.over(session), self._name))
            self._take()
            looked, sent = time.monotonic(), self._sent()
            while not await _lost_within(session, BUSY_SECONDS):
                if self._sent() != sent or time.monotonic() - looked >= IDLE_SECONDS:
                    break

    def _take(self) -> None:
        stream = self._answer()
        if stream is None:
            return
        level = level_of(stream.config, stream.state)
        self.filling.add(time.monotonic(), level.messages, level.most_messages, level.bytes, level.most_bytes)
        if not self._said:
            self._said = True
            say_size(stream.config["name"], stream)


async def _lost_within(session: Session, seconds: float) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(session.lost), seconds)
    return session.lost.done()


async def _asked(api: Api, name: str) -> StreamAnswer | None:
    try:
        answer = await api.stream(name)
    except (LinkDown, PermissionError, LanePaused):
        return None
    return answer if isinstance(answer, StreamAnswer) else None


def _level(answer: StreamAnswer | None) -> Level | None:
    return None if answer is None else level_of(answer.config, answer.state)


def level_of(config: Mapping[str, Any], state: Mapping[str, Any]) -> Level:
    """From STREAM.INFO (JetStream API v1), where a limit of 0 or below is none."""
    most = (config.get(limit, -1) for limit in ("max_msgs", "max_bytes"))
    most_messages, most_bytes = (float(limit) if limit > 0 else inf for limit in most)
    return Level(state.get("messages", 0), state.get("bytes", 0), most_messages, most_bytes)
