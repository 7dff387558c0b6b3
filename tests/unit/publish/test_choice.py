"""Batch or singles: the faster way is found, kept, and left when it is the faster one no longer."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncdaemon.publish.choice import LEAST, SAMPLE, Choice, Timing, Way

KIB = 1 << 10
Cost = Callable[[Way, int, int], float]
"""Seconds that a server takes for so many messages, of so many bytes together."""


def server(sync: float, message: float, batched: float, byte: float = 2e-9, batched_byte: float = 3e-9) -> Cost:
    """One that syncs for so long, and takes so long for a message, alone or in a batch, beside that."""

    def cost(way: Way, count: int, size: int) -> float:
        if way is Way.SINGLES:
            return count * (sync + message) + size * byte
        return 4 * sync + count * batched + size * batched_byte

    return cost


ALWAYS = server(sync=180e-6, message=10e-6, batched=25e-6)  # as measured with 1 KiB, `sync_interval: always`
DEFAULT = server(sync=0.0, message=10e-6, batched=25e-6)
CARD = server(sync=8e-3, message=10e-6, batched=25e-6)
ALIKE = server(sync=0.0, message=20e-6, batched=20e-6, byte=0, batched_byte=0)
LARGE = server(180e-6, 10e-6, 25e-6, 2e-9, 8e-9)


class Simulation:
    """Groups of messages, sent one after another to a server `trip` seconds away and back.

    `spent` and `best`: seconds that the server took, and could have. A trial lets the link run empty four times.
    """

    def __init__(self, choice: Choice, noise: float = 0.25, seed: int = 1, trip: float = 0.0) -> None:
        self.choice = choice
        self.now = 0.0
        self.spent = self.best = 0.0
        self._random = random.Random(seed)
        self._noise = noise
        self._trip = trip

    def run(self, cost: Cost, groups: int, count: int = 256, size: int = KIB) -> list[Way]:
        """So many groups; the ways that they went, but for trials."""
        return [way for _ in range(groups) if (way := self._group(cost, count, size))]

    def _group(self, cost: Cost, count: int, size: int) -> Way | None:
        sample = self.choice.trial(count, count * size, self.now)
        if sample:
            self._try(cost, count, size, sample)
        left = count - (1 + 2 * sample if sample else 0)
        self.best += min(cost(one, count, count * size) for one in Way)
        if not left:
            return None
        way = self.choice.way(left, left * size)
        self._spend(cost(way, left, left * size))
        return way

    def _try(self, cost: Cost, count: int, size: int, sample: int) -> None:
        began = self.now
        costs = (cost(Way.SINGLES, 1, size), *(cost(way, sample, sample * size) for way in Way))
        seen = Timing(*(self._trip + seconds * self._random.uniform(1, 1 + 2 * self._noise) for seconds in costs))
        if self._random.random() < 0.05:
            seen = seen._replace(singles=seen.singles + 0.05)  # a hitch
        self._spend(self._trip + sum(seen))
        self.choice.tried(count, count * size, seen)
        self.choice.ended(count, count * size, began, self.now)

    def _spend(self, seconds: float) -> None:
        self.spent += seconds
        self.now += seconds

    def seconds_until(self, way: Way, cost: Cost) -> float:
        """How long it takes until all goes that way."""
        began = self.now
        newest: list[Way] = []
        while newest[-10:].count(way) < 10:
            newest += self.run(cost, 1)
            assert len(newest) < 20_000
        return self.now - began


@pytest.mark.parametrize(
    ("cost", "count", "size", "better"),
    [
        (ALWAYS, 256, KIB, Way.BATCH),
        (ALWAYS, 256, 16 * KIB, Way.BATCH),
        (CARD, 256, KIB, Way.BATCH),
        (CARD, 5 * LEAST, KIB, Way.BATCH),
        (DEFAULT, 256, KIB, Way.SINGLES),
        (DEFAULT, 1_000, 100, Way.SINGLES),
        (LARGE, 70, 60 * KIB, Way.SINGLES),
    ],
    ids=["always", "always, 16 KiB", "slow card", "slow card, few", "default", "default, tiny", "large"],
)
def test_the_faster_way_is_found_and_trials_cost_little(cost: Cost, count: int, size: int, better: Way) -> None:
    """After a few groups all go that way."""
    simulation = Simulation(Choice())
    while simulation.now < 3:
        simulation.run(cost, 20, count, size)
    simulation.spent = simulation.best = 0.0
    assert set(simulation.run(cost, 1_000, count, size)) == {better}
    assert simulation.spent <= 1.05 * simulation.best


@pytest.mark.parametrize("trip", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("cost", [ALWAYS, DEFAULT])
def test_trials_take_a_fiftieth_of_the_time(cost: Cost, trip: float) -> None:
    """Near and far: the time that the link runs empty for them counts."""
    simulation = Simulation(Choice(), trip=trip)
    while simulation.now < 60:
        simulation.run(cost, 100)
    simulation.spent = simulation.best = 0.0
    while simulation.now < 600:
        simulation.run(cost, 100)
    lost = simulation.spent - simulation.best
    assert lost <= 0.03 * simulation.spent


def test_what_is_found_out_at_first_is_cheap() -> None:
    """A drain of 20,000 small files at a server that syncs each message is over soon all the same."""
    simulation = Simulation(Choice(), noise=0.1)
    simulation.run(ALWAYS, 80)
    assert simulation.spent <= 1.15 * simulation.best


def test_a_loss_in_the_first_trial_is_made_good_by_the_next() -> None:
    """Where the process was busy with something else while the singles were answered."""
    choice, simulation = Choice(), Simulation(Choice())
    assert choice.trial(256, 256 * KIB, 0.0) == SAMPLE
    choice.tried(256, 256 * KIB, Timing(0.001, 0.030, 0.006))
    choice.ended(256, 256 * KIB, 0.0, 0.05)
    assert choice.way(256, 256 * KIB) is Way.BATCH
    simulation.choice, simulation.now = choice, 0.05
    assert simulation.seconds_until(Way.SINGLES, DEFAULT) < 2.0


def test_one_slow_batch_is_not_enough_to_leave_them() -> None:
    """A server's first one takes it longer than those that follow."""
    choice = Choice()
    choice.tried(256, 256 * KIB, Timing(0.001, 0.013, 0.014))
    assert choice.way(256, 256 * KIB) is Way.BATCH
    choice.tried(256, 256 * KIB, Timing(0.001, 0.013, 0.014))
    assert choice.way(256, 256 * KIB) is Way.SINGLES


@pytest.mark.parametrize(
    ("before", "after", "way"), [(DEFAULT, ALWAYS, Way.BATCH), (ALWAYS, DEFAULT, Way.SINGLES)], ids=["slower", "faster"]
)
def test_a_server_that_changes_is_noticed_within_seconds(before: Cost, after: Cost, way: Way) -> None:
    """As when it comes back with another setting."""
    simulation = Simulation(Choice())
    while simulation.now < 30:
        simulation.run(before, 100)
    assert simulation.seconds_until(way, after) < 5.0


@given(st.integers(0, 10_000), st.floats(0.0, 0.25))
@settings(max_examples=60, deadline=None)
def test_ways_that_are_alike_do_not_take_turns(seed: int, noise: float) -> None:
    """Noise is no reason to change."""
    simulation = Simulation(Choice(), noise, seed)
    simulation.run(ALIKE, 20)
    ways = simulation.run(ALIKE, 1_000)
    assert sum(one is not other for one, other in pairwise(ways)) <= 4


@given(
    st.integers(0, 10_000),
    st.floats(0.0, 0.02),
    st.floats(2e-5, 1e-3),
    st.floats(2e-5, 1e-3),
    st.floats(0.0, 1e-8),
    st.floats(0.0, 1e-8),
    st.sampled_from([256, 1_000]),
    st.sampled_from([16, KIB, 16 * KIB]),
)
@settings(max_examples=60, deadline=None)
def test_any_server_is_used_nearly_as_well_as_it_can_be(
    seed: int, sync: float, message: float, batched: float, byte: float, batched_byte: float, count: int, size: int
) -> None:
    """Whatever its costs: no more than what counts as alike, and the trials, is lost."""
    cost = server(sync, message, batched, byte, batched_byte)
    simulation = Simulation(Choice(), 0.05, seed)
    while simulation.now < 3:
        simulation.run(cost, 20, count, size)
    simulation.spent = simulation.best = 0.0
    simulation.run(cost, 200, count, size)
    assert simulation.spent <= 1.5 * simulation.best


def test_sizes_are_known_apart() -> None:
    """Small files go in batches while large ones, between them, do not."""
    simulation = Simulation(Choice())
    for _ in range(300):
        small = simulation.run(LARGE, 1, 256, KIB)
        large = simulation.run(LARGE, 1, 70, 60 * KIB)
    assert (small, large) == ([Way.BATCH], [Way.SINGLES])


def test_a_few_messages_are_no_batch_and_no_trial() -> None:
    """However slow the server is."""
    choice = Choice()
    for now in range(20):
        assert choice.trial(LEAST - 1, KIB, now) == 0
        assert choice.way(LEAST - 1, KIB) is Way.SINGLES
    assert choice.trial(LEAST, KIB, 0.0) == 8


@pytest.mark.parametrize("only", Way)
def test_a_way_that_is_forced_is_not_left(only: Way) -> None:
    """Nor is another one tried."""
    simulation = Simulation(Choice(only))
    assert set(simulation.run(ALWAYS, 200) + simulation.run(DEFAULT, 200)) == {only}


def test_batches_that_are_refused_become_rare_and_come_back() -> None:
    """Each goes over the link twice: where many files are known to the stream, few are sent so."""
    choice = Choice(Way.BATCH)
    batches = 0
    for _ in range(1_000):
        if choice.way(256, 256 * KIB) is Way.BATCH:
            batches += 1
            choice.refused()
    assert batches <= 25
    while choice.way(256, 256 * KIB) is not Way.BATCH:
        pass
    choice.stored()
    assert {choice.way(256, 256 * KIB) for _ in range(100)} == {Way.BATCH}


def test_while_batches_are_refused_none_is_tried() -> None:
    """A trial is a batch too."""
    choice = Choice()
    choice.refused()
    assert choice.trial(256, 256 * KIB, 0.0) == 0
    assert choice.way(256, 256 * KIB) is Way.SINGLES
    assert choice.trial(256, 256 * KIB, 0.0) == SAMPLE
