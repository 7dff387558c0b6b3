"""One round of the auditor over a connection: read what is new, judge it, put it on disk, cosign, publish."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import Counter
from collections.abc import Callable, Collection
from hashlib import sha256
from typing import NamedTuple

import structlog

from syncdaemon.base.errors import LanePaused, SettingsError
from syncdaemon.base.pause import OnceAMinute
from syncdaemon.evidence.notes import SignedNote, VerifierKey
from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.evidence.submission import Submission
from syncdaemon.hub.audit import inbox
from syncdaemon.hub.audit.cosigner import Arrived, SignatureDesk
from syncdaemon.hub.audit.judge import CONFLICTS, Accepted, LogHead, NotCosigned, NotTaken, Verdict
from syncdaemon.hub.audit.state import Cursor
from syncdaemon.stream.api import Api
from syncdaemon.stream.stored import StoredMessage

REBASED_HEADER = "Edge-Rebased"
_AT_ONCE = 32  # questions under way at the same time

log = structlog.get_logger(__name__)


class PublishedNote(NamedTuple):
    """The newest note of a site that is published: its subject, its sequence, and the note."""

    subject: str
    seq: int
    note: bytes


class Rounds:
    """Reads and publishes for one cosigner. `accept`: a state that is behind its own signatures takes them over."""

    def __init__(self, cosigner: SignatureDesk, *, accept: bool = False, now: Callable[[], float] = time.time) -> None:
        self._cosigner, self._state, self._accept, self._now = cosigner, cosigner.state, accept, now
        self._anchors: dict[str, PublishedNote] = {}
        self._due: set[str] = set()  # sites whose note is to be published
        self._said = OnceAMinute()
        self.turn = asyncio.Lock()  # held while a checkpoint is judged, stored and signed
        self.refused: Counter[tuple[str, NotCosigned]] = Counter()
        self.read_to = cosigner.read_to

    async def compare(self, api: Api) -> None:
        """Looks at what is published, at the beginning of a connection. What is not there is published.

        Raises SettingsError where our own signatures there are newer than the state: it must not sign then.
        """
        turns = asyncio.Semaphore(_AT_ONCE)

        async def look(site: str) -> None:
            async with turns:
                await self._look(api, site)

        sites = {*self._cosigner.pins, *self._state}
        for done in [asyncio.create_task(look(site)) for site in sorted(sites)]:
            await done
        async with self.turn:
            await asyncio.to_thread(self._state.flush)

    async def run(self, api: Api) -> set[str]:
        """One round; the sites whose checkpoints went on. Raises LinkDown, PermissionError, LanePaused, OSError."""
        fresh: set[str] = set()
        await self._check_cursor(api)
        while True:
            batch = await inbox.read(api, self.read_to + 1)
            async with self.turn:
                fresh |= {inbox.site_of(message.subject) for message in batch.messages if self._judge(message)}
                if batch.messages:
                    last = batch.messages[-1]
                    await asyncio.to_thread(self._state.move, Cursor(last.seq, _digest(last)))
                    self.read_to = last.seq
            if not batch.left or not batch.messages:
                break
        for site in sorted(self._cosigner.pins):
            if done := self._cosigner.follow(site):
                log.warning("accepted_by_the_operator", edge_site=site, what=done)
                self._due.add(site)
                fresh.add(site)
        await self.publish(api, fresh)
        return fresh

    async def publish(self, api: Api, sites: Collection[str] = ()) -> None:
        """Cosigns and publishes the heads of these sites, and those that are due. Raises as `run`."""
        self._due |= set(sites)
        for site in sorted(self._due):
            if self._state.of(site).head is not None:
                async with self.turn:
                    note = await asyncio.to_thread(self._cosigner.cosign, site)
                await self._publish(api, site, note)
            self._due.discard(site)

    def due(self, site: str) -> None:
        """The site's note is published in the next round."""
        self._due.add(site)

    def note_of(self, site: str) -> SignedNote | None:
        """The note of the site's head as it is published, with all signatures; None: it is not."""
        anchor, head = self._anchors.get(site), self._state.of(site).head
        return None if anchor is None or head is None else _ours(anchor, head, self._cosigner.key)

    async def add(self, api: Api, site: str, signed: SignedNote) -> None:
        """Publishes the site's note with the signatures of others that are in this one."""
        if self.note_of(site) is not None:
            await self._publish(api, site, signed)

    async def _publish(self, api: Api, site: str, note: SignedNote) -> None:
        subject = inbox.day_subject(site, self._now())
        anchor = self._anchors.get(site)
        whole = bytes(_merged(note, anchor))
        expected = anchor.seq if anchor is not None and anchor.subject == subject else 0
        seq = await inbox.publish(api, subject, whole, self.read_to, expected)
        if seq is None:  # an acknowledgement was lost, or another auditor is at work
            await self._look(api, site)
            raise LanePaused(f"{subject} has another note than the one that was published here")
        self._anchors[site] = PublishedNote(subject, seq, whole)
        log.info("cosigned", edge_site=site, subject=subject, rows=note.text.split("\n")[1])

    async def _look(self, api: Api, site: str) -> None:
        """Holds the newest published note against the state. Raises SettingsError as `compare`."""
        found = await inbox.newest_cosigned(api, site)
        state = self._state.of(site)
        if found is not None:
            self._anchors[site] = PublishedNote(found.subject, found.seq, found.data)
            own = self._cosigner.signed_before(site, found.data)
            if own is not None and own.time > state.time:
                if not self._accept:
                    raise SettingsError(
                        f"--state: it is older than the signatures in {inbox.COSIGNED} (site {site}): another auditor "
                        "has this key, or this is a backup; once, by hand, add --accept-state to take them over"
                    )
                self._cosigner.adopt(site, own.head, inbox.read_to_of(found), own.time)
                log.warning("state_taken_over", edge_site=site, rows=own.rows)
                return
        if state.head is not None and self.note_of(site) is None:
            self._due.add(site)

    async def _check_cursor(self, api: Api) -> None:
        """Where the message that was read last is not there any more, nor any later one, the stream was put back."""
        cursor = self._state.cursor
        if not cursor.seq:
            return
        batch = await inbox.read(api, cursor.seq, most=1)
        found = batch.messages[0] if batch.messages else None
        if found is not None and (found.seq > cursor.seq or _digest(found) == cursor.digest):
            return
        log.warning("checkpoints_put_back", stream=inbox.CHECKPOINTS, read_to=cursor.seq)
        await asyncio.to_thread(self._cosigner.begin_again)
        self.read_to = 0

    def _judge(self, message: StoredMessage) -> bool:
        """Whether the site's log went on."""
        site = inbox.site_of(message.subject)
        arrived = Arrived(message.seq, int(message.at.timestamp()) if message.at else int(self._now()))
        verdict: Verdict | None
        try:
            submission = Submission.parse(message.data)
            rebased = base64.b64decode(message.headers.get(REBASED_HEADER, ""), validate=True)
            verdict = self._cosigner.take(site, arrived, submission, rebased)
        except (BadEvidence, ValueError) as error:
            verdict = NotTaken(NotCosigned.STRAY, str(error))
        if verdict is None:
            return False
        if isinstance(verdict, Accepted):
            return not verdict.same
        self._heed(site, message.seq, verdict)
        return False

    def _heed(self, site: str, seq: int, refused: NotTaken) -> None:
        known = site in self._cosigner.pins
        self.refused[site if known else "", refused.reason] += 1
        if known:
            self._due.add(site)  # so that the site learns that it was read past
        if not self._said.due(time.monotonic(), f"{site} {refused.reason}"):
            return
        say = log.error if refused.reason in CONFLICTS | {NotCosigned.REBASED} else log.warning
        say("checkpoint_refused", edge_site=site, seq=seq, reason=str(refused.reason), detail=refused.why)


def _digest(message: StoredMessage) -> str:
    return sha256(message.subject.encode() + b"\n" + message.data).hexdigest()


def _merged(note: SignedNote, anchor: PublishedNote | None) -> SignedNote:
    """The note with the signatures of others that the published one has."""
    if anchor is None:
        return note
    try:
        published = SignedNote.parse(anchor.note)
    except BadEvidence:
        return note
    if published.text != note.text:
        return note
    have = {(signature.name, signature.key_id) for signature in note.signatures}
    more = [one for one in published.signatures if (one.name, one.key_id) not in have]
    return note._replace(signatures=(*note.signatures, *more))


def _ours(anchor: PublishedNote, head: LogHead, key: VerifierKey) -> SignedNote | None:
    """The published note, if it is that of the head, and has the signature of this key."""
    try:
        note = SignedNote.parse(anchor.note)
        is_ours = note.cosigned(key) is not None
    except BadEvidence:
        return None
    return note if is_ours and note.text == SignedNote.parse(head.note).text else None
