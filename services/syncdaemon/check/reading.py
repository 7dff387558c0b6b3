"""The messages of a site in one stream, on all its subjects, in the order of their sequences."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import datetime
from typing import Any

from syncdaemon.base.model import StoredHeaders
from syncdaemon.check.subjects import Subjects
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.history import contents, one_by_one, since
from syncdaemon.stream.info import captured

Reading = AsyncGenerator[tuple[StoredHeaders, bytes | None], None]


class SiteMessages:
    """Reads them: the headers alone, or with `content` the bodies too. Raises LinkDown, PermissionError, LanePaused."""

    def __init__(self, api: Api, stream: str, subjects: Subjects, content: bool) -> None:
        self._api = api
        self._stream = stream
        self._subjects = subjects
        self._content = content

    def quickly(self, config: Mapping[str, Any], first: int) -> Reading:
        """From this sequence on, by consumers.

        Only a stream with limits retention gives a consumer what others have read, or will. And a server makes no
        consumer for a subject that the stream does not capture any more. Those are read one by one.
        """
        whole = config.get("retention", "limits") == "limits"
        captures = None if config.get("sources") else config.get("subjects") or ()
        consumed = [one for one in self._subjects if whole and (captures is None or captured(captures, one))]
        asked = [one for one in self._subjects if one not in consumed]
        read = self._bodies if self._content else self._headers
        return in_order([*(read(one, first) for one in consumed), *(self._singly(one, first) for one in asked)])

    def one_by_one(self, first: int) -> Reading:
        """The same by a request for each message."""
        return in_order([self._singly(one, first) for one in self._subjects])

    async def _headers(self, subject: str, first: int) -> Reading:
        async with aclosing(since(self._api, self._stream, subject, first)) as messages:
            async for seen in messages:
                yield seen, None

    async def _bodies(self, subject: str, first: int) -> Reading:
        async with aclosing(contents(self._api, self._stream, subject, first)) as messages:
            async for message in messages:
                yield message

    async def _singly(self, subject: str, first: int) -> Reading:
        async with aclosing(one_by_one(self._api, self._stream, subject, first)) as messages:
            async for message in messages:
                yield message

    async def first_since(self, began: datetime | None) -> int:
        """The first sequence of the stream that was stored at this time or later; 0 where that can't be known.

        By halves: a stream's messages are in the order of their times.
        """
        answer = await self._api.stream(self._stream)
        if began is None or isinstance(answer, ApiRefusal):
            return 0
        low, high = answer.state["first_seq"], answer.state["last_seq"] + 1
        while low < high:
            middle = (low + high) // 2
            try:
                found = await self._api.next(self._stream, ">", middle)
            except PermissionError:
                return 0
            if isinstance(found, ApiRefusal) or (found is not None and found.at is None):
                return 0
            if found is None or found.at is None or found.at >= began:
                high = middle
            else:
                low = found.seq + 1
        return int(low)


async def in_order(readings: Sequence[Reading]) -> Reading:
    """The messages of several readings of one stream by their sequence, each once."""
    async with AsyncExitStack() as open_:
        heads = []
        for reading in readings:
            messages = await open_.enter_async_context(aclosing(reading))
            heads.append((await anext(messages, None), messages))
        last = 0
        while left := [(first, messages) for first, messages in heads if first is not None]:
            at = min(range(len(left)), key=lambda number: left[number][0][0].seq)
            first, messages = left[at]
            if first[0].seq > last:
                last = first[0].seq
                yield first
            heads = [*left[:at], *left[at + 1 :], (await anext(messages, None), messages)]
