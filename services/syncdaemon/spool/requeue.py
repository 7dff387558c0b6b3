"""The way back out of the quarantine, for files that can be delivered by now.

The operator's command leaves an *order* in `requeue/`. It is durable: from then on, a crash of either process cannot
prevent it. One process at a time carries orders out, under the lock of that folder: the daemon where one runs, else the
command itself. Every step can be repeated. The order stays until the daemon has its row in the ledger, which only the
daemon writes: after a crash the row may be there twice, but it is never missing.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from syncdaemon.base.disk import fsync_dir, is_locked, make_dirs, rename_new, write_durably
from syncdaemon.spool import settle
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.moves import NAME_MAX, below, free_name
from syncdaemon.spool.quarantine import SIDECAR, Entry

_ORDER = b".json"
_KINDS = {"name": str, "path": str, "to": str, "size": int, "sha256": str, "reason": str}
_POLL_SECONDS = 0.05


class Order(NamedTuple):
    """A file of the quarantine that is to go back.

    `name` is its name there, `path` where it was taken from, `to` where it goes: raw bytes, the last two
    relative to the replay directory.
    """

    name: bytes
    path: bytes
    to: bytes
    size: int
    sha256: str
    reason: str


class Done(NamedTuple):
    """What became of an order. `problem`: the file is still in quarantine, and why."""

    order: Order
    problem: str


def send_back(directory: ReplayDirectory, wanted: Sequence[Entry], patience: float) -> list[Done]:
    """Has these files put back: by the daemon where one runs, so that their row comes before their delivery; else here.

    What a running daemon has not done within so many seconds is still to be done. Raises OSError.
    """
    if not wanted:
        return []
    directory.act_as_owner()
    orders = ask(directory, wanted)
    deadline = time.monotonic() + patience
    while any(_stands(directory, order) for order in orders) and is_locked(directory.lock):
        if time.monotonic() > deadline:
            return [
                _outcome(directory, order, "the daemon will put it back as soon as its ledger takes rows")
                for order in orders
            ]
        time.sleep(_POLL_SECONDS)
    names = {order.name for order in orders}
    done = [one for one in carry_out(directory) if one.order.name in names]
    forget(directory, [order for order, problem in done if problem])
    here = {order.name for order, _ in done}
    return done + [
        _outcome(directory, order, "the daemon's log says why") for order in orders if order.name not in here
    ]


def _stands(directory: ReplayDirectory, order: Order) -> bool:
    return os.path.lexists(_path(directory, order.name))


def _outcome(directory: ReplayDirectory, order: Order, otherwise: str) -> Done:
    """Whether the daemon has moved it."""
    return Done(order, otherwise if os.path.lexists(os.path.join(directory.quarantine, order.name)) else "")


def ask(directory: ReplayDirectory, wanted: Iterable[Entry]) -> list[Order]:
    """Leaves an order for each of these files. Raises OSError; the orders before stand then."""
    make_dirs(directory.requeue)
    with _alone(directory):
        return [_write(directory, _order(directory, entry)) for entry in wanted]


def _order(directory: ReplayDirectory, entry: Entry) -> Order:
    path = entry.path if _deliverable(directory, entry.path) else _plain(entry.name)
    to = os.path.relpath(free_name(os.path.join(directory.replay_dir, path)), directory.replay_dir)
    return Order(entry.name, path, to, entry.size, entry.sha256, entry.reason)


def _deliverable(directory: ReplayDirectory, path: bytes) -> bool:
    """Whether a sidecar's path is one that the daemon could have taken a file from. A sidecar can be tampered with."""
    parts = path.split(b"/")
    strange = any(part in (b"", b"..") or len(part) > NAME_MAX for part in parts) or b"\0" in path
    return not strange and not settle.path_ignored(path) and below(directory.replay_dir, path)


def _plain(name: bytes) -> bytes:
    """A name in the replay directory itself, for a file whose place is not known or not to be had any more."""
    return b"requeued-" + name[: NAME_MAX - 20] + b"~" if settle.ignored(name) else name


def pending(directory: ReplayDirectory) -> list[Order]:
    """The orders that still have to be carried out or recorded."""
    try:
        there = os.listdir(directory.requeue)
    except FileNotFoundError:
        return []
    return [order for name in sorted(there) if name.endswith(_ORDER) and (order := _load(directory, name)) is not None]


def carry_out(directory: ReplayDirectory, wait: bool = True) -> list[Done]:
    """Carries out all orders. Without `wait`: none, while another process is at it."""
    if not pending(directory):
        return []
    try:
        with _alone(directory, wait):
            return [_carry_out_one(directory, order) for order in pending(directory)]
    except BlockingIOError:
        return []


def _carry_out_one(directory: ReplayDirectory, order: Order) -> Done:
    try:
        order = _move(directory, order)
    except OSError as error:
        return Done(order, error.strerror or str(error))
    with suppress(OSError):  # there is none, or the next start removes it: a reason without its file
        os.unlink(os.path.join(directory.quarantine, order.name + SIDECAR))
        fsync_dir(directory.quarantine)
    return Done(order, "")


def _move(directory: ReplayDirectory, order: Order) -> Order:
    """Out of the quarantine, if it is still there, and durable at its new place. The order with that place."""
    source = os.path.join(directory.quarantine, order.name)
    while os.path.lexists(source):
        place = os.path.join(directory.replay_dir, order.to)
        try:
            make_dirs(os.path.dirname(place), directory.replay_dir)
            rename_new(source, place)
        except FileNotFoundError:  # the file or its new folder went away this very moment
            continue
        except NotADirectoryError:  # what was a folder is a file by now
            order = _elsewhere(directory, order, _plain(order.name))
        except FileExistsError:
            at = order.to if os.path.lexists(place) else _plain(order.name)  # else the same, of a folder
            order = _elsewhere(directory, order, at)
        else:
            fsync_dir(os.path.dirname(place))
    return order


def _elsewhere(directory: ReplayDirectory, order: Order, to: bytes) -> Order:
    """The place is taken: the order names another one before the file goes there."""
    place = free_name(os.path.join(directory.replay_dir, to))
    return _write(directory, order._replace(to=os.path.relpath(place, directory.replay_dir)))


def forget(directory: ReplayDirectory, orders: Sequence[Order]) -> None:
    """Removes these orders: each is recorded, or could not be carried out."""
    for order in orders:
        with suppress(FileNotFoundError):
            os.unlink(_path(directory, order.name))
    if orders:
        fsync_dir(directory.requeue)


@contextmanager
def _alone(directory: ReplayDirectory, wait: bool = True) -> Iterator[None]:
    """No other process carries out orders meanwhile. Raises BlockingIOError where one does and we do not wait."""
    fd = os.open(directory.requeue, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(fd)


def _path(directory: ReplayDirectory, name: bytes) -> bytes:
    return os.path.join(directory.requeue, sha256(name).hexdigest().encode() + _ORDER)


def _write(directory: ReplayDirectory, order: Order) -> Order:
    fields: dict[str, Any] = order._asdict()
    fields |= {field: quote_from_bytes(fields[field]) for field in ("name", "path", "to")}
    write_durably(_path(directory, order.name), json.dumps(fields, indent=2, sort_keys=True).encode() + b"\n")
    return order


def _load(directory: ReplayDirectory, name: bytes) -> Order | None:
    """The order in this file; None for what is none."""
    try:
        with open(os.path.join(directory.requeue, name), "rb") as file:
            fields = json.loads(file.read())
        if not isinstance(fields, dict) or any(type(fields.get(field)) is not kind for field, kind in _KINDS.items()):
            return None
        raw = {field: unquote_to_bytes(fields[field]) for field in ("name", "path", "to")}
    except (OSError, ValueError, RecursionError):
        return None
    order = Order(**raw, size=fields["size"], sha256=fields["sha256"], reason=fields["reason"])
    ours = name == os.path.basename(_path(directory, order.name)) and not set(b"/\0") & set(order.name)
    return order if ours and _deliverable(directory, order.to) else None
