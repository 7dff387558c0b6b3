"""This site's log as the hub has it: what was read over this connection, and what was put there since."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import NamedTuple

import structlog

from syncdaemon.daemon.anchor import Anchor
from syncdaemon.evidence.notes import Checkpoint, SignedNote
from syncdaemon.evidence.proofs import Proof
from syncdaemon.evidence.standing import CosignedNote, MailedNote, OwnNote, Standing, standing
from syncdaemon.evidence.submission import Submission
from syncdaemon.evidence.tree import inclusion_proof
from syncdaemon.ledger import Ledger
from syncdaemon.ledger.beginning import first_row
from syncdaemon.ledger.checkpoints import Acknowledged, Checkpoints, acknowledged
from syncdaemon.ledger.signing import Signer, consistency
from syncdaemon.ledger.tile_store import tile_tree
from syncdaemon.link import Session
from syncdaemon.stream.mailbox import Mailbox, NoStream, read_to
from syncdaemon.stream.records import REBASED
from syncdaemon.stream.stored import StoredMessage

_LOOK_AGAIN = 3600.0  # seconds between two looks at what an auditor has published
_MOST_BEHIND = 5_000  # checkpoints between the auditor's newest and ours: half of what the hub keeps
_THIN_SECONDS = 3600.0
_BEHIND = "it is told the newest checkpoint, and goes on from there"
_NOTHING = Standing(0, None, None)

log = structlog.get_logger(__name__)


class HubPlace(NamedTuple):
    """Where checkpoints go. `domain`: of the hub's JetStream. `make`: its streams are made if they are missing."""

    domain: str
    make: bool


class HubLog:
    """`standing`: what the hub has; it counts for the connection over which it was read."""

    def __init__(self, signer: Signer, place: HubPlace, ledger: Ledger, anchor: Anchor) -> None:
        self._signer, self._place, self._ledger, self._anchor = signer, place, ledger, anchor
        self._public = signer.public
        self._kept = Checkpoints(signer.folder, signer.site)
        self._read_over: Session | None = None
        self.standing = _NOTHING
        self._looked_at = self._thinned_at = float("-inf")

    @property
    def stray(self) -> str:
        """Why the hub's newest message is none of ours; empty where it is."""
        return self.standing.stray

    def load(self) -> None:
        """What was known when the last process ended. In a thread. Raises OSError."""
        self._anchor.known = acknowledged(self._signer.folder, self._signer.site)

    def is_read(self, session: Session) -> bool:
        """Whether the hub was asked over this connection, and lately."""
        return session is self._read_over and time.monotonic() - self._looked_at < _LOOK_AGAIN

    def forget(self) -> None:
        """What was read counts no more."""
        self._read_over = None

    async def read(self, session: Session) -> None:
        """What the hub has counts from here on, if it is a beginning of this ledger.

        Raises as `Mailbox` and `Ledger.take_over`.
        """
        mailbox = self._mailbox(session)
        newest = await self._newest(mailbox)
        noted = await mailbox.cosigned()
        found = standing(
            None if newest is None else MailedNote(newest.seq, newest.data),
            None if noted is None else CosignedNote(noted.data, read_to(noted)),
            self._public,
            self._signer.site,
        )
        own = await self._ledger.take_over(self._signer, found)
        self._read_over, self.standing, self._looked_at = session, found, time.monotonic()
        if not found.stray:
            await self._compare(own, newest)

    async def _newest(self, mailbox: Mailbox) -> StoredMessage | None:
        try:
            return await mailbox.newest()
        except NoStream:
            if not self._place.make:
                raise
        await mailbox.make_streams()
        return await mailbox.newest()

    async def _compare(self, own: Checkpoint | None, newest: StoredMessage | None) -> None:
        """What the hub has, with what it had: a hub that was restored is behind."""
        known, rows = self._anchor.known, 0 if own is None else own.size
        begins = own is None and newest is not None  # the hub has the log before this one
        if known is not None and known.rows > rows and not begins:
            log.warning("hub_is_behind", rows=rows, acknowledged=known.rows, effect=_BEHIND)
        if own is None:
            self._anchor.known = None
        elif known is None or known.rows != rows:
            at = time.time() if newest is None or newest.at is None else newest.at.timestamp()
            await self._acknowledged(Acknowledged(rows, at, self.standing.seq, *self._since_cosigned(0)))

    async def publish(self, session: Session, note: SignedNote) -> None:
        """Returns when the hub has acknowledged it, and that is on disk. Raises as `Mailbox.publish`, NotSigned."""
        checkpoint = Checkpoint.parse(note.text)
        body, headers = await asyncio.to_thread(self._message, note, checkpoint)
        seq = await self._mailbox(session).publish(bytes(body), self.standing.seq, headers)
        await self._acknowledged(Acknowledged(checkpoint.size, time.time(), seq, *self._since_cosigned(1)))
        self.standing = Standing(seq, OwnNote(checkpoint, note), self.standing.cosigned)

    def first_of_new_log(self) -> SignedNote | None:
        """Of a log that was begun anew, and that the hub does not have: its smallest note, which the old key signed.

        In a thread. Raises OSError.
        """
        newest = self.standing.newest
        if newest is None or newest.checkpoint.origin == self._origin:
            return None
        notes = (SignedNote.parse(self._kept.read(size)) for size in self._kept.sizes())
        return next((note for note in notes if Checkpoint.parse(note.text).origin == self._origin), None)

    @property
    def _origin(self) -> str:
        return str(self._signer.origin(self._ledger.log_id))

    def _mailbox(self, session: Session) -> Mailbox:
        return Mailbox(session, self._signer.site, self._place.domain)

    def _message(self, note: SignedNote, checkpoint: Checkpoint) -> tuple[Submission, dict[str, str]]:
        """In a thread. Raises NotSigned where the tree does not give the hashes, OSError."""
        folder, site = self._signer.folder, self._signer.site
        before = self._before(checkpoint.origin)
        if before is None:
            return Submission(0, (), bytes(note)), {}
        if before.origin == checkpoint.origin:
            return Submission(before.size, consistency(folder, site, before, checkpoint), bytes(note)), {}
        way = inclusion_proof(0, checkpoint.size, tile_tree(folder, site, checkpoint.size).subtree)
        proof = Proof(first_row(folder, site) or b"", 0, tuple(way), bytes(note))
        return Submission(0, (), bytes(note)), {REBASED: base64.b64encode(bytes(proof)).decode()}

    def _before(self, origin: str) -> Checkpoint | None:
        """From which checkpoint the next one is shown to go on: one that its reader has. None: from nothing."""
        newest, cosigned = self.standing.newest, self.standing.cosigned
        _, behind = self._since_cosigned(0)
        if cosigned is not None and behind > _MOST_BEHIND and cosigned.checkpoint.origin == origin:
            return cosigned.checkpoint
        return None if newest is None else newest.checkpoint

    def _since_cosigned(self, more: int) -> tuple[int, int]:
        """Rows of the auditor's newest note, and how many checkpoints were published since it was that; `more`: now."""
        cosigned, known = self.standing.cosigned, self._anchor.known
        size = 0 if cosigned is None else cosigned.checkpoint.size
        return size, more + (known.behind if known is not None and known.cosigned == size else 0)

    async def _acknowledged(self, found: Acknowledged) -> None:
        await asyncio.to_thread(self._kept.acknowledge, found)
        self._anchor.known = found
        if time.monotonic() - self._thinned_at >= _THIN_SECONDS:
            self._thinned_at = time.monotonic()
            await asyncio.to_thread(self._kept.thin, time.time(), (found.rows, found.cosigned))
