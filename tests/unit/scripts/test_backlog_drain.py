"""The drain measurement's decisions: what is accepted, what counts as drained, when it begins and when it gives up."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.backlog_drain.measure import Measurement, NotMeasured
from scripts.backlog_drain.plan import P95_SECONDS, RUN_SECONDS, Plan, Run, judge
from scripts.backlog_drain.report import Report
from scripts.backlog_drain.sight import Seen, Sight
from scripts.prometheus import Api, Sample
from syncdaemon.base.errors import ConnectTimeout, SettingsError

EMPTY = Seen(backlog=0, ack_pending=0, floor=10, waiting=2)
DONE = Seen(backlog=0, ack_pending=0, floor=14, waiting=2)
BUSY = Seen(backlog=3, ack_pending=1, floor=10, waiting=0)


def runs(*seconds: float) -> list[Run]:
    """Drained runs that took so long."""
    return [Run(number, taken, 0.1, 4) for number, taken in enumerate(seconds, 1)]


# What is accepted.


@pytest.mark.parametrize(
    ("seconds", "p95", "reasons"),
    [
        ([600.0], 600.0, 0),
        ([600.1], 600.1, 1),
        ([10.0, 20.0, 30.0], 30.0, 0),
        ([10.0] * 19 + [1200.0], 10.0, 0),
        ([10.0] * 19 + [1200.1], 10.0, 1),
        ([10.0] * 18 + [601.0, 700.0], 601.0, 1),
        ([1300.0], 1300.0, 2),
    ],
)
def test_the_objective_is_p95_and_the_longest_run(seconds: list[float], p95: float, reasons: int) -> None:
    """Both limits from both sides."""
    verdict = judge(runs(*seconds))
    assert verdict.p95 == p95
    assert len(verdict.reasons) == reasons
    assert verdict.passed == (reasons == 0)


@given(st.lists(st.floats(0, 5000), min_size=1))
def test_p95_is_the_nearest_rank(seconds: list[float]) -> None:
    """The smallest of the durations that 95 of 100 don't exceed; so a run that is too long alone shows in the other."""
    verdict = judge(runs(*seconds))
    assert verdict.p95 == sorted(seconds)[math.ceil(len(seconds) * 95 / 100) - 1]
    assert verdict.passed == (verdict.p95 <= P95_SECONDS and max(seconds) <= RUN_SECONDS)


def test_a_run_that_was_not_drained_has_no_duration_to_be_judged_by() -> None:
    """It fails, and says why."""
    verdict = judge([*runs(5.0), Run(2, 8.0, 0.1, 4, "after 8 s, backlog 4")])
    assert verdict.p95 is None
    assert verdict.reasons == ("run 2 was not drained: after 8 s, backlog 4",)
    assert not judge([]).passed


def test_the_report_says_the_same_three_times() -> None:
    """Durations, P95, backlog, time and commit; on stdout, in JSON and in Markdown."""
    made = runs(1.25, 2.5)
    report = Report(Plan(4, 64, 2, 30.0), made, judge(made), "2026-11-24T10:00:00+00:00", "abc123", "here")
    found = json.loads(report.json())
    assert found["passed"]
    assert found["durations_seconds"] == [1.25, 2.5]
    assert found["p95_seconds"] == 2.5
    assert found["backlog"] == 4
    assert found["timestamp"] == "2026-11-24T10:00:00+00:00"
    assert found["commit"] == "abc123"
    for text in (report.markdown(), report.lines()):
        assert "1.2 s" in text
        assert "P95 2.5 s" in text
    for fact in ("passed", "| 1 |", "4 messages of 64 bytes", "2026-11-24T10:00:00+00:00", "abc123", "here"):
        assert fact in report.markdown()

    failed = [Run(1, 8.0, 0.1, 4, "after 8 s, backlog 4, ack pending 0, and no worker waits for messages")]
    report = Report(Plan(4, 64, 2, 8.0), failed, judge(failed), "now", "abc123", "here")
    assert not json.loads(report.json())["passed"]
    assert json.loads(report.json())["durations_seconds"] == []
    for text in (report.markdown(), report.lines()):
        assert "FAILED" in text
        assert "no worker waits for messages" in text


# What is seen.


def test_drained_needs_both_gauges_and_the_floor() -> None:
    """Before the first message both gauges are 0 as well."""
    assert DONE.drained(14)
    assert not DONE.drained(15)
    assert not replace(DONE, backlog=1).drained(14)
    assert not replace(DONE, ack_pending=1).drained(14)


class FakeApi(Api):
    """Answers from a table by the series' name."""

    def __init__(self, **values: list[float]) -> None:
        super().__init__("http://nowhere")
        self.values = values
        self.asked: list[str] = []

    def query(self, expression: str) -> list[Sample]:
        self.asked.append(expression)
        return [Sample({}, value) for value in self.values.get(expression.partition("{")[0], [])]


FOUR = {
    "jetstream_backlog": [3.0],
    "jetstream_ack_pending": [1.0],
    "jetstream_consumer_ack_floor_stream_seq": [10.0],
    "jetstream_consumer_num_waiting": [0.0],
}


def test_the_four_series_of_one_queue_are_read() -> None:
    """By stream and consumer, and by what else the caller names."""
    api = FakeApi(**FOUR)
    assert Sight(api, "swarm_jobs", "worker-staging", {"namespace": "hub"}).look() == BUSY
    assert api.asked[0] == 'jetstream_backlog{stream="swarm_jobs",consumer="worker-staging",namespace="hub"}'
    assert all('namespace="hub"' in series for series in api.asked)


@pytest.mark.parametrize("missing", FOUR)
def test_a_series_that_is_missing_means_that_nothing_is_known(missing: str) -> None:
    """Three of four are not a picture; least of all is a missing one 0."""
    assert Sight(FakeApi(**{**FOUR, missing: []}), "s", "c", {}).look() is None


def test_two_queues_of_one_name_have_to_be_told_apart() -> None:
    """Measuring either of them would be a guess."""
    with pytest.raises(SettingsError, match="--label: Prometheus knows 2 such queues"):
        Sight(FakeApi(**{**FOUR, "jetstream_backlog": [1.0, 2.0]}), "s", "c", {}).look()


# The runs.


class FakeQueue:
    """Each run's last message is four further on."""

    def __init__(self) -> None:
        self.last = 10
        self.filled: list[tuple[int, int]] = []

    async def publish(self, count: int, size: int) -> int:
        self.filled.append((count, size))
        self.last += count
        return self.last


class FakeSight:
    """Shows one picture after the other, the last for ever; an error is raised."""

    name = "jetstream_backlog"

    def __init__(self, *pictures: Seen | Exception | None) -> None:
        self._pictures: Iterator[Seen | Exception | None] = iter(pictures)
        self._last: Seen | Exception | None = None

    def look(self) -> Seen | None:
        self._last = next(self._pictures, self._last)
        if isinstance(self._last, Exception):
            raise self._last
        return self._last


async def measured(
    sight: FakeSight, queue: FakeQueue, count: int = 1, limit: float = 30.0, patience: float = 30.0
) -> list[Run]:
    """So many runs of four messages."""
    return await Measurement(Plan(4, 64, count, limit), queue, sight, lambda text: None, patience).runs()


async def test_a_run_goes_from_an_empty_queue_to_an_empty_queue() -> None:
    """An empty one that is older than the messages does not count, and the highest backlog is kept."""
    queue = FakeQueue()
    (run,) = await measured(FakeSight(EMPTY, EMPTY, EMPTY, BUSY, DONE), queue)
    assert queue.filled == [(4, 64)]
    assert not run.reason
    assert run.peak == 3
    assert run.seconds > 0


async def test_what_is_there_already_is_waited_for() -> None:
    """The backlog of a run is its own."""
    (run,) = await measured(FakeSight(BUSY, BUSY, EMPTY, DONE), FakeQueue())
    assert run.peak == 0


async def test_a_queue_that_never_rests_is_not_filled() -> None:
    """The number would be of somebody else's messages too."""
    queue = FakeQueue()
    with pytest.raises(NotMeasured, match="the queue is not empty: backlog 3, ack pending 1"):
        await measured(FakeSight(BUSY), queue, patience=0.0)
    assert queue.filled == []


async def test_a_queue_that_prometheus_does_not_know_is_not_filled() -> None:
    """And what may be wrong is said."""
    with pytest.raises(NotMeasured, match="Prometheus has no jetstream_backlog: is the exporter scraped"):
        await measured(FakeSight(None), FakeQueue(), patience=0.0)
    with pytest.raises(ConnectTimeout, match="away"):
        await measured(FakeSight(ConnectTimeout("away")), FakeQueue())


async def test_after_a_run_that_was_not_drained_there_is_none() -> None:
    """The next would begin on the rest of this one."""
    queue = FakeQueue()
    (run,) = await measured(FakeSight(EMPTY, EMPTY, BUSY), queue, count=3, limit=0.3)
    assert run.reason == "after 0.3 s, backlog 3, ack pending 1, and no worker waits for messages"
    assert len(queue.filled) == 1


async def test_a_prometheus_that_is_away_for_a_moment_ends_nothing() -> None:
    """It is asked again."""
    (run,) = await measured(FakeSight(EMPTY, EMPTY, ConnectTimeout("away"), None, DONE), FakeQueue())
    assert not run.reason
