"""The operator's orders, carried out while the daemon runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from urllib.parse import quote_from_bytes

import structlog

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.spool import requeue
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.lookout import Lookout
from syncdaemon.spool.quarantine import Quarantine
from syncdaemon.spool.requeue import Done, Order
from syncdaemon.spool.threads import DirectoryThread

log = structlog.get_logger(__name__)


class Orders:
    """Puts refused files back into the replay directory, as the operator ordered it."""

    def __init__(
        self, directory: ReplayDirectory, quarantine: Quarantine, lookout: Lookout, thread: DirectoryThread
    ) -> None:
        self._directory = directory
        self._quarantine = quarantine
        self._lookout = lookout
        self._thread = thread
        self._said = OnceAMinute()
        self._left: list[Order] = []  # those that could not be removed

    async def carry_out(self, wait: bool) -> list[Order]:
        """Carries out all orders; those that are done are to be recorded, and then forgotten.

        Without `wait`: none, while the operator's command is at it itself.
        """
        outcomes = await self._thread.run(partial(self._carry_out, wait))
        recorded = {order.name for order in self._left}
        outcomes = [outcome for outcome in outcomes if outcome.order.name not in recorded]
        done = [order for order, problem in outcomes if not problem]
        for order, problem in outcomes:
            if problem:
                log.error("not_requeued", name=quote_from_bytes(order.name), error=problem)
            else:
                log.info("requeued", path=quote_from_bytes(order.to), reason=order.reason)
        await self.forget([order for order, problem in outcomes if problem])
        self._lookout.look_at(order.to for order in done)
        return done

    def _carry_out(self, wait: bool) -> list[Done]:
        try:
            outcomes = requeue.carry_out(self._directory, wait)
            self._quarantine.count_again()
        except OSError as error:
            if self._said.due(time.monotonic(), "quarantine_unseen"):
                log.error("quarantine_unseen", error=str(error), effect="nothing is put back; looked at again")
            return []
        return outcomes

    async def forget(self, orders: Sequence[Order]) -> None:
        """Removes these orders: each is recorded, or could not be carried out.

        What can't be removed now is tried again later, and has no second row meanwhile.
        """
        if not (left := [*self._left, *orders]):
            return
        try:
            await self._thread.run(partial(requeue.forget, self._directory, left))
            self._left = []
        except OSError as error:
            self._left = left
            if self._said.due(time.monotonic(), "orders_not_removed"):
                log.error("orders_not_removed", orders=len(left), error=error.strerror or str(error))
