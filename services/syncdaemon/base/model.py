"""The values that pass between the steps of a file's way.

Named tuples rather than dataclasses: immutable all the same, and a third of the cost to make, which counts
for values that are made several times for every file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Row = Mapping[str, int | str | bool]
"""The fields of one ledger row that its event brings; the chain adds the rest."""


class Stamp(NamedTuple):
    """Which file, in which version. Two equal stamps: nothing has touched the file in between."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int


FolderId = tuple[int, int]
"""Which folder: its device and its inode."""

UNKNOWN_FOLDER: FolderId = (0, 0)


class Owned(NamedTuple):
    """A file or folder as stat(2) tells of it: its mode, its owner and its group."""

    mode: int
    user: int
    group: int


class Fit(NamedTuple):
    """How much is read, in bytes.

    `message`: what a file and its percent-encoded name may have together for a message to hold them; `link`: what of
    them may go in one piece over the link as it is; `batch`: after so many a batch is full.
    """

    message: int
    link: int
    batch: int


class Content(NamedTuple):
    """A complete file as it was read.

    `path` is relative to the replay directory, in the raw bytes of the file system; `name` is the same,
    percent-encoded, as headers, ledger and logs carry it. `data` is None where the file is too large for a
    message: its digest is known all the same. `packed`: it is not the bytes of the file, but a zstd frame of them.
    `folder`: the one that it was read in. `object`: bucket and name of the object that has the bytes, or is to have
    them, where that is decided. `arrived_ns`: when it came into the replay directory, by the file system's clock; 0
    where that is not known.
    """

    path: bytes
    name: str
    stamp: Stamp
    data: bytes | None
    sha256: str
    attempts: int
    packed: bool = False
    folder: FolderId = UNKNOWN_FOLDER
    object: str = ""
    arrived_ns: int = 0


class Receipt(NamedTuple):
    """The stream holds this file's content at `seq`. `duplicate`: it was there before this file came.

    `object`: bucket and name of the object that has the bytes, where the message has none.
    """

    content: Content
    msg_id: str
    subject: str
    stream: str
    seq: int
    duplicate: bool
    object: str = ""


class Refusal(NamedTuple):
    """This file can't be delivered as it is. `content.sha256` is empty where it could not be read."""

    content: Content
    reason: str
    detail: str


class AsObject(NamedTuple):
    """The stream's message for this content names an object, which may be lost: the file has to be one as well.

    `object`: bucket and name of it, where it is known.
    """

    content: Content
    object: str = ""


class Later(NamedTuple):
    """This file is tried again after `wait` seconds, and others go on.

    What became of it can't be found out now; or it was not sent at all, since the link was not known well enough.
    """

    content: Content
    wait: float


Outcome = Receipt | Refusal | AsObject | Later


def first_id(msg_id: str) -> str:
    """The id that a message has when it is first sent: a digest. One that is sent afresh has a dot and more behind it.

    It is sent afresh where the server knew the first id from a message that is not ours.
    """
    return msg_id.partition(".")[0]


class StoredHeaders(NamedTuple):
    """What a reading by headers alone brings of a message; `size` is that of the body, in bytes."""

    seq: int
    subject: str
    headers: dict[str, str]
    size: int


Place = tuple[int, str, int]
"""What a held file and its receipt have in common: the message's sequence, the content's digest, the file's mtime."""


class Held(NamedTuple):
    """A file in the hold: where it lies, where the stream had it, what it holds, and when it was modified.

    `size`: bytes of the file.
    """

    bucket: bytes
    name: bytes
    seq: int
    sha256: str
    mtime_ns: int = 0
    size: int = 0

    @property
    def place(self) -> Place:
        """By which its receipt is found."""
        return self.seq, self.sha256, self.mtime_ns


_FAR_AGO = float("-inf")


class Instant(NamedTuple):
    """Now, by two clocks, in seconds: one that is never set, and one that goes on while the machine sleeps."""

    monotonic: float
    wall: float

    def since(self, earlier: Instant) -> float:
        """Seconds since then; the more, where the clocks disagree."""
        return max(self.monotonic - earlier.monotonic, self.wall - earlier.wall)


LONG_AGO = Instant(_FAR_AGO, _FAR_AGO)


class Attempt(NamedTuple):
    """`files` messages of one id: the stream can hold them from `first_seq` on; noted in the ledger's row `row`."""

    first_seq: int
    row: int
    files: int
    at: Instant = LONG_AGO
