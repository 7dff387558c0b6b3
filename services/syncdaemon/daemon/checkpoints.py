"""Signs checkpoints of the ledger and puts them to the hub, beside the delivery, which never waits for it.

`once` is the whole work: what the hub has is read, once for each connection; then a checkpoint is signed, and
published as the next message behind the one that was read. `run` is only its timer. Whatever fails is told and tried
again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import NamedTuple

import structlog

from syncdaemon.base.errors import LanePaused, LinkDown
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.daemon.anchor import Anchor
from syncdaemon.daemon.handover import Rests, SearchEnded
from syncdaemon.daemon.hub_log import HubLog, HubPlace
from syncdaemon.daemon.metrics import Metrics
from syncdaemon.daemon.upkeep import OwnRows
from syncdaemon.evidence.keyfile import read_key
from syncdaemon.evidence.notes import Checkpoint
from syncdaemon.ledger import Ledger, rows
from syncdaemon.ledger.signing import (
    CheckpointConflict,
    NotSigned,
    Signer,
    TreeBehind,
    TreeDoubted,
    conflict_with,
    root_of_rows,
)
from syncdaemon.link import Link, Session
from syncdaemon.settings.values import Settings
from syncdaemon.stream.mailbox import Overtaken

LAST_SECONDS = 5.0  # for the last checkpoint, at the end of the process
_SOON = 1.0  # seconds, while the tree catches up with the ledger
_RETRY = 30.0  # seconds, after anything that may pass by itself
_RECHECK = 600.0  # seconds, after what an operator has to mend
_TICK = 5.0
_ALIVE_SECONDS = 24 * 3600.0

log = structlog.get_logger(__name__)


class CheckpointSettings(NamedTuple):
    """Who signs, how many seconds are between two checkpoints at least, and where they go."""

    signer: Signer
    seconds: float
    place: HubPlace


class CheckpointWork:
    """The one that signs. `anchor`: what came of it."""

    def __init__(self, settings: CheckpointSettings, link: Link, ledger: Ledger, own_rows: OwnRows) -> None:
        self._signer, self._seconds, place = settings
        self._link, self._ledger, self._own_rows = link, ledger, own_rows
        self.anchor = Anchor()
        self._hub = HubLog(self._signer, place, ledger, self.anchor)
        self._turn = asyncio.Lock()
        self._signed_at = float("-inf")
        self._moved_at = time.monotonic()
        self._not_before = 0.0
        self._doubted: Checkpoint | None = None  # the rows were asked about it, and do not lead to it
        self._said = OnceAMinute()
        self._ended = threading.Event()

    async def run(self) -> None:
        """For ever: a checkpoint as often as is due."""
        try:
            await asyncio.to_thread(self._hub.load)
        except OSError as error:
            self._disk_fault(error)
        try:
            while True:
                session = await self._link.wait_up()
                if self._is_due(session, time.monotonic()):
                    await self.once()
                await asyncio.wait((session.lost,), timeout=min(self._seconds, _TICK))
        finally:
            self._ended.set()  # what goes on in a thread

    async def last(self) -> None:
        """At the end of the process, before the link goes: what was not covered yet; a moment at most."""
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self.once()
        except TimeoutError:
            return

    def _is_due(self, session: Session, now: float) -> bool:
        if now < self._not_before:
            return False
        if not self._hub.is_read(session):
            return True
        if now - self._moved_at >= _ALIVE_SECONDS:
            self._moved_at = now
            self._own_rows.add(rows.alive())
        return self._has_more() and now - self._signed_at >= self._seconds

    def _has_more(self) -> bool:
        """Whether there are rows that no checkpoint at the hub covers."""
        return self._ledger.next_row > self.anchor.rows + 1

    async def once(self) -> None:
        """Reads what the hub has, if that was not read over this connection; then signs and publishes, if need be."""
        session = self._link.session
        if session is None:
            return
        async with self._turn:
            try:
                await self._once(session)
            except LinkDown:
                self._hub.forget()
            except TreeBehind:
                self._not_before = time.monotonic() + _SOON
            except CheckpointConflict as error:
                self._fault("conflict", str(error), _RECHECK)
            except NotSigned as error:
                self._fault("not signed", str(error), _RETRY)
            except LanePaused as error:
                self._fault("not anchored", str(error), 0.0 if isinstance(error, Overtaken) else _RETRY)
            except OSError as error:
                self._disk_fault(error)

    async def _once(self, session: Session) -> None:
        try:
            if not self._hub.is_read(session):
                await self._hub.read(session)
            if stray := self._hub.stray:
                self._fault("stray", stray, _RECHECK)
                return
            if self._has_more():
                self._signed_at = time.monotonic()
                note = await asyncio.to_thread(self._hub.first_of_new_log)
                note = note or await self._ledger.sign_checkpoint(self._signer, self._hub.standing)
                await self._hub.publish(session, note)
                self._moved_at = time.monotonic()
            self.anchor.well()
        except TreeDoubted as error:
            await self._ask_the_rows(error.other)

    async def _ask_the_rows(self, other: Checkpoint) -> None:
        """Is it the ledger that does not fit, or only its tree? Raises CheckpointConflict in the first case."""
        if other == self._doubted:
            raise conflict_with(other)
        folder, site = self._signer.folder, self._signer.site
        try:
            root = await asyncio.to_thread(root_of_rows, folder, site, other.size, Rests(self._ended))
        except SearchEnded:
            return
        if root != other.root:
            self._doubted = other
            raise conflict_with(other)
        await self._ledger.make_tree_anew()
        raise NotSigned("the tree beside the ledger did not fit its rows, and is made again from them")

    def _disk_fault(self, error: OSError) -> None:
        """What the server does not permit is a PermissionError without a number."""
        if error.errno is None:
            self._fault("not anchored", f"not anchored: {error}", _RETRY)
        else:
            self._fault("not signed", f"{error.filename}: {error.strerror}", _RETRY)

    def _fault(self, state: str, problem: str, wait: float) -> None:
        """No checkpoint gets to the hub for now; before the next try the hub is read again."""
        self._hub.forget()
        self._not_before = time.monotonic() + wait
        new = self.anchor.fault(state, problem)
        if self._said.due(time.monotonic(), f"{state} {problem}" if new else state):
            say = log.error if state in ("conflict", "stray") else log.warning
            say("checkpoint_not_published", state=state, problem=problem, effect="every file is delivered")


def checkpoint_work(settings: Settings, link: Link, ledger: Ledger, own_rows: OwnRows) -> CheckpointWork | None:
    """None where this site has no key. Raises SettingsError where the key can't be used."""
    if settings.sync_checkpoint_key is None:
        return None
    key = read_key(settings.sync_checkpoint_key, settings.login_files)
    signer = Signer(settings.sync_ledger_dir, settings.site, settings.sync_checkpoint_origin or "", key)
    domain = settings.nats_hub_domain or ""
    place = HubPlace(domain, settings.sync_stream_create and not domain)
    return CheckpointWork(CheckpointSettings(signer, settings.sync_checkpoint_seconds, place), link, ledger, own_rows)


def shown_anchor(work: CheckpointWork | None, metrics: Metrics) -> Anchor | None:
    """What came of the work, whose gauges are shown; None where there is none."""
    if work is None:
        return None
    work.anchor.show_in(metrics)
    return work.anchor
