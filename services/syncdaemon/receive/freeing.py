"""`receive --free`: a tombstone in the place of each message whose file is safe here.

The stream then no longer stores the content, and goes on refusing a second copy of it. The order is: the file is
durable, the server has acknowledged the tombstone, the message is acknowledged. A worker that dies in between finds the
file again, or its tombstone.

A tombstone is a roll-up (`Nats-Rollup: sub`, ADR-9): the server removes what the subject had, and stores this instead.
It carries the sequence of the message that was received. Were it gone in the meantime, the subject could have another
message by now, which nobody has received; then the server refuses the tombstone (10071), and nothing is left to free.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from syncdaemon.base.errors import LinkDown, SettingsError
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.link import Link
from syncdaemon.link.frame import frame, header_block
from syncdaemon.receive.freed_objects import FreedObjects
from syncdaemon.receive.incoming import NOT_FREED, Outcome, Placed, Retry
from syncdaemon.receive.origin import SiteToken
from syncdaemon.receive.pull.hands import Unanswered
from syncdaemon.stream import verdict
from syncdaemon.stream.answers import ApiRefusal
from syncdaemon.stream.api import Api
from syncdaemon.stream.info import captured
from syncdaemon.stream.object_format import BucketNames
from syncdaemon.stream.tombstone import EDGE

_SILENT_SECONDS = 4.0  # until a tombstone counts as not answered; less than what the link takes for its own failure
_DIGEST = re.compile(r"[0-9a-f]{64}")

log = structlog.get_logger(__name__)


class Freeing:
    """Leaves tombstones in one stream. `token` tells of a subject which site it belongs to.

    `bucket`: the template of the name of a site's bucket.
    """

    def __init__(self, link: Link, stream: str, token: SiteToken | None, bucket: str) -> None:
        self._link, self._stream, self._token, self._bucket = link, stream, token, bucket
        self._objects = FreedObjects(link, stream)
        self._home, self._subjects = verdict.Home(stream), tuple[str, ...]()
        self._said = OnceAMinute()

    async def prepare(self, api: Api) -> None:
        """Looks whether tombstones may be left. Raises SettingsError where they may not, LanePaused, LinkDown."""
        try:
            answer = await api.stream(self._stream)
        except PermissionError as error:
            raise SettingsError(f"--free: the settings of {self._stream} can't be seen: {error}") from None
        if isinstance(answer, ApiRefusal):
            if answer.no_jetstream:
                raise SettingsError(f"--free: the settings of {self._stream} can't be seen: {answer.words}")
            raise answer.paused(f"stream {self._stream}")
        if why := unfit(answer.config, self._token):
            raise SettingsError(f"--free: the stream {self._stream} {why}")
        await self._rehearse(api, str(answer.config["subjects"][0]))
        self._home, self._subjects = verdict.Home(self._stream, answer.domain), tuple(answer.config["subjects"])
        self._objects.of(self._bucket_of(self._subjects[0]))
        others = answer.state.get("consumer_count", 0) - 1
        if others > 0 and self._said.due(time.monotonic(), "other_consumers"):
            log.warning("other_consumers", stream=self._stream, count=others, effect="they find tombstones, not files")

    def _bucket_of(self, subject: str) -> BucketNames | None:
        """The bucket of the site to which this subject belongs; None where it has none for itself."""
        site = self._token.label(subject) if self._token is not None else None
        return BucketNames(self._bucket.replace("{site}", site)) if site and "{site}" in self._bucket else None

    async def _rehearse(self, api: Api, subject: str) -> None:
        """Proves that we may publish there, by a message that no stream can store."""
        probe = ".".join("0" if token in ("*", ">") else token for token in subject.split("."))
        try:
            refusal = await api.rehearse(probe)
        except PermissionError as error:
            raise SettingsError(f"--free: these credentials may not publish to {subject}: {error}") from None
        if refusal is not None:
            raise refusal.paused(f"--free: {subject}")

    async def free(self, group: Sequence[Unanswered], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """What became of these messages, once each whose file is safe has made room for a tombstone.

        Where the server does not take the tombstone, the message is taken again later.
        """
        placed = [
            at
            for at, (held, outcome) in enumerate(zip(group, outcomes, strict=True))
            if isinstance(outcome, Placed) and self._has_own_subject(held)
        ]
        refused = await self._leave([group[at] for at in placed])
        found = list(outcomes)
        for at, why in zip(placed, refused, strict=True):
            if why:
                found[at] = Retry(NOT_FREED, why)
            elif group[at].item.is_object:
                self._objects.received()
        return found

    def _has_own_subject(self, held: Unanswered) -> bool:
        """Whether a message's subject is one content's alone, and still one of the stream's.

        On any other a tombstone would be in the way of the next message, or go nowhere: its message is not freed.
        """
        item = held.item
        subject = item.subject.decode(errors="replace")
        return captured(self._subjects, subject) and any(map(_DIGEST.fullmatch, subject.split(".")))

    async def free_objects(self) -> None:
        """For ever: takes large files out of their bucket."""
        await self._objects.run()

    async def _leave(self, group: Sequence[Unanswered]) -> list[str]:
        """Leaves a tombstone for each, over as many connections as it takes. Why it was not taken; empty: it was."""
        said: dict[int, str] = {}
        while len(said) < len(group):
            session = await self._link.wait_up()
            open_ones = [at for at in range(len(group)) if at not in said]
            flight = _Flight(self._home, len(open_ones))
            frames: list[bytes] = []
            for key, at in enumerate(open_ones):
                item = group[at].item
                frames += frame(item.subject, session.expect(flight, key), _headers(item.seq), b"")
            try:
                async with asyncio.timeout(_SILENT_SECONDS):
                    await session.send(frames)
                    await flight.landed.wait()
            except LinkDown:
                continue
            except TimeoutError:
                said |= dict.fromkeys(open_ones, "the server did not answer")
            finally:
                session.release(flight)
                said |= {open_ones[key]: why for key, why in flight.said.items()}
        return [said[at] for at in range(len(group))]


class _Flight:
    """Tombstones that are under way on one session, and what the server said of them."""

    def __init__(self, home: verdict.Home, count: int) -> None:
        self.said: dict[int, str] = {}
        self.landed = asyncio.Event()
        self._home, self._count = home, count

    def answered(self, key: int, data: bytes, headers: bytes | None, latency: float) -> None:
        """The server's answer to one."""
        self.said[key] = _refusal(verdict.judge(data, headers, self._home))
        if len(self.said) == self._count:
            self.landed.set()

    def lost(self, reason: str) -> None:
        """What has no answer yet is tried again on the next session."""
        self.landed.set()


def _headers(seq: int) -> bytes:
    """Of the tombstone for the message at this sequence."""
    expected = "Nats-Expected-Last-Subject-Sequence"
    return header_block(("Nats-Rollup", "sub"), (EDGE, "1"), (expected, str(seq)))


def _refusal(judged: verdict.Verdict) -> str:
    """Why a tombstone is not there; empty where it is, and where its message is gone."""
    return "" if isinstance(judged, verdict.Stored | verdict.Known) else f"{judged.reason}: {judged.detail}"


def unfit(config: Mapping[str, Any], token: SiteToken | None) -> str:
    """Why no tombstone may be left in a stream with this configuration; empty where it may."""
    subjects = config.get("subjects") or ()
    if config.get("retention", "limits") != "limits":
        return f"lets go of what is acknowledged by itself (its retention is {config['retention']})"
    if config.get("sources") or config.get("mirror"):
        return "takes messages from other streams, so a tombstone can't be left on their subjects"
    if config.get("subject_transform"):
        return "stores messages under other subjects than it takes (subject_transform)"
    if not subjects:
        return "captures no subject, so a tombstone can't be left in it"
    if token is None:
        return (
            "can't be told to be of one site: SYNC_SUBJECT has no {site}; say with --site-token where the site stands"
        )
    sites = {token.label(subject) for subject in subjects}
    if None in sites or len(sites) > 1:
        return (
            f"is not of one site alone (it captures {', '.join(subjects)}): whoever may publish in a stream that "
            "allows roll-ups can empty it; use a stream of one site, such as SYNC_STREAM_FREE=true makes"
        )
    if not config.get("allow_rollup_hdrs"):
        return "allows no roll-ups (allow_rollup_hdrs); SYNC_STREAM_FREE=true makes one that does"
    if config.get("max_msgs_per_subject") != 1:
        return (
            "keeps more than one message on a subject (max_msgs_per_subject is not 1): a tombstone would remove others"
        )
    return ""
