"""`syncdaemon hub`: all sites as the hub knows them, for Prometheus and for people.

Nothing of it is kept on a disk: the newest word of each site lies in the stream, and is read again at a start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from syncdaemon import __version__
from syncdaemon.base.errors import SettingsError
from syncdaemon.base.outlet import STDERR
from syncdaemon.base.tasks import background, finish
from syncdaemon.hub.exposition import exposition
from syncdaemon.hub.fleet import STATES, CheckpointAtHub, Fleet, checkpoint_rows
from syncdaemon.hub.fleet_view import lines, whole_site
from syncdaemon.hub.pages import fleet_pages
from syncdaemon.hub.reader import FleetReader, WantedWords
from syncdaemon.link import Link, LinkSettings, Session, visit
from syncdaemon.settings import parts
from syncdaemon.settings.values import Settings
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.fleet import site_of_status, status_subject
from syncdaemon.stream.records import CHECKPOINTS, FLEET, checkpoint_subject
from syncdaemon.web.server import Web
from syncdaemon.web.views import Check, Views

_SHOWN = 100  # sites in `/status`, the worst first

log = structlog.get_logger(__name__)


class FleetHub:
    """`run` is the whole of its life. `expected`: the sites that should report."""

    def __init__(self, settings: Settings, expected: Sequence[str] = ()) -> None:
        self._settings = settings
        self._link = Link(replace(parts.link(settings), name="syncdaemon hub"), _changed)
        self.fleet = Fleet(expected)
        words = WantedWords(FLEET, status_subject("*"), self._word, self._keep)
        notes = WantedWords(
            CHECKPOINTS, checkpoint_subject("*"), self._checkpoint, self._keep_checkpoints, optional=True
        )
        self._reader, self._checkpoints = FleetReader(self._link, words), FleetReader(self._link, notes)
        self._began = time.monotonic()

    async def run(self, stop: asyncio.Event, started: Callable[[int], None] | None = None) -> None:
        """Shows all sites until `stop`. Raises SettingsError where it can't begin.

        `started` is called with the port of the web side when that is open.
        """
        settings = self._settings
        web = Web(
            settings.http_host,
            settings.http_port,
            Views(self.metrics, self._checks, frozenset(), self._status),
            hosts=settings.http_hosts,
            token_file=settings.sync_http_token_file,
            more=fleet_pages(self._lines, partial(whole_site, self.fleet)),
        )
        await web.start()
        try:
            log.info("watching", http_port=web.port, expected_sites=len(self.fleet))
            async with background(self._link.run(), self._reader.run(), self._checkpoints.run()) as failed:
                if started is not None:
                    started(web.port)
                await finish(asyncio.create_task(stop.wait()), stop, failed, 1.0)
        finally:
            await web.stop()

    def _word(self, subject: str, data: bytes, at: float) -> None:
        self.fleet.take(site_of_status(subject), data, at)

    def _keep(self, subjects: Collection[str]) -> None:
        self.fleet.keep({site_of_status(subject) for subject in subjects})

    def _checkpoint(self, subject: str, data: bytes, at: float) -> None:
        name = subject.rpartition(".")[2]
        if self.fleet.get(name) is not None:
            try:
                self.fleet.checkpoints[name] = CheckpointAtHub(checkpoint_rows(data), at)
            except ValueError:
                self.fleet.refused += 1

    def _keep_checkpoints(self, subjects: Collection[str]) -> None:
        kept = {subject.rpartition(".")[2] for subject in subjects}
        self.fleet.keep_checkpoints(kept)

    @property
    def _now(self) -> float:
        """Until when a site's silence is its own: what the hub itself does not hear now makes no site silent."""
        return self._reader.heard_at

    def metrics(self) -> bytes:
        """All series. Before everything is read that sites said before, there are none of sites."""
        shown = self.fleet if self._now else Fleet()
        return exposition(shown, self._now, link_up=self._link.proved(), log_lost=STDERR.lost, version=__version__)

    def _lines(self, since: int) -> dict[str, Any]:
        self.fleet.judge(self._now)
        problem = self._link.problem if not self._link.proved() else self._reader.problem
        return {**lines(self.fleet, since, self._now), "clock": round(time.time()), "problem": problem}

    def _checks(self) -> dict[str, Check]:
        reader = self._reader.problem
        return {
            "link": Check(self._link.proved(), self._link.problem or "the server answers"),
            "fleet": Check(not reader, reader or f"{self.fleet.told} sites have told how they are"),
        }

    def _status(self) -> dict[str, Any]:
        self.fleet.judge(self._now)
        worst = sorted(self.fleet, key=lambda known: (STATES.index(known.state), known.name))
        return {
            "version": __version__,
            "uptime_seconds": round(time.monotonic() - self._began, 1),
            "link": self._link.status(),
            "heard_until": round(self._now, 1),
            "sites": {state: sum(known.state == state for known in worst) for state in STATES},
            "refused_words": self.fleet.refused,
            "worst": [{"site": known.name, "state": known.state, "last_seen": known.seen} for known in worst[:_SHOWN]],
        }


async def forget(link: LinkSettings, site: str) -> bool:
    """Takes a site's status out of the hub; whether there was one.

    Raises SettingsError where the server refuses that, ConnectTimeout, LinkDown, LanePaused, PermissionError.
    """
    async with visit(link) as session:
        api = Api.over(session)
        found = await api.last(FLEET, status_subject(site))
        if isinstance(found, ApiRefusal):
            raise SettingsError(f"NATS_URL: {FLEET} can't be read: {found.words}; log in as the user records")
        if found is None:
            return False
        refused = await api.purge(FLEET, status_subject(site))
        if refused is not None:
            raise SettingsError(f"NATS_URL: the server refuses to forget {site}: {refused.words}")
        return True


def _changed(_session: Session | None, _reason: str) -> None:
    """The link tells of itself in the log."""
