"""How far the hub is behind the site's own stream, from what both servers tell."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syncdaemon.base.errors import LanePaused
from syncdaemon.daemon import hub_position, hub_watch
from syncdaemon.daemon.hub_position import Position
from syncdaemon.daemon.hub_watch import HubWatch, Lag
from syncdaemon.stream.fetched import AtHub, Place, fetched_of
from syncdaemon.stream.info import StreamAnswer
from syncdaemon.stream.stored import StoredMessage

PLACE = Place("swarm_jobs", "edge.replay.west.>", "edge.replay.west.none", "hub")
SILENCE = LanePaused("the hub does not answer")


def message(seq: int, subject: str = "", **headers: str) -> StoredMessage:
    at = datetime.fromtimestamp(1_000_000 + seq, UTC)
    return StoredMessage(seq, subject or f"edge.replay.west.{seq}", headers, b"x", at)


class Site:
    """The site's own stream: messages `first` to `last`, a second apart."""

    def __init__(self, first: int, last: int, created: str = "made") -> None:
        self.first, self.last, self.created = first, last, created

    async def stream(self, name: str) -> StreamAnswer:
        state = {"first_seq": self.first, "last_seq": self.last}
        return StreamAnswer({"name": name}, state, self.created, "", (), None, None)

    async def next(self, stream: str, subject: str, seq: int) -> StoredMessage | None:
        at = max(seq, self.first)
        return message(at) if at <= self.last else None


class Hub:
    """What the hub answers; `asked` are the subjects that it was asked for."""

    def __init__(self, answer: AtHub | LanePaused | None) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def fetched(self, api: Any, stream: str, subject: str) -> AtHub | None:
        self.asked.append(subject)
        if isinstance(self.answer, LanePaused):
            raise self.answer
        return None if subject == PLACE.no_subject else self.answer


def has(seq: int, size: int = 10) -> AtHub:
    return AtHub(seq, f"edge.replay.west.{seq}", size)


@pytest.fixture
def watch(tmp_path: Path) -> HubWatch:
    return HubWatch(None, PLACE, tmp_path, "west")  # type: ignore[arg-type]  # no connection is waited for here


async def look(watch: HubWatch, site: Site, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Lag | None:
    monkeypatch.setattr(hub_watch, "fetched", hub.fetched)
    try:
        await watch._look(site, None)  # type: ignore[arg-type]
    except LanePaused:
        assert watch.up is False
    return watch.lag


async def test_what_lies_behind_the_newest_at_the_hub_is_missing(
    watch: HubWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await look(watch, Site(1, 10), Hub(has(7)), monkeypatch) == Lag(3, 1_000_008)
    assert await look(watch, Site(1, 10), Hub(has(10)), monkeypatch) == Lag()
    assert watch.words == "stored here; all of it is at the hub"


async def test_a_hub_that_has_nothing_lacks_all(watch: HubWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await look(watch, Site(4, 10), Hub(None), monkeypatch) == Lag(7, 1_000_004)
    assert watch.up


async def test_what_has_expired_here_lacks_no_more(watch: HubWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await look(watch, Site(9, 10), Hub(has(3)), monkeypatch) == Lag(2, 1_000_009)
    assert await look(watch, Site(11, 10), Hub(has(3)), monkeypatch) == Lag()


async def test_a_hub_that_is_away_has_what_it_had_also_for_the_next_process(
    watch: HubWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await look(watch, Site(1, 10), Hub(has(8)), monkeypatch)
    later = HubWatch(None, PLACE, tmp_path, "west")  # type: ignore[arg-type]
    later._position = hub_position.load(tmp_path, "west")
    assert await look(later, Site(1, 12), Hub(SILENCE), monkeypatch) == Lag(4, 1_000_009)
    assert "4 not at the hub yet" in later.words
    assert later.words.endswith("the hub does not answer: the hub does not answer")


@pytest.mark.parametrize("newest", [has(50), AtHub(5, "edge.replay.west.other", 10)], ids=["beyond", "another"])
async def test_what_the_hub_has_of_a_store_that_was_lost_does_not_count(
    watch: HubWatch, monkeypatch: pytest.MonkeyPatch, newest: AtHub
) -> None:
    """The stream was made anew, and begins at 1 again."""
    await look(watch, Site(1, 60), Hub(has(60)), monkeypatch)
    assert await look(watch, Site(1, 10, "later"), Hub(newest), monkeypatch) == Lag(10, 1_000_001)


async def test_while_nothing_lacks_no_message_comes_over_the_line(
    watch: HubWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(has(10))
    for _ in range(3):
        await look(watch, Site(1, 10), hub, monkeypatch)
    assert hub.asked == [PLACE.subject, PLACE.no_subject, PLACE.no_subject]


async def test_large_messages_come_seldom(watch: HubWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three bytes a second on average, and one answer in six hours at least."""
    hub, now = Hub(has(5, size=1 << 20)), [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for passed in (0.0, 600.0, 5 * 3600.0, 3601.0):
        now[0] += passed
        await look(watch, Site(1, 10), hub, monkeypatch)
    assert hub.asked == [PLACE.subject, PLACE.no_subject, PLACE.no_subject, PLACE.subject]
    assert watch.lag == Lag(5, 1_000_006)


def test_it_is_late_at_half_of_the_life(watch: HubWatch) -> None:
    watch.lag = Lag(1, time.time() - 100)
    assert watch.late(180)
    assert not watch.late(220)
    assert not watch.late(float("inf"))


@pytest.mark.parametrize("text", ["", "nothing", '{"created": 1, "seq": 2}', '{"seq": -1}', "[]"])
def test_a_file_that_can_not_be_read_knows_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "hub-west.json").write_text(text)
    assert hub_position.load(tmp_path, "west") == Position()


def test_the_position_is_saved_for_one_stream(tmp_path: Path) -> None:
    hub_position.save(tmp_path, "west", Position("made", 7))
    found = hub_position.load(tmp_path, "west")
    assert (found.of("made"), found.of("made anew")) == (7, 0)
    hub_position.save(tmp_path / "gone", "west", Position("made", 7))


SOURCES = {
    "swarm_jobs:VSN1qjsM 2 edge.replay.*.* edge.replay.c.{{wildcard(2)}} edge.replay.c.2 gycMmfIz": 2,
    "swarm_jobs 17": 17,
}


@pytest.mark.parametrize("header", SOURCES)
def test_a_sourced_message_says_which_one_it_was(header: str) -> None:
    found = fetched_of(message(9, **{"Nats-Stream-Source": header}))
    assert (found.seq, found.subject) == (SOURCES[header], "edge.replay.west.9")


@pytest.mark.parametrize("header", ["", "swarm_jobs", "swarm_jobs x", "swarm_jobs 0", "swarm_jobs -1"])
def test_one_that_does_not_say_it_is_no_answer(header: str) -> None:
    with pytest.raises(LanePaused):
        fetched_of(message(9, **{"Nats-Stream-Source": header}))
