"""What the ledger and the numbers say after unusual turns: one `published` row a message, and no count that sticks."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.spool.hold import Hold
from tests.simulate.edge import LONG, MAX_PAYLOAD, SITE, STREAM, TOO_LONG, Death, Edge, digest
from tests.simulate.fake_jetstream import FakeSession, Fault, Frame
from tests.simulate.fake_stream import header_fields
from tests.simulate.faults import AckLost, ArrivesLate, CutAfter, StreamFull

LARGE = b"L" * (MAX_PAYLOAD + 1)


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    """A machine whose daemon does not run yet."""
    with Edge(tmp_path) as found:
        yield found


async def until(happened: Callable[[], object]) -> None:
    """Lets the machine work, a turn at a time, until this is true."""
    for _ in range(1_000):
        if happened():
            return
        await asyncio.sleep(0)
    pytest.fail("it did not happen")


def test_the_same_file_once_more_after_a_restart_has_no_second_published_row(edge: Edge) -> None:
    """Same name, same date, same content, as a copy that keeps dates makes it."""
    for _ in range(2):
        edge.drop("a", b"one", mtime_ns=10**18)
        edge.drain()

    edge.check()
    assert len(edge.rows("published")) == 1


def test_the_same_file_once_more_on_another_day_has_no_second_published_row(edge: Edge) -> None:
    """The newest ledger file knows nothing of it; the one before does."""
    edge.drop("a", b"one", mtime_ns=10**18)
    edge.drain()
    edge.clock.advance(86_400)
    edge.drain()
    edge.drop("a", b"one", mtime_ns=10**18)
    edge.drain()

    assert len(list(edge.ledger.glob("*.jsonl"))) == 2
    edge.check()
    assert len(edge.rows("published")) == 1


def test_a_copy_that_goes_first_does_not_take_the_receipt_of_a_file_in_doubt(edge: Edge) -> None:
    """The stream holds our message for `a`; `b`, with the same content and an older date, is asked about first."""

    async def scene() -> None:
        life = edge.begin()
        await until(edge.history)
        edge.drop("b", b"one", mtime_ns=10**18 - 1)
        life.events.put_nowait(b"b")
        await asyncio.sleep(LONG)
        await edge.end()

    edge.hub.fault = AckLost()
    edge.drop("a", b"one", mtime_ns=10**18)
    edge.do(scene())

    edge.check()
    assert [row["path"] for row in edge.rows("published")] == ["a"]
    assert [row["path"] for row in edge.rows("duplicate")] == ["b"]


def test_an_answer_that_a_crash_lost_on_a_new_day_ends_as_published(edge: Edge) -> None:
    """The day's ledger file has no receipt yet; those of the day before say what is recorded."""
    edge.drop("yesterday", b"one")
    edge.drain()
    edge.clock.advance(86_400)
    edge.drop("today", b"two")
    assert edge.drain(Death("store", "after"))
    edge.drain()

    edge.check()
    assert [row["path"] for row in edge.rows("published")] == ["yesterday", "today"]


def test_a_duplicate_row_is_no_receipt_of_the_message_itself(edge: Edge) -> None:
    """A copy is recorded while the file whose message it is waits for its own answer, over two crashes."""
    edge.drop("a", b"one")
    assert edge.drain(Death("store", "after"))
    aside = (edge.replay / "a").rename(edge.replay / ".a")
    edge.drop("b", b"one")
    edge.drain()
    aside.rename(edge.replay / "a")
    edge.drain()

    edge.check()
    assert [row["path"] for row in edge.rows("duplicate")] == ["b"]


class TheLateOnesFirst(Fault):
    """What was late is read just before the first message of the next connection."""

    def meet(self, session: FakeSession, frame: Frame) -> None:
        """Late, but first."""
        session.hub.read_late()
        super().meet(session, frame)


def test_a_message_that_a_dead_process_sent_and_that_arrives_late_is_published(edge: Edge) -> None:
    """It comes after the next process has seen the stream, and before its own message for the same file."""

    async def scene() -> None:
        edge.begin()
        await until(lambda: edge.hub.late)
        await edge.bury()

    edge.hub.fault = ArrivesLate()
    edge.drop("a", b"one")
    edge.do(scene())
    edge.hub.fault = TheLateOnesFirst()
    edge.drain()

    edge.check()
    assert len(edge.rows("published")) == 1


def test_a_file_in_doubt_that_its_producer_takes_back_is_in_doubt_no_more(edge: Edge) -> None:
    """It will never be resolved, and nobody waits for it."""

    async def scene() -> float:
        life = edge.begin()
        await until(edge.history)
        edge.take_back("a")
        await asyncio.sleep(LONG)
        in_doubt = life.daemon.metrics.value("syncdaemon_in_doubt_files")
        await edge.end()
        return in_doubt

    edge.hub.fault = AckLost()
    edge.drop("a", b"one")

    assert edge.do(scene()) == 0


def test_a_refused_file_that_is_gone_before_it_is_set_aside_is_not_counted(edge: Edge) -> None:
    """There is nothing in the quarantine, and the number says so."""

    async def scene() -> float:
        life = edge.begin()
        await until(lambda: edge.ledger.exists() and edge.rows("refused"))
        edge.take_back(TOO_LONG)
        await asyncio.sleep(LONG)
        quarantined = life.daemon.metrics.value("syncdaemon_quarantined_files")
        await edge.end()
        return quarantined

    edge.drop(TOO_LONG, b"refused")

    assert edge.do(scene()) == 0
    edge.check()


def test_a_refused_file_that_is_named_like_a_reason_is_kept_over_a_restart(edge: Edge) -> None:
    """What a crash left in the quarantine is cleared away; this is a producer's file, with a reason of its own."""
    edge.drop(f"{TOO_LONG}/named.reason.json", b"refused")
    edge.drain()
    edge.drain()

    edge.check()
    assert edge.quarantined() == {"named.reason.json": b"refused"}


def test_a_limit_that_was_raised_holds_for_the_next_file(edge: Edge) -> None:
    """The daemon waited for a file with the old limit in mind, over a connection that is gone."""

    async def scene() -> None:
        life = edge.begin()
        await asyncio.sleep(60)
        edge.hub.max_payload = 10 * MAX_PAYLOAD
        edge.hub.cut()
        await asyncio.sleep(60)
        edge.drop("large", LARGE)
        life.events.put_nowait(b"large")
        await asyncio.sleep(60)
        await edge.end()

    edge.do(scene())

    assert "OBJ_edge_replay_edge-1" not in edge.hub.streams, "a message holds it by now"
    assert [message.data for message in edge.history()] == [LARGE]


def test_a_cut_in_a_quiet_time_troubles_no_file(edge: Edge) -> None:
    """The next file goes over the new connection at once: one attempt, no error, never in doubt."""

    async def scene() -> float:
        life = edge.begin()
        await asyncio.sleep(60)
        edge.hub.cut()
        await asyncio.sleep(60)
        edge.drop("a", b"one")
        life.events.put_nowait(b"a")
        await asyncio.sleep(60)
        errors = life.daemon.metrics.value("syncdaemon_publish_errors_total", reason="link_down")
        await edge.end()
        return errors

    errors = edge.do(scene())
    edge.check()
    assert [row["attempts"] for row in edge.rows("published")] == [1]
    assert errors == 0


@pytest.mark.parametrize("fault", [CutAfter(3), AckLost(2, after=1)], ids=["cut", "acks lost"])
def test_a_cut_is_in_the_ledger_beside_the_files_that_it_touched(edge: Edge, fault: Fault) -> None:
    """A `link` row down, one up again, and the second attempts of the files that had no answer."""
    edge.hub.fault = fault
    for name in "abcdefg":
        edge.drop(name, name.encode())
    edge.drain()

    edge.check()
    assert [row["up"] for row in edge.rows("link")] == [True, False, True, False]
    assert {row["attempts"] for row in edge.rows("published")} == {1, 2}


def test_a_power_cut_of_the_whole_site_loses_nothing(edge: Edge) -> None:
    """The row was written, the file not yet retired, and the server had not yet synced: only the ledger knows of it."""
    edge.drop("a", b"one")
    assert edge.drain(Death("retire", "before"))
    edge.hub.lose_power(1_000)
    edge.drain()

    edge.check()
    assert [message.data for message in edge.history()] == [b"one"]
    assert [row["path"] for row in edge.rows("held_lost")] == ["a"]
    assert len(edge.rows("published")) == 2


@pytest.fixture
def holding_edge(tmp_path: Path) -> Iterator[Edge]:
    """One that holds what it delivered."""
    with Edge(tmp_path, SYNC_HOLD_SECONDS="150") as found:
        yield found


def test_what_the_server_lost_is_sent_again_from_the_hold(holding_edge: Edge) -> None:
    """Whatever came to its place since; and it is held again."""
    edge = holding_edge

    async def scene() -> None:
        life = edge.begin()
        await until(lambda: len(edge.held()) == 2)
        edge.drop("a", b"new")
        life.events.put_nowait(b"a")
        edge.hub.lose_power(1_000)
        await asyncio.sleep(20)
        assert life.daemon.metrics.value("syncdaemon_held_lost_total") == 2
        assert life.daemon.metrics.value("syncdaemon_held_files") == 3
        await edge.end()

    edge.drop("a", b"one")
    edge.drop("folder/b", b"two")
    edge.do(scene())

    edge.check()
    assert sorted(message.data for message in edge.history()) == [b"new", b"one", b"two"]
    assert {row["path"] for row in edge.rows("held_lost")} == {"a", "folder/b"}
    assert len(edge.rows("published")) == 5


def test_a_name_that_is_used_again_replaces_what_the_server_lost(holding_edge: Edge) -> None:
    """A limit: what waits at its old path to be sent again is replaced as any file is that is not delivered yet."""
    edge = holding_edge

    async def scene() -> None:
        edge.begin()
        await until(edge.held)
        edge.hub.fault = StreamFull()
        edge.hub.lose_power(1_000)
        await asyncio.sleep(20)
        assert [path.name for path in edge.waiting()] == ["a"]
        edge.drop("a", b"new")
        edge.hub.fault = Fault()
        await asyncio.sleep(100)
        await edge.end()

    edge.drop("a", b"one")
    edge.do(scene())
    edge.check()
    assert [row["path"] for row in edge.rows("held_lost")] == ["a"]
    assert [message.data for message in edge.history()] == [b"new"]


@pytest.mark.parametrize("losses", [1, 2])
@pytest.mark.parametrize("mtimes", [(10**18, 10**18, 10**18), (10**18, 2 * 10**18, 3 * 10**18)], ids=["alike", "not"])
def test_equal_files_that_the_server_lost_keep_each_its_name(
    holding_edge: Edge, mtimes: tuple[int, int, int], losses: int
) -> None:
    """They share a message; the rows that say so name each of them once, in whatever folder of the hold they lie."""
    edge = holding_edge

    async def scene() -> None:
        edge.begin()
        for name, mtime_ns in zip("abc", mtimes, strict=True):
            edge.drop(name, b"the same", mtime_ns=mtime_ns)
            edge.life.events.put_nowait(name.encode())
            await asyncio.sleep(15)  # longer than a folder of the hold is open
        for _ in range(losses):
            edge.hub.lose_power(1_000)
            await asyncio.sleep(20)
        await edge.end()

    edge.do(scene())
    edge.check()
    assert sorted(row["path"] for row in edge.receipts()) == ["a", "b", "c"]
    assert [row["path"] for row in edge.receipts() if row["event"] == "published"] == ["a"]


def test_what_cannot_be_sent_again_now_is_not_deleted(holding_edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the disk takes nothing: it stays in the hold, and is tried again."""
    edge = holding_edge

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def scene() -> None:
        edge.begin()
        await until(edge.held)
        edge.hub.lose_power(1_000)
        with monkeypatch.context() as patch:
            patch.setattr(Hold, "send_again", full)
            await asyncio.sleep(LONG)
            assert edge.held() == [b"one"]
            assert edge.history() == []
        await asyncio.sleep(100)
        assert [message.data for message in edge.history()] == [b"one"]
        await edge.end()

    edge.drop("a", b"one")
    edge.do(scene())
    edge.check()


@pytest.mark.parametrize("lost", ["OBJ_edge_replay_edge-1", "swarm_jobs", ""])
def test_a_large_file_that_the_server_lost_in_part_is_sent_again(holding_edge: Edge, lost: str) -> None:
    """Its object, or the message that names it, or both."""
    edge = holding_edge

    async def scene() -> None:
        edge.begin()
        await until(edge.held)
        edge.hub.lose_power(1_000, lost)
        await asyncio.sleep(20)
        await edge.end()

    edge.drop("large", LARGE)
    edge.do(scene())

    edge.check()
    assert edge.contents() == [LARGE]
    assert [row["path"] for row in edge.rows("held_lost")] == ["large"]


@pytest.mark.parametrize("subject", ["", "edge.plain"])
@pytest.mark.parametrize("again", ["large", "same"])
def test_a_file_that_the_stream_has_as_an_object_does_not_become_a_message(
    tmp_path: Path, subject: str, again: str
) -> None:
    """However small it is for the server by now: its message names an object, which the server may have lost."""
    variables: dict[str, Any] = {"SYNC_SUBJECT": subject} if subject else {}
    with Edge(tmp_path / "edge", SYNC_HOLD_SECONDS="30", **variables) as edge:

        async def scene() -> None:
            edge.begin()
            await until(edge.held)
            edge.hub.max_payload = 10 * MAX_PAYLOAD  # now it would fit into a message
            if again != "large":
                await asyncio.sleep(50)
                assert edge.held() == []
                edge.drop(again, LARGE)
                edge.life.events.put_nowait(again.encode())
            edge.hub.lose_power(1_000, "OBJ_edge_replay_edge-1")
            await asyncio.sleep(100)
            await edge.end()

        edge.drop("large", LARGE)
        edge.do(scene())

        edge.check()
        assert edge.contents() == [LARGE]
        assert edge.receipts()[-1]["object"].startswith("edge_replay_edge-1/")


@pytest.mark.parametrize("killed", [False, True])
def test_a_message_whose_object_was_lost_has_its_receipt_again(holding_edge: Edge, killed: bool) -> None:
    """Though its file is delivered from beside its old place, whose name was used again."""
    edge = holding_edge

    async def scene() -> None:
        life = edge.begin()
        await until(edge.held)
        edge.hub.lose_power(1_000, "OBJ_edge_replay_edge-1")
        edge.drop("large", b"another")
        await life.daemon.lane.trust.believed()
        if killed:
            await edge.bury()
            edge.begin()
        await asyncio.sleep(40)
        await edge.end()

    edge.drop("large", LARGE)
    edge.do(scene())

    edge.check()
    published = {"large~2": "published", "large": "published"}
    assert {row["path"]: row["event"] for row in edge.receipts()} == published


def test_nothing_held_is_deleted_while_the_server_is_away(holding_edge: Edge) -> None:
    """However long that takes: it may come back without it."""
    edge = holding_edge

    async def scene() -> None:
        edge.begin()
        await until(edge.held)
        edge.hub.running = False
        edge.hub.cut()
        await asyncio.sleep(10 * LONG)
        assert edge.held() == [b"one"]
        edge.hub.lose_power(20 * LONG)
        edge.hub.running = True
        await asyncio.sleep(100)
        assert edge.held() == [b"one"]
        assert len(edge.history()) == 1
        await asyncio.sleep(100)
        assert edge.held() == []
        await edge.end()

    edge.drop("a", b"one")
    edge.do(scene())
    edge.check()


def test_a_server_that_lost_nothing_gets_nothing_again(holding_edge: Edge) -> None:
    """A mere restart: what is held is looked for, found, and its time begins anew."""
    edge = holding_edge

    async def scene() -> None:
        life = edge.begin()
        await until(lambda: len(edge.held()) == 20)
        await asyncio.sleep(100)
        edge.hub.restart()
        await asyncio.sleep(140)
        assert len(edge.held()) == 20
        await asyncio.sleep(30)
        assert edge.held() == []
        assert life.daemon.metrics.value("syncdaemon_held_lost_total") == 0
        await edge.end()

    for number in range(20):
        edge.drop(f"{number}", b"%d" % number)
    edge.do(scene())
    edge.check()
    assert edge.rows("held_lost") == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["", "send", "store", "ack", "ledger", "retire"])
def test_a_neighbours_message_under_our_id_lets_no_file_go(tmp_path: Path, step: str, when: str) -> None:
    """A neighbour knows the file, and takes its id. Whenever our process dies, our bytes are stored once."""
    with Edge(tmp_path, SYNC_HOLD_SECONDS="0") as edge:
        edge.drop("first", b"first")
        edge.drain()
        squat(edge, b"evidence")
        edge.drop("evidence", b"evidence")
        if step:
            assert edge.drain(Death(step, when, 2 if step in ("send", "store", "ack") else 1))
        edge.drain()

        ours = [message for message in edge.history() if message.subject.startswith(f"edge.replay.{SITE}.")]
        assert [message.data for message in ours] == [b"first", b"evidence"]
        assert edge.waiting() == []
        row = edge.receipts()[-1]
        assert (row["path"], row["event"]) == ("evidence", "published")
        assert (row["stream_seq"], row["subject"]) == (ours[-1].seq, ours[-1].subject)
        assert row["msg_id"] == header_fields(ours[-1].headers)["Nats-Msg-Id"] != digest(b"evidence")


def squat(edge: Edge, data: bytes) -> None:
    """A neighbour stores garbage under the id of this content, on a subject of its own."""
    stream = edge.hub.streams[STREAM]
    headers = f"NATS/1.0\r\nNats-Msg-Id: {digest(data)}\r\nEdge-Sha256: {digest(data)}\r\n\r\n".encode()
    stream.take(f"edge.replay.neighbour.{digest(data)}", headers, b"garbage", edge.clock.now)
