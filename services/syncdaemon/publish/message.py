"""A file as a message: its id, its subject and its headers, and what a message in the stream tells. Pure.

File names are never put into a header or a subject raw: `Edge-Path` is percent-encoded, everything else is our own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from syncdaemon.base import packing
from syncdaemon.base.model import Content, Stamp
from syncdaemon.stream.object_format import BucketNames


@dataclass(frozen=True)
class MessageSettings:
    """`subject_for` makes the subject from a message id; `identity` is SYNC_MSG_ID; `stream` must store it.

    `per_digest`: the subject holds the id, so that the stream itself can refuse a second copy. `bucket`: where the
    content of a file lies that is too large for a message.
    """

    site: str
    stream: str
    identity: str
    per_digest: bool
    subject_for: Callable[[str], str]
    bucket: BucketNames = field(kw_only=True)

    def object_of(self, digest: str) -> str:
        """The object that has this content, as `Edge-Object` names it."""
        return self.bucket.object_of(digest)


class Message(NamedTuple):
    """What is sent for a file. `object`: what has the content, where the message itself has not.

    `size`: bytes with the headers: what the server holds against its `max_payload`.
    """

    content: Content
    msg_id: str
    subject: str
    headers: bytes
    body: bytes
    size: int
    object: str = ""


def encode(content: Content, settings: MessageSettings, object: str = "") -> Message:
    """The message of a file, or the one that names the `object` that has its content.

    On a subject per digest it carries `Nats-Expected-Last-Subject-Sequence: 0`: the server refuses it with 10071
    where the subject holds a message already, this year or next (nats-server 2.15).
    """
    msg_id = message_id(content, settings.site, settings.identity)
    encoding = packing.HEADER if content.packed else ""
    once = "Nats-Expected-Last-Subject-Sequence: 0\r\n" if settings.per_digest else ""
    elsewhere = f"Edge-Object: {object}\r\n" if object else ""
    headers = (
        f"NATS/1.0\r\nNats-Msg-Id: {msg_id}\r\nNats-Expected-Stream: {settings.stream}\r\n{once}"
        f"Edge-Site: {settings.site}\r\nEdge-Path: {content.name}\r\nEdge-Sha256: {content.sha256}\r\n"
        f"Edge-Size: {content.stamp.size}\r\nEdge-Mtime-Ns: {content.stamp.mtime_ns}\r\n"
        f"{encoding}{elsewhere}\r\n"
    ).encode()
    body = b"" if object else content.data or b""
    return Message(content, msg_id, settings.subject_for(msg_id), headers, body, len(headers) + len(body), object)


def overhead(settings: MessageSettings) -> int:
    """The most bytes that the headers of a file's message have, its percent-encoded name not counted."""
    largest = 10**18
    return len(encode(Content(b"", "", Stamp(0, 0, largest, largest, 0), b"", "0" * 64, 1), settings).headers)


def message_id(content: Content, site: str, identity: str) -> str:
    """The id of a file's message: its content's SHA-256, or one over the site, the path and it."""
    if identity == "content":
        return content.sha256
    parts = [site] if identity == "site" else [site, content.name]
    return sha256("\0".join([identity, *parts, content.sha256]).encode()).hexdigest()


def is_of(headers: Mapping[str, str], content: Content, site: str) -> bool:
    """Whether a message with these headers was sent by us, for this very version of the file."""
    told = (headers.get("Edge-Site"), headers.get("Edge-Path"), headers.get("Edge-Mtime-Ns"))
    return told == (site, content.name, str(content.stamp.mtime_ns))
