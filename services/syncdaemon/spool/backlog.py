"""Which files wait, in what order, and how many there are. Pure bookkeeping: no I/O, the time is an argument.

Memory is bounded whatever the backlog: at most `window` files are held by name, the first in order; the others
are only counted, and a later scan brings them in. The depth is exact nevertheless:

    depth = ready + large + waiting + in flight and not yet acknowledged + beyond the window

Every file is in exactly one of these places; `take` and its counterparts move it. The module has more than 250 lines
because this can be checked only where all the places stand together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from syncdaemon.base.sizes import SIZE_CLASSES, size_class
from syncdaemon.spool import arrival
from syncdaemon.spool.line import BEHIND, Line
from syncdaemon.spool.waiting import Candidate, Handed, Settling, Waiting

WINDOW = 196_608  # files held by name: about 40 MB
MOST_HANDED = 16_384  # files that were handed over and wait for their turn; of more, some wait out their quiet time
MOST_NEWCOMERS = 32_768  # names kept only to count each once; more of them ask for a scan


class Listing(NamedTuple):
    """What a scan saw, except the files that were `Backlog.mine()` when it began.

    `first`: (order key, path) of the first ones in order, at most a window; `missing`: those of `mine` that were
    not there; `beyond`: how many more there were; `fresh`: the paths among those beyond whose ctime is not older
    than the scan; `odd`: entries that are neither files nor folders; `unread`: how many folders and files could not be
    looked at, `unread_folders`: how many of them are folders, and `unread_one`: one of them with the cause; `arrived`:
    when the files of `first` came.
    """

    first: list[tuple[int, bytes]]
    missing: set[bytes]
    beyond: int
    fresh: set[bytes]
    odd: int
    unread: int = 0
    unread_one: str = ""
    unread_folders: int = 0
    arrived: Mapping[bytes, int] = MappingProxyType({})


class Backlog:
    """The files of the replay directory that are not yet acknowledged.

    The class has more than 150 lines because it holds every place that a file can be in: see the module.
    """

    def __init__(self, newest_first: bool = False, window: int = WINDOW) -> None:
        self.newest_first = newest_first
        self.window = window
        self._sign = -1 if newest_first else 1
        self._ready = Line()
        self._waiting = Waiting()
        self._large = [Line() for _ in SIZE_CLASSES]
        self._large_files: dict[bytes, tuple[int, Candidate]] = {}  # those of _large by path, with their size class
        self._held: dict[bytes, int] = {}  # the paths of _ready, _waiting and _large, and when those files came
        self._flying: set[bytes] = set()
        self._acknowledged: set[bytes] = set()  # of the flying ones: stored, not yet retired
        self._again: set[bytes] = set()  # of the flying ones: a look has seen a file at that path since
        self._beyond = 0
        self._newcomers: set[bytes] = set()  # seen by a look, behind the window's end
        self._fresh: set[bytes] = set()  # behind the window's end, and counted by the last scan
        self._end: int | None = None  # the order key at the window's end, while files wait behind it
        self._handed: dict[bytes, Handed] = {}  # files that were handed over and not taken since
        self._scanning = False
        self._touched: set[bytes] = set()  # while a scan is under way: seen by a look, or taken

    @property
    def depth(self) -> int:
        """Files that are complete or settling and not yet acknowledged."""
        flying = len(self._flying) - len(self._acknowledged)
        return len(self._held) + flying + self._beyond + len(self._newcomers)

    @property
    def waiting(self) -> int:
        """Files that are not to be looked at yet, or were not since their time was over. Costs nothing."""
        return len(self._waiting)

    def settling(self, now: float) -> Settling:
        """The files that are known by name and not complete yet, as far as was looked."""
        return self._waiting.settling(now)

    @property
    def complete(self) -> bool:
        """Whether every file is known by name."""
        return not self._beyond and not self._newcomers

    @property
    def idle(self) -> bool:
        """Whether nothing known by name is left to deliver."""
        return not self._held and not self._flying

    @property
    def wants_scan(self) -> bool:
        """Whether a scan is due now: more files wait than are known by name, and what is known runs out."""
        running_low = (
            not self.complete
            and len(self._held) - len(self._large_files) <= self.window // 64
            and self.room >= self.window // 8  # else all that a scan can bring is a handful, beside so many large ones
        )
        return not self._scanning and (running_low or len(self._newcomers) > MOST_NEWCOMERS)

    def waits(self, path: bytes) -> bool:
        """Whether there is a file at this path, as far as is known by name."""
        return path in self._held or path in self._flying

    def flies(self, path: bytes) -> bool:
        """Whether the file at this path is in flight: taken, and not retired yet."""
        return path in self._flying

    def hand_over(self, path: bytes, handed: Handed) -> None:
        """The user says that the file at `path` is complete. It still has to be seen there."""
        if path not in self._flying and len(self._handed) < MOST_HANDED:
            self._handed[path] = handed

    def is_handed_over(self, path: bytes) -> bool:
        """Whether the file at this path was handed over and not taken since."""
        return path in self._handed

    def key(self, mtime_ns: int) -> int:
        """The order key of a file: the smaller goes first."""
        return self._sign * mtime_ns

    def any_due(self, now: float) -> bool:
        """Whether there may be a file to take now."""
        self._forget_taken()
        return bool(self._ready) or self._waiting.any_due(now)

    @property
    def any_large(self) -> bool:
        """Whether there is a file for `take_large`."""
        return bool(self._large_files)

    def any_large_of(self, size_class: int) -> bool:
        """Whether there is a file of this size class for `take_large`."""
        self._forget_taken()
        return bool(self._large[size_class])

    def _forget_taken(self) -> None:
        while (first := self._ready.first()) and first[1] not in self._held:
            self._ready.pop()
        for number, line in enumerate(self._large):
            while (first := line.first()) and self._large_of(first[1])[0] != number:
                line.pop()

    def oldest(self, now: float) -> int | None:
        """The arrival of the file that is ready, known by name, and came first; None where none is ready.

        Takes some ms where a hundred thousand files wait.
        """
        is_settling = self._waiting.is_settling
        held = self._held.items()
        return min((arrived for path, arrived in held if arrived and not is_settling(path, now)), default=None)

    def seen(self, path: bytes, mtime_ns: int, due: float, ctime_ns: int, ended: bool = False, *, ino: int = 0) -> None:
        """A look saw a file at `path`, which is not to be read before `due`.

        `ended`: it may have come to its end just now. Then it is not to wait for longer than that, if it waits already.
        `ino`: its inode.
        """
        if self._scanning:
            self._touched.add(path)
        if ended:
            self._waiting.hasten(path, due)
        if path in self._flying:
            self._again.add(path)
        elif path in self._held:
            self._held[path] = arrival.known_or_new(self._held[path], ctime_ns, ino)
        elif not self._scanning and path not in self._newcomers and path not in self._fresh:
            self._arrive(path, self.key(mtime_ns), due, ctime_ns, ino)

    def _arrive(self, path: bytes, key: int, due: float, ctime_ns: int, ino: int) -> None:
        behind = not self.complete and (self._end is None or key > self._end)
        if behind or len(self._held) >= self.window:
            self._newcomers.add(path)
        else:
            self.wait(Candidate(path, 0, ctime_ns, arrived=arrival.first_sight(ctime_ns, ino)), due)

    def gone(self, path: bytes) -> None:
        """A look saw no file at `path` any more. (One in flight is found missing when it is read or moved.)"""
        self._held.pop(path, None)
        self._handed.pop(path, None)
        self._waiting.discard(path)
        self._large_files.pop(path, None)
        self._newcomers.discard(path)
        if path in self._fresh:
            self._fresh.discard(path)
            self._beyond -= 1

    def wait(self, candidate: Candidate, due: float) -> None:
        """The file is not to be read before `due`."""
        self.landed([candidate.path])
        self._held[candidate.path] = candidate.arrived
        self._waiting.put(candidate, due)

    def next_due(self) -> float | None:
        """When the next waiting file is due."""
        return self._waiting.next_due()

    def take(self, limit: int, now: float) -> list[Candidate]:
        """Up to `limit` files to read now, in order; they are in flight from here on."""
        taken: list[Candidate] = []
        held = self._held
        while len(taken) < limit and (candidate := self._waiting.take(now)):
            taken.append(candidate._replace(arrived=held.pop(candidate.path, candidate.arrived)))
        while self._ready and len(taken) < limit:
            path = self._ready.pop()[1]
            if path in held and path not in self._waiting and path not in self._large_files:
                taken.append(Candidate(path, arrived=held.pop(path)))
        self._fly([candidate.path for candidate in taken])
        return self._with_handed(taken) if self._handed else taken

    def _with_handed(self, taken: Sequence[Candidate]) -> list[Candidate]:
        handed = self._handed
        return [one._replace(handed=handed.pop(one.path, one.handed)) for one in taken]

    def _fly(self, paths: Sequence[bytes]) -> None:
        self._flying.update(paths)
        if self._scanning:
            self._touched.update(paths)

    def put_large(self, candidate: Candidate, mtime_ns: int, size: int) -> None:
        """The file in flight is a large one, of `size` bytes: it waits for `take_large`, with what is known of it.

        One that was delivered and could not be moved is behind all others: reading it again takes long, and each try is
        like the last one.
        """
        path = candidate.path
        self.landed([path])
        if path not in self._held:
            number = size_class(size)
            self._held[path] = arrival.UNKNOWN if candidate.delivered else candidate.arrived
            self._large_files[path] = number, candidate
            self._large[number].push((BEHIND if candidate.delivered else self.key(mtime_ns), path))

    def take_large(self, size_class: int) -> Candidate | None:
        """The next large file of this size class; it is in flight from here on. None where there is none."""
        line = self._large[size_class]
        while line:
            number, candidate = self._large_of(line.pop()[1])
            if candidate is not None and number == size_class:
                del self._large_files[candidate.path]
                arrived = self._held.pop(candidate.path, candidate.arrived)
                self._fly([candidate.path])
                return candidate._replace(arrived=arrived)
        return None

    def _large_of(self, path: bytes) -> tuple[int, Candidate | None]:
        return self._large_files.get(path, (-1, None))

    def acknowledged(self, paths: Iterable[bytes]) -> None:
        """These files in flight are stored, or refused for good: they count no more."""
        self._acknowledged.update(paths)

    def landed(self, paths: Sequence[bytes]) -> Iterable[bytes]:
        """The files in flight have left their paths. Where something new is, to be looked at."""
        self._flying.difference_update(paths)
        self._acknowledged.difference_update(paths)
        again = self._again.intersection(paths)
        self._again -= again
        return again

    def put_back(self, path: bytes, mtime_ns: int, arrived: int = arrival.UNKNOWN) -> None:
        """The file in flight was not delivered: it is ready again. `arrived`: when it came."""
        self.landed([path])
        if path not in self._held:
            self._held[path] = arrived
            self._ready.push((self.key(mtime_ns), path))

    @property
    def room(self) -> int:
        """How many more files can be held by name."""
        return max(0, self.window - len(self._held))

    def mine(self) -> frozenset[bytes]:
        """A scan begins: the files that it must not report, since their place is known here."""
        self._scanning = True
        self._touched.clear()
        return frozenset(self._held.keys() | self._flying)

    def merge(self, listing: Listing) -> Sequence[bytes]:
        """A scan has ended. Returns the paths to be looked at one by one: where something happened meanwhile."""
        self._scanning = False
        for path in listing.missing - self._touched:
            self.gone(path)
        self._ready.extend(file for file in listing.first if file[1] not in self._held)
        self._held.update((path, listing.arrived.get(path, arrival.UNKNOWN)) for _, path in listing.first)
        self._beyond = listing.beyond
        self._newcomers.clear()
        if not listing.beyond:
            self._end = None
        elif listing.first:
            self._end = max(listing.first)[0]
        self._fresh = listing.fresh
        return list(self._touched - listing.fresh)

    def abandon(self) -> None:
        """The scan failed: what is known stays as it was."""
        self._scanning = False
        self._touched.clear()
