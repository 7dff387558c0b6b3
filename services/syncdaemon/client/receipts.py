"""Waiting for receipts: one thread asks for all tickets of a program that wait."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NamedTuple

from syncdaemon.base.tickets import TicketKey
from syncdaemon.client.door import LocalDoor
from syncdaemon.client.errors import HandOverError, Refused

HAND_OVER, RECEIPTS = "/v1/files", "/v1/receipts"
_AT_ONCE = 256  # tickets in one question
_WAIT = 15.0  # seconds that one question waits at the daemon
_TURN = 0.05  # the same where more tickets wait than go into one question
_PER_TICKET = 5e-5  # seconds between two questions, for each ticket in them
_IDLE = 5.0  # seconds until a thread ends that has nothing to wait for
_FIRST_RETRY, _LONGEST_RETRY = 0.05, 1.0  # seconds, while no daemon answers


class TicketReceipt(NamedTuple):
    """The ledger has a row that says: the stream holds the file's content at `stream_seq`.

    `duplicate`: it was there before this file came. `row`: the number of the row. `proved`: whether a checkpoint covers
    the row; None where this site makes none.
    """

    ticket: str
    stream: str
    stream_seq: int
    duplicate: bool
    row: int
    proved: bool | None = None


class Sought(NamedTuple):
    """A ticket. `since`: when this process put the file, in seconds since 1970; None: another one did, or forgot.

    `handed_over`: the daemon has been told that the file is complete.
    """

    key: TicketKey
    since: float | None = None
    handed_over: bool = True


class _Wanted:
    """Who waits for a ticket."""

    def __init__(self, sought: Sought) -> None:
        self.sought = sought
        self.futures: list[Future[TicketReceipt]] = []


class ReceiptWaiter:
    """Gets receipts for whoever waits. `away`: why no daemon answered the last time; None where one did."""

    def __init__(self, door: LocalDoor) -> None:
        self._door = door
        self.away: HandOverError | None = None
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._came = threading.Event()
        self._wanted: dict[TicketKey, _Wanted] = {}
        self._thread: threading.Thread | None = None
        self._wake_read = self._wake_write = -1

    def future(self, sought: Sought) -> Future[TicketReceipt]:
        """What will be the receipt, or the error Refused. Cancel it when nobody waits for it any more."""
        if self._process != os.getpid():  # a fork has neither our thread nor what it waited for
            self._begin()
        future: Future[TicketReceipt] = Future()
        with self._lock:
            self._wanted.setdefault(sought.key, _Wanted(sought)).futures.append(future)
            self._came.set()
            if self._thread is None:
                self._wake_read, self._wake_write = os.pipe()
                for end in (self._wake_read, self._wake_write):
                    os.set_blocking(end, False)
                self._thread = threading.Thread(target=self._run, name="syncdaemon receipts", daemon=True)
                self._thread.start()
            with suppress(BlockingIOError):
                os.write(self._wake_write, b".")
        return future

    def _run(self) -> None:
        retry = _FIRST_RETRY
        while wanted := self._next():
            began = time.monotonic()
            try:
                self._hand_over(wanted)
                self._ask(wanted, _WAIT if len(wanted) < _AT_ONCE else _TURN)
                self.away, retry = None, _FIRST_RETRY
                time.sleep(max(0.0, _PER_TICKET * len(wanted) - (time.monotonic() - began)))
            except HandOverError as error:
                self.away = error
                self._forget_hand_overs()
                time.sleep(retry)
                retry = min(2 * retry, _LONGEST_RETRY)

    def _next(self) -> list[Sought]:
        """The tickets of the next question; none where this thread is to end."""
        idle_since = time.monotonic()
        while True:
            with self._lock:
                self._came.clear()
                with suppress(BlockingIOError):
                    os.read(self._wake_read, 65_536)
                for key in [key for key, one in self._wanted.items() if all(f.cancelled() for f in one.futures)]:
                    del self._wanted[key]
                if self._wanted:
                    chosen = list(self._wanted)[:_AT_ONCE]
                    for key in chosen if len(self._wanted) > _AT_ONCE else ():  # they wait behind the others then
                        self._wanted[key] = self._wanted.pop(key)
                    return [self._wanted[key].sought for key in chosen]
                if time.monotonic() - idle_since > _IDLE:
                    os.close(self._wake_read)
                    os.close(self._wake_write)
                    self._thread = None
                    return []
            self._came.wait(_IDLE)

    def _hand_over(self, wanted: Sequence[Sought]) -> None:
        """Raises HandOverError."""
        for sought in wanted:
            if not sought.handed_over:
                self._door.post(HAND_OVER, {"ticket": sought.key.text})
                with self._lock:
                    if (one := self._wanted.get(sought.key)) is not None:
                        one.sought = sought._replace(handed_over=True)

    def _forget_hand_overs(self) -> None:
        """The next daemon has seen nothing of the files that lie there: those that we put are handed over again."""
        with self._lock:
            for one in self._wanted.values():
                one.sought = one.sought._replace(handed_over=one.sought.since is None)

    def _ask(self, wanted: Sequence[Sought], wait: float) -> None:
        """Raises HandOverError."""
        question: dict[str, Any] = {"tickets": [sought.key.text for sought in wanted], "wait_seconds": wait}
        since = [sought.since for sought in wanted if sought.since is not None]
        if len(since) == len(wanted):
            question["since"] = min(since)
        answer = self._door.post(RECEIPTS, question, wait + 5.0, self._wake_read)
        for sought in wanted:
            if answer is not None and (told := answer["receipts"].get(sought.key.text)) is not None:
                self._tell(sought.key, told)

    def _tell(self, key: TicketKey, told: Mapping[str, Any]) -> None:
        with self._lock:
            one = self._wanted.pop(key, None)
        for future in one.futures if one is not None else ():
            if future.set_running_or_notify_cancel():
                if told["state"] == "delivered":
                    future.set_result(_receipt(key, told))
                else:
                    future.set_exception(Refused(key.text, str(told.get("reason")), str(told.get("error"))))


def _receipt(key: TicketKey, told: Mapping[str, Any]) -> TicketReceipt:
    stream, seq, row = str(told["stream"]), int(told["stream_seq"]), int(told["row"])
    return TicketReceipt(key.text, stream, seq, bool(told["duplicate"]), row, told.get("proved"))
