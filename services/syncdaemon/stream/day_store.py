"""The plain stream in which closed days of ledgers lie: written once a subject, read back, never written again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from syncdaemon.base.errors import LanePaused
from syncdaemon.link.frame import header_block
from syncdaemon.stream import own, verdict
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.records import LEDGER, kept

_OWN_BYTES = 512 << 20  # on a site's own server: it is never emptied, and must not take the room of files
_DEMANDED: Mapping[str, object] = {
    "discard": "new",
    "max_age": 0,
    "max_msgs_per_subject": 1,
    "discard_new_per_subject": True,
    "deny_delete": True,
    "deny_purge": True,
    "allow_rollup_hdrs": False,
}
"""What a stream must be like that is to keep what no longer lies at the site."""


def own_day_stream(name: str) -> dict[str, Any]:
    """The stream as a daemon makes it on a server that no hub's owner has prepared: for any site."""
    limits = {"max_age": 0, "max_bytes": _OWN_BYTES, "max_msgs": -1, "max_consumers": -1}
    fixed = {"name": name, "subjects": ["edge.ledger.>"], "retention": "limits", "storage": "file", "discard": "new"}
    return {**fixed, **limits, "allow_direct": True, **kept(LEDGER)}


def part_subject(site: str, log_id: str, day: str, part: int) -> str:
    """Where a part of a day lies; the first is number 1."""
    return f"edge.ledger.{site}.{log_id}.{day}.{part}"


class NoDayStore(LanePaused):
    """The server takes no days, and only somebody else can change that: a right or the stream is missing."""


class DayStore(NamedTuple):
    """Messages with parts of days. `domain`: that acknowledgements must name; None: any.

    Each call raises LinkDown, PermissionError, and LanePaused where it does not work now.
    """

    api: Api
    stream: str
    domain: str | None

    async def prepare(self, config: Mapping[str, Any] | None) -> None:
        """Makes the stream where it is missing and `config` says how; refuses one that may lose what it has.

        Where the server does not let us see it, what is read back has to do. Raises also NoDayStore.
        """
        try:
            found = await self.api.stream(self.stream)
        except PermissionError:
            return
        if isinstance(found, ApiRefusal):
            if found.no_jetstream:
                return
            if not found.no_stream:
                raise found.paused(f"stream {self.stream}")
            if config is None:
                raise NoDayStore(f"there is no stream {self.stream} (SYNC_LEDGER_STREAM); `hub init` makes it")
            found = await self.api.create_stream(config)
            if isinstance(found, ApiRefusal):
                raise found.paused(f"stream {self.stream} (SYNC_LEDGER_STREAM) can't be made")
        if wrong := [name for name, value in _DEMANDED.items() if (found.config.get(name) or 0) != (value or 0)]:
            raise NoDayStore(
                f"stream {self.stream} (SYNC_LEDGER_STREAM) may lose what it takes, by its {', '.join(wrong)}: "
                "no day is shipped to it"
            )

    async def put(self, subject: str, data: bytes) -> None:
        """Returns when there is a message on this subject: ours, or one that was there before."""
        headers = header_block(("Nats-Expected-Stream", self.stream), ("Nats-Expected-Last-Subject-Sequence", 0))
        session = self.api.session
        await session.room(bulk=True)  # files have the other half of the link
        answer = await session.request(subject, data, headers, counted=True)
        judged = verdict.judge(*answer, verdict.Home(self.stream, self.domain))
        if not isinstance(judged, verdict.Stored | verdict.Known):
            raise LanePaused(f"stream {self.stream} (SYNC_LEDGER_STREAM): {judged.detail}")

    async def get(self, subject: str) -> bytes | None:
        """What lies on this subject; None: nothing was found, though a copy that is behind may say so."""
        found = (await own.newest(self.api, self.stream, subject)).message
        return None if found is None else found.data
