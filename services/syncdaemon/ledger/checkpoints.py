"""A site's own checkpoints, kept beside the tree: who may sign one, and where they lie.

Each is a note in `tlog-<site>/checkpoints/`, named by its size in 19 digits. Beside it, in `.range`, lie the roots of
the perfect subtrees of that tree, so that proofs from this size can be made when the rows are no longer here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from syncdaemon.base.disk import make_dirs, write_durably
from syncdaemon.base.errors import SyncError
from syncdaemon.evidence.keyfile import CheckpointKey
from syncdaemon.evidence.notes import Checkpoint, SignedNote
from syncdaemon.evidence.origins import LogOrigin
from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.evidence.tree import root_at
from syncdaemon.ledger.chain import Head
from syncdaemon.ledger.tile_store import tile_tree, tree_folder
from syncdaemon.ledger.tree import RowTree

_NAME = re.compile(r"[0-9]{19}", re.ASCII)


class NotSigned(SyncError):
    """No checkpoint can be signed now; the text says why."""


class CheckpointConflict(SyncError):
    """A checkpoint of our key is no beginning of this ledger. Nothing more may be signed; the text names both."""


class Checkpoints:
    """The checkpoints of a site's log that lie in the ledger's folder."""

    def __init__(self, folder: Path, site: str) -> None:
        self._folder = tree_folder(folder, site) / "checkpoints"

    def sizes(self) -> list[int]:
        """The sizes of those that are here, the smallest first."""
        try:
            return sorted(int(name) for name in os.listdir(self._folder) if _NAME.fullmatch(name))
        except FileNotFoundError:
            return []

    def read(self, size: int) -> bytes:
        """The note of this size, with all signatures that it has here. Raises OSError."""
        return (self._folder / f"{size:019d}").read_bytes()

    def newest(self) -> bytes | None:
        """The note of the largest size."""
        sizes = self.sizes()
        return self.read(sizes[-1]) if sizes else None

    def keep(self, note: SignedNote, compact_range: list[bytes] | None = None) -> None:
        """Returns when the note is on disk, in the place of one of the same size. Raises OSError.

        `compact_range` is written before it; None: it is there already.
        """
        name = os.fsencode(self._folder / f"{Checkpoint.parse(note.text).size:019d}")
        make_dirs(os.fsencode(self._folder))
        if compact_range is not None:
            write_durably(name + b".range", b"".join(compact_range))
        write_durably(name, bytes(note))


class Signer(NamedTuple):
    """Who signs the checkpoints of a log: `origin_base` is SYNC_CHECKPOINT_ORIGIN."""

    folder: Path
    site: str
    origin_base: str
    key: CheckpointKey


def sign_checkpoint(tree: RowTree, head: Head, signer: Signer, published: Checkpoint | None) -> SignedNote:
    """The checkpoint of the ledger up to `head`, its end, signed and on disk. Called in the ledger's thread.

    `published`: the hub's newest, which must have been read in this session and must verify under our key; None: the
    hub has none. It is held to the tree here: one that is no beginning of it is a conflict, and so is one of our own
    that lies here. With no row since the newest one here, that one is returned.

    Raises NotSigned, CheckpointConflict.
    """
    kept = Checkpoints(signer.folder, signer.site)
    try:
        newest = kept.newest()
        tree.flush()
        if tree.problem or not head.n:
            raise NotSigned(tree.problem or "the ledger has no rows")
        if tree.head != head:
            raise NotSigned(f"the tree goes up to row {tree.head.n} as yet, the ledger to row {head.n}")
        origin = LogOrigin(signer.origin_base, signer.site, tree.log_id)
        note = None if newest is None else SignedNote.parse(newest)
        own = None if note is None else Checkpoint.parse(note.text)
        for other in (published, own):
            if other is not None:
                _must_be_beginning(other, tree, signer, origin)
        if note is not None and own is not None and own.size == head.n:
            return note
        note = Checkpoint(str(origin), head.n, tree.root).note().signed(str(origin), signer.key.seed)
        kept.keep(note, tree.compact_range)
    except OSError as error:
        raise NotSigned(f"{tree_folder(signer.folder, signer.site)}: {error.strerror}") from None
    except BadEvidence as error:
        raise NotSigned(f"the newest checkpoint in {tree_folder(signer.folder, signer.site)}: {error}") from None
    return note


def _must_be_beginning(other: Checkpoint, tree: RowTree, signer: Signer, origin: LogOrigin) -> None:
    """Raises CheckpointConflict where this checkpoint is no beginning of the tree, or of another log."""
    if other.origin != str(origin):
        raise CheckpointConflict(f"there is a checkpoint of {other.origin}, and this ledger's log is {origin}")
    size = tree.head.n
    if other.size > size:
        raise CheckpointConflict(f"there is a checkpoint of {other.size} rows, and this ledger has {size}")
    try:
        tiles = tile_tree(signer.folder, signer.site, size)
        root = tree.root if other.size == size else root_at(other.size, tiles.subtree)
    except ValueError as error:
        raise NotSigned(f"the tree can't be read: {error}") from None
    if root != other.root:
        raise CheckpointConflict(f"a checkpoint of {other.size} rows is no beginning of this ledger: a row was changed")
