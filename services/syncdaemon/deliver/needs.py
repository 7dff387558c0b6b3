"""What the delivery needs of the other folders. Each class says which class of the daemon stands behind it.

This folder imports none of them: the daemon hands them in, and a test may hand in something else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Protocol

from syncdaemon.base.model import Content, Fit, Held, Outcome, Place, Receipt, Refusal, Row
from syncdaemon.ledger.rows import Entry

Session = Any
"""One connection to the server: `Session` of `link/session.py`. The delivery passes it on and never looks into it."""


class SpoolLike(Protocol):
    """The replay directory: `Spool` of `spool/spool.py`."""

    async def some(self) -> None:
        """Waits until there may be a file to read."""

    async def read(self, fit: Fit) -> list[Content | Refusal]:
        """The next batch of complete files, which may be empty."""

    async def large_waits(self, size_class: int) -> None:
        """Waits until there is a file of this size class that is too large to be read into a batch."""

    async def read_large(self, size_class: int) -> Content | Refusal | None:
        """The next large file of this size class, without its data. None: it can't be delivered now."""

    async def retire(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Moves delivered files out of the way. Returns the receipts of the files that could not be moved."""

    async def set_aside(self, refusal: Refusal, first: str, last: str) -> None:
        """Moves a refused file to the quarantine. `first` and `last` are the times of its attempts."""

    def put_back(self, contents: Iterable[Content]) -> None:
        """These files were not delivered: `read` takes them again."""

    def put_back_large(self, contents: Sequence[Content]) -> None:
        """These files were not delivered: `read_large` takes them again."""

    def acknowledged(self, paths: Iterable[bytes]) -> None:
        """These files are stored or refused: they wait no longer."""


class PublisherLike(Protocol):
    """The way into the stream: `Publisher` of `publish/__init__.py`."""

    async def ready(self) -> Session:
        """Waits until messages can be sent, and returns the session for them."""

    async def believed(self) -> None:
        """Waits until we know whether the server has what it acknowledged."""

    async def measured(self, session: Session) -> None:
        """Waits until it is known how fast the link is."""

    async def caught_up(self) -> None:
        """Waits until little of the earlier batches is still to be sent."""

    def fit(self, session: Session) -> Fit:
        """How much to read for this session."""

    def refusal(self, content: Content, session: Session) -> Refusal | None:
        """Why not even a message that names an object can stand for this file. None: such a message can be sent."""

    async def publish(self, batch: Sequence[Content], session: Session) -> list[Outcome]:
        """Sends a batch, waits for the answers and returns what is certain."""

    def receipts_written(self, receipts: Sequence[Receipt]) -> None:
        """The ledger has these receipts on disk."""


class ObjectsLike(Protocol):
    """The bucket for large files: `Objects` of `publish/objects/__init__.py`."""

    async def ready(self, session: Session) -> None:
        """Waits until the bucket may take something, or the session is lost."""

    async def placed(self, content: Content, session: Session) -> Content | None:
        """The file, with the object that is to have its bytes. None: that can't be told now, and the file stays."""

    async def store(self, content: Content, session: Session) -> bool | Refusal:
        """Makes an object of a file. True: the object is complete. False: not yet, and the file stays."""


class LedgerLike(Protocol):
    """The ledger: `Ledger` of `ledger/__init__.py`."""

    async def ready(self) -> None:
        """Waits until rows can be written."""

    async def record(self, entries: Sequence[Entry]) -> None:
        """Returns when these rows are on disk."""

    async def receipts_of(self, wanted: Mapping[Place, int]) -> Mapping[Place, list[Row]]:
        """The receipts of these files, so many of each; the best ones last."""


class TrustLike(Protocol):
    """What knows when the server may have lost messages: `Trust` of `publish/trust.py`."""

    async def suspected(self) -> int:
        """Waits until there is a suspicion. Returns its number."""

    def looked(self, suspicion: int) -> None:
        """We know what is lost, though not all of it waits again yet."""

    def believe(self, suspicion: int) -> None:
        """All that was lost waits again. `suspicion`: the number that `suspected` returned before we looked."""


class LaneLike(Protocol):
    """What says over which session we may look: `Lane` of `publish/lane.py`."""

    @property
    def trust(self) -> TrustLike:
        """Whether that server may have lost messages."""

    async def ready(self) -> Session:
        """Waits until messages can be sent, and returns the session for them."""

    def void(self, held: Held) -> None:
        """The receipt of this file counts no longer."""

    def unreadable(self, problem: str) -> None:
        """The stream can't be looked at now: the lane pauses, and prepares the stream again."""


class HoldLike(Protocol):
    """The delivered files that are still kept: `Spool` of `spool/spool.py`."""

    def held(self) -> AsyncIterator[list[Held]]:
        """The held files, in groups."""

    def hold_anew(self) -> None:
        """The time for which files are held begins again for all of them."""

    async def send_again(self, held: Held, path: bytes) -> None:
        """Moves a held file back, so that it is delivered again. Raises OSError."""


class PresenceLike(Protocol):
    """What looks for files in the stream: `Presence` of `daemon/presence.py`."""

    async def lost(self, session: Session, held: Sequence[Held]) -> list[Held]:
        """Those of these files that the stream has lost."""
