"""Who may sign a checkpoint of a ledger, and when: what else is signed must be a beginning of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from syncdaemon.base.errors import LedgerDamaged, SyncError
from syncdaemon.evidence.keyfile import CheckpointKey
from syncdaemon.evidence.notes import Checkpoint, SignedNote
from syncdaemon.evidence.origins import LogOrigin
from syncdaemon.evidence.standing import OwnNote, Standing
from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.evidence.tiles import Edge
from syncdaemon.evidence.tree import check_consistency, compact_range, consistency_proof, root_at
from syncdaemon.ledger import chain
from syncdaemon.ledger.beginning import rebased_head
from syncdaemon.ledger.checkpoints import Checkpoints
from syncdaemon.ledger.day_files import files
from syncdaemon.ledger.files import follow
from syncdaemon.ledger.tile_store import tile_tree, tree_folder
from syncdaemon.ledger.tree import RowTree

_STEP = 1_024  # rows between two rests


class NotSigned(SyncError):
    """No checkpoint can be signed now; the text says why."""


class TreeBehind(NotSigned):
    """The tree has not caught up with the ledger yet."""


class CheckpointConflict(SyncError):
    """A checkpoint of our key is no beginning of this ledger. Nothing more may be signed; the text names both."""


class TreeDoubted(SyncError):
    """By its tiles, the ledger does not begin as `other` says. The rows are to be asked: see `root_of_rows`."""

    def __init__(self, other: Checkpoint) -> None:
        super().__init__(f"a checkpoint of {other.size} rows does not fit the tree beside the ledger")
        self.other = other


class Signer(NamedTuple):
    """Who signs the checkpoints of a log: `origin_base` is SYNC_CHECKPOINT_ORIGIN."""

    folder: Path
    site: str
    origin_base: str
    key: CheckpointKey

    @property
    def public(self) -> bytes:
        """The key by which others know what it signs."""
        return self.key.public

    def origin(self, log_id: str) -> LogOrigin:
        """The name of the site's log with this id."""
        return LogOrigin(self.origin_base, self.site, log_id)


def sign_checkpoint(tree: RowTree, head: chain.Head, signer: Signer, at_hub: Standing) -> SignedNote:
    """The checkpoint of the ledger up to `head`, its end, signed and on disk. Called in the ledger's thread.

    `at_hub`: what the hub has, which must have been read in this session. It is held to the tree here: a checkpoint
    that is no beginning of it is a conflict, and so is one of our own that lies here. With no row since the newest one
    here, that one is returned.

    Raises NotSigned, TreeDoubted, CheckpointConflict.
    """
    kept = Checkpoints(signer.folder, signer.site)
    try:
        if at_hub.stray:
            raise NotSigned(at_hub.stray)
        origin = _caught_up(tree, head, signer)
        newest = kept.newest()
        note = None if newest is None else SignedNote.parse(newest)
        own = None if note is None else Checkpoint.parse(note.text)
        _hold_to(at_hub, tree, signer, origin)
        if own is not None:
            _must_be_beginning(own, tree, signer, origin)
        if note is not None and own is not None and own.size == head.n:
            return note
        note = Checkpoint(str(origin), head.n, tree.root).note().signed(str(origin), signer.key.seed)
        kept.keep(note, tree.compact_range)
    except OSError as error:
        raise NotSigned(f"{tree_folder(signer.folder, signer.site)}: {error.strerror}") from None
    except BadEvidence as error:
        raise NotSigned(f"the newest checkpoint in {tree_folder(signer.folder, signer.site)}: {error}") from None
    return note


def take_over(tree: RowTree, head: chain.Head, signer: Signer, at_hub: Standing) -> Checkpoint | None:
    """Holds what the hub has to the tree, and keeps its newest checkpoint here; None where it has none of this log.

    A disk that was restored may have lost it. Called in the ledger's thread. Raises as `sign_checkpoint`.
    """
    kept = Checkpoints(signer.folder, signer.site)
    try:
        origin = _caught_up(tree, head, signer)
        _hold_to(at_hub, tree, signer, origin)
        newest = at_hub.newest
        if newest is None or newest.checkpoint.origin != str(origin):
            return None
        size = newest.checkpoint.size
        if size not in kept.sizes():
            kept.keep(newest.note, compact_range(size, tile_tree(signer.folder, signer.site, size).subtree))
        return newest.checkpoint
    except ValueError as error:
        raise NotSigned(f"the tree can't be read: {error}") from None
    except OSError as error:
        raise NotSigned(f"{tree_folder(signer.folder, signer.site)}: {error.strerror}") from None


def consistency(folder: Path, site: str, old: Checkpoint, new: Checkpoint) -> tuple[bytes, ...]:
    """The hashes that show that `new` goes on from `old`, both of this ledger's log. Raises NotSigned."""
    try:
        hashes = consistency_proof(old.size, new.size, tile_tree(folder, site, new.size).subtree)
        check_consistency(old.size, old.root, new.size, new.root, hashes)
    except (ValueError, BadEvidence) as error:
        raise NotSigned(f"the tree in {tree_folder(folder, site)} is damaged: {error}") from None
    except OSError as error:
        raise NotSigned(f"{tree_folder(folder, site)}: {error.strerror}") from None
    return tuple(hashes)


def root_of_rows(folder: Path, site: str, size: int, rest: Callable[[], None]) -> bytes | None:
    """The root of the first rows, by the rows themselves; None where they are not all here, or no chain.

    `rest` is called again and again between some of them.
    """
    edge, lines, head = Edge(), list[bytes](), chain.START
    try:
        for path in files(folder, site):
            for line, after in follow(path, head):
                head = after
                lines.append(line)
                if len(lines) == _STEP or head.n == size:
                    edge.add(lines)
                    lines = []
                    rest()
                if head.n == size:
                    return edge.root
    except (LedgerDamaged, OSError):
        return None
    return None


def _caught_up(tree: RowTree, head: chain.Head, signer: Signer) -> LogOrigin:
    """The log's name, where the tree goes up to the end of the ledger, and its tiles are on disk."""
    tree.flush()
    if tree.problem or not head.n:
        raise NotSigned(tree.problem or "the ledger has no rows")
    if tree.head != head:
        raise TreeBehind(f"the tree goes up to row {tree.head.n} as yet, the ledger to row {head.n}")
    return signer.origin(tree.log_id)


def _hold_to(at_hub: Standing, tree: RowTree, signer: Signer, origin: LogOrigin) -> None:
    """Raises CheckpointConflict or TreeDoubted where something that others have is no beginning of the tree."""
    others: Sequence[OwnNote | None] = (at_hub.newest, at_hub.cosigned)
    for other in others:
        if other is None:
            continue
        if other.checkpoint.origin == str(origin):
            _must_be_beginning(other.checkpoint, tree, signer, origin)
        else:
            _must_be_named(other.checkpoint, signer, origin, exactly=other is at_hub.newest)


def _must_be_named(other: Checkpoint, signer: Signer, origin: LogOrigin, *, exactly: bool) -> None:
    """Raises CheckpointConflict where the ledger does not begin by naming the log of this checkpoint, and its end.

    `exactly`: the checkpoint is that very end; else it may be an older one.
    """
    before = rebased_head(signer.folder, signer.site)
    if before is None or other.origin != before.origin:
        raise CheckpointConflict(f"there is a checkpoint of {other.origin}, and this ledger's log is {origin}")
    if other != before and (exactly or other.size >= before.size):
        raise CheckpointConflict(
            f"there is a checkpoint of {other.size} rows of {other.origin}, and this ledger was begun anew behind "
            f"{before.size} rows of it"
        )


def _must_be_beginning(other: Checkpoint, tree: RowTree, signer: Signer, origin: LogOrigin) -> None:
    """Raises CheckpointConflict or TreeDoubted where this checkpoint is no beginning of the tree, or of another log."""
    if other.origin != str(origin):
        raise CheckpointConflict(f"there is a checkpoint of {other.origin}, and this ledger's log is {origin}")
    size = tree.head.n
    if other.size > size:
        raise CheckpointConflict(f"there is a checkpoint of {other.size} rows, and this ledger has {size}")
    try:
        tiles = tile_tree(signer.folder, signer.site, size)
        root = tree.root if other.size == size else root_at(other.size, tiles.subtree)
    except (ValueError, FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise TreeDoubted(other) from None
    if root != other.root:
        raise TreeDoubted(other)


def conflict_with(other: Checkpoint) -> CheckpointConflict:
    """The error for a checkpoint that the rows do not lead to."""
    return CheckpointConflict(
        f"a checkpoint of {other.size} rows is no beginning of this ledger: a row was changed, or is of another history"
    )
