"""Large files: each becomes an object of the bucket first, and then its message goes like any other.

They go beside the batches, so that no batch waits for a large file. Those of one size class go one after another, and
the classes beside one another, so that no large file waits for a much larger one.
"""

from __future__ import annotations

import asyncio

from syncdaemon.base.model import Content, Refusal
from syncdaemon.base.tasks import unless
from syncdaemon.deliver.needs import LedgerLike, ObjectsLike, PublisherLike, Session, SpoolLike
from syncdaemon.deliver.retries import Retries
from syncdaemon.deliver.unretired import Unretired


class LargeDelivery:
    """Takes large files from the replay directory and has their objects stored."""

    def __init__(
        self,
        spool: SpoolLike,
        publisher: PublisherLike,
        objects: ObjectsLike,
        ledger: LedgerLike,
        *,
        unretired: Unretired,
        retries: Retries,
    ) -> None:
        self._spool = spool
        self._publisher = publisher
        self._objects = objects
        self._ledger = ledger
        self._unretired = unretired
        self._retries = retries

    async def next(self, size_class: int, stop: asyncio.Event) -> tuple[Session, Content | Refusal] | None:
        """The next file of this class that is to be delivered, and the session that its message may go over.

        The object of the file is complete, or the file is refused, or it is recorded already and only has to be
        retired. None: `stop` came first.
        """
        while not stop.is_set():
            if (taken := await unless(stop, self._take(size_class))) is None:
                return None
            session, item = taken
            if isinstance(item, Content) and not self._unretired.has(item):
                item = await self._store(session, self._retries.numbered(item), stop)
            if item is not None:
                return session, item
        return None

    async def _take(self, size_class: int) -> tuple[Session, Content | Refusal | None]:
        """The next large file and a session: only when it can be sent and recorded."""
        await self._spool.large_waits(size_class)
        await self._objects.ready(await self._publisher.ready())
        item = await self._spool.read_large(size_class)
        await self._ledger.ready()
        session = await self._publisher.ready()
        await self._publisher.believed()
        await self._publisher.measured(session)
        return session, item

    async def _store(self, session: Session, content: Content, stop: asyncio.Event) -> Content | Refusal | None:
        """The file, when its object is complete in the bucket. None: not yet, and the file is taken again."""
        if (refusal := self._publisher.refusal(content, session)) is not None:
            return refusal
        placed = await unless(stop, self._objects.placed(self._retries.where_needed(content), session))
        if placed is None:
            self._retries.put_back([content])
            return None
        content = placed
        stored = await unless(stop, self._objects.store(content, session))
        if isinstance(stored, Refusal):
            if not self._can_be_message(content, session):
                return stored
            self._retries.put_back_as_message(content)
            return None
        if not stored:
            self._retries.put_back([content])
            return None
        self._retries.object_stored(content)
        return content

    def _can_be_message(self, content: Content, session: Session) -> bool:
        """Whether only a slow link made it a large file: a message can hold it, however long that takes to send."""
        size = content.stamp.size + len(content.name)
        return size <= self._publisher.fit(session).message and not self._retries.needs_object(content)
