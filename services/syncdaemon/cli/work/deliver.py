"""`syncdaemon doctor --deliver`: one marked file, all the way, and when it passed each step.

The daemon that runs takes it as any other file. The command looks on: at the local door for the row, at the server for
the message, at the hub behind a leaf node, and at the stream's consumers for a worker's answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

import typer

from syncdaemon.base.errors import ConnectTimeout, LanePaused, LinkDown, SyncError
from syncdaemon.base.model import Content, Stamp
from syncdaemon.check import passage
from syncdaemon.check.diagnosis.finding import Level
from syncdaemon.cli import interrupt
from syncdaemon.cli.options import FOUND
from syncdaemon.cli.say import say, say_json
from syncdaemon.cli.streams import is_plain
from syncdaemon.client import place
from syncdaemon.client.door import LocalDoor
from syncdaemon.client.errors import HandOverError, Refused
from syncdaemon.client.receipts import HAND_OVER, ReceiptWaiter, Sought, TicketReceipt
from syncdaemon.link import visit
from syncdaemon.publish.message import message_id
from syncdaemon.settings import parts
from syncdaemon.settings.values import Settings
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.rights import act_as_owner
from syncdaemon.stream.api import Api
from syncdaemon.stream.calls import Calls
from syncdaemon.stream.fetched import Place
from syncdaemon.stream.stored import StoredMessage

MARK = "syncdaemon-doctor-"
"""The `Edge-Path` of a marked file begins so; it lies in the replay directory itself."""

_COLOURS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "failure": typer.colors.RED}


class WayStep(NamedTuple):
    """One step of the file's way. `seconds`: since just before it was written."""

    step: str
    level: Level
    said: str
    seconds: float


def deliver(settings: Settings, *, timeout: float, consumer: str, as_json: bool) -> int:
    """Sends the file, and prints a line for each step when it is done; the exit code.

    `timeout`: seconds for all steps together. `consumer`: of the workers; empty: any that takes the message.
    Raises ConnectTimeout where no daemon answers, and NotPut: then there is no file.
    """
    settings.check_files()
    interrupt.clean_up()
    with suppress(OSError):  # no daemon has run here yet
        home = ReplayDirectory(os.fsencode(settings.sync_replay_dir.absolute()))
        home.reach()
        act_as_owner(home)
        home.close()
    steps: list[WayStep] = []

    def done(step: WayStep) -> None:
        steps.append(step)
        if not as_json:
            _say(step)

    asyncio.run(_Way(settings, consumer, done).go(within=timeout))
    if as_json:
        say_json(json.dumps([step._asdict() for step in steps], indent=2))
    return FOUND if steps[-1].level == "failure" else 0


def _say(step: WayStep) -> None:
    level = f"{step.level:8}"
    if not is_plain(sys.stdout):
        level = typer.style(level, fg=_COLOURS[step.level])
    say(f" {step.step:13}{step.seconds * 1e3:9,.1f} ms  {step.said}", first=level)


class _Ended(SyncError):
    """The file's way ends here."""


class _Way:
    """The steps, one after another. `done` is told each of them, the last one too where it fails."""

    def __init__(self, settings: Settings, consumer: str, done: Callable[[WayStep], None]) -> None:
        self._settings, self._consumer, self._done = settings, consumer, done
        self._door = LocalDoor(settings.sync_replay_dir.absolute(), frozenset({os.geteuid()}))
        self._began = time.monotonic()
        self._step, self._waits = "on disk", "the disk takes it"
        self._subject = self._sha256 = ""

    async def go(self, within: float) -> None:
        """All the way. Raises ConnectTimeout where no daemon answers, and NotPut."""
        try:
            async with asyncio.timeout(within):
                await self._go()
        except TimeoutError:
            self._passed(f"not within {within:g} s: {self._waits}{await self._why()}", level="failure")
        except _Ended as error:
            self._passed(str(error), level="failure")
        except LinkDown as error:
            self._passed(f"our own connection was lost: {error}", level="failure")

    def _passed(self, said: str, level: Level = "ok") -> None:
        self._done(WayStep(self._step, level, said, round(time.monotonic() - self._began, 6)))

    async def _go(self) -> None:
        if (await self._status()).get("edge_mode") is False:
            raise _Ended("the daemon stands by (EDGE_MODE=false) and would not take it; no file was put")
        mark, since = secrets.token_hex(8), time.time()
        text = f"syncdaemon doctor --deliver: no evidence. {self._settings.site}, {datetime.now(UTC)}, {mark}\n"
        name, data = f"{MARK}{mark}.txt", text.encode()
        self._began = time.monotonic()
        key = await asyncio.to_thread(place.put, data, self._settings.sync_replay_dir, name.encode())
        self._passed(name)

        self._step, self._waits = "taken", "the daemon does not take it"
        try:
            answer = await asyncio.to_thread(self._door.post, HAND_OVER, {"ticket": key.text})
        except HandOverError as error:
            raise _Ended(f"{error}; the file is delivered when a daemon takes it") from None
        noted = "noted by the daemon: the file waits out its quiet time, since it is not the caller's own"
        self._passed("by the daemon, without a quiet time" if answer.get("state") == "taken" else noted)

        content = Content(name.encode(), key.name, Stamp(0, 0, len(data), 0, 0), data, sha256(data).hexdigest(), 1)
        settings = self._settings
        self._subject = settings.subject_for(message_id(content, settings.site, settings.sync_msg_id))
        self._sha256 = key.sha256
        receipt = asyncio.wrap_future(ReceiptWaiter(self._door).future(Sought(key, since)))
        try:
            async with visit(parts.link(settings)) as session:
                await self._at_server(Api.over(session), receipt)
        except ConnectTimeout as error:
            self._step, self._waits = "row", "the daemon has no acknowledgement yet"
            await self._row(receipt)
            self._step = "worker"
            self._passed(f"not seen, we have no connection of our own: {error}", level="warning")

    async def _at_server(self, api: Api, receipt: asyncio.Future[TicketReceipt]) -> None:
        self._step, self._waits = "acknowledged", "the stream does not have it"
        stream = self._settings.sync_stream
        looking = asyncio.create_task(passage.stored(api, stream, self._subject, self._sha256))
        await asyncio.wait((looking, receipt), return_when=asyncio.FIRST_COMPLETED)
        if looking.done() and isinstance(found := looking.result(), StoredMessage):
            self._passed(f"message {found.seq} of {stream}")
            self._step, self._waits = "row", "the ledger has no row of it"
            row = await self._row(receipt)
        else:
            row = await self._await(receipt)
            looking.cancel()
            self._passed(f"message {row.stream_seq} of {row.stream}, as its row says")
            self._step = "row"
            self._passed(f"row {row.row} of the ledger")
        self._step, self._waits = "hub", "the hub does not have it"
        hub = parts.hub(self._settings)
        there = (api, row.stream_seq) if hub is None else await self._at_hub(api, hub, row.stream_seq)
        self._step, self._waits = "worker", "no worker has answered"
        if there is None:
            self._passed("not shown to this login: which message it is at the hub", level="warning")
            return
        seen = await passage.at_workers(there[0], stream, self._subject, there[1], self._consumer, self._tell)
        self._passed(seen.said, level="ok" if seen.confirmed else "warning")

    async def _at_hub(self, api: Api, place: Place, seq: int) -> tuple[Api, int] | None:
        """The hub, and which message it is there; None where this login can't see that."""
        hub = Api(api.session, Calls.of(place.domain))
        try:
            await passage.at_hub(hub, place, seq, self._tell)
            self._passed("fetched by the hub")
        except PermissionError as error:
            self._passed(f"not shown to this login: {error}", level="warning")
            return None
        with suppress(PermissionError, LanePaused):
            found = await hub.direct(place.stream, self._subject)
            if isinstance(found, StoredMessage):
                return hub, found.seq
        return None

    def _tell(self, waits: str) -> None:
        self._waits = waits

    async def _row(self, receipt: asyncio.Future[TicketReceipt]) -> TicketReceipt:
        row = await self._await(receipt)
        self._passed(f"row {row.row} of the ledger: message {row.stream_seq} of {row.stream}")
        return row

    async def _await(self, receipt: asyncio.Future[TicketReceipt]) -> TicketReceipt:
        try:
            return await receipt
        except Refused as error:
            raise _Ended(f"refused: {error.reason}: {error.detail}") from None

    async def _status(self) -> dict[str, Any]:
        """Raises ConnectTimeout where no daemon answers."""
        try:
            return await asyncio.to_thread(self._door.get, "/status")
        except HandOverError as error:
            raise ConnectTimeout(f"{error}; no file was put") from None

    async def _why(self) -> str:
        """What the daemon says of itself while the file has no row."""
        if self._step not in ("taken", "acknowledged", "row"):
            return ""
        try:
            status = await self._status()
        except ConnectTimeout:
            return "; the daemon has ended; the file waits, and is delivered when one runs"
        link = status.get("link")
        problem = status.get("paused") or (isinstance(link, dict) and link.get("problem"))
        return f" ({problem or 'no trouble known'}); the file waits, and is delivered all the same"
