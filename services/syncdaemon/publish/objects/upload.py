"""The way of one file into the bucket, from where an earlier attempt left it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing, suppress

import structlog

from syncdaemon.base.errors import LinkDown
from syncdaemon.publish.objects.bucket import Bucket
from syncdaemon.publish.objects.file import UploadFile
from syncdaemon.publish.objects.flight import ChunkFlight
from syncdaemon.publish.objects.halt import Halt, halt
from syncdaemon.publish.objects.resume import GoOn, decide
from syncdaemon.publish.objects.source import Changed
from syncdaemon.publish.objects.states import UploadState
from syncdaemon.publish.objects.turns import Turns
from syncdaemon.stream import verdict
from syncdaemon.stream.object_format import Chunk, Meta

_ATTEMPTS = 4  # looks at what the bucket holds, until a pause is due

log = structlog.get_logger(__name__)


class Upload:
    """A file on its way. `at`: how many of its bytes the bucket has.

    The class has more than 150 lines because here is judged why an upload goes on or begins again.

    `stored` is called for each chunk that the bucket takes, with its bytes. `turns` says when another upload should go
    on instead.
    """

    def __init__(
        self,
        bucket: Bucket,
        file: UploadFile,
        meta: Meta,
        kept: UploadState,
        *,
        turns: Turns,
        stored: Callable[[int], None],
        shared: bool = False,
    ) -> None:
        """`shared`: others may write into the bucket. What this process did not send is read back before it counts."""
        self._shared = shared
        self._bucket = bucket
        self._file = file
        self._meta = meta
        self._size = kept.size
        self._kept = kept
        self._stored = stored
        self._turns = turns
        self.at = 0

    async def run(self) -> None:
        """Returns when the object is whole.

        Raises Changed where the file is not what it was, OSError where it can't be read, LinkDown, and Halt where the
        bucket takes no more for now, TurnOver. Whatever this raises, the next attempt resumes after what is stored.
        """
        for _ in range(_ATTEMPTS):
            there = await self._bucket.meta(self._meta.name)
            if there is not None and await self._is_whole(there):
                return
            await self._take_out_strays()
            plan = await self._plan()
            if plan is None or not await self._send(plan):
                self._turns.check()
                continue
            await self._check()
            if await self._bucket.count(self._meta.nuid) != self._meta.chunks:
                continue
            if await self._bucket.put_meta(self._meta, self._size, there.seq if there else 0) and await self._proved():
                return
        raise Halt("upload_unsettled", f"what the bucket holds of {self._meta.name} changes by itself", 1.0)

    async def _is_whole(self, there: Meta) -> bool:
        """Whether the object is there, whoever stored it. Then our own chunks of it are of no use."""
        if not there.is_of(self._meta) or await self._bucket.count(there.nuid) != there.chunks:
            return False
        if self._shared and not await self._bucket.holds(self._meta.name):
            log.warning("object_not_believed", object=self._meta.name, reason="its chunks have another digest")
            if there.nuid == self._meta.nuid:
                await self._discard("its chunks are not ours")
            return False
        if there.nuid != self._meta.nuid:
            with suppress(Halt):  # the object is whole all the same
                await self._bucket.purge(self._meta.nuid)
        return True

    async def _proved(self) -> bool:
        """Whether the object that we finished is what it says; else it is begun again."""
        if not self._shared or self._kept.own or await self._bucket.holds(self._meta.name):
            return True
        await self._discard("the chunks that were there are not ours")
        return False

    async def _plan(self) -> GoOn | None:
        """Where to resume; None where the upload has to begin again. Then the chunks that were there are gone."""
        plan = decide(await self._bucket.found(self._meta.nuid), self._meta.nuid, self._meta.chunks)
        if isinstance(plan, GoOn):
            offset = min(plan.number * self._size, self._meta.size)
            session = self._bucket.session
            lost = session.lost
            while not await self._file.go_to(offset):
                if lost.done():
                    raise LinkDown(lost.result())
                self._turns.check()
            if not plan.number or self._file.so_far == plan.so_far:
                return plan
            plan = "the chunks that are there are of other bytes"
        await self._discard(plan)
        return None

    async def _discard(self, why: str) -> None:
        """Takes out every chunk of this upload. They belong to this site alone."""
        log.warning("upload_begun_again", object=self._meta.name, reason=why)
        await self._bucket.purge(self._meta.nuid)
        strays = self._kept.strays
        strays.clear()

    async def _take_out_strays(self) -> None:
        """Takes out the chunks that were stored after a gap, so that the upload can fill it."""
        strays = self._kept.strays
        while strays:
            await self._bucket.delete(strays[-1])
            strays.pop()

    async def _check(self) -> None:
        """Raises Changed where what was sent does not have the digest, or the file has changed."""
        if not self._file.is_whole(self._meta.name):
            await self._discard("the file changed while it was read")
            raise Changed("its digest is another one")
        await self._file.check()

    async def _send(self, plan: GoOn) -> bool:
        """Sends what is missing. False: we have to look at the bucket again."""
        self._kept.generation = max(self._kept.generation, plan.generation)
        self._kept.own = self._kept.own or not plan.number
        self.at = plan.number * self._size
        bucket = self._bucket
        flight = ChunkFlight(bucket.session, bucket.names, plan.number, plan.seq, self._arrived, domain=bucket.domain)
        try:
            await self._fly(flight)
        except (Changed, OSError) as error:
            await flight.landed()
            if isinstance(error, Changed):
                await self._discard(str(error))
            raise
        return self._settle(flight, plan.number)

    async def _fly(self, flight: ChunkFlight) -> None:
        """Sends all chunks from the flight's next on, in order. The first goes alone, to see whether it is taken."""
        first = number = flight.next
        async with aclosing(self._file.ahead(flight)) as ahead:
            async for pieces in ahead:
                for data, so_far in pieces:
                    if not await flight.room(len(data)):
                        break
                    chunk = Chunk(self._meta.nuid, number, self._kept.generation, so_far)
                    flight.add(chunk, self._meta.name, data)
                    if number == first:
                        await flight.landed()
                    number += 1
                await flight.flush()
                if flight.over or self._turns.over:
                    break
        await flight.landed()

    def _arrived(self, size: int) -> None:
        self.at += size
        self._stored(size)

    def _settle(self, flight: ChunkFlight, began: int) -> bool:
        """Decides what comes after this flight. True: every chunk is stored. Raises LinkDown, Halt."""
        strays = flight.strays
        self._kept.strays += strays
        if strays or (flight.repeated and flight.next == began):
            # The server knows ids of chunks that are not there, or soon will not be. It would not store them again.
            self._kept.generation += 1
        if flight.cut:
            raise LinkDown(flight.cut)
        if isinstance(flight.trouble, verdict.Again | verdict.Stop | verdict.Refuse):
            names = self._bucket.names
            raise halt(names.bucket, flight.trouble)
        return flight.trouble is None and flight.next == self._meta.chunks
