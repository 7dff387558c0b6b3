"""The same outbox for asyncio."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from syncdaemon.client.outbox import Outbox, Registry, Ticket
from syncdaemon.client.place import Source
from syncdaemon.client.receipts import TicketReceipt


class AsyncOutbox:
    """As `Outbox`; whatever touches the disk or the daemon runs in a thread."""

    def __init__(self, replay_dir: str | os.PathLike[str] | None = None, *, trusted: Iterable[int] = ()) -> None:
        self._outbox = Outbox(replay_dir, trusted=trusted)

    async def put(self, source: Source, *, name: str | bytes | None = None) -> AsyncTicket:
        """As `Outbox.put`. Where the caller is cancelled, it ends when its thread has, and leaves no part of a file."""
        given_up = threading.Event()
        put = partial(self._outbox.put, source, name=name, given_up=given_up.is_set)
        putting = asyncio.ensure_future(asyncio.to_thread(put))
        try:
            return AsyncTicket(await asyncio.shield(putting))
        except asyncio.CancelledError:
            given_up.set()
            while not putting.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait((putting,))
            putting.exception()  # else asyncio would print what nobody waits for
            raise

    def ticket(self, text: str) -> AsyncTicket:
        """As `Outbox.ticket`."""
        return AsyncTicket(self._outbox.ticket(text))

    async def link_status(self) -> int:
        """As `Outbox.link_status`."""
        return await asyncio.to_thread(self._outbox.link_status)

    def register(self, registry: Registry, site: str | None = None) -> None:
        """As `Outbox.register`."""
        self._outbox.register(registry, site)


class AsyncTicket:
    """As `Ticket`."""

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket

    def __str__(self) -> str:
        return str(self._ticket)

    def __repr__(self) -> str:
        return f"Async{self._ticket!r}"

    async def receipt(self, timeout: float | None = None) -> TicketReceipt:  # noqa: ASYNC109 - as `Ticket.receipt`
        """As `Ticket.receipt`. Thousands may wait at the same time: one thread asks for all of them."""
        future = self._ticket.future()
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise self._ticket.late() from None
        finally:
            future.cancel()

    async def proof(self, timeout: float | None = None) -> TicketReceipt:  # noqa: ASYNC109 - as `Ticket.proof`
        """As `Ticket.proof`."""
        return await asyncio.to_thread(self._ticket.proof, timeout)
