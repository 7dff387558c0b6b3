"""The daemon: every part made from the settings, wired together, started and stopped in order."""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from math import nan
from typing import Any
from urllib.parse import unquote_to_bytes

import structlog

from syncdaemon import __version__
from syncdaemon.base.errors import ConnectTimeout, SettingsError
from syncdaemon.base.model import Content, Receipt, Refusal, Row, Stamp
from syncdaemon.base.tasks import background, finish
from syncdaemon.daemon.metrics import Gauges, Metrics
from syncdaemon.daemon.report import Report
from syncdaemon.deliver import Delivery, Recorded
from syncdaemon.deliver.resend import Recheck
from syncdaemon.ledger import Entry, Ledger, now_text, open_attempts
from syncdaemon.link import STOPPED, Link, Session
from syncdaemon.publish import Lane, Publisher
from syncdaemon.publish.objects import Objects
from syncdaemon.publish.recent import Recent
from syncdaemon.settings import parts
from syncdaemon.settings.values import Settings
from syncdaemon.spool import Spool
from syncdaemon.stream.presence import lost
from syncdaemon.web.server import Views, Web

FINISH_SECONDS = 10.0  # how long acknowledgements under way are awaited at the end
_EXPIRE_SECONDS = 1.0
_ORDERS_SECONDS = 1.0  # between two looks for what the operator wants out of the quarantine

log = structlog.get_logger(__name__)


class Daemon:
    """One site's daemon. `run` is the whole of its life; `drain` delivers what is there and ends."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.spool = Spool(parts.spool(settings))
        self.link = Link(parts.link(settings), self._link_changed)
        self.metrics = Metrics(settings.site, self._live())
        self.ledger = Ledger(
            settings.sync_ledger_dir, settings.site, settings.sync_min_free_bytes, self.metrics.fsynced
        )
        self.lane = Lane(self.link, parts.message(settings), parts.stream(settings), self.ledger)
        self.publisher = Publisher(self.lane, parts.message(settings), self.metrics)
        self.objects = Objects(parts.objects(settings), self.metrics)
        self.recorded = Recorded()
        self.delivery = Delivery(
            self.spool, self.publisher, self.objects, self.ledger, self.recorded, now_text, self._told
        )
        self.recheck = Recheck(
            self.lane,
            self.spool,
            self.recorded,
            self.delivery.finish_batches,
            lambda session, held: lost(
                session, settings.sync_stream, settings.subject_for("*"), held, self.objects.lost
            ),
            self.ledger.receipts_of,
            self.ledger.record,
            self.metrics.held_lost,
        )
        self.report = Report(
            settings, self.spool, self.link, self.publisher, self.objects, self.ledger, self.metrics.bandwidth
        )
        self.first_receipt = asyncio.Event()
        self._own_rows: asyncio.Queue[Entry] = asyncio.Queue()

    def _live(self) -> Gauges:
        return Gauges(
            queue_depth=lambda: self.spool.backlog.depth,
            link_status=lambda: int(self.link.proved()),
            in_doubt=lambda: self.report.in_doubt(),
            held=lambda: self.spool.hold.count,
            quarantined=lambda: self.spool.quarantine.count,
            oldest_age=self.spool.oldest_age,
            bwlimit=lambda: self.link.limit.rate,
            horizon=lambda: self.lane.horizon,
            ledger_free=self._ledger_free,
            ledger_min_free=lambda: self.settings.sync_min_free_bytes,
        )

    def _ledger_free(self) -> float:
        try:
            return self.ledger.free_bytes()
        except OSError:  # the folder was taken away; the other numbers are still true
            return nan

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        """Directory and ledger taken, `open` and `close` rows written around it all.

        Raises SettingsError or LedgerDamaged before anything is touched.
        """
        signal.signal(signal.SIGIO, signal.SIG_IGN)  # a broken read lease; its default would end the process
        _spare_the_collector()
        self.spool.open()
        try:
            recent: list[dict[str, Any]] = []
            self.ledger.open(recent.append)
            self._remember(recent)
            if not self.settings.subject_is_per_digest:
                self.lane.doubt.take_over(open_attempts(self.ledger.folder, self.ledger.site))
            host: Row = {"host": platform.node(), "pid": os.getpid(), "version": __version__}
            self._own_rows.put_nowait(("open", host))  # not waited for: who finds the disk full has to say so
            try:
                await self._put_back(wait=True)  # before any of it can be delivered
                yield
            finally:
                with suppress(TimeoutError):
                    async with asyncio.timeout(FINISH_SECONDS):
                        await self._last_rows()
        finally:
            await self.ledger.close()
            self.objects.close()
            self.spool.close()

    async def _last_rows(self) -> None:
        rows = self._pending_rows()
        await self.ledger.record([*rows, ("close", {"rows": self.ledger.rows + len(rows) + 1})])

    def _remember(self, rows: Sequence[dict[str, Any]]) -> None:
        """The newest receipts; and those of them whose file is still there: a crash came before it was retired."""
        receipts = _valid(rows)
        published = [row["stream_seq"] for row in receipts if row["event"] == "published"]
        void = (row["stream_seq"] for row in rows if row["event"] == "held_lost")
        self.lane.recorded = Recent(published, whole=not rows or rows[0]["n"] == 1, void=void)
        for row in receipts:
            path = unquote_to_bytes(row["path"])
            try:
                found = os.lstat(os.path.join(self.spool.settings.replay_dir, path))
            except OSError:
                continue
            if (found.st_size, found.st_mtime_ns) == (row["size"], row["mtime_ns"]):
                stamp = Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                content = Content(path, row["path"], stamp, None, row["sha256"], row["attempts"])
                told = (row["msg_id"], row["subject"], row["stream"], row["stream_seq"], row["event"] == "duplicate")
                self.recorded.add(Receipt(content, *told, row.get("object", "")))

    async def run(self, stop: asyncio.Event, started: Callable[[int], None] = lambda port: None) -> None:
        """Delivers until `stop`. Raises SettingsError or LedgerDamaged where it can't begin.

        `started` gets the port of the web side, when everything runs and that listens.
        """
        web = Web(self.settings.http_host, self.settings.http_port, self._views())
        async with self._open():
            await web.start()
            try:
                await self._work(stop, lambda: started(web.port))
            finally:
                await web.stop()

    async def _work(self, stop: asyncio.Event, started: Callable[[], None]) -> None:
        if not self.settings.edge_mode:
            log.warning("standing_by", setting="EDGE_MODE=false", effect="nothing is published")
        async with background(self.spool.watch(), *self._upkeep()) as failed:
            started()
            work: asyncio.Task[Any]
            if self.settings.edge_mode:
                work = asyncio.create_task(self.delivery.run(stop))
            else:
                work = asyncio.create_task(stop.wait())
            await finish(work, stop, failed, FINISH_SECONDS)

    def _upkeep(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on beside the delivery."""
        yield self.link.run()
        yield self._write_own_rows()
        yield self._put_back_asked()
        if self.settings.edge_mode:
            yield self.lane.keep_open()
            yield self.recheck.run()
            yield self._expire()

    async def drain(
        self,
        within: float | None,
        progress: Callable[[Daemon], None] = lambda daemon: None,
        stop: asyncio.Event | None = None,
    ) -> None:
        """Delivers what is in the directory now, and returns; sooner where `stop` is set.

        Raises ConnectTimeout where there was no connection in `within` seconds, TimeoutError where not all
        was delivered by then, or by `stop`.
        """
        stop = stop or asyncio.Event()
        async with self._open():
            await self._scan()
            async with background(*self._upkeep()) as failed:
                work = asyncio.create_task(self.delivery.run(stop))
                drained = asyncio.create_task(self._drained(progress))
                await asyncio.wait((work, drained, failed), timeout=within, return_when=asyncio.FIRST_COMPLETED)
                in_time = drained.done()
                drained.cancel()
                stop.set()
                await finish(work, stop, failed, FINISH_SECONDS)
                if not in_time:
                    raise self._late()
                drained.result()

    async def _drained(self, progress: Callable[[Daemon], None]) -> None:
        """Until nothing is left. Files that came after the last scan are not waited for."""
        while True:
            progress(self)
            if self.spool.problem:
                raise SettingsError(self.spool.problem)
            if self.spool.backlog.wants_scan or (self.spool.backlog.idle and not self.spool.backlog.complete):
                await self._scan()
            elif self.spool.backlog.idle and not self._held_unseen():
                return
            await asyncio.sleep(0.01)

    def _held_unseen(self) -> bool:
        """Whether held files may have to be sent again, as far as is known now."""
        return bool(self.spool.hold.count) and self.link.proved() and not self.lane.trusted

    async def _scan(self) -> None:
        try:
            await self.spool.scan()
        except OSError as error:
            raise SettingsError(f"SYNC_REPLAY_DIR can't be read: {error}") from None

    def _late(self) -> Exception:
        if self.link.connects:
            why = self.lane.paused or self.objects.paused or self.ledger.problem or "stopped, or out of time"
            return TimeoutError(f"{self.spool.backlog.depth} files left; {why}")
        return ConnectTimeout(f"NATS_URL: no connection: {self.link.problem}")

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRE_SECONDS)
            if self.spool.scanned.is_set() and not self.spool.backlog.depth and self.delivery.idle:
                self.publisher.nothing_waits()
            due = self.spool.hold.next_expiry()
            if due is not None and due <= time.monotonic() and self.lane.trusted and self.link.proved():
                await self.spool.expire()

    async def _put_back_asked(self) -> None:
        while True:
            await asyncio.sleep(_ORDERS_SECONDS)
            await self.ledger.ready()
            await self._put_back()

    async def _put_back(self, wait: bool = False) -> None:
        """Refused files that the operator wants delivered: moved, recorded, and only then is the order forgotten."""
        if orders := await self.spool.put_back_asked(wait):
            await self.ledger.record([*self._pending_rows(), *(order.row() for order in orders)])
            await self.spool.forget(orders)

    def _told(self, receipts: Sequence[Receipt], refusals: Sequence[Refusal]) -> None:
        self.metrics.delivered(receipts)
        for refusal in refusals:
            self.metrics.refused(refusal.reason)
        self.report.told(receipts, refusals)
        if receipts:
            self.first_receipt.set()

    def _link_changed(self, session: Session | None, reason: str) -> None:
        if session is None:
            (log.info if reason == STOPPED else log.warning)("link_down", reason=reason)
            self._own_rows.put_nowait(("link", {"up": False, "reason": reason}))
            return
        if self.link.connects > 1:
            self.metrics.reconnected()
        server = session.server
        log.info("link_up", url=self.link.shown_url, **server)
        self._own_rows.put_nowait(("link", {"up": True, **server}))

    def _pending_rows(self) -> list[Entry]:
        rows: list[Entry] = []
        while not self._own_rows.empty():
            rows.append(self._own_rows.get_nowait())
        return rows

    async def _write_own_rows(self) -> None:
        """For ever: what the daemon has to say of itself."""
        while True:
            row = await self._own_rows.get()
            await self.ledger.record([row, *self._pending_rows()])

    def _views(self) -> Views:
        return Views(self.metrics.text, self.report.checks, frozenset({"scanned", "ledger"}), self.report.status)


def _valid(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The receipts among these rows; not those of messages that the server has lost since."""
    receipts: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["event"] in ("published", "duplicate"):
            receipts.setdefault((row["stream_seq"], row["sha256"]), []).append(row)
        elif row["event"] == "held_lost":
            receipts.pop((row["stream_seq"], row["sha256"]), None)
    return [row for same in receipts.values() for row in same]


def _spare_the_collector() -> None:
    """What is there at the start stays, and what a batch makes has no cycles: the collector need hardly look."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def install_signals(stop: asyncio.Event) -> None:
    """SIGTERM and SIGINT set `stop`; a second one ends the process at once, which is safe at every instant."""
    loop = asyncio.get_running_loop()

    def ask(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask, number)
