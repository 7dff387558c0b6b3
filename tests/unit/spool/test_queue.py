"""The queue wakes whoever waits: at every change, and when a file is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.spool import backlog
from syncdaemon.spool.backlog import Listing
from syncdaemon.spool.queue import Queue
from syncdaemon.spool.waiting import Candidate
from tests.simulate.clock import Clock, JumpingLoop, Stuck

WINDOW = 4


class Machine:
    """A queue on a loop whose time jumps to the next timer."""

    def __init__(self, window: int = WINDOW) -> None:
        self.clock = Clock()
        self.loop = JumpingLoop(self.clock)
        self.loop.time = self.clock.monotonic  # type: ignore[method-assign]
        self.queue = Queue(newest_first=False, window=window, clock=self.clock.monotonic)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Until this is done."""
        try:
            self.loop.run_until_complete(work)
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()


async def woken_by(waiting: Coroutine[Any, Any, None], change: Callable[[], object]) -> None:
    """Returns when what waits has ended, which it may only do after the change."""
    waiter = asyncio.create_task(waiting)
    await asyncio.sleep(0)
    assert not waiter.done()
    change()
    await waiter


def listing(*paths: bytes, beyond: int = 0) -> Listing:
    """A scan that saw these files, and counted more."""
    return Listing([(number, path) for number, path in enumerate(paths)], set(), beyond, set(), 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda queue: queue.seen(b"a", 1, 0.0, 1),
        lambda queue: queue.wait(Candidate(b"a"), 0.0),
        lambda queue: queue.wait_for(Candidate(b"a"), 0.0),
        lambda queue: queue.put_back(b"a", 1),
        lambda queue: queue.merge(listing(b"a")),
    ],
    ids=["seen", "wait", "wait_for", "put_back", "merge"],
)
def test_every_way_in_wakes_the_waiter(change: Callable[[Queue], object]) -> None:
    """No caller has to think of it."""
    machine = Machine()
    queue = machine.queue
    machine.run(woken_by(queue.any_to_read(), lambda: change(queue)))


def test_a_large_file_wakes_its_own_waiter() -> None:
    """The other one has nothing to do with it."""
    machine = Machine()
    queue = machine.queue
    machine.run(woken_by(queue.any_large_to_read(0), lambda: queue.put_large(Candidate(b"a"), 1, 1 << 20)))

    machine = Machine()
    queue = machine.queue
    with pytest.raises(Stuck):
        machine.run(woken_by(queue.any_to_read(), lambda: queue.put_large(Candidate(b"a"), 1, 1 << 20)))


@pytest.mark.parametrize("seconds", [0.5, 60.0])
def test_the_waiter_wakes_when_a_file_is_due(seconds: float) -> None:
    """Also where the file came while it slept, and is due before what it slept for."""
    machine = Machine()
    queue, began = machine.queue, machine.clock.now
    queue.wait_for(Candidate(b"later"), 3600.0)
    machine.run(woken_by(queue.any_to_read(), lambda: queue.wait_for(Candidate(b"a"), seconds)))

    assert machine.clock.now - began == pytest.approx(seconds)


def test_a_change_may_call_for_a_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waiter asks for it: the last file that was known by name is gone, or too many are known only by name."""
    monkeypatch.setattr(backlog, "MOST_NEWCOMERS", 1)

    async def asked(queue: Queue, change: Callable[[], object]) -> None:
        waiter = asyncio.create_task(queue.any_to_read())
        await asyncio.sleep(0)
        assert not queue.scan_is_due
        change()
        await queue.scan_is_wanted()
        waiter.cancel()

    machine = Machine()
    queue = machine.queue
    queue.merge(listing(beyond=5))
    queue.wait_for(Candidate(b"a"), 3600.0)
    machine.run(asked(queue, lambda: queue.gone(b"a")))

    machine = Machine()
    queue = machine.queue
    for number in range(WINDOW + 1):
        queue.seen(b"%d" % number, number, queue.clock() + 3600.0, 1)
    machine.run(asked(queue, lambda: queue.seen(b"a", 9, 0.0, 1)))


def test_a_large_file_that_is_taken_may_call_for_a_scan() -> None:
    """While large files fill the window, a scan could bring only a handful of names."""
    window = 64

    async def asked(queue: Queue) -> None:
        waiter = asyncio.create_task(queue.any_to_read())
        await asyncio.sleep(0)
        for _ in range(window // 8):
            assert not queue.scan_is_due
            queue.take_large(0)
        await queue.scan_is_wanted()
        waiter.cancel()

    machine = Machine(window)
    machine.queue.merge(listing(*(b"%d" % number for number in range(window)), beyond=5))
    for candidate in machine.queue.take(window, machine.queue.clock()):
        machine.queue.put_large(candidate, 1, 1 << 20)
    machine.run(asked(machine.queue))


PATHS = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f"])
CHANGES: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(st.just("seen"), PATHS, st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("gone"), PATHS),
    st.tuples(st.just("wait_for"), PATHS, st.integers(0, 3)),
    st.tuples(st.just("put_back"), PATHS, st.integers(0, 3)),
    st.tuples(st.just("put_large"), PATHS.map(Candidate), st.integers(0, 3), st.just(1 << 20)),
    st.tuples(st.just("landed"), PATHS),
    st.tuples(st.just("take"), st.integers(1, 3)),
    st.tuples(st.just("take_large"), st.just(0)),
    st.tuples(st.just("scan"), st.lists(PATHS, unique=True, max_size=WINDOW), st.integers(0, 3)),
)


def change(queue: Queue, what: str, *how: Any) -> None:
    """Does one of these to the queue."""
    if what == "seen":
        path, mtime_ns, wait = how
        queue.seen(path, mtime_ns, queue.clock() + wait, 1)
    elif what == "wait_for":
        queue.wait_for(Candidate(how[0]), how[1])
    elif what == "landed":
        queue.landed([how[0]])
    elif what == "take":
        queue.take(how[0], queue.clock())
    elif what == "scan":
        mine = queue.mine()
        found = [path for path in how[0] if path not in mine][: queue.room]
        queue.merge(listing(*found, beyond=how[1]))
    else:
        getattr(queue, what)(*how)


@given(st.lists(CHANGES, max_size=12))
def test_a_waiter_never_sleeps_beside_a_file_that_is_due(changes: list[tuple[Any, ...]]) -> None:
    """Whatever was done to the queue: a file to read ends the waiting, a large one too, and a scan is asked for."""
    machine = Machine()
    queue = machine.queue

    async def all_of_it() -> None:
        for one in changes:
            small = asyncio.create_task(queue.any_to_read())
            large = asyncio.create_task(queue.any_large_to_read(0))
            await asyncio.sleep(0)
            queue.begin_scan()
            change(queue, *one)
            due = queue.next_due()
            for _ in range(5):
                await asyncio.sleep(0)
            assert small.done() >= queue.any_due(queue.clock())
            assert large.done() >= queue.any_large
            if queue.wants_scan and not small.done() and one[0] in ("seen", "gone", "scan"):
                assert queue.scan_is_due
            if due is not None and not small.done():
                await small
                assert queue.clock() <= due
            small.cancel()
            large.cancel()

    machine.run(all_of_it())
