"""The parts of a daemon that others read from: metrics, health checks and status."""

from __future__ import annotations

from typing import NamedTuple

from syncdaemon.ledger import Ledger
from syncdaemon.link import Link
from syncdaemon.publish import Publisher
from syncdaemon.publish.objects import Objects
from syncdaemon.spool.spool import Spool


class Parts(NamedTuple):
    """They are read at any time, and never changed from here."""

    spool: Spool
    link: Link
    publisher: Publisher
    objects: Objects
    ledger: Ledger

    def in_doubt(self) -> int:
        """Files that were sent and not answered, and are still there."""
        queue = self.spool.queue
        return sum(map(queue.waits, self.publisher.in_doubt))
