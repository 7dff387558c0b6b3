"""The outbox: files go into the replay directory, and tickets wait for their receipts."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, Protocol

from syncdaemon.base.tickets import TicketKey, parse
from syncdaemon.client import place
from syncdaemon.client.door import LocalDoor
from syncdaemon.client.errors import DaemonAway, HandOverError, NotProved, ReceiptTimeout
from syncdaemon.client.gauges import SiteGauges, SiteState
from syncdaemon.client.place import Source
from syncdaemon.client.receipts import HAND_OVER, ReceiptWaiter, Sought, TicketReceipt

_HAND_OVER_SECONDS = 0.5  # then the file waits out its quiet time as any other
_REST_SECONDS = 2.0  # without a try to hand over, after one that found no daemon
_STATUS_SECONDS = 1.0
_PROOF_SECONDS = 0.5  # between two questions for a checkpoint


class Registry(Protocol):
    """`CollectorRegistry` of prometheus_client."""

    def register(self, collector: Any) -> None: ...


class Outbox:
    """Hands files over to the daemon of a replay directory. May be used by several threads, and after a fork.

    `replay_dir`: by default SYNC_REPLAY_DIR of the environment. `trusted`: users whom the daemon may run as, beside
    root and the owner of the replay directory.
    """

    def __init__(self, replay_dir: str | os.PathLike[str] | None = None, *, trusted: Iterable[int] = ()) -> None:
        given = replay_dir or os.environ.get("SYNC_REPLAY_DIR") or "/agentforge/replay"
        self.replay_dir = Path(os.path.abspath(given))
        self._door = LocalDoor(self.replay_dir, frozenset(trusted))
        self._receipts = ReceiptWaiter(self._door)
        self._no_daemon_until = 0.0

    def put(self, source: Source, *, name: str | bytes | None = None, given_up: Callable[[], bool] = bool) -> Ticket:
        """Puts a file on this machine's disk: from when this returns it survives what the daemon survives.

        `source`: bytes, the path of a file, or an open file. `name`: its path below the replay directory; None: a
        random one, with the ending of the source's name. `given_up` is asked while the file is not there yet.

        Raises NotPut, and FileExistsError where a file of this name still waits.
        """
        since = time.time()
        path = os.fsencode(name) if name is not None else _random_name(source)
        key = place.put(source, self.replay_dir, path, given_up)
        return Ticket(self, Sought(key, since, self._hand_over(key)))

    def ticket(self, text: str) -> Ticket:
        """The ticket of this text, which another process may have got. Raises ValueError."""
        return Ticket(self, Sought(parse(text)))

    def link_status(self) -> int:
        """1 only while the server answers the daemon; 0 also where the daemon itself is away."""
        return self.site().link

    def site(self) -> SiteState:
        """What the daemon says of its site now."""
        try:
            status = self._door.get("/status", _STATUS_SECONDS)
        except HandOverError:
            return SiteState(None, 0, None)
        return SiteState.of(status)

    def register(self, registry: Registry, site: str | None = None) -> None:
        """Shows `edge_link_status{site}` and `replay_queue_depth{site}` in the program's own registry.

        `site`: the label while no daemon has answered yet; by default SITE of the environment, or the host's name.
        """
        registry.register(SiteGauges(self.site, self.replay_dir, site))

    def order(self, call: str, fields: Mapping[str, Any]) -> str:
        """Gives the daemon an order; what holds now, in words. Raises HandOverError."""
        return str(self._door.post(f"/v1/control/{call}", fields).get("now", ""))

    def receipt_of(self, sought: Sought) -> Future[TicketReceipt]:
        """What will be the receipt of this file."""
        return self._receipts.future(sought)

    def in_time(self, key: TicketKey) -> ReceiptTimeout:
        """The error for a receipt that did not come in time."""
        if (away := self._receipts.away) is not None:
            return DaemonAway(f"{key.text}: no receipt yet: {away}")
        return ReceiptTimeout(f"{key.text}: no receipt yet; the file waits on this machine's disk")

    @property
    def away(self) -> HandOverError | None:
        """Why no daemon answered the last question; None where one did."""
        return self._receipts.away

    def _hand_over(self, key: TicketKey) -> bool:
        """Whether the daemon knows now that the file is complete."""
        if time.monotonic() < self._no_daemon_until:
            return False
        try:
            self._door.post(HAND_OVER, {"ticket": key.text}, _HAND_OVER_SECONDS)
        except HandOverError:
            self._no_daemon_until = time.monotonic() + _REST_SECONDS
            return False
        return True


class Ticket:
    """A file that was put. `str()` of it is its text, which is good after a restart of either side."""

    def __init__(self, outbox: Outbox, sought: Sought) -> None:
        self._outbox, self._sought, self._key = outbox, sought, sought.key

    def __str__(self) -> str:
        return self._key.text

    def __repr__(self) -> str:
        return f"Ticket({self._key.text!r})"

    def future(self) -> Future[TicketReceipt]:
        """What will be the receipt, or the error Refused."""
        return self._outbox.receipt_of(self._sought)

    def late(self) -> ReceiptTimeout:
        """The error for a receipt that did not come in time."""
        return self._outbox.in_time(self._key)

    def receipt(self, timeout: float | None = None) -> TicketReceipt:
        """Waits until the ledger has a row that says that the stream holds this file. `timeout`: seconds.

        Raises Refused with the reason, or ReceiptTimeout; DaemonAway, which is one, where no daemon answers.
        """
        future = self.future()
        try:
            return future.result(timeout)
        except (TimeoutError, CancelledError):
            raise self.late() from None
        finally:
            future.cancel()

    def proof(self, timeout: float | None = None) -> TicketReceipt:
        """Waits until a checkpoint covers that row. Raises as `receipt`, and NotProved where this site makes none."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not (receipt := self.receipt(_left(deadline))).proved:
            if receipt.proved is None:
                raise NotProved(f"{self}: delivered, and this site makes no checkpoints (SYNC_CHECKPOINT_KEY)")
            if (left := _left(deadline)) is not None and left <= _PROOF_SECONDS:
                raise ReceiptTimeout(f"{self}: delivered, and no checkpoint covers its row yet")
            time.sleep(_PROOF_SECONDS)
        return receipt


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _random_name(source: Source) -> bytes:
    ending = os.path.splitext(os.fsencode(source))[1] if isinstance(source, str | os.PathLike) else b""
    return secrets.token_hex(16).encode() + ending
