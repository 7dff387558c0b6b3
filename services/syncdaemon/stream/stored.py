"""A message as the stream gives it back. Pure."""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import Any, NamedTuple

from syncdaemon.base import packing
from syncdaemon.base.model import Content


class StoredMessage(NamedTuple):
    """A message as the stream gives it back."""

    seq: int
    subject: str
    headers: dict[str, str]
    data: bytes

    @classmethod
    def from_api(cls, message: dict[str, Any]) -> StoredMessage:
        """From the `message` of a STREAM.MSG.GET answer (JetStream API v1: headers and data are base64)."""
        return cls(
            int(message["seq"]),
            str(message["subject"]),
            header_fields(base64.b64decode(message.get("hdrs", ""))),
            base64.b64decode(message.get("data", "")),
        )

    def holds(self, msg_id: str, content: Content) -> bool:
        """Whether this is the message of that id, or at least has that content."""
        if self.headers.get("Nats-Msg-Id") == msg_id:
            return True
        if self.headers.get("Content-Encoding") == "zstd":
            return packing.digest(self.data, content.stamp.size) == content.sha256
        return sha256(self.data).hexdigest() == content.sha256


def header_fields(block: bytes) -> dict[str, str]:
    """The fields of a header block (ADR-4)."""
    lines = block.decode(errors="replace").split("\r\n")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines[1:]) if name}
