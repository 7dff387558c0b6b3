"""Large files: written to a draft while they are fetched, as long as that takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial

from syncdaemon.base.tasks import in_thread
from syncdaemon.link import Link
from syncdaemon.receive import objects
from syncdaemon.receive.blame import Cut, Harmful
from syncdaemon.receive.files.draft import Draft, Unfit
from syncdaemon.receive.files.store import Store, trouble
from syncdaemon.receive.incoming import (
    OBJECT_CUT,
    OBJECT_DENIED,
    OBJECT_MISSING,
    Item,
    Outcome,
    Rejected,
    Retry,
    Wanted,
    given_up,
    unfit,
)
from syncdaemon.receive.objects import Fetcher
from syncdaemon.stream.chunks import Chunks

AT_ONCE = 2  # files that are fetched at the same time


class LargeFiles:
    """Takes messages whose file lies in an object store."""

    def __init__(self, link: Link, store: Store, threads: Executor) -> None:
        self._objects, self._store, self._threads = Fetcher(link), store, threads
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def take(self, item: Item) -> Outcome:
        """What becomes of this one, when its turn has come. Where the file is there already, nothing is fetched."""
        async with self._turns:
            found = await in_thread(self._threads, partial(self._store.find, item))
            outcome = found or await self._fetch(item)
            rejected = given_up(outcome, item.times)
            if rejected is None:
                return outcome
            return await in_thread(self._threads, partial(self._store.reject, item, rejected))

    async def _fetch(self, item: Item) -> Outcome:
        wanted = item.wanted
        assert isinstance(wanted, Wanted)
        assert wanted.object is not None
        target = _Target(self._store, self._threads, wanted)
        try:
            await self._objects.fetch(wanted.object, target)
            assert target.draft is not None
            return await in_thread(self._threads, partial(self._store.keep, item, target.draft))
        except objects.Missing as error:
            return Retry(OBJECT_MISSING, str(error))
        except objects.Denied as error:
            return Retry(OBJECT_DENIED, str(error))
        except Cut as error:
            return Retry(OBJECT_CUT, str(error))
        except Harmful as error:
            harmful = Rejected("object_harmful", str(error))
            return await in_thread(self._threads, partial(self._store.reject, item, harmful))
        except Unfit as error:
            return await in_thread(self._threads, partial(self._store.reject, item, error.rejected, target.draft))
        except OSError as error:
            return trouble(error)
        finally:
            if target.draft is not None:
                target.draft.close()


class _Target:
    """The draft of an object's file, which is made when the object is there and has the size that was announced."""

    def __init__(self, store: Store, threads: Executor, wanted: Wanted) -> None:
        self.draft: Draft | None = None
        self._store, self._threads, self._wanted = store, threads, wanted

    async def begin(self, chunks: Chunks) -> None:
        """Raises Unfit, or OSError."""
        if (wrong := unfit(self._wanted, chunks.size, chunks.number)) is not None:
            raise Unfit(wrong.reason, wrong.detail)
        self.draft = await in_thread(self._threads, partial(self._store.draft, self._wanted))

    async def write(self, pieces: list[bytes]) -> None:
        """Raises Unfit, or OSError."""
        assert self.draft is not None
        await in_thread(self._threads, partial(_write, self.draft, pieces))


def _write(draft: Draft, chunks: Sequence[bytes]) -> None:
    for chunk in chunks:
        draft.write(chunk)
