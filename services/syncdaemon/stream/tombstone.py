"""What stands on a file's subject when the file was received and its message freed. Pure.

A tombstone has no body and names no file. A reader leaves it in the message's place (`Nats-Rollup: sub`), so that the
subject stays taken: the stream goes on refusing a second copy, and no longer stores the content. The server leaves one
itself where a stream has `subject_delete_marker_ttl` and a message grows too old (`Nats-Marker-Reason`, ADR-43,
nats-server 2.11).

A tombstone proves nothing: whoever may publish on the subject can have written it.
"""

from __future__ import annotations

from collections.abc import Mapping

EDGE = "Edge-Tombstone"
_MARKS = (EDGE, "Nats-Rollup", "Nats-Marker-Reason")
_FILE = ("Edge-Sha256", "Edge-Object")  # each of them stands in the message of a file


def is_tombstone(headers: Mapping[str, str], size: int) -> bool:
    """Whether a message with these headers and a body of `size` bytes is one."""
    return not size and any(mark in headers for mark in _MARKS) and not any(name in headers for name in _FILE)
