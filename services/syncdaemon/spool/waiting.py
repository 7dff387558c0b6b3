"""Files that are not to be looked at before a time of their own. Pure."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import NamedTuple

from syncdaemon.spool.arrival import UNKNOWN, known_or_new

_SPARE = 1_024  # places of files that were hastened, which may be left over


class Handed(NamedTuple):
    """A user says that a file is complete: then it has this digest, belongs to that user and has no other name."""

    uid: int
    sha256: str

    def speaks_of(self, owner: int, names: int) -> bool:
        """Whether the user may say that of a file: of another's, or under another name, somebody else may write."""
        return owner == self.uid and names == 1


class Candidate(NamedTuple):
    """A file that may be complete.

    `tries`: looks that found it incomplete; `seen_ctime_ns`: its ctime at the look before this one, 0 at the first;
    `failures`: looks that could not read it; `version`: what the look before this one saw, as one number, 0 where
    that does not matter; `delivered`: it was, and could not be moved out of the way; `arrived`: when it came (see
    arrival.py); `why`: why the last look found it incomplete, empty where it was not looked at; `handed`: who says that
    it is complete, if somebody does.
    """

    path: bytes
    tries: int = 0
    seen_ctime_ns: int = 0
    failures: int = 0
    version: int = 0
    delivered: bool = False
    arrived: int = UNKNOWN
    why: str = ""
    handed: Handed | None = None

    def is_handed_over(self, owner: int, names: int) -> bool:
        """Whether somebody may say, and says, that the file of this owner with so many names is complete."""
        return self.handed is not None and self.handed.speaks_of(owner, names)

    def is_another(self, digest: str) -> bool:
        """Whether it is not the file that was handed over: what was said says nothing of this one then."""
        return self.handed is not None and self.handed.sha256 != digest

    def found(self, ctime_ns: int, ino: int) -> Candidate:
        """The same, with the arrival of the file that was found at its path, which has this ctime and inode."""
        arrived = known_or_new(self.arrived, ctime_ns, ino)
        return self if arrived == self.arrived else self._replace(arrived=arrived)


class Settling(NamedTuple):
    """Files that are not complete: how many, and the one of them that came first."""

    files: int
    oldest: Candidate | None


class Waiting:
    """Candidates, each with the time when it is due.

    A candidate that was hastened, put again or discarded leaves its earlier place behind, which counts for nothing.
    """

    def __init__(self) -> None:
        self._due: list[tuple[float, bytes]] = []
        self._candidates: dict[bytes, tuple[Candidate, float]] = {}  # each with its place in _due

    def __len__(self) -> int:
        return len(self._candidates)

    def __contains__(self, path: bytes) -> bool:
        return path in self._candidates

    def is_settling(self, path: bytes, now: float) -> bool:
        """Whether the file at this path waits and is not complete, as far as was looked.

        One that was not looked at yet is taken for complete as soon as its quiet time is over.
        """
        candidate, due = self._candidates.get(path, (None, now))
        return candidate is not None and _is_settling(candidate, due, now)

    def settling(self, now: float) -> Settling:
        """The files that are not complete, as far as was looked. Takes some ms where a hundred thousand wait."""
        found = [candidate for candidate, due in self._candidates.values() if _is_settling(candidate, due, now)]
        return Settling(len(found), min(found, key=attrgetter("arrived"), default=None))

    def put(self, candidate: Candidate, due: float) -> None:
        """The file waits until `due`, in the place of what waited at its path before."""
        self._candidates[candidate.path] = candidate, due
        heappush(self._due, (due, candidate.path))

    def hasten(self, path: bytes, due: float) -> None:
        """The file at this path, if it waits, waits no longer than until `due`."""
        candidate, before = self._candidates.get(path, (None, due))
        if candidate is not None and due < before:
            self.put(candidate._replace(tries=0), due)
            if len(self._due) > 2 * len(self._candidates) + _SPARE:
                self._due = [(due, path) for path, (_, due) in self._candidates.items()]
                heapify(self._due)

    def discard(self, path: bytes) -> None:
        """The file at this path waits no more, if it did."""
        self._candidates.pop(path, None)

    def any_due(self, now: float) -> bool:
        """Whether there may be a file to take now."""
        return bool(self._due) and self._due[0][0] <= now

    def next_due(self) -> float | None:
        """When the next file may be due; None where none waits."""
        return self._due[0][0] if self._due else None

    def take(self, now: float) -> Candidate | None:
        """Takes out the next file that is due; None where none is."""
        while self.any_due(now):
            due, path = heappop(self._due)
            candidate, place = self._candidates.get(path, (None, due))
            if candidate is not None and place == due:
                del self._candidates[path]
                return candidate
        return None


def _is_settling(candidate: Candidate, due: float, now: float) -> bool:
    return bool(candidate.why) or (due > now and not candidate.tries)
