"""Reads the newest message of each subject of a stream, and then what comes: by a consumer that lives with us alone."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import structlog

from syncdaemon.base.errors import LanePaused, LinkDown
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.link import Conversation, Heard, Link, Session
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.pulled import delivery, status

_EXPIRES, _HEARTBEAT = 30.0, 5.0  # seconds of a pull
_SILENT = 3 * _HEARTBEAT  # without a heartbeat for so long, the consumer is gone
_BATCH = 1000
_FORGOTTEN_AFTER = 120.0  # seconds until the server takes away the consumer of a process that died
_AGAIN_SECONDS = 5.0  # until the next try

log = structlog.get_logger(__name__)


class WantedWords(NamedTuple):
    """What to read. `take` gets subject, body and time (seconds since 1970) of each message.

    `keep` gets all subjects that the stream has, when some were taken away. `optional`: a stream that is not there is
    no trouble.
    """

    stream: str
    subjects: str
    take: Callable[[str, bytes, float], None]
    keep: Callable[[Collection[str]], None]
    optional: bool = False


class FleetReader:
    """`problem`: why nothing is heard; empty where all is well.

    `heard_at`: up to this time, by `time.time`, everything is heard that was said.
    """

    def __init__(self, link: Link, wanted: WantedWords) -> None:
        self._link, self._wanted = link, wanted
        self._known: set[str] = set()
        self._newest = 0  # sequence up to which the messages were taken; those are told again by a new consumer
        self._whole = False  # all that there was before is taken
        self._said = OnceAMinute()
        self.heard_at = 0.0
        self.problem = "not read yet"

    async def run(self) -> None:
        """For ever: reads, over one connection after another."""
        while True:
            session = await self._link.wait_up()
            try:
                await self._read(session)
            except (LinkDown, LanePaused, PermissionError, TimeoutError) as error:
                self._trouble(str(error) or "the server is silent")
                await asyncio.wait((session.lost,), timeout=_AGAIN_SECONDS)

    def _trouble(self, reason: str) -> None:
        self.problem = reason
        if not self._wanted.optional and self._said.due(time.monotonic(), reason):
            log.warning("not_read", stream=self._wanted.stream, reason=reason)

    async def _read(self, session: Session) -> None:
        """Raises LinkDown, LanePaused, PermissionError, TimeoutError."""
        api, wanted = Api.over(session), self._wanted
        name = f"hub-{secrets.token_hex(8)}"
        made = await api.create_consumer(wanted.stream, _config(name, wanted.subjects), tail=wanted.subjects)
        if isinstance(made, ApiRefusal):
            raise made.paused(f"a consumer of {wanted.stream}")
        self._whole = not made.pending
        async with api.pulls(wanted.stream, name) as pulling:
            while True:
                await self._pull(pulling)
                await self._look(api)

    async def _pull(self, pulling: Conversation) -> None:
        """One pull to its end."""
        ask = {"batch": _BATCH, "expires": int(_EXPIRES * 1e9), "idle_heartbeat": int(_HEARTBEAT * 1e9)}
        await pulling.ask(json.dumps(ask).encode())
        if self._whole:
            self._heard()
        for _ in range(_BATCH):
            heard = await pulling.next(_SILENT)
            if heard.reply:
                self._take(heard)
                continue
            said = status(heard.headers)
            if said.ends:
                if not said.usual:
                    raise LanePaused(f"{self._wanted.stream}: {said.words}")
                return
            self._whole = True  # a heartbeat: nothing waits
            self._heard()

    def _take(self, heard: Heard) -> None:
        try:
            info = delivery(heard.reply)
            subject = heard.subject.decode()
            pending = int(heard.reply.rpartition(b".")[2])
        except ValueError:
            return
        self._known.add(subject)
        if info.seq > self._newest or not self._whole:
            stored = info.stored_ns / 1e9
            at = time.time() if self._whole and info.seq > self._newest else min(stored, time.time())
            self._wanted.take(subject, heard.data, at)
        self._newest = max(self._newest, info.seq)
        if not pending:
            self._whole = True
        if self._whole:
            self._heard()

    def _heard(self) -> None:
        self.heard_at, self.problem = time.time(), ""
        self._said.over()

    async def _look(self, api: Api) -> None:
        """Whether subjects were taken away, by somebody who forgets a site."""
        answer = await api.stream(self._wanted.stream)
        if isinstance(answer, ApiRefusal):
            raise answer.paused(self._wanted.stream)
        if answer.state["last_seq"] < self._newest:
            self._newest = 0
            raise LanePaused(f"{self._wanted.stream} was made anew")
        if answer.state.get("num_subjects", 0) >= len(self._known):
            return
        answer = await api.stream(self._wanted.stream, self._wanted.subjects)
        if not isinstance(answer, ApiRefusal):
            self._known &= set(answer.state.get("subjects") or ())
            self._wanted.keep(self._known)


def _config(name: str, subjects: str) -> dict[str, Any]:
    return {
        "name": name,
        "filter_subject": subjects,
        "deliver_policy": "last_per_subject",
        "ack_policy": "none",
        "inactive_threshold": int(_FORGOTTEN_AFTER * 1e9),
        "mem_storage": True,
    }
