"""What a message is to the other end, given its headers: a file to write, or a message to reject. Pure.

`Edge-Path` is percent-encoded raw bytes. A path that could lead anywhere but below its site's folder is rejected, and
so is one that no file system can hold; neither is bent into something else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from syncdaemon.stream.object_format import ObjectPlace
from syncdaemon.stream.pulled import DeliveryInfo
from syncdaemon.stream.stored import header_fields

LONGEST_NAME = 255  # bytes: NAME_MAX of every file system in use on Linux
LONGEST_PATH = 4096  # bytes: PATH_MAX of Linux
MOST_FOLDERS = 64  # each is a descriptor that is open at the same time
OBJECT_TRIES = 500  # deliveries, over more than three days, until an object that does not come is given up

LARGEST_MESSAGE = 64 << 20  # bytes: the most that a nats-server may be told to take (2.15)
MOST_UNPACKED = 128 << 10  # bytes that a block of zstd becomes, at most (RFC 8878, 3.1.1.2.4)
LEAST_BLOCK = 4  # bytes of such a block: its header, and the one byte that is repeated

DISK_FULL, WRITE_ERROR = "disk_full", "write_error"
OBJECT_MISSING, OBJECT_DENIED, OBJECT_CUT = "object_missing", "object_denied", "object_cut"
NO_ROOM = "no_room"
NOT_FREED = "not_freed"
NO_SITE = "?"  # stands for the site of messages that name none

_SITE = re.compile(r"[a-z0-9-]{1,63}")
_PATH = re.compile(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"-?[0-9]{1,19}")
_LARGEST = 2**63 - 1  # bytes: what a file system can count


class Arrival(NamedTuple):
    """A message as it was delivered. `reply` takes its acknowledgement and says which delivery this is."""

    subject: bytes
    reply: bytes
    data: bytes
    headers: bytes | None


class Wanted(NamedTuple):
    """The file that a message stands for. `mtime_ns` is None where the message does not say it."""

    site: str
    path: tuple[bytes, ...]
    sha256: str
    size: int
    mtime_ns: int | None
    zstd: bool
    object: ObjectPlace | None


class Rejected(NamedTuple):
    """No file can be made of this message, however often it comes. `kept`: it was set aside; else it was left out."""

    reason: str
    detail: str
    kept: bool = True


class Item(NamedTuple):
    """A message, which delivery of it this is, and what it stands for.

    `site` answers for it: what is kept of a rejected message takes this site's room. That is not always the site that
    the message names, which anybody can write into it. Empty: that one all the same.
    """

    arrival: Arrival
    delivery: DeliveryInfo
    wanted: Wanted | Rejected | Retry | Freed
    site: str = ""

    @property
    def seq(self) -> int:
        """The message's number in its stream."""
        return self.delivery.seq

    @property
    def times(self) -> int:
        """How often it has been delivered by now."""
        return self.delivery.times

    @property
    def subject(self) -> bytes:
        """The message's subject."""
        return self.arrival.subject

    @property
    def data(self) -> bytes:
        """The message's body."""
        return self.arrival.data

    @property
    def is_object(self) -> bool:
        """Whether the file lies in an object store."""
        return isinstance(self.wanted, Wanted) and self.wanted.object is not None


class Placed(NamedTuple):
    """The file is in its place: `how` is `written`, `beside` (its name was taken) or `unchanged` (it was there)."""

    how: str
    size: int


class Retry(NamedTuple):
    """The message can't be taken now. Later it can."""

    reason: str
    detail: str

    @property
    def disk(self) -> bool:
        """Whether our own disk is in the way: then no other message could be taken either."""
        return self.reason in (DISK_FULL, WRITE_ERROR)


class Freed(NamedTuple):
    """A tombstone: somebody received the content of this subject before, and freed its message. No file is written."""


Outcome = Placed | Rejected | Retry | Freed


def read(headers: bytes | None) -> Wanted | Rejected:
    """The file that these headers describe."""
    fields = header_fields(headers or b"")
    missing = [name for name in ("Edge-Site", "Edge-Path", "Edge-Sha256", "Edge-Size") if name not in fields]
    if missing:
        return Rejected("header_missing", f"without {', '.join(missing)} this is not a file's message")
    try:
        return _wanted(fields)
    except _Bad as error:
        return error.rejected


def site_of(fields: Mapping[str, str]) -> str:
    """The site that a message's headers name; NO_SITE where they name none, or what is no site label."""
    site = fields.get("Edge-Site", "")
    return site if _SITE.fullmatch(site) else NO_SITE


def unfit(wanted: Wanted, stored: int, pieces: int = 1) -> Rejected | None:
    """Why so many bytes, stored in so many messages, can't be the file that was announced; None where they can be.

    This is known before anything is written, and before anybody asks whether the disk has room for the file.
    """
    if stored > pieces * LARGEST_MESSAGE or pieces > max(stored, 1):
        return Rejected("object_wrong", f"{pieces} chunks can't be the {stored} bytes that its meta tells")
    if wanted.zstd:
        most = (stored // LEAST_BLOCK + 1) * MOST_UNPACKED
        if wanted.size > most:
            return Rejected("too_short", f"it becomes {most} bytes at most, and its Edge-Size is {wanted.size}")
        return None
    if stored > wanted.size:
        return Rejected("too_long", f"it has {stored} bytes, and its Edge-Size is {wanted.size}")
    if stored < wanted.size:
        return Rejected("too_short", f"it has {stored} bytes, and its Edge-Size is {wanted.size}")
    return None


class _Bad(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.rejected = Rejected(reason, detail)


def _wanted(fields: dict[str, str]) -> Wanted:
    site, sha256 = fields["Edge-Site"], fields["Edge-Sha256"]
    if not _SITE.fullmatch(site):
        raise _Bad("bad_header", f"Edge-Site is no site label: {site[:80]!r}")
    if not _SHA256.fullmatch(sha256):
        raise _Bad("bad_header", f"Edge-Sha256 is no SHA-256 in small hexadecimal digits: {sha256[:80]!r}")
    size = _number(fields, "Edge-Size")
    if size is None or size < 0:
        raise _Bad("bad_header", f"Edge-Size is no size: {fields['Edge-Size'][:80]!r}")
    encoding = fields.get("Content-Encoding", "")
    if encoding not in ("", "zstd"):
        raise _Bad("unknown_encoding", f"Content-Encoding is {encoding[:80]!r}; zstd is known here")
    path = _path(fields["Edge-Path"])
    return Wanted(site, path, sha256, size, _number(fields, "Edge-Mtime-Ns"), encoding == "zstd", _object(fields))


def _number(fields: dict[str, str], name: str) -> int | None:
    text = fields.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text) or abs(int(text)) > _LARGEST:
        raise _Bad("bad_header", f"{name} is no whole number of 64 bits: {text[:80]!r}")
    return int(text)


def _object(fields: dict[str, str]) -> ObjectPlace | None:
    text = fields.get("Edge-Object")
    if text is None:
        return None
    if (place := ObjectPlace.of(text)) is None:
        raise _Bad("bad_header", f"Edge-Object is not <bucket>/<name>: {text[:80]!r}")
    return place


def _path(text: str) -> tuple[bytes, ...]:
    if not _PATH.fullmatch(text):
        raise _Bad("bad_path", f"Edge-Path is not percent-encoded: {text[:80]!r}")
    raw = unquote_to_bytes(text)
    parts = tuple(raw.split(b"/"))
    if any(part in (b"", b".", b"..") for part in parts) or b"\0" in raw:
        raise _Bad("bad_path", f"Edge-Path has an empty name, a '.', a '..' or a NUL in it: {text[:80]!r}")
    if len(raw) > LONGEST_PATH or max(map(len, parts)) > LONGEST_NAME or len(parts) > MOST_FOLDERS + 1:
        limits = f"{LONGEST_NAME} bytes a name, {LONGEST_PATH} in all and {MOST_FOLDERS} folders"
        raise _Bad("path_too_long", f"Edge-Path goes over {limits}: {text[:80]!r}")
    return parts


def beside(name: bytes, sha256: str) -> bytes:
    """The name to take where another content, or something else than a folder, has this one already."""
    return b"%b~%b" % (name, sha256[:16].encode())


def retry_seconds(outcome: Retry, times: int) -> float:
    """How long a message that could not be taken stays away, when it has been delivered so many times."""
    ceiling = 60.0 if outcome.disk else 600.0
    return min(ceiling, 5.0 * 2.0 ** min(times - 1, 16))


def given_up(outcome: Outcome, times: int) -> Rejected | None:
    """The end of an object that has not come in so many deliveries of its message; None to go on waiting for it."""
    if isinstance(outcome, Retry) and outcome.reason in (OBJECT_MISSING, OBJECT_CUT) and times >= OBJECT_TRIES:
        return Rejected(outcome.reason, f"{outcome.detail}; given up after {times} deliveries")
    return None
