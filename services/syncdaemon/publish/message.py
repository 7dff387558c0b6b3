"""A file as a message: its id, its subject and its headers; and whose file a message in the stream is. Pure.

A header or a subject never holds a raw file name: `Edge-Path` is percent-encoded, and we make up everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from syncdaemon.base import packing
from syncdaemon.base.model import Content, Stamp
from syncdaemon.link.frame import block_of
from syncdaemon.stream.object_format import BucketNames

_FIELDS = 7  # headers that every message has
_NAME = 255  # bytes of a file's name, as long as one can be


@dataclass(frozen=True)
class MessageSettings:
    """`subject_for` makes the subject from a message id; `identity` is SYNC_MSG_ID; `stream` must store it.

    `per_digest`: the subject holds the id, so that the stream itself can refuse a second copy. `bucket`: where the
    content of a file lies that is too large for a message; `former`: where earlier versions put it, or None.
    `freed_counts`: a tombstone on a file's subject counts as its message (SYNC_TOMBSTONES=delivered).
    """

    site: str
    stream: str
    identity: str
    per_digest: bool
    subject_for: Callable[[str], str]
    bucket: BucketNames = field(kw_only=True)
    former: BucketNames | None = field(kw_only=True, default=None)
    freed_counts: bool = field(kw_only=True, default=False)

    def object_of(self, digest: str) -> str:
        """The object that has this content, as `Edge-Object` names it."""
        return self.bucket.object_of(digest)


class Message(NamedTuple):
    """What is sent for a file. `object`: the name of the object that has the content, where the message has not.

    `size`: bytes of body and headers together, which the server compares with its `max_payload`.
    """

    content: Content
    msg_id: str
    subject: str
    headers: bytes
    body: bytes
    size: int
    object: str = ""


def encode(content: Content, settings: MessageSettings, object: str = "", afresh: str = "") -> Message:
    """The message of a file, or the message that names the `object` with the file's content.

    `afresh`: what stands behind the id of a message that is sent once more, because the server knows its id from
    another message. Its subject is the same.

    On a subject per digest it carries `Nats-Expected-Last-Subject-Sequence: 0`. The server then refuses it with 10071
    where the subject holds a message already, however old that is (nats-server 2.15).

    Raises Unsendable where a header would be more than its own line.
    """
    msg_id = message_id(content, settings.site, settings.identity)
    sent_id = f"{msg_id}.{afresh}" if afresh else msg_id
    once = "Nats-Expected-Last-Subject-Sequence: 0\r\n" if settings.per_digest else ""
    encoding = packing.HEADER if content.packed else ""
    elsewhere = f"Edge-Object: {object}\r\n" if object else ""
    text = (
        f"Nats-Msg-Id: {sent_id}\r\nNats-Expected-Stream: {settings.stream}\r\n{once}"
        f"Edge-Site: {settings.site}\r\nEdge-Path: {content.name}\r\nEdge-Sha256: {content.sha256}\r\n"
        f"Edge-Size: {content.stamp.size}\r\nEdge-Mtime-Ns: {content.stamp.mtime_ns}\r\n{encoding}{elsewhere}"
    )
    headers = block_of(text, _FIELDS + bool(once) + bool(encoding) + bool(elsewhere))
    body = b"" if object else content.data or b""
    return Message(content, sent_id, settings.subject_for(msg_id), headers, body, len(headers) + len(body), object)


def overhead(settings: MessageSettings) -> int:
    """The most bytes that the headers of a file's message can have without its percent-encoded name."""
    largest = 10**18
    return len(encode(Content(b"", "", Stamp(0, 0, largest, largest, 0), b"", "0" * 64, 1), settings).headers)


def least(settings: MessageSettings) -> int:
    """Bytes that a message must be able to have: those of any file's headers, whose name needs no longer spelling.

    Where a server takes less, it is the server that is wrong, and no file.
    """
    return overhead(settings) + len(f"Edge-Object: {settings.object_of('0' * 64)}\r\n") + _NAME


def message_id(content: Content, site: str, identity: str) -> str:
    """The id of a file's message: the SHA-256 of its content, or one over site, path and that."""
    if identity == "content":
        return content.sha256
    parts = [site] if identity == "site" else [site, content.name]
    return sha256("\0".join([identity, *parts, content.sha256]).encode()).hexdigest()


def is_of(headers: Mapping[str, str], content: Content, site: str) -> bool:
    """Whether a message with these headers was sent by us, for this very version of the file."""
    version = (headers.get("Edge-Site"), headers.get("Edge-Path"), headers.get("Edge-Mtime-Ns"))
    return version == (site, content.name, str(content.stamp.mtime_ns))
