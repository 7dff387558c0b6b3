"""Whether the buckets still have what they acknowledged, as far as we can know it while a connection stays up."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import NamedTuple

import structlog

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.link import Session
from syncdaemon.publish.objects import lost
from syncdaemon.publish.objects.bucket import Bucket
from syncdaemon.publish.objects.halt import Halt
from syncdaemon.stream.api import Api
from syncdaemon.stream.info import StreamAnswer
from syncdaemon.stream.object_format import BucketNames

log = structlog.get_logger(__name__)


class _Known(NamedTuple):
    """What a bucket was when it was last looked at; all empty where it was not there."""

    created: str = ""
    leader: str = ""
    last_seq: int = 0

    @classmethod
    def of(cls, answer: StreamAnswer | None) -> _Known:
        return cls() if answer is None else cls(answer.created, answer.leader, answer.state["last_seq"])

    def changed(self, before: _Known) -> str:
        """Why it may have lost something since `before`, in words; empty where nothing speaks for that."""
        if self.created != before.created:
            return "it is another one than before" if self.created else "it is not there any more"
        if self.leader != before.leader:
            return "it has another leader"
        return "it ends before the last message that it had" if self.last_seq < before.last_seq else ""


class BucketWatch:
    """Remembers each bucket that this site's objects go to, or lie in, and notices when one is not what it was.

    `suspect` is called then: the held files are looked for, and with them their objects.
    """

    def __init__(self, suspect: Callable[[], None]) -> None:
        self._suspect = suspect
        self._known: dict[BucketNames, _Known] = {}
        self._said = OnceAMinute()

    @property
    def watched(self) -> list[BucketNames]:
        """The buckets that are looked at."""
        return list(self._known)

    def met(self, names: BucketNames, answer: StreamAnswer | None) -> None:
        """What the server says of a bucket now; None: it is not there."""
        before, now = self._known.get(names), _Known.of(answer)
        self._known[names] = now
        if before is not None and (reason := now.changed(before)):
            log.warning("bucket_changed", bucket=names.bucket, reason=reason, effect="the hold is checked")
            self._suspect()

    async def lost(self, session: Session, objects: Collection[str]) -> set[str]:
        """Which of these objects the server has lost. Raises LinkDown, PermissionError, LanePaused."""
        return await lost.lost(session, objects, self.met)

    async def look(self, session: Session) -> bool:
        """Whether each of them could be seen, or is known to be kept from us. Raises LinkDown."""
        for names in self.watched:
            try:
                self.met(names, await Bucket(Api.over(session), names).described())
            except Halt as halt:
                if halt.reason == "bucket_denied":
                    continue
                if self._said.due(time.monotonic(), names.bucket):
                    log.info("bucket_not_seen", reason=str(halt), effect="nothing is deleted from the hold")
                return False
        return True
