"""The Merkle tree over a ledger's rows: it grows with them, and where it does not fit them, is made anew.

The tree is made of the rows alone, so nothing of it has to be on disk before a row counts. A start goes on from where
the tree is durable, and holds the next row to the digest that was kept with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from syncdaemon.base.errors import LedgerDamaged
from syncdaemon.evidence.origins import log_id
from syncdaemon.evidence.tiles import Edge
from syncdaemon.ledger import chain
from syncdaemon.ledger.files import files
from syncdaemon.ledger.seek import Spot, line_at, spot_of
from syncdaemon.ledger.tile_store import TileStore, read_log_id

STEP_ROWS = 1_000  # of an older ledger, added at once: some milliseconds in which no row is committed
FLUSH_TILES = 64  # full tiles that may wait to be synced: 16,384 rows, which a start after a power cut reads again


def find_log_id(folder: Path, site: str) -> str:
    """The id of a site's log, from beside its tree or from row 1; empty where neither is there."""
    if found := read_log_id(folder, site):
        return found
    spot = spot_of(folder, site, 1)
    return "" if spot is None else log_id(line_at(spot))


class RowTree:
    """The tree of a site's ledger. Everything is called in the ledger's thread.

    `head`: up to which row the tree goes. `problem`: why it does not grow; empty where it does. `log_id`: the id of the
    log; empty where the ledger has no row.
    """

    def __init__(self, folder: Path, site: str) -> None:
        self.head = self._durable = chain.START
        self.problem = ""
        self.log_id = ""
        self._folder = folder
        self._site = site
        self._store = TileStore(folder, site)
        self._edge = Edge()
        self._spot: Spot | None = None  # where the next row begins, while the tree catches up
        self._held_to_rows = False  # whether a row was seen that goes on from what `load` found

    def load(self) -> None:
        """Takes up the tree where it is durable. What can't be read is made again from the rows."""
        self.problem = ""
        self._begin_anew()
        self._held_to_rows = False
        try:
            self.log_id = read_log_id(self._folder, self._site)
            if self.log_id:  # a tree that lost its name is made again with row 1, which has it
                self.head, self._edge = self._store.load()
                self._durable = self.head
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            self._begin_anew()

    @property
    def size(self) -> int:
        """How many rows the tree has."""
        return self.head.n

    @property
    def root(self) -> bytes:
        """The root of the tree as it is."""
        return self._edge.root

    @property
    def compact_range(self) -> list[bytes]:
        """The roots of its perfect subtrees, the largest first."""
        return self._edge.compact_range()

    @property
    def has_to_flush(self) -> bool:
        """Whether so many tiles wait that they should go to the disk now."""
        return self._store.waiting >= FLUSH_TILES

    def grow(self, lines: Sequence[bytes], before: chain.Head, after: chain.Head) -> None:
        """Adds rows that are on disk, where the tree goes up to the row before them; else `catch_up` will.

        A disk that takes no tile is no reason to stop the ledger: the tree then falls behind, and says so.
        """
        if self.problem or self.head != before:
            return
        try:
            self._add(lines, after)
        except OSError as error:
            self._fall_back(error)
        except LedgerDamaged as error:
            self.problem = str(error)

    def catch_up(self, head: chain.Head) -> bool:
        """Adds up to `STEP_ROWS` rows of the files, none after `head`. Whether there are more to add.

        Where the tree does not fit the rows, it begins anew with the first of them.
        """
        if self.head == head:
            self.problem = ""
            return False
        try:
            self._step(head)
            self.problem = ""
        except OSError as error:
            self._fall_back(error)
        except LedgerDamaged as error:
            self.problem = str(error)
        return not self.problem and self.head != head

    def flush(self) -> None:
        """Makes the tree durable as far as it goes."""
        if self.head == self._durable:
            return
        try:
            self._store.make_durable(self._edge, self.head)
            self._durable = self.head
        except OSError as error:
            self._fall_back(error)

    def _step(self, head: chain.Head) -> None:
        if self.head.n >= head.n:  # the ledger is shorter, or another one: a disk that was restored
            self._begin_anew()
        spot = self._spot or self._spot_of_next()
        try:
            lines, after, offset = _read(spot, self.head, head.n)
        except LedgerDamaged:
            if self._held_to_rows or not self.head.n:
                raise
            self._begin_anew()
            return
        self._held_to_rows = True
        self._add(lines, after)
        self._spot = Spot(spot.path, offset)
        if not lines:
            later = [path for path in files(self._folder, self._site) if path > spot.path]
            self._spot = Spot(later[0], 0) if later else self._spot_of_next()

    def _spot_of_next(self) -> Spot:
        n = self.head.n + 1
        if (spot := spot_of(self._folder, self._site, n)) is None:
            raise LedgerDamaged(f"the ledger has no tree: row {n} is not in {self._folder}")
        return spot

    def _add(self, lines: Sequence[bytes], after: chain.Head) -> None:
        if not self._edge.size and lines:
            self._name_the_log(lines[0])
        for tile, content in self._edge.add(lines):
            self._store.write(tile, content)
        self.head = after
        self._spot = None

    def _name_the_log(self, first_row: bytes) -> None:
        """Raises LedgerDamaged where the tree on disk is another log's: its checkpoints may be all that is left."""
        found = log_id(first_row)
        self.log_id = read_log_id(self._folder, self._site)
        if not self.log_id:
            self._store.keep_log_id(found)
            self.log_id = found
        elif self.log_id != found:
            raise LedgerDamaged(
                f"{self._store.root} is the tree of another ledger, {self.log_id}, and row 1 here makes it {found}; "
                "if the ledger was begun anew on purpose, move that folder away"
            )

    def _begin_anew(self) -> None:
        """Forgets the tree in memory. The one on disk is written over, tile by tile, and its state in the end."""
        self._edge = Edge()
        self.head = self._durable = chain.START
        self._spot = None
        self._store.forget()

    def _fall_back(self, error: OSError) -> None:
        """The disk did not take something: goes back to what is certainly on it. `catch_up` tries again."""
        self.load()
        self.problem = f"the tree of the ledger can't be written in {self._store.root}: {error.strerror}"


def _read(spot: Spot, before: chain.Head, last: int) -> tuple[list[bytes], chain.Head, int]:
    """Lines from this place on, up to row `last`; the chain's end after them, and the place that they end at.

    Raises LedgerDamaged where the first of them does not go on from `before`.
    """
    lines: list[bytes] = []
    head, offset = before, spot.offset
    with spot.path.open("rb") as file:
        file.seek(offset)
        while len(lines) < STEP_ROWS and head.n < last and (line := file.readline()).endswith(b"\n"):
            try:
                head = chain.follow(head, line[:-1])
            except chain.BadRow as error:
                if lines:  # these are good; the next step says what is wrong after them
                    break
                raise LedgerDamaged(f"{spot.path}, row {head.n + 1}: {error}") from None
            lines.append(line[:-1])
            offset += len(line)
    return lines, head, offset
