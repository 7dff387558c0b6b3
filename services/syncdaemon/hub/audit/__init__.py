"""The auditor: it holds every checkpoint of every site against the one before, cosigns it, and publishes that.

The way of a checkpoint: `inbox` reads it from `edge_checkpoints`; `judge` decides what it is; `state` has on disk what
was accepted; `cosigner` signs it then; `rounds` publishes the whole note on `edge.cosigned.<site>.<day>`. `silence`
decides whether a site says enough. An auditor has a key of its own, and no key of any site.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from syncdaemon import __version__
from syncdaemon.base.errors import ConnectTimeout, LanePaused, LinkDown, SettingsError
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.base.tasks import background, finish
from syncdaemon.evidence.keyfile import CheckpointKey
from syncdaemon.evidence.policy import Witness
from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.hub.audit.cosigner import SignatureDesk
from syncdaemon.hub.audit.door import WitnessDoor
from syncdaemon.hub.audit.hearing import Hearing
from syncdaemon.hub.audit.meter import AuditMeter
from syncdaemon.hub.audit.pins import Pins
from syncdaemon.hub.audit.report import AuditReport, SiteReport
from syncdaemon.hub.audit.rounds import Rounds
from syncdaemon.hub.audit.state import open_state
from syncdaemon.hub.audit.witnesses import Feeder
from syncdaemon.link import Link, Session, visit
from syncdaemon.settings import parts
from syncdaemon.settings.values import Settings
from syncdaemon.stream.api import Api
from syncdaemon.web.server import Web
from syncdaemon.web.views import Check, Views

__all__ = ["AuditSettings", "Auditor"]

_POLL_SECONDS = 5.0
_STALE_SECONDS = 60.0  # rounds that do not end well for so long are told in health
_LAST_WORDS = 10.0

log = structlog.get_logger(__name__)


class AuditSettings(NamedTuple):
    """What `audit` has beside the settings of all commands.

    `name`: the name of the cosigning key. `expected`: the sites that should be heard; those of the pins where no list
    is given. `accept`: the state that is missing, copied or old may be used. `witnesses`: those who are fed; `listen`:
    where others are served.
    """

    name: str
    key: CheckpointKey
    state: Path
    pins: Pins
    expected: Sequence[str]
    accept: bool = False
    witnesses: Sequence[Witness] = ()
    listen: tuple[str, int] | None = None


class Auditor:
    """One auditor. `run` or `once` is the whole of its life."""

    def __init__(self, settings: Settings, own: AuditSettings) -> None:
        """Raises SettingsError."""
        for site, pin in own.pins.items():
            if pin.public == own.key.public:
                raise SettingsError(f"--key: it is the key of the site {site}; a cosigner has a key of its own")
        self._settings, self._own = settings, own
        self._state = open_state(own.state, own.key.public, accept=own.accept)
        try:
            self._cosigner = SignatureDesk(own.name, own.key, own.pins, self._state)
        except BadEvidence as error:
            self._state.close()
            raise SettingsError(f"--name: {error}") from None
        self._rounds = Rounds(self._cosigner, accept=own.accept)
        self._hearing = Hearing(own.expected, settings.sync_stream, settings.sync_subject)
        self._feeder = Feeder(own.witnesses, self._cosigner, self._rounds)
        self._last_round, self._trouble = 0.0, "no round has ended yet"
        self._link_settings = replace(parts.link(settings), name=f"syncdaemon audit {own.name}")
        self._proved: Callable[[], bool] = bool
        self._said = OnceAMinute()

    def close(self) -> None:
        """Lets go of the state."""
        self._state.close()

    async def once(self) -> AuditReport:
        """One round. Raises ConnectTimeout, SettingsError, LinkDown, LanePaused, PermissionError."""
        async with visit(self._link_settings) as session:
            api = Api.over(session)
            await self._rounds.compare(api)
            await self._round(api)
            return self.report()

    async def run(self, stop: asyncio.Event, started: Callable[[int], None] | None = None) -> None:
        """Rounds until `stop`. Raises SettingsError where it may not sign.

        `started` is called with the port of the web side, when everything runs and that port is open.
        """
        link = Link(self._link_settings, _no_matter)
        self._proved = link.proved
        settings = self._settings
        web = Web(
            settings.http_host,
            settings.http_port,
            self._views(link),
            hosts=settings.http_hosts,
            token_file=settings.sync_http_token_file,
        )
        door = WitnessDoor(self._cosigner, self._rounds.turn, self._rounds.due)
        await web.start()
        log.info("auditing", name=self._own.name, sites=len(self._own.pins), http_port=web.port)
        try:
            if self._own.listen is not None:
                await door.start(*self._own.listen)
            if started is not None:
                started(web.port)
            async with background(link.run()) as failed:
                await finish(asyncio.create_task(self._live(link, stop)), stop, failed, _LAST_WORDS)
        finally:
            await door.stop()
            await web.stop()

    async def _live(self, link: Link, stop: asyncio.Event) -> None:
        compared: Session | None = None
        while not stop.is_set():
            waiting = asyncio.create_task(link.wait_up())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not waiting.done():
                waiting.cancel()
                return
            session = waiting.result()
            try:
                api = Api.over(session)
                if compared is not session:
                    await self._rounds.compare(api)
                    compared = session
                await self._round(api)
            except (LinkDown, LanePaused, PermissionError, OSError) as error:
                self._trouble = str(error) or type(error).__name__
                if self._said.due(time.monotonic(), self._trouble):
                    log.warning("audit_stands_still", reason=self._trouble)
            try:
                async with asyncio.timeout(_POLL_SECONDS):
                    await stop.wait()
            except TimeoutError:
                pass

    async def _round(self, api: Api) -> None:
        await self._rounds.run(api)
        await self._feeder.feed(api)
        await self._hearing.listen(api, self._state)
        self._last_round, self._trouble = time.time(), ""

    def report(self) -> AuditReport:
        """What is known now."""
        counted = self._rounds.refused
        names = sorted({*self._own.expected, *self._own.pins})
        return AuditReport(
            link_up=self._proved(),
            last_round=self._last_round,
            read_to=self._rounds.read_to,
            sites=[self._of(name) for name in names],
            refused={(site, str(reason)): count for (site, reason), count in counted.items()},
            trouble=self._trouble,
            witnesses=dict(self._feeder.troubles),
        )

    def _of(self, name: str) -> SiteReport:
        state = self._state.of(name)
        checkpoint = state.head.checkpoint if state.head else None
        conflict = state.conflict
        return SiteReport(
            name,
            checkpoint.origin if checkpoint else "",
            checkpoint.size if checkpoint else 0,
            state.heard,
            str(self._hearing.of(name)),
            f"{conflict.reason}: {conflict.why} (message {conflict.seq})" if conflict else "",
            state.unchecked,
        )

    def _views(self, link: Link) -> Views:
        def checks() -> dict[str, Check]:
            return self._checks(link)

        def status() -> dict[str, Any]:
            return {"version": __version__, "name": self._own.name, "link": link.status(), **self.report().status()}

        return Views(AuditMeter(self.report).text, checks, frozenset({"rounds"}), status)

    def _checks(self, link: Link) -> dict[str, Check]:
        report = self.report()
        conflicts = [site.name for site in report.sites if site.conflict]
        unheard = [site.name for site in report.sites if site.voice != "heard"]
        late = time.time() - self._last_round > _STALE_SECONDS
        return {
            "link": Check(link.proved(), link.problem or "the server answers"),
            "rounds": Check(not late, self._trouble or "checkpoints are read and cosigned"),
            "conflicts": Check(not conflicts, ", ".join(conflicts) or "none", f"{len(conflicts)} sites"),
            "heard": Check(not unheard, ", ".join(unheard) or "all sites", f"{len(unheard)} sites are not heard"),
        }


def _no_matter(_session: Session | None, _reason: str) -> None:
    """What the link says is asked of it."""


def once(settings: Settings, own: AuditSettings) -> AuditReport:
    """One round of an auditor, as a whole. Raises as `Auditor.once`, and ConnectTimeout where the server goes away."""

    async def live() -> AuditReport:
        auditor = Auditor(settings, own)
        try:
            return await auditor.once()
        except LinkDown as error:
            raise ConnectTimeout(f"NATS_URL: the connection was lost: {error}") from None
        except (PermissionError, OSError) as error:
            raise LanePaused(f"the audit stands still: {error}") from None
        finally:
            auditor.close()

    return asyncio.run(live())
