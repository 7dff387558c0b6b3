"""A message as the stream gives it back. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

from syncdaemon.base import packing
from syncdaemon.stream import fields
from syncdaemon.stream.tombstone import is_tombstone


class StoredMessage(NamedTuple):
    """A message as the stream gives it back. `at`: when it was stored, by the server's clock; None: not said."""

    seq: int
    subject: str
    headers: dict[str, str]
    data: bytes
    at: datetime | None = None

    @classmethod
    def from_api(cls, message: Mapping[str, Any]) -> StoredMessage:
        """From the `message` of a STREAM.MSG.GET answer (JetStream API v1: headers and data are base64).

        Raises ValueError where it is not such a message.
        """
        seq, subject = fields.sequence(message.get("seq")), fields.text(message.get("subject"))
        block, data, at = (message.get(name) for name in ("hdrs", "data", "time"))
        return cls(seq, subject, header_fields(_bytes(block)), _bytes(data), None if at is None else fields.moment(at))

    @property
    def msg_id(self) -> str:
        """The id by which the server tells a second copy; empty where the message has none."""
        return self.headers.get("Nats-Msg-Id", "")

    @property
    def object(self) -> str:
        """Bucket and name of the object that has the content; empty where the message has it itself."""
        return self.headers.get("Edge-Object", "")

    @property
    def is_tombstone(self) -> bool:
        """Whether it only says that the message before it was received and freed."""
        return is_tombstone(self.headers, len(self.data))

    def holds(self, digest: str, size: int) -> bool:
        """Whether the body is a content of this digest and size, as it is or packed. No header is believed."""
        if self.headers.get("Content-Encoding") == "zstd":
            return packing.digest(self.data, size) == digest
        return sha256(self.data).hexdigest() == digest


def _bytes(value: object) -> bytes:
    """Of base64; nothing where the field is missing."""
    return b"" if value is None else base64.b64decode(fields.text(value), validate=True)


def header_fields(block: bytes) -> dict[str, str]:
    """The fields of a header block (ADR-4)."""
    lines = block.decode(errors="replace").split("\r\n")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines[1:]) if name}
