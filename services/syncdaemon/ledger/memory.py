"""What the ledger says of the files that somebody asks about: a bounded memory of their newest rows. Pure.

Nothing is remembered of a file for which there was no hand-over and no question. So it costs nothing where nobody uses
the local door.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from syncdaemon.base.model import Row
from syncdaemon.base.tickets import TicketKey
from syncdaemon.ledger.rows import HELD_LOST, RECEIPTS, REFUSED, REQUEUED, Entry

_MOST = 65_536  # files: about 25 MB
ABOUT_FILES = RECEIPTS | {HELD_LOST, REFUSED, REQUEUED}
"""The events that say what became of a file."""


class Told(NamedTuple):
    """The row that counts for a file: its event, its fields and its number."""

    event: str
    fields: Row
    n: int


def counts(event: str, fields: Row) -> bool:
    """Whether a row says what became of a file; else the file waits again.

    A `requeued` row that names another place says nothing of the file's own place.
    """
    return event in RECEIPTS or event == REFUSED


def changes(event: str, fields: Row) -> bool:
    """Whether a row changes what is known of the file at its path."""
    return event in ABOUT_FILES and not (event == REQUEUED and "to" in fields)


class Note(NamedTuple):
    """What is known of a file. `searched`: no older row counts. `own`: its owner handed it over to this process."""

    told: Told | None = None
    searched: bool = False
    own: bool = False


_NOTHING = Note()


class TicketMemory:
    """By ticket: what the ledger's rows say since the first question or the hand-over, and what a search has found.

    `on_answered` is called with the tickets that have an answer now.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self.on_answered: Callable[[Sequence[TicketKey]], None] | None = None
        self._notes: dict[TicketKey, Note] = {}

    def __len__(self) -> int:
        return len(self._notes)

    def handed_over(self, key: TicketKey, *, own: bool, fresh: bool) -> None:
        """The file was handed over. `fresh`: it lies there, and its next row is still to be written."""
        before = self._notes.pop(key, _NOTHING)
        told, searched = (None, True) if fresh else (before.told, before.searched)
        self._put(key, Note(told, searched, own or before.own))

    def asked(self, key: TicketKey) -> Told | None:
        """What is known; from here on the file's rows are remembered."""
        if (note := self._notes.get(key)) is None:
            self._put(key, _NOTHING)
            return None
        return note.told

    def unsearched(self, keys: Iterable[TicketKey]) -> list[TicketKey]:
        """Those of which older rows may say something that is not known."""
        notes = ((key, self._notes.get(key, _NOTHING)) for key in keys)
        return [key for key, note in notes if note.told is None and not note.searched]

    def found(self, key: TicketKey, told: Told | None) -> None:
        """A search through the ledger has ended; what rows said meanwhile counts more."""
        if (note := self._notes.get(key)) is not None:
            self._notes[key] = note._replace(told=note.told or told, searched=True)

    def written(self, entries: Sequence[Entry], last_n: int) -> None:
        """These rows are on disk; `last_n`: the number of the last."""
        if not self._notes:
            return
        answered: list[TicketKey] = []
        for n, (event, fields) in enumerate(entries, last_n - len(entries) + 1):
            if event not in ABOUT_FILES or not changes(event, fields):
                continue
            for key in self._meant(event, fields):
                told = Told(event, fields, n) if counts(event, fields) else None
                self._notes[key] = self._notes[key]._replace(told=told, searched=True)
                if told is not None:
                    answered.append(key)
        if answered and self.on_answered is not None:
            self.on_answered(answered)

    def _meant(self, event: str, fields: Row) -> list[TicketKey]:
        """The tickets that a row is about. One of a file that could not be read knows no digest: only its owner's."""
        key = TicketKey(str(fields["path"]), str(fields["sha256"]))
        if event == REFUSED and not key.sha256:
            return [one for one, note in self._notes.items() if one.name == key.name and note.own]
        return [key] if key in self._notes else []

    def _put(self, key: TicketKey, note: Note) -> None:
        if len(self._notes) >= self._most:
            del self._notes[next(iter(self._notes))]
        self._notes[key] = note
