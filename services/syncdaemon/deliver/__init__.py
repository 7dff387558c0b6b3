"""The order of the steps: a batch of files is published, recorded in the ledger, and only then retired.

`Delivery.deliver` is the guarantee, in three lines. Around it batches overlap, and large files go beside them
(`large.py`). The steps themselves are handed in; `needs.py` says what each of them does and where it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from syncdaemon.base.model import AsObject, Content, Later, Outcome, Receipt, Refusal
from syncdaemon.base.sizes import SIZE_CLASSES
from syncdaemon.base.tasks import unless
from syncdaemon.deliver.large import LargeDelivery
from syncdaemon.deliver.needs import LedgerLike, ObjectsLike, PublisherLike, Session, SpoolLike
from syncdaemon.deliver.retries import Retries
from syncdaemon.deliver.unretired import Unretired
from syncdaemon.ledger.rows import rows

OVERLAP = 8  # batches between reading and retiring; the publisher's window bounds them in bytes


class Delivery:
    """Takes batches from the replay directory to the stream, to the ledger and out of the way.

    `on_outcomes` is called with receipts and refusals as soon as they are certain; `now_text` is the wall clock as
    RFC 3339. `unretired` has the receipts of files that are delivered and still there.
    """

    def __init__(
        self,
        spool: SpoolLike,
        publisher: PublisherLike,
        objects: ObjectsLike,
        ledger: LedgerLike,
        *,
        on_outcomes: Callable[[Sequence[Receipt], Sequence[Refusal]], None],
        now_text: Callable[[], str],
    ) -> None:
        self.unretired = Unretired()
        self._spool = spool
        self._publisher = publisher
        self._ledger = ledger
        self._retries = Retries(spool)
        self._large = LargeDelivery(spool, publisher, objects, ledger, unretired=self.unretired, retries=self._retries)
        self._on_outcomes = on_outcomes
        self._now_text = now_text
        self._slots = asyncio.Semaphore(OVERLAP)
        self._under_way: set[asyncio.Task[None]] = set()

    async def deliver(self, session: Session, batch: Sequence[Content | Refusal]) -> None:
        """One batch, all the way. A file that gets neither a receipt nor a refusal stays, and is taken again."""
        began = self._now_text()
        known, fresh, refusals = self._sort(batch)

        receipts, refused, others = _split(await self._publisher.publish(fresh, session))
        refusals += refused
        self._count(fresh, receipts, refusals, others)
        await self._ledger.record(rows(receipts, refusals))
        self._publisher.receipts_written(receipts)
        await self._retire(known + receipts)
        for refusal in refusals:
            await self._spool.set_aside(refusal, began, self._now_text())

    def _sort(self, batch: Sequence[Content | Refusal]) -> tuple[list[Receipt], list[Content], list[Refusal]]:
        """Recorded already and only to be retired; to be published; refused on reading."""
        known: list[Receipt] = []
        fresh: list[Content] = []
        refusals: list[Refusal] = []
        for item in batch:
            if isinstance(item, Refusal):
                refusals.append(item)
            elif receipt := self.unretired.pop(item):
                known.append(receipt)
            else:
                fresh.append(self._retries.numbered(item))
        self._spool.acknowledged(receipt.content.path for receipt in known)
        return known, fresh, refusals

    def _count(
        self,
        fresh: Sequence[Content],
        receipts: Sequence[Receipt],
        refusals: Sequence[Refusal],
        others: Sequence[AsObject | Later],
    ) -> None:
        """Files with an outcome leave the queue and are counted, in one step; the others go back into the queue."""
        later = [outcome for outcome in others if isinstance(outcome, Later)]
        certain = {receipt.content.path for receipt in receipts} | {refusal.content.path for refusal in refusals}
        self._spool.acknowledged(certain)
        self._on_outcomes(receipts, refusals)
        self._retries.need_objects(outcome for outcome in others if isinstance(outcome, AsObject))
        self._retries.put_back_later(later)
        placed = certain | {outcome.content.path for outcome in later}
        if left := [content for content in fresh if content.path not in placed]:
            self._retries.put_back(left)

    async def _retire(self, receipts: Sequence[Receipt]) -> None:
        for kept in await self._spool.retire(receipts):
            self.unretired.add(kept)

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers until `stop`, then waits for the batches under way."""
        async with asyncio.TaskGroup() as batches:
            await unless(stop, self._publisher.ready())  # a wrong stream shows at once, not at the first file
            for size_class in SIZE_CLASSES:
                batches.create_task(self._run_large(size_class, stop, batches))
            while not stop.is_set():
                await self._slots.acquire()
                taken = await unless(stop, self._take())
                if taken is None:
                    return
                self._begin(batches, *taken).add_done_callback(self._free_slot)

    async def _run_large(self, size_class: int, stop: asyncio.Event, batches: asyncio.TaskGroup) -> None:
        """Large files of one size class, one after another, beside the batches: no batch waits for them."""
        while (taken := await self._large.next(size_class, stop)) is not None:
            session, item = taken
            await asyncio.wait([self._begin(batches, session, [item])])

    def _begin(
        self, batches: asyncio.TaskGroup, session: Session, batch: Sequence[Content | Refusal]
    ) -> asyncio.Task[None]:
        task = batches.create_task(self.deliver(session, batch))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    def _free_slot(self, _: asyncio.Task[None]) -> None:
        self._slots.release()

    async def _take(self) -> tuple[Session, list[Content | Refusal]]:
        """The next batch and the session that it may go over: read only when it can be sent and recorded.

        The session is asked for last, so that it is not an old one after a quiet time. We know what the server has
        lost before anything else is sent: a receipt for it counts for nothing, and its sequence is free again.
        """
        while True:
            await self._spool.some()
            await self._ledger.ready()
            await self._publisher.caught_up()
            session = await self._publisher.ready()
            await self._publisher.believed()
            if batch := await self._spool.read(self._retries.fit(self._publisher.fit(session))):
                return session, batch

    @property
    def idle(self) -> bool:
        """Whether no batch is under way: what was published is recorded."""
        return not self._under_way

    async def finish_batches(self) -> None:
        """Waits until the batches that are under way now are retired."""
        if self._under_way:
            await asyncio.wait(set(self._under_way))


def _split(outcomes: Sequence[Outcome]) -> tuple[list[Receipt], list[Refusal], list[AsObject | Later]]:
    receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    refusals = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    return receipts, refusals, [outcome for outcome in outcomes if isinstance(outcome, AsObject | Later)]
