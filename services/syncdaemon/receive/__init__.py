"""The other end: each message becomes a file again, once, and is acknowledged when the file is on the disk.

The way of a message: `pull.intake` asks for it and `pull.hands` holds it; `incoming` reads from its headers which file
it stands for, and `origin` tells whether it is of the site that it names; `files.store` writes the file; `pull.answers`
acknowledges the message. What was too large for a message is fetched by `large` and `objects`. `worker` is the order of
these steps.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from syncdaemon import __version__
from syncdaemon.base import units
from syncdaemon.base.errors import SettingsError
from syncdaemon.base.tasks import background, finish
from syncdaemon.link import Link, Session
from syncdaemon.receive.files.home import ReceiveDirectory
from syncdaemon.receive.freeing import Freeing
from syncdaemon.receive.meter import Meter, ReceiverGauges
from syncdaemon.receive.origin import Origin, SiteToken
from syncdaemon.receive.pull.consumer import ConsumerSettings
from syncdaemon.receive.pull.hands import Hands
from syncdaemon.receive.pull.intake import Intake
from syncdaemon.receive.worker import FINISH_SECONDS, Worker
from syncdaemon.settings import parts
from syncdaemon.settings.values import Settings
from syncdaemon.web.server import Web
from syncdaemon.web.views import Check, Views

__all__ = ["ReceiveSettings", "Receiver"]

_LAST_WORDS = 5.0  # seconds more to put back what could not be finished

log = structlog.get_logger(__name__)


class ReceiveSettings(NamedTuple):
    """What `receive` has beside the settings of all commands.

    `most`: messages that are held at the same time. `buckets`: patterns of the buckets that are read. `site_token`:
    which token of a subject is the site, from 1; 0: none; None: the one that SYNC_SUBJECT says. `free`: a tombstone
    takes the place of each message whose file is safe.
    """

    folder: Path
    consumer: str
    filter: str
    most: int
    buckets: Sequence[str] = ()
    site_token: int | None = None
    free: bool = False

    def check(self) -> None:
        """Raises SettingsError for the first setting that is wrong."""
        try:
            units.stream_name(self.consumer)
        except units.Wrong as wrong:
            raise SettingsError(f"--consumer: {self.consumer!r} is no name; {wrong.remedy}") from None
        if self.filter and (any(blank in self.filter for blank in " \t\r\n") or "" in self.filter.split(".")):
            raise SettingsError(f"--filter: {self.filter!r} is no subject; write tokens with dots between")
        parts.buckets(self.buckets)

    def token(self, settings: Settings) -> SiteToken | None:
        """Which site a subject belongs to; None where that is not to be told."""
        return SiteToken.of(settings.sync_subject, self.site_token)

    def origin(self, settings: Settings) -> Origin:
        """What messages are held against."""
        token = self.token(settings)
        if token is None:
            log.warning("sites_not_bound", effect="a message counts as of whichever site it names")
        return Origin(token, parts.buckets(self.buckets))


class Receiver:
    """One worker. `run` is the whole of its life."""

    def __init__(self, settings: Settings, own: ReceiveSettings) -> None:
        own.check()
        self._settings, self._own = settings, own
        consumer = ConsumerSettings(settings.sync_stream, own.consumer, own.filter)
        self._link = Link(replace(parts.link(settings), name=f"syncdaemon receive {own.consumer}"), self._link_changed)
        self._home = ReceiveDirectory(os.fsencode(os.path.abspath(own.folder)))
        self.meter = Meter(ReceiverGauges(self._link_status, self._in_flight, self._free_bytes))
        self._hands = Hands(own.origin(settings), self.meter.delivered)
        min_free = settings.sync_min_free_bytes
        freeing = (
            Freeing(self._link, settings.sync_stream, own.token(settings), settings.sync_bucket) if own.free else None
        )
        self._worker = Worker(self._link, self._hands, self._home, self.meter, min_free=min_free, freeing=freeing)
        self._intake = Intake(
            self._link,
            consumer,
            self._hands,
            most=own.most,
            disk=self._worker.disk,
            first=freeing.prepare if freeing else None,
        )
        self._began = time.monotonic()

    async def run(self, stop: asyncio.Event, started: Callable[[int], None] | None = None) -> None:
        """Receives until `stop`. Raises SettingsError where it can't begin.

        `started` is called with the port of the web side, when everything runs and that port is open.
        """
        settings = self._settings
        web = Web(
            settings.http_host,
            settings.http_port,
            self._views(),
            hosts=settings.http_hosts,
            token_file=settings.sync_http_token_file,
        )
        self._home.open()
        try:
            await web.start()
            log.info("receiving", dir=os.fsdecode(self._home.root), consumer=self._own.consumer, http_port=web.port)
            try:
                if started is not None:
                    started(web.port)
                await self._live(stop)
            finally:
                await web.stop()
        finally:
            self._home.close()

    async def _live(self, stop: asyncio.Event) -> None:
        async with background(self._link.run()) as failed:
            work = asyncio.create_task(self._worker.run(self._intake, stop))
            await finish(work, stop, failed, FINISH_SECONDS + _LAST_WORDS)

    def _link_changed(self, session: Session | None, reason: str) -> None:
        if session is not None and self._link.connects > 1:
            self.meter.reconnected()

    def _link_status(self) -> float:
        return int(self._link.proved())

    def _in_flight(self) -> float:
        return len(self._hands)

    def _free_bytes(self) -> float:
        try:
            return self._home.free_bytes()
        except OSError:
            return float("nan")

    def _views(self) -> Views:
        return Views(self.meter.text, self._checks, frozenset({"directory", "steady"}), self._status)

    def _checks(self) -> dict[str, Check]:
        disk, paused, unsteady = self._worker.disk_problem, self._intake.paused, self._link.unsteady
        return {
            "link": Check(self._link.proved(), self._link.problem or "the server answers"),
            "steady": Check(not unsteady, unsteady or "connections last"),
            "consumer": Check(not paused, paused or f"pulling from {self._own.consumer}"),
            "directory": Check(not disk, disk or "takes files"),
        }

    def _status(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "uptime_seconds": round(time.monotonic() - self._began, 1),
            "link": self._link.status(),
            "stream": self._settings.sync_stream,
            "consumer": self._own.consumer,
            "filter": self._own.filter,
            "paused": self._intake.paused,
            "dir": os.fsdecode(self._home.root),
            "in_flight": len(self._hands),
            "processed": int(self.meter.value("nats_worker_processed_total")),
            "unchanged": int(self.meter.value("nats_worker_unchanged_total")),
            "redelivered": int(self.meter.value("nats_worker_redelivered_total")),
        }
