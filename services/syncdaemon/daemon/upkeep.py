"""What goes on beside the delivery: the daemon's own rows, files put back for the operator, and the end of the hold."""

from __future__ import annotations

import asyncio
import time

from syncdaemon.daemon.last_look import LastLook
from syncdaemon.deliver import Delivery
from syncdaemon.ledger import Entry, Ledger, rows
from syncdaemon.link import Link
from syncdaemon.publish import Publisher
from syncdaemon.spool.requeue import Order
from syncdaemon.spool.spool import Spool

_EXPIRE_SECONDS = 1.0
_ORDERS_SECONDS = 3.0  # between two looks for what the operator wants out of the quarantine


class OwnRows:
    """Rows that the daemon writes about itself, in the order in which they were added."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rows: asyncio.Queue[Entry] = asyncio.Queue()

    def add(self, entry: Entry) -> None:
        """The row waits until `run` writes it. It is not waited for: a full disk must not stop the caller."""
        self._rows.put_nowait(entry)

    async def run(self) -> None:
        """For ever: writes rows as they come."""
        while True:
            row = await self._rows.get()
            await self._ledger.record([row, *self._waiting()])

    async def write(self, *entries: Entry) -> None:
        """Returns when these rows are on disk, after those that waited."""
        await self._ledger.record([*self._waiting(), *entries])

    async def close(self) -> None:
        """Writes what waits, and then the last row, which counts the rows of this process."""
        waiting = self._waiting()
        await self._ledger.record([*waiting, rows.closed(self._ledger.rows + len(waiting) + 1)])

    def _waiting(self) -> list[Entry]:
        waiting: list[Entry] = []
        while not self._rows.empty():
            waiting.append(self._rows.get_nowait())
        return waiting


class PutBack:
    """Refused files that the operator wants delivered go back to the replay directory."""

    def __init__(self, spool: Spool, ledger: Ledger, own_rows: OwnRows) -> None:
        self._spool = spool
        self._ledger = ledger
        self._own_rows = own_rows

    async def run(self) -> None:
        """For ever: looks for orders of the operator."""
        while True:
            await asyncio.sleep(_ORDERS_SECONDS)
            await self._ledger.ready()
            await self.once()

    async def once(self, wait: bool = False) -> None:
        """Moves the files, records that, and only then forgets the orders.

        `wait`: also waits for the operator's command while that is at work; otherwise nothing is done then.
        """
        if orders := await self._spool.put_back_asked(wait):
            await self._own_rows.write(*(requeued(order) for order in orders))
            await self._spool.forget(orders)


def requeued(order: Order) -> Entry:
    """The ledger's row for an order that was carried out."""
    return rows.requeued(order.path, order.to, order.size, order.sha256, order.reason)


class Expiry:
    """The end of the time for which delivered files are held, and of what is remembered about files that are gone."""

    def __init__(self, spool: Spool, link: Link, publisher: Publisher, delivery: Delivery, last_look: LastLook) -> None:
        self._spool, self._link = spool, link
        self._publisher, self._delivery = publisher, delivery
        self._last_look = last_look

    async def run(self) -> None:
        """For ever: deletes held files in time, as long as the server is sure to have what it acknowledged."""
        while True:
            await asyncio.sleep(_EXPIRE_SECONDS)
            if self._nothing_waits():
                self._publisher.nothing_waits()
            if self._is_due() and await self._last_look.all_is_there():
                await self._spool.expire()

    def _nothing_waits(self) -> bool:
        spool = self._spool
        return spool.scanned and not spool.depth and self._delivery.idle

    def _is_due(self) -> bool:
        hold, lane = self._spool.hold, self._publisher.lane
        due = hold.next_expiry()
        return due is not None and due <= time.monotonic() and lane.trusted and self._link.proved()
