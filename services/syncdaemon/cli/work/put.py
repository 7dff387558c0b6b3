"""`syncdaemon put`: files into the replay directory, and with `--wait` their receipts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from syncdaemon.base.errors import ConnectTimeout
from syncdaemon.cli import interrupt
from syncdaemon.cli.say import say, say_json
from syncdaemon.client.errors import NoReplayDirectory, NotPut, Refused
from syncdaemon.client.outbox import Outbox, Ticket
from syncdaemon.client.receipts import TicketReceipt

_LOOK_SECONDS = 0.2  # between two looks whether a daemon answers
_NO_DAEMON_SECONDS = 5.0  # without an answer: one that is just started again is waited for


class FileToPut(NamedTuple):
    """A file, or the descriptor of standard input; where it goes below the replay directory, empty: its own name."""

    what: Path | int
    name: bytes = b""

    @property
    def shown(self) -> str:
        """For a message."""
        return "standard input" if isinstance(self.what, int) else str(self.what)


class Wishes(NamedTuple):
    """What is printed. `wait`: receipts are waited for, `seconds` long; `as_json`: a JSON object for each file."""

    wait: bool = False
    as_json: bool = False
    seconds: float | None = None


class _Placed(NamedTuple):
    path: Path
    ticket: Ticket


def complain(problem: str) -> None:
    """One line on standard error."""
    say(f"syncdaemon: {problem}", err=True)


def put_all(sources: Iterable[FileToPut | str], replay_dir: Path, wishes: Wishes) -> bool:
    """Puts them one after another; whether all went well. A text among them says why something can't be put.

    One that can't be put keeps no other from it. Raises ConnectTimeout where receipts are wanted and no daemon answers.
    """
    interrupt.clean_up()
    outbox = Outbox(replay_dir, trusted=[os.geteuid()])
    placed: list[_Placed] = []
    well = True
    for source in sources:
        try:
            if isinstance(source, str):
                raise NotPut(source)
            one = _put(outbox, source)
            placed.append(one)
            if not wishes.wait:
                _say_placed(one, wishes.as_json)
        except NoReplayDirectory:
            raise
        except NotPut as error:
            complain(str(error))
            well = False
    return (_wait_for(outbox, placed, wishes) if wishes.wait else True) and well


def _put(outbox: Outbox, source: FileToPut) -> _Placed:
    """Raises NotPut."""
    name = source.name
    if not name and isinstance(source.what, Path):
        name = os.fsencode(source.what.name)
    target = outbox.replay_dir / os.fsdecode(name)
    try:
        if isinstance(source.what, Path):
            return _Placed(target, outbox.put(source.what, name=name))
        with open(source.what, "rb", buffering=0, closefd=False) as file:
            return _Placed(target, outbox.put(file, name=name))
    except FileExistsError as error:
        raise NotPut(f"{target}: {error.strerror}") from None
    except NoReplayDirectory:
        raise
    except NotPut as error:
        raise NotPut(f"{source.shown}: {error}") from None


def _wait_for(outbox: Outbox, placed: Iterable[_Placed], wishes: Wishes) -> bool:
    """Says what became of each, in their order; whether all are delivered."""
    deadline = None if wishes.seconds is None else time.monotonic() + wishes.seconds
    waiting = [(one, one.ticket.future()) for one in placed]
    well = True
    for one, future in waiting:
        try:
            _say_delivered(one, _receipt(outbox, future, deadline), wishes.as_json)
        except (Refused, TimeoutError) as error:
            problem = error if isinstance(error, Refused) else one.ticket.late()
            _say_failed(one, problem, wishes.as_json)
            well = False
    return well


def _receipt(outbox: Outbox, future: Future[TicketReceipt], deadline: float | None) -> TicketReceipt:
    """Raises Refused; TimeoutError at the deadline, or ConnectTimeout where no daemon answers."""
    silent_since: float | None = None
    while True:
        now = time.monotonic()
        left = _LOOK_SECONDS if deadline is None else min(_LOOK_SECONDS, deadline - now)
        try:
            return future.result(max(0.0, left))
        except TimeoutError:
            now = time.monotonic()
            silent_since = None if outbox.away is None else silent_since or now
            is_late = deadline is not None and now >= deadline
            if silent_since is not None and (is_late or now - silent_since >= _NO_DAEMON_SECONDS):
                words = "what was put is on this machine's disk, and is delivered when a daemon runs"
                raise ConnectTimeout(f"{outbox.away}; {words}") from None
            if is_late:
                raise


def _say_placed(one: _Placed, as_json: bool) -> None:
    if as_json:
        say_json(json.dumps({"path": str(one.path), "ticket": str(one.ticket)}))
    else:
        say(str(one.path))


def _say_delivered(one: _Placed, receipt: TicketReceipt, as_json: bool) -> None:
    if as_json:
        say_json(json.dumps({"path": str(one.path), "state": "delivered", **receipt._asdict()}))
    else:
        was_there = ", which was there before" if receipt.duplicate else ""
        say(f"{one.path}: message {receipt.stream_seq} of {receipt.stream}{was_there}")


def _say_failed(one: _Placed, problem: Exception, as_json: bool) -> None:
    complain(str(problem))
    if as_json:
        state = {"state": "refused", "reason": problem.reason} if isinstance(problem, Refused) else {"state": "waiting"}
        say_json(json.dumps({"path": str(one.path), "ticket": str(one.ticket), **state}))
