"""Files of messages: each appears whole, durable, and never in the place of another."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from syncdaemon.receive.files import places
from syncdaemon.receive.files.draft import Draft, Unfit
from syncdaemon.receive.files.folders import Folders, NotDurable
from syncdaemon.receive.files.home import ReceiveDirectory
from syncdaemon.receive.files.places import Taken
from syncdaemon.receive.files.rejects import Rejects
from syncdaemon.receive.incoming import (
    DISK_FULL,
    LARGEST_MESSAGE,
    NO_ROOM,
    WRITE_ERROR,
    Freed,
    Item,
    Outcome,
    Placed,
    Rejected,
    Retry,
    Wanted,
    unfit,
)

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)  # the file system does not take such a name


class NoRoom(OSError):
    """This file is larger than what is free. Smaller ones may be taken meanwhile."""


class _Job:
    """A message on its way to being a file, and what became of it."""

    def __init__(self, item: Item, draft: Draft | None = None) -> None:
        self.item = item
        self.draft = draft
        self.outcome: Outcome | None = None


_Step = Callable[[_Job, Wanted], Outcome | None]


class Store:
    """Writes below `home`, as long as `min_free` bytes of its disk stay free.

    Every call may take its time, so they belong into threads; any number may go on at once.
    """

    def __init__(self, home: ReceiveDirectory, min_free: int) -> None:
        self._home = home
        self._min_free = min_free
        self._rejects = Rejects(home)

    def take(self, items: Sequence[Item]) -> list[Outcome]:
        """Makes files of whole messages. What is said to be kept is durable when this returns."""
        jobs = [_Job(item) for item in items]
        with self._together(jobs) as folders:
            self._each(jobs, partial(self._write, folders))
            self._each(reversed(jobs), _sync)  # what the last one waits for is mostly what all of them wait for
            self._each(jobs, partial(_place, folders))
        return [job.outcome for job in jobs if job.outcome is not None]

    def find(self, item: Item) -> Outcome | None:
        """What became of the message where its file is there already, and durable; None where it is not there."""
        job = _Job(item)
        with self._together([job]) as folders:
            self._each([job], partial(_look, folders))
        return job.outcome

    def draft(self, wanted: Wanted) -> Draft:
        """A file to write to. Raises OSError; also where there is no room for what is announced.

        A size is only announced: where it is larger than a message can be, that is no sign that the disk is full.
        """
        room = self._home.free_bytes() - self._min_free
        if wanted.size > room:
            error = NoRoom if wanted.size > LARGEST_MESSAGE and room > 0 else OSError
            raise error(errno.ENOSPC, f"no room for a file of {wanted.size} bytes")
        return Draft(self._home.draft_name(), wanted)

    def keep(self, item: Item, draft: Draft) -> Outcome:
        """Gives a draft that was written elsewhere its place; one that is not what was announced is set aside."""
        job = _Job(item, draft)
        with self._together([job]) as folders:
            for step in (_complete, _sync, partial(_place, folders)):
                self._each([job], step)
        assert job.outcome is not None
        return job.outcome

    def reject(self, item: Item, rejected: Rejected, draft: Draft | None = None) -> Outcome:
        """Sets a message aside, and with it what was written of its file elsewhere."""
        try:
            return rejected._replace(kept=self._rejects.keep(item, rejected, draft))
        except OSError as error:
            return trouble(error)

    def close(self) -> None:
        """Closes what is open between two calls."""
        self._rejects.close()

    @contextmanager
    def _together(self, jobs: Sequence[_Job]) -> Iterator[Folders]:
        """Makes names durable for all jobs together. Where that fails, it is not known of any of them."""
        folders = Folders(self._home.fd)
        try:
            yield folders
            folders.sync()
        except NotDurable as error:
            for job in jobs:
                job.outcome = trouble(error.cause)
        finally:
            folders.close()
            for job in jobs:
                if job.draft is not None:
                    job.draft.close()

    def _each(self, jobs: Iterable[_Job], step: _Step) -> None:
        """Does one step for every job that has no outcome yet. A message that no file can be made of is set aside."""
        for job in jobs:
            if job.outcome is None:
                job.outcome = self._go(job, step)

    def _go(self, job: _Job, step: _Step) -> Outcome | None:
        item, wanted = job.item, job.item.wanted
        if isinstance(wanted, Rejected):
            return self.reject(item, wanted)
        if isinstance(wanted, Retry | Freed):
            return wanted
        try:
            return step(job, wanted)
        except Unfit as error:
            rejected = error.rejected
        except Taken as error:
            rejected = Rejected("path_taken", str(error))
        except OSError as error:
            if error.errno not in _NAME:
                return trouble(error)
            rejected = Rejected("name_refused", f"the file system does not take its name: {error.strerror}")
        return self.reject(item, rejected, job.draft if item.is_object else None)

    def _write(self, folders: Folders, job: _Job, wanted: Wanted) -> Outcome | None:
        if (wrong := unfit(wanted, len(job.item.data))) is not None:
            return self.reject(job.item, wrong)
        if (kept := _look(folders, job, wanted)) is not None:
            return kept
        job.draft = self.draft(wanted)
        job.draft.write(job.item.data)
        job.draft.complete()
        return None


def _look(folders: Folders, job: _Job, wanted: Wanted) -> Outcome | None:
    folder, _ = folders.open(wanted)
    _, there = places.spot(folder, wanted)
    return Placed("unchanged", wanted.size) if there else None


def _complete(job: _Job, wanted: Wanted) -> None:
    assert job.draft is not None
    job.draft.complete()


def _sync(job: _Job, wanted: Wanted) -> None:
    assert job.draft is not None
    job.draft.sync()


def _place(folders: Folders, job: _Job, wanted: Wanted) -> Outcome:
    assert job.draft is not None
    folder, straight = folders.open(wanted)
    name = places.link(job.draft.path, folder, wanted)
    if name is None:
        return Placed("unchanged", wanted.size)
    return Placed("written" if straight and name == wanted.path[-1] else "beside", wanted.size)


def trouble(error: OSError) -> Retry:
    """What failed at our own disk is tried again."""
    if isinstance(error, NoRoom):
        return Retry(NO_ROOM, error.strerror or str(error))
    return Retry(DISK_FULL if error.errno in _FULL else WRITE_ERROR, error.strerror or str(error))
