"""A ledger is begun anew: the old one is put aside, and the first row of the new one says where the old one ended.

The files go oldest first, then the folder of the tree. What a power cut leaves in between is the old ledger without its
beginning, or none: in both a checkpoint at the hub is a conflict, so nothing is signed, and the command can be
repeated.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from syncdaemon.base.disk import fsync_dir, lock_file, make_dirs
from syncdaemon.base.errors import LedgerDamaged, SyncError
from syncdaemon.evidence.keyfile import CheckpointKey
from syncdaemon.evidence.notes import Checkpoint, SignedNote
from syncdaemon.evidence.origins import log_id
from syncdaemon.evidence.proofs import Proof
from syncdaemon.evidence.standing import OwnNote, Standing
from syncdaemon.evidence.strict import base64_text
from syncdaemon.ledger import rows
from syncdaemon.ledger.beginning import first_row
from syncdaemon.ledger.checkpoints import Checkpoints
from syncdaemon.ledger.day_files import all_files
from syncdaemon.ledger.files import lock_path
from syncdaemon.ledger.signing import Signer, sign_checkpoint
from syncdaemon.ledger.tile_store import tree_folder
from syncdaemon.ledger.tree import RowTree, find_log_id
from syncdaemon.ledger.writer import Writer


class NotRebased(SyncError):
    """The ledger can't be begun anew; the text says why."""


class Rebased(NamedTuple):
    """What was done: the new log's first checkpoint and the proof of its row 1 by that; where the old files are now.

    `aside`: None where there were none.
    """

    note: SignedNote
    proof: Proof
    aside: Path | None

    @property
    def log_id(self) -> str:
        """The new log's id."""
        return log_id(self.proof.row)


def rebase(signer: Signer, before: OwnNote, reason: str, old_key: CheckpointKey | None = None) -> Rebased:
    """Puts the ledger aside and begins a new one, whose first checkpoint is signed, by the `old_key` too if given.

    `before`: the newest checkpoint at the hub. No daemon may run. Raises NotRebased.
    """
    folder, site = signer.folder, signer.site
    try:
        make_dirs(os.fsencode(folder.absolute()))
        lock = lock_file(lock_path(folder, site))
    except BlockingIOError:
        raise NotRebased(f"a daemon writes the ledger of site {site} in {folder}: stop it first") from None
    except OSError as error:
        raise NotRebased(f"{folder}: {error.strerror}") from None
    try:
        aside = _put_aside(folder, site)
        note, row = _begin(signer, before, reason, old_key)
        return Rebased(note, Proof(row, 0, (), bytes(note)), aside)
    except (OSError, LedgerDamaged) as error:
        raise NotRebased(f"{error}; what was moved is in {folder}/rebased-*; repeat the command") from None
    finally:
        os.close(lock)


def _put_aside(folder: Path, site: str) -> Path | None:
    moving = all_files(folder, site)
    tree = tree_folder(folder, site)
    if tree.exists():
        moving.append(tree)
    if not moving:
        return None
    aside = _new_folder(folder, _log_id(folder, site))
    for path in moving:
        os.rename(path, aside / path.name)
        fsync_dir(aside)
        fsync_dir(folder)
    return aside


def _log_id(folder: Path, site: str) -> str:
    try:
        return find_log_id(folder, site) or "unknown"
    except (LedgerDamaged, OSError):
        return "unknown"


def _new_folder(folder: Path, log: str) -> Path:
    """A folder that was not there: with a number behind it, where the command was cut off before."""
    number = 1
    while (aside := folder / (f"rebased-{log}" + (f"-{number}" if number > 1 else ""))).exists():
        number += 1
    make_dirs(os.fsencode(aside.absolute()))
    return aside


def _begin(signer: Signer, before: OwnNote, reason: str, old_key: CheckpointKey | None) -> tuple[SignedNote, bytes]:
    """Writes row 1 and signs the checkpoint of it; both."""
    old: Checkpoint = before.checkpoint
    tree = RowTree(signer.folder, signer.site)
    tree.load()
    writer = Writer(signer.folder, signer.site, tree.grow)
    try:
        writer.write([rows.rebased(old.origin, old.size, base64_text(old.root), reason)])
    finally:
        writer.close()
    note = sign_checkpoint(tree, writer.head, signer, Standing(0, before, None))
    if old_key is not None:
        note = note.signed(str(signer.origin(tree.log_id)), old_key.seed)
        Checkpoints(signer.folder, signer.site).keep(note)
    return note, first_row(signer.folder, signer.site) or b""
