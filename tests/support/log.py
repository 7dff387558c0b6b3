"""A site that signs checkpoints, and what the hub has of its log: read by a client that is not ours."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any, NamedTuple

from syncdaemon.evidence.keyfile import new_key, read_key
from syncdaemon.evidence.notes import LOG_KEY, Checkpoint, SignedNote, VerifierKey
from tests.support.client import connect
from tests.support.evidence import BASE
from tests.support.judges import GoJudge

SITE = "test-site"
SUBJECT = f"edge.checkpoint.{SITE}"


def signing(folder: Path, **more: str) -> dict[str, str]:
    """The settings of a site with a key of its own, which lies in this folder, and a checkpoint each second."""
    path = folder / "checkpoint.key"
    if not path.exists():
        new_key(path)
    own = {"SYNC_CHECKPOINT_KEY": str(path), "SYNC_CHECKPOINT_ORIGIN": BASE, "SYNC_CHECKPOINT_SECONDS": "0.3"}
    return own | more


def public(folder: Path) -> bytes:
    """The key that `signing` has made."""
    return read_key(folder / "checkpoint.key").public


class AtHub(NamedTuple):
    """A message on a site's subject. `hashes`: as they lead from `old` to the note's checkpoint."""

    seq: int
    old: int
    hashes: list[bytes]
    note: str
    headers: dict[str, str]

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint in it, unchecked."""
        return Checkpoint.parse(SignedNote.parse(self.note.encode()).text)


def at_hub(url: str, subject: str = SUBJECT, stream: str = "edge_checkpoints", **login: Any) -> list[AtHub]:
    """All messages that the stream has on a subject; none where there is no stream."""
    return asyncio.run(_read(url, subject, stream, login))


async def _read(url: str, subject: str, stream: str, login: dict[str, Any]) -> list[AtHub]:
    client = await connect(url, **login)
    found: list[AtHub] = []
    try:
        jetstream, seq = client.jetstream(), 0
        while True:
            try:
                message = await jetstream.get_msg(stream, seq + 1, subject=subject, next=True)
            except Exception as error:
                if getattr(error, "err_code", 0) in (10037, 10059):  # no message, no stream
                    return found
                raise
            assert message.seq is not None
            seq = message.seq
            found.append(_parsed(seq, (message.data or b"").decode(), dict(message.headers or {})))
    finally:
        await client.close()


def _parsed(seq: int, body: str, headers: dict[str, str]) -> AtHub:
    head, found, note = body.partition("\n\n")
    old, *hashes = head.split("\n")
    if not found or not old.startswith("old "):
        return AtHub(seq, -1, [], body, headers)
    return AtHub(seq, int(old[4:]), [base64.b64decode(line) for line in hashes], note, headers)


def judged(judge: GoJudge, messages: list[AtHub], key: bytes) -> int:
    """Go finds each of these signed by the key, and going on from the one that it names; how many there are."""
    roots: dict[tuple[str, int], bytes] = {}
    largest: dict[str, int] = {}
    for message in messages:
        checkpoint = message.checkpoint
        origin, size, root = checkpoint
        vkey = VerifierKey(origin, LOG_KEY, key).vkey
        assert judge.accepts("note", note=message.note, vkey=vkey)
        assert roots.setdefault((origin, size), root) == root, "two histories"
        if message.old:
            values = {"size": size, "root": root, "old": message.old, "oldroot": roots[origin, message.old]}
            assert message.old < size or (message.old == size and not message.hashes)
            assert judge.accepts("consistency", hashes=message.hashes, **values)
        elif size > 1:
            assert origin not in largest or message.old == 0
        largest[origin] = max(size, largest.get(origin, 0))
    return len(messages)


def publish(url: str, body: bytes, subject: str = SUBJECT, **how: Any) -> int:
    """A message of somebody who is not the site; its sequence."""
    return asyncio.run(_publish(url, body, subject, how))


async def _publish(url: str, body: bytes, subject: str, how: dict[str, Any]) -> int:
    headers = how.pop("headers", None)
    client = await connect(url, **how)
    try:
        return (await client.jetstream().publish(subject, body, headers=headers)).seq
    finally:
        await client.close()
