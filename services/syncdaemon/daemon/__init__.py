"""The daemon: every part made from the settings, wired together, started and stopped in order."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog

from syncdaemon import __version__
from syncdaemon.base.tasks import background, finish
from syncdaemon.daemon import recover
from syncdaemon.daemon.beginning import Beginning
from syncdaemon.daemon.ends import Ends
from syncdaemon.daemon.entrances import Entrances
from syncdaemon.daemon.first_look import first_look
from syncdaemon.daemon.gauges import Gauges
from syncdaemon.daemon.handover import HandOver
from syncdaemon.daemon.hub_watch import watch_hub
from syncdaemon.daemon.last_look import LastLook
from syncdaemon.daemon.levels import Levels
from syncdaemon.daemon.metrics import Metrics
from syncdaemon.daemon.parts import Parts
from syncdaemon.daemon.presence import Presence
from syncdaemon.daemon.process import ignore_broken_leases, spare_the_collector
from syncdaemon.daemon.reloading import Reloading, Rereading
from syncdaemon.daemon.report import Observed, Report
from syncdaemon.daemon.settling import SettlingLog
from syncdaemon.daemon.steering import Steering
from syncdaemon.daemon.tally import Tally
from syncdaemon.daemon.upkeep import Expiry, OwnRows, PutBack
from syncdaemon.deliver import Delivery
from syncdaemon.deliver.resend import Resend
from syncdaemon.evidence.keyfile import read_key
from syncdaemon.ledger import Ledger, now_text, open_attempts, rows
from syncdaemon.link import Link, Session
from syncdaemon.publish import Lane, Publisher
from syncdaemon.publish.objects import Objects
from syncdaemon.publish.objects.bucket_watch import BucketWatch
from syncdaemon.publish.stream_watch import StreamWatch
from syncdaemon.settings import parts
from syncdaemon.settings.values import Settings
from syncdaemon.spool.spool import Spool
from syncdaemon.web.views import Views

FINISH_SECONDS = 10.0  # how long acknowledgements under way are awaited at the end
_NEEDED = frozenset({"scanned", "ledger"})  # the checks that readiness depends on

log = structlog.get_logger(__name__)


class Daemon:
    """One site's daemon. `run` is the whole of its life; `drain.py` has it deliver what is there, and end."""

    def __init__(self, settings: Settings, rereading: Rereading | None = None) -> None:
        self.settings = settings
        self.metrics = Metrics(settings.site)
        self.spool = Spool(parts.spool(settings))
        self.tally = Tally(self.metrics, self.spool.ages)
        self.link = Link(parts.link(settings), self._link_changed, self._something_waits)
        self.ledger = Ledger(
            settings.sync_ledger_dir,
            settings.site,
            settings.sync_min_free_bytes,
            self.metrics.fsynced,
            with_tree=settings.sync_checkpoint_key is not None,
        )
        self.lane = Lane(self.link, parts.message(settings), parts.stream(settings), self.ledger)
        buckets = BucketWatch(self.lane.suspect)
        self.publisher = Publisher(self.lane, parts.message(settings), self.metrics)
        pause = self.spool.operator_pause
        self.objects = Objects(
            parts.objects(settings), self.metrics, self.spool.open_file, buckets.met, stopped=pause.large_is_on
        )
        self.delivery = Delivery(
            self.spool, self.publisher, self.objects, self.ledger, on_outcomes=self.tally.add, now_text=now_text
        )
        presence = Presence(parts.message(settings), self.lane, self.ledger, buckets.lost)
        self.resend = Resend(
            self.delivery, self.lane, self.spool, self.ledger, presence, on_lost=self.metrics.held_lost
        )
        self._own_rows = OwnRows(self.ledger)
        self._put_back = PutBack(self.spool, self.ledger, self._own_rows)
        self._stream_watch = StreamWatch(self.lane, parts.stream(settings), buckets.look)
        last_look = LastLook(self._stream_watch, self.lane, self.spool, presence)
        self._expiry = Expiry(self.spool, self.link, self.publisher, self.delivery, last_look)
        shown = Parts(self.spool, self.link, self.publisher, self.objects, self.ledger)
        self.metrics.add_gauges(Gauges(shown, settings.sync_min_free_bytes, edge_mode=settings.edge_mode))
        bucket = parts.bucket(settings).stream
        self._levels = Levels(self.lane, self._stream_watch, self.link, bucket, self.metrics.answered_bytes)
        self._levels.show_in(self.metrics)
        self._ends = Ends(parts.link(settings))
        self._ends.show_in(self.metrics)
        self._hub = watch_hub(self.link, parts.hub(settings), self.ledger.folder, settings.site, self.metrics)
        self._hand_over = HandOver(self.spool, self.ledger, self.delivery.unretired)
        reloading = Reloading(settings, rereading, self.link) if rereading is not None else None
        self._steering = _steering(self, self._own_rows, reloading)
        looks = Observed(self._levels.filling, self._hub)
        self.report = Report(settings, shown, self.tally, self.metrics, looks, steered=self._steering.steered)
        self.hung_up = self._steering.hung_up

    async def run(self, stop: asyncio.Event, started: Callable[[int], None] | None = None) -> None:
        """Delivers until `stop`. Raises SettingsError or LedgerDamaged where it can't begin.

        `started` is called with the port of the web side, when everything runs and that port is open.
        """
        views = Views(self.metrics.text, self.report.checks, _NEEDED, self.report.status)
        entrances = Entrances(self.settings, views, self._hand_over, self._steering)
        async with (
            self.opened(),
            entrances.opened(self.spool) as port,
            background(self.spool.watch(), *self.upkeep()) as failed,
        ):
            if started is not None:
                started(port)
            await finish(asyncio.create_task(self._deliver(stop)), stop, failed, FINISH_SECONDS)

    async def _deliver(self, stop: asyncio.Event) -> None:
        if self.settings.edge_mode:
            await self.delivery.run(stop)
        else:
            log.warning("standing_by", setting="EDGE_MODE=false", effect="nothing is published")
            await stop.wait()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Holds the replay directory and the ledger, and writes the rows `open` and `close` around the body.

        Raises SettingsError or LedgerDamaged before anything is touched.
        """
        if self.settings.sync_checkpoint_key is not None:
            read_key(self.settings.sync_checkpoint_key, self.settings.login_files)
        ignore_broken_leases()
        spare_the_collector()
        self.spool.open()
        try:
            self._open_ledger()
            self._own_rows.add(rows.opened(platform.node(), os.getpid(), __version__))
            try:
                await self._put_back.once(wait=True)  # before any of it can be delivered
                yield
            finally:
                with suppress(TimeoutError):
                    async with asyncio.timeout(FINISH_SECONDS):
                        await self._own_rows.close()
        finally:
            await self.ledger.close()
            self.objects.close()
            self.spool.close()

    def _open_ledger(self) -> None:
        """What the last process left unfinished is known from here on."""
        newest, directory = self.ledger.open(), self.spool.directory
        doubt, unretired = self.lane.doubt, self.delivery.unretired
        self.lane.recent = recover.recent(newest, self.settings.sync_stream)
        for receipt in recover.unretired(newest, directory.folders.stamp_at):
            unretired.add(receipt)
        if not self.settings.subject_is_per_digest:
            doubt.take_over(open_attempts(self.ledger.folder, self.ledger.site))

    def upkeep(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on beside the delivery."""
        yield self.link.run()
        yield self._own_rows.run()
        yield self._put_back.run()
        yield SettlingLog(self.spool).run()
        if self.settings.edge_mode:
            yield self._stream_watch.run()
            yield first_look(self.publisher, self.objects, parts.message(self.settings))
            yield self.resend.run()
            yield self._levels.run()
            if self._hub is not None:
                yield self._hub.run()
            yield self._expiry.run()
            yield self.spool.tidy()
            yield self._say_if_ledger_is_younger()

    async def _say_if_ledger_is_younger(self) -> None:
        settings = self.settings
        folder, subject = self.ledger.folder, settings.subject_for("*")
        await Beginning(self.lane, folder, settings.site, settings.sync_stream, subject=subject).say()

    def _something_waits(self) -> bool:
        """Whether there is something to send. A file that is not complete yet is nothing to send."""
        queue = self.spool.queue
        return self.settings.edge_mode and (queue.depth > queue.waiting or not self.delivery.idle)

    def _link_changed(self, session: Session | None, reason: str) -> None:
        if session is None:
            self._own_rows.add(rows.link_down(reason))
            return
        if self.link.connects > 1:
            self.metrics.reconnected()
        self._ends.meet(session)
        self._own_rows.add(rows.link_up(session.server))


def _steering(daemon: Daemon, own_rows: OwnRows, reloading: Reloading | None) -> Steering:
    spool, limit = daemon.spool, daemon.link.limit
    queue = spool.queue
    return Steering(spool.operator_pause, limit, own_rows.add, queue.want_scan, reloading=reloading)
