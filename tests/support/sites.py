"""Sites as an auditor sees them: real keys, real trees, and the messages that they publish at the hub."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping

from nats.aio.client import Client

from syncdaemon.evidence import tree
from syncdaemon.evidence.keyfile import CheckpointKey
from syncdaemon.evidence.notes import Checkpoint, SignedNote
from syncdaemon.evidence.origins import LogOrigin, Pin, log_id
from syncdaemon.evidence.proofs import Proof
from syncdaemon.evidence.submission import Submission
from syncdaemon.evidence.tree import fold, leaf_hash

BASE = "edge.example.com/evidence"


class Log:
    """A log of rows with its tree, all in memory."""

    def __init__(self, rows: Iterable[bytes]) -> None:
        self.rows = list(rows)
        self.id = log_id(self.rows[0])

    def subtree(self, height: int, number: int) -> bytes:
        """The root of a perfect subtree."""
        first = number << height
        return fold([leaf_hash(row) for row in self.rows[first : first + (1 << height)]])

    def root(self, size: int) -> bytes:
        """Of so many rows."""
        return tree.root_at(size, self.subtree)


class Site:
    """A site that signs. `fork`: what makes its rows others than those of its honest twin."""

    def __init__(self, name: str, seed: bytes = b"", fork: str = "", rows: int = 400) -> None:
        self.name = name
        self.key = CheckpointKey((seed or name.encode() * 32)[:32].ljust(32, b"."))
        self.log = Log([f"row {n} of {name}{fork if n > 10 else ''}".encode() for n in range(1, rows + 1)])

    @property
    def pin(self) -> Pin:
        """What an auditor keeps."""
        return Pin(self.key.public, f"{BASE}/{self.name}")

    @property
    def origin(self) -> str:
        """The name of its log."""
        return str(LogOrigin(BASE, self.name, self.log.id))

    def checkpoint(self, size: int) -> Checkpoint:
        """Of so many rows."""
        return Checkpoint(self.origin, size, self.log.root(size))

    def note(self, size: int) -> SignedNote:
        """The same, signed."""
        return self.checkpoint(size).note().signed(self.origin, self.key.seed)

    def submission(self, old: int, new: int) -> Submission:
        """From one size to another."""
        hashes = tree.consistency_proof(old, new, self.log.subtree) if 0 < old <= new else []
        return Submission(old, tuple(hashes), bytes(self.note(new)))

    def begin_anew(self, size: int, old: Checkpoint | None = None) -> bytes:
        """Its ledger is another one from here on, whose first row names the end of the old one; the proof of that."""
        end = old or self.checkpoint(size)
        row = {
            "event": "rebased",
            "old_origin": end.origin,
            "old_root": base64.b64encode(end.root).decode(),
            "old_size": end.size,
            "reason": "the disk was restored",
        }
        first = json.dumps(row, sort_keys=True, separators=(",", ":")).encode()
        self.log = Log([first, *(f"new row {n} of {self.name}".encode() for n in range(2, 400))])
        return self.announcement(1)

    def announcement(self, size: int) -> bytes:
        """The proof of row 1 in the checkpoint of so many rows."""
        hashes = tree.inclusion_proof(0, size, self.log.subtree)
        return bytes(Proof(self.log.rows[0], 0, tuple(hashes), bytes(self.note(size))))

    async def publish(self, client: Client, old: int, new: int, rebased: bytes = b"") -> int:
        """Publishes a checkpoint; the sequence of its message."""
        headers = {"Edge-Rebased": base64.b64encode(rebased).decode()} if rebased else None
        return await put(client, self.name, bytes(self.submission(old, new)), headers)


async def put(client: Client, site: str, body: bytes, headers: Mapping[str, str] | None = None) -> int:
    """Publishes any bytes on a site's subject; the sequence of the message."""
    subject = f"edge.checkpoint.{site}"
    answer = await client.request(subject, body, 10, headers=dict(headers) if headers else None)
    return int(json.loads(answer.data)["seq"])
