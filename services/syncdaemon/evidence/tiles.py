"""The tree in tiles of 256 hashes, as C2SP tlog-tiles lays them out (version 0.1.0). Pure: paths and bytes.

A tile of level L holds the roots of 256 subtrees of height 8 L, which are next to one another. At the right edge of the
tree each level has one tile that is not full yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import pack
from typing import NamedTuple

from syncdaemon.evidence.strict import HASH_BYTES
from syncdaemon.evidence.tree import compact_range, fold, leaf_hash, root_of

WIDTH = 256
MOST_ENTRY_BYTES = (1 << 16) - 1
"""What an entry bundle can hold: it has the length of each entry in 16 bits."""

_HEIGHT = 8  # of the subtree that one tile is
_FULL = WIDTH * HASH_BYTES


class Tile(NamedTuple):
    """Where a tile belongs, and how many hashes it has."""

    level: int
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Its path below the log's folder."""
        return f"tile/{self.level}/{_number_path(self.number)}" + (f".p/{self.width}" if self.width < WIDTH else "")


def bundle_path(number: int, width: int = WIDTH) -> str:
    """The path of an entry bundle, which has the entries of the tile of level 0 with this number."""
    return f"tile/entries/{_number_path(number)}" + (f".p/{width}" if width < WIDTH else "")


def bundle(entries: Sequence[bytes]) -> bytes:
    """The content of an entry bundle. Raises ValueError where an entry is too long for it."""
    if any(len(entry) > MOST_ENTRY_BYTES for entry in entries):
        raise ValueError("an entry is too long for a bundle")
    return b"".join(pack(">H", len(entry)) + entry for entry in entries)


def _number_path(number: int) -> str:
    """Three digits for each folder on the way, an `x` before all but the last: 1234067 is x001/x234/067."""
    path = f"{number % 1000:03d}"
    while number := number // 1000:
        path = f"x{number % 1000:03d}/{path}"
    return path


def tiles_at(size: int) -> Iterator[Tile]:
    """The tiles at the right edge of a tree that are not full, from the leaves up."""
    level = 0
    while size:
        if width := size % WIDTH:
            yield Tile(level, size // WIDTH, width)
        size //= WIDTH
        level += 1


class Edge:
    """The right edge of a tree that grows: one unfinished tile for each level, which is all that memory holds of it."""

    def __init__(self) -> None:
        self.size = 0
        self._levels: list[bytearray] = []

    @classmethod
    def at(cls, size: int, read: Callable[[Tile], bytes]) -> Edge:
        """The edge of a tree of this size. `read` gives the content of a tile, and may raise what it likes.

        Raises ValueError where a tile does not have its length.
        """
        edge = cls()
        edge.size = size
        for tile in tiles_at(size):
            content = read(tile)
            if len(content) != tile.width * HASH_BYTES:
                raise ValueError(f"{tile.path} has {len(content)} bytes")
            edge._levels += [bytearray() for _ in range(tile.level + 1 - len(edge._levels))]
            edge._levels[tile.level] += content
        return edge

    def add(self, entries: Sequence[bytes]) -> list[tuple[Tile, bytes]]:
        """Adds these entries to the tree, and returns the tiles that are full by that, with their contents."""
        full: list[tuple[Tile, bytes]] = []
        if not self._levels:
            self._levels.append(bytearray())
        leaves = self._levels[0]
        for entry in entries:
            leaves += leaf_hash(entry)
            self.size += 1
            if len(leaves) == _FULL:
                self._close(0, self.size // WIDTH - 1, full)
        return full

    def _close(self, level: int, number: int, full: list[tuple[Tile, bytes]]) -> None:
        """Takes a full tile off the edge; its root goes one level up."""
        content = bytes(self._levels[level])
        self._levels[level].clear()
        full.append((Tile(level, number), content))
        if level + 1 == len(self._levels):
            self._levels.append(bytearray())
        above = self._levels[level + 1]
        above += fold(hashes_of(content))
        if len(above) == _FULL:
            self._close(level + 1, number // WIDTH, full)

    def unfinished(self) -> Iterator[tuple[Tile, bytes]]:
        """The tiles that are not full, with their contents."""
        for tile in tiles_at(self.size):
            yield tile, bytes(self._levels[tile.level])

    def compact_range(self) -> list[bytes]:
        """The roots of the perfect subtrees of the tree, the largest first."""
        return compact_range(self.size, self._subtree)

    @property
    def root(self) -> bytes:
        """The tree's root."""
        return root_of(self.compact_range())

    def _subtree(self, height: int, number: int) -> bytes:
        level, above = divmod(height, _HEIGHT)
        return _within(bytes(self._levels[level]), above, number % (WIDTH >> above))


class TileTree:
    """The subtrees of a tree of this size that lies in tiles. `read` gives the content of a tile of this width.

    `read` may raise what it likes; a tile that does not have its length is a ValueError.
    """

    def __init__(self, size: int, read: Callable[[Tile], bytes]) -> None:
        self.size = size
        self._read = read
        self._seen: dict[Tile, bytes] = {}

    def subtree(self, height: int, number: int) -> bytes:
        """The root of a perfect subtree. Raises ValueError where a tile does not have its length."""
        level, above = divmod(height, _HEIGHT)
        tile_number, within = divmod(number, WIDTH >> above)
        width = min(WIDTH, (self.size >> _HEIGHT * level) - tile_number * WIDTH)
        tile = Tile(level, tile_number, width)
        if (content := self._seen.get(tile)) is None:
            content = self._seen[tile] = self._read(tile)
        if len(content) != width * HASH_BYTES:
            raise ValueError(f"{tile.path} has {len(content)} bytes")
        return _within(content, above, within)


def _within(content: bytes, above: int, number: int) -> bytes:
    """The root of the subtree with this number in a tile; `above`: how many levels above the tile's hashes."""
    size = HASH_BYTES << above
    return fold(hashes_of(content[number * size : (number + 1) * size]))


def hashes_of(content: bytes) -> list[bytes]:
    """The hashes in a tile."""
    return [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]
