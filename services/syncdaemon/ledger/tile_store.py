"""What lies on disk beside a ledger: the tiles of its tree, the log's id, and up to where the tree is durable.

The file `state` has the tree's size, the digest of the ledger's row of that number, and the root. All tiles up to that
size were synced before it was written. After a power cut, what was written later is not relied on.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

from syncdaemon.base.disk import begin_sync, fsync_dir, make_dirs, sync, write_all, write_durably
from syncdaemon.evidence.origins import is_log_id
from syncdaemon.evidence.strict import HASH_BYTES
from syncdaemon.evidence.tiles import WIDTH, Edge, Tile, TileTree
from syncdaemon.ledger.chain import Head

_TILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def tree_folder(folder: Path, site: str) -> Path:
    """Where the tree of a site's ledger lies."""
    return folder / f"tlog-{site}"


def read_log_id(folder: Path, site: str) -> str:
    """The id of a site's log, as it stands beside its tree; empty where none stands there. Raises OSError."""
    try:
        found = (tree_folder(folder, site) / "log-id").read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
    return found if is_log_id(found) else ""


def tile_tree(folder: Path, site: str, size: int) -> TileTree:
    """The tree of the first `size` rows, read from its tiles. Its reads raise OSError where a tile is missing."""
    root = tree_folder(folder, site)

    def read(tile: Tile) -> bytes:
        try:
            return (root / tile.path).read_bytes()
        except FileNotFoundError:  # the tile has become full since, and begins with the same hashes
            return (root / tile._replace(width=WIDTH).path).read_bytes()[: tile.width * HASH_BYTES]

    return TileTree(size, read)


class TileStore:
    """Writes the tiles of one tree. Every call raises OSError where the disk does not take something."""

    def __init__(self, folder: Path, site: str) -> None:
        self.root = tree_folder(folder, site)
        self._waiting: list[Path] = []  # full tiles that were written, and not synced yet

    def load(self) -> tuple[Head, Edge]:
        """The tree as far as it is durable, and the end of the chain that it goes up to.

        Raises also ValueError, KeyError and TypeError where what lies there does not fit together.
        """
        self._waiting = []
        state = json.loads((self.root / "state").read_bytes())
        head = Head(int(state["size"]), str(state["digest"]))
        edge = Edge.at(head.n, lambda tile: (self.root / tile.path).read_bytes())
        if edge.root.hex() != state["root"]:
            raise ValueError("the tiles do not have the root")
        return head, edge

    def keep_log_id(self, log_id: str) -> None:
        """Keeps the log's id for good: the file with row 1 may go one day."""
        make_dirs(os.fsencode(self.root))
        write_durably(os.fsencode(self.root / "log-id"), log_id.encode() + b"\n")

    def write(self, tile: Tile, content: bytes) -> None:
        """Writes a full tile. It is durable after `make_durable`."""
        path = self.root / tile.path
        temporary = path.with_name(path.name + ".tmp")
        try:
            fd = os.open(temporary, _TILE_FLAGS, 0o640)
        except FileNotFoundError:
            make_dirs(os.fsencode(path.parent))
            fd = os.open(temporary, _TILE_FLAGS, 0o640)
        try:
            write_all(fd, content)
            begin_sync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
        self._waiting.append(path)

    @property
    def waiting(self) -> int:
        """How many full tiles are not durable yet."""
        return len(self._waiting)

    def forget(self) -> None:
        """The tree is made anew: what waits will be written again."""
        self._waiting = []

    def make_durable(self, edge: Edge, head: Head) -> None:
        """Syncs the full tiles, then writes those at the edge that are not full, then `state`.

        A tile that is not full goes only when a state counts that has the full one: so the state that a power cut
        leaves always has its tiles.
        """
        for path in self._waiting:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                sync(fd)
            finally:
                os.close(fd)
        for folder in {path.parent for path in self._waiting}:
            fsync_dir(folder)
        for tile, content in edge.unfinished():
            path = self.root / tile.path
            make_dirs(os.fsencode(path.parent))
            write_durably(os.fsencode(path), content)
        state: dict[str, str | int] = {"digest": head.digest, "root": edge.root.hex(), "size": head.n}
        write_durably(os.fsencode(self.root / "state"), json.dumps(state).encode() + b"\n")
        for path in self._waiting:
            with suppress(FileNotFoundError):
                shutil.rmtree(path.with_name(path.name + ".p"))
        self._waiting = []
