"""Any order of events at the edge, in the link and at the server: the promises hold at every instant and in the end."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.simulate.edge import LONG, MAX_PAYLOAD, STREAM, TOO_LONG, Death, Edge, Life, digest, first
from tests.simulate.fake_jetstream import Fault
from tests.simulate.faults import AckLost, ArrivesLate, CutAfter, LostBeforeStored, NoResponders, Slow, StreamFull

NAMES = st.sampled_from(["a", "b", "folder/a", "odd.reason.json", TOO_LONG])
CONTENTS = st.sampled_from([b"", b"one", b"two", b"three", b"L" * (MAX_PAYLOAD + 1), b"l" * (3 * MAX_PAYLOAD)])
AGES = st.sampled_from([1, -1, 0])
WINDOW = 120.0  # seconds for which the bucket knows an id
MOST_SECONDS = 5e6  # beyond 2**23, a float is too coarse for the loop to see that a timer is due
TURNS = st.integers(1, 40)
FEW = st.integers(0, 4)
FAULTS: st.SearchStrategy[Fault] = st.one_of(
    st.builds(AckLost, st.integers(1, 3), FEW),
    st.builds(CutAfter, FEW),
    st.builds(LostBeforeStored, FEW),
    st.builds(ArrivesLate, FEW),
    st.builds(Slow, st.sampled_from([0.01, 3.0])),
    st.builds(StreamFull),
    st.builds(NoResponders),
    st.builds(Fault),
)
STEPS = ("scan", "read", "large", "objects", "send", "store", "ack", "ledger", "retire", "delete", "quarantine", "disk")
DEATHS = st.one_of(
    st.builds(Death),
    st.builds(Death, st.sampled_from(STEPS), st.sampled_from(["before", "within", "after"]), st.integers(1, 6)),
)


async def some_turns(turns: int) -> None:
    """Everything goes on for a moment."""
    for _ in range(turns):
        await asyncio.sleep(0)


class World(RuleBasedStateMachine):
    """Producers, a daemon that lives and dies, a link that is cut, a server with its moods."""

    VARIABLES: Mapping[str, str] = {}
    BATCHES = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.edge: Edge
        self.work: asyncio.Task[None] | None = None
        self.stop: asyncio.Event
        self.files = 0

    @initialize(
        hold=st.sampled_from(["0", "30"]),
        after=st.sampled_from(["delete", "archive"]),
        order=st.sampled_from(["oldest", "newest"]),
    )
    def the_machine(self, hold: str, after: str, order: str) -> None:
        variables = {"SYNC_HOLD_SECONDS": hold, "SYNC_AFTER": after, "SYNC_ORDER": order, **self.VARIABLES}
        self.edge = Edge(Path(self.folder.name) / "edge", self.BATCHES, **variables)
        self.edge.__enter__()
        self._start(Death())

    # --- producers

    @rule(name=NAMES, data=CONTENTS, told=st.booleans(), age=AGES)
    def a_file_is_dropped(self, name: str, data: bytes, told: bool, age: int) -> None:
        """Its name may be in use, its content delivered; it is the newest, the oldest, or dated as ever."""
        self.files += 1
        data = self.content(data)
        self.edge.drop(name, data, mtime_ns=10**18 + (age * self.files or len(data)) * 10**9)
        if told and self.work:
            self.edge.life.events.put_nowait(name.encode())

    @rule(name=NAMES, data=CONTENTS, then=CONTENTS, turns=TURNS, told=st.booleans(), age=AGES)
    def a_file_is_replaced_on_its_way(
        self, name: str, data: bytes, then: bytes, turns: int, told: bool, age: int
    ) -> None:
        """Somewhere between its first scan and its end."""
        self.a_file_is_dropped(name, data, True, 1)
        self._let(some_turns(turns))
        self.a_file_is_dropped(name, then, told, age)

    @rule(name=NAMES)
    def a_file_is_taken_back(self, name: str) -> None:
        self.edge.take_back(name)

    @rule(name=NAMES)
    def a_producer_opens_its_file_again(self, name: str) -> None:
        self.edge.open_writer(name)

    @rule(data=st.sampled_from([b"late", b"later than that"]))
    def it_writes_and_closes(self, data: bytes) -> None:
        self.edge.write_late(self.content(data))

    def content(self, data: bytes) -> bytes:
        """Files may have the same."""
        return data

    # --- the daemon

    @precondition(lambda self: self.work is None)
    @rule(death=DEATHS)
    def the_daemon_starts(self, death: Death) -> None:
        """And may have an end before it."""
        self._start(death)

    def _start(self, death: Death) -> None:
        async def start() -> None:
            life = Life(self.edge, death)
            self.stop = asyncio.Event()
            self.work = asyncio.create_task(life.daemon.run(self.stop))

        self.edge.do(start())
        self._let(asyncio.sleep(0))

    @precondition(lambda self: self.work is not None)
    @rule(death=DEATHS)
    def its_end_is_near(self, death: Death) -> None:
        self.edge.life.death = death

    @precondition(lambda self: self.work is not None)
    @rule(turns=TURNS)
    def it_works_for_a_moment(self, turns: int) -> None:
        self._let(some_turns(turns))

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0, 40.0, 130.0]))
    def time_passes(self, seconds: float) -> None:
        self._let(asyncio.sleep(seconds))

    @precondition(lambda self: self.edge.clock.now < MOST_SECONDS)
    @rule(seconds=st.sampled_from([130.0, 100_000.0, 1_300_000.0, 2_500_000.0]))
    def the_machine_sleeps(self, seconds: float) -> None:
        """Time passes, and nothing happens in it: every id that the stream remembers is forgotten; uploads grow old."""
        self.edge.clock.advance(seconds)

    @precondition(lambda self: self.work is not None)
    @rule()
    def it_is_killed(self) -> None:
        self.edge.do(self.edge.bury())
        self.work = None

    @precondition(lambda self: self.work is not None)
    @rule()
    def it_is_stopped(self) -> None:
        assert self.work is not None
        self.stop.set()
        self._let(asyncio.wait((self.work,)))
        if self.work is not None:
            self.work.result()
            self.work = None

    def _let(self, happen: Any) -> None:
        """Lets the machine run; a daemon that dies in that is buried, one that ends by itself has failed."""

        async def run() -> None:
            if self.work is None:
                await happen
            else:
                await first(asyncio.ensure_future(happen), self.edge.life.gone.wait())

        self.edge.do(run())
        if self.work is not None and self.edge.life.gone.is_set():
            self.it_is_killed()
        elif self.work is not None and self.work.done() and not self.stop.is_set():
            self.work.result()
            pytest.fail("the daemon ended by itself")

    # --- the link and the server

    @rule(fault=FAULTS)
    def something_goes_wrong(self, fault: Fault) -> None:
        """Or comes right again."""
        self.edge.hub.fault = fault

    @rule()
    def the_link_is_cut(self) -> None:
        self.edge.hub.cut()

    @rule()
    def what_was_on_its_way_arrives_late(self) -> None:
        """But no chunk once its id is forgotten: behind a finished upload it is one too many (a limit that is told)."""
        hub = self.edge.hub
        forgotten = hub.clock.now - WINDOW
        hub.late = [(late, at) for late, at in hub.late if at > forgotten or not late.subject.startswith("$O.")]
        hub.read_late()

    @rule()
    def the_server_restarts(self) -> None:
        self.edge.hub.restart()

    @rule(running=st.booleans())
    def the_server_goes_or_comes(self, running: bool) -> None:
        self.edge.hub.running = running
        if not running:
            self.edge.hub.cut()

    # --- what always holds

    @invariant()
    def nothing_is_twice_in_the_stream(self) -> None:
        stored = self.edge.contents()
        assert len(stored) == len(set(stored))

    @invariant()
    def nothing_is_lost_at_any_instant(self) -> None:
        """A content is on the disk until the stream has it, and in its place until the ledger has its row."""
        edge = self.edge
        on_disk = {path: path.read_bytes() for path in edge.replay.rglob("*") if path.is_file()}
        stored = set(edge.contents())
        ledger = b"".join(path.read_bytes() for path in edge.ledger.glob("*.jsonl")) if edge.dropped else b""
        rows = ledger.splitlines()
        for name, data in edge.dropped:
            assert data in stored or data in on_disk.values(), f"{name} is lost"
            if on_disk.get(edge.replay / name) != data and data not in on_disk.values():
                path = f'"path":"{quote(name)}'.encode()
                places = [path + b'"', path + b"~"]  # `a~2`, where it came back beside a newer file
                if name in edge.replaced():  # renamed in the place of the older one, and then a death
                    places.append(b'"path":"changed-while-held-')
                found = (line for line in rows if any(place in line for place in places))
                assert any(digest(data).encode() in line for line in found), f"{name} was let go of without a row"

    # --- what holds in the end

    @rule()
    def all_settles(self) -> None:
        """Every fault is over, and there is time: everything is delivered and let go of, and every number is right."""
        edge = self.edge
        edge.write_late(self.content(b"at last"))
        edge.hub.fault, edge.hub.running = Fault(), True
        self.what_was_on_its_way_arrives_late()
        if self.work is None:
            self._start(Death())
        edge.life.death = Death()
        value = edge.life.daemon.metrics.value
        deadline = edge.clock.now + LONG
        self._let(asyncio.sleep(2 * edge.settings.sync_rescan_seconds))
        while (edge.waiting() or edge.held() or not value("edge_link_status")) and edge.clock.now < deadline:
            self._let(asyncio.sleep(3.0))
        edge.check()
        assert value("replay_queue_depth") == 0
        assert value("syncdaemon_in_doubt_files") == 0
        assert value("syncdaemon_held_files") == 0
        assert value("syncdaemon_quarantined_files") == len(edge.quarantined())
        assert value("edge_link_status") == 1

    def teardown(self) -> None:
        """Whatever came before."""
        if hasattr(self, "edge"):
            try:
                self.all_settles()
                self.it_is_stopped()
            finally:
                self.edge.do(self.edge.bury())
                self.edge.__exit__()
        self.folder.cleanup()


class PlainWorld(World):
    """All messages on one subject, so that the stream itself would take a second copy once the window has passed.

    So no two files have the same content, and nothing arrives so late that the server has forgotten the first copy.
    """

    VARIABLES: Mapping[str, str] = {"SYNC_SUBJECT": "edge.plain"}

    def content(self, data: bytes) -> bytes:
        """One of its own."""
        self.files += 1
        return data + b"%d" % self.files

    @rule(messages=st.integers(1, 3), name=NAMES, data=CONTENTS, killed=st.booleans())
    def answers_are_lost_for_longer_than_the_window(self, messages: int, name: str, data: bytes, killed: bool) -> None:
        """Stored, not answered, and the server away until it has forgotten the ids."""
        self.edge.hub.fault = AckLost(messages)
        self.a_file_is_dropped(name, data, True, 1)
        self._let(some_turns(60))
        self.the_server_goes_or_comes(False)
        if killed and self.work is not None:
            self.it_is_killed()
        self.time_passes(130.0)
        self.the_server_goes_or_comes(True)

    @rule(fault=FAULTS.filter(lambda fault: not isinstance(fault, ArrivesLate)))
    def something_goes_wrong(self, fault: Fault) -> None:
        """Or comes right again."""
        self.edge.hub.fault = fault


class LossyWorld(World):
    """A server that loses what it acknowledged a moment ago, whenever its power fails; and files that are held."""

    @initialize(order=st.sampled_from(["oldest", "newest"]))
    def the_machine(self, order: str) -> None:
        super().the_machine("30", "delete", order)

    @rule(
        name=NAMES,
        data=CONTENTS,
        then=st.sampled_from([0.1, 3.0]),
        seconds=st.sampled_from([1.0, 15.0, 29.0]),
        only=st.sampled_from(["", STREAM, "OBJ_edge_replay_edge-1"]),
    )
    def the_server_loses_power(self, name: str, data: bytes, then: float, seconds: float, only: str) -> None:
        """And with it what it stored in the last seconds, in all streams or in one."""
        self.a_file_is_dropped(name, data, True, 1)
        self.time_passes(then)
        self.edge.hub.lose_power(seconds, only)


class BatchWorld(World):
    """Whatever can, goes in atomic batches."""

    BATCHES = True


class PlainBatchWorld(PlainWorld):
    """The same on one subject."""

    BATCHES = True


class LossyBatchWorld(LossyWorld):
    """The same at a server that loses what it acknowledged."""

    BATCHES = True


@pytest.mark.timeout(400)  # a failure is cut down to its shortest course first
@pytest.mark.parametrize("courses", [25, pytest.param(100, marks=pytest.mark.lengthy)])
@pytest.mark.parametrize("world", [World, PlainWorld, LossyWorld, BatchWorld, PlainBatchWorld, LossyBatchWorld])
def test_the_promises_hold_whatever_happens(world: type[World], courses: int) -> None:
    """Crashes, cuts, lost answers, full streams, names used again, windows that pass, in any order."""
    run_state_machine_as_test(
        world,
        settings=settings(max_examples=courses, stateful_step_count=30, deadline=None, report_multiple_bugs=False),
    )
