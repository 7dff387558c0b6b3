"""Large files that were received leave their bucket: the objects whose message has made room for a tombstone.

Whether one may go is not remembered but looked up, in the bucket and in the stream. So what a worker leaves behind that
is killed, the next one finds. Another message of the stream may name the same object, as where the site gives each path
a message of its own (SYNC_MSG_ID=path); then it stays.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from syncdaemon.base.errors import LanePaused, LinkDown
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.link import Link
from syncdaemon.stream.api import Api
from syncdaemon.stream.object_format import BucketNames
from syncdaemon.stream.orphans import Orphans, Why

_LEAST, _SHARE = 2.0, 20.0  # seconds between two looks at least; and so many times as long as the look before

log = structlog.get_logger(__name__)


class FreedObjects:
    """Looks for them at the start, and when a large file was received."""

    def __init__(self, link: Link, stream: str) -> None:
        self._link, self._stream = link, stream
        self._due = asyncio.Event()
        self._bucket: BucketNames | None = None
        self._said = OnceAMinute()

    def of(self, bucket: BucketNames | None) -> None:
        """The bucket of the stream's site, and of no other; None where it is not known. It is looked at soon."""
        self._bucket = bucket
        self.received()

    def received(self) -> None:
        """A large file is safe, and its message has made room for a tombstone."""
        self._due.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._due.wait()
            self._due.clear()
            session = await self._link.wait_up()
            began, again = time.monotonic(), True
            try:
                again = await self._look(Api.over(session))
            except PermissionError as error:
                again = False
                if self._said.due(time.monotonic(), "objects_not_freed"):
                    log.warning("objects_not_freed", reason=str(error), effect="`syncdaemon bucket orphans` lists them")
            except (LinkDown, LanePaused):
                pass
            if again:
                self._due.set()
            await asyncio.sleep(max(_LEAST, _SHARE * (time.monotonic() - began)))

    async def _look(self, api: Api) -> bool:
        """Takes out what may go. Whether something stays that may go, too."""
        if self._bucket is None:
            return False
        orphans = Orphans(api, self._stream, self._bucket, None)
        freed = [one for one in await orphans.look() if one.why is Why.FREED]
        gone = await orphans.delete(freed)
        if gone and self._said.due(time.monotonic(), "objects_freed"):
            size = sum(orphan.meta.size for orphan in gone)
            log.info("objects_freed", bucket=self._bucket.bucket, objects=len(gone), bytes=size)
        return len(gone) < len(freed)
