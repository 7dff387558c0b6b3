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

from syncdaemon.base import taken
from syncdaemon.base.beneath import FOLDER, LISTING, make_beneath, names_in, open_beneath
from syncdaemon.base.disk import PRIVATE, fsync_dir, read_small, rename_new, write_durably
from syncdaemon.spool.home import ReplayDirectory
from syncdaemon.spool.moves import NAME_MAX, At, free_name, there
from syncdaemon.spool.quarantine import SIDECAR, Entry
from syncdaemon.spool.rights import act_as_owner

_ORDER = b".json"
_KINDS = {"name": str, "path": str, "to": str, "size": int, "sha256": str, "reason": str}
_LARGEST = 1 << 20  # bytes of an order
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
    act_as_owner(directory)
    orders = ask(directory, wanted)
    deadline = time.monotonic() + patience
    while any(_stands(directory, order) for order in orders) and directory.in_use():
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
    return there(At(directory.requeue, _file(order.name)))


def _outcome(directory: ReplayDirectory, order: Order, otherwise: str) -> Done:
    """Whether the daemon has moved it."""
    return Done(order, otherwise if there(At(directory.quarantine, order.name)) else "")


def ask(directory: ReplayDirectory, wanted: Iterable[Entry]) -> list[Order]:
    """Leaves an order for each of these files. Raises OSError; the orders before stand then."""
    directory.make_requeue()
    with _alone(directory):
        return [_write(directory, _order(directory, entry)) for entry in wanted]


def _order(directory: ReplayDirectory, entry: Entry) -> Order:
    path = entry.path if _deliverable(entry.path) else _plain(entry.name)
    return Order(entry.name, path, _free(directory, path), entry.size, entry.sha256, entry.reason)


def _free(directory: ReplayDirectory, path: bytes) -> bytes:
    """This path in the replay directory, or a free one beside it."""
    above, _, name = path.rpartition(b"/")
    try:
        folder = open_beneath(directory.root, above, FOLDER)
    except OSError:  # it is made, or another place found, when the file goes there
        return path
    try:
        return os.path.join(above, free_name(At(folder, name)))
    finally:
        os.close(folder)


def _deliverable(path: bytes) -> bool:
    """Whether a sidecar's path is one that the daemon could have taken a file from. A sidecar can be tampered with."""
    parts = path.split(b"/")
    strange = any(part in (b"", b"..") or len(part) > NAME_MAX for part in parts) or b"\0" in path
    return not strange and not taken.path_ignored(path)


def _plain(name: bytes) -> bytes:
    """A name in the replay directory itself, for a file whose place is not known or not to be had any more."""
    return b"requeued-" + name[: NAME_MAX - 20] + b"~" if taken.ignored(name) else name


def pending(directory: ReplayDirectory) -> list[Order]:
    """The orders that still have to be carried out or recorded."""
    try:
        found = names_in(directory.requeue)
    except FileNotFoundError:
        return []
    return [order for name in sorted(found) if name.endswith(_ORDER) and (order := _load(directory, name)) is not None]


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
        os.unlink(order.name + SIDECAR, dir_fd=directory.quarantine)
        fsync_dir(directory.quarantine)
    return Done(order, "")


def _move(directory: ReplayDirectory, order: Order) -> Order:
    """Out of the quarantine, if it is still there, and durable at its new place. The order with that place."""
    source = At(directory.quarantine, order.name)
    while there(source):
        above, _, name = order.to.rpartition(b"/")
        try:
            folder = make_beneath(directory.root, above)
        except (FileExistsError, NotADirectoryError):  # what was a folder is a file by now, or a symlink
            order = _elsewhere(directory, order, _plain(order.name))
            continue
        try:
            rename_new(source.name, name, source.folder, folder)
            fsync_dir(folder)
        except FileNotFoundError:  # the file or its new folder went away this very moment
            continue
        except FileExistsError:
            order = _elsewhere(directory, order, order.to)
        finally:
            os.close(folder)
    return order


def _elsewhere(directory: ReplayDirectory, order: Order, to: bytes) -> Order:
    """The place is taken: the order names another one before the file goes there."""
    return _write(directory, order._replace(to=_free(directory, to)))


def forget(directory: ReplayDirectory, orders: Sequence[Order]) -> None:
    """Removes these orders: each is recorded, or could not be carried out."""
    for order in orders:
        with suppress(FileNotFoundError):
            os.unlink(_file(order.name), dir_fd=directory.requeue)
    if orders:
        fsync_dir(directory.requeue)


@contextmanager
def _alone(directory: ReplayDirectory, wait: bool = True) -> Iterator[None]:
    """No other process carries out orders meanwhile. Raises BlockingIOError where one does and we do not wait."""
    fd = os.open(b".", LISTING, dir_fd=directory.requeue)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(fd)


def _file(name: bytes) -> bytes:
    """The name of the order for the file that has this name in the quarantine."""
    return sha256(name).hexdigest().encode() + _ORDER


def _write(directory: ReplayDirectory, order: Order) -> Order:
    fields: dict[str, Any] = order._asdict()
    fields |= {field: quote_from_bytes(fields[field]) for field in ("name", "path", "to")}
    text = json.dumps(fields, indent=2, sort_keys=True).encode() + b"\n"
    write_durably(_file(order.name), text, directory.requeue, PRIVATE)
    return order


def _load(directory: ReplayDirectory, name: bytes) -> Order | None:
    """The order in this file; None for what is none."""
    try:
        fields = json.loads(read_small(name, directory.requeue, _LARGEST))
        if not isinstance(fields, dict) or any(type(fields.get(field)) is not kind for field, kind in _KINDS.items()):
            return None
        raw = {field: unquote_to_bytes(fields[field]) for field in ("name", "path", "to")}
    except (OSError, ValueError, RecursionError):
        return None
    order = Order(**raw, size=fields["size"], sha256=fields["sha256"], reason=fields["reason"])
    ours = name == _file(order.name) and _is_name(order.name)
    return order if ours and _deliverable(order.to) else None


def _is_name(name: bytes) -> bool:
    """Whether a file of the quarantine can be called so."""
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name
