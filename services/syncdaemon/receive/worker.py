"""The work: what arrives becomes files, and is acknowledged when these are safe."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from urllib.parse import quote_from_bytes

import structlog

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.base.tasks import background, finish, in_thread
from syncdaemon.link import Link
from syncdaemon.receive import large
from syncdaemon.receive.files.home import ReceiveDirectory
from syncdaemon.receive.files.store import Store
from syncdaemon.receive.freeing import Freeing
from syncdaemon.receive.incoming import Freed, Outcome, Placed, Rejected, Retry, Wanted, retry_seconds
from syncdaemon.receive.large import LargeFiles
from syncdaemon.receive.meter import Meter
from syncdaemon.receive.pull import answers
from syncdaemon.receive.pull.answers import Answer
from syncdaemon.receive.pull.hands import Hands, Unanswered
from syncdaemon.receive.pull.intake import Intake

FINISH_SECONDS = 10.0  # how long messages under way are finished at the end
_GROUP = 64  # messages that are written in one go
_GROUPS = 4  # groups that are written at the same time: the file system makes one of their fsyncs
_DISK_SECONDS = 5.0  # how long nothing is pulled after trouble with the disk
_DISK_MEMORY = 90.0  # and how long it counts if nothing is written: what was put back comes again within a minute
_BEAT_SECONDS = 0.5  # at most between two looks at what takes long
_SWEEP_SECONDS = 60.0
_PUT_BACK_SECONDS = 2.0

log = structlog.get_logger(__name__)


class Worker:
    """Receives into `home`. At least `min_free` bytes of its disk stay free. `freeing`: what is received is freed."""

    def __init__(
        self,
        link: Link,
        hands: Hands,
        home: ReceiveDirectory,
        meter: Meter,
        *,
        min_free: int,
        freeing: Freeing | None = None,
    ) -> None:
        self._link, self._hands, self._home, self._meter = link, hands, home, meter
        self._min_free, self._freeing = min_free, freeing
        self._store = Store(home, min_free)
        self._threads = ThreadPoolExecutor(_GROUPS + large.AT_ONCE, "receive")
        self._groups = asyncio.Semaphore(_GROUPS)
        self._large = LargeFiles(link, self._store, self._threads)
        self._disk_trouble: tuple[str, float] = ("", 0.0)  # and when it was seen
        self._no_room = ""
        self._said = OnceAMinute()

    async def run(self, intake: Intake, stop: asyncio.Event) -> None:
        """Works until `stop`; then finishes or puts back what is held. Raises SettingsError where the intake does."""
        taking = asyncio.create_task(self._take_in(intake, stop))
        try:
            beside = [] if self._freeing is None else [self._freeing.free_objects()]
            async with background(self._handle(), self._beat(intake), self._sweep(), *beside) as failed:
                await finish(taking, stop, failed, FINISH_SECONDS)
        finally:
            await self._put_back()
            self._threads.shutdown()
            self._store.close()

    async def _take_in(self, intake: Intake, stop: asyncio.Event) -> None:
        await intake.run(stop)
        while len(self._hands):
            await self._hands.fewer()

    @property
    def disk_problem(self) -> str:
        """Why nothing is written: too little room at the newest look, or recent trouble and nothing written since."""
        return self._no_room or self._disk_trouble_within(_DISK_MEMORY)

    def _disk_trouble_within(self, seconds: float) -> str:
        problem, at = self._disk_trouble
        return problem if time.monotonic() - at < seconds else ""

    async def disk(self) -> str:
        """Why nothing is to be pulled now; empty while the disk can be written to."""
        if trouble := self._disk_trouble_within(_DISK_SECONDS):
            return trouble
        self._no_room = await self._lacking()
        return self._no_room

    async def _lacking(self) -> str:
        try:
            free = await in_thread(self._threads, self._home.free_bytes)
        except OSError as error:
            return f"DIR: {error.strerror}"
        return f"DIR: {free} bytes free, SYNC_MIN_FREE_BYTES is {self._min_free}" if free < self._min_free else ""

    async def _handle(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._groups.acquire()
                group = await self._hands.next(_GROUP)
                for held in group:
                    if held.item.is_object:
                        tasks.create_task(self._take_object(held))
                if plain := [held for held in group if not held.item.is_object]:
                    tasks.create_task(self._take_group(plain))
                else:
                    self._groups.release()

    async def _take_group(self, group: Sequence[Unanswered]) -> None:
        try:
            outcomes = await in_thread(self._threads, partial(self._store.take, [held.item for held in group]))
        finally:
            self._groups.release()
        await self._answer(group, outcomes)

    async def _take_object(self, held: Unanswered) -> None:
        await self._answer([held], [await self._large.take(held.item)])

    async def _answer(self, group: Sequence[Unanswered], outcomes: Sequence[Outcome]) -> None:
        """Answers each message with what became of it, and forgets it. Counted is what the server has confirmed."""
        if self._freeing is not None:
            outcomes = await self._freeing.free(group, outcomes)
        self._heed(group, outcomes)
        given = [Answer(held, _body(held, outcome)) for held, outcome in zip(group, outcomes, strict=True)]
        confirmed = await answers.give(self._link, given)
        self._hands.release(group)
        now = time.monotonic()
        for held, outcome, known in zip(group, outcomes, confirmed, strict=True):
            if known:
                self._meter.answered(outcome, now - held.since)

    def _heed(self, group: Sequence[Unanswered], outcomes: Sequence[Outcome]) -> None:
        """Logs what people should know, and notes where the disk takes nothing at all."""
        if any(isinstance(outcome, Placed) and outcome.how != "unchanged" for outcome in outcomes):
            self._disk_trouble = "", 0.0
        later: Counter[Retry] = Counter()
        left_out: dict[str, list[int]] = {}
        for held, outcome in zip(group, outcomes, strict=True):
            seq = held.item.seq
            if isinstance(outcome, Rejected) and not outcome.kept:
                left_out.setdefault(outcome.reason, []).append(seq)
            elif isinstance(outcome, Rejected):
                log.warning("message_rejected", stream_seq=seq, reason=outcome.reason, detail=outcome.detail)
            elif isinstance(outcome, Retry):
                later[outcome] += 1
            elif isinstance(outcome, Placed) and outcome.how == "beside":
                log.warning("kept_beside", stream_seq=seq, **_names(held.item.wanted))
        for reason, seqs in left_out.items():
            if self._said.due(time.monotonic(), f"messages_left_out {reason}"):
                _say_left_out(reason, seqs)
        for retry, count in later.items():
            if self._said.due(time.monotonic(), f"messages_put_back {retry.reason}"):
                log.warning("messages_put_back", reason=retry.reason, detail=retry.detail, count=count)
            if retry.disk and count == len(group):
                self._disk_trouble = f"DIR: {retry.detail}", time.monotonic()

    async def _beat(self, intake: Intake) -> None:
        """Keeps what takes long from being delivered again in the meantime."""
        while True:
            await asyncio.sleep(min(_BEAT_SECONDS, intake.info.ack_wait / 8))
            await answers.in_progress(self._link, self._hands.due(intake.info.ack_wait / 3))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                await in_thread(self._threads, self._home.sweep)
            except OSError as error:
                if self._said.due(time.monotonic(), "leftovers_stay"):
                    log.warning("leftovers_stay", reason=error.strerror)

    async def _put_back(self) -> None:
        """Gives what is held at the end to another worker at once, and not only after its `ack_wait`."""
        if left := self._hands.all():
            log.info("putting_back", messages=len(left))
            with suppress(TimeoutError):
                async with asyncio.timeout(_PUT_BACK_SECONDS):
                    await answers.give(self._link, [Answer(held, answers.nak(0)) for held in left])


def _say_left_out(reason: str, seqs: Sequence[int]) -> None:
    """One line for many messages: a sender of these can send any number."""
    effect = ".rejected has no room for more; only the stream has their bodies"
    first, last = min(seqs), max(seqs)
    log.warning("messages_left_out", reason=reason, count=len(seqs), first_seq=first, last_seq=last, effect=effect)


def _body(held: Unanswered, outcome: Outcome) -> bytes:
    if isinstance(outcome, Placed | Freed):
        return answers.ACK
    if isinstance(outcome, Rejected):
        return answers.term(outcome.reason, outcome.detail)
    return answers.nak(retry_seconds(outcome, held.item.times))


def _names(wanted: Wanted | Rejected | Retry | Freed) -> dict[str, str]:
    if not isinstance(wanted, Wanted):
        return {}
    return {"site": wanted.site, "path": quote_from_bytes(b"/".join(wanted.path)), "sha256": wanted.sha256}
