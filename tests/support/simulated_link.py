"""A link in simulated time: one queue, a bandwidth that changes, a round trip; and a sender that always has more."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import NamedTuple

from syncdaemon.link.pace import Window


class Sending(NamedTuple):
    """A piece that was sent `at` this time, while so many seconds of the link waited before it."""

    at: float
    waiting: float
    size: int


class Link:
    """What is sent is through the queue one after another, and answered a round trip after that.

    `bandwidths`: from when on the link carries so many bytes a second; the first from 0 on. All times in seconds.
    """

    def __init__(self, bandwidths: list[tuple[float, float]], round_trip: float) -> None:
        self.round_trip = round_trip
        self.carried: list[tuple[float, float, int]] = []  # from when to when, and how much
        self._bandwidths = bandwidths
        self._free_at = 0.0

    def send(self, now: float, size: int) -> float:
        """When the answer comes."""
        begin = max(now, self._free_at)
        self._free_at = self._through(begin, size)
        self.carried.append((begin, self._free_at, size))
        return self._free_at + self.round_trip

    def waiting(self, now: float) -> float:
        """Seconds until the queue is empty, if nothing more comes."""
        return max(0.0, self._free_at - now)

    def share(self, since: float, until: float, limit: float = inf) -> float:
        """What was carried in that time, of what could have been, or of `limit` bytes a second."""
        edges = [*(at for at, _ in self._bandwidths), inf]
        could = sum(
            max(0.0, min(until, edges[turn + 1]) - max(since, edges[turn])) * min(rate, limit)
            for turn, (_, rate) in enumerate(self._bandwidths)
        )
        did = sum(
            size * max(0.0, min(until, end) - max(since, begin)) / (end - begin) for begin, end, size in self.carried
        )
        return did / could

    def _through(self, begin: float, size: float) -> float:
        for turn, (_, rate) in enumerate(self._bandwidths):
            changes_at = self._bandwidths[turn + 1][0] if turn + 1 < len(self._bandwidths) else inf
            if begin >= changes_at:
                continue
            if begin + size / rate <= changes_at:
                return begin + size / rate
            size -= (changes_at - begin) * rate
            begin = changes_at
        raise AssertionError("the last bandwidth has no end")


def transmit(window: Window, link: Link, size: int, seconds: float) -> list[Sending]:
    """Sends messages of `size` bytes for so long, as the window lets it; its pieces are as large as it wants them."""
    sendings: list[Sending] = []
    answers: deque[float] = deque()  # in their order: the link has one queue
    now = 0.0
    while now < seconds:
        while not (wait := window.wait(now)):
            messages = min(max(1, window.piece // size), max(1, window.max_messages - window.messages))
            sendings.append(Sending(now, link.waiting(now), messages * size))
            window.sent(now, messages * size, messages)
            for _ in range(messages):
                answers.append(link.send(now, size))
        if now + wait < answers[0]:
            now += wait + 1e-9
        else:
            now = answers.popleft()
            window.answered(now, size)
    return sendings
