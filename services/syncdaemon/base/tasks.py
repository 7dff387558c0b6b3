"""Running several things at once, and ending them so that the first error comes out whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

_T = TypeVar("_T")
_CANCEL_AGAIN = 0.2  # seconds


@asynccontextmanager
async def background(*work: Any) -> AsyncIterator[asyncio.Future[None]]:
    """Tasks that run beside the body and end with it. The future that is yielded gets the error of one that fails."""
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) and not failed.done():
            failed.set_exception(error)

    tasks = [asyncio.create_task(one) for one in work]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield failed
    finally:
        await cancel(tasks)
        failed.cancel()


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels until all have ended: nats-py 2.16 swallows a cancellation here and there (its `_flush_pending`)."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=_CANCEL_AGAIN)


async def finish(work: asyncio.Task[Any], stop: asyncio.Event, failed: asyncio.Future[None], within: float) -> None:
    """Waits for `stop`, then `within` so many seconds for `work`, then cancels it; errors of either come out."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((work, stopping, failed), return_when=asyncio.FIRST_COMPLETED)
        if not failed.done():
            await asyncio.wait((work, failed), timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        await cancel([work])
    for done in (failed, work):
        if done.done() and not done.cancelled() and (error := done.exception()):
            raise _bare_error(error)


async def to_the_end(work: Coroutine[None, None, None]) -> None:
    """Awaits `work`. A cancellation comes out only when `work` has really ended: see `cancel`."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        await cancel([task])
        if not task.cancelled():
            task.exception()  # it failed before that: asyncio would print what nothing waits for
        raise
    await task


async def unless(stop: asyncio.Event, work: Coroutine[None, None, _T]) -> _T | None:
    """What `work` returns, or None where `stop` is set first: then `work` is cancelled and has ended."""
    doing = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((doing, stopping), return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        stopping.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)


async def in_thread(threads: Executor, work: Callable[[], _T]) -> _T:
    """What `work` comes to, in a thread. Ends when it has, also when cancelled: what it uses can be closed then."""
    future = asyncio.get_running_loop().run_in_executor(threads, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait((future,))
        raise


def _bare_error(error: BaseException) -> BaseException:
    """The one error that a task group wrapped."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
