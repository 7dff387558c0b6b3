"""What the rows of the ledger say: one maker for each kind of row, and one schema that every reader holds it to. Pure.

A maker returns the event and the fields that belong to it. The chain adds the fields that every row has. The schema
asks for the fields that version 0.1.0 wrote; a row may have others, and a ledger may have events of a later version.
The module has more than 250 lines because each maker stands beside the schema that it must keep.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes

from syncdaemon.base.model import Held, Receipt, Refusal, Row

OPEN = "open"
ATTEMPT = "attempt"
PUBLISHED = "published"
DUPLICATE = "duplicate"
REFUSED = "refused"
REQUEUED = "requeued"
HELD_LOST = "held_lost"
LINK = "link"
RECOVERED = "recovered"
CLOSE = "close"
CONTROL = "control"

MOST_IDS = 800  # of up to 73 characters, in one `attempt` row: an entry bundle takes rows of up to 65,535 bytes
Entry = tuple[str, Row]
"""A row to write: its event and its fields."""


class FieldKind(NamedTuple):
    """What a field may hold: a value of this very type, so `true` is no number; a number within `bounds`, if any."""

    words: str
    type: type[int | str | bool]
    bounds: range | None = None

    def fits(self, value: object) -> bool:
        """Whether a field of this kind may hold this value."""
        return type(value) is self.type and (self.bounds is None or value in self.bounds)


TEXT = FieldKind("a text", str)
FLAG = FieldKind("true or false", bool)
NUMBER = FieldKind("a whole number", int)
SEQUENCE = FieldKind("a whole number from 0 to 2^64 - 1", int, range(1 << 64))

OWN: Mapping[str, FieldKind] = {"v": NUMBER, "n": SEQUENCE, "prev": TEXT, "ts": TEXT, "site": TEXT, "event": TEXT}
"""The fields that every row has."""


class Schema(NamedTuple):
    """The fields of one kind of row beside `OWN`. `receipt`: the row says that the stream holds a file's content."""

    required: Mapping[str, FieldKind]
    optional: Mapping[str, FieldKind] = {}
    receipt: bool = False

    @property
    def fields(self) -> dict[str, FieldKind]:
        """All fields that this version writes."""
        return {**self.required, **self.optional}


_CONTENT = {"path": TEXT, "size": NUMBER, "sha256": TEXT}
_MESSAGE = {"msg_id": TEXT, "subject": TEXT, "stream": TEXT, "stream_seq": SEQUENCE}
_VERSION_OF_FILE = {"mtime_ns": NUMBER, "attempts": NUMBER}
_RECEIPT = Schema({**_CONTENT, **_MESSAGE, **_VERSION_OF_FILE}, {"object": TEXT}, receipt=True)
_LOST = Schema(
    {"path": TEXT, "sha256": TEXT, "stream_seq": SEQUENCE},
    {"size": NUMBER, "msg_id": TEXT, "stream": TEXT, "mtime_ns": NUMBER},
)

SCHEMA: Mapping[str, Schema] = {
    OPEN: Schema({"host": TEXT, "pid": NUMBER, "version": TEXT}),
    ATTEMPT: Schema({"first_seq": SEQUENCE, "count": NUMBER, "ids": TEXT, "open_since": NUMBER}, {"resolved": FLAG}),
    PUBLISHED: _RECEIPT._replace(optional={"object": TEXT, "sent_bytes": NUMBER}),
    DUPLICATE: _RECEIPT,
    REFUSED: Schema({**_CONTENT, **_VERSION_OF_FILE, "reason": TEXT, "error": TEXT}),
    REQUEUED: Schema({**_CONTENT, "reason": TEXT}, {"to": TEXT}),
    HELD_LOST: _LOST,
    LINK: Schema({"up": FLAG}, {"server_name": TEXT, "server_id": TEXT, "version": TEXT, "reason": TEXT}),
    RECOVERED: Schema({"bytes": NUMBER, "sha256": TEXT}),
    CLOSE: Schema({"rows": NUMBER}),
    CONTROL: Schema({"call": TEXT, "value": TEXT, "until": TEXT, "uid": NUMBER}),
}
"""Every event that this version knows."""

RECEIPTS = frozenset(event for event, schema in SCHEMA.items() if schema.receipt)
ABOUT_RECEIPTS = RECEIPTS | {HELD_LOST}
"""The events that say which receipts count: a `held_lost` row makes those before it void."""


def is_known(row: Mapping[str, Any]) -> bool:
    """Whether this version knows the event of a row."""
    return row["event"] in SCHEMA


def is_receipt(row: Mapping[str, Any]) -> bool:
    """Whether a row says that the stream holds a file's content."""
    return row["event"] in RECEIPTS


def fault(row: Mapping[str, Any]) -> str:
    """What is wrong with the fields of a row, in words; empty where nothing is, or where its event is not known."""
    schema = SCHEMA.get(row["event"])
    if schema is None:
        return ""
    for name, kind in schema.required.items():  # `fits` written out: `verify` comes here for every field of every row
        if type(row.get(name)) is not kind.type or (kind.bounds and row[name] not in kind.bounds):
            return _fault_of(row, name, kind)
    for name, kind in schema.optional.items():
        if name in row and not kind.fits(row[name]):
            return _fault_of(row, name, kind)
    return ""


def _fault_of(row: Mapping[str, Any], name: str, kind: FieldKind) -> str:
    if name not in row:
        return f"the {row['event']} row has no field {name!r}"
    return f"field {name!r} of the {row['event']} row is not {kind.words}"


def marks(events: Collection[str]) -> tuple[bytes, ...]:
    """What stands in a line of one of these events: much cheaper to look for than the line is to parse."""
    return tuple(b'"event":"%b"' % event.encode() for event in sorted(events))


def valid_receipts(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The receipts among these rows; not those of messages that the server has lost since."""
    receipts: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in found:
        if is_receipt(row):
            receipts.setdefault((row["stream_seq"], row["sha256"]), []).append(row)
        elif row["event"] == HELD_LOST:
            receipts.pop((row["stream_seq"], row["sha256"]), None)
    return [row for same in receipts.values() for row in same]


def opened(host: str, pid: int, version: str) -> Entry:
    """A process begins to write."""
    return OPEN, {"host": host, "pid": pid, "version": version}


def attempt(msg_ids: Sequence[str], first_seq: int, open_since: int, resolved: bool = False) -> Entry:
    """These messages will be sent now, and the stream can hold them from `first_seq` on.

    `open_since`: the row that the oldest open attempt begins with; 0: this one. `resolved`: the stream was looked
    through, and these alone are open from here on.
    """
    more = {"resolved": True} if resolved else {}
    ids = " ".join(msg_ids)
    return ATTEMPT, {"first_seq": first_seq, "count": len(msg_ids), "ids": ids, "open_since": open_since, **more}


def attempts(
    msg_ids: Sequence[str], first_seq: int, open_since: int, next_row: int, resolved: bool = False
) -> list[Entry]:
    """The same for any number of messages, in as many rows as it takes, all written together.

    `next_row`: a number that no row written from now on is below. Of several rows the last one is `resolved`: where a
    power cut leaves only those before it, the attempts from `open_since` on are open still.
    """
    parts = [msg_ids[at : at + MOST_IDS] for at in range(0, len(msg_ids), MOST_IDS)] or [msg_ids]
    last = [attempt(parts.pop(), first_seq, next_row if parts else 0, resolved=True)] if resolved else []
    return [attempt(part, first_seq, open_since or next_row * bool(at)) for at, part in enumerate(parts)] + last


def rows(receipts: Iterable[Receipt], refusals: Iterable[Refusal]) -> list[Entry]:
    """What became of a batch."""
    return [receipt_row(receipt) for receipt in receipts] + [refused(refusal) for refusal in refusals]


def receipt_row(receipt: Receipt) -> Entry:
    """The stream holds a file's content: `published` by us, or a `duplicate` of what was there before."""
    content = receipt.content
    row: dict[str, int | str | bool] = {
        "path": content.name,
        "size": content.stamp.size,
        "sha256": content.sha256,
        "msg_id": receipt.msg_id,
        "subject": receipt.subject,
        "stream": receipt.stream,
        "stream_seq": receipt.seq,
        "mtime_ns": content.stamp.mtime_ns,
        "attempts": content.attempts,
    }
    if receipt.object:
        row["object"] = receipt.object
    if content.packed and not receipt.duplicate:
        row["sent_bytes"] = len(content.data or b"")
    return DUPLICATE if receipt.duplicate else PUBLISHED, row


def refused(refusal: Refusal) -> Entry:
    """A file can't be delivered as it is, and goes to the quarantine."""
    content = refusal.content
    return REFUSED, {
        "path": content.name,
        "size": content.stamp.size,
        "sha256": content.sha256,
        "mtime_ns": content.stamp.mtime_ns,
        "attempts": content.attempts,
        "reason": refusal.reason,
        "error": refusal.detail,
    }


def requeued(path: bytes, to: bytes, size: int, digest: str, reason: str) -> Entry:
    """A refused file went from the quarantine back to its `path`, or `to` another place where that was taken."""
    elsewhere = {} if to == path else {"to": quote_from_bytes(to)}
    return REQUEUED, {"path": quote_from_bytes(path), "size": size, "sha256": digest, "reason": reason, **elsewhere}


def held_lost(found: Row) -> Entry:
    """The stream has lost the message of a held file. `found`: the row of its receipt, or `without_receipt`."""
    return HELD_LOST, {name: found[name] for name in _LOST.fields if name in found}


def without_receipt(held: Held) -> Row:
    """The fields of a `held_lost` row for a file whose receipt is not in the ledger: its files were moved away."""
    return {"path": f"held-{held.sha256}", "sha256": held.sha256, "stream_seq": held.seq}


def link_up(server: Mapping[str, str]) -> Entry:
    """There is a connection. `server`: its own words on who it is."""
    return LINK, {"up": True, **server}


def link_down(reason: str) -> Entry:
    """The connection is gone."""
    return LINK, {"up": False, "reason": reason}


def recovered(torn: bytes) -> Entry:
    """This row stands in the place of the start of a row that a crash or a power cut broke off."""
    return RECOVERED, {"bytes": len(torn), "sha256": sha256(torn).hexdigest()}


def control(call: str, value: str, until: str, uid: int) -> Entry:
    """An operator changed how the daemon works. `until`: RFC 3339; empty: the next order, or the process' end."""
    return CONTROL, {"call": call, "value": value, "until": until, "uid": uid}


def closed(count: int) -> Entry:
    """A process ends, which wrote so many rows, this one included."""
    return CLOSE, {"rows": count}
