"""Delivery: the three lines that are the guarantee, how batches overlap around them, and large files beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from syncdaemon.base.model import AsObject, Content, Fit, Held, Outcome, Receipt, Refusal, Row

OVERLAP = 8  # batches between reading and retiring; the publisher's window bounds them in bytes

S = TypeVar("S")
T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class SpoolLike(Protocol):
    """What delivery asks of the replay directory."""

    async def some(self) -> None: ...
    async def read(self, fit: Fit) -> list[Content | Refusal]: ...
    async def large_waits(self) -> None: ...
    async def read_large(self) -> Content | Refusal | None: ...
    async def retire(self, receipts: Sequence[Receipt]) -> list[Receipt]: ...
    async def set_aside(self, refusal: Refusal, first: str, last: str) -> None: ...
    def put_back(self, contents: Iterable[Content]) -> None: ...
    def put_back_large(self, contents: Sequence[Content]) -> None: ...
    def acknowledged(self, paths: Iterable[bytes]) -> None: ...


class PublisherLike(Protocol[S]):
    """What delivery asks of the publisher; `S` is the connection that a batch goes over."""

    async def ready(self) -> S: ...
    async def believed(self) -> None: ...
    async def caught_up(self) -> None: ...
    def fit(self, session: S) -> Fit: ...
    def refusal(self, content: Content, session: S) -> Refusal | None: ...
    async def publish(self, batch: Sequence[Content], session: S) -> list[Outcome]: ...
    def receipts_written(self, receipts: Sequence[Receipt]) -> None: ...


class ObjectsLike(Protocol[T_contra]):
    """What delivery asks of the bucket for large files."""

    async def ready(self, session: T_contra) -> None: ...
    async def store(self, content: Content, session: T_contra) -> bool | Refusal: ...


class LedgerLike(Protocol):
    """What delivery asks of the ledger."""

    async def ready(self) -> None: ...
    async def record(self, entries: Sequence[tuple[str, Row]]) -> None: ...


class Recorded:
    """Receipts that are in the ledger while their file is still in the replay directory."""

    def __init__(self) -> None:
        self._receipts: dict[tuple[str, int, str], Receipt] = {}

    def add(self, receipt: Receipt) -> None:
        """The file of this receipt could not be moved away, or a crash came before that."""
        content = receipt.content
        self._receipts[content.name, content.stamp.mtime_ns, content.sha256] = receipt

    def has(self, content: Content) -> bool:
        """Whether this very file has a receipt."""
        return (content.name, content.stamp.mtime_ns, content.sha256) in self._receipts

    def pop(self, content: Content) -> Receipt | None:
        """The receipt of this very file, if it has one."""
        if not self._receipts:
            return None
        receipt = self._receipts.pop((content.name, content.stamp.mtime_ns, content.sha256), None)
        return receipt._replace(content=content) if receipt else None

    def held(self) -> list[Held]:
        """Where the stream had these files."""
        kept = ((receipt.seq, receipt.content) for receipt in self._receipts.values())
        return [Held(b"", b"", seq, content.sha256, content.stamp.mtime_ns) for seq, content in kept]

    def void(self, held: Held) -> None:
        """The stream has lost it: the file is to be delivered once more."""
        self._receipts = {
            file: receipt
            for file, receipt in self._receipts.items()
            if (receipt.seq, receipt.content.sha256) != (held.seq, held.sha256)
        }

    def __bool__(self) -> bool:
        return bool(self._receipts)


class Delivery(Generic[S]):
    """Takes batches from the replay directory to the stream, the ledger and out of the way.

    `told` hears of every receipt and refusal as soon as it is certain; `now_text` is the wall clock as RFC 3339.
    """

    def __init__(
        self,
        spool: SpoolLike,
        publisher: PublisherLike[S],
        objects: ObjectsLike[S],
        ledger: LedgerLike,
        recorded: Recorded,
        now_text: Callable[[], str],
        told: Callable[[Sequence[Receipt], Sequence[Refusal]], None],
    ) -> None:
        self._spool = spool
        self._publisher = publisher
        self._objects = objects
        self._ledger = ledger
        self._recorded = recorded
        self._now_text = now_text
        self._told = told
        self._attempts: dict[bytes, int] = {}
        self._no_objects = False  # the bucket took no chunk
        self._as_object: set[str] = set()  # digests of what the stream has as an object, and so can't be a message
        self._slots = asyncio.Semaphore(OVERLAP)
        self._under_way: set[asyncio.Future[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers until `stop`, then waits for the batches under way."""
        async with asyncio.TaskGroup() as batches:
            await _unless(stop, self._publisher.ready())  # a wrong stream shows at once, not at the first file
            batches.create_task(self._run_large(stop))
            while not stop.is_set():
                await self._slots.acquire()
                taken = await _unless(stop, self._take())
                if taken is None:
                    return
                task = batches.create_task(self.deliver(*taken))
                self._under_way.add(task)
                task.add_done_callback(self._landed)

    def _landed(self, batch: asyncio.Future[None]) -> None:
        self._under_way.discard(batch)
        self._slots.release()

    @property
    def idle(self) -> bool:
        """Whether no batch is under way: what was published is recorded."""
        return not self._under_way

    async def finish_batches(self) -> None:
        """Waits for the batches that are under way now, all the way to the hold."""
        if self._under_way:
            await asyncio.wait(set(self._under_way))

    async def _take(self) -> tuple[S, list[Content | Refusal]]:
        """The next batch, and the connection it may go over: read only when it can be sent and recorded.

        The connection is the last to be asked for, so that it is not an old one after a quiet time. What the server has
        lost is known before anything else is sent: a receipt for it counts for nothing, and its sequence is free again.
        """
        while True:
            await self._spool.some()
            await self._ledger.ready()
            await self._publisher.caught_up()
            session = await self._publisher.ready()
            await self._publisher.believed()
            fit = self._publisher.fit(session)
            if batch := await self._spool.read(fit._replace(link=fit.message) if self._no_objects else fit):
                return session, batch

    async def _run_large(self, stop: asyncio.Event) -> None:
        """Large files, one after another, beside the batches: nobody waits for them."""
        while not stop.is_set():
            if (taken := await _unless(stop, self._take_large())) is None:
                return
            session, item = taken
            if isinstance(item, Content) and not self._recorded.has(item):
                item = await self._made_object(session, self._numbered(item), stop)
            if item is not None:
                await self._deliver_large(session, item)

    async def _deliver_large(self, session: S, item: Content | Refusal) -> None:
        """Its message goes like any other."""
        landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way.add(landed)
        try:
            await self.deliver(session, [item])
        finally:
            self._under_way.discard(landed)
            landed.set_result(None)

    async def _made_object(self, session: S, content: Content, stop: asyncio.Event) -> Content | Refusal | None:
        """The file, when there is an object that holds it. None: not yet, or not any more; it is taken again."""
        if (refusal := self._publisher.refusal(content, session)) is not None:
            return refusal
        stored = await _unless(stop, self._objects.store(content, session))
        if isinstance(stored, Refusal):
            size, most = content.stamp.size + len(content.name), self._publisher.fit(session).message
            if size > most or content.sha256 in self._as_object:
                return stored
            # Only the link made it an object: it is read again, whole this time, and goes as a message, however slowly.
            self._no_objects = True
            self._attempts[content.path] = content.attempts
            self._spool.put_back([content])
            return None
        if stored:
            self._no_objects = False
            self._as_object.discard(content.sha256)
        else:
            self._put_back([content])
        return content if stored else None

    async def _take_large(self) -> tuple[S, Content | Refusal | None]:
        """The next large file, and the connection that it may go over: only when it can be sent and recorded."""
        await self._spool.large_waits()
        await self._objects.ready(await self._publisher.ready())
        item = await self._spool.read_large()
        await self._ledger.ready()
        session = await self._publisher.ready()
        await self._publisher.believed()
        return session, item

    async def deliver(self, session: S, batch: Sequence[Content | Refusal]) -> None:
        """One batch, all the way. What has neither receipt nor refusal stays, and is taken again."""
        began = self._now_text()
        known, fresh, refusals = self._sort(batch)

        receipts, refused, objects = _split(await self._publisher.publish(fresh, session))
        refusals += refused
        self._count(fresh, receipts, refusals, objects)
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
            elif receipt := self._recorded.pop(item):
                known.append(receipt)
            else:
                fresh.append(self._numbered(item))
        self._spool.acknowledged(receipt.content.path for receipt in known)
        return known, fresh, refusals

    def _numbered(self, content: Content) -> Content:
        """The content, with the number of this attempt."""
        if self._attempts and (attempts := self._attempts.pop(content.path, 0)):
            return content._replace(attempts=attempts + 1)
        return content

    def _count(
        self,
        fresh: Sequence[Content],
        receipts: Sequence[Receipt],
        refusals: Sequence[Refusal],
        objects: Sequence[Content],
    ) -> None:
        """What is settled leaves the queue and is counted, in one step; the rest goes back into the queue."""
        settled = {receipt.content.path for receipt in receipts} | {refusal.content.path for refusal in refusals}
        self._spool.acknowledged(settled)
        self._told(receipts, refusals)
        self._as_object.update(content.sha256 for content in objects)
        if left := [content for content in fresh if content.path not in settled]:
            self._put_back(left)

    def _put_back(self, left: Sequence[Content]) -> None:
        """These are taken again: as what they were read for, or as an object where the stream has them as one."""
        self._attempts.update((content.path, content.attempts) for content in left)
        messages: list[Content] = []
        objects: list[Content] = []
        for content in left:
            if content.data is None or content.sha256 in self._as_object:
                objects.append(content._replace(data=None, packed=False))
            else:
                messages.append(content)
        self._spool.put_back(messages)
        self._spool.put_back_large(objects)

    async def _retire(self, receipts: list[Receipt]) -> None:
        for kept in await self._spool.retire(receipts):
            self._recorded.add(kept)


def _split(outcomes: Sequence[Outcome]) -> tuple[list[Receipt], list[Refusal], list[Content]]:
    receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    refusals = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    return receipts, refusals, [outcome.content for outcome in outcomes if isinstance(outcome, AsObject)]


def rows(receipts: Sequence[Receipt], refusals: Sequence[Refusal]) -> list[tuple[str, Row]]:
    """The ledger's rows for what became of a batch."""
    return [_receipt_row(receipt) for receipt in receipts] + [_refusal_row(refusal) for refusal in refusals]


def _receipt_row(receipt: Receipt) -> tuple[str, Row]:
    content = receipt.content
    row: dict[str, int | str | bool] = {
        "path": content.name,
        "size": content.stamp.size,
        "sha256": content.sha256,
        "msg_id": receipt.msg_id,
        "subject": receipt.subject,
        "stream": receipt.stream,
        "stream_seq": receipt.seq,
        "mtime_ns": content.stamp.mtime_ns,
        "attempts": content.attempts,
    }
    if receipt.object:
        row["object"] = receipt.object
    if content.packed and not receipt.duplicate:
        row["sent_bytes"] = len(content.data or b"")
    return "duplicate" if receipt.duplicate else "published", row


def _refusal_row(refusal: Refusal) -> tuple[str, Row]:
    content = refusal.content
    return "refused", {
        "path": content.name,
        "size": content.stamp.size,
        "sha256": content.sha256,
        "mtime_ns": content.stamp.mtime_ns,
        "attempts": content.attempts,
        "reason": refusal.reason,
        "error": refusal.detail,
    }


async def _unless(stop: asyncio.Event, work: Coroutine[None, None, T]) -> T | None:
    """What `work` returns, or None where `stop` comes first."""
    doing = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((doing, stopping), return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        stopping.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)
