"""A checkpoint on its way to whoever keeps it: the body of C2SP tlog-witness `add-checkpoint`. Pure.

It has the size of a checkpoint that the other one has already, the hashes which show that the new one goes on from
there, and the new one. So who kept the old one needs nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

from syncdaemon.evidence.strict import BadEvidence, base64_text, decimal, hash_bytes, text_of
from syncdaemon.evidence.tree import MOST_HASHES


class Submission(NamedTuple):
    """A new checkpoint, and how it goes on from the one of `old` entries; 0: from nothing."""

    old: int
    hashes: tuple[bytes, ...]
    note: bytes

    def __bytes__(self) -> bytes:
        lines = [f"old {self.old}", *map(base64_text, self.hashes)]
        return "\n".join(lines).encode() + b"\n\n" + self.note

    @classmethod
    def parse(cls, data: bytes) -> Submission:
        """Raises BadEvidence where this is no such body. Neither the note nor the hashes are checked yet."""
        head, found, note = text_of(data, "checkpoint's message").partition("\n\n")
        first, *hashes = head.split("\n")
        if not found or not first.startswith("old "):
            raise BadEvidence("the message does not have its parts: old, hashes, checkpoint")
        if len(hashes) > MOST_HASHES:
            raise BadEvidence(f"the message has over {MOST_HASHES} hashes")
        old = decimal(first.removeprefix("old "), "old size")
        return cls(old, tuple(hash_bytes(line, "hash") for line in hashes), note.encode())
