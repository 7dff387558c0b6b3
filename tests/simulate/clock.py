"""Time that passes only when the test, or the event loop for want of anything else to do, lets it pass."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Clock:
    """A monotonic clock that stands still between two calls of `advance`."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        """Seconds, as `time.monotonic` gives them."""
        return self.now

    def advance(self, seconds: float) -> None:
        """So much time passes at once."""
        self.now += seconds


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that never sleeps: where all that is left to do is to wait, the clock jumps to the end of it.

    Put the clock's `monotonic` in the place of `time.monotonic`, and the loop and all that runs in it agree on the
    time. Where nothing is left to wait for either, it raises `Stuck` instead of hanging.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(_JumpingSelector(clock))


class Stuck(AssertionError):
    """Everything waits for something that will never come."""


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise Stuck("nothing is left that could ever happen")
            self._clock.advance(max(0.0, timeout))
        return ready


class LoopExecutor:
    """In the place of a thread pool: the event loop does the work itself, at its next turn, one piece after another.

    So a run of the same test always takes the same course. What is done is what `guard` makes of each piece of work
    and the pool's name.
    """

    def __init__(self, name: str, guard: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._name = name
        self._guard = guard

    def submit(self, work: Callable[..., T], *args: Any) -> Future[T]:
        """Has the work done at the loop's next turn."""
        future: Future[T] = Future()
        asyncio.get_running_loop().call_soon(self._do, future, lambda: work(*args))
        return future

    def _do(self, future: Future[T], work: Callable[[], T]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(self._guard(self._name, work))
        except BaseException as error:
            future.set_exception(error)

    def shutdown(self, wait: bool = True, cancel_futures: bool = False) -> None:
        """Nothing is left to wait for: what was begun is done."""
