"""The daemon: every part made from the settings, wired together, started and stopped in order."""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import unquote_to_bytes

import structlog

from syncdaemon import __version__
from syncdaemon.deliver import Delivery, Recorded
from syncdaemon.errors import ConnectTimeout
from syncdaemon.ledger import Ledger, now_text
from syncdaemon.link import STOPPED, Link, LinkSettings, Session
from syncdaemon.metrics import Live, Metrics
from syncdaemon.model import Content, Receipt, Refusal, Row, Stamp
from syncdaemon.publish import Publisher, PublishSettings
from syncdaemon.settings import Settings
from syncdaemon.spool import Spool, SpoolSettings
from syncdaemon.stream import StreamSettings
from syncdaemon.web import Check, Views, Web

FINISH_SECONDS = 10.0  # how long acknowledgements under way are awaited at the end
_EXPIRE_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Daemon:
    """One site's daemon. `run` is the whole of its life; `drain` delivers what is there and ends."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.spool = Spool(spool_settings(settings))
        self.link = Link(link_settings(settings), self._link_changed)
        self.metrics = Metrics(settings.site, self._live())
        self.ledger = Ledger(
            settings.sync_ledger_dir, settings.site, settings.sync_min_free_bytes, self.metrics.fsynced
        )
        self.publisher = Publisher(self.link, publish_settings(settings), self.metrics)
        self.recorded = Recorded()
        self.delivery = Delivery(self.spool, self.publisher, self.ledger, self.recorded, now_text, self._told)
        self.refused = 0
        self.delivered = 0
        self.delivered_bytes = 0
        self.last_receipt: dict[str, Any] | None = None
        self.first_receipt = asyncio.Event()
        self._link_rows: asyncio.Queue[Row] = asyncio.Queue()
        self._began = time.monotonic()

    def _live(self) -> Live:
        return Live(
            queue_depth=lambda: self.spool.backlog.depth,
            link_status=lambda: int(self.link.proved()),
            in_doubt=lambda: len(self.publisher.in_doubt),
            held=lambda: self.spool.hold.count,
            quarantined=lambda: self.spool.quarantined,
            oldest_age=self.oldest_age,
            horizon=lambda: self.publisher.horizon,
        )

    def oldest_age(self) -> float:
        """Age in seconds of the file that goes next; 0 where none waits."""
        oldest = self.spool.backlog.oldest()
        return 0.0 if oldest is None else max(0.0, (time.time_ns() - oldest) / 1e9)

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
            self.ledger.open(lambda row: recent.append(row) if row["event"] in ("published", "duplicate") else None)
            self._remember(recent)
            self.publisher.recorded_seq = self.ledger.last_seq
            host: Row = {"host": platform.node(), "pid": os.getpid(), "version": __version__}
            await self.ledger.record([("open", host)])
            try:
                yield
            finally:
                with suppress(TimeoutError):
                    async with asyncio.timeout(FINISH_SECONDS):
                        await self.ledger.record(
                            [*self._pending_link_rows(), ("close", {"rows": self.ledger.rows + 1})]
                        )
        finally:
            await self.ledger.close()
            self.spool.close()

    def _remember(self, rows: list[dict[str, Any]]) -> None:
        """Of the newest receipts those whose file is still there: a crash came between record and retire."""
        for row in rows:
            path = unquote_to_bytes(row["path"])
            try:
                found = os.lstat(os.path.join(self.spool.settings.replay_dir, path))
            except OSError:
                continue
            if (found.st_size, found.st_mtime_ns) == (row["size"], row["mtime_ns"]):
                stamp = Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                content = Content(path, row["path"], stamp, None, row["sha256"], row["attempts"])
                duplicate = row["event"] == "duplicate"
                self.recorded.add(
                    Receipt(content, row["msg_id"], row["subject"], row["stream"], row["stream_seq"], duplicate)
                )

    async def run(self, stop: asyncio.Event, started: Callable[[Web], None] = lambda web: None) -> None:
        """Delivers until `stop`. Raises SettingsError or LedgerDamaged where it can't begin.

        `started` is told when everything runs and the web side listens.
        """
        web = Web(self.settings.http_host, self.settings.http_port, self._views())
        async with self._open():
            await web.start()
            try:
                await self._work(stop, lambda: started(web))
            finally:
                await web.stop()

    async def _work(self, stop: asyncio.Event, started: Callable[[], None]) -> None:
        if not self.settings.edge_mode:
            log.warning("standing_by", setting="EDGE_MODE=false", effect="nothing is published")
        async with _background(self.link.run(), self.spool.watch(), self._expire(), self._write_link_rows()) as failed:
            started()
            if self.settings.edge_mode:
                work = asyncio.create_task(self.delivery.run(stop))
            else:
                work = asyncio.create_task(_until(stop))
            await _finish(work, stop, failed)

    async def drain(self, within: float | None, progress: Callable[[Daemon], None] = lambda daemon: None) -> None:
        """Delivers what is in the directory now, and returns.

        Raises ConnectTimeout where there was no connection in `within` seconds, TimeoutError where not all
        was delivered by then.
        """
        stop = asyncio.Event()
        async with self._open():
            await self.spool.scan()
            async with _background(self.link.run(), self._expire(), self._write_link_rows()) as failed:
                work = asyncio.create_task(self.delivery.run(stop))
                drained = asyncio.create_task(self._drained(progress))
                done, _ = await asyncio.wait(
                    (work, drained, failed), timeout=within, return_when=asyncio.FIRST_COMPLETED
                )
                drained.cancel()
                stop.set()
                await _finish(work, stop, failed)
                if drained not in done:
                    raise self._late()

    async def _drained(self, progress: Callable[[Daemon], None]) -> None:
        """Until nothing is left. Files that came after the last scan are not waited for."""
        while True:
            progress(self)
            if self.spool.backlog.wants_scan or (self.spool.backlog.idle and not self.spool.backlog.complete):
                await self.spool.scan()
            elif self.spool.backlog.idle:
                return
            await asyncio.sleep(0.05)

    def _late(self) -> Exception:
        if self.link.connects:
            return TimeoutError(f"{self.spool.backlog.depth} files left; {self.publisher.paused or 'time ran out'}")
        return ConnectTimeout(f"NATS_URL: no connection: {self.link.problem}")

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRE_SECONDS)
            due = self.spool.hold.next_expiry()
            if due is not None and due <= time.monotonic():
                try:
                    await self.spool.expire()
                except OSError as error:
                    log.error("hold_not_emptied", error=str(error), effect="delivered files are kept for longer")

    def _told(self, receipts: Sequence[Receipt], refusals: Sequence[Refusal]) -> None:
        self.metrics.delivered(receipts)
        for refusal in refusals:
            self.metrics.refused(refusal.reason)
        self.refused += len(refusals)
        self.delivered += len(receipts)
        self.delivered_bytes += sum(receipt.content.stamp.size for receipt in receipts)
        if receipts:
            last = receipts[-1]
            self.last_receipt = {
                "path": last.content.name,
                "sha256": last.content.sha256,
                "stream": last.stream,
                "stream_seq": last.seq,
                "at": now_text(),
            }
            self.first_receipt.set()

    def _link_changed(self, session: Session | None, reason: str) -> None:
        if session is None:
            (log.info if reason == STOPPED else log.warning)("link_down", reason=reason)
            self._link_rows.put_nowait({"up": False, "reason": reason})
            return
        if self.link.connects > 1:
            self.metrics.reconnected()
        server = session.server
        log.info("link_up", url=self.link.shown_url, **server)
        self._link_rows.put_nowait({"up": True, **server})

    def _pending_link_rows(self) -> list[tuple[str, Row]]:
        rows: list[tuple[str, Row]] = []
        while not self._link_rows.empty():
            rows.append(("link", self._link_rows.get_nowait()))
        return rows

    async def _write_link_rows(self) -> None:
        while True:
            row = await self._link_rows.get()
            await self.ledger.record([("link", row), *self._pending_link_rows()])

    def _views(self) -> Views:
        return Views(self.metrics.text, self.checks, frozenset({"scanned", "ledger"}), self.status)

    def checks(self) -> dict[str, Check]:
        """Every check of health by its name."""
        link, backlog = self.link, self.spool.backlog
        scanned = self.spool.scanned.is_set() and not self.spool.problem
        return {
            "link": Check(link.proved(), link.problem or "the server answers"),
            "lane": Check(not self.publisher.paused, self.publisher.paused or "open"),
            "scanned": Check(scanned, self.spool.problem or f"{backlog.depth} files wait"),
            "ledger": Check(not self.ledger.problem, self.ledger.problem or f"row {self.ledger.head.n}"),
            "quarantine": Check(not self.spool.quarantined, f"{self.spool.quarantined} refused files"),
        }

    def status(self) -> dict[str, Any]:
        """What `syncdaemon status` shows."""
        value = self.metrics.value
        return {
            "site": self.settings.site,
            "version": __version__,
            "edge_mode": self.settings.edge_mode,
            "uptime_seconds": round(time.monotonic() - self._began, 1),
            "link": {
                "up": self.link.proved(),
                "url": self.link.shown_url,
                "problem": self.link.problem,
                "reconnects": max(0, self.link.connects - 1),
            },
            "stream": self.settings.sync_stream,
            "dedupe_horizon_seconds": _finite(self.publisher.horizon),
            "paused": self.publisher.paused or self.ledger.problem,
            "queue_depth": self.spool.backlog.depth,
            "oldest_file_age_seconds": round(self.oldest_age(), 3),
            "bandwidth_bps": round(value("edge_bandwidth_bps")),
            "published_files": int(value("syncdaemon_published_files_total")),
            "published_bytes": int(value("syncdaemon_published_bytes_total")),
            "duplicates": int(value("syncdaemon_duplicates_total")),
            "refused": self.refused,
            "in_doubt_files": len(self.publisher.in_doubt),
            "held_files": self.spool.hold.count,
            "quarantined_files": self.spool.quarantined,
            "ignored_entries": self.spool.odd,
            "ledger_rows": self.ledger.head.n,
            "last_receipt": self.last_receipt,
            "replay_dir": os.fsdecode(self.spool.settings.replay_dir),
            "ledger_dir": str(self.ledger.folder),
        }


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


def spool_settings(settings: Settings) -> SpoolSettings:
    """What the replay directory needs of the settings."""
    return SpoolSettings(
        replay_dir=os.fsencode(os.path.abspath(settings.sync_replay_dir)),
        quiet=settings.sync_settle_seconds,
        rescan=settings.sync_rescan_seconds,
        hold=settings.sync_hold_seconds,
        archive=settings.sync_after == "archive",
        newest_first=settings.sync_order == "newest",
    )


def link_settings(settings: Settings) -> LinkSettings:
    """What the link needs of the settings."""
    return LinkSettings(
        urls=settings.nats_urls,
        name=f"syncdaemon {settings.site}",
        creds=settings.nats_creds,
        nkey_seed=settings.nats_nkey_seed,
        user=settings.nats_user,
        password=settings.nats_password.get_secret_value() if settings.nats_password else None,
        token=settings.nats_token.get_secret_value() if settings.nats_token else None,
        tls_ca=settings.nats_tls_ca,
        tls_cert=settings.nats_tls_cert,
        tls_key=settings.nats_tls_key,
    )


def publish_settings(settings: Settings) -> PublishSettings:
    """What the publisher needs of the settings."""
    stream = StreamSettings(
        name=settings.sync_stream,
        wildcard=settings.subject_wildcard,
        own=settings.subject_for("*"),
        create=settings.sync_stream_create,
        per_digest=settings.subject_is_per_digest,
        max_age=settings.sync_stream_max_age,
        max_bytes=settings.sync_stream_max_bytes,
        replicas=settings.sync_stream_replicas,
    )
    return PublishSettings(settings.site, settings.subject_for, settings.sync_msg_id, stream)


@asynccontextmanager
async def _background(*work: Any) -> AsyncIterator[asyncio.Future[None]]:
    """Tasks that run beside the body and end with it. The future that is yielded gets the error of one that fails."""
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) and not failed.done():
            failed.set_exception(error)

    tasks = [asyncio.create_task(one) for one in work]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield failed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        failed.cancel()


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


async def _finish(work: asyncio.Task[None], stop: asyncio.Event, failed: asyncio.Future[None]) -> None:
    """Waits for `stop`, then for `work` as long as acknowledgements are awaited; errors of either come out."""
    stopping = asyncio.create_task(_until(stop))
    try:
        await asyncio.wait((work, stopping, failed), return_when=asyncio.FIRST_COMPLETED)
        if not failed.done():
            await asyncio.wait((work, failed), timeout=FINISH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait((work,))
    for done in (failed, work):
        if done.done() and not done.cancelled() and (error := done.exception()):
            raise _bare_error(error)


def _bare_error(error: BaseException) -> BaseException:
    """The one error that a task group wrapped."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _finite(seconds: float) -> float | str:
    return seconds if seconds != float("inf") else "any"
